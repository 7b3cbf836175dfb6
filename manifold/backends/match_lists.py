"""Compiled: features that share a word, found in one pass over sorted words or over an inverted file.

In: words of the features of each image. Out: pairs of features of two images; sums over the words that images share.
"""

from __future__ import annotations

import numpy as np

from manifold.backends._compiled import compiled


@compiled
def count_shared(words, indptr, pairs, counts, first, last):  # type: ignore[no-untyped-def]
    """Count the pairs of features that have one word, of pairs of images first..last-1; words ascend in an image."""
    one = np.uint64(1)
    for p in range(first, last):
        i, end_i = _worded(words, indptr, pairs[p, 0])
        j, end_j = _worded(words, indptr, pairs[p, 1])
        total = 0
        while i < end_i and j < end_j:
            word, other = words[i], words[j]
            if word != other:  # which side goes on could not be foreseen: no branch
                i, j = i + np.uint64(word < other), j + np.uint64(other < word)
                continue
            n, m = 0, 0
            while i < end_i and words[i] == word:
                n, i = n + 1, i + one
            while j < end_j and words[j] == word:
                m, j = m + 1, j + one
            total += n * m
        counts[p] = total


@compiled
def fill_shared(words, indptr, pairs, starts, ends, labels, first, last):  # type: ignore[no-untyped-def]
    """Write what `count_shared` counted: both features, as rows of all, and a number for their word."""
    one = np.uint64(1)
    for p in range(first, last):
        i, end_i = _worded(words, indptr, pairs[p, 0])
        j, end_j = _worded(words, indptr, pairs[p, 1])
        at, label = np.uint64(starts[p]), 0
        while i < end_i and j < end_j:
            word, other = words[i], words[j]
            if word != other:
                i, j = i + np.uint64(word < other), j + np.uint64(other < word)
                continue
            stop = j + one
            while stop < end_j and words[stop] == word:
                stop += one
            while i < end_i and words[i] == word:
                for to in range(j, stop):
                    ends[at, 0], ends[at, 1], labels[at] = i, to, label
                    at += one
                i += one
            j, label = stop, label + 1


@compiled
def _worded(words, indptr, image):  # type: ignore[no-untyped-def]
    """Return the first row of an image that has a word, and where its rows end; unsigned, see `hough_votes`."""
    begin, end = np.uint64(indptr[image]), np.uint64(indptr[image + 1])
    while begin < end and words[begin] < 0:
        begin += np.uint64(1)
    return begin, end


@compiled
def similarity(frames, i, j, sign):  # type: ignore[no-untyped-def]
    """Return (a, b, tx, ty, log rho, phi) of x' = a x - b y + tx, y' = b x + a y + ty, which takes frame i to frame j.

    `frames` (m, 7) are x, y, log s, the angle in radians, its cosine and sine, and s: no correspondence needs others.
    """
    rho = frames[j, 6] / frames[i, 6]
    a = rho * (frames[j, 4] * frames[i, 4] + frames[j, 5] * frames[i, 5])
    b = rho * sign * (frames[j, 5] * frames[i, 4] - frames[j, 4] * frames[i, 5])
    tx = frames[j, 0] - a * frames[i, 0] + b * frames[i, 1]
    ty = frames[j, 1] - b * frames[i, 0] - a * frames[i, 1]
    return a, b, tx, ty, frames[j, 2] - frames[i, 2], sign * (frames[j, 3] - frames[i, 3])


@compiled
def fill_transforms(frames, rows, sign, transforms, first, last):  # type: ignore[no-untyped-def]
    """Write the similarity that each correspondence first..last-1 implies."""
    for c in range(first, last):
        found = similarity(frames, rows[c, 0], rows[c, 1], sign)
        for t in range(6):
            transforms[c, t] = found[t]


@compiled
def sum_products(  # type: ignore[no-untyped-def]
    rows, entries, words, queries, lists, owners, vectors, weights, alpha, threshold, out, first, last
):
    """Add to out[i, owner] the weighted kernel of each pair of entries of one word: the product of their vectors.

    Row i asks with ``entries[rows[i] : rows[i + 1]]`` of `words` and `queries`; `lists` are the ends of each word in
    the inverted file, whose `vectors` belong to `owners`.
    """
    d = vectors.shape[1]
    whole = d - d % 4
    for i in range(first, last):
        for at in range(rows[i], rows[i + 1]):
            e = entries[at]
            word = words[e]
            for f in range(lists[word], lists[word + 1]):
                s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
                for t in range(0, whole, 4):  # four sums, so that none waits for itself
                    s0 += np.float64(queries[e, t]) * np.float64(vectors[f, t])
                    s1 += np.float64(queries[e, t + 1]) * np.float64(vectors[f, t + 1])
                    s2 += np.float64(queries[e, t + 2]) * np.float64(vectors[f, t + 2])
                    s3 += np.float64(queries[e, t + 3]) * np.float64(vectors[f, t + 3])
                for t in range(whole, d):
                    s0 += np.float64(queries[e, t]) * np.float64(vectors[f, t])
                u = (s0 + s1) + (s2 + s3)
                if u >= threshold:
                    if alpha == 1.0:
                        out[i, owners[f]] += weights[word] * u
                    elif alpha == 3.0:  # a general power costs as much as the product
                        out[i, owners[f]] += weights[word] * (u * u * u)
                    else:
                        out[i, owners[f]] += weights[word] * u**alpha


@compiled
def sum_signatures(  # type: ignore[no-untyped-def]
    rows, entries, words, queries, lists, owners, codes, weights, table, out, first, last
):
    """As `sum_products`, of bits packed into uint64: `table` holds the kernel by the number of bits that differ."""
    one, two, four = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F)
    for i in range(first, last):
        for at in range(rows[i], rows[i + 1]):
            e = entries[at]
            word = words[e]
            for f in range(lists[word], lists[word + 1]):
                differ = np.uint64(0)
                for t in range(codes.shape[1]):
                    x = queries[e, t] ^ codes[f, t]
                    x = x - ((x >> np.uint64(1)) & one)  # bits counted in pairs, in fours, in bytes, and their sum
                    x = (x & two) + ((x >> np.uint64(2)) & two)
                    x = (x + (x >> np.uint64(4))) & four
                    differ += (x * np.uint64(0x0101010101010101)) >> np.uint64(56)
                out[i, owners[f]] += weights[word] * table[differ]
