"""Compiled selection: lists of the best, kept while scores stream by, and similarities of single pairs.

In: blocks of scores, C-contiguous. Out: lists (n, m) in place, best first, equal scores by ascending id. A list is full
of ``-inf`` and of `NOBODY` before anyone is met, so that the order in which blocks are offered does not matter.

Imported where many points ask for it, and nowhere else; compiled when first called, and kept on disk. Threads share out
rows, or columns, of a block (`in_threads`); each list belongs to one of them.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from manifold.backends._compiled import compiled, number
from manifold.backends._row_dots import LANES
from manifold.backends.threads import in_threads

NOBODY = np.int32(2**31 - 1)  # the id of an empty place: after all others
_UNIT = 2.0**-24  # rounding of a float32
_RANGE = 1 << 20  # scores that a thread takes at a time
_STRIP = 64  # scores looked at together: most strips hold nothing for the list


@compiled
def insert(best, ids, i, score, id):  # type: ignore[no-untyped-def]
    """Put a score that belongs to list i in its place; the last one falls off."""
    place = np.uint64(best.shape[1] - 1)
    while place > 0:
        before = place - np.uint64(1)
        if best[i, before] > score or (best[i, before] == score and ids[i, before] < id):
            break
        best[i, place], ids[i, place] = best[i, before], ids[i, before]
        place = before
    best[i, place], ids[i, place] = score, id


@compiled
def offer_rows(scores, offsets, columns, rows, best, ids, first, last):  # type: ignore[no-untyped-def]
    """Offer ``scores[i, j] - offsets[j]`` to the list of point rows[i], the score of point columns[j], not itself."""
    strip, width, end = np.uint64(_STRIP), np.uint64(scores.shape[1]), np.uint64(best.shape[1] - 1)
    for i in range(np.uint64(first), np.uint64(last)):
        row = np.uint64(rows[i])
        least = best[row, end]
        for start in range(np.uint64(0), width, strip):
            stop, hits = min(start + strip, width), 0
            for j in range(start, stop):
                hits += scores[i, j] - offsets[j] >= least
            if hits == 0:
                continue
            for j in range(start, stop):
                score, other = scores[i, j] - offsets[j], columns[j]
                if score < least or other == rows[i] or (score == least and other > ids[row, end]):
                    continue
                insert(best, ids, row, score, other)
                least = best[row, end]


@compiled
def offer_columns(scores, offsets, rows, columns, cell, probes, best, ids, first, last):  # type: ignore[no-untyped-def]
    """Offer ``scores[i, j] - offsets[i]`` to the list of point columns[j], as the score of point rows[i].

    Unless that point is met elsewhere: one whose cell is among the probes of columns[j].
    """
    strip, end, from_, width = (
        np.uint64(_STRIP),
        np.uint64(best.shape[1] - 1),
        np.uint64(first),
        np.uint64(last - first),
    )
    least = np.empty(width, scores.dtype)
    for j in range(width):
        least[j] = best[np.uint64(columns[from_ + j]), end]
    for i in range(np.uint64(scores.shape[0])):
        other, offset = rows[i], offsets[i]
        for start in range(np.uint64(0), width, strip):
            stop, hits = min(start + strip, width), 0
            for j in range(start, stop):
                hits += scores[i, from_ + j] - offset >= least[j]
            if hits == 0:
                continue
            for j in range(start, stop):
                score, column = scores[i, from_ + j] - offset, np.uint64(columns[from_ + j])
                if score < least[j] or (score == least[j] and other > ids[column, end]):
                    continue
                met = False
                for p in range(probes.shape[1]):
                    met |= probes[column, p] == cell[np.uint64(other)]
                if not met:
                    insert(best, ids, column, score, other)
                    least[j] = best[column, end]


def top_k(values: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the ids and values (r, k) of the k largest of each row, equal ones by ascending id, NaN last.

    >>> ids, values = top_k(np.array([[0.5, 0.75, 0.5]], np.float32), 2)
    >>> ids.tolist(), values.tolist()
    ([[1, 0]], [[0.75, 0.5]])
    """
    n_rows, n = values.shape
    best, ids = np.empty((n_rows, k), values.dtype), np.empty((n_rows, k), np.int32)
    in_threads(lambda first, last: _top_k(values, best, ids, first, last), n_rows, step=max(1, _RANGE // n))
    for i in np.flatnonzero(ids[:, -1] == NOBODY):  # too few numbers: NaN comes after them
        ids[i] = np.argsort(-values[i], kind="stable")[:k]
        best[i] = values[i, ids[i]]
    return ids.astype(np.int64), best


@compiled
def _top_k(values, best, ids, first, last):  # type: ignore[no-untyped-def]
    """Fill the lists of the rows from `first` to `last` with the largest entries of each."""
    strip, width, end = np.uint64(_STRIP), np.uint64(values.shape[1]), np.uint64(best.shape[1] - 1)
    for i in range(np.uint64(first), np.uint64(last)):
        best[i, :], ids[i, :] = -np.inf, NOBODY
        least = best[i, end]
        for start in range(np.uint64(0), width, strip):
            stop, hits = min(start + strip, width), 0
            for j in range(start, stop):
                hits += values[i, j] >= least
            if hits == 0:
                continue
            for j in range(start, stop):  # ids ascend: an equal one comes after
                if values[i, j] > least or (values[i, j] == least and ids[i, end] == NOBODY):
                    insert(best, ids, i, values[i, j], np.int32(j))
                    least = best[i, end]


@compiled
def gather(X, norms, centre, ids, out):  # type: ignore[no-untyped-def]
    """Write rows as they are multiplied: divided by their norms, or less the centre."""
    d = np.uint64(out.shape[1])
    for i in range(np.uint64(ids.size)):
        row = np.uint64(ids[i])
        if centre.size:
            for j in range(d):
                out[i, j] = number(X[row, j]) - centre[j]
        else:
            norm = norms[row]
            for j in range(d):
                out[i, j] = number(X[row, j]) / norm


@compiled
def _halved(sums):  # type: ignore[no-untyped-def]
    half = np.uint64(LANES // 2)
    while half > 0:
        for j in range(half):
            sums[j] += sums[half + j]
        half //= np.uint64(2)
    return np.float32(sums[0])


@compiled
def _product(x, X, i, norm, sums):  # type: ignore[no-untyped-def]
    """Return the inner product of x and ``X[i] / norm``, added up as `row_dots` does."""
    width, d = np.uint64(LANES), np.uint64(x.size)
    whole = d - d % width
    for j in range(width):
        sums[j] = 0
    for start in range(np.uint64(0), whole, width):
        for j in range(width):
            sums[j] += np.float64(x[start + j]) * np.float64(number(X[i, start + j]) / norm)
    for j in range(d - whole):
        sums[j] += np.float64(x[whole + j]) * np.float64(number(X[i, whole + j]) / norm)
    return _halved(sums)


@compiled
def _closeness(x, X, i, sums):  # type: ignore[no-untyped-def]
    """Return minus the squared distance of x and X[i], added up as `row_dots` does."""
    width, d = np.uint64(LANES), np.uint64(x.size)
    for j in range(width):
        sums[j] = 0
    for start in range(np.uint64(0), d, width):
        for j in range(min(width, d - start)):
            gap = np.float64(number(X[i, start + j]) - x[start + j])
            sums[j] += gap * gap
    return np.float32(0) - _halved(sums)


@compiled
def similarity(x, X, i, norm, largest, sums):  # type: ignore[no-untyped-def]
    """Return the similarity of x and X[i] under the metric whose `largest` is 0, of distances, 1, or inf."""
    if largest == 0:
        return _closeness(x, X, i, sums)
    return max(-largest, min(largest, _product(x, X, i, norm, sums)))


@partial(compiled, reorders=True)
def rough(rows, q, X, i, norm, largest):  # type: ignore[no-untyped-def]
    """Return the similarity of rows[q] and X[i] up to the rounding of d float32 sums, whose order is free.

    The row is named by its place: to take it out for each pair costs a reference, as much as many products.
    """
    total = np.float32(0)
    if largest == 0:
        for j in range(rows.shape[1]):
            gap = number(X[i, j]) - rows[q, j]
            total -= gap * gap
        return total
    for j in range(rows.shape[1]):
        total += rows[q, j] * number(X[i, j])
    return total / norm


@compiled
def compare(queries, X, norms, largest, rows, out, first, last):  # type: ignore[no-untyped-def]
    """Write the similarities of the points at rows[first:last] (q, k) to the queries; rows of -1 are passed over."""
    sums = np.empty(LANES)
    for q in range(first, last):
        for e in range(rows.shape[1]):
            if rows[q, e] >= 0:
                i = np.uint64(rows[q, e])
                out[q, e] = similarity(queries[q], X, i, norms[i], largest, sums)


@compiled
def rank(X, norms, largest, order, best, ids, first, last):  # type: ignore[no-untyped-def]
    """Replace the scores in the lists of points order[first:last] by similarities, and sort the lists by them."""
    m, x, sums = best.shape[1], np.empty(X.shape[1], np.float32), np.empty(LANES)
    others = np.empty(m, ids.dtype)
    for at in range(first, last):
        i = np.uint64(order[at])
        for c in range(x.size):
            x[c] = number(X[i, np.uint64(c)]) / norms[i]
        others[:] = ids[i]
        best[i, :], ids[i, :] = -np.inf, NOBODY
        for e in range(m):
            if others[e] == NOBODY:
                break
            j = np.uint64(others[e])
            score = similarity(x, X, j, norms[j], largest, sums)
            insert(best, ids, i, score, others[e])


@compiled
def _table(n):  # type: ignore[no-untyped-def]
    """Return room for n ids that are looked up, a power of 2."""
    size = 2
    while size < 2 * n:
        size *= 2
    return np.empty(size, np.int32)


@compiled
def _is_new(seen, id):  # type: ignore[no-untyped-def]
    """Put an id into a table with room to spare, of a size that is a power of 2; say whether it was not there."""
    last = np.uint64(seen.size - 1)
    place = (np.uint64(id) * np.uint64(2654435761) >> np.uint64(15)) & last  # Knuth's multiplier: near ids part
    while seen[place] != NOBODY:
        if seen[place] == id:
            return False
        place = (place + np.uint64(1)) & last
    seen[place] = id
    return True


@compiled
def join(best, ids, at, scores, others, first, last):  # type: ignore[no-untyped-def]
    """Offer others[i] with scores[i], who are in no list yet, to the lists at[i], for i from `first` to `last`."""
    end = np.uint64(best.shape[1] - 1)
    for i in range(np.uint64(first), np.uint64(last)):
        row = np.uint64(at[i])
        for e in range(scores.shape[1]):
            score, other = scores[i, e], others[i, e]
            if score > best[row, end] or (score == best[row, end] and other < ids[row, end]):
                insert(best, ids, row, score, other)


@compiled
def _probed(probes, i, cell):  # type: ignore[no-untyped-def]
    """Say whether a cell is among those that point i probes."""
    probed = False
    for p in range(probes.shape[1]):
        probed |= probes[i, p] == cell
    return probed


@compiled
def expand(X, norms, largest, order, lists, width, cell, probes, best, ids, first, last):  # type: ignore[no-untyped-def]
    """Offer to points order[first:last] the first `width` neighbours of their first ones whom they have not met."""
    row, sums, end = np.empty((1, X.shape[1]), np.float32), np.empty(LANES), best.shape[1] - 1
    x = row[0]
    seen = _table(1 + lists.shape[1] + width * width)  # of the size of what a point looks at, not of the set
    doubt = np.float32((x.size + 8) * _UNIT)  # of d terms of a sum of squares, times the sum; of unit rows, at most 1
    for at in range(first, last):
        i, here = np.uint64(order[at]), cell[order[at]]
        for c in range(x.size):
            x[c] = number(X[i, np.uint64(c)]) / norms[i]
        seen[:] = NOBODY
        _is_new(seen, np.int32(i))
        for e in range(lists.shape[1]):
            if lists[i, e] != NOBODY:
                _is_new(seen, lists[i, e])
        for e in range(width):
            if lists[i, e] == NOBODY:
                break
            between = np.uint64(lists[i, e])
            for f in range(width):
                other = lists[between, f]
                if other == NOBODY:
                    break
                if not _is_new(seen, other):
                    continue
                j = np.uint64(other)
                if _probed(probes, i, cell[j]):
                    continue
                score = rough(row, 0, X, j, norms[j], largest)
                # most are no match: few are compared to the bit, or looked up among their own probes
                if score + doubt * max(largest, -score) < best[i, end] or _probed(probes, j, here):
                    continue
                score = similarity(x, X, j, norms[j], largest, sums)
                if score > best[i, end] or (score == best[i, end] and other < ids[i, end]):
                    insert(best, ids, i, score, other)
