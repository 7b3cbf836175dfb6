"""Approximate neighbours by NN-descent (Dong, Charikar and Li, WWW 2011), as pynndescent implements it.

In: points (n, d). Out: ids and similarities (n, k), every similarity recomputed exactly, every row complete.
"""

from __future__ import annotations

import threading
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manifold.backends import Backend
from manifold.errors import warn
from manifold.neighbors._base import sort_rows
from manifold.neighbors._exact import exact_search
from manifold.neighbors.points import GATHER, PointSet, slices

# Two threads inside its compiled code can abort the process, so one build at a time in a process.
_LOCK = threading.Lock()
_STATE = {"announced": False}


def nn_descent_search(
    points: PointSet, *, k: int, backend: Backend, random_state: Any = None
) -> tuple[NDArray[np.int32], NDArray[np.float32], int]:
    """Return ids and similarities (n, k) of near neighbours other than self, and how many rows were repaired.

    pynndescent is asked for k + 1 neighbours and self is removed by id. Rows that come back with fewer than k
    others (-1, or infinite distances) are searched again exactly.

    Raises
    ------
    ValueError
        For the inner product, which is no distance: NN-descent cannot walk along it.
    """
    if points.metric == "inner_product":
        raise ValueError("method='nn_descent' needs a distance, not metric='inner_product': use method='exact'")
    points.check_range(points)
    with _LOCK:
        if not _STATE["announced"]:
            _STATE["announced"] = True
            warn("pynndescent compiles for about 45 CPU-seconds before its first neighbour in every process")
        from pynndescent import NNDescent

        with warnings.catch_warnings(), np.errstate(under="ignore"):
            warnings.simplefilter("ignore", UserWarning)  # of rows it left short, which are repaired and counted here
            index = NNDescent(points.X, metric=points.metric, n_neighbors=k + 1, random_state=random_state)
            found, distances = index.neighbor_graph
    found = np.where(np.isfinite(distances), found, -1)
    n = found.shape[0]
    similarities = np.full(found.shape, -np.inf, dtype=np.float32)
    step = max(1, GATHER // (points.X.shape[1] * (k + 1)))
    for part in slices(n, step):
        near = points.rows(np.maximum(found[part], 0))
        with np.errstate(under="ignore"):
            similarities[part] = points.compare(near, points.rows(part))
    indices, similarities = sort_rows(found, similarities, drop_self=True)
    indices, similarities = indices[:, :k], similarities[:, :k]
    short = np.flatnonzero((indices < 0).any(axis=1))
    if short.size:
        indices[short], similarities[short] = exact_search(
            points, points, k=k, rows=short, drop_self=True, backend=backend
        )
    return indices, similarities, int(short.size)
