"""Protocols of evaluation by name, and the one door to their ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np

from manifold._typing import AnyArray, Mask
from manifold.datasets._ground_truth import ByQuery, GroundTruth
from manifold.datasets._lazy import same_class
from manifold.datasets._load import data_folder
from manifold.datasets._truth_files import KINDS, RawTruth, read_truth
from manifold.datasets.trec import FIGURES as TREC_FIGURES
from manifold.datasets.trec import read_qrels
from manifold.errors import DatasetNotFoundError

_Settings = Mapping[str, tuple[Sequence[str], Sequence[str]]]
_BY_LABELS: _Settings = {"all": (("relevant",), ())}
_OXFORD: _Settings = {"all": (("good", "ok"), ("junk",))}
_REVISITED: _Settings = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}


@dataclass(frozen=True)
class Protocol:
    """How a set, or sets of a kind, are judged."""

    settings: _Settings
    figures: tuple[str, ...]
    interpolation: Literal["trapezoid", "step"] = "step"
    n_items: int | None = None
    n_queries: int | None = None
    folder: str = ""  # of the data folder
    source: str = ""
    licence: str = "none stated"


_OLD: Literal["trapezoid"] = "trapezoid"  # how the programs of these protocols count average precision
_LEVELS = ("mAP", "mP@1", "mP@5", "mP@10")
_FIRST = ("hit@1", "hit@2", "hit@4", "hit@8")  # Recall@K of metric learning
_PHILBIN = "Philbin et al., CVPR 2007 and 2008"
_RADENOVIC = "revisited ground truth, Radenović et al., CVPR 2018"
_ISCEN = "INSTRE, Wang and Jiang 2015, split by Iscen et al., CVPR 2017"
PROTOCOLS: Mapping[str, Protocol] = {
    "roxford5k": Protocol(_REVISITED, _LEVELS, _OLD, n_items=4993, n_queries=70, folder="roxford_rparis",
                          source=_RADENOVIC, licence="MIT"),
    "rparis6k": Protocol(_REVISITED, _LEVELS, _OLD, n_items=6322, n_queries=70, folder="roxford_rparis",
                         source=_RADENOVIC, licence="MIT"),
    "revisited": Protocol(_REVISITED, _LEVELS, _OLD),
    "oxford5k": Protocol(_OXFORD, ("mAP",), _OLD, n_queries=55, folder="oxford5k", source=_PHILBIN),
    "paris6k": Protocol(_OXFORD, ("mAP",), _OLD, n_queries=55, folder="paris6k", source=_PHILBIN),
    "oxford": Protocol(_OXFORD, ("mAP",), _OLD),
    "instre": Protocol(_OXFORD, ("mAP",), _OLD, n_items=27293, n_queries=1250, folder="instre", source=_ISCEN),
    "labels": Protocol(_BY_LABELS, _FIRST),
    "trec": Protocol(_BY_LABELS, TREC_FIGURES),
}  # fmt: skip


def ground_truth(name: str, source: object = None) -> GroundTruth:
    """Return the ground truth of a protocol: of the data folder, or your own.

    ============================== ====================================== ===================================
    name                           relevant / junk                        source
    ============================== ====================================== ===================================
    roxford5k, rparis6k, revisited easy: easy / junk + hard; medium: easy .json, .mat or .pkl
                                   + hard / junk; hard: hard / junk
                                   + easy
    oxford5k, paris6k, oxford      good + ok / junk                       the same, or a folder of
                                                                          \\*_query.txt, \\*_good.txt, ...
    instre                         ok / none                              the same, or labels of both sides
    labels                         same class, itself left out            labels (n,), or (n,) and (q,)
    trec                           gain > 0                               a file of qrels
    ============================== ====================================== ===================================

    Reference: Philbin et al. (2007); Radenović et al. (2018); TREC formats (trec_eval); guide *judge*.

    Parameters
    ----------
    name : str
        Of a benchmark, whose numbers of images and queries are then insisted on, or "revisited", "oxford", "labels" and
        "trec" for sets of your own.
    source : path, (n,) labels, or a pair (n,) labels, (q,) labels, optional
        By default the file of the benchmark in `data_folder`. With labels (n,) alone every item queries all others; the
        label -1, "-1", "", None or NaN is that of a distractor, which no query should find.

    Returns
    -------
    GroundTruth
        By row numbers, or by names of items where the files name them; see `GroundTruth.by_rows`. Queries of a folder
        stand in the order of the names of its files.

    Raises
    ------
    ValueError
        For an unknown name, and files that are damaged, do not fit, or (.pkl) ask for more than arrays and containers.
    DatasetNotFoundError
        If there is no file in the data folder.

    Notes
    -----
    A .pkl can only give data here, whatever is in it. A .mat is read by SciPy, which a file made to do harm can crash:
    of a stranger, take the .json.

    Examples
    --------
    >>> ground_truth("labels", [3, 5, 3]).lists["relevant"][0]
    array([2])
    """
    if name not in PROTOCOLS:
        raise ValueError(f"protocol {name!r} is unknown: use one of {', '.join(PROTOCOLS)}")
    protocol = PROTOCOLS[name]
    path: object = _find(name, protocol) if source is None else source
    if not isinstance(path, str | PathLike):
        if name not in ("labels", "instre"):
            raise ValueError(f"protocol {name!r} is not judged by labels: give the path of its ground truth")
        return _assemble(name, protocol, _by_labels(path), what="the pair of labels")
    if name == "labels":
        raise ValueError(f"protocol 'labels' needs the labels themselves, got the path {path}: load them first")
    if name == "trec":
        return read_qrels(path)
    return _assemble(name, protocol, read_truth(Path(path)), what=str(path))


def _find(name: str, protocol: Protocol) -> Path:
    if not protocol.folder:
        raise ValueError(f"protocol {name!r} has no ground truth of its own: give yours")
    folder = data_folder() / protocol.folder
    candidates = [folder / f"gnd_{name}{kind}" for kind in KINDS]
    found = [path for path in candidates if path.is_file()]
    if not found and any(folder.glob("*_query.txt")):
        found = [folder]
    if not found:
        raise DatasetNotFoundError(
            f"the ground truth of {name} is not in {folder} (gnd_{name}.json, .mat or .pkl): give its path, or set "
            f"MANIFOLD_DATA to the folder that holds {protocol.folder}/ (source: {protocol.source})"
        )
    return found[0]


def _by_labels(labels: object) -> RawTruth:
    """Number the classes of both sides, and list each query's."""
    pair = isinstance(labels, tuple | list) and len(labels) == 2 and np.ndim(labels[0]) == 1
    sides = [_read_labels(side) for side in (labels if isinstance(labels, tuple | list) and pair else [labels])]
    kinds = [side.dtype for side, _ in sides]
    if len({kind.kind == "U" for kind in kinds}) != 1:
        raise ValueError(f"labels are {kinds[0]} and {kinds[1]}: give both sides the same kind")
    together = np.concatenate([side for side, _ in sides])
    if together.dtype.kind == "f":  # where NumPy puts signed and unsigned numbers together
        together = np.concatenate([side.astype(object) for side, _ in sides])
    numbers = np.unique(together, return_inverse=True)[1].astype(np.int64)
    numbers[np.concatenate([none for _, none in sides])] = -1  # distractors
    first, second = np.split(numbers, [len(sides[0][0])])
    return RawTruth({"relevant": same_class(first, second if pair else None)}, len(first))


