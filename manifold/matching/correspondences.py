"""Tentative correspondences of pairs of images, ragged, and the similarity that each implies.

In: pairs of images and their features. Out: rows of features that may show the same point, and their transforms.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from manifold._arrays import as_array
from manifold._checks import check_features
from manifold._typing import AnyArray, Floats, Ints
from manifold.backends.threads import in_threads
from manifold.matching.features import LocalFeatures

TENTATIVE = ("words", "mutual")
_PAIRS = 64  # pairs that a thread takes at a time
_ROWS = 1 << 14  # and correspondences


class Correspondences(NamedTuple):
    """Correspondences of pairs of images: those of pair p are ``rows[starts[p] : starts[p + 1]]``."""

    pairs: Ints  # (p, 2)
    starts: Ints  # (p + 1,)
    rows: Ints  # (n, 2), rows of the features
    labels: Ints  # (n,), in a pair: those of one label exclude each other

    @property
    def n_pairs(self) -> int:
        """Number of pairs.

        >>> Correspondences(np.empty((0, 2), int), np.zeros(1, int), np.empty((0, 2), int), np.empty(0, int)).n_pairs
        0
        """
        return len(self.pairs)


def sort_words(features: LocalFeatures) -> LocalFeatures:
    """Return the features of each image in the order of their words, without descriptors.

    >>> sort_words(LocalFeatures([[1, 1], [2, 2]], None, [0, 2], [5, 3])).words.tolist()
    [3, 5]
    """
    if features.words is None:
        raise ValueError(
            "features must have words for tentative='words': features.with_words(vocabulary.words(descriptors)), "
            "or pass tentative='mutual'"
        )
    images = np.repeat(np.arange(features.n_images), features.counts)
    order = np.lexsort((features.words, images))
    return LocalFeatures(features.geometry[order], None, features.indptr, features.words[order])


def ragged_correspondences(
    pairs: Ints, features: LocalFeatures, *, tentative: str, ratio: float, most: int
) -> Iterator[Correspondences]:
    """Yield the correspondences of all pairs in order, of so many at a time as `most` allow, at least one.

    By "words", words must ascend in an image, see `sort_words`.

    >>> features = LocalFeatures([[1, 1], [2, 2], [3, 3]], None, [0, 2, 3], [3, 5, 5])
    >>> (some,) = ragged_correspondences(np.array([[0, 1]]), features, tentative="words", ratio=0.85, most=9)
    >>> some.rows.tolist()
    [[1, 2]]
    """
    if tentative not in TENTATIVE:
        raise ValueError(f"tentative must be one of {TENTATIVE}, got {tentative!r}")
    if tentative == "words":
        return _of_words(pairs, features, most)
    if features.descriptors is None:
        raise ValueError("features must have descriptors for tentative='mutual'")
    return _mutual(pairs, features, ratio, most)


def _mutual(pairs: Ints, features: LocalFeatures, ratio: float, most: int) -> Iterator[Correspondences]:
    assert features.descriptors is not None
    parts: list[Ints] = []
    first = total = 0
    for p, (i, j) in enumerate(pairs):
        a, b = features.rows(i), features.rows(j)
        found = tentative_matches(features.descriptors[a], features.descriptors[b], ratio=ratio)
        parts.append(found + np.array([a.start, b.start]))
        total += len(found)
        if total >= most or p == len(pairs) - 1:
            starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
            labels = np.arange(total) - np.repeat(starts[:-1], np.diff(starts))
            yield Correspondences(pairs[first : p + 1], starts, np.concatenate(parts), labels)
            first, total, parts = p + 1, 0, []


def _of_words(pairs: Ints, features: LocalFeatures, most: int) -> Iterator[Correspondences]:
    from manifold.backends import match_lists  # compiles, when first asked

    counts = np.empty(len(pairs), np.int64)
    words, indptr = features.words, features.indptr
    in_threads(lambda a, b: match_lists.count_shared(words, indptr, pairs, counts, a, b), len(pairs), step=_PAIRS)
    before, first = np.concatenate([[0], np.cumsum(counts)]), 0
    while first < len(pairs):
        last = max(first + 1, int(np.searchsorted(before, before[first] + most, side="right")) - 1)
        some, starts = pairs[first:last], before[first : last + 1] - before[first]
        filled = np.empty((starts[-1], 2), np.int64), np.empty(starts[-1], np.int64)
        in_threads(partial(match_lists.fill_shared, words, indptr, some, starts, *filled), len(some), step=_PAIRS)
        yield Correspondences(some, starts, *filled)
        first = last


def tentative_matches(first: object, second: object, *, ratio: float = 0.85) -> Ints:
    """Return the rows (n, 2) of descriptors that are each other's nearest, and clearly nearer than the second nearest.

    ``d_1 <= ratio d_2`` for Euclidean distances of unit vectors, looked for from the first side.

    Reference: Lowe (2004), section 7.1.

    Parameters
    ----------
    first, second : (m, d), (l, d)
        A descriptor of zeros matches nothing.
    ratio : float in (0, 1]
        1 leaves the test out.

    Raises
    ------
    TypeError, ValueError
        For widths that differ, NaN or infinity, a ratio out of range.

    Notes
    -----
    Cost: m l d.

    Examples
    --------
    >>> tentative_matches([[1.0, 0.0], [0.0, 1.0]], [[0.1, 1.0], [0.6, 0.8], [1.0, 0.0]]).tolist()
    [[0, 2], [1, 0]]
    """
    if not 0 < ratio <= 1:
        raise ValueError(f"ratio must lie in (0, 1], got {ratio!r}: 0.85 is usual, 1 leaves the test out")
    sides = [as_array(side, name) for side, name in ((first, "first"), (second, "second"))]
    if any(side.ndim != 2 for side in sides) or sides[0].shape[1] != sides[1].shape[1]:
        raise ValueError(f"descriptors must be (m, d) and (l, d), got {sides[0].shape} and {sides[1].shape}")
    if not (len(sides[0]) and len(sides[1])):
        return np.empty((0, 2), np.int64)
    A, B = (_unit(check_features(side, name)) for side, name in zip(sides, ("first", "second"), strict=True))
    cosines = A @ B.T
    there, back = cosines.argmax(axis=1), cosines.argmax(axis=0)
    own = np.arange(len(A))
    best = cosines[own, there].copy()
    mutual = (back[there] == own) & A.any(axis=1) & np.asarray(B.any(axis=1))[there]
    if ratio < 1 and len(B) > 1:
        cosines[own, there] = -np.inf
        second_best = cosines.max(axis=1)
        mutual &= 2 - 2 * np.minimum(best, 1) <= ratio**2 * (2 - 2 * np.minimum(second_best, 1))
    return np.stack([own[mutual], there[mutual]], axis=1)


def _unit(X: AnyArray) -> Floats:
    rows = X.astype(np.float64)
    with np.errstate(under="ignore"):
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.where(norms > 0, norms, 1))


def relative_transforms(frames: Floats, rows: Ints, *, angles: str) -> Floats:
    """Return (a, b, tx, ty, log rho, phi) (n, 6) of frames that correspond: p_j = rho R(phi) p_i + t.

    a = rho cos(phi), b = rho sin(phi). R = [[cos, -sin], [sin, cos]] turns clockwise where y points down; angles
    counted the other way change sign.

    >>> frames = np.array([[10.0, 20.0, 4.0, 30.0], [2.32050808, 41.64101615, 8.0, 60.0]])
    >>> found = relative_transforms(prepared_frames(frames), np.array([[0, 1]]), angles="clockwise")[0]
    >>> found[2:4].round(6).tolist(), np.exp(found[4]).round(6).item(), (found[5] / np.pi).round(6).item()
    ([5.0, -3.0], 2.0, 0.166667)
    """
    from manifold.backends.match_lists import fill_transforms  # compiles, when first asked

    sign, out = 1.0 if angles == "clockwise" else -1.0, np.empty((len(rows), 6))
    in_threads(lambda a, b: fill_transforms(frames, rows, sign, out, a, b), len(rows), step=_ROWS)
    return out


def prepared_frames(geometry: AnyArray) -> Floats:
    """Return (m, 7): x, y, log s, the angle in radians, its cosine and sine, and s of each frame.

    >>> prepared_frames(np.array([[1.0, 2.0, 1.0, 180.0]])).round(3).tolist()
    [[1.0, 2.0, 0.0, 3.142, -1.0, 0.0, 1.0]]
    """
    x, y, s, degrees = geometry.T.astype(np.float64)
    angle = np.deg2rad(degrees)
    return np.stack([x, y, np.log(s), angle, np.cos(angle), np.sin(angle), s], axis=1)
