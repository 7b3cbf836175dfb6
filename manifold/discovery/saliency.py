"""Where an image stands out: activations in, a map of saliency and the boxes of its regions out.

    FS(p) = sum_k b_k A_k(p),   b_k = log(sum_j q_j / q_k),   q_k the share of places where channel k is not 0

Rare channels say more. A map becomes regions by a mixture of Gaussians whose number is found: a box is mu +- n sigma.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from manifold._arrays import as_numbers
from manifold._typing import AnyArray, Floats, Ints
from manifold.discovery._mixture import fit_mixture

FEATURES = ("rectified", "signed")
_SAME = 0.2  # cosine above which two places of a map of signed features are joined
_APART = 1e-5  # weight of the others, so that the graph is connected


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions of one map, the one of most mass first.

    Reference: Avrithis and Kalantidis (2012), section 3.

    Attributes
    ----------
    boxes : (r, 4) int64
        y0, x0, y1, x1 in cells, ends excluded; as `manifold.matching.region_vectors` takes them.
    weights : (r,) float64
        Their shares of the mass.
    means : (r, 2), covariances : (r, 2, 2) float64
        Of y and x, in cells.

    Examples
    --------
    >>> whole = Regions(np.array([[0, 0, 4, 4]]), np.ones(1), np.full((1, 2), 1.5), np.eye(2)[None])
    >>> len(whole)
    1
    """

    boxes: Ints
    weights: Floats
    means: Floats
    covariances: Floats

    def __len__(self) -> int:
        return len(self.boxes)


def read_activations(activations: ArrayLike, *, signed: bool = False, name: str = "activations") -> Floats:
    """Return activations (H, W, K) as float64, checked, in the one order that sums are taken in.

    Raises
    ------
    ValueError
        For another shape, numbers that are not finite, or negative ones where they are not `signed`.

    Examples
    --------
    >>> read_activations(np.ones((2, 3, 4), np.float16)).shape
    (2, 3, 4)
    """
    x = np.ascontiguousarray(as_numbers(activations, name))
    if x.ndim != 3 or not x.size:
        raise ValueError(f"{name} must have shape (H, W, K), got {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"{name} hold NaN or infinity")
    if not signed and x.min() < 0:
        raise ValueError(
            "activations must be >= 0, as after a rectifier: features='signed' takes tokens of transformers"
        )
    return x


def channel_weights(activations: Sequence[ArrayLike] | AnyArray) -> Floats:
    """Return b (K,) of a collection of maps, 0 for channels that are never active.

    Reference: Kalantidis et al. (2016), section 3.3.

    >>> channel_weights([[[(1, 0), (1, 1)], [(2, 0), (0, 0)]]]).round(6).tolist()
    [0.287682, 1.386294]
    """
    active, places = 0.0, 0
    for one in activations:
        x = read_activations(one)
        active = active + (x > 0).sum(axis=(0, 1), dtype=np.float64)
        places += x.shape[0] * x.shape[1]
    q = np.asarray(active) / max(places, 1)
    return np.asarray(np.log(np.divide(q.sum(), q, out=np.ones_like(q), where=q > 0)))


def feature_saliency(activations: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return FS (H, W) of one map: activations summed over channels, rare ones counting more.

    Reference: Kalantidis et al. (2016), section 3.3, for the weights; Siméoni et al. (2018).

    Parameters
    ----------
    activations : (H, W, K) array-like
        Finite and >= 0, as after a rectifier.
    weights : (K,), optional
        b; by default those of this map alone. `channel_weights` gives those of a collection.

    Raises
    ------
    ValueError
        For activations of another shape, negative or not finite; for another number of weights.

    Examples
    --------
    >>> (fs := feature_saliency([[(1, 0), (1, 1)], [(2, 0), (0, 0)]])) is not None
    True
    >>> (fs / fs.sum()).round(6).tolist()
    [[0.113394, 0.659819], [0.226787, 0.0]]
    """
    x = read_activations(activations)
    b = channel_weights([x]) if weights is None else as_numbers(weights, "weights")
    if b.shape != x.shape[2:]:
        raise ValueError(f"weights must be one a channel, {x.shape[2]}, got shape {b.shape}")
    return np.asarray(x @ b)


def token_saliency(tokens: ArrayLike) -> Floats:
    """Return a map (H, W) of signed features, such as tokens of a transformer: how far a place is on the object's side.

    The places of one image are cut in two by the second eigenvector of S, with w = 1 where their cosine is above 0.2,
    and 1e-5 elsewhere; the object is the side of its largest entry (TokenCut).

    Reference: Wang et al. (2022).

    Notes
    -----
    Cost: the eigenvectors of a dense (H W, H W) matrix.

    Examples
    --------
    >>> tokens = np.tile([1.0, 0.1], (4, 5, 1))
    >>> tokens[1:3, 1:3] = -0.1, 1.0
    >>> (token_saliency(tokens) > 0).sum()
    np.int64(4)
    """
    x = read_activations(tokens, signed=True, name="tokens")
    places = x.reshape(-1, x.shape[2])
    norms = np.linalg.norm(places, axis=1, keepdims=True)
    unit = places / np.where(norms > 0, norms, 1)
    W = np.where(unit @ unit.T > _SAME, 1.0, _APART)
    d = W.sum(axis=1)
    _, vectors = np.linalg.eigh(W / np.sqrt(np.outer(d, d)))
    second = vectors[:, -2] / np.sqrt(d) if len(d) > 1 else np.ones(1)
    second = second * np.sign(second[np.abs(second).argmax()])
    side = second - second.mean()
    return np.asarray(np.maximum(side, 0).reshape(x.shape[:2]))


def regions_of(map: ArrayLike, *, threshold: float = 0.6, n_sigma: float = 2.0) -> Regions:
    """Return the regions of a map, their number found: a mixture of Gaussians of its mass above the median.

    Reference: Avrithis and Kalantidis (2012), section 3: the purge, here with full covariances, and without the
    expansion, which on a smooth map would see the tails of all.

    Parameters
    ----------
    map : (H, W) array-like
        Saliency, finite.
    threshold : float in (0, 1)
        A component goes where others explain more than 1 - threshold of it: the higher, the fewer.
    n_sigma : float
        A box spans the mean -+ so many standard deviations, rounded outward, at least a cell.

    Returns
    -------
    Regions
        None for a map without mass above its median.

    Raises
    ------
    ValueError
        For a map of another shape or with numbers that are not finite, and settings out of range.

    Examples
    --------
    >>> saliency = np.zeros((9, 12))
    >>> saliency[1:4, 2:5] = 1
    >>> regions_of(saliency).boxes.tolist()
    [[0, 1, 5, 6]]
    """
    x = as_numbers(map, "map")
    if x.ndim != 2 or not np.isfinite(x).all():
        raise ValueError(f"map must be finite numbers (H, W), got shape {x.shape}")
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie in (0, 1), got {threshold!r}: 0.6 is usual")
    if not n_sigma > 0:
        raise ValueError(f"n_sigma must be above 0, got {n_sigma!r}")
    mass = np.maximum(x - np.median(x), 0) if x.size else x
    weights, means, covariances = fit_mixture(mass, threshold=threshold)
    half = n_sigma * np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    size = np.array(x.shape)
    low = np.clip(np.floor(means - half), 0, size - 1)
    high = np.clip(np.ceil(means + half), low + 1, size)
    return Regions(np.column_stack([low, high]).astype(np.int64), weights, means, covariances)
