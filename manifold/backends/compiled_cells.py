"""Compiled: the nearest points of queries, by scanning the cells around each and walking lists of neighbours.

In: rows, cells, lists (n, k), edges and queries. Out: the best points of each query, and how many are proved to be the
best.

A query costs what it looks at and one pass over the centres; nothing of the size of the collection is made. Queries go
through cells in rounds, side by side: a point is read once for all whose round lists its cell. Every similarity that is
kept is the fixed-order sum (`compiled_lists`), of points that a sum in float32 has not ruled out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from manifold._typing import AnyArray, Floats
from manifold.backends._compiled import compiled, number
from manifold.backends._row_dots import LANES
from manifold.backends.cell_bounds import (
    UNIT,
    begin,
    ceiling_left,
    ceiling_of,
    next_cell,
    proved_bound,
    sink,
)
from manifold.backends.compiled_lists import NOBODY, rough, similarity

_SLOTS = 8  # of the table of what a walk meets, for each neighbour of what it keeps: half of them are filled at most
_SCATTER = 2654435761  # golden ratio times 2^32 (Knuth): ids that follow one another fall far apart
_FREE = np.int32(-1)
_WIDER = 4  # times the cells of the round before: few are listed in vain where a query has enough early


class Points(NamedTuple):
    """Rows as they are stored, their divisors, and the largest similarity, which tells the metric."""

    X: AnyArray
    norms: AnyArray
    largest: np.float32


class _Asked(NamedTuple):
    """Queries (g, d), the points that they are, the best of each so far, and how far each has gone through the cells.

    The first `n_left` of `heap` are cells, the least by (bound, cell) on top; what is not `exact` is below the bound.
    `n_listed` cells, which are there no more, hold `n_held` others, or k at least, and nothing left exceeds `ceiling`.
    """

    rows: AnyArray
    own: AnyArray
    scores: AnyArray
    ids: AnyArray
    closed: AnyArray
    bounds: AnyArray
    exact: AnyArray
    heap: AnyArray
    squares: AnyArray
    near: AnyArray
    away: AnyArray
    n_left: AnyArray
    n_listed: AnyArray
    n_held: AnyArray
    ceiling: AnyArray
    goes_on: AnyArray


class Cells(NamedTuple):
    """Centres (c, d) less `centre`; members cell by cell, how far each is from its centre; what bounds may be off."""

    centre: AnyArray
    centres: AnyArray
    order: NDArray[np.int32]
    away: NDArray[np.float32]
    starts: AnyArray
    radii: Floats
    margin: float


@compiled
def _offer(scores, ids, closed, score, id):  # type: ignore[no-untyped-def]
    """Put a point in its place among the best, by (-score, id), open to a walk; return the place, or their number."""
    size = scores.size
    place = size
    while place > 0 and (scores[place - 1] < score or (scores[place - 1] == score and ids[place - 1] > id)):
        place -= 1
    if place == size or (place > 0 and ids[place - 1] == id):  # a walk may come to what a scan has found
        return size
    for e in range(size - 1, place, -1):
        scores[e], ids[e], closed[e] = scores[e - 1], ids[e - 1], closed[e - 1]
    scores[place], ids[place], closed[place] = score, id, False
    return place


@compiled
def _meet(table, id):  # type: ignore[no-untyped-def]
    """Say whether a point is met for the first time, and remember it: in a table of a power of two places."""
    mask = table.size - 1
    at = (np.int64(id) * _SCATTER) & mask
    while table[at] != _FREE:
        if table[at] == id:
            return False
        at = (at + 1) & mask
    table[at] = id
    return True


@compiled
def _look(rows, q, X, norms, largest, id, scores, ids, closed, sums):  # type: ignore[no-untyped-def]
    """Compare a point with query q, and keep it where it is one of the best; return its place, or their number."""
    i, size = np.uint64(id), scores.shape[1]
    if i >= np.uint64(X.shape[0]):  # of cells, or lists, that were mapped and not looked through
        return size
    norm, off = norms[i], 2 * (rows.shape[1] + 8) * UNIT
    most = np.float64(rough(rows, q, X, i, norm, largest))
    most += off * (1 if largest != 0 else -most)
    if most < scores[q, size - 1]:
        return size
    return _offer(scores[q], ids[q], closed[q], similarity(rows[q], X, i, norm, largest, sums), id)


@compiled
def _list_cells(asked, cells, width, n_probes, k, largest, whose, which, most):  # type: ignore[no-untyped-def]
    """List up to `width` cells for each query that goes on, in the order of their bounds; return how many in all.

    A query has enough when its k-th score exceeds all that is left, or `n_probes` were listed that hold k others.
    """
    n = 0
    for q in range(asked.goes_on.size):
        for _ in range(width if asked.goes_on[q] else 0):
            if not asked.n_left[q]:
                asked.ceiling[q], asked.goes_on[q] = -np.inf, False
                break
            c = next_cell(q, asked, cells)
            asked.ceiling[q] = ceiling_of(asked.bounds[q, c], largest)
            enough = asked.n_listed[q] >= n_probes and asked.n_held[q] >= k
            if enough or asked.scores[q, k - 1] > asked.ceiling[q]:
                asked.goes_on[q] = False
                break
            asked.n_left[q] -= 1
            asked.heap[q, 0] = asked.heap[q, asked.n_left[q]]
            sink(asked.heap[q], asked.bounds[q], 0, asked.n_left[q])
            asked.n_listed[q] += 1
            for e in range(cells.starts[c], cells.starts[c + 1] if asked.n_held[q] < k else 0):
                asked.n_held[q] += cells.order[e] != asked.own[q]
            whose[n], which[n] = q, c
            most[n] = ceiling_of(proved_bound(q, c, asked.bounds[q, c], asked, cells), largest)
            n += 1
    return n


@compiled
def _scan(asked, points, cells, k, whose, which, most, looked, sums):  # type: ignore[no-untyped-def]
    """Look at the members of listed cells, cell after cell: what a query meets, and when, does not depend on others.

    Left out are cells that hold nothing better than the k-th by now, and members whose distance to the centre says that
    they are not among the best.
    """
    by_cell, apart = np.argsort(which, kind="mergesort"), np.empty(which.size)
    # arrays are taken out of their tuples once: to count references for each pair takes as long as hundreds of products
    own, rows, scores, ids, closed = asked.own, asked.rows, asked.scores, asked.ids, asked.closed
    squares, starts, order, aways = asked.squares, cells.starts, cells.order, cells.away
    X, norms, largest = points.X, points.norms, points.largest
    off, last, first = (asked.rows.shape[1] + 8) * UNIT, asked.scores.shape[1] - 1, 0
    while first < which.size:
        c, n, after = which[by_cell[first]], 0, first
        while after < which.size and which[by_cell[after]] == c:
            p = by_cell[after]
            q, after = whose[p], after + 1
            if scores[q, k - 1] <= most[p]:
                by_cell[first + n], apart[n] = q, np.sqrt(np.float64(squares[q, c]))
                n += 1
        for e in range(starts[c], starts[c + 1] if n else 0):
            id, away = order[e], np.float64(aways[e])
            for i in range(n):
                q = by_cell[first + i]
                # |y - x| >= ||y - c| - |x - c||, either of them rounded
                least = max(0.0, abs(apart[i] - away) - off * (apart[i] + away))
                if id == own[q] or ceiling_of(least, largest) < scores[q, last]:
                    continue
                looked[q] += 1
                _look(rows, q, X, norms, largest, id, scores, ids, closed, sums)
        first = after


@compiled
def _walk(asked, q, points, lists, edges, table, sums):  # type: ignore[no-untyped-def]
    """Go to the neighbours of the best point that is open, and close it, until none is left; return a count."""
    (starts, ends), n_listed = edges, lists.shape[1]
    ids, closed, own = asked.ids[q], asked.closed[q], asked.own[q]
    X, norms, largest = points.X, points.norms, points.largest
    at = looked = 0
    while at < ids.size and ids[at] != NOBODY and looked < table.size // 2:
        if closed[at]:
            at += 1
            continue
        closed[at] = True
        node, first = np.uint64(ids[at]), at + 1
        from_, to = np.int64(0), np.int64(0)
        if starts.size:  # of edges that were mapped and not looked through
            from_, to = max(np.int64(0), np.int64(starts[node])), min(np.int64(starts[node + np.uint64(1)]), ends.size)
        for e in range(n_listed + max(np.int64(0), to - from_)):
            id = np.int32(lists[node, e] if e < n_listed else ends[from_ + e - n_listed])
            if id >= 0 and id != own and _meet(table, id):
                looked += 1
                place = _look(asked.rows, q, X, norms, largest, id, asked.scores, asked.ids, asked.closed, sums)
                first = min(first, place)
        at = first
    return looked


@compiled
def search(queries, owns, points, cells, lists, edges, n_probes, breadth, first, last, best, near, proved, looked):  # type: ignore[no-untyped-def]
    """Fill rows first..last-1 of the answers for queries (m, d) float32, rows as the metric compares them.

    Parameters
    ----------
    owns : (m,) int
        The point that each query is, which is left out; -1: none.
    lists : (n, w) int32
        Neighbours that a walk follows.
    edges : (n + 1,), (m,) int
        And the edges of a graph, whose rows begin at the first of these; of size 0: none.
    n_probes : int
        Cells that are scanned, at most; more where they hold fewer than k points.
    breadth : int
        Points that a walk keeps, and goes on from; 0: no walk.
    best, near : (m, k) float32 and int32
        Similarities and ids by (-similarity, id); ``-inf`` and `NOBODY` pad.
    proved, looked : (m,) int
        How many of the first are certainly the nearest of all, and how many points were compared.
    """
    (n_cells, d), k, g = cells.centres.shape, best.shape[1], last - first
    m, size = max(k, breadth), 1
    while size < _SLOTS * breadth * (lists.shape[1] + edges[1].size // max(1, edges[0].size)):
        size *= 2
    asked = _Asked(
        rows=queries[first:last],
        own=owns[first:last],
        scores=np.full((g, m), -np.inf, np.float32),
        ids=np.full((g, m), NOBODY, np.int32),
        closed=np.zeros((g, m), np.bool_),
        bounds=np.empty((g, n_cells)),
        exact=np.zeros((g, n_cells), np.bool_),
        heap=np.empty((g, n_cells), np.int32),
        squares=np.empty((g, n_cells), np.float32),
        near=np.zeros(g, np.int64),
        away=np.zeros(g),
        n_left=np.zeros(g, np.int64),
        n_listed=np.zeros(g, np.int64),
        n_held=np.zeros(g, np.int64),
        ceiling=np.empty(g),
        goes_on=np.ones(g, np.bool_),
    )
    y, sums = np.empty(d, np.float32), np.empty(LANES)
    table = np.empty(size, np.int32)
    for q in range(g):
        for j in range(d):
            y[j] = asked.rows[q, j] - cells.centre[j] if cells.centre.size else asked.rows[q, j]
        begin(y, q, asked, cells)
    looked[first:last] = 0
    width = 1
    while asked.goes_on.any():
        whose, which = np.empty(g * min(width, n_cells), np.int64), np.empty(g * min(width, n_cells), np.int64)
        most = np.empty(whose.size)
        n = _list_cells(asked, cells, min(width, n_cells), n_probes, k, points.largest, whose, which, most)
        _scan(asked, points, cells, k, whose[:n], which[:n], most[:n], looked[first:last], sums)
        width *= _WIDER
    for q in range(g):
        scores, ids = asked.scores[q], asked.ids[q]
        found, ceiling = 0, ceiling_left(q, asked, cells, points.largest)
        while found < k and scores[found] > ceiling:
            found += 1
        proved[first + q] = found
        if breadth and found < k:
            table[:] = _FREE
            looked[first + q] += _walk(asked, q, points, lists, edges, table, sums)
        best[first + q], near[first + q] = scores[:k], ids[:k]


@compiled
def distances(points, cells, cell, out, first, last):  # type: ignore[no-untyped-def]
    """Write how far members first..last-1 of the order are from the centres of their cells: (n,) float32."""
    X, norms, centre = points.X, points.norms, cells.centre
    for e in range(first, last):
        i = np.uint64(cells.order[e])
        c, total = cell[i], 0.0
        for j in range(X.shape[1]):
            value = number(X[i, j]) - centre[j] if centre.size else number(X[i, j]) / norms[i]
            total += np.float64(value - cells.centres[c, j]) ** 2
        out[e] = np.sqrt(total)
