"""Files of a set in, its features, labels and items out; one reader a set, none of them unpickles."""

from __future__ import annotations

import gzip
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from manifold._typing import AnyArray, Floats, Ints
from manifold.datasets._dataset import Vectors
from manifold.datasets._lazy import Lazy, squares


@dataclass(frozen=True)
class Raw:
    """A set as its files hold it: all items, and which part of the set each belongs to."""

    features: Vectors
    labels: Ints | None
    split: AnyArray | None = None  # (n,) part: 0 train, 1 test unless the reader says otherwise
    items: Sequence[object] = ()
    relevant: Sequence[Collection[object]] | None = None  # where judged by people instead of by label
    boxes: Floats | None = None  # (regions, 4) where several vectors an item


def _pixels(X: AnyArray, y: AnyArray, *, split: AnyArray | None = None, order: Literal["F", "C"] = "C") -> Raw:
    items = squares(X, order=order)
    return Raw(np.asarray(X, np.float32), y.ravel().astype(np.int64), split=split, items=items)


def _zipped(path: Path, names: AnyArray) -> Sequence[bytes]:
    return Lazy(len(names), partial(_unzip, path, names))


def _unzip(path: Path, names: AnyArray, i: int) -> bytes:
    with ZipFile(path) as archive:
        return archive.read(str(names[i]))


def read_mat(folder: Path, features: str) -> Raw:
    """COIL-20 or ORL: pixels of grey images, stored by columns."""
    from scipy.io import loadmat

    arrays = loadmat(str(folder / {"coil20": "COIL20.mat", "orl": "ORL.mat"}[folder.name]))
    return _pixels(arrays["X"], arrays["Y"] - 1, order="F")


def read_cranfield(folder: Path, features: str) -> Raw:
    """Abstracts and questions with graded judgements."""
    vectors = [np.load(folder / f"{part}_minilm.npy", allow_pickle=False) for part in ("docs", "queries")]
    texts = [[entry["text"] for entry in json.loads((folder / f"{part}.json").read_text("utf-8"))]
             for part in ("docs", "queries")]  # fmt: skip
    gains: list[dict[int, int]] = [{} for _ in texts[1]]
    for query, document, code in np.loadtxt(folder / "cranqrel", dtype=np.int64).tolist():
        # 1 is the best of four codes; the few -1 are judged relevant without a grade and get the least
        gains[query - 1][document - 1] = 5 - code if code > 0 else 1
    split = np.repeat([0, 1], [len(part) for part in texts])
    return Raw(np.vstack(vectors), None, split=split, items=[*texts[0], *texts[1]], relevant=gains)


def read_grocery(folder: Path, features: str) -> Raw:
    """Shelf photos and shop images: one vector an image, or one a region."""
    file = "regions_pca128.npz" if features == "regions" else "effnetlite0.npz"
    with np.load(folder / file, allow_pickle=False) as arrays:
        X, y, split, names = (arrays[key] for key in (features, "fine", "split", "names"))
        boxes = arrays["boxes"] if features == "regions" else None
    items = _zipped(folder / "images_96px.zip", names)
    return Raw(X.astype(np.float32), y, split=split, items=items, boxes=boxes)


def read_mpeg7(folder: Path, features: str) -> Raw:
    """Shape descriptors of silhouettes."""
    with np.load(folder / "shape_desc.npz", allow_pickle=False) as arrays:
        X, y, names = (arrays[key] for key in (features, "y", "names"))
    return Raw(X.astype(np.float32), y, items=_zipped(folder / "png.zip", names))


def read_usps(folder: Path, features: str) -> Raw:
    """Scanned digits, 16 x 16."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError("usps is an HDF5 file: pip install 'manifold-search[data]'") from error
    with h5py.File(folder / "usps.h5", "r") as file:
        X, y = (np.concatenate([file[part][key][:] for part in ("train", "test")]) for key in ("data", "target"))
        n_train = len(file["train"]["target"])
    return _pixels(X, y, split=np.arange(len(y)) >= n_train)


def read_fashion_mnist(folder: Path, features: str) -> Raw:
    """Articles of clothing, 28 x 28."""

    def idx(part: str, header: int) -> NDArray[np.uint8]:
        with gzip.open(folder / f"{part}-ubyte.gz") as file:
            return np.frombuffer(file.read(), np.uint8, offset=header)

    X = np.concatenate([idx(f"{part}-images-idx3", 16) for part in ("train", "t10k")]).reshape(-1, 784)
    y = np.concatenate([idx(f"{part}-labels-idx1", 8) for part in ("train", "t10k")])
    return _pixels(X, y, split=np.arange(len(y)) >= 60_000)


def read_cifar10(folder: Path, features: str) -> Raw:
    """Embeddings of small colour images."""
    with np.load(folder / "effnetlite0_pca128.npz", allow_pickle=False) as arrays:
        X, y, test = arrays["X"], arrays["y"], arrays["test"]
    return Raw(X.astype(np.float32), y.astype(np.int64), split=test)
