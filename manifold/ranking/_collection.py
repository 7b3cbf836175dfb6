"""The collection's ids: external names to rows and back."""

from __future__ import annotations

from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from manifold._typing import AnyArray, Ints


class Ids:
    """Distinct integer or string ids of n items, looked up in O(log n).

    Parameters
    ----------
    ids : (n,) integers or strings, or None
        By default 0..n-1.
    n : int
    following : int
        The least integer that new items may be named; at least the largest id plus one.

    Raises
    ------
    TypeError, ValueError
        For names of another kind or shape, that repeat, or that mark a missing item.

    Examples
    --------
    >>> Ids(["x", "y"], 2).rows(["y", "x"]).tolist()
    [1, 0]
    """

    def __init__(self, ids: ArrayLike | None, n: int, *, following: int = 0) -> None:
        self.values: AnyArray = np.arange(n) if ids is None else as_names(ids)
        if self.values.shape != (n,):
            raise ValueError(f"ids must name each of the {n} items, got shape {self.values.shape}")
        if self.values.dtype.kind not in "iuU":
            raise TypeError(f"ids must be integers or strings, got dtype {self.values.dtype}")
        if (self.values == self.missing).any():
            raise ValueError(f"ids must not be {self.missing!r}, which marks a missing item")
        if ids is not None:
            repeated = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
            if repeated.size:
                raise ValueError(f"ids must be distinct, {self._sorted[repeated[0]].item()!r} occurs twice or more")
        self._least = following

    @classmethod
    def trusted(cls, values: AnyArray, *, following: int = 0) -> Self:
        """Return ids that were checked when they were saved: nothing is looked at before it is asked for."""
        ids = cls.__new__(cls)
        ids.values, ids._least = values, following
        return ids

    @cached_property
    def following(self) -> int:
        """The integer that no item is named, nor ever was."""
        largest = int(self.values.max(initial=-1)) if self.values.dtype.kind in "iu" else -1
        return max(self._least, largest + 1)

    @cached_property
    def _order(self) -> Ints:
        return np.argsort(self.values, kind="stable")

    @cached_property
    def _sorted(self) -> AnyArray:
        return self.values[self._order]

    def with_more(self, ids: ArrayLike | None, m: int) -> Ids:
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

    def only(self, rows: Ints | list[int]) -> Ids:
        """Return the ids of some rows."""
        return Ids(self.values[rows], len(rows), following=self.following)

    @property
    def missing(self) -> int | str:
        """What stands in a row that has no answer: -1, or the empty string."""
        return "" if self.values.dtype.kind == "U" else -1

    def rows(self, ids: ArrayLike) -> Ints:
        """Return the rows of the ids given, any shape; -1 for the missing marker.

        Raises ValueError for an id that is not in the collection.
        """
        wanted = as_names(ids)
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

    def present(self, ids: ArrayLike, *, name: str = "ids") -> Ints:
        """Return the rows of ids that must be there; raise ValueError for the missing marker too."""
        rows = self.rows(ids)
        if (rows < 0).any():
            raise ValueError(f"{name} must name items of the collection, not the missing marker")
        return rows

    def names(self, rows: Ints) -> AnyArray:
        """Return the external ids of rows, the missing marker for -1."""
        named: AnyArray = self.values[rows]
        if (rows < 0).any():
            dtype = np.dtype(np.int64) if named.dtype.kind in "iu" else named.dtype
            named = np.where(rows < 0, np.array(self.missing), named).astype(dtype)
        return named


def as_names(ids: ArrayLike) -> AnyArray:
    """Return ids as an array: texts that came as objects as strings.

    >>> as_names(np.array(["a", "bc"], dtype=object)).dtype
    dtype('<U2')
    """
    names: AnyArray = np.asarray(ids)
    if names.dtype.kind == "O" and all(isinstance(x, str) for x in names.ravel()):
        names = names.astype(str)
    return names
