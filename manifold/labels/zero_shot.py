"""Classes that no example was seen of: what describes them is mapped among the images, the nearest names each image.

    W = (A'A + ridge I)^-1 A'B        semantics A (n, p) of the seen classes, features B (n, d) of their images

In: prototypes ``a_u W`` of unseen classes. Out: a class for every point, by the nearest prototype or through a graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from manifold._checks import check_count, check_features, check_queries
from manifold._typing import Floats, Ints
from manifold.filters import Diffusion, Filter
from manifold.graph import Graph
from manifold.solvers import Solver, diffuse

_GAMMA = 3.0  # of the weights of seeds, as those of a query
METRICS = ("euclidean", "cosine")


def ridge_map(A: object, B: object, *, ridge: float = 1.0) -> Floats:
    """Return W (p, d) of least squares from A to B, its size held down: ``(A'A + ridge I)^-1 A'B``.

    ``||A W|| <= ||B||``: what is mapped shrinks towards the origin, and what lies there is near to everyone. So map the
    prototypes, which are few, into the space of the images, rather than the images: a shrunk query has hubs.

    Reference: Shigeto et al. (2015).

    Parameters
    ----------
    A : (n, p)
        A row an example: the semantics of its class, repeated, say.
    B : (n, d)
        Features of the same examples; centre both, for there is no intercept.
    ridge : float
        > 0, in units of squares of A. No value serves all: try some, in both directions.

    Returns
    -------
    (p, d) float64

    Raises
    ------
    TypeError, ValueError
        For numbers of rows that differ, NaN or infinity, a ridge that is not positive.

    Notes
    -----
    Cost: min(n, p)^2 max(n, p), by whichever of A'A and AA' is smaller.

    Examples
    --------
    >>> ridge_map([[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, 1.0]]).tolist()
    [[1.0, 0.0], [0.0, 0.5]]
    """
    X, Y = (check_features(side, name).astype(np.float64) for side, name in ((A, "A"), (B, "B")))
    if len(X) != len(Y):
        raise ValueError(f"A and B must have one row an example, got {len(X)} and {len(Y)}")
    if not (isinstance(ridge, int | float | np.number) and np.isfinite(ridge) and ridge > 0):
        raise ValueError(f"ridge must be a finite number > 0, got {ridge!r}: try 1")
    n, p = X.shape
    with np.errstate(under="ignore"):
        if p <= n:
            return np.asarray(np.linalg.solve(X.T @ X + ridge * np.eye(p), X.T @ Y))
        return np.asarray(X.T @ np.linalg.solve(X @ X.T + ridge * np.eye(n), Y))


@dataclass(frozen=True, eq=False)
class ZeroShot:
    """What `zero_shot` answers for n points and c classes.

    Reference: Shigeto et al. (2015).

    Parameters
    ----------
    labels : (n,) int64
        Number of a prototype, -1 for a point that the graph does not join with any.
    scores : (n, c) float64
        Similarities, or what was diffused from each prototype; the largest of a row is its label.
    occurrences : (c,) int64
        Points that each class was given; `manifold.metrics.hubness` of them is large where a few classes take all.

    Examples
    --------
    >>> zero_shot([[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [2.0, 2.0]]).occurrences.tolist()
    [2, 0]
    """

    labels: Ints
    scores: Floats
    occurrences: Ints


def zero_shot(
    X: object,
    prototypes: object,
    *,
    graph: Graph | None = None,
    metric: str = "euclidean",
    n_seeds: int = 20,
    filter: Filter | None = None,
    solver: str | Solver = "auto",
) -> ZeroShot:
    """Name each point by the nearest of some prototypes, or by what these diffuse over the graph of the points.

    ``label(x) = argmax_u s(x, b_u)``, ``s = -||x - b_u||^2`` or the cosine; with a graph ``argmax_u (h(S) Y)_xu``,
    where Y_u holds the `n_seeds` points nearest to b_u with weights max(cosine, 0)^3 of sum 1.

    Reference: Shigeto et al. (2015), for prototypes; Zhou et al. (2003b), section 2, for h(S) Y.

    Parameters
    ----------
    X : (n, d)
        Points; images that were mapped among semantics are some, too.
    prototypes : (c, d)
        Of the classes, in the same space: semantics times `ridge_map`.
    graph : Graph, optional
        Of the same points, in their order.
    metric : {"euclidean", "cosine"}
    n_seeds : int
    filter : Filter, optional
        By default ``Diffusion(0.95)``.
    solver : str or Solver

    Returns
    -------
    ZeroShot

    Raises
    ------
    TypeError, ValueError
        For widths that differ, NaN or infinity, a graph of another number of points.

    Notes
    -----
    Cost: n c d; with a graph, a solve of c columns.

    Examples
    --------
    >>> zero_shot([[1.0, 0.2], [0.1, 1.0]], [[3.0, 0.0], [0.0, 3.0]]).labels.tolist()
    [0, 1]
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {METRICS}, got {metric!r}")
    points, given = _read(X, prototypes)
    if not len(given):
        raise ValueError("prototypes must hold one class or more, got none")
    if graph is not None and graph.n_nodes != len(points):
        raise ValueError(f"graph must be of the {len(points)} points, got {graph.n_nodes} nodes")
    scores = _similarities(points, given, metric)
    if graph is not None:
        cosines = scores if metric == "cosine" else _similarities(points, given, "cosine")
        nearest = np.argsort(-scores, axis=0, kind="stable")[: check_count(n_seeds, "n_seeds")]
        seeds = _seeds(nearest, cosines)
        scores = np.asarray(diffuse(graph, seeds, filter=filter or Diffusion(0.95), solver=solver).scores, np.float64)
    labels = np.where(scores.any(axis=1) if graph is not None else True, scores.argmax(axis=1), -1)
    return ZeroShot(labels, scores, np.bincount(labels[labels >= 0], minlength=len(given)))


def _read(X: object, prototypes: object) -> tuple[Floats, Floats]:
    rows = check_features(X)
    return rows.astype(np.float64), check_queries(prototypes, rows.shape[1], "prototypes")[0].astype(np.float64)


def _similarities(X: Floats, B: Floats, metric: str) -> Floats:
    with np.errstate(under="ignore"):
        if metric == "cosine":
            unit = [x / np.where((norm := np.linalg.norm(x, axis=1, keepdims=True)) > 0, norm, 1) for x in (X, B)]
            return np.asarray(np.einsum("nd,cd->nc", *unit))
        # differences, not squares: |x|^2 of points far away would swallow what tells prototypes apart
        return np.stack([-((X - b) ** 2).sum(axis=1) for b in B], axis=1)


def _seeds(nearest: Ints, cosines: Floats) -> sparse.csc_array:
    """Return the seeds (n, c): the nearest points of each prototype, by their cosines, each column of sum 1."""
    with np.errstate(under="ignore"):
        weights = np.maximum(np.take_along_axis(cosines, nearest, axis=0), 0) ** _GAMMA
    total = weights.sum(axis=0)
    weights = np.where(total > 0, weights / np.where(total > 0, total, 1), 1 / len(weights))
    columns = np.broadcast_to(np.arange(weights.shape[1]), weights.shape)
    return sparse.csc_array((weights.ravel(), (nearest.ravel(), columns.ravel())), shape=cosines.shape)
