"""Sequences whose items are computed when they are asked for; made of plain functions, so that they can be pickled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Generic, Literal, SupportsIndex, TypeVar, overload

import numpy as np

from manifold._typing import AnyArray, Ints

T_co = TypeVar("T_co", covariant=True)


class Lazy(Sequence[T_co], Generic[T_co]):
    """A sequence whose items are computed when they are asked for."""

    def __init__(self, n: int, item: Callable[[int], T_co]) -> None:
        self._n, self._item = n, item  # a partial of a function of this file: closures cannot be pickled

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, i: SupportsIndex) -> T_co: ...
    @overload
    def __getitem__(self, i: slice) -> list[T_co]: ...
    def __getitem__(self, i: SupportsIndex | slice) -> T_co | list[T_co]:
        if isinstance(i, slice):
            return [self._item(j) for j in range(*i.indices(self._n))]
        return self._item(range(self._n)[i])


def squares(X: AnyArray, *, order: Literal["F", "C"] = "C") -> Lazy[AnyArray]:
    """Return each row as the pixels of a square image.

    >>> squares(np.arange(8).reshape(2, 4))[1].tolist()
    [[4, 5], [6, 7]]
    """
    return Lazy(len(X), partial(_square, X, order))


def chosen(items: Sequence[T_co], rows: Ints) -> Sequence[T_co]:
    """Return the items of some rows.

    >>> list(chosen("abc", np.array([2, 0])))
    ['c', 'a']
    """
    return Lazy(len(rows), partial(_chosen, items, rows)) if len(items) else ()


def same_class(labels: Ints, query_labels: Ints | None = None) -> Lazy[Ints]:
    """Ids of each query's class; without query labels the items ask, each left out of its own row.

    >>> [row.tolist() for row in same_class(np.array([5, 7, 5, -1]))]
    [[2], [], [0], []]
    """
    members = {int(c): np.flatnonzero(labels == c) for c in np.unique(labels[labels >= 0])}
    if query_labels is None:
        return Lazy(len(labels), partial(_others, members, labels))
    return Lazy(len(query_labels), partial(_members, members, query_labels))


def _square(X: AnyArray, order: Literal["F", "C"], i: int) -> AnyArray:
    side = int(X.shape[1] ** 0.5)
    image: AnyArray = X[i].reshape(side, side, order=order)
    return image


def _chosen(items: Sequence[T_co], rows: Ints, i: int) -> T_co:
    return items[int(rows[i])]


def _members(members: Mapping[int, Ints], labels: Ints, i: int) -> Ints:
    return members.get(int(labels[i]), np.empty(0, np.int64))


def _others(members: Mapping[int, Ints], labels: Ints, i: int) -> Ints:
    them = _members(members, labels, i)
    others: Ints = them[them != i]
    return others
