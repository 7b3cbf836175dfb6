"""Compiled: the cells that a query goes through, by what no member of them is nearer than.

In: the squared distances of a query to the centres, the radii of cells. Out: a heap of cells, the nearest first, and
what no similarity to a point of those that are left exceeds.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from manifold.backends._compiled import compiled

UNIT = 2.0**-24  # rounding of a float32


@partial(compiled, reorders=True)  # so that sums fill registers: bounds have room for any order
def squared_distance(x, y):  # type: ignore[no-untyped-def]
    """Return the squared distance of two rows."""
    total = np.float32(0)
    for j in range(y.size):
        gap = x[j] - y[j]
        total += gap * gap
    return total


@compiled
def begin(y, q, asked, cells):  # type: ignore[no-untyped-def]
    """Put the cells in a heap, by bounds that need no distance between centres.

    |c - c'| <= |y - c| + |y - c'|, so that (|y - c| - |y - c'|) / 2 is below the distance to the plane, see `bound_of`.
    """
    squares, bounds, heap = asked.squares[q], asked.bounds[q], asked.heap[q]
    size, near = 0.0, 0
    for j in range(y.size):
        size += np.float64(y[j]) ** 2
    for c in range(squares.size):
        squares[c] = squared_distance(cells.centres[c], y)
        near = c if squares[c] < squares[near] else near
    # a sum of d squares is off by d + 2 roundings of itself, and y by one of each number
    off, asked.away[q], asked.near[q] = (y.size + 4) * UNIT, 2 * UNIT * np.sqrt(size), near
    margin = cells.margin if cells.margin < np.inf else 0.0
    least = np.float64(squares[near]) * (1 + off)
    root = np.sqrt(least)
    for c in range(squares.size):
        square = np.float64(squares[c])
        far = np.sqrt(square * (1 - off))
        most = root + np.sqrt(square * (1 + off))
        plane = (square * (1 - off) - least - margin) / (2 * most) if most > 0 else 0.0
        bounds[c] = max(0.0, max(far - cells.radii[c] * (1 + off), plane * (1 - 4 * off)) - asked.away[q])
        heap[c] = c
    asked.n_left[q] = heap.size
    for at in range(heap.size // 2 - 1, -1, -1):
        sink(heap, bounds, at, heap.size)


@compiled
def bound_of(q, c, asked, cells):  # type: ignore[no-untyped-def]
    """Return what no member of a cell is nearer than: by its radius, and by the plane to the cell that y is in.

    |y - x| >= |y - c| - radius(c), and, as x is nearer to its own c than to c', but for the margin,
    |y - x| >= (|y - c|^2 - |y - c'|^2 - margin) / (2 |c - c'|): the distance of y to the plane between them. Where the
    margin is unknown the plane says in which order cells come, and proves nothing.
    """
    near, off = asked.near[q], (cells.centres.shape[1] + 4) * UNIT
    square, least = np.float64(asked.squares[q, c]) * (1 - off), np.float64(asked.squares[q, near]) * (1 + off)
    bound, gap = np.sqrt(square) - cells.radii[c] * (1 + off), squared_distance(cells.centres[near], cells.centres[c])
    if c != near and gap > 0:
        margin = cells.margin if cells.margin < np.inf else 0.0
        bound = max(bound, (square - least - margin) / (2 * np.sqrt(np.float64(gap) * (1 + off))))
    return max(0.0, bound - asked.away[q])


@compiled
def proved_bound(q, c, bound, asked, cells):  # type: ignore[no-untyped-def]
    """Return `bound` where it is one, and what the radius says where planes prove nothing."""
    if cells.margin < np.inf:
        return bound
    off = (cells.centres.shape[1] + 4) * UNIT
    far = np.sqrt(np.float64(asked.squares[q, c]) * (1 - off))
    return max(0.0, far - cells.radii[c] * (1 + off) - asked.away[q])


@compiled
def ceiling_left(q, asked, cells, largest):  # type: ignore[no-untyped-def]
    """Return what no similarity to a point exceeds whose cell was not listed."""
    if cells.margin < np.inf or not asked.n_left[q]:
        return asked.ceiling[q]
    least = np.inf
    for at in range(asked.n_left[q]):
        c = asked.heap[q, at]
        least = min(least, proved_bound(q, c, asked.bounds[q, c], asked, cells))
    return ceiling_of(least, largest)


@compiled
def sink(heap, bounds, at, size):  # type: ignore[no-untyped-def]
    """Let a cell sink in the heap until none below it comes before it, by (bound, cell)."""
    cell, bound = heap[at], bounds[heap[at]]
    below = 2 * at + 1
    while below < size:
        other = heap[below]
        if below + 1 < size:
            next_ = heap[below + 1]
            if bounds[next_] < bounds[other] or (bounds[next_] == bounds[other] and next_ < other):
                below, other = below + 1, next_
        if bounds[other] > bound or (bounds[other] == bound and other > cell):
            break
        heap[at], at = other, below
        below = 2 * at + 1
    heap[at] = cell


@compiled
def next_cell(q, asked, cells):  # type: ignore[no-untyped-def]
    """Return the cell whose bound is least, having made exact those that could be."""
    heap, bounds, exact = asked.heap[q], asked.bounds[q], asked.exact[q]
    while not exact[heap[0]]:
        bounds[heap[0]], exact[heap[0]] = max(bounds[heap[0]], bound_of(q, heap[0], asked, cells)), True
        sink(heap, bounds, 0, asked.n_left[q])
    return heap[0]


@compiled
def ceiling_of(bound, largest):  # type: ignore[no-untyped-def]
    """Return what no similarity to points at least so far away exceeds, as it is computed; unit vectors for cosine."""
    if bound == np.inf:
        return -np.inf
    if largest == 0:
        return -bound * bound * (1 - 8 * UNIT)
    return 1 - bound * bound / 2 + 16 * UNIT
