"""What may be listed: ids, a mask, or a question that is put to who knows, as rankings come to need it.

In: `allowed` as a user gives it. Out: a mask of what is ranked. Scores are those of the whole collection, of which the
best that are allowed are listed. What has not been asked about counts as allowed: where all of a list has been, it is
the best of what truly is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from manifold._arrays import as_array
from manifold._typing import AnyArray, Ints, Mask
from manifold.ranking._collection import Ids

Round = Callable[[int], Ints]  # how deep -> rows (q, m) that are best, -1 pads

_DEEPER = 4  # times as far down a list, where too few of it are allowed
_MOST = 1 << 23  # rows that a round lists, of all queries: then everything is asked about


class Allowed:
    """What may be listed of the items of a collection.

    Attributes
    ----------
    mask : (n,) bool
        What is allowed, or has not been asked about.

    Examples
    --------
    >>> Allowed.read(Ids(["a", "b", "c"], 3), ["c", "gone"]).mask.tolist()
    [False, False, True]
    >>> even = Allowed.read(Ids([4, 7], 2), lambda ids: ids % 2 == 0)
    >>> even.ask(np.array([[1, -1]])), even.mask.tolist()
    (True, [True, False])
    """

    def __init__(
        self,
        ids: Ids,
        mask: Mask,
        *,
        names: AnyArray | None = None,
        question: Callable[[AnyArray], object] | None = None,
    ) -> None:
        self.ids, self.mask, self._names, self._question = ids, mask, names, question
        self._open: Mask = np.full(len(ids), question is not None)

    @classmethod
    def read(cls, ids: Ids, allowed: object) -> Allowed | None:
        """Return what a user allows; None where that is everything.

        Raises TypeError and ValueError for what is no ids, no mask of the collection and no callable.

        >>> Allowed.read(Ids(["a", "b"], 2), np.array([True, False])).mask.tolist()
        [True, False]
        """
        n = len(ids)
        if allowed is None:
            return None
        if callable(allowed):
            return cls(ids, np.ones(n, dtype=bool), question=allowed)
        if _is_mask(allowed):
            return cls(ids, _flags(allowed, n, "allowed"))
        try:
            names, rows, _ = ids.look_up(list(allowed) if isinstance(allowed, set | frozenset) else allowed)
        except TypeError as error:
            raise TypeError(f"allowed is a mask, a callable, or ids: {error}") from None
        if rows.ndim > 1:
            raise ValueError(f"allowed must be ids (m,) or a mask (n,), got shape {rows.shape}")
        if rows.size == n > 2 and names.dtype.kind in "iu" and np.isin(names, (0, 1)).all():
            raise TypeError(f"allowed holds {n} zeros and ones: a mask is boolean, pass allowed.astype(bool)")
        mask = np.zeros(n, dtype=bool)
        mask[rows[rows >= 0]] = True
        return cls(ids, mask, names=np.atleast_1d(names))

    @property
    def is_open(self) -> bool:
        """Whether there is something to be asked about."""
        return bool(self._open.any())

    def ask(self, rows: Ints) -> bool:
        """Ask about those rows (-1 pads) that have not been asked about; return whether there were any."""
        fresh = np.unique(rows[rows >= 0])
        fresh = fresh[self._open[fresh]]
        if not fresh.size:
            return False
        self.mask[fresh], self._open[fresh] = self._answers(self.ids.names(fresh)), False
        return True

    def settle(self, wanted: int, first: Round, *, q: int) -> None:
        """Ask on until the first `wanted` rows of every list are known to be allowed, or all there are.

        Each round lists more than the one before, where too few of it are allowed; the last one what is wanted.

        >>> odd = Allowed.read(Ids(None, 99), lambda ids: ids % 2 == 1)
        >>> odd.settle(2, lambda depth: np.flatnonzero(odd.mask)[None, :depth], q=1)
        >>> np.flatnonzero(odd.mask).tolist()[:6]  # 10 has not been asked about
        [1, 3, 5, 7, 9, 10]
        """
        depth = wanted
        while True:
            rows = first(depth)
            if not self.ask(rows) and depth == wanted:
                return
            found = ((rows >= 0) & self.mask[rows]).sum(axis=1).min(initial=wanted)
            depth = wanted if found >= wanted else _DEEPER * depth
            if depth * q > _MOST or depth >= self.mask.size:
                self.ask(np.flatnonzero(self._open))
                depth = wanted

    def strangers(self, names: AnyArray) -> Mask:
        """Return which names that the collection does not hold are allowed; raise ValueError where a mask was given.

        >>> Allowed.read(Ids(["a", "b"], 2), ["a", "new"]).strangers(np.array(["new", "gone"])).tolist()
        [True, False]
        """
        if self._question is not None:
            return self._answers(names) if names.size else np.zeros(0, dtype=bool)
        if self._names is None:
            why = "a mask says nothing of ids that the collection does not hold"
            raise ValueError(f"unknown='behind' needs allowed as ids or a callable: {why}; choose unknown='drop'")
        given = set(self._names.tolist())
        return np.array([name in given for name in names.tolist()], dtype=bool)

    def _answers(self, names: AnyArray) -> Mask:
        assert self._question is not None
        return _flags(self._question(names), names.size, "allowed(ids)")


def _is_mask(allowed: object) -> bool:
    """Return whether what is given are booleans, rather than names."""
    if isinstance(allowed, list | tuple):
        return bool(allowed) and all(isinstance(x, bool | np.bool_) for x in allowed)
    kind = getattr(allowed, "dtype", getattr(allowed, "type", None))  # of arrays and columns, whatever their library
    return "bool" in str(kind).lower()


def _flags(given: object, n: int, name: str) -> Mask:
    flags = as_array(given, name)
    if flags.dtype.kind != "b" or flags.shape != (n,):
        raise ValueError(
            f"{name} must be one boolean for each of {n} items, got {flags.dtype} {flags.shape}: none of them missing"
        )
    return np.array(flags)