def _read_labels(side: object) -> tuple[AnyArray, Mask]:
    """Return labels (n,) as whole numbers or texts, by place, and which of them are none."""
    if isinstance(side, np.ma.MaskedArray) and np.ma.is_masked(side):
        raise TypeError("labels are a masked array with masked entries: pass labels.filled(-1)")
    try:
        values: AnyArray = np.asarray(side)
    except (TypeError, RuntimeError) as error:  # tensors of what NumPy has not, or with a gradient
        raise TypeError(f"labels are {type(side).__name__}, which is no array ({error})") from None
    refused = ValueError(f"labels are {values.dtype} of shape {values.shape}: give (n,) integers or texts")
    if values.dtype.kind == "f" and values.ndim == 1:  # frames hold whole numbers so, where some are missing
        values = np.array([int(one) if one.is_integer() else one for one in values.tolist()], dtype=object)
    if values.ndim != 1 or not values.size or values.dtype.kind not in "iubOUT":
        raise refused
    if values.dtype.kind in "iub":
        return values, np.asarray(values == -1)
    listed = values.astype(object)
    none = np.array([_is_none(one) for one in listed.tolist()], dtype=bool)
    known = listed[~none].tolist()
    if known and all(isinstance(one, int | np.integer) for one in known):
        listed[none] = -1
        return listed, none
    if not all(isinstance(one, str) for one in known):
        raise refused
    listed[none] = ""
    return listed.astype(np.str_), none


def _is_none(label: object) -> bool:
    missing = label is None or type(label).__name__ in ("NAType", "NaTType")
    return missing or label in ("", "-1", -1) or (isinstance(label, float) and isnan(label))


def _check_apart(lists: Mapping[str, ByQuery], *, what: str) -> None:
    """Raise where an item stands in two lists of a query."""
    for q, of in enumerate(zip(*lists.values(), strict=True)):
        seen: dict[object, str] = {}
        for name, some in zip(lists, of, strict=True):
            for item in np.asarray(some).tolist():
                if seen.setdefault(item, name) != name:
                    raise ValueError(f"{what} lists {item!r} of query {q} as {seen[item]} and as {name}: keep one")


def _assemble(name: str, protocol: Protocol, raw: RawTruth, *, what: str) -> GroundTruth:
    """Give the lists the meaning of the protocol, and check the counts of a benchmark."""
    lists, settings = dict(raw.lists), protocol.settings
    if "relevant" in lists:
        settings = _BY_LABELS
    elif settings is _OXFORD and "ok" in lists:  # newer files hold good and ok in one list
        lists.setdefault("good", [()] * len(lists["ok"]))
    wanted = {part for relevant, _ in settings.values() for part in relevant}
    if not wanted <= lists.keys():
        raise ValueError(
            f"{what} holds the lists {', '.join(lists) or '(none)'}, but {name} needs {', '.join(sorted(wanted))}: "
            "is it the ground truth of another protocol?"
        )
    if "relevant" not in lists:
        _check_apart(lists, what=what)
    truth = GroundTruth(
        name,
        lists,
        settings,
        figures=protocol.figures,
        interpolation=protocol.interpolation,
        n_items=raw.n_items,
        items=raw.items,
        queries=raw.queries,
        boxes=raw.boxes,
        source=protocol.source or what,
        licence=protocol.licence,
    )
    general = "revisited" if settings is _REVISITED else "oxford"
    for found, expected, kind in (
        (truth.n_items, protocol.n_items, "images"),
        (truth.n_queries, protocol.n_queries, "queries"),
    ):
        if None not in (found, expected) and found != expected:
            raise ValueError(
                f"{what} has {found} {kind}, but {name} has {expected}: give the ground truth of {name}, or name the "
                f"protocol {general}"
            )
    return truth
