"""Some of the points among all, cell by cell: what joins a collection, and lists that have become short.

In: points in cells, and rows that ask. Out: their lists, and which other rows they may enter. A row costs products with
the members of the cells around it: what grows with the collection is the size of a cell, and nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

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
    near = nearest_cells(points, cells.centres, np.maximum(listed, 0).ravel(), n_cells=1)[:, 0]
    around = nearest_cells(points, cells.centres, rows, n_cells=min(_MOST, len(cells.centres)))
    met = (near.reshape(listed.shape)[:, :, None] == around[:, None, :]) & (listed >= 0)[:, :, None]
    share = np.cumsum(met.sum(axis=(0, 1))) / max(1, int((listed >= 0).sum()))
    return int(np.searchsorted(share, min(_REACHED, share[-1])) + 1)


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
        What a point has to exceed to enter the list of each; inf where it shall not.

    lists : Neighbors
        Of the points that were there: those listed for whom a row meets in cells are compared with it, too.

    Notes
    -----
    Cost: 2 m p t d operations for p cells of t members. Lists may hold fewer than k: -1 and ``-inf`` pad.
    """
    from manifold.backends.compiled_lists import NOBODY, gather, offer_rows

    p, m = min(n_cells, len(cells.centres)), rows.size
    visits = nearest_cells(points, cells.centres, rows, n_cells=p).ravel()
    order = np.argsort(visits, kind="stable")
    ends = np.cumsum(np.bincount(visits, minlength=len(cells.centres)))
    scores, found = np.full((m, k + SPARE), -np.inf, np.float32), np.full((m, k + SPARE), NOBODY, np.int32)
    (X, divisors, _), none, asked = points.plain, np.empty(0, np.float32), points.rows(rows)
    own = points.norms[rows] ** 2 if points.metric == "euclidean" else 0.0
    more = (own - 2 * doubt(points, asked)).astype(np.float32)  # what a score may lack of a similarity, and rounding
    pairs: list[tuple[Ints, Ints]] = []
    for c in np.flatnonzero(np.diff(ends, prepend=0)):
        who = order[ends[c - 1] if c else 0 : ends[c]] // p
        members = cells.order[cells.starts[c] : cells.starts[c + 1]]
        theirs = np.empty((members.size, asked.shape[1]), np.float32)
        gather(X, divisors, none, members, theirs)
        for part in slices(who.size, max(1, GATHER // max(1, members.size))):
            i = who[part]
            products = points.propose(asked[i], members.astype(np.int64), _HOST, rows=theirs)
            at = np.minimum(np.searchsorted(members, rows[i]), members.size - 1)  # ids ascend within a cell
            mine = np.flatnonzero(members[at] == rows[i]) if members.size else at[:0]
            products[mine, at[mine]] = -np.inf
            # places are called by ids behind all that ask, so that nobody is taken for who asks
            offer_rows(products, np.zeros_like(products[0]), members + m, i, scores, found, 0, i.size)
            j, e = _above(products, last[members], more[i])
            pairs.append((members[e].astype(np.int64), i[j]))
    ids, similarities = _ranked(points, rows, scores, found.astype(np.int64) - m, k=k)
    ids, similarities, listed = with_near_lists(points, rows, lists, ids=ids, similarities=similarities)
    better = listed[2] > last[listed[0]]
    entering = _entering(points, rows, asked, pairs, last)
    i, who, values = (np.concatenate([entering[at], listed[at][better]]) for at in range(3))
    return Met(ids, similarities, (i, who, values))


def _above(products: Floats, least: Floats, more: Floats) -> tuple[Ints, Ints]:
    """Return the places of products that are as large as the least of their column, but for what their row may lack."""
    from manifold.backends.compiled_edges import above

    room = max(1024, products.size // 16)
    while True:
        i, j = np.empty(room, np.int64), np.empty(room, np.int64)
        n = above(products, least, more, i, j)
        if n <= room:
            return i[:n], j[:n]
        room = n


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
