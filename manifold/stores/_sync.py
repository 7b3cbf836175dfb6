"""What a store holds, beside what was fitted: two scans -> what is new, what has changed, what has gone.

In: a store, a fitted search. Out: one change of it, and a name for what it holds then.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from manifold._typing import AnyArray, Mask
from manifold.ranking import Fitted
from manifold.stores._base import BATCH, Store, Vectors

_SAME = 1e-6  # of a vector's norm: stores give vectors back with other last bits, where nothing was written


@dataclass(frozen=True)
class Changes:
    """How many items a `sync` found new, changed and gone.

    Reference: guide *stores*, "In step with inserts and deletes".

    >>> Changes(new=1, changed=0, gone=2).total
    3
    """

    new: int = 0
    changed: int = 0
    gone: int = 0

    @property
    def total(self) -> int:
        """How many items there were to change.

        >>> Changes().total
        0
        """
        return self.new + self.changed + self.gone


@dataclass(frozen=True)
class Snapshot:
    """Which content of a store a list was made of.

    Reference: guide *stores*, "In step with inserts and deletes".

    Attributes
    ----------
    number : int
        How many times it has changed since it was fitted or loaded.
    digest : str
        Of all ids and vectors, in the order of the ids: equal contents have equal digests, in any process.
    n_items : int

    Examples
    --------
    >>> Snapshot(number=0, digest="5f70bf18a0860070", n_items=3)
    Snapshot(number=0, digest='5f70bf18a0860070', n_items=3)
    """

    number: int
    digest: str
    n_items: int

    @classmethod
    def of(cls, fitted: Fitted, number: int) -> Snapshot:
        """Return the name of what a search was fitted to; without vectors, by ids alone.

        >>> from manifold import ManifoldSearch
        >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
        >>> Snapshot.of(fitted, 0).n_items
        3
        """
        names, made = fitted.ids.values, hashlib.blake2b(digest_size=8)
        if names.dtype == object:  # numbers beside texts have no order of their own
            order = np.array(sorted(range(len(names)), key=lambda i: (type(names[i]).__name__, names[i])), np.int64)
        else:
            order = np.argsort(names, kind="stable")
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            made.update(repr(names[rows].tolist()).encode())
            if fitted.points is not None:
                made.update(fitted.points.X[rows].tobytes())
        return cls(number, made.hexdigest(), len(names))


@dataclass(frozen=True, eq=False)
class Difference:
    """What `ManifoldSearch.update` is given: vectors that join or replace others, if any, and ids that leave."""

    ids: list[object] | None
    X: Vectors | None
    gone: AnyArray
    changes: Changes


def scanned(store: Store) -> tuple[list[object], Vectors]:
    """Return ids and vectors of all items of a store; raise ValueError where there are none.

    >>> from manifold.stores import Arrays
    >>> scanned(Arrays(["a", "b"], np.eye(2)))[0]
    ['a', 'b']
    """
    ids: list[object] = []
    parts = []
    for names, X in store.batches():
        ids += names
        parts.append(X)
    if not ids:
        raise ValueError(f"{store} holds no vectors: write some, and fit then")
    return ids, np.concatenate(parts)


def difference(store: Store, fitted: Fitted) -> Difference:
    """Return what a scan of a store finds that a fitted search does not hold so.

    >>> from manifold import ManifoldSearch
    >>> from manifold.stores import Arrays
    >>> fitted = ManifoldSearch(n_neighbors=1).fit(np.eye(3), ids=["a", "b", "c"]).fitted_
    >>> difference(Arrays(["b", "c", "d"], [[0, 1, 0], [1, 1, 0], [1, 0, 1]]), fitted).changes
    Changes(new=1, changed=1, gone=1)
    """
    points = fitted.require_points("fit anew, with neighbors='store', what the store holds now")
    seen = np.zeros(len(fitted.ids), dtype=bool)
    ids: list[object] = []
    vectors: list[Vectors] = []
    n_new = 0
    for names, X in store.batches():
        _, rows, strange = fitted.ids.look_up(names)
        other = strange | (rows < 0)
        n_new += int(other.sum())
        held = np.flatnonzero(~other)
        seen[rows[held]] = True
        if held.size:  # read as the rows of the fit were, so that what is equal is equal here
            other[held] = _differ(points.joining(X[held]).X, points.X[rows[held]])
        ids += [names[i] for i in np.flatnonzero(other).tolist()]
        vectors.append(X[other])
    gone = fitted.ids.values[~seen]
    if gone.size:  # a scan by pages may step over an item, while others are deleted
        still = store.keep(gone.tolist())
        gone = gone[[name not in still for name in gone.tolist()]]
    changes = Changes(new=n_new, changed=len(ids) - n_new, gone=gone.size)
    return Difference(ids or None, np.concatenate(vectors) if ids else None, gone, changes)


def _differ(now: Vectors, before: Vectors) -> Mask:
    """Return which rows are others than before, by more than what a store's own arithmetic leaves."""
    now, before = now.astype(np.float64), before.astype(np.float64)
    change = np.square(now - before).sum(axis=1)
    other: Mask = np.greater(change, _SAME**2 * np.square(before).sum(axis=1))
    return other
