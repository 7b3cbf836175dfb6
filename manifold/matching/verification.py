"""Spatial verification: pairs of images to how well one geometry explains their correspondences.

    p_j = rho R(phi) p_i + t        rho = s_j / s_i, phi = angle_j - angle_i, t = p_j - rho R(phi) p_i

is the similarity that a single correspondence of features i, j implies. Pairs of images in; scores, transforms and
edges that are true out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifold._arrays import as_integers, as_numbers
from manifold._checks import check_can
from manifold._progress import Progress, shown
from manifold._typing import Floats, Ints, Mask
from manifold.matching.correspondences import ragged_correspondences, sort_words
from manifold.matching.features import LocalFeatures, check_local_features
from manifold.matching.spatial import Method, found_by, frames_for, read_method
from manifold.neighbors import Neighbors

_MATCHES = 1 << 16  # correspondences that are held at a time


@dataclass(frozen=True, eq=False)
class Verification:
    """What was found of each pair of images.

    Reference: Philbin et al. (2007), section 3; Tolias and Avrithis (2011).

    Parameters
    ----------
    scores : (p,) float64
        Inliers of FSM, strengths of HPM; 0 where nothing agrees.
    transforms : (p, 2, 3) float64
        Affine, pixels of the first image to those of the second: of FSM the refined one, of HPM that of the strongest
        correspondence. The identity where nothing agrees.
    n_tentative : (p,) int64
        Correspondences that were looked at.

    Examples
    --------
    >>> Verification(np.array([12.0]), np.eye(2, 3)[None], np.array([40])).scores.tolist()
    [12.0]
    """

    scores: Floats
    transforms: Floats
    n_tentative: Ints


@dataclass(frozen=True, eq=False)
class Agreement:
    """The correspondences of two images, and which of them agree: what `plotting.matches` draws.

    Reference: Philbin et al. (2007), section 3.

    Parameters
    ----------
    first, second : (n, 2) float
        x, y of both ends.
    inliers : (n,) bool
        Of FSM those within the tolerance; of HPM those that share a bin of the finest level with a survivor.
    strengths : (n,) float
        1 or 0 of FSM, the votes of HPM.
    transform : (2, 3) float
    score : float

    Examples
    --------
    >>> features = LocalFeatures([[0, 0], [9, 0], [5, 5], [14, 5]], None, [0, 2, 4], [1, 2, 1, 2])
    >>> agree(features, 0, 1).transform.tolist()
    [[1.0, 0.0, 5.0], [0.0, 1.0, 5.0]]
    """

    first: Floats
    second: Floats
    inliers: Mask
    strengths: Floats
    transform: Floats
    score: float


def verify(
    pairs: object,
    features: LocalFeatures,
    *,
    method: str | Method = "fsm",
    tentative: str = "words",
    ratio: float = 0.85,
    progress: Progress | bool | None = None,
) -> Verification:
    """Verify pairs of images by the geometry of their features.

    Reference: Philbin et al. (2007), section 3, for "fsm"; Tolias and Avrithis (2011), for "hpm".

    Parameters
    ----------
    pairs : (p, 2) int
        Images; (i, j) and (j, i) have one score, and the inverse transform.
    features : LocalFeatures
    method : {"fsm", "hpm"} or settings
        A name means the defaults of `FastSpatial` or `HoughPyramid`.
    tentative : {"words", "mutual"}
        Which features correspond: those of one word, or mutual nearest neighbours that pass the ratio test.
    ratio : float in (0, 1]
        Of "mutual": the nearest is at most so many times as far as the second.
    progress : bool or callable, optional

    Returns
    -------
    Verification

    Raises
    ------
    TypeError, ValueError
        For images out of range, an unknown method, words or descriptors that are missing.

    Notes
    -----
    Cost: that of the method for each pair that differs, in memory of some 65,000 correspondences. The
    answer depends on neither threads nor what else is asked.

    Examples
    --------
    >>> frames = [[0, 0, 1, 0], [9, 0, 1, 0], [0, 9, 1, 0], [5, 5, 2, 0], [23, 5, 2, 0], [5, 23, 2, 0]]
    >>> features = LocalFeatures(frames, None, [0, 3, 6], [1, 2, 3, 1, 2, 3])
    >>> found = verify([[0, 1]], features)
    >>> found.scores.tolist(), found.transforms[0].round(6).tolist()
    ([3.0], [[2.0, 0.0, 5.0], [0.0, 2.0, 5.0]])
    """
    method = read_method(method)
    check_local_features(features)
    asked = as_integers(pairs, "pairs")
    asked = asked.reshape(0, 2) if not asked.size else asked
    if asked.ndim != 2 or asked.shape[1] != 2:
        raise ValueError(f"pairs must be (p, 2), got {asked.shape}")
    if asked.size and not (asked.min() >= 0 and asked.max() < features.n_images):
        raise ValueError(f"pairs must lie in 0..{features.n_images - 1}, got {asked.min()}..{asked.max()}")
    ordered = np.sort(asked.astype(np.int64), axis=1)
    keys, back = np.unique(ordered[:, 0] * features.n_images + ordered[:, 1], return_inverse=True)
    distinct = np.stack(np.divmod(keys, max(features.n_images, 1)), axis=1)
    scores, transforms, counts = np.empty(len(distinct)), np.empty((len(distinct), 2, 3)), np.empty(len(distinct), int)
    features = sort_words(features) if tentative == "words" else features
    frames, start = frames_for(method, features), 0  # once: each would be prepared for every block of pairs
    with shown(progress, "verification") as report:
        for some in ragged_correspondences(distinct, features, tentative=tentative, ratio=ratio, most=_MATCHES):
            stop = start + some.n_pairs
            found = found_by(method, some, features, frames=frames)
            scores[start:stop], transforms[start:stop] = found.scores, found.transforms
            counts[start:stop] = np.diff(some.starts)
            start = stop
            if report is not None:
                report(stop, len(distinct))
    back = back.reshape(-1)
    swapped = asked[:, 0] > asked[:, 1]
    turned = transforms[back]
    turned[swapped] = _inverse(turned[swapped])
    return Verification(scores[back], turned, counts[back])


def agree(
    features: LocalFeatures,
    first: int,
    second: int,  # images
    *,
    method: str | Method = "fsm",
    tentative: str = "words",
    ratio: float = 0.85,
) -> Agreement:
    """Return the correspondences of two images and which of them agree on one geometry; see `verify`.

    Reference: Philbin et al. (2007), section 3; Tolias and Avrithis (2011).

    Raises
    ------
    TypeError, ValueError
        As `verify`.

    Examples
    --------
    >>> features = LocalFeatures([[0, 0], [9, 0], [5, 5], [14, 5]], None, [0, 2, 4], [1, 2, 1, 2])
    >>> agree(features, 0, 1).inliers.tolist()
    [True, True]
    """
    check_local_features(features)
    images = as_integers([first, second], "images")
    if not (images.min() >= 0 and images.max() < features.n_images):
        raise ValueError(f"images must lie in 0..{features.n_images - 1}, got {first} and {second}")
    pair = np.sort(images)[None]
    features = sort_words(features) if tentative == "words" else features
    (some,) = ragged_correspondences(pair, features, tentative=tentative, ratio=ratio, most=_MATCHES)
    method = read_method(method)
    found = found_by(method, some, features, frames=frames_for(method, features))
    ends = [features.geometry[some.rows[:, side], :2].astype(np.float64) for side in (0, 1)]
    transform = found.transforms
    if first > second:
        ends, transform = ends[::-1], _inverse(transform)
    score = float(found.scores[0])
    return Agreement(ends[0], ends[1], found.inliers, found.strengths, transform[0], score)


def verify_neighbors(
    neighbors: Neighbors,
    features: LocalFeatures,
    *,
    threshold: float,
    weight: str = "mask",
    method: str | Method = "fsm",
    tentative: str = "words",
    ratio: float = 0.85,
    progress: Progress | bool | None = None,
) -> Neighbors:
    """Keep the neighbours that geometry verifies; the components of their graph are the views of one thing.

    Reference: Chum et al. (2007), section 4; Philbin et al. (2007), section 3.

    Parameters
    ----------
    neighbors : Neighbors
        Of the images, by any similarity; only the pairs that they list are verified, each once.
    features : LocalFeatures
    threshold : float
        Least score of a pair that stays: about 10 to 15 inliers of FSM.
    weight : {"mask", "score", "product"}
        The similarity of what stays: its own, the score of verification, or one times the other.
    method, tentative, ratio, progress
        See `verify`.

    Returns
    -------
    Neighbors
        Shorter lists. With "mask" of the metric that it was; with the others "precomputed", which a graph takes as
        weights as they are (gamma = 1): inliers cubed would be nonsense.

    Raises
    ------
    TypeError, ValueError
        As `verify`; for another number of images, an unknown weight, a product with similarities of distances.

    Examples
    --------
    >>> features = LocalFeatures([[0, 0], [9, 0], [5, 5], [14, 5], [1, 1]], None, [0, 2, 4, 5], [1, 2, 1, 2, 1])
    >>> found = Neighbors([[2, 1], [0, 2], [0, 1]], [[0.9, 0.8], [0.8, 0.7], [0.9, 0.7]], "cosine", "by hand")
    >>> verify_neighbors(found, features, threshold=2).indices.tolist()
    [[1, -1], [0, -1], [-1, -1]]
    """
    if weight not in ("mask", "score", "product"):
        raise ValueError(f"weight must be 'mask', 'score' or 'product', got {weight!r}")
    check_threshold(threshold)
    check_local_features(features)
    check_can(neighbors, "n_nodes", "indices", name="neighbors", a="Neighbors of the images")
    if neighbors.n_nodes != features.n_images:
        raise ValueError(f"features must be those of the {neighbors.n_nodes} images, got {features.n_images}")
    if weight == "product" and neighbors.metric == "euclidean":
        raise ValueError("weight='product' would turn squared distances around: pass weight='mask' or 'score'")
    listed = neighbors.indices >= 0
    rows = np.broadcast_to(np.arange(neighbors.n_nodes)[:, None], listed.shape)
    pairs = np.stack([rows[listed], neighbors.indices[listed]], axis=1)
    found = verify(pairs, features, method=method, tentative=tentative, ratio=ratio, progress=progress)
    scores = np.zeros(listed.shape)
    scores[listed] = found.scores
    similarities = neighbors.similarities.astype(np.float64)
    if weight != "mask":
        similarities = scores if weight == "score" else np.where(listed, similarities, 0) * scores
    kept = np.where(listed & (scores >= threshold) & (scores > 0), similarities, -np.inf)
    return neighbors.with_similarities(kept, metric=neighbors.metric if weight == "mask" else "precomputed")


def check_threshold(threshold: float) -> None:
    """Raise ValueError for a least score that is negative or not finite.

    >>> check_threshold(10)
    """
    if not np.isfinite(as_numbers(threshold, "threshold")) or threshold < 0:
        raise ValueError(f"threshold must be a number >= 0, got {threshold!r}: 10 inliers, say")


def _inverse(transforms: Floats) -> Floats:
    """Return the inverse of affine transforms (p, 2, 3)."""
    (a, b, x), (d, e, y) = transforms.transpose(1, 2, 0)
    area = a * e - b * d  # positive, of similarities and of what fast spatial matching keeps
    A = np.stack([e, -b, b * y - e * x, -d, a, d * x - a * y], axis=1) / area[:, None]
    return np.asarray(A.reshape(-1, 2, 3))
