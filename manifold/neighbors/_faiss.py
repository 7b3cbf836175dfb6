"""Neighbours by an index of FAISS (Douze et al., arXiv 2401.08281), where it is installed.

In: points (n, d). Out: `Neighbors`, every similarity computed afresh here, every row complete.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold.backends import Backend
from manifold.neighbors._base import Neighbors, sort_rows
from manifold.neighbors._exact import exact_search
from manifold.neighbors.points import GATHER, PointSet, slices

_FLAT = 20_000  # points below which FAISS searches all
_PROBED = 16  # of sqrt(n) cells


def faiss_search(points: PointSet, *, k: int, backend: Backend) -> Neighbors:
    """Return the k near others of each point: a flat index to 20,000 points, above an inverted file with 16 probes.

    Raises
    ------
    ImportError
        Where FAISS is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "method='faiss' needs FAISS: pip install 'manifold-search[faiss]', or use method='inverted_file'"
        ) from error
    points.check_range(points)
    n, d = points.X.shape
    kind = "Flat" if n < _FLAT or points.metric == "inner_product" else f"IVF{round(n**0.5)},Flat"
    metric = faiss.METRIC_L2 if points.metric == "euclidean" else faiss.METRIC_INNER_PRODUCT
    index = faiss.index_factory(d, kind, metric)
    rows = np.ascontiguousarray(_rows(points, slice(None)))
    index.train(rows)
    index.add(rows)
    if hasattr(index, "nprobe"):
        index.nprobe = _PROBED
    del rows  # the index holds a copy
    ids, similarities = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
    for part in slices(n, max(1, GATHER // (d * (k + 1)))):
        found = index.search(np.ascontiguousarray(_rows(points, part)), k + 1)[1]
        near = points.compare(points.rows(np.maximum(found, 0)), points.rows(part))
        own = np.arange(part.start, part.stop)[:, None]
        ordered = sort_rows(np.where(found == own, -1, found), near, drop_self=False)
        ids[part], similarities[part] = (x[:, :k] for x in ordered)
    short = np.flatnonzero(ids[:, -1] < 0)
    if short.size:
        found, near = exact_search(points, points, k=k, rows=short, drop_self=True, backend=backend)
        ids[short], similarities[short] = found, near
    return Neighbors(ids, similarities, metric=points.metric, method=f"faiss {kind}", n_repaired=int(short.size))


def _rows(points: PointSet, which: Any) -> Any:
    rows = points.rows(which)
    return rows if points.centre is None else rows - points.centre
