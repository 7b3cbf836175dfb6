"""Compiled: correspondences of two images vote in a pyramid over their transforms, one vote for each word.

In: ragged correspondences of many pairs, and the frames of their features. Out: in place, a strength for each, and of
each pair their sum and the strongest.

The code of a transform interleaves the bits of its four quantised parts, the coarsest first. Sorted by it, the bins of
every level are runs, and those of a level are unions of runs of the finer one: one sort serves them all, and the rest
is linear in the number of correspondences.
"""

from __future__ import annotations

import numpy as np

from manifold.backends._compiled import compiled
from manifold.backends.match_lists import similarity

_PLACES = 24  # bits of a place below a code
_BITS, _PLACE, _DIGIT = np.uint64(_PLACES), np.uint64((1 << _PLACES) - 1), np.uint64(255)
DROPPED = np.int64(-1)  # the code of a transform that lies out of range


@compiled
def hough_strengths(  # type: ignore[no-untyped-def]
    starts, rows, labels, frames, limits, spread, strengths, agree, scores, best, first, last
):
    """Fill `strengths`, and whether another is in the finest bin, of pairs first..last-1; their sums; the strongest.

    `labels` are below the number of their pair's matches; `best` is -1 where nothing agrees, of equal ones the first.
    `limits` are the sign of angles, largest translation, largest log scale, shift of the angle; for `spread` see
    `hough_code`.
    """
    most, n_levels = 1, 1
    while spread.size >> n_levels:
        n_levels += 1
    for p in range(first, last):
        most = max(most, starts[p + 1] - starts[p])
    keys, spare = np.empty(most, np.uint64), np.empty(most, np.uint64)
    label, powers, dead = np.empty(most, np.uint32), np.empty(most, np.int64), np.empty(most, np.bool_)
    scratch = np.empty(most, np.int32), np.empty(most, np.uint32), np.empty(most, np.int64)
    votes, edges = np.empty(most + 1), np.empty(most + 1, np.uint32)
    for p in range(first, last):
        begin, end, n = starts[p], starts[p + 1], 0
        for c in range(begin, end):
            _, _, x, y, log_rho, phi = similarity(frames, rows[c, 0], rows[c, 1], limits[0])
            code = hough_code(x, y, log_rho, phi, limits, spread)
            keys[n] = (np.uint64(code) << _BITS) | np.uint64(c - begin)
            n += code != DROPPED
        _sort(keys, spare, n, n_levels)
        for at in range(n):
            place = keys[at] & _PLACE
            label[at], powers[at] = labels[begin:end][place], end - begin - np.int64(place)
        n = _vote(keys, powers, label[: end - begin], scratch, dead, n, n_levels)
        strengths[begin:end], agree[begin:end] = 0, False
        scores[p], at = _count(keys, votes, edges, n, n_levels, strengths[begin:end], agree[begin:end])
        best[p] = -1 if at < 0 else begin + at


@compiled
def hough_code(x, y, log_rho, phi, limits, spread):  # type: ignore[no-untyped-def]
    """Return the code of one similarity, -1 out of range; `spread` holds each bin with three zeros between its bits."""
    n_bins = spread.size
    x, y, z = (x / limits[1] + 1) / 2, (y / limits[1] + 1) / 2, (log_rho / limits[2] + 1) / 2
    if not ((min(x, y, z) >= 0) & (max(x, y, z) <= 1)):
        return DROPPED
    angle = (phi + limits[3]) / (2 * np.pi)
    angle -= np.floor(angle)  # no remainder is negative
    code = spread[min(int(x * n_bins), n_bins - 1)] | spread[min(int(y * n_bins), n_bins - 1)] << 1
    return code | spread[min(int(z * n_bins), n_bins - 1)] << 2 | spread[min(int(angle * n_bins), n_bins - 1)] << 3


