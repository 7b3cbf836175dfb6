"""The nearest labelled point, which propagation must not fall below: s_ij = max over labels l of class j of s(i, l).

Where a label is left out, its class has one less to be near by. So have the others then, on average over which:

    s_ij = (1 - 1 / n_j) first + 1 / n_j second        of the similarities to the n_j labels of class j
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from manifold._typing import AnyArray, Floats, Ints
from manifold.backends import get_backend
from manifold.neighbors import PointSet, exact_search

_TILE = 2048  # rows of a product


@dataclass(frozen=True, eq=False)
class NearestLabelled:
    """Similarities to the nearest label of each class, as logits whose largest is the class of the nearest label.

    Parameters
    ----------
    points : PointSet
        n of them.
    columns : (n,) int
        The class of each; -1 for none.
    n_classes : int
    """

    points: PointSet
    columns: Ints
    n_classes: int

    @cached_property
    def _unit(self) -> float:
        """The median lead of the best class over the next, at labels that are left out: a power of 1 is of its size."""
        best = np.partition(self._between(np.flatnonzero(self.columns >= 0)[:256]), -2, axis=1)[:, -2:]
        lead = float(np.median(best[:, 1] - best[:, 0]))
        return lead if lead > 0 else 1.0

    def left_out(self, rows: Ints) -> Floats:
        """Return logits (m, c) of labelled points, by all labels but their own and as many fewer of each other class.

        >>> from manifold.neighbors import point_set
        >>> points = point_set([[0.0], [1.0], [3.0], [9.0]], "euclidean")
        >>> NearestLabelled(points, np.array([0, 1, 1, 0]), 2).left_out(np.array([0, 2])).argmax(axis=1).tolist()
        [1, 1]
        """
        return np.asarray(self._between(rows) / self._unit)

    def everywhere(self) -> AnyArray:
        """Return logits (n, c) of all points, by all labels.

        A product says which label is nearest, within its rounding, and only that one is compared: a search that is
        exact compares ten of each class.
        """
        host, found = get_backend("scipy"), np.full((self.columns.size, self.n_classes), -np.inf, dtype=np.float32)
        self.points.check_range(self.points)
        for j in np.unique(self.columns[self.columns >= 0]).tolist():
            members = np.flatnonzero(self.columns == j)
            for some in range(0, members.size, _TILE):
                labelled = self.points.only(members[some : some + _TILE])
                for start in range(0, self.columns.size, _TILE):
                    asked = self.points.rows(slice(start, start + _TILE))
                    nearest = labelled.propose(asked, slice(None), host).argmax(axis=1)
                    one = labelled.compare(labelled.rows(nearest)[:, None], asked, host)[:, 0]
                    np.maximum(found[start : start + _TILE, j], one, out=found[start : start + _TILE, j])
        return _finite(found.astype(np.float64)) / self._unit

    def _between(self, rows: Ints) -> Floats:
        """Return the largest similarity (m, c) of labelled points to the labels of each class, each short of one."""
        host = get_backend("scipy")
        found = np.full((rows.size, self.n_classes), -np.inf)
        for j in np.unique(self.columns[self.columns >= 0]).tolist():
            members = np.flatnonzero(self.columns == j)
            k = min(2, members.size)
            ids, similarities = exact_search(self.points.only(rows), self.points.only(members), k=k, backend=host)
            near = np.where(members[ids] == rows[:, None], -np.inf, similarities.astype(np.float64))
            first, second = near.max(axis=1), near.min(axis=1)
            # of a class of one nothing can be left out but the point itself
            short = (self.columns[rows] != j) & (members.size > 1)
            found[:, j] = np.where(short, first - (first - second) / members.size, first)
        return _finite(found)


def _finite(similarities: Floats) -> Floats:
    """Return similarities with a number below all others where there is none."""
    there = np.isfinite(similarities)
    least, most = similarities[there].min(initial=0), similarities[there].max(initial=0)
    return np.where(there, similarities, 2 * least - most - 1)
