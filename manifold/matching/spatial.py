"""The two methods of spatial verification: their settings, and what each finds in correspondences.

In: ragged correspondences of many pairs of images. Out: scores, transforms, and which correspondences agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np

from manifold._arrays import as_integers, as_numbers
from manifold._checks import check_count
from manifold._typing import Floats, Ints, Mask
from manifold.backends.threads import in_threads
from manifold.matching.correspondences import Correspondences, relative_transforms
from manifold.matching.features import LocalFeatures

_PAIRS = 16  # pairs that a thread takes at a time
_CODES = 1 << 14  # transforms that a thread takes at a time
_SHIFT = 5 * np.pi / 16  # so that no rotation lies inside a bin at every level
ANGLES = ("clockwise", "counter")


@dataclass(frozen=True)
class FastSpatial:
    """Fast spatial matching: the similarity of each correspondence is tried, the best are refined to affine transforms.

    The score is the number of inliers, one-to-one: the smaller number of features on either side.

    Reference: Philbin et al. (2007), section 3.

    Parameters
    ----------
    tolerance : float
        Pixels of the image with the larger number; a point this far from where it is taken is an inlier.
    max_ratio : float
        Largest ratio of an inlier's change of scale to that of the hypothesis, > 1.
    scales : tuple of float
        Each hypothesis is tried with its scale times these: (1,) where features have scales, more where they have none.
    n_refined, n_rounds : int
        Hypotheses refined, and least squares on the inliers of each, while these grow.
    max_hypotheses : int
        Of pairs with more correspondences so many are tried, spread evenly.
    angles : {"clockwise", "counter"}
        How angles of the features turn, seen with y down: clockwise for SIFT of OpenCV. Of the two, the right one makes
        t the same for all true matches.

    Notes
    -----
    Cost: correspondences squared, at most `max_hypotheses` times correspondences.

    Examples
    --------
    >>> FastSpatial().tolerance
    8.0
    """

    tolerance: float = 8.0
    max_ratio: float = 2.5
    scales: tuple[float, ...] = (1.0,)
    n_refined: int = 5
    n_rounds: int = 4
    max_hypotheses: int = 1000
    angles: str = "clockwise"

    def __post_init__(self) -> None:
        _check(self.tolerance, "tolerance", above=0, usual="8 pixels")
        _check(self.max_ratio, "max_ratio", above=1, usual="2.5")
        if not self.scales or not all(np.isfinite(s) and s > 0 for s in self.scales):
            raise ValueError(
                f"scales must be positive numbers, got {self.scales!r}: (1.0,) tries the scale of the features"
            )
        for name in ("n_refined", "max_hypotheses"):
            check_count(getattr(self, name), name)
        check_count(self.n_rounds, "n_rounds", minimum=0)
        _check_angles(self.angles)


@dataclass(frozen=True)
class HoughPyramid:
    """Hough pyramid matching: correspondences vote in a pyramid of bins over their similarities; nothing is tried.

    ``strength(c) = sum_l 2^max(l - 1, 0) (survivors in its bin at level l - 1)``, l = 0 the single bin of all. From the
    finest level up, of the correspondences of one word in a bin only the strongest survives. The score is the sum of
    strengths.

    Reference: Tolias and Avrithis (2011); Avrithis and Tolias (2014).

    Parameters
    ----------
    n_levels : int
        L; the finest has 2^(L - 1) bins a dimension.
    max_translation : float
        Pixels; transforms beyond it, and beyond `max_scale`, are dropped. 3.5 times the larger side of an image.
    max_scale : float
        > 1; log rho reaches from -log to log of it.
    normalize : bool
        Divide the score by the smaller number of features, to compare pairs.
    angles : {"clockwise", "counter"}
        See `FastSpatial`.

    Notes
    -----
    Cost: linear in the correspondences of a pair. Two that differ by a pixel may be parted by the edge of a bin at all
    levels but the first; that is the method.

    Examples
    --------
    >>> HoughPyramid().n_levels
    5
    """

    n_levels: int = 5
    max_translation: float = 1750.0
    max_scale: float = 10.0
    normalize: bool = True
    angles: str = "clockwise"

    def __post_init__(self) -> None:
        if not 1 <= check_count(self.n_levels, "n_levels") <= 11:  # four coordinates in a code, and a place, of 64 bits
            raise ValueError(f"n_levels must lie in 1..11, got {self.n_levels}: 5 in the paper")
        _check(self.max_translation, "max_translation", above=0, usual="3.5 times the larger side of an image")
        _check(self.max_scale, "max_scale", above=1, usual="10")
        _check_angles(self.angles)


Method: TypeAlias = FastSpatial | HoughPyramid
METHODS: Mapping[str, Callable[[], Method]] = MappingProxyType({"fsm": FastSpatial, "hpm": HoughPyramid})


class Found(NamedTuple):
    """What a method says of ragged correspondences: scores (p,), transforms (p, 2, 3), and of each (n,) the rest."""

    scores: Floats
    transforms: Floats
    strengths: Floats
    inliers: Mask


def hough_strengths(transforms: object, labels: object, *, method: HoughPyramid | None = None) -> Floats:
    """Return the strengths (n,) of correspondences whose similarities are known, by Hough pyramid matching.

    Reference: Tolias and Avrithis (2011); Avrithis and Tolias (2014).

    Parameters
    ----------
    transforms : (n, 4)
        x, y of the translation, rho > 0, phi in radians.
    labels : (n,) int
        The word of each; those of one word exclude each other.
    method : HoughPyramid, optional

    Raises
    ------
    TypeError, ValueError
        For shapes that differ, NaN or infinity, a rho that is not positive.

    Examples
    --------
    >>> settings = HoughPyramid(max_translation=1792)
    >>> hough_strengths([[0, 0, 1, 0], [0, 0, 1, 0], [1600, 0, 1, 0]], [0, 1, 2], method=settings).tolist()
    [18.0, 18.0, 4.0]
    """
    given, named = as_numbers(transforms, "transforms"), as_integers(labels, "labels")
    if given.ndim != 2 or given.shape[1] != 4 or named.shape != given.shape[:1]:
        raise ValueError(f"transforms must be (n, 4) and labels (n,), got {given.shape} and {named.shape}")
    if not (np.isfinite(given).all() and (given[:, 2] > 0).all()):
        raise ValueError("transforms must be finite, with rho > 0")
    _, numbers = np.unique(named, return_inverse=True)
    starts, numbers = np.array([0, len(given)]), numbers.reshape(-1).astype(np.int64)
    method = HoughPyramid() if method is None else method
    from manifold.backends.hough_votes import hough_code  # compiles, when first asked

    votes = zip(given[:, 0], given[:, 1], np.log(given[:, 2]), given[:, 3], strict=True)
    codes = np.array([hough_code(*vote, method.n_levels, _limits(method)) for vote in votes], np.int64)
    return _strengths(method, starts, codes, numbers)[0]


def read_method(method: str | Method) -> Method:
    """Return the settings that a name stands for, or those given.

    >>> read_method("fsm").n_rounds
    4
    """
    if isinstance(method, str):
        if method not in METHODS:
            raise ValueError(f"method must be one of {tuple(METHODS)} or its settings, got {method!r}")
        return METHODS[method]()
    if not isinstance(method, Method):
        raise TypeError(f"method must be one of {tuple(METHODS)} or its settings, got {method!r}")
    return method


def found_by(method: Method, some: Correspondences, features: LocalFeatures, *, frames: Floats) -> Found:
    """Return what a method finds in the correspondences of some pairs; `frames` are those of all features, prepared.

    >>> from manifold.matching.correspondences import prepared_frames
    >>> features = LocalFeatures([[1, 1], [2, 2]], None, [0, 1, 2])
    >>> one = Correspondences(np.array([[0, 1]]), np.array([0, 1]), np.array([[0, 1]]), np.array([0]))
    >>> found_by(FastSpatial(), one, features, frames=prepared_frames(features.geometry)).scores.tolist()
    [1.0]
    """
    if isinstance(method, HoughPyramid):
        return _voted(method, some, features, frames)
    return _inliers(method, some, features, frames)


def _inliers(method: FastSpatial, some: Correspondences, features: LocalFeatures, frames: Floats) -> Found:
    from manifold.backends.spatial_inliers import spatial_inliers  # compiles, when first asked

    transforms = relative_transforms(frames, some.rows, angles=method.angles)
    pairs, n = some.n_pairs, len(some.rows)
    places = frames[some.rows, :2].reshape(n, 4)
    ends = some.rows - np.repeat(features.indptr[some.pairs], np.diff(some.starts), axis=0)
    limits = [method.tolerance**2, np.log(method.max_ratio), method.max_hypotheses, method.n_refined, method.n_rounds]
    found, mask, scores = np.empty((pairs, 6)), np.empty(n, bool), np.empty(pairs)
    asked = (np.array(method.scales, float), np.array(limits, float), features.counts[some.pairs])
    given = (some.starts, ends, places, transforms, *asked)
    in_threads(lambda a, b: spatial_inliers(*given, found, mask, scores, a, b), pairs, step=_PAIRS)
    return Found(scores, found.reshape(-1, 2, 3), mask.astype(np.float64), mask)


def _voted(method: HoughPyramid, some: Correspondences, features: LocalFeatures, frames: Floats) -> Found:
    from manifold.backends.hough_votes import hough_codes  # compiles, when first asked

    codes = np.empty(len(some.rows), np.int64)
    given = (frames, some.rows, 1.0 if method.angles == "clockwise" else -1.0, method.n_levels, _limits(method), codes)
    in_threads(lambda a, b: hough_codes(*given, a, b), codes.size, step=_CODES)
    strengths, inliers = _strengths(method, some.starts, codes, some.labels)
    scores, filled = np.zeros(some.n_pairs), np.flatnonzero(np.diff(some.starts))
    found = np.tile(np.eye(2, 3), (some.n_pairs, 1, 1))
    if filled.size:
        scores[filled] = np.add.reduceat(strengths, some.starts[filled])
        most = np.repeat(np.maximum.reduceat(strengths, some.starts[filled]), np.diff(some.starts)[filled])
        at = np.flatnonzero((strengths == most) & (strengths > 0))[::-1]  # of equal ones the first is written last
        a, b, x, y = relative_transforms(frames, some.rows[at], angles=method.angles)[:, :4].T
        pair = np.searchsorted(some.starts, at, side="right") - 1
        found[pair] = np.stack([a, 0 - b, x, b, a, y], axis=1).reshape(-1, 2, 3)
    if method.normalize:
        scores /= np.maximum(features.counts[some.pairs].min(axis=1), 1)
    return Found(scores, found, strengths, inliers)


def _limits(method: HoughPyramid) -> Floats:
    return np.array([method.max_translation, np.log(method.max_scale), _SHIFT])


def _strengths(method: HoughPyramid, starts: Ints, codes: Ints, labels: Ints) -> tuple[Floats, Mask]:
    from manifold.backends.hough_votes import hough_strengths as vote  # compiles, when first asked

    strengths, agree = np.empty(codes.size), np.empty(codes.size, bool)
    given = (starts, codes, labels, method.n_levels, strengths, agree)
    in_threads(lambda a, b: vote(*given, a, b), starts.size - 1, step=_PAIRS)
    return strengths, agree


def _check(value: float, name: str, *, above: float, usual: str) -> None:
    if not (isinstance(value, int | float | np.number) and np.isfinite(value) and value > above):
        raise ValueError(f"{name} must be a finite number > {above}, got {value!r}: {usual} is usual")


def _check_angles(angles: str) -> None:
    if angles not in ANGLES:
        raise ValueError(f"angles must be one of {ANGLES}, got {angles!r}")
