"""Synthetic manifolds whose answers are known, seeded through ``rng``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from manifold._typing import AnyArray, Floats, Ints
from manifold.datasets._dataset import Dataset
from manifold.datasets._lazy import same_class

Rng: TypeAlias = int | np.random.Generator


def two_moons(n: int = 400, *, noise: float = 0.06, rng: Rng = 0) -> Dataset:
    """Two interleaved half circles: ``(cos t, sin t)``, label 0, and ``(1 - cos t, 1/2 - sin t)``, label 1.

    ``coordinates`` (n, 1) holds the arc length t in [0, π]; ``noise`` is the standard deviation added.

    Reference: Zhou et al. (2003b), for such sets.

    Examples
    --------
    >>> two_moons(100).features.shape
    (100, 2)
    """
    rng = np.random.default_rng(rng)
    y = np.arange(n) % 2
    t = rng.uniform(0, np.pi, n)
    X = np.where(y == 0, [np.cos(t), np.sin(t)], [1 - np.cos(t), 0.5 - np.sin(t)]).T
    return _synthetic("two moons", X + noise * rng.standard_normal(X.shape), y, coordinates=t[:, None])


def swiss_roll(n: int = 1000, *, noise: float = 0.0, rng: Rng = 0) -> Dataset:
    """A rolled-up sheet ``(t cos t, h, t sin t)``, t in [1.5 π, 4.5 π], h in [0, 21], uniform on the sheet.

    ``coordinates`` (n, 2) unrolls it: arc length and height, whose Euclidean distance is the geodesic
    distance on the roll. Labels number the quarters of the arc.

    Reference: Tenenbaum et al. (2000).

    Examples
    --------
    >>> swiss_roll(200).coordinates.max(axis=0).round(1)
    array([89.1, 20.9])
    """
    rng = np.random.default_rng(rng)
    grid = np.linspace(1.5 * np.pi, 4.5 * np.pi, 10_001)
    arc = (grid * np.sqrt(1 + grid**2) + np.arcsinh(grid)) / 2  # of the spiral r = t
    arc -= arc[0]
    s, h = rng.uniform(0, arc[-1], n), rng.uniform(0, 21, n)
    t = np.interp(s, arc, grid)
    X = np.column_stack([t * np.cos(t), h, t * np.sin(t)])
    y = np.minimum(4 * s / arc[-1], 3).astype(np.int64)
    X += noise * rng.standard_normal(X.shape)
    return _synthetic("swiss roll", X, y, coordinates=np.column_stack([s, h]))


def rings(n: int = 300, *, radii: Sequence[float] = (1.0, 2.0, 3.0), noise: float = 0.05, rng: Rng = 0) -> Dataset:
    """Concentric circles of the given radii, about n points in all, evenly dense; the label is the circle.

    ``coordinates`` (n, 1) holds the angle in [0, 2π).

    Reference: Ng et al. (2001), for such sets.

    Examples
    --------
    >>> np.bincount(rings(300).labels)
    array([ 50, 100, 150])
    """
    rng = np.random.default_rng(rng)
    share = np.asarray(radii, dtype=np.float64)
    if share.ndim != 1 or share.size == 0 or share.min() <= 0:
        raise ValueError(f"radii={radii!r}: give at least one positive radius")
    y = np.repeat(np.arange(share.size), np.maximum(np.rint(n * share / share.sum()), 1).astype(np.int64))
    t = rng.uniform(0, 2 * np.pi, y.size)
    X = share[y, None] * np.column_stack([np.cos(t), np.sin(t)])
    return _synthetic("rings", X + noise * rng.standard_normal(X.shape), y, coordinates=t[:, None])


def view_manifolds(
    n_objects: int = 20,
    n_views: int = 100,
    n_distractors: int = 500,
    *,
    dim: int = 64,
    curvature: float = 4.0,
    exponent: float = 0.5,
    noise: float = 0.02,
    rng: Rng = 0,
) -> Dataset:
    """Objects seen from many sides: each a curved surface of unit vectors, among distractors seen once.

    View u in [0, 1]^2 of object o is ``c_o + sum_f a_of cos(curvature u·w_f + p_f)`` scaled to length 1.
    Object o = 1, 2, ... has ``n_views * o^-exponent`` views (at least 3), a power law. One more view of
    each object is its query; relevant are its views. A larger ``curvature`` takes views further apart.

    Reference: guide *notation*, "Own methods".

    Returns
    -------
    Dataset
        ``features`` (n, dim) unit rows, ``labels`` (n,) object or -1 (distractor), ``queries``
        (n_objects, dim), ``coordinates`` (n, 2) the view.

    Examples
    --------
    >>> data = view_manifolds(5, 40, 100)
    >>> np.bincount(data.labels + 1)
    array([100,  40,  28,  23,  20,  17])
    """
    if min(n_objects, n_views) < 1 or n_distractors < 0:
        raise ValueError(
            f"n_objects={n_objects}, n_views={n_views}, n_distractors={n_distractors}: give 1, 1, 0 or more"
        )
    rng = np.random.default_rng(rng)
    sizes = np.maximum(n_views * np.arange(1.0, n_objects + 1) ** -exponent, 3).astype(np.int64)
    views = np.concatenate([sizes, np.ones(n_distractors, np.int64)])  # a distractor is an object seen once
    owner = np.concatenate([np.repeat(np.arange(views.size), views), np.arange(n_objects)])
    n_waves = 8
    centre = 0.6 * rng.standard_normal((views.size, dim))  # small: the view says more than the object
    amplitude = rng.standard_normal((views.size, n_waves, dim)) * np.sqrt(2 / n_waves)
    direction = np.pi * (np.arange(n_waves) + rng.uniform()) / n_waves
    frequency = np.column_stack([np.cos(direction), np.sin(direction)])
    phase = rng.uniform(0, 2 * np.pi, n_waves)
    u = rng.uniform(size=(owner.size, 2))
    waves = np.cos(curvature * u @ frequency.T + phase)
    X = centre[owner] + np.einsum("nf,nfd->nd", waves, amplitude[owner])
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    X += noise * rng.standard_normal(X.shape)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    y, n = np.where(owner < n_objects, owner, -1), views.sum()
    return _synthetic("view manifolds", X[:n], y[:n], coordinates=u[:n], queries=X[n:], query_labels=y[n:])


def _synthetic(
    name: str,
    X: Floats,
    y: AnyArray,
    *,
    coordinates: Floats,
    queries: Floats | None = None,
    query_labels: Ints | None = None,
) -> Dataset:
    """Dataset of made-up points; relevant are the points of the same label."""
    labels = y.astype(np.int64)
    return Dataset(
        name,
        X.astype(np.float32),
        labels=labels,
        queries=None if queries is None else queries.astype(np.float32),
        query_labels=query_labels,
        relevant=same_class(labels, query_labels),
        metric="euclidean" if queries is None else "cosine",
        protocol="leave-one-out" if queries is None else "queries",
        source="synthetic",
        licence="none needed",
        coordinates=coordinates,
    )
