"""The collection's ids: external names to rows and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Ids:
    """Distinct integer or string ids of n items, looked up in O(log n).

    >>> Ids(["x", "y"], 2).rows(["y", "x"]).tolist()
    [1, 0]
    """

    def __init__(self, ids: Any, n: int, *, following: int = 0) -> None:
        self.values: NDArray[Any] = np.arange(n) if ids is None else np.asarray(ids)
        if self.values.shape != (n,):
            raise ValueError(f"ids must name each of the {n} items, got shape {self.values.shape}")
        if self.values.dtype.kind == "O" and all(isinstance(x, str) for x in self.values):
            self.values = self.values.astype(str)
        if self.values.dtype.kind not in "iuU":
            raise TypeError(f"ids must be integers or strings, got dtype {self.values.dtype}")
        if (self.values == self.missing).any():
            raise ValueError(f"ids must not be {self.missing!r}, which marks a missing item")
        self._order = np.argsort(self.values, kind="stable")
        self._sorted = self.values[self._order]
        repeated = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
        if repeated.size:
            raise ValueError(f"ids must be distinct, {self._sorted[repeated[0]].item()!r} occurs twice or more")
        largest = int(self._sorted[-1]) if n and self.values.dtype.kind in "iu" else -1
        self.following = max(following, largest + 1)  # what no item is named, nor ever was

    def with_more(self, ids: Any, m: int) -> Ids:
        """Return these ids and m more: integers that follow where none are given.

        >>> Ids([3, 7], 2).only([0]).with_more(None, 2).values.tolist()
        [3, 8, 9]
        """
        texts = self.values.dtype.kind == "U"
        if ids is None and texts:
            raise TypeError("ids of a collection with strings for names must be given, one for each new item")
        more = Ids(np.arange(self.following, self.following + m) if ids is None else ids, m).values
        if (more.dtype.kind == "U") != texts:
            raise TypeError(f"ids must be {'strings' if texts else 'integers'}, got dtype {more.dtype}")
        taken = np.flatnonzero(np.isin(more, self.values))
        if taken.size:
            raise ValueError(f"{taken.size} ids are in the collection already, first {more[taken[0]].item()!r}")
        return Ids(np.concatenate([self.values, more]), self.values.size + m, following=self.following)

    def only(self, rows: Any) -> Ids:
        """Return the ids of some rows."""
        return Ids(self.values[rows], len(rows), following=self.following)

    @property
    def missing(self) -> Any:
        """What stands in a row that has no answer: -1, or the empty string."""
        return "" if self.values.dtype.kind == "U" else -1

    def rows(self, ids: Any) -> NDArray[np.int64]:
        """Return the rows of the ids given, any shape; -1 for the missing marker.

        Raises ValueError for an id that is not in the collection.
        """
        wanted = np.asarray(ids)
        if wanted.dtype.kind == "O" and all(isinstance(x, str) for x in wanted.ravel()):
            wanted = wanted.astype(str)
        texts = self.values.dtype.kind == "U"
        if wanted.size and (wanted.dtype.kind not in ("U" if texts else "iu")):
            raise TypeError(f"ids must be {'strings' if texts else 'integers'}, got dtype {wanted.dtype}")
        at = np.minimum(np.searchsorted(self._sorted, wanted), max(self.values.size - 1, 0))
        known = self._sorted[at] == wanted
        unknown = ~known & (wanted != self.missing)
        if unknown.any():
            first = wanted[unknown].ravel()[0].item()
            raise ValueError(f"{unknown.sum()} ids are not in the collection, first {first!r}")
        return np.where(known, self._order[at], -1)

    def names(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the external ids of rows, the missing marker for -1."""
        named = self.values[rows]
        if (rows < 0).any():
            dtype = np.int64 if named.dtype.kind in "iu" else named.dtype
            named = np.where(rows < 0, self.missing, named).astype(dtype)
        return named
