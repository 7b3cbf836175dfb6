"""What papers report on sets of landmarks and instances: facts to stand beside your own figures, with their sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One row of a table of a paper.

    Reference: guide *judge*, "What the figures are".

    >>> published("oxford5k")[0].protocol
    'oxford5k'
    """

    protocol: str
    distractors: bool  # 100,000 images of Flickr, as in Oxford105k and Paris106k
    method: str
    features: str
    figures: Mapping[str, Mapping[str, float]]  # setting -> figure -> fraction of 1
    source: str


def published(protocol: str, *, distractors: bool = False) -> tuple[Published, ...]:
    """Return what papers report by a protocol, with or without distractors.

    Each row is for features of its own, so a difference to yours says nothing of the method alone.

    Reference: guide *judge*, "What the figures are".

    Examples
    --------
    >>> row = published("paris6k", distractors=True)[-1]
    >>> print(f"{row.method} ({row.features}): {row.figures['all']['mAP']:.3f}")
    fast spectral ranking (ResNet-101 R-MAC, 5 x 2048): 0.952
    """
    return tuple(row for row in _rows() if (row.protocol, row.distractors) == (protocol, distractors))


_ISCEN = "Iscen et al., CVPR 2017, table 2"
_ISCEN_FSR = "Iscen et al., CVPR 2018, as in the slides of Avrithis 2020"
_REVISITOP = "Radenović et al., CVPR 2018, reference output of the official code"
_GEM = "Radenović et al., TPAMI 2018, networks of the paper, as its code lists them"
_THIRD = "third-party reimplementation manifold-diffusion, k = 100, alpha = 0.9"

# mAP in per cent: INSTRE, Oxford5k, Oxford105k, Paris6k, Paris106k
_SETS = (("instre", False), ("oxford5k", False), ("oxford5k", True), ("paris6k", False), ("paris6k", True))
_VGG, _RESNET = "VGG siaMAC", "ResNet-101 R-MAC"
_FIVE = (
    ("nearest neighbours", f"{_VGG}, 512", (47.7, 77.7, 70.1, 84.1, 76.8), _ISCEN),
    ("nearest neighbours", f"{_RESNET}, 2048", (62.6, 83.9, 80.8, 93.8, 89.9), _ISCEN),
    ("average query expansion", f"{_VGG}, 512", (57.3, 85.4, 79.7, 88.4, 83.5), _ISCEN),
    ("average query expansion", f"{_RESNET}, 2048", (70.5, 89.6, 88.3, 95.3, 92.7), _ISCEN),
    ("global diffusion", f"{_VGG}, 512", (70.3, 85.7, 82.7, 94.1, 92.5), _ISCEN),
    ("global diffusion", f"{_RESNET}, 2048", (80.5, 87.1, 87.4, 96.5, 95.4), _ISCEN),
    ("R-match", f"{_VGG}, 21 x 512", (55.5, 81.5, 76.5, 86.1, 79.9), _ISCEN),
    ("R-match", f"{_RESNET}, 21 x 2048", (71.0, 88.1, 85.7, 94.9, 91.3), _ISCEN),
    ("R-match + query expansion", f"{_VGG}, 21 x 512", (60.4, 83.6, 78.6, 87.0, 81.0), _ISCEN),
    ("R-match + query expansion", f"{_RESNET}, 21 x 2048", (77.1, 91.0, 89.6, 95.5, 92.5), _ISCEN),
    ("regional diffusion", f"{_VGG}, 5 x 512", (77.5, 91.5, 84.7, 95.6, 93.0), _ISCEN),
    ("regional diffusion", f"{_VGG}, 21 x 512", (80.0, 93.2, 90.3, 96.5, 92.6), _ISCEN),
    ("regional diffusion", f"{_RESNET}, 5 x 2048", (88.4, 95.0, 90.0, 96.4, 95.8), _ISCEN),
    ("regional diffusion", f"{_RESNET}, 21 x 2048", (89.6, 95.8, 94.2, 96.9, 95.3), _ISCEN),
    ("regional diffusion, sum pooling", f"{_VGG}, 21 x 512", (79.1, 92.2, 90.6, 96.1, 94.4), _ISCEN),
    ("fast spectral ranking", f"{_RESNET}, 5 x 2048", (88.5, 95.1, 93.0, 96.5, 95.2), _ISCEN_FSR),
)
# mAP in per cent; the revisited sets easy, medium, hard
_ONE = (
    ("oxford5k", "nearest neighbours", "VGG16 GeM, 512", (87.9,), _GEM),
    ("oxford5k", "nearest neighbours", "ResNet-101 GeM, 2048", (87.8,), _GEM),
    ("paris6k", "nearest neighbours", "VGG16 GeM, 512", (87.7,), _GEM),
    ("paris6k", "nearest neighbours", "ResNet-101 GeM, 2048", (92.7,), _GEM),
    ("roxford5k", "nearest neighbours", "VGG16 GeM, 512", (None, 61.9, 33.7), _GEM),
    ("rparis6k", "nearest neighbours", "VGG16 GeM, 512", (None, 69.3, 44.3), _GEM),
    ("roxford5k", "diffusion, conjugate gradients", "ResNet-101 GeM, 2048", (86.42, 72.52, 48.56), _THIRD),
    ("roxford5k", "fast spectral ranking, rank 2000", "ResNet-101 GeM, 2048", (86.5, 72.0, 45.7), _THIRD),
)
# per cent: mAP, mP@1, mP@5, mP@10 of easy, medium and hard
_FIGURES = ("mAP", "mP@1", "mP@5", "mP@10")
_REFERENCE = {
    "roxford5k": ((84.81, 97.06, 92.06, 86.49), (64.67, 97.14, 90.67, 84.67), (38.47, 81.43, 63.00, 53.00)),
    "rparis6k": ((92.12, 100.0, 97.14, 96.14), (77.20, 100.0, 98.86, 98.14), (56.32, 94.29, 90.29, 89.14)),
}


def _rows() -> Iterator[Published]:
    levels = ("easy", "medium", "hard")
    for method, features, values, source in _FIVE:
        for (protocol, distractors), value in zip(_SETS, values, strict=True):
            figures = {"all": {"mAP": _fraction(value)}}
            yield Published(protocol, distractors, method, features, figures, source)
    for protocol, settings in _REFERENCE.items():
        figures = {
            level: {name: _fraction(value) for name, value in zip(_FIGURES, values, strict=True)}
            for level, values in zip(levels, settings, strict=True)
        }
        yield Published(protocol, False, "nearest neighbours", "ResNet-101 GeM, 2048", figures, _REVISITOP)
    for protocol, method, features, given, source in _ONE:
        names = ("all",) if len(given) == 1 else levels
        known = {name: {"mAP": _fraction(x)} for name, x in zip(names, given, strict=True) if x is not None}
        yield Published(protocol, False, method, features, known, source)


def _fraction(percent: float) -> float:
    return round(percent / 100, 6)
