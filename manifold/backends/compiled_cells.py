"""Compiled: the nearest points of single queries, by scanning the cells around each and walking lists of neighbours.

In: rows, cells, lists (n, k) and queries. Out: the best points of each query, and how many are proved to be the best.

A query costs what it looks at and one pass over the centres; nothing of the size of the collection is made. Every
similarity that is kept is the fixed-order sum (`compiled_lists`), of points that a sum in float32 has not ruled out.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from manifold._typing import AnyArray, Floats
from manifold.backends._compiled import Kernel, compiled, number
from manifold.backends._row_dots import LANES
from manifold.backends.compiled_lists import NOBODY, similarity

_UNIT = 2.0**-24  # rounding of a float32
_SLOTS = 8  # of the table of what a walk meets, for each neighbour of what it keeps: half of them are filled at most
_SCATTER = 2654435761  # golden ratio times 2^32 (Knuth): ids that follow one another fall far apart
_FREE = np.int32(-1)


class Points(NamedTuple):
    """Rows as they are stored, their divisors, and the largest similarity, which tells the metric."""

    X: AnyArray
    norms: AnyArray
    largest: np.float32


class Cells(NamedTuple):
    """Centres (c, d) less `centre`; members cell by cell, how far each is from its centre; what bounds may be off."""

    centre: AnyArray
    centres: AnyArray
    order: NDArray[np.int32]
    away: NDArray[np.float32]
    starts: AnyArray
    radii: Floats
    margin: float


def _summed(kernel: Kernel) -> Kernel:
    """Compile sums whose order is free, so that they fill registers: for proposals, and bounds with room for that."""
    try:
        return numba.njit(nogil=True, cache=True, fastmath=True)(kernel)
    except RuntimeError:  # no folder to write to
        return numba.njit(nogil=True, fastmath=True)(kernel)


@_summed
def _gaps(y, centres, out):  # type: ignore[no-untyped-def]
    """Write the squared distances of y to centres."""
    for c in range(centres.shape[0]):
        total = np.float32(0)
        for j in range(centres.shape[1]):
            gap = centres[c, j] - y[j]
            total += gap * gap
        out[c] = total


@_summed
def _rough(x, X, i, norm, largest):  # type: ignore[no-untyped-def]
    """Return the similarity of x and X[i] up to the rounding of d float32 sums."""
    total = np.float32(0)
    if largest == 0:
        for j in range(x.size):
            gap = number(X[i, j]) - x[j]
            total -= gap * gap
        return total
    for j in range(x.size):
        total += x[j] * number(X[i, j])
    return total / norm


@compiled
def _bounds(y, cells, squares, gaps, out):  # type: ignore[no-untyped-def]
    """Write what no member of a cell is nearer than: by its radius, and by the plane to the cell that y is in.

    |y - x| >= |y - c| - radius(c), and, as x is nearer to its own c than to c', but for the margin,
    |y - x| >= (|y - c|^2 - |y - c'|^2 - margin) / (2 |c - c'|): the distance of y to the plane between them.
    """
    _gaps(y, cells.centres, squares)
    near = np.argmin(squares)
    _gaps(cells.centres[near], cells.centres, gaps)
    size = 0.0
    for j in range(y.size):
        size += np.float64(y[j]) ** 2
    # a sum of d squares is off by d + 2 roundings of itself, and y by one of each number
    off, away = (y.size + 4) * _UNIT, 2 * _UNIT * np.sqrt(size)
    least = np.float64(squares[near]) * (1 + off)
    for c in range(out.size):
        square = np.float64(squares[c]) * (1 - off)
        bound = np.sqrt(square) - cells.radii[c] * (1 + off)
        if c != near and gaps[c] > 0:
            apart = 2 * np.sqrt(np.float64(gaps[c]) * (1 + off))
            bound = max(bound, (square - least - cells.margin) / apart)
        out[c] = max(0.0, bound - away)


@compiled
def _ceiling(bound, largest):  # type: ignore[no-untyped-def]
    """Return what no similarity to points at least so far away exceeds, as it is computed; unit vectors for cosine."""
    if bound == np.inf:
        return -np.inf
    if largest == 0:
        return -bound * bound * (1 - 8 * _UNIT)
    return 1 - bound * bound / 2 + 16 * _UNIT


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
def _look(x, points, id, scores, ids, closed, sums):  # type: ignore[no-untyped-def]
    """Compare a point with x, and keep it where it is one of the best; return its place, or their number."""
    i, size = np.uint64(id), scores.size
    norm, off = points.norms[i], 2 * (x.size + 8) * _UNIT
    most = np.float64(_rough(x, points.X, i, norm, points.largest))
    most += off * (1 if points.largest != 0 else -most)
    if most < scores[size - 1]:
        return size
    return _offer(scores, ids, closed, similarity(x, points.X, i, norm, points.largest, sums), id)


@compiled
def _scan(x, points, cells, own, n_probes, k, bounds, squares, scores, ids, closed, sums):  # type: ignore[no-untyped-def]
    """Look at the members of cells in the order of their bounds, until k are proved or so many done; return counts.

    Of members those are left out whose distance to the centre says that they are not among the best.
    """
    ceiling, looked, last = np.inf, 0, scores.size - 1
    for probe in range(bounds.size + 1):
        c = np.argmin(bounds)
        ceiling = _ceiling(bounds[c], points.largest)
        if scores[k - 1] > ceiling or (probe >= n_probes and ids[k - 1] != NOBODY):
            break
        bounds[c] = np.inf
        apart, off = np.sqrt(np.float64(squares[c])), (x.size + 8) * _UNIT
        for e in range(cells.starts[c], cells.starts[c + 1]):
            id, away = cells.order[e], np.float64(cells.away[e])
            # |y - x| >= ||y - c| - |x - c||, either of them rounded
            if _ceiling(max(0.0, abs(apart - away) - off * (apart + away)), points.largest) < scores[last]:
                continue
            if id != own:
                looked += 1
                _look(x, points, id, scores, ids, closed, sums)
    proved = 0
    while proved < k and scores[proved] > ceiling:
        proved += 1
    return proved, looked


@compiled
def _walk(x, points, lists, own, table, scores, ids, closed, sums):  # type: ignore[no-untyped-def]
    """Go to the neighbours of the best point that is open, and close it, until none is left; return a count."""
    at = looked = 0
    while at < scores.size and ids[at] != NOBODY and looked < table.size // 2:
        if closed[at]:
            at += 1
            continue
        closed[at] = True
        node, first = np.uint64(ids[at]), at + 1
        for e in range(lists.shape[1]):
            id = lists[node, e]
            if id < 0:
                break
            if id != own and _meet(table, id):
                looked += 1
                first = min(first, _look(x, points, id, scores, ids, closed, sums))
        at = first
    return looked


@compiled
def search(queries, owns, points, cells, lists, n_probes, breadth, first, last, best, near, proved, looked):  # type: ignore[no-untyped-def]
    """Fill rows first..last-1 of the answers for queries (m, d) float32, rows as the metric compares them.

    Parameters
    ----------
    owns : (m,) int
        The point that each query is, which is left out; -1: none.
    lists : (n, w) int32
        Neighbours that a walk follows.
    n_probes : int
        Cells that are scanned, at most; more where they hold fewer than k points.
    breadth : int
        Points that a walk keeps, and goes on from; 0: no walk.
    best, near : (m, k) float32 and int32
        Similarities and ids by (-similarity, id); ``-inf`` and `NOBODY` pad.
    proved, looked : (m,) int
        How many of the first are certainly the nearest of all, and how many points were compared.
    """
    (n_cells, d), k = cells.centres.shape, best.shape[1]
    m, size = max(k, breadth), 1
    while size < _SLOTS * breadth * lists.shape[1]:
        size *= 2
    scores, ids, closed = np.empty(m, np.float32), np.empty(m, np.int32), np.empty(m, np.bool_)
    squares, gaps = np.empty(n_cells, np.float32), np.empty(n_cells, np.float32)
    bounds, sums, y = np.empty(n_cells), np.empty(LANES), np.empty(d, np.float32)
    table = np.empty(size, np.int32)
    for q in range(first, last):
        x = queries[q]
        scores[:], ids[:], closed[:] = -np.inf, NOBODY, False
        for j in range(d):
            y[j] = x[j] - cells.centre[j] if cells.centre.size else x[j]
        _bounds(y, cells, squares, gaps, bounds)
        proved[q], looked[q] = _scan(x, points, cells, owns[q], n_probes, k, bounds, squares, scores, ids, closed, sums)
        if breadth and proved[q] < k:
            table[:] = _FREE
            looked[q] += _walk(x, points, lists, owns[q], table, scores, ids, closed, sums)
        best[q], near[q] = scores[:k], ids[:k]


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
