"""Some of the points among all, cell by cell: what joins a collection, and lists that have become short.

In: points in cells, and rows that ask. Out: their lists, and which other rows they may enter. A row costs products with
the members of the cells around it: what grows with the collection is the size of a cell, and nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manifold._typing import Ints
from manifold.backends import get_backend
from manifold.backends.threads import in_threads
from manifold.neighbors._base import Neighbors
from manifold.neighbors._doubt import doubt
from manifold.neighbors._exact import SPARE
from manifold.neighbors._nearest_cells import nearest_cells
from manifold.neighbors.cells import Cells
from manifold.neighbors.points import GATHER, Floats, PointSet, slices

_SAMPLE = 256  # rows whose lists say how many cells hold them
_REACHED = 0.99  # share of what is listed that the cells which are looked at hold
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
def met_in_cells(points: PointSet, cells: Cells, rows: Ints, *, k: int, n_cells: int, last: Floats) -> Met:
    """Compare rows with the members of the cells around them, and return their k best and whose lists they may enter.

    Parameters
    ----------
    rows : (m,) int
        Points, ascending, that are in the cells too.
    last : (n,) float32
        What a point has to exceed to enter the list of each; inf where it shall not.

    Notes
    -----
    Cost: 2 m p t d operations for p cells of t members. Lists may hold fewer than k: -1 and ``-inf`` pad.
    """
    from manifold.backends.compiled_lists import gather, top_k

    p, m = min(n_cells, len(cells.centres)), rows.size
    around = nearest_cells(points, cells.centres, rows, n_cells=p)
    visits = np.argsort(around.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(around.ravel(), minlength=len(cells.centres)))
    width = k + SPARE
    scores, found = np.full((m, p, width), -np.inf, np.float32), np.zeros((m, p, width), np.int64)
    (X, divisors, _), none, asked = points.plain, np.empty(0, np.float32), points.rows(rows)
    margin = 2 * doubt(points, asked)
    own = points.norms[rows] ** 2 if points.metric == "euclidean" else np.zeros(m)
    pairs: list[tuple[Ints, Ints]] = []
    for c in np.flatnonzero(np.diff(ends, prepend=0)):
        who, slot = np.divmod(visits[ends[c - 1] if c else 0 : ends[c]], p)
        members = cells.order[cells.starts[c] : cells.starts[c + 1]].astype(np.int64)
        theirs, place = np.empty((members.size, asked.shape[1]), np.float32), min(width, members.size)
        gather(X, divisors, none, members, theirs)
        for part in slices(who.size, max(1, GATHER // max(1, members.size))):
            i = who[part]
            products = points.propose(asked[i], members, _HOST, rows=theirs)
            products[rows[i][:, None] == members] = -np.inf
            near, best = top_k(products, place)
            scores[i, slot[part], :place], found[i, slot[part], :place] = best, members[near]
            least = (last[members] + (own - margin)[i][:, None]).astype(np.float32)
            j, at = np.nonzero(products >= least)
            pairs.append((members[at], i[j]))
    ids, similarities = _ranked(points, rows, scores.reshape(m, -1), found.reshape(m, -1), k=k)
    return Met(ids, similarities, _entering(points, rows, asked, pairs, last))


def _ranked(points: PointSet, rows: Ints, scores: Floats, found: Ints, *, k: int) -> tuple[Ints, Floats]:
    """Return the best k of what was met, by (-similarity, id)."""
    from manifold.backends.compiled_lists import top_k

    ids, similarities = np.full((rows.size, k), -1, np.int64), np.full((rows.size, k), -np.inf, np.float32)
    for part in slices(rows.size, _RANKED):
        order, best = top_k(scores[part], min(k + SPARE, scores.shape[1]))
        candidates = np.take_along_axis(found[part], order, axis=1)
        values = _similarities(points, points.rows(rows[part]), candidates)
        values[np.isneginf(best)] = -np.inf  # nobody was met
        order = np.lexsort((candidates, -values), axis=1)[:, :k]
        near = np.take_along_axis(candidates, order, axis=1), np.take_along_axis(values, order, axis=1)
        ids[part, : order.shape[1]], similarities[part, : order.shape[1]] = near
    ids[np.isneginf(similarities)] = -1
    return ids, similarities


def _similarities(points: PointSet, queries: Floats, ids: Ints) -> Floats:
    """Return the similarities (m, c) of points to queries, each by the sum that every search takes."""
    from manifold.backends.compiled_lists import compare

    out = np.empty(ids.shape, np.float32)
    in_threads(lambda i, j: compare(queries, *points.plain, ids, out, i, j), len(ids), step=_RANKED)
    return out


def _entering(
    points: PointSet, rows: Ints, asked: Floats, pairs: list[tuple[Ints, Ints]], last: Floats
) -> tuple[Ints, Ints, Floats]:
    """Return those of the pairs that are better than the last of the row, exactly."""
    i, who = (np.concatenate([np.empty(0, np.int64), *parts]) for parts in zip(*pairs, strict=True))
    values = np.empty(i.size, np.float32)
    for part in slices(i.size, max(1, GATHER // points.X.shape[1])):
        values[part] = _similarities(points, asked[who[part]], i[part, None])[:, 0]
    enters = values > last[i]
    return i[enters], rows[who[enters]], values[enters]
