"""Real data sets read from a folder and arranged for one of their retrieval protocols."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from manifold.datasets import _readers as readers
from manifold.datasets._dataset import Dataset
from manifold.datasets._lazy import chosen, same_class
from manifold.errors import DatasetNotFoundError

_Metric: TypeAlias = Literal["cosine", "euclidean", "manhattan"]
_Protocols: TypeAlias = Mapping[str, tuple[tuple[int, ...] | None, tuple[int, ...]]]


def load(name: str, *, protocol: str | None = None, features: str | None = None) -> Dataset:
    """Load a real data set from `data_folder`, arranged for one of its retrieval protocols.

    ========================= ================================ ===============================================
    name                      features                         protocol (the first is the default)
    ========================= ================================ ===============================================
    cranfield                 minilm                           queries (graded: gain 4..1)
    grocery                   avg, gem, regions                iconic, iconic-test, test, leave-one-out
    coil20, orl               pixels                           leave-one-out
    mpeg7                     height_fft, fourier              leave-one-out
    usps, fashion_mnist       pixels                           leave-one-out, test
    cifar10                   pca128                           leave-one-out, test
    ========================= ================================ ===============================================

    The regions of grocery are 14 vectors an item: `Dataset.regions` gives them with their owners, for
    `manifold.ranking.RegionalSearch`. There "iconic" puts shop images to all shelf photos, "iconic-test" to the test
    photos, and "test" the test photos to those of training and validation; elsewhere "test" is test against training.

    Nearest neighbours by the metric of the set reach mAP 0.422 on cranfield, 0.238
    on grocery iconic, 0.245 on iconic-test, 0.653 on coil20, 0.579 on orl, 0.699 on mpeg7, 0.541 on usps.

    Reference: guide *notation*, "How the parts meet".

    Raises
    ------
    ValueError
        If the name, the protocol or the features are unknown.
    DatasetNotFoundError
        If the files are not there; names the source of the set and the folder looked in.
    ImportError
        If usps is asked for without h5py.

    Examples
    --------
    >>> load("imagenet")
    Traceback (most recent call last):
    ...
    ValueError: name='imagenet' is unknown: use one of cifar10, coil20, cranfield, fashion_mnist, grocery, ...
    """
    if name not in _SETS:
        raise ValueError(f"name={name!r} is unknown: use one of {', '.join(sorted(_SETS))}")
    about = _SETS[name]
    protocol = _choose("protocol", protocol, about.protocols)
    features = _choose("features", features, about.metrics)
    folder = data_folder() / about.folder
    try:
        return _assemble(name, about, about.read(folder, features), protocol=protocol, features=features)
    except FileNotFoundError as error:
        raise DatasetNotFoundError(
            f"data set {name!r} is not in {folder}: set MANIFOLD_DATA to the folder that holds "
            f"{about.folder}/ (source: {about.source})"
        ) from error


def data_folder() -> Path:
    """Folder the real data sets are read from: ``MANIFOLD_DATA``, or ``../shared/data`` beside the checkout.

    Reference: guide *notation*, "How the parts meet".

    Examples
    --------
    >>> (data_folder() / "coil20").name
    'coil20'
    """
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    return Path(os.environ.get("MANIFOLD_DATA") or beside)


@dataclass(frozen=True)
class _Set:
    """What is known of a set before it is read; a protocol is (parts that ask or None, parts searched)."""

    folder: str
    source: str
    licence: str
    protocols: _Protocols
    metrics: Mapping[str, _Metric]  # features -> metric of the baseline
    read: Callable[[Path, str], readers.Raw]


def _assemble(name: str, about: _Set, raw: readers.Raw, *, protocol: str, features: str) -> Dataset:
    asking, searched = about.protocols[protocol]
    split = np.zeros(len(raw.features), np.int8) if raw.split is None else raw.split
    rows = np.flatnonzero(np.isin(split, searched))
    asks = rows if asking is None else np.flatnonzero(np.isin(split, asking))
    labels, query_labels = (None, None) if raw.labels is None else (raw.labels[rows], raw.labels[asks])
    relevant = raw.relevant
    if relevant is None and labels is not None:
        relevant = same_class(labels, query_labels if asking else None)
    return Dataset(
        name,
        raw.features[rows] if rows.size < len(raw.features) else raw.features,
        labels=labels,
        queries=raw.features[asks] if asking else None,
        query_labels=query_labels if asking else None,
        relevant=relevant or (),
        metric=about.metrics[features],
        protocol=protocol,
        source=about.source,
        licence=about.licence,
        items=chosen(raw.items, rows),
        query_items=chosen(raw.items, asks) if asking else (),
        boxes=raw.boxes,
    )


def _choose(name: str, value: str | None, options: Mapping[str, object]) -> str:
    if value is None or value in options:
        return next(iter(options), "") if value is None else value
    raise ValueError(f"{name}={value!r} is unknown: use one of {', '.join(options) or 'none (leave it out)'}")


_LOO: _Protocols = {"leave-one-out": (None, (0,))}
_SPLIT: _Protocols = {"leave-one-out": (None, (0, 1)), "test": ((1,), (0,))}
_GROCERY: _Protocols = {
    "iconic": ((3,), (0, 1, 2)),  # parts: 0 train, 1 validation, 2 test, 3 iconic
    "iconic-test": ((3,), (2,)),
    "test": ((2,), (0, 1)),
    "leave-one-out": (None, (0, 1, 2)),
}
_EMBEDDED = "embeddings by EfficientNet-Lite0"
_SETS = {
    "cifar10": _Set("cifar10", f"CIFAR-10, Krizhevsky 2009; {_EMBEDDED}", "none stated",
                    _SPLIT, {"pca128": "cosine"}, readers.read_cifar10),
    "coil20": _Set("coil20", "COIL-20, Columbia University", "none stated",
                   _LOO, {"pixels": "euclidean"}, readers.read_mat),
    "cranfield": _Set("cranfield", "Cranfield 1400, Cleverdon 1967; embeddings by all-MiniLM-L6-v2",
                      "none stated", {"queries": ((1,), (0,))}, {"minilm": "cosine"}, readers.read_cranfield),
    "fashion_mnist": _Set("fashion_mnist", "Fashion-MNIST, Zalando Research", "MIT",
                          _SPLIT, {"pixels": "euclidean"}, readers.read_fashion_mnist),
    "grocery": _Set("grocery", f"Grocery Store, Klasson et al. 2019; {_EMBEDDED}", "MIT", _GROCERY,
                    {"avg": "cosine", "gem": "cosine", "regions": "cosine"}, readers.read_grocery),
    "mpeg7": _Set("mpeg7", "MPEG-7 CE-Shape-1 part B", "none stated",
                  _LOO, {"height_fft": "manhattan", "fourier": "manhattan"}, readers.read_mpeg7),
    "orl": _Set("orl", "ORL faces, AT&T Laboratories Cambridge", "none stated",
                _LOO, {"pixels": "euclidean"}, readers.read_mat),
    "usps": _Set("usps", "USPS handwritten digits", "none stated",
                 _SPLIT, {"pixels": "euclidean"}, readers.read_usps),
}  # fmt: skip
