"""What comes in at the doors of a search: lists of neighbours and queries, checked before any work."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from manifold._arrays import as_table
from manifold._checks import check_can
from manifold._typing import Mask
from manifold.backends import place
from manifold.errors import warn
from manifold.neighbors import Neighbors, PointSet
from manifold.ranking._settings import SearchSettings

Given = TypeVar("Given")

_COMPARED = 64  # rows of lists from elsewhere whose similarities are computed again
_AWAY = 1e-3  # how far those may be off, beside their size


def check_neighbors(neighbors: Neighbors, points: PointSet | None, settings: SearchSettings) -> None:
    """Raise ValueError for lists from elsewhere that a fit cannot work with: of other points, another metric, or few.

    >>> from manifold.ranking._settings import search_settings
    >>> pair = Neighbors([[1], [0]], [[0.5], [0.5]], "cosine", "by hand")
    >>> check_neighbors(pair, None, search_settings({"n_neighbors": 1}))
    """
    check_can(neighbors, "n_neighbors", "similarities", name="neighbors", a="Neighbors of find_neighbors(X)")
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


def same_place(Q: Given, home: str, name: str = "Q") -> Given:
    """Return Q; raise TypeError where it is not in the place of the points that were fitted, naming both.

    >>> same_place([1.0, 2.0], "cpu")
    [1.0, 2.0]
    """
    if place(Q) != home:
        cure = f"bring it there, with cupy.asarray({name}) or {name}.get()"
        raise TypeError(f"{name} is on {place(Q)}, the points fitted were on {home}: {cure}")
    return Q


def good_queries(Q: object, on_bad: str, *, points: PointSet, missing: object) -> tuple[PointSet, bool, Mask]:
    """Return the queries, whether they were one, and which are bad (and replaced by what is finite).

    >>> from manifold.neighbors import point_set
    >>> queries, single, bad = good_queries([1.0, 2.0], "raise", points=point_set([[0.5, 1.0]]), missing=-1)
    >>> queries.X.shape, single, bad.tolist()
    ((1, 2), True, [False])
    """
    if on_bad not in ("raise", "skip"):
        raise ValueError(f"on_bad must be 'raise' or 'skip', got {on_bad!r}")
    bad: Mask = np.zeros(0, dtype=bool)
    if on_bad == "skip":
        Q = as_table(Q, "Q")
        rows = np.atleast_2d(Q.values)
        with np.errstate(over="ignore", under="ignore"):
            finite = np.isfinite(rows.astype(np.float32))
        bad = np.logical_not(finite.all(axis=-1)) if rows.ndim == 2 else bad
        if bad.any():
            rows = np.where(bad[:, None], 0 if points.offset is None else points.offset, rows)
            first = np.flatnonzero(bad)[0]
            warn(f"{bad.sum()} queries hold NaN or infinity (first: {first}): answered with {missing!r}")
            Q = Q._replace(values=rows.reshape(Q.values.shape))
    queries, single = points.asked(Q)
    return queries, single, bad if bad.size else np.zeros(queries.X.shape[0], dtype=bool)
