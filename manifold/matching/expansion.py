"""Total recall: from one image to all its views, round by round, along pairs that geometry verifies."""

from __future__ import annotations

import numpy as np

from manifold._arrays import as_integers
from manifold._checks import check_count
from manifold._typing import Floats, Ints
from manifold.matching.features import LocalFeatures, check_local_features
from manifold.matching.spatial import Method
from manifold.matching.verification import check_threshold, verify
from manifold.neighbors import Neighbors


def verified_expansion(
    start: object,
    neighbors: Neighbors,
    features: LocalFeatures,
    *,
    threshold: float,
    n_rounds: int = 3,
    method: str | Method = "fsm",
    tentative: str = "words",
    ratio: float = 0.85,
) -> tuple[Ints, Ints, Floats]:
    """Return the images that are reached from some by verified pairs, in which round, and by how good a pair.

    In each round the listed neighbours of the images that were new in the last are verified against them; those that
    pass the threshold are new in turn. What is reached are the components of the verified graph, as far as asked for,
    at the cost of the pairs that are met.

    Reference: Chum et al. (2007), section 4: transitive closure expansion.

    Parameters
    ----------
    start : (s,) int
        Images that are known to belong: a query's verified answers, say.
    neighbors : Neighbors
        Of the images.
    features : LocalFeatures
    threshold : float
        Least score of a pair.
    n_rounds : int
    method, tentative, ratio
        See `manifold.matching.verify`.

    Returns
    -------
    images : (m,) int64
        By round, then by falling score.
    rounds : (m,) int64
        0 of those it starts from.
    scores : (m,) float64
        Of the best pair that led there; infinity of those it starts from.

    Raises
    ------
    TypeError, ValueError
        For images out of range, and as `manifold.matching.verify_neighbors`.

    Examples
    --------
    >>> features = LocalFeatures([[0, 0], [9, 0], [5, 5], [14, 5], [1, 1]], None, [0, 2, 4, 5], [1, 2, 1, 2, 1])
    >>> found = Neighbors([[2, 1], [0, 2], [0, 1]], [[0.9, 0.8], [0.8, 0.7], [0.9, 0.7]], "cosine", "by hand")
    >>> images, rounds, scores = verified_expansion([0], found, features, threshold=2)
    >>> images.tolist(), rounds.tolist(), scores.tolist()
    ([0, 1], [0, 1], [inf, 2.0])
    """
    check_local_features(features)
    n = features.n_images
    check_threshold(threshold)
    if neighbors.n_nodes != n:
        raise ValueError(f"features must be those of the {neighbors.n_nodes} images, got {n}")
    begin = as_integers(start, "start").astype(np.int64)
    if begin.ndim != 1 or (begin.size and not (begin.min() >= 0 and begin.max() < n)):
        raise ValueError(f"start must be images (s,) in 0..{n - 1}, got shape {begin.shape}: {begin[:5].tolist()}")
    rounds, scores = np.full(n, -1), np.zeros(n)
    rounds[begin], scores[begin] = 0, np.inf
    for at in range(1, check_count(n_rounds, "n_rounds") + 1):
        new = np.flatnonzero(rounds == at - 1)
        others = neighbors.indices[new].astype(np.int64)
        pairs = np.stack([np.broadcast_to(new[:, None], others.shape), others], axis=2)[others >= 0]
        pairs = pairs[rounds[pairs[:, 1]] < 0]
        if not len(pairs):
            break
        found = verify(pairs, features, method=method, tentative=tentative, ratio=ratio).scores
        passed = (found >= threshold) & (found > 0)
        np.maximum.at(scores, pairs[passed, 1], found[passed])
        rounds[pairs[passed, 1]] = at
    images = np.flatnonzero(rounds >= 0)
    images = images[np.lexsort((images, -scores[images], rounds[images]))]
    return images, rounds[images], scores[images]
