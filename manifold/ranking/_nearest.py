"""The nearest of what is allowed: queries and a mask in, lists of neighbours out."""

from __future__ import annotations

import numpy as np

from manifold._typing import AnyArray, Ints, Mask
from manifold.backends import get_backend
from manifold.neighbors import PointSet, exact_search
from manifold.ranking._fitted import Fitted, Similarities

_SOON = 1 << 22  # numbers of the allowed items that are soon compared with a query


def leading(
    fitted: Fitted, queries: PointSet, allowed: Mask | None, *, rows: Ints | None = None
) -> tuple[Ints, AnyArray]:
    """Return the nearest items that an adaptation looks at, of those that are allowed.

    >>> from manifold import ManifoldSearch
    >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
    >>> leading(fitted, fitted.points, np.array([True, False, True]), rows=np.array([1]))[0].tolist()
    [[0, 2]]
    """
    within = fitted.graph.n_nodes - (rows is not None)
    k = min(fitted.settings.n_nearest, within)
    return nearest_allowed(fitted, queries, k, allowed=allowed, rows=rows, enter=True)


def nearest_allowed(
    fitted: Fitted, queries: PointSet, k: int, *, allowed: Mask | None, rows: Ints | None = None, enter: bool = False
) -> tuple[Ints, Similarities]:
    """Return the k nearest items of queries that are allowed, -1 pads; of items, the nearest others.

    With `enter` what cells and walks find of them serves. The allowed are compared where they are few; else lists are
    searched that are likely to hold enough of them, and those compared with all of which that is not so.

    >>> from manifold import ManifoldSearch
    >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
    >>> ends = np.array([True, False, True])
    >>> nearest_allowed(fitted, fitted.points, 2, allowed=ends, rows=np.array([1, 2]))[0].tolist()
    [[0, 2], [0, -1]]
    """
    search = fitted.entering if enter else fitted.nearest
    if allowed is None:
        return search(queries, k, rows=rows)
    points, nodes = fitted.require_points("it has no nearest items"), np.flatnonzero(allowed)
    (n, d), within, own = points.X.shape, queries is points, rows
    asking = np.arange(len(queries.X)) if rows is None else rows
    k = min(k, nodes.size)
    ids, similarities = np.full((asking.size, k), -1), np.full((asking.size, k), -np.inf, dtype=np.float32)
    short = np.arange(asking.size)
    if k and nodes.size * d > _SOON:
        depth = min(3 * k * n // (2 * nodes.size) + 32, n - within)
        found, values = search(queries, depth, rows=asking)
        may = (found >= 0) & allowed[found]
        first = np.argsort(~may, axis=1, kind="stable")[:, :k]
        kept = np.take_along_axis(may, first, axis=1)
        ids[:, : first.shape[1]] = np.where(kept, np.take_along_axis(found, first, axis=1), -1)
        similarities[:, : first.shape[1]] = np.where(kept, np.take_along_axis(values, first, axis=1), -np.inf)
        short = np.flatnonzero(may.sum(axis=1) < k)
    if k and short.size:
        some, most = points.only(nodes), min(k + within, nodes.size)
        found, values = exact_search(queries, some, k=most, rows=asking[short], backend=get_backend("scipy"))
        found = nodes[found]
        if within and own is not None:
            itself = found == own[short][:, None]
            order = np.argsort(itself, axis=1, kind="stable")
            found, values = np.where(itself, -1, found), np.where(itself, -np.inf, values)
            found, values = np.take_along_axis(found, order, axis=1), np.take_along_axis(values, order, axis=1)
        ids[short], similarities[short] = -1, -np.inf
        width = min(k, most)
        ids[short, :width], similarities[short, :width] = found[:, :width], values[:, :width]
    return ids, similarities
