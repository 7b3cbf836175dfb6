"""Some of the points among all, cell by cell: what joins a collection, and lists that have become short.

In: points in cells, and rows that ask. Out: their lists, and which other rows they may enter. A row costs products with
the members of the cells around it: what grows with the collection is the size of a cell, and nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from manifold._typing import Ints
from manifold.backends import get_backend
from manifold.neighbors._base import Neighbors
from manifold.neighbors._doubt import doubt
from manifold.neighbors._exact import SPARE
from manifold.neighbors._near_lists import similarities_of, with_near_lists
from manifold.neighbors._nearest_cells import nearest_cells
from manifold.neighbors.cells import Cells
from manifold.neighbors.points import GATHER, Floats, PointSet, slices

_SAMPLE = 256  # rows whose lists say how many cells hold them
_REACHED = 0.97  # share of what is listed that the cells which are looked at hold
_MOST = 64  # cells, at most
_HOST = get_backend("scipy")
_RANKED = 1024  # rows that are ranked at a time


class Met(NamedTuple):
    """Lists (m, k) of the rows that asked, and pairs (row, who asked, similarity) better than the last of the row."""

    ids: Ints
    similarities: Floats
    entering: tuple[Ints, Ints, Floats]


def enough_cells(neighbors: Neighbors, points: PointSet, cells: Cells) -> int:
    """Return how many cells around a point hold nearly all that is listed for it, by lists that are there.

    >>> from manifold.neighbors import SeedSearch, find_neighbors
    >>> points = PointSet(np.random.default_rng(1).normal(size=(400, 3)).astype(np.float32), "cosine")
    >>> cells = Cells.made(points, 5, settings=SeedSearch(n_cells=20))
    >>> 1 < enough_cells(find_neighbors(points, 5), points, cells) < 20
    True
    """
    n = min(neighbors.n_nodes, points.X.shape[0])
    rows = np.unique(np.linspace(0, n - 1, _SAMPLE).astype(np.int64))
    listed = neighbors.indices[rows]
    around = nearest_cells(points, cells.centres, rows, n_cells=min(_MOST, len(cells.centres)))
    met = (_cell_of_each(cells)[listed][:, :, None] == around[:, None, :]) & (listed >= 0)[:, :, None]
    share = np.cumsum(met.sum(axis=(0, 1))) / max(1, int((listed >= 0).sum()))
    return int(np.searchsorted(share, min(_REACHED, share[-1])) + 1)


def _cell_of_each(cells: Cells) -> NDArray[np.int32]:
    cell = np.empty(cells.order.size, np.int32)
    cell[cells.order] = np.repeat(np.arange(len(cells.centres), dtype=np.int32), np.diff(cells.starts))
    return cell


@np.errstate(under="ignore")
def met_in_cells(
    points: PointSet, cells: Cells, rows: Ints, *, k: int, n_cells: int, last: Floats, lists: Neighbors
) -> Met:
    """Compare rows with the members of the cells around them, and return their k best and whose lists they may enter.

    Parameters
    ----------
    rows : (m,) int
        Points, ascending, that are in the cells too.
    last : (n,) float32
        What a point has to exceed to enter the list of each; of size 0 where none shall.
    lists : Neighbors
        Of the points that were there: those listed for whom a row meets in cells are compared with it, too.

    Notes
    -----
    Cost: 2 m p t d operations for p cells of t members. Lists may hold fewer than k: -1 and ``-inf`` pad.
    """
    from manifold.backends.compiled_lists import NOBODY, gather

    p, m = min(n_cells, len(cells.centres)), rows.size
    near = nearest_cells(points, cells.centres, rows, n_cells=p)
    visits = near.ravel()
    order = np.argsort(visits, kind="stable")
    ends, who = np.cumsum(np.bincount(visits, minlength=len(cells.centres))), order // p
    (X, divisors, _), none, asked = points.plain, np.empty(0, np.float32), points.rows(rows)
    own = points.norms[rows] ** 2 if points.metric == "euclidean" else 0.0
    lists_of = _Asking(
        rows,
        np.broadcast_to(own - 2 * doubt(points, asked), m).astype(np.float32),
        np.full((m, k + SPARE), -np.inf, np.float32),
        np.full((m, k + SPARE), NOBODY, np.int32),
    )
    pairs: list[tuple[Ints, Ints]] = []
    for c in np.flatnonzero(np.diff(ends, prepend=0)):
        members = np.array(cells.order[cells.starts[c] : cells.starts[c + 1]])  # in memory: kernels take no maps
        theirs = np.empty((members.size, asked.shape[1]), np.float32)
        gather(X, divisors, none, members, theirs)
        some = who[ends[c - 1] if c else 0 : ends[c]]
        for part in slices(some.size, max(1, GATHER // max(1, members.size))):
            products = points.propose(asked[some[part]], members.astype(np.int64), _HOST, rows=theirs)
            pairs.append(lists_of.meet(products, members, some[part], last))
    found = np.where(lists_of.ids == NOBODY, -1, lists_of.ids).astype(np.int64)
    best = _ranked(points, rows, lists_of.scores, found, k=k)
    cell = _cell_of_each(cells)
    ids, similarities, listed = with_near_lists(points, rows, lists, found=best, cell=cell, visits=near, last=last)
    entering = _entering(points, rows, asked, pairs, last)
    i, who, values = (np.concatenate([one, other]) for one, other in zip(entering, listed, strict=True))
    return Met(ids, similarities, (i, who, values))


class _Asking(NamedTuple):
    """Rows (m,) that ask, by how much their scores may be too small, and what they have found (m, c), as it comes."""

    rows: Ints
    more: Floats
    scores: Floats
    ids: NDArray[np.int32]

    def meet(self, products: Floats, members: NDArray[np.int32], who: Ints, last: Floats) -> tuple[Ints, Ints]:
        """Offer products of some who ask and the members of a cell; return the pairs of which a member may gain."""
        from manifold.backends.compiled_edges import meet

        met = np.empty((2, products.size if last.size else 0), np.int32)  # of which few pages are ever touched
        entry = last, self.more[who]
        n = meet(products, members, self.rows[who], who, entry, self.scores, self.ids, met)
        return met[0, :n].astype(np.int64), met[1, :n].astype(np.int64)


def _ranked(points: PointSet, rows: Ints, scores: Floats, found: Ints, *, k: int) -> tuple[Ints, Floats]:
    """Return the best k of what was met, by (-similarity, id)."""
    ids, similarities = np.full((rows.size, k), -1, np.int64), np.full((rows.size, k), -np.inf, np.float32)
    for part in slices(rows.size, _RANKED):
        met = np.isfinite(scores[part])
        values = similarities_of(points, points.rows(rows[part]), np.where(met, found[part], -1))
        values[~met] = -np.inf
        order = np.lexsort((found[part], -values), axis=1)[:, :k]
        ids[part] = np.take_along_axis(found[part], order, axis=1)
        similarities[part] = np.take_along_axis(values, order, axis=1)
    ids[np.isneginf(similarities)] = -1
    return ids, similarities


def _entering(
    points: PointSet, rows: Ints, asked: Floats, pairs: list[tuple[Ints, Ints]], last: Floats
) -> tuple[Ints, Ints, Floats]:
    """Return those of the pairs that are better than the last of the row, exactly."""
    i, who = (np.concatenate([np.empty(0, np.int64), *parts]) for parts in zip(*pairs, strict=True))
    values = np.empty(i.size, np.float32)
    for part in slices(i.size, max(1, GATHER // points.X.shape[1])):
        values[part] = similarities_of(points, asked[who[part]], i[part, None])[:, 0]
    enters = values > last[i]
    return i[enters], rows[who[enters]], values[enters]
