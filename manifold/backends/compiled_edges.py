"""Compiled: what lists of neighbours say of each other, which they may enter, and a graph of which some have changed.

In: lists (n, k), -1 where they end; scores and what they have to reach; W, and new entries of some rows. Out: counts;
pairs; the arrays of another W.
"""

from __future__ import annotations

import numpy as np

from manifold.backends._compiled import compiled
from manifold.backends._row_dots import LANES
from manifold.backends.compiled_lists import insert, similarity


@compiled
def returned(ids):  # type: ignore[no-untyped-def]
    """Return how many listings j in the list of i there are such that i is in that of j."""
    total = 0
    for i in range(ids.shape[0]):
        for e in range(ids.shape[1]):
            if ids[i, e] < 0:
                break
            j = np.uint64(ids[i, e])
            for f in range(ids.shape[1]):
                if ids[j, f] == i:
                    total += 1
                    break
                if ids[j, f] < 0:
                    break
    return total


@compiled
def meet(scores, members, rows, who, entry, best, ids, met):  # type: ignore[no-untyped-def]
    """Offer scores (b, t) of some who ask and the members of a cell to both: to the lists of those, and to these.

    Most strips of a row hold nothing for either: they are passed over by comparisons alone.

    Parameters
    ----------
    members, rows : (t,), (b,)
        The points; nobody meets himself.
    who : (b,) int
        The list, of `best` and `ids`, of each who asks.
    entry : least (n,), more (b,)
        A score of ``least[members[j]] + more[i]`` or more may enter the list of a member; none where `least` is empty.
    met : (2, b t) int32
        Written: the member, and the list of who asks, of each such pair.

    Returns
    -------
    int
        How many such pairs there are.
    """
    n, strip, width, end = 0, 64, scores.shape[1], best.shape[1] - 1
    least, more = entry
    floor = np.full(width, np.inf, np.float32)
    if least.size:
        for j in range(width):
            floor[j] = least[members[j]]
    for i in range(scores.shape[0]):
        mine, lacks = who[i], more[i]
        worst = best[mine, end]
        for start in range(0, width, strip):
            stop, hits = min(start + strip, width), 0
            for j in range(start, stop):
                hits += scores[i, j] >= worst or scores[i, j] - lacks >= floor[j]
            if hits == 0:
                continue
            for j in range(start, stop):
                score, other = scores[i, j], members[j]
                if other == rows[i]:
                    continue
                if score > worst or (score == worst and other < ids[mine, end]):
                    insert(best, ids, mine, score, other)
                    worst = best[mine, end]
                if score - lacks >= floor[j]:
                    met[0, n], met[1, n] = other, mine
                    n += 1
    return n


@compiled
def look_on(asked, points, rows, second, cells, lists, entry, first, last):  # type: ignore[no-untyped-def]
    """Offer to who asks, from `first` to `last`, those whom his neighbours list and who are in no cell that he has met.

    Parameters
    ----------
    asked, rows : (m, d), (m,)
        Rows as the metric compares them, and their numbers.
    points : X, divisors, largest
        As `PointSet.plain` has them.
    second : (m, c) int32
        Neighbours of neighbours, some of them twice, -1 where there is none.
    cells : (n,) and (m, p) int32
        The cell of each point, and those whose members a row has met.
    lists : best, ids (m, k)
        Changed in place.
    entry : least (n,), met (m, c) int32, values float32
        Where a similarity exceeds the least of whom it is with, that one and the similarity are written; none where
        `least` is empty.
    """
    (X, norms, largest), (cell, visits), (best, ids), (least, met, values) = points, cells, lists, entry
    sums, looked, end = np.empty(LANES), np.empty(second.shape[1], np.int32), ids.shape[1] - 1
    for i in range(first, last):
        n = 0
        for e in range(second.shape[1]):
            other = second[i, e]
            if other < 0 or other == rows[i]:
                continue
            j, known = np.uint64(other), False
            for p in range(visits.shape[1]):
                known |= visits[i, p] == cell[j]
            for f in range(n):  # few are left: nearly all are in cells that were met, as all of `ids` are
                known |= looked[f] == other
            if known:
                continue
            looked[n] = other
            n += 1
            score = similarity(asked[i], X, j, norms[j], largest, sums)
            if least.size and score > least[j]:
                met[i, e], values[i, e] = other, score
            if score > best[i, end] or (score == best[i, end] and other < ids[i, end]):
                insert(best, ids, i, score, other)


@compiled
def _kept(p, j, changed, place, number):  # type: ignore[no-untyped-def]
    """Return the number that an entry of row p has now, or -1: its other end is gone, or it is made anew."""
    now = number[np.uint64(j)]
    if now >= 0 and place[p] >= 0 and (changed[p] or changed[np.uint64(now)]):
        return np.int32(-1)
    return now


@compiled
def spliced_sizes(old, new, rows, number, changed, place, all_stay, sizes, first, last):  # type: ignore[no-untyped-def]
    """Write how many entries (m,) each row has: those of before that stay, and the new ones. See `splice`."""
    for p in range(first, last):
        if all_stay and place[p] < 0:
            sizes[p] = old.indptr[p + 1] - old.indptr[p]
            continue
        total = 0
        if rows[p] >= 0:
            for e in range(old.indptr[rows[p]], old.indptr[rows[p] + 1]):
                total += _kept(p, old.indices[e], changed, place, number) >= 0
        if place[p] >= 0:
            total += new.indptr[place[p] + 1] - new.indptr[place[p]]
        sizes[p] = total


@compiled
def splice(old, new, rows, number, changed, place, all_stay, out, first, last):  # type: ignore[no-untyped-def]
    """Write rows first..last-1 of W: of what was there that which stays, renumbered, and the new entries, by column.

    Parameters
    ----------
    old, new, out : CSR
        Rows of before; rows of which some entries are new; rows of now, whose ``indptr`` is there.
    rows : (m,) int
        Which row of before each was, or -1.
    number : (n,) int32
        Which row each of before is now, or -1.
    changed : (m,) bool
        Rows of which every entry, and its mirror image, is new.
    place : (m,) int32
        Which row of `new` holds the new entries of each, or -1.
    all_stay : bool
        Whether every row of before has the number that it had: most rows are then taken over without a look.
    """
    for p in range(first, last):
        at = out.indptr[p]
        if all_stay and place[p] < 0:
            for e in range(old.indptr[p], old.indptr[p + 1]):
                out.indices[at], out.data[at] = old.indices[e], old.data[e]
                at += 1
            continue
        e = end = f = stop = 0
        if place[p] >= 0:
            f, stop = new.indptr[place[p]], new.indptr[place[p] + 1]
        if rows[p] >= 0:
            e, end = old.indptr[rows[p]], old.indptr[rows[p] + 1]
        while e < end or f < stop:
            now = np.int32(-1)
            if e < end:
                now = _kept(p, old.indices[e], changed, place, number)
                if now < 0:
                    e += 1
                    continue
            if e < end and (f == stop or now < new.indices[f]):
                out.indices[at], out.data[at] = now, old.data[e]
                e += 1
            else:
                out.indices[at], out.data[at] = new.indices[f], new.data[f]
                f += 1
            at += 1
