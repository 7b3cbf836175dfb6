"""Approximate neighbours by NN-descent (Dong, Charikar and Li, WWW 2011), as pynndescent implements it.

In: points (n, d). Out: `Neighbors`, every similarity recomputed exactly, every row complete, the recall measured.
"""

from __future__ import annotations

import threading
import warnings
from dataclasses import asdict, dataclass

import numpy as np

from manifold._checks import check_count
from manifold._progress import Progress
from manifold._typing import AnyArray, RandomState
from manifold.backends import Backend
from manifold.errors import warn
from manifold.neighbors._base import Neighbors, sort_rows
from manifold.neighbors._exact import exact_search, tiles_forecast
from manifold.neighbors._recall import Sample
from manifold.neighbors.points import GATHER, PointSet, slices

# Two threads inside its compiled code can abort the process, so one build at a time in a process.
_LOCK = threading.Lock()
_STATE = {"announced": False}


@dataclass(frozen=True)
class NNDescent:
    """Walk along neighbours of neighbours, approximately, the recall measured. ``method="nn_descent"``.

    Compiles for 45 s in every process, and gives the same answer for a seed on one thread only.

    Reference: Dong et al. (2011), section 2.

    Parameters
    ----------
    n_iters : int, optional
        Rounds of the walk, at most; by default what pynndescent takes for n points.
    max_candidates : int, optional
        Neighbours of each point that are compared with one another in a round, at most; by default min(60, k + 1).

    Raises
    ------
    TypeError, ValueError
        For settings out of range.

    Examples
    --------
    >>> NNDescent(max_candidates=20).max_candidates
    20
    """

    n_iters: int | None = None
    max_candidates: int | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None:
                check_count(value, name)

    def search(
        self,
        points: PointSet,
        k: int,
        *,
        backend: Backend,
        random_state: RandomState = None,
        progress: Progress | None = None,
    ) -> Neighbors:
        """Return k near others of each point; the facts say the recall.

        pynndescent is asked for k + 1 neighbours and self is removed by id. Rows that come back with fewer than k
        others (-1, or infinite distances) are searched again exactly.

        Raises
        ------
        ValueError
            For the inner product, which is no distance: NN-descent cannot walk along it; and where a similarity would
            overflow float32.
        """
        if points.metric == "inner_product":
            raise ValueError("method='nn_descent' needs a distance, not metric='inner_product': use method='exact'")
        points.check_range(points)
        found = self._built(points, k, random_state)
        similarities = np.full(found.shape, -np.inf, np.float32)
        for part in slices(len(found), max(1, GATHER // (points.X.shape[1] * (k + 1)))):
            near = points.rows(np.maximum(found[part], 0))
            with np.errstate(under="ignore"):
                similarities[part] = points.compare(near, points.rows(part))
        ids, similarities = sort_rows(found, similarities, drop_self=True)
        ids, similarities = np.ascontiguousarray(ids[:, :k]), np.ascontiguousarray(similarities[:, :k])
        short = np.flatnonzero((ids < 0).any(axis=1))
        if short.size:
            again = exact_search(points, points, k=k, rows=short, drop_self=True, backend=backend)
            ids[short], similarities[short] = again
        sample = Sample.draw(points, k, rng=np.random.default_rng(0), backend=backend)
        recall = sample.recall(similarities, cure="raise max_candidates or n_iters of NNDescent, or use 'exact'")
        return Neighbors._trusted(
            ids,
            similarities,
            metric=points.metric,
            method="nn_descent",
            n_repaired=int(short.size),
            facts={"recall": recall},
        )

    def _built(self, points: PointSet, k: int, random_state: RandomState) -> AnyArray:
        """Return the ids (n, k + 1) that pynndescent finds, self among them, -1 where there is none."""
        if isinstance(random_state, np.random.Generator):  # which it does not know
            random_state = int(random_state.integers(2**31))
        with _LOCK:
            if not _STATE["announced"]:
                _STATE["announced"] = True
                warn("pynndescent compiles for about 45 CPU-seconds before its first neighbour in every process")
            import pynndescent

            with warnings.catch_warnings(), np.errstate(under="ignore"):
                warnings.simplefilter("ignore", UserWarning)  # of rows left short, which are repaired and counted here
                index = pynndescent.NNDescent(
                    points.X.astype(np.float32, copy=False),
                    metric=points.metric,
                    n_neighbors=k + 1,
                    n_iters=self.n_iters,
                    max_candidates=self.max_candidates,
                    random_state=random_state,
                )
                found, distances = index.neighbor_graph
        return np.where(np.isfinite(distances), found, -1)

    def memory_forecast(self, n: int, d: int, k: int) -> int:
        """Return the bytes, at most, that the search takes beside the points: a copy of them, and its heaps.

        >>> NNDescent().memory_forecast(60_000, 784, 50) < 1e9
        True
        """
        return tiles_forecast(n, d, k) + 4 * n * d + 100 * n * k
