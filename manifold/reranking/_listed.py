"""Rankings as they come in: names of any kind that NumPy can sort, pads told apart, scores checked.

In: (ids, scores) of a user. Out: `Listed`, or an error that names the query.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike

from manifold._arrays import as_array, as_numbers
from manifold._typing import AnyArray, Floats, Ints, Mask

MISSING: dict[str, int | str | None] = {"integers": -1, "strings": "", "UUIDs": None}  # what pads names of a kind


class Listed(NamedTuple):
    """One ranking: names (q, m) of a kind, which of them are no pads, and their scores."""

    kind: str
    names: AnyArray
    valid: Mask
    scores: Floats

    @classmethod
    def of(cls, ids: ArrayLike, scores: ArrayLike) -> Listed:
        """Check one ranking (q, m).

        >>> Listed.of([[7, -1]], [[0.5, 0.0]]).valid.tolist()
        [[True, False]]
        """
        names, values = np.atleast_2d(as_array(ids, "ids")), np.atleast_2d(as_numbers(scores, "scores"))
        if names.shape != values.shape or names.ndim != 2:
            raise ValueError(f"ids and scores must share (q, m), got {names.shape}, {values.shape}")
        kind, names = _kind_of(names)
        valid = np.array(names != MISSING[kind], dtype=bool)
        if not np.isfinite(values[valid]).all():
            raise ValueError("scores hold NaN or infinity beside an id")
        return cls(kind, names, valid, values)


def _kind_of(names: AnyArray) -> tuple[str, AnyArray]:
    """Return what ids are, and ids that NumPy can sort: integers beyond int64 and UUIDs stay objects."""
    if names.dtype.kind == "U":
        return "strings", names
    if names.dtype.kind in "iu":
        beyond = names.dtype.kind == "u" and names.size and names.max() >= 2**63  # beside -1 they would be floats
        return "integers", names.astype(object if beyond else np.int64)
    flat = names.ravel().tolist() if names.dtype.kind in "OT" else []
    if not names.size or (flat and all(isinstance(name, str) for name in flat)):
        if any(name.endswith("\0") for name in flat):  # NumPy's texts have no end of their own
            raise ValueError("ids end with NUL, which a text of NumPy cannot: write them without it")
        return "strings", np.array(flat, dtype=str).reshape(names.shape)
    if flat and all(isinstance(name, Integral) and not isinstance(name, bool) for name in flat):
        return "integers", names if max(map(abs, flat)) >= 2**63 else names.astype(np.int64)
    if flat and all(name is None or isinstance(name, UUID) for name in flat):
        return "UUIDs", names
    raise ValueError(f"ids must be integers, strings or UUIDs, got dtype {names.dtype}")


def refuse_repeated(keys: Ints, lists: Sequence[Listed]) -> None:
    """Raise ValueError where a list names an item twice; `keys` are those of all lists, one after the other.

    >>> refuse_repeated(np.array([0, 1]), [Listed.of([[7, 8]], [[0.5, 0.0]])])
    """
    ends = np.cumsum([of.valid.sum() for of in lists])
    for part, of in zip(np.split(keys, ends[:-1]), lists, strict=True):
        _, first, counts = np.unique(part, return_index=True, return_counts=True)
        if (counts > 1).any():
            query = np.nonzero(of.valid)[0][first[counts > 1].min()]
            raise ValueError(f"ids of query {query} name an item twice")
