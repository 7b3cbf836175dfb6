"""The two methods of spatial verification: their settings, and what each finds in correspondences.

In: ragged correspondences of many pairs of images. Out: scores, transforms, and which correspondences agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np

from manifold._arrays import as_integers, as_numbers
from manifold._checks import check_count
from manifold._typing import Floats, Ints, Mask
from manifold.backends.threads import in_threads
from manifold.matching.correspondences import Correspondences, prepared_frames, relative_transforms
from manifold.matching.features import LocalFeatures

_PAIRS = 64  # pairs that a thread takes at a time
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
        L; the finest has 2^(L - 1) bins a dimension: of 6, 11 degrees, a factor of 1.15 and a fifth of a side wide. So
        many hold what frames of SIFT differ by in true matches, in the median 2.4 degrees, 6 % and 1.3 % of a side.
    max_translation : float
        Transforms beyond it, and beyond `max_scale`, are dropped. Places are counted from the middle of the box around
        the features of their image, in its larger side, so that images of every size are told apart alike.
    max_scale : float
        > 1; log rho reaches from -log to log of it.
    normalize : bool
        Divide the score by what both images have with themselves where all words differ, 2^(L - 1) m (m - 1) for m
        features, as a cosine does: at most 1. Votes are of pairs of correspondences, so that those by chance grow with
        the product of both numbers of features.
    angles : {"clockwise", "counter"}
        See `FastSpatial`.

    Notes
    -----
    Cost: linear in the correspondences of a pair. Two that differ by a pixel may be parted by the edge of a bin at all
    levels but the first; that is the method.

    Examples
    --------
    >>> HoughPyramid().n_levels
    6
    """

    n_levels: int = 6
    max_translation: float = 3.0
    max_scale: float = 10.0
    normalize: bool = True
    angles: str = "clockwise"

    def __post_init__(self) -> None:
        if not 1 <= check_count(self.n_levels, "n_levels") <= 11:  # four coordinates in a code, and a place, of 64 bits
            raise ValueError(f"n_levels must lie in 1..11, got {self.n_levels}: 6 is usual")
        _check(self.max_translation, "max_translation", above=0, usual="3 sides of an image")
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
        x, y of the translation, in the unit of `max_translation`; rho > 0, phi in radians.
    labels : (n,) int
        The word of each; those of one word exclude each other.
    method : HoughPyramid, optional

    Raises
    ------
    TypeError, ValueError
        For shapes that differ, NaN or infinity, a rho that is not positive.

    Examples
    --------
    >>> settings = HoughPyramid(5, max_translation=1792)
    >>> hough_strengths([[0, 0, 1, 0], [0, 0, 1, 0], [1600, 0, 1, 0]], [0, 1, 2], method=settings).tolist()
    [18.0, 18.0, 4.0]
    """
    given, named = as_numbers(transforms, "transforms"), as_integers(labels, "labels")
    if given.ndim != 2 or given.shape[1] != 4 or named.shape != given.shape[:1]:
        raise ValueError(f"transforms must be (n, 4) and labels (n,), got {given.shape} and {named.shape}")
    if not (np.isfinite(given).all() and (given[:, 2] > 0).all()):
        raise ValueError("transforms must be finite, with rho > 0")
    _, numbers = np.unique(named, return_inverse=True)
    x, y, rho, phi = given.T
    taken = np.stack([x, y, np.log(rho), phi, np.cos(phi), np.sin(phi), rho], axis=1)
    frames = np.concatenate([[[0, 0, 0, 0, 1, 0, 1]], taken])  # that of the origin is taken to each
    rows = np.stack([np.zeros(len(given), np.int64), np.arange(1, len(frames))], axis=1)
    one = Correspondences(np.zeros((1, 2), np.int64), np.array([0, len(given)]), rows, numbers.reshape(-1))
    return _votes(replace(method or HoughPyramid(), angles="clockwise"), one, frames).strengths


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


def frames_for(method: Method, features: LocalFeatures) -> Floats:
    """Return the frames of all features as a method compares them: prepared, in pixels or in sides of their image.

    >>> frames_for(HoughPyramid(), LocalFeatures([[10, 0], [30, 40]], None, [0, 2]))[:, :2].tolist()
    [[-0.25, -0.5], [0.25, 0.5]]
    """
    if isinstance(method, FastSpatial) or not len(features.geometry):
        return prepared_frames(features.geometry)
    geometry, filled = features.geometry.astype(np.float64), np.flatnonzero(features.counts)
    ends = [f.reduceat(geometry[:, :2], features.indptr[filled]) for f in (np.minimum, np.maximum)]
    side = (ends[1] - ends[0]).max(axis=1)
    image = np.repeat(np.arange(filled.size), features.counts[filled])
    side = np.where(side > 0, side, 1)[image]
    geometry[:, :2] = (geometry[:, :2] - (ends[0] / 2 + ends[1] / 2)[image]) / side[:, None]
    geometry[:, 2] /= side
    return prepared_frames(geometry)


def found_by(method: Method, some: Correspondences, features: LocalFeatures, *, frames: Floats) -> Found:
    """Return what a method finds in the correspondences of some pairs; `frames` are those of `frames_for`.

    >>> features = LocalFeatures([[1, 1], [2, 2]], None, [0, 1, 2])
    >>> one = Correspondences(np.array([[0, 1]]), np.array([0, 1]), np.array([[0, 1]]), np.array([0]))
    >>> found_by(FastSpatial(), one, features, frames=frames_for(FastSpatial(), features)).scores.tolist()
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
    votes = _votes(method, some, frames)
    found, scores = np.tile(np.eye(2, 3), (some.n_pairs, 1, 1)), votes.scores
    sure = np.flatnonzero(votes.best >= 0)
    if sure.size:
        ends = some.rows[votes.best[sure]]
        own = prepared_frames(features.geometry[ends.ravel()])  # the transform is told in pixels
        both = np.arange(ends.size).reshape(-1, 2)
        a, b, x, y = relative_transforms(own, both, angles=method.angles)[:, :4].T
        found[sure] = np.stack([a, 0 - b, x, b, a, y], axis=1).reshape(-1, 2, 3)
    if method.normalize:
        m = features.counts[some.pairs].astype(np.float64)
        scores = scores / (2 ** (method.n_levels - 1) * np.sqrt(np.maximum(m * (m - 1), 1).prod(axis=1)))
    return Found(scores, found, votes.strengths, votes.inliers)


