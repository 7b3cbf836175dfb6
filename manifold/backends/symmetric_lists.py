"""Compiled: lists of weights made symmetric, block of rows by block, without a transpose of all of them.

In: lists (n, k) of ids and weights. Out: rows of W = rule(A, A'), ids ascending, and their sums. Listings are put into
bins by the block that they lead to (`scatter`); a block then has what others list of it by its own rows (`turn`), and
merges that with its own lists (`merge`). Blocks are independent; what a row holds depends on no cut.
"""

from __future__ import annotations

import numpy as np

from manifold.backends._compiled import compiled

RULES = {"mutual": 0, "union": 1, "sum": 2}


@compiled
def scatter_sizes(ids, weights, width, sizes):  # type: ignore[no-untyped-def]
    """Count the listings that lead to each block of so many rows."""
    for i in range(ids.shape[0]):
        for e in range(ids.shape[1]):
            if weights[i, e] > 0:
                sizes[np.uint64(ids[i, e]) // np.uint64(width)] += 1


@compiled
def scatter(ids, weights, first, bridge, width, ends, sources, targets, values):  # type: ignore[no-untyped-def]
    """Write down the listings of rows from `first` on, bin by bin; `ends` moves on from where each bin starts.

    Weights of the first `bridge` of a row are negative: that is all that is to be known of their place.
    """
    for i in range(ids.shape[0]):
        for e in range(ids.shape[1]):
            weight = weights[i, e]
            if weight > 0:
                bin = np.uint64(ids[i, e]) // np.uint64(width)
                at = np.uint64(ends[bin])
                ends[bin] += 1
                sources[at], targets[at] = first + i, ids[i, e]
                values[at] = -weight if e < bridge else weight


@compiled
def turn_sizes(targets, first, sizes):  # type: ignore[no-untyped-def]
    """Count, for each row of a block from `first` on, the listings that lead to it."""
    for e in range(targets.size):
        sizes[np.uint64(targets[e] - first)] += 1


@compiled
def turn(sources, targets, values, first, ends, ids, weights):  # type: ignore[no-untyped-def]
    """Write a bin down by the rows it leads to; bins that come in order leave their ids ascending."""
    for e in range(targets.size):
        row = np.uint64(targets[e] - first)
        at = np.uint64(ends[row])
        ends[row] += 1
        ids[at], weights[at] = sources[e], values[e]


@compiled
def merge(lists, listed, rule, bridge, share, out):  # type: ignore[no-untyped-def]
    """Write the rows of a block of W, and return how many entries they are.

    Parameters
    ----------
    lists : ids (m, k), weights (m, k)
        Its own, 0 where there is none.
    listed : starts (m + 1,), ids, weights
        What others list of it, by row, ids ascending; weights negative of the first `bridge` of a list.
    rule : int
        Of `RULES`.
    share : float
        b of W = (1 - b) rule + b max(A, A'), in float32 as SciPy computes it.
    out : indptr (m + 1,), indices, data, sums (m,)
        With room for all; sums are added in order, in float64.
    """
    (ids, weights), (starts, other_ids, others), (indptr, indices, data, sums) = lists, listed, out
    m, k = ids.shape
    own_ids, own = np.empty(k, np.int32), np.empty(k, np.float32)
    kept, shared, none = np.float32(1 - share), np.float32(share), np.float32(0)
    at = 0
    indptr[0] = 0
    for i in range(m):
        size = 0
        for e in range(k):  # by id: lists are short
            weight = weights[i, e]
            if weight > 0:
                place = size
                while place > 0 and own_ids[place - 1] > ids[i, e]:
                    own_ids[place], own[place] = own_ids[place - 1], own[place - 1]
                    place -= 1
                own_ids[place], own[place] = ids[i, e], -weight if e < bridge else weight
                size += 1
        e, f, stop, total = 0, starts[i], starts[i + 1], 0.0
        while e < size or f < stop:
            mine = theirs = none
            if f == stop or (e < size and own_ids[e] <= other_ids[f]):
                j = own_ids[e]
                mine = own[e]
                e += 1
                if f < stop and other_ids[f] == j:
                    theirs = others[f]
                    f += 1
            else:
                j, theirs = other_ids[f], others[f]
                f += 1
            first = max(-mine, -theirs, none)  # of the bridges among the two
            a, c = abs(mine), abs(theirs)
            value = max(min(a, c), first) if rule == 0 else max(a, c) if rule == 1 else a + c
            if share > 0:
                value = kept * value + shared * max(a, c)
            if value > 0:
                indices[at], data[at] = j, value
                total += float(value)
                at += 1
        indptr[i + 1], sums[i] = at, total
    return at


@compiled
def join(indptr, indices, first, parents):  # type: ignore[no-untyped-def]
    """Join the trees of what the rows from `first` on are connected with: roots are the least of their trees."""
    for i in range(indptr.size - 1):
        for e in range(indptr[i], indptr[i + 1]):
            a, b = np.int64(first + i), np.int64(indices[e])
            if b >= a:  # the mirror image says the same
                continue
            while parents[a] != a:
                parents[a] = parents[parents[a]]
                a = np.int64(parents[a])
            while parents[b] != b:
                parents[b] = parents[parents[b]]
                b = np.int64(parents[b])
            parents[max(a, b)] = min(a, b)


@compiled
def label(parents, labels):  # type: ignore[no-untyped-def]
    """Number the trees by their least nodes, ascending; return how many they are."""
    count = 0
    for i in range(parents.size):
        if parents[i] == i:
            labels[i] = count
            count += 1
        else:  # a parent is less, and has its label
            labels[i] = labels[parents[i]]
    return count
