"""The methods of finding neighbours, by name, and which of them "auto" takes.

In: points, and a name or settings. Out: `Neighbors`.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from manifold._progress import Progress
from manifold.backends import Backend
from manifold.neighbors._all_pairs import all_pairs_search, worth_compiling
from manifold.neighbors._base import Neighbors
from manifold.neighbors._exact import POINT_TILE, QUERY_TILE, SPARE
from manifold.neighbors._faiss import faiss_search
from manifold.neighbors._inverted_file import MOST_PROBES, TRAINED, InvertedFile, inverted_file_search
from manifold.neighbors._nn_descent import nn_descent_search
from manifold.neighbors._shortlists import memory_forecast as lists_forecast
from manifold.neighbors.points import GATHER, PointSet

METHODS = ("auto", "exact", "inverted_file", "nn_descent", "faiss")
_HOST_WORK = 1 << 41  # n^2 d up to which the exact search is worth its wait: a quarter of a minute on two cores
_DEVICE_WORK = 1 << 47  # and on a GPU
_FEW_CELLS = 64  # of 4 k points: with fewer, most of them would be searched


def choose_method(n: int, d: int, k: int, *, metric: str = "cosine", on_host: bool = True) -> tuple[str, str]:
    """Return the method that "auto" takes, and why.

    Exact where n^2 d operations take seconds, where lists are long for the number of points, and for the inner product;
    the inverted file elsewhere. NN-descent is never chosen: it compiles for longer than the others search.

    >>> choose_method(60_000, 784, 50)
    ('inverted_file', 'auto: 60000^2 x 784 is much for an exact search')
    """
    limit = _HOST_WORK if on_host else _DEVICE_WORK
    if metric == "inner_product":
        return "exact", "auto: only the exact search serves the inner product"
    if n * n * d <= limit:
        return "exact", f"auto: {n}^2 x {d} is little enough for an exact search"
    if n < 4 * k * _FEW_CELLS:
        return "exact", f"auto: lists of {k} are long for an inverted file of {n} points"
    return "inverted_file", f"auto: {n}^2 x {d} is much for an exact search"


def memory_forecast(n: int, d: int, k: int, *, method: str = "auto") -> int:
    """Return the bytes that finding k neighbours of n points of d features takes beside the features.

    Lists with the copies in which they become neighbours, and the tiles of the search; for an inverted file also the
    cells that each point probes, at most, and the sample that k-means sees; for FAISS and NN-descent their own copies.

    >>> memory_forecast(60_000, 784, 50) < 300e6
    True
    """
    method = choose_method(n, d, k)[0] if method == "auto" else method
    queries, tile = min(n, QUERY_TILE), min(n, POINT_TILE)
    tiles = 2 * queries * tile + (queries + 3 * tile) * d
    candidates = 3 * max(GATHER, queries * d) + 4 * queries * (k + 16)
    plain = 5 * 8 * n * k + 12 * n + 4 * (tiles + candidates)
    if method in ("nn_descent", "faiss"):
        return plain + 4 * n * d + (100 * n * k if method == "nn_descent" else 0)
    if find_spec("numba") is None or (method == "exact" and not worth_compiling(n, d)):
        return plain
    lists = lists_forecast(n, d, k + SPARE)
    return max(lists, 8 * TRAINED) + 16 * MOST_PROBES * n if method == "inverted_file" else lists


def search(
    points: PointSet,
    *,
    k: int,
    method: str | InvertedFile,
    backend: Backend,
    random_state: Any = None,
    progress: Progress | None = None,
) -> Neighbors:
    """Return the k nearest others of each point, as a method finds them."""
    metric, facts = points.metric, {}
    if method == "auto":
        n, d = points.X.shape
        method, why = choose_method(n, d, k, metric=metric, on_host=backend.owns(points.X[:0]))
        facts = {"chosen": why} if method != "exact" else {}
    if method == "exact":
        exact, similarities = all_pairs_search(points, k=k, backend=backend, progress=progress)
        return Neighbors(exact.astype(np.int32), similarities, metric=metric, method="exact")
    if isinstance(method, InvertedFile) or method == "inverted_file":
        settings = method if isinstance(method, InvertedFile) else InvertedFile()
        found = inverted_file_search(
            points, k=k, settings=settings, backend=backend, random_state=random_state, progress=progress
        )
        ids, similarities, repaired, known = found
        return Neighbors(
            ids, similarities, metric=metric, method="inverted_file", n_repaired=repaired, facts={**known, **facts}
        )
    if method == "faiss":
        return faiss_search(points, k=k, backend=backend)
    ids, similarities, repaired = nn_descent_search(points, k=k, backend=backend, random_state=random_state)
    return Neighbors(ids, similarities, metric=metric, method="nn_descent", n_repaired=repaired)