class _Votes(NamedTuple):
    scores: Floats  # (p,)
    best: Ints  # (p,), the strongest correspondence, -1 for none
    strengths: Floats  # (n,)
    inliers: Mask  # (n,)


def _votes(method: HoughPyramid, some: Correspondences, frames: Floats) -> _Votes:
    from manifold.backends.hough_votes import hough_strengths as vote  # compiles, when first asked

    n, sign = len(some.rows), 1.0 if method.angles == "clockwise" else -1.0
    limits = np.array([sign, method.max_translation, np.log(method.max_scale), _SHIFT])
    bins = np.arange(2 ** (method.n_levels - 1))
    spread = np.zeros_like(bins)
    for level in range(method.n_levels - 1):
        spread |= (bins >> level & 1) << 4 * level
    votes = _Votes(np.empty(some.n_pairs), np.empty(some.n_pairs, np.int64), np.empty(n), np.empty(n, bool))
    given = (some.starts, some.rows, some.labels, frames, limits, spread)
    filled = (votes.strengths, votes.inliers, votes.scores, votes.best)
    in_threads(lambda a, b: vote(*given, *filled, a, b), some.n_pairs, step=_PAIRS)
    return votes


def _check(value: float, name: str, *, above: float, usual: str) -> None:
    if not (isinstance(value, int | float | np.number) and np.isfinite(value) and value > above):
        raise ValueError(f"{name} must be a finite number > {above}, got {value!r}: {usual} is usual")


def _check_angles(angles: str) -> None:
    if angles not in ANGLES:
        raise ValueError(f"angles must be one of {ANGLES}, got {angles!r}")