@compiled
def _sort(keys, spare, n, n_levels):  # type: ignore[no-untyped-def]
    """Bring codes, with their places below, into ascending order: a digit of eight bits at a time, the lowest first."""
    counts = np.empty(256, np.uint32)
    for digit_at in range(0, 4 * (n_levels - 1), 8):
        shift = np.uint64(digit_at) + _BITS
        counts[:] = 0
        for at in range(n):
            counts[(keys[at] >> shift) & _DIGIT] += 1
        before = np.uint32(0)
        for digit in range(256):
            before, counts[digit] = before + counts[digit], before
        for at in range(n):
            digit = (keys[at] >> shift) & _DIGIT
            spare[counts[digit]] = keys[at]
            counts[digit] += np.uint32(1)
        keys[:n] = spare[:n]


@compiled
def _vote(keys, powers, label, scratch, dead, n, n_levels):  # type: ignore[no-untyped-def]
    """Erase all but the strongest correspondence of each word, from the finest level up; return how many stay.

    `powers` hold votes above what of equal ones puts the first that was given in front, so that one comparison says
    which is stronger. Nothing here branches on what the correspondences are: it could not be foreseen. Unsigned places
    spare the look at whether they count from the end.
    """
    seen, run, ends = scratch
    for level in range(n_levels):  # 0 is the finest here
        shift, weight = np.uint64(4 * level) + _BITS, 1 << max(n_levels - 2 - level, 0)
        seen[: label.size] = -1
        begin, bins, distinct, before = np.int32(0), np.uint32(0), 0, keys[0]
        for at in range(n):
            here, edge, word = np.int32(at), keys[at] >> shift != before >> shift, label[at]
            before, begin, bins = keys[at], here if edge else begin, bins + np.uint32(edge)
            fresh = seen[word] < begin  # the first of its word in this bin
            other = here if fresh else seen[word]
            wins, dead[at] = powers[at] >= powers[np.uint32(other)], False
            seen[word] = here if wins else other
            dead[np.uint32(other if wins else here)] = not fresh
            distinct += fresh
            run[at], ends[bins] = bins, distinct
        distinct = 0
        for bin_ in range(bins + 1):  # from here on what one vote of the others of a bin adds
            distinct, ends[bin_] = ends[bin_], weight * (ends[bin_] - distinct - 1)
        kept = np.uint64(0)
        for at in range(n):
            gain = ends[run[at]]
            keys[kept], label[kept], powers[kept] = keys[at], label[at], powers[at] + (gain << _PLACES)
            kept += np.uint64((not dead[at]) | (gain == 0))  # of one word that is alone in a bin all wait
        n = np.int64(kept)
    return 0 if n > 1 and label[0] == label[1] else n  # one word cannot agree with itself


@compiled
def _united(keys, edges, n_runs, shift):  # type: ignore[no-untyped-def]
    """Keep the edges of runs that are edges of bins too, and return how many bins there are."""
    bins = np.uint32(min(n_runs, 1))
    for run in range(1, n_runs):
        at = edges[run]
        edges[bins] = at
        bins += np.uint32(keys[at] >> shift != keys[at - np.uint32(1)] >> shift)
    return np.int64(bins)


@compiled
def _count(keys, votes, edges, n, n_levels, strengths, agree):  # type: ignore[no-untyped-def]
    """Write the strengths of survivors, in each of their bins the number of the others weighted by its level.

    Return their sum, and the place of the strongest, -1 where all are 0.
    """
    n_runs, votes[: n + 1] = n, 0
    for at in range(n):
        edges[at] = at
    for level in range(n_levels):
        weight = float(1 << max(n_levels - 2 - level, 0))
        n_runs = _united(keys, edges, n_runs, np.uint64(4 * level) + _BITS)
        edges[n_runs] = n
        for run in range(n_runs):  # what a bin adds to all in it is told at its ends
            begin, end = edges[run], edges[run + 1]
            gain = weight * (np.int64(end) - np.int64(begin) - 1)
            votes[begin] += gain
            votes[end] -= gain
            if level == 0 and gain > 0:
                for at in range(begin, end):
                    agree[keys[at] & _PLACE] = True
    total, strength, most, best = 0.0, 0.0, 0.0, np.int64(-1)
    for at in range(n):
        place, strength = keys[at] & _PLACE, strength + votes[at]
        strengths[place], total = strength, total + strength
        if strength > most or (strength == most and np.int64(place) < best):
            most, best = strength, np.int64(place)
    return total, best
