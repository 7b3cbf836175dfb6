"""Objects that recur in a collection: regions of many images in, what is central in their graph out.

    g = (I - alpha S)^-1 1                              how central a region is
    OS(p) = sum over the nearest regions i of others of max(v_p' x_i, 0)^3 g_i         v_p the GeM of the cells around p

A place is salient where what is seen there is seen in many images: OS x FS points to objects, OS^2 weights the cells
of a descriptor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manifold._checks import check_can, check_count
from manifold._typing import Floats, Ints
from manifold.discovery.saliency import (
    FEATURES,
    Regions,
    channel_weights,
    feature_saliency,
    read_activations,
    regions_of,
    token_saliency,
)
from manifold.filters import Diffusion
from manifold.graph import Graph, check_graph, graph_from_neighbors
from manifold.matching import region_vectors
from manifold.neighbors import Neighbors, find_neighbors
from manifold.solvers import ConjugateGradient, diffuse

_AROUND = 1  # cells on either side of a place: 3 x 3
_P, _EPS = 3.0, 1e-6  # of GeM
_GAMMA = 3.0


def centrality(graph: Graph, *, alpha: float = 0.99) -> Floats:
    """Return g = (I - alpha S)^-1 1 (n,), Katz's centrality of the normalised graph: 1 for isolated nodes.

    As alpha goes to 1 on a connected graph, g goes the way of sqrt(degree).

    Reference: Katz (1953).

    >>> from manifold.graph import graph_from_affinity
    >>> star = np.zeros((5, 5))
    >>> star[0, 1:] = star[1:, 0] = 1
    >>> centrality(graph_from_affinity(star).astype("float64"), alpha=0.9).round(8).tolist()[:2]
    [14.73684211, 7.63157895]
    """
    check_graph(graph)
    solver = ConjugateGradient(rtol=1e-10 if graph.dtype == np.float64 else 1e-5)
    F = diffuse(graph, np.ones(graph.n_nodes), filter=Diffusion(alpha), solver=solver).scores
    return np.asarray(F, dtype=np.float64) / (1 - alpha)


@dataclass(frozen=True, eq=False)
class Discovery:
    """Regions of a collection of images, and how central each is.

    Reference: Siméoni et al. (2018).

    Attributes
    ----------
    boxes : (r, 4) int64
        y0, x0, y1, x1 in cells of the map of their image.
    images : (r,) int64
        The image of each region.
    vectors : (r, K) float32
        GeM of each box, at unit length.
    graph : Graph
        Over the regions, those of one image never joined.
    centrality : (r,) float64
    channel_weights : (K,) float64
        b of the collection; ones for signed features.
    features : {"rectified", "signed"}
    n_nearest : int
        Regions that a place is compared with.
    """

    boxes: Ints
    images: Ints
    vectors: NDArray[np.float32]
    graph: Graph
    centrality: Floats
    channel_weights: Floats
    features: str = "rectified"
    n_nearest: int = 5

    def __repr__(self) -> str:
        return f"Discovery: {self.images.size:,} regions of {np.unique(self.images).size:,} images, {self.graph!r}"

    def best(self, image: int) -> Ints:
        """Return the regions of one image, the most central first.

        >>> two = discover(np.ones((2, 3, 3, 2)) * np.array([0, 1, 0])[:, None], n_neighbors=1)
        >>> two.images[two.best(1)].tolist()
        [1]
        """
        own = np.flatnonzero(self.images == image)
        return own[np.argsort(-self.centrality[own], kind="stable")]

    def feature_saliency(self, activations: ArrayLike) -> Floats:
        """Return FS (H, W) of a map by the channel weights of the collection; of signed features, `token_saliency`.

        >>> two = discover(np.ones((2, 3, 3, 2)) * np.array([0, 1, 0])[:, None], n_neighbors=1)
        >>> two.feature_saliency(np.ones((1, 2, 2))).round(6).tolist()
        [[1.386294, 1.386294]]
        """
        if self.features == "signed":
            return token_saliency(activations)
        return feature_saliency(activations, self.channel_weights)

    def saliency(self, activations: ArrayLike, image: int | None = None) -> Floats:
        """Return OS (H, W) of a map, of the collection or not.

        Parameters
        ----------
        activations : (H, W, K) array-like
        image : int, optional
            Which image of the collection it is: its own regions are left out, or everything would be known.

        Notes
        -----
        Cost: a product of the places of the map with all regions.

        Examples
        --------
        >>> two = discover(np.ones((2, 3, 3, 2)) * np.array([0, 1, 0])[:, None], n_neighbors=1)
        >>> two.saliency(np.ones((1, 2, 2)), image=0).shape
        (1, 2)
        """
        x = read_activations(activations, signed=self.features == "signed")
        near = _around(x, signed=self.features == "signed").reshape(-1, x.shape[2])
        others = np.flatnonzero(self.images != image) if image is not None else np.arange(self.images.size)
        values = np.maximum(near @ self.vectors[others].T.astype(np.float64), 0)
        k = min(self.n_nearest, others.size)
        if not k:
            return np.zeros(x.shape[:2])
        at = np.argpartition(-values, k - 1, axis=1)[:, :k]
        votes = np.take_along_axis(values, at, axis=1) ** _GAMMA * self.centrality[others][at]
        return np.asarray(votes.sum(axis=1).reshape(x.shape[:2]))

    def describe(self, activations: ArrayLike, image: int | None = None) -> NDArray[np.float32]:
        """Return the GeM (K,) of a map, at unit length, each cell weighted by OS^2: for small objects in clutter.

        Where the object fills the image there is nothing to discover, and it is as good as GeM, not better. FS points
        better together with OS than either, but as a weight it takes from such images (photos of groceries: mAP .38 by
        OS x FS, .40 by OS^2 and by GeM).

        >>> two = discover(np.ones((2, 3, 3, 2)) * np.array([0, 1, 0])[:, None], n_neighbors=1)
        >>> two.describe(np.ones((1, 2, 2)), image=0).tolist()[0]  # sqrt(1 / 2)
        0.7071067690849304
        """
        return weighted_pool(activations, self.saliency(activations, image) ** 2)


def weighted_pool(activations: ArrayLike, weights: ArrayLike) -> NDArray[np.float32]:
    """Return GeM (K,) at unit length, (sum_p w(p) max(A(p), 1e-6)^3)^(1/3), the weights scaled to sum 1.

    Signed features are averaged. Weights of zeros count every cell alike.

    >>> weighted_pool([[(1.0, 0.0), (0.0, 1.0)]], [[1.0, 0.0]]).round(4).tolist()
    [1.0, 0.0]
    """
    x = read_activations(activations, signed=True)
    w = np.maximum(np.asarray(weights, dtype=np.float64), 0)
    if w.shape != x.shape[:2]:
        raise ValueError(f"weights must be one a cell, {x.shape[:2]}, got {w.shape}")
    w = np.full(w.shape, 1 / w.size) if not w.any() else w / w.sum()
    if x.min() < 0:
        pooled = np.tensordot(w, x, axes=2)
    else:
        pooled = np.tensordot(w, np.maximum(x, _EPS) ** _P, axes=2) ** (1 / _P)
    norm = np.linalg.norm(pooled)
    return (pooled / (norm if norm > 0 else 1)).astype(np.float32)


def discover(
    activations: Sequence[ArrayLike] | NDArray[np.floating],
    *,
    n_neighbors: int = 10,
    features: str = "rectified",
    threshold: float = 0.6,
    n_sigma: float = 2.0,
    alpha: float = 0.99,
) -> Discovery:
    """Find what recurs in a collection of images, without labels: regions, their graph, and how central each is.

    Reference: Siméoni et al. (2018).

    Parameters
    ----------
    activations : sequence of (H, W, K)
        The last map of a network for each image, sizes may differ; or tokens of a transformer, (h w, d) as (h, w, d).
    n_neighbors : int
        k of the mutual graph of regions.
    features : {"rectified", "signed"}
        Signed features have no saliency of channels: regions are those of `token_saliency`.
    threshold, n_sigma
        See `regions_of`.
    alpha : float
        See `centrality`.

    Raises
    ------
    ValueError
        For maps of another shape, or of different K; for a collection in which nothing stands out.

    Notes
    -----
    Vectors are compared as they are: whitened on so few regions they serve far worse. Measured on 60 photos with 20
    objects planted on 15 % of their area: the largest place of OS x FS lies in the object for .80 of them (chance .15),
    and `Discovery.describe` finds photos of the same object with mAP .55 (GeM .39).
    Cost: the regions of each map, and a graph of some three regions an image.

    Examples
    --------
    >>> rng = np.random.default_rng(3)
    >>> maps = (rng.random((6, 8, 8, 16)) < 0.05) * rng.random((6, 8, 8, 16))
    >>> maps[:, 2:5, 3:6, :3] += 1  # the same pattern at one place of each
    >>> found = discover(maps, n_neighbors=3)
    >>> seen = [found.saliency(x, i) * found.feature_saliency(x) for i, x in enumerate(maps)]
    >>> [divmod(int(m.argmax()), 8) for m in seen][:3]
    [(3, 5), (3, 5), (3, 5)]
    """
    if features not in FEATURES:
        raise ValueError(f"features must be one of {FEATURES}, got {features!r}")
    k = check_count(n_neighbors, "n_neighbors")
    signed = features == "signed"
    check_can(activations, "__iter__", name="activations", a="a sequence of maps (H, W, K), one an image")
    maps = [read_activations(x, signed=signed) for x in activations]
    if not maps:
        raise ValueError("activations hold no image: give a map of each, (H, W, K)")
    if len({x.shape[2] for x in maps}) > 1:
        raise ValueError(f"activations must have one number of channels, got {sorted({x.shape[2] for x in maps})}")
    b = np.ones(maps[0].shape[2]) if signed else channel_weights(maps)
    found = [regions_of(token_saliency(x) if signed else x @ b, threshold=threshold, n_sigma=n_sigma) for x in maps]
    images = np.repeat(np.arange(len(maps)), [len(one) for one in found])
    if not images.size:
        raise ValueError("no image has a region: every map is flat")
    vectors = np.concatenate([_vectors(x, one, signed=signed) for x, one in zip(maps, found, strict=True) if len(one)])
    graph = graph_from_neighbors(_of_others(vectors, images, k), gamma=_GAMMA, bridge=0)
    boxes = np.concatenate([one.boxes for one in found])
    return Discovery(boxes, images, vectors, graph, centrality(graph, alpha=alpha), b, features)


def _of_others(vectors: NDArray[np.float32], images: Ints, k: int) -> Neighbors:
    """Return the k nearest regions of other images: those of one image overlap, and would be nearest."""
    most = int(np.bincount(images).max())
    near = find_neighbors(vectors, min(k + most - 1, len(vectors) - 1))
    own = (near.indices >= 0) & (images[near.indices] == images[:, None])
    return near.with_similarities(np.where(own, -np.inf, near.similarities), metric=near.metric).first(k)


def _vectors(x: Floats, regions: Regions, *, signed: bool) -> NDArray[np.float32]:
    if not signed:
        return region_vectors(x, regions.boxes, descriptor="gem")
    return np.stack([weighted_pool(x[y0:y1, x0:x1], np.ones((y1 - y0, x1 - x0))) for y0, x0, y1, x1 in regions.boxes])


def _around(x: Floats, *, signed: bool) -> Floats:
    """Return the unit GeM (H, W, K) of the cells around each place, those inside the map; means of signed features."""
    height, width, _ = x.shape
    values = x if signed else np.maximum(x, _EPS) ** _P
    total, count = np.zeros_like(values), np.zeros((height, width, 1))
    for dy in range(-_AROUND, _AROUND + 1):
        for dx in range(-_AROUND, _AROUND + 1):
            to = (slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx)))
            of = (slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx)))
            total[to] += values[of]
            count[to] += 1
    pooled = total / count if signed else (total / count) ** (1 / _P)
    norms = np.linalg.norm(pooled, axis=2, keepdims=True)
    return np.asarray(pooled / np.where(norms > 0, norms, 1))
