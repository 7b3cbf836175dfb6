"""Compiled: passes over a whole graph for one query whose walk fills it, and what they prove of its best k.

In: W in CSR and rates a / d. Out: u = D^-1/2 x with (I - a P) u = b, P = D^-1 W, by conjugate gradients in the inner
product of D. Rows of P have sum 1: where down <= r <= up for the residual, down / (1 - a) <= u* - u <= up / (1 - a).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manifold._typing import AnyArray, Floats
from manifold.backends._compiled import compiled

_SLOP = 8 * 2.0**-53  # of the few products and sums of a bound, each rounded once
_UNIT = 2.0**-53


class Rows(NamedTuple):
    """a P in CSR: of entry e in row i it is ``rates[i] weights[e]``, or ``rates[i]`` where no weights are held."""

    indptr: AnyArray
    indices: AnyArray
    weights: AnyArray  # (e,) those of W, or (0,) where all are alike: a product then reads a third
    rates: Floats  # (n,) a / d, or a w / d; 0 of isolated nodes
    sizes: Floats  # (n,) d, 1 of isolated nodes


@compiled
def _summed(rows, p, q):  # type: ignore[no-untyped-def]
    """Write W p, or the sums over neighbours where all weights are alike."""
    indptr, indices, weights = rows.indptr, rows.indices, rows.weights
    for i in range(q.size):
        one = other = 0.0  # two sums: neither waits for the other
        e, stop = np.int64(indptr[i]), np.int64(indptr[i + 1])
        if weights.size:
            if (stop - e) & 1:
                one = weights[e] * p[np.uint32(indices[e])]  # without a sign: nothing is to be counted from the end
                e += 1
            while e < stop:
                one += weights[e] * p[np.uint32(indices[e])]
                other += weights[e + 1] * p[np.uint32(indices[e + 1])]
                e += 2
        else:
            if (stop - e) & 1:
                one = p[np.uint32(indices[e])]
                e += 1
            while e < stop:
                one += p[np.uint32(indices[e])]
                other += p[np.uint32(indices[e + 1])]
                e += 2
        q[i] = one + other


@compiled
def descend(rows, u, r, p, q, rr):  # type: ignore[no-untyped-def]
    """Take a step of conjugate gradients in place; return r'Dr, and the largest r and -r, at least 0.

    >>> edge = Rows(np.array([0, 1, 2]), np.array([1, 0]), np.empty(0), np.full(2, 0.5), np.ones(2))
    >>> u, r, q = np.zeros(2), np.array([0.75, 0.0]), np.empty(2)
    >>> p = r.copy()
    >>> rr, up, down = descend(edge, u, r, p, q, 0.75**2)
    >>> up, down = descend(edge, u, r, p, q, rr)[1:]
    >>> u.round(6).tolist(), round(up + down, 6)
    ([1.0, 0.5], 0.0)
    """
    rates, sizes = rows.rates, rows.sizes
    _summed(rows, p, q)
    pq = left = up = down = 0.0
    for i in range(q.size):
        q[i] = p[i] - rates[i] * q[i]
        pq += sizes[i] * p[i] * q[i]
    if not (pq > 0 and rr > 0):  # nothing is left, or less than float64 can square
        return rr, up, down
    step = rr / pq
    for i in range(q.size):
        u[i] += step * p[i]
        r[i] -= step * q[i]
        left += sizes[i] * r[i] * r[i]
        up, down = max(up, r[i]), max(down, -r[i])
    turn = left / rr
    for i in range(q.size):
        p[i] = r[i] + turn * p[i]
    return left, up, down


@compiled
def walked(rows, b, u, r, after):  # type: ignore[no-untyped-def]
    """Write b + a P u and r = b + a P u - u; return the largest r and -r with what rounding hides, and the latter.

    The bound counts, as unit round-offs, twice the entries of the longest row and 8 (of a sum of m products whose
    entries hold the rounding of a degree, itself a sum of m) of |b| + |u| + a P |u|, where |u| <= u + 2 max(-u).

    >>> edge = Rows(np.array([0, 1, 2]), np.array([1, 0]), np.ones(2), np.full(2, 0.5), np.ones(2))
    >>> r, after = np.empty(2), np.empty(2)
    >>> up, down, hidden = walked(edge, np.array([0.75, 0.0]), np.array([1.0, 0.4]), r, after)
    >>> after.tolist(), r.round(6).tolist(), round(up, 6), round(down, 6), hidden < 1e-14
    ([0.95, 0.5], [-0.05, 0.1], 0.1, 0.05, True)
    """
    _summed(rows, u, after)
    longest, below = 0, 0.0
    for i in range(u.size):
        longest, below = max(longest, rows.indptr[i + 1] - rows.indptr[i]), max(below, -u[i])
    up = down = most = 0.0
    for i in range(u.size):
        walk = rows.rates[i] * after[i]
        after[i] = b[i] + walk
        r[i] = after[i] - u[i]
        hidden = (2 * longest + 8) * _UNIT * (abs(b[i]) + abs(u[i]) + abs(walk) + 2.5 * below)
        up, down, most = max(up, r[i] + hidden), max(down, hidden - r[i]), max(most, hidden)
    return up, down, most


@compiled
def levelled(rows, components, volumes, u, r, gap):  # type: ignore[no-untyped-def]
    """Add to u of each component what its sum of D r lacks: (I - a P) 1 = (1 - a) 1, `gap`; return r'Dr.

    `volumes` are the sums of D of components.

    >>> edge = Rows(np.array([0, 1, 2]), np.array([1, 0]), np.empty(0), np.full(2, 0.5), np.ones(2))
    >>> u, r = np.zeros(2), np.array([0.75, 0.0])
    >>> levelled(edge, np.zeros(2, int), np.array([2.0]), u, r, 0.5), u.tolist(), r.tolist()
    (0.28125, [0.75, 0.75], [0.375, -0.375])
    """
    sums = np.zeros(volumes.size)
    for i in range(u.size):
        if r[i] != 0:
            sums[components[i]] += rows.sizes[i] * r[i]
    rr = 0.0
    for i in range(u.size):
        if rows.indptr[i] == rows.indptr[i + 1]:  # no walk leaves it: u = b
            u[i], r[i] = u[i] + r[i], 0.0
            continue
        level = sums[components[i]] / volumes[components[i]]
        u[i] += level / gap
        r[i] -= level
        rr += rows.sizes[i] * r[i] * r[i]
    return rr


@compiled
def smooth(rows, u, r, least, queued, ring, budget):  # type: ignore[no-untyped-def]
    """Relax the nodes of |r| > `least`, first in, first out, and add the r that is left to u: one step on, for all.

    Few nodes hold what is large of a residual: for its largest entry they count more than a pass over all.

    Parameters
    ----------
    queued : (n,) bool
        False, and so again.
    ring : (n,) int
    budget : int
        Edges that may be relaxed.

    Examples
    --------
    >>> edge = Rows(np.array([0, 1, 2]), np.array([1, 0]), np.empty(0), np.full(2, 0.5), np.ones(2))
    >>> u, r = np.zeros(2), np.array([0.75, 0.0])
    >>> smooth(edge, u, r, 0.1, np.zeros(2, bool), np.empty(2, int), 9)
    >>> u.round(6).tolist(), r.round(6).tolist()
    ([0.9375, 0.46875], [0.0, 0.09375])
    """
    indptr, indices, weights, rates, _ = rows
    n, head, tail = r.size, 0, 0
    for i in range(n):
        if abs(r[i]) > least:
            queued[i], ring[tail] = True, i
            tail += 1
    while head < tail:
        i = ring[head % n]
        head += 1
        queued[i] = False
        if abs(r[i]) <= least or budget < 0:
            continue
        step = r[i]
        u[i] += step
        r[i] = 0.0
        budget -= indptr[i + 1] - indptr[i]
        for e in range(indptr[i], indptr[i + 1]):
            j = np.int64(indices[e])
            r[j] += rates[j] * step * (weights[e] if weights.size else 1.0)
            if not queued[j] and abs(r[j]) > least:
                queued[j], ring[tail % n] = True, j
                tail += 1
    for i in range(n):
        u[i] += r[i]


@compiled
def rivals(u, factors, may, floor, up, places):  # type: ignore[no-untyped-def]
    """Write down the nodes whose ``factors (u + up)`` reaches a floor; return how many, and the largest of all others.

    Parameters
    ----------
    u, factors : (n,) float64
    may : (n,) bool, or (0,)
        Nodes that may be listed; by default all.
    places : (n,) int
        Written to.

    Examples
    --------
    >>> places = np.empty(3, int)
    >>> count, most = rivals(np.array([3.0, 1.0, 2.0]), np.ones(3), np.empty(0, bool), 2.5, 0.5, places)
    >>> places[:count].tolist(), round(most, 9)
    ([0, 2], 1.5)
    """
    count, most = 0, 0.0
    for i in range(u.size):
        if may.size and not may[i]:
            continue
        upper = (u[i] + up) * factors[i] * (1 + _SLOP)
        if upper >= floor:
            places[count] = i
            count += 1
        else:
            most = max(most, upper)
    return count, most


@compiled
def alike(rows, b, one, others):  # type: ignore[no-untyped-def]
    """Return which of some nodes have the edges and the b of one: they have its score, to the last bit of it.

    >>> star = Rows(np.array([0, 2, 3, 4]), np.array([1, 2, 0, 0]), np.ones(4), np.ones(3), np.ones(3))
    >>> alike(star, np.zeros(3), 1, np.array([0, 2])).tolist(), alike(star, np.arange(3.0), 1, np.array([2])).tolist()
    ([False, True], [False])
    """
    indptr, indices, weights = rows.indptr, rows.indices, rows.weights
    same, first, length = np.zeros(others.size, np.bool_), indptr[one], indptr[one + 1] - indptr[one]
    for t in range(others.size):
        start = indptr[others[t]]
        if indptr[others[t] + 1] - start != length or b[others[t]] != b[one]:
            continue
        same[t] = True
        for e in range(length):
            if indices[start + e] != indices[first + e] or (weights.size and weights[start + e] != weights[first + e]):
                same[t] = False
                break
    return same
