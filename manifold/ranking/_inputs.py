"""What comes in at the doors of a search: shortlists and queries, checked before any work."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from manifold._checks import check_queries
from manifold.backends import place
from manifold.errors import warn
from manifold.neighbors import Neighbors, PointSet
from manifold.ranking._settings import SearchSettings

_COMPARED = 64  # rows of lists from elsewhere whose similarities are computed again
_AWAY = 1e-3  # how far those may be off, beside their size


def check_shortlist(rows: NDArray[np.int64], similarities: Any) -> tuple[NDArray[np.int64], NDArray[np.float32], bool]:
    """Return the rows (q, m) and similarities of shortlists, best first, and whether they were one.

    Raises ValueError for shapes that differ, NaN or infinity, and an item named twice in a row; -1 pads.
    """
    with np.errstate(over="ignore", under="ignore"):
        values = np.asarray(similarities, dtype=np.float32)
    if rows.shape != values.shape or rows.ndim not in (1, 2):
        raise ValueError(f"ids and similarities must share a shape (q, m), got {rows.shape} and {values.shape}")
    single = rows.ndim == 1
    rows, values = np.atleast_2d(rows), np.atleast_2d(values)
    values = np.where(rows >= 0, values, -np.inf)
    bad = (np.isnan(values) | (values == np.inf)).any(axis=1)
    if bad.any():
        raise ValueError(f"similarities hold NaN or infinity in query {np.flatnonzero(bad)[0]}")
    order = np.lexsort((rows, -values))
    rows, values = np.take_along_axis(rows, order, axis=1), np.take_along_axis(values, order, axis=1)
    together = np.sort(rows, axis=1)
    twice = ((together[:, 1:] == together[:, :-1]) & (together[:, 1:] >= 0)).any(axis=1)
    if twice.any():
        raise ValueError(f"the shortlist of query {np.flatnonzero(twice)[0]} names an item twice")
    return rows, values, single


def check_neighbors(neighbors: Neighbors, points: PointSet | None, settings: SearchSettings) -> int:
    """Return how many points lists from elsewhere are of; raise ValueError for lists that a fit cannot work with."""
    n, k, metric = neighbors.n_nodes, neighbors.n_neighbors, settings.affinity.metric
    if points is not None and points.X.shape[0] != n:
        raise ValueError(f"X has {points.X.shape[0]} rows but neighbors are lists of {n} points")
    if neighbors.metric != metric:
        raise ValueError(f"neighbors were found by metric={neighbors.metric!r}, not {metric!r}: pass metric= to match")
    wanted = min(settings.n_neighbors, max(n - 1, 0))
    if k < wanted:
        raise ValueError(f"neighbors hold {k} for each point but n_neighbors={wanted}: find more, or lower n_neighbors")
    if points is not None and k:
        rows = np.unique(np.linspace(0, n - 1, min(n, _COMPARED)).astype(np.int64))
        near, listed = neighbors.indices[rows].astype(np.int64), neighbors.similarities[rows]
        found = points.compare(points.rows(np.maximum(near, 0)), points.rows(rows))
        away = np.where(near >= 0, np.abs(found - listed), 0) / (1 + np.abs(found))
        if away.max(initial=0) > _AWAY:
            i, j = np.unravel_index(away.argmax(), away.shape)
            raise ValueError(
                f"neighbors list point {near[i, j]} for point {rows[i]} with similarity {listed[i, j]:.4g}, but X "
                f"gives {found[i, j]:.4g}: pass the lists of these points, by metric={metric!r}"
            )
    return n


def same_place(Q: Any, home: str, name: str = "Q") -> Any:
    """Return Q; raise TypeError where it is not in the place of the points that were fitted, naming both."""
    if place(Q) != home:
        cure = f"bring it there, with cupy.asarray({name}) or {name}.get()"
        raise TypeError(f"{name} is on {place(Q)}, the points fitted were on {home}: {cure}")
    return Q


def good_queries(
    Q: Any, on_bad: str, *, n_features: int, missing: Any
) -> tuple[NDArray[np.float32], bool, NDArray[np.bool_]]:
    """Return the queries, whether they were one, and which are bad (and replaced by zeros)."""
    if on_bad not in ("raise", "skip"):
        raise ValueError(f"on_bad must be 'raise' or 'skip', got {on_bad!r}")
    bad: NDArray[np.bool_] = np.zeros(0, dtype=bool)
    if on_bad == "skip" and np.ndim(Q) in (1, 2):
        values = np.atleast_2d(np.array(Q, dtype=np.float64))
        bad = np.logical_not(np.isfinite(values.astype(np.float32)).all(axis=1))
        if bad.any():
            values[bad] = 0
            first = np.flatnonzero(bad)[0]
            warn(f"{bad.sum()} queries hold NaN or infinity (first: {first}): answered with {missing!r}")
            Q = values[0] if np.ndim(Q) == 1 else values
    queries, single = check_queries(Q, n_features)
    return queries, single, bad if bad.size else np.zeros(queries.shape[0], dtype=bool)
