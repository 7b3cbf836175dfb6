"""Compiled: correspondences of two images vote in a pyramid over their transforms, one vote for each word.

In: ragged correspondences of many pairs, with codes of their transforms. Out: a strength for each, in place.

The code of a transform interleaves the bits of its four quantised parts, the coarsest first. Sorted by it, the bins of
every level are runs: one sort serves them all, and the rest is linear in the number of correspondences.
"""

from __future__ import annotations

import numpy as np

from manifold.backends._compiled import compiled
from manifold.backends.match_lists import similarity

_BITS, _PLACE, _DIGIT = np.uint64(24), np.uint64((1 << 24) - 1), np.uint64(255)  # of a place below a code
DROPPED = np.int64(-1)  # the code of a transform that lies out of range


@compiled
def hough_codes(frames, rows, sign, n_levels, limits, codes, first, last):  # type: ignore[no-untyped-def]
    """Write the code of each similarity, -1 out of range: `limits` are translation, log scale, shift of the angle."""
    for c in range(first, last):
        _, _, x, y, log_rho, phi = similarity(frames, rows[c, 0], rows[c, 1], sign)
        codes[c] = hough_code(x, y, log_rho, phi, n_levels, limits)


@compiled
def hough_code(x, y, log_rho, phi, n_levels, limits):  # type: ignore[no-untyped-def]
    """Return the code of one similarity."""
    n_bins = 1 << (n_levels - 1)
    x, y, z = (x / limits[0] + 1) / 2, (y / limits[0] + 1) / 2, (log_rho / limits[1] + 1) / 2
    if not (0 <= x <= 1 and 0 <= y <= 1 and 0 <= z <= 1):
        return DROPPED
    angle = (phi + limits[2]) / (2 * np.pi)
    bins = (x * n_bins, y * n_bins, z * n_bins, (angle - np.floor(angle)) * n_bins)  # no remainder is negative
    code = 0
    for axis in range(4):
        bin_ = min(int(bins[axis]), n_bins - 1)
        for level in range(n_levels - 1):
            code |= ((bin_ >> level) & 1) << (4 * level + axis)
    return np.int64(code)


@compiled
def hough_strengths(starts, codes, labels, n_levels, strengths, agree, first, last):  # type: ignore[no-untyped-def]
    """Fill strengths, and whether another is in the finest bin; labels are below the number of their pair's matches."""
    most = 1
    for p in range(first, last):
        most = max(most, starts[p + 1] - starts[p])
    keys, spare = np.empty(most, np.uint64), np.empty(most, np.uint64)
    label, votes, dead = np.empty(most, np.int64), np.empty(most), np.zeros(most, np.bool_)
    stamps, seen = np.empty(most, np.int64), np.empty(most, np.int64)
    for p in range(first, last):
        begin, end = starts[p], starts[p + 1]
        n = _sorted_keys(codes[begin:end], n_levels, keys, spare)
        for at in range(n):
            label[at], votes[at] = labels[begin + np.int64(keys[at] & _PLACE)], 0
        stamps[: end - begin] = -1
        n = _vote(keys, label, votes, dead, stamps, seen, n, n_levels)
        strengths[begin:end], agree[begin:end], votes[:n] = 0, False, 0
        _count(keys[:n], votes, n_levels, strengths[begin:end], agree[begin:end])


@compiled
def _sorted_keys(code, n_levels, keys, spare):  # type: ignore[no-untyped-def]
    """Write code and place of all that are in range, in one number, in ascending order; return how many they are."""
    n, counts = 0, np.empty(257, np.int64)
    for i in range(code.size):
        if code[i] != DROPPED:
            keys[n] = (np.uint64(code[i]) << _BITS) | np.uint64(i)
            n += 1
    for digit_at in range(0, 4 * (n_levels - 1), 8):  # a digit of eight bits at a time, the lowest first
        shift = np.uint64(digit_at) + _BITS
        counts[:] = 0
        for at in range(n):
            counts[np.int64((keys[at] >> shift) & _DIGIT) + 1] += 1
        for digit in range(256):
            counts[digit + 1] += counts[digit]
        for at in range(n):
            place = np.int64((keys[at] >> shift) & _DIGIT)
            spare[counts[place]] = keys[at]
            counts[place] += 1
        keys[:n] = spare[:n]
    return n


@compiled
def _vote(keys, label, votes, dead, stamps, seen, n, n_levels):  # type: ignore[no-untyped-def]
    """Erase all but the strongest correspondence of each word, from the finest level up; return how many stay."""
    run = 0
    for level in range(n_levels):  # 0 is the finest here
        shift, weight = np.uint64(4 * level) + _BITS, float(1 << max(n_levels - 2 - level, 0))
        begin, kept = 0, 0
        while begin < n:
            bin_, end, distinct = keys[begin] >> shift, begin, 0
            while end < n and keys[end] >> shift == bin_:
                distinct += stamps[label[end]] != run
                stamps[label[end]] = run
                end += 1
            run += 1
            if distinct >= 2:
                for at in range(begin, end):
                    votes[at] += weight * (distinct - 1)
                if distinct < end - begin:
                    _erase(keys, label, votes, dead, stamps, seen, run, begin, end)
                    run += 1
            for at in range(begin, end):
                keys[kept], label[kept], votes[kept] = keys[at], label[at], votes[at]
                kept += not dead[at]
                dead[at] = False
            begin = end
        n = kept
    return 0 if n > 1 and label[0] == label[1] else n  # one word cannot agree with itself


@compiled
def _erase(keys, label, votes, dead, stamps, seen, run, begin, end):  # type: ignore[no-untyped-def]
    """Mark all but the strongest of each word in a bin; of equal ones the first that was given stays."""
    for at in range(begin, end):
        word = label[at]
        if stamps[word] != run:
            stamps[word], seen[word] = run, at
            continue
        other = seen[word]
        if votes[at] > votes[other] or (votes[at] == votes[other] and keys[at] & _PLACE < keys[other] & _PLACE):
            dead[other], seen[word] = True, at
        else:
            dead[at] = True


@compiled
def _count(keys, votes, n_levels, strengths, agree):  # type: ignore[no-untyped-def]
    """Write the strengths of survivors: in each of their bins the number of the others, weighted by its level."""
    n = keys.size
    for level in range(n_levels):
        shift, weight, begin = np.uint64(4 * level) + _BITS, float(1 << max(n_levels - 2 - level, 0)), 0
        while begin < n:
            bin_, end = keys[begin] >> shift, begin + 1
            while end < n and keys[end] >> shift == bin_:
                end += 1
            if end - begin > 1:
                for at in range(begin, end):
                    votes[at] += weight * (end - begin - 1)
                    if level == 0:
                        agree[np.int64(keys[at] & _PLACE)] = True
            begin = end
    for at in range(n):
        strengths[np.int64(keys[at] & _PLACE)] = votes[at]
