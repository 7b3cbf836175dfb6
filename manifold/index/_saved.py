"""The arrays of a saved index: taken as the folder holds them, and looked through before they are believed.

In: a folder, or columns of a mapped index. Out: what an index is made of; or the name of what no build has stored.
"""

from __future__ import annotations

from typing import Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from manifold._typing import AnyArray, Floats, Ints
from manifold.errors import CorruptFileError
from manifold.filters import Diffusion
from manifold.graph import Graph
from manifold.storage import Stored

DTYPES = ("float16", "float32", "float64")
ARRAYS = ("ids", "values", "tail", "error")
_MET = 1 << 22  # entries looked through at a time


class Kept(TypedDict):
    """What every index holds."""

    graph: Graph
    filter: Diffusion
    ids: NDArray[np.uint32]
    values: AnyArray
    tail: Floats
    error: Floats


class Mapped(Protocol):
    """An index as far as its entries are looked through."""

    @property
    def _unread(self) -> str | None:
        """The folder of an index that has not been looked through."""

    @property
    def is_pooled(self) -> bool:
        """Whether entries may be negative."""

    @property
    def n_targets(self) -> int:
        """How many nodes or images a column may name."""


def restored(stored: Stored) -> Kept:
    """Return what an index was saved as, none of it copied; raise ValueError for shapes and dtypes that none has."""
    graph = Graph._from_stored(stored)
    ids, values, tail, error = (np.asarray(stored.arrays[name]) for name in ARRAYS)
    n = graph.n_nodes
    if ids.shape != values.shape or ids.ndim != 2 or {ids.shape[:1], tail.shape, error.shape} != {(n,)}:
        raise ValueError(f"arrays of {n} columns have the shapes {ids.shape}, {values.shape}, {tail.shape}")
    if ids.dtype != np.uint32 or str(values.dtype) not in DTYPES or not tail.dtype == error.dtype == np.float64:
        raise ValueError(f"arrays of an index have the dtypes {ids.dtype}, {values.dtype}, {tail.dtype}")
    return {
        "graph": graph,
        "filter": Diffusion(stored.parameters["alpha"]),
        "ids": ids,
        "values": values,
        "tail": tail,
        "error": error,
    }


def look_through(index: Mapped, nodes: Ints | None = None) -> None:
    """Raise CorruptFileError for columns of a mapped index, all of them without `nodes`, that no build has stored.

    Each was looked through once every byte was read: then nothing is done.
    """
    if index._unread is None:
        return
    ids, values, tail, error = (getattr(index, name) for name in ARRAYS)
    # in parts: what is found of them, such as which are finite, takes memory of its own
    step = max(1, _MET // max(ids.shape[1], 1))
    parts = [nodes] if nodes is not None else [slice(start, start + step) for start in range(0, len(ids), step)]
    try:
        for part in parts:
            bounds = {"tail": tail[part], "error": error[part]}
            check_columns(ids[part], values[part], **bounds, below=index.n_targets, signed=index.is_pooled)
    except ValueError as problem:
        raise CorruptFileError(f"{index._unread} holds no valid index: {problem}") from None
    if nodes is None:  # of some columns nothing is noted: they are few, and looking costs less than merging them
        object.__setattr__(index, "_unread", None)


def check_columns(
    ids: NDArray[np.uint32], values: AnyArray, *, tail: Floats, error: Floats, below: int, signed: bool
) -> None:
    """Raise ValueError for columns that no build has stored.

    >>> one = np.ones((1, 1))
    >>> check_columns(one.astype(np.uint32), one, tail=one[0], error=one[0], below=2, signed=False)
    """
    if not ((ids[:, 1:] > ids[:, :-1]).all() and ids[:, -1:].max(initial=0) < max(below, 1)):
        raise ValueError(f"columns hold ids out of order, or not below {below}")
    # finite first: to compare a NaN is an invalid operation, which some callers trap
    if not (np.isfinite(values).all() and (signed or (values >= 0).all())):
        raise ValueError("columns hold entries that are negative or no numbers")
    if not all((np.isfinite(bound) & (bound >= 0)).all() for bound in (tail, error)):
        raise ValueError("tail and error must be finite and non-negative")
