"""Neighbours by an index of FAISS (Douze et al., arXiv 2401.08281), where it is installed.

In: points (n, d). Out: `Neighbors`, every similarity computed afresh here, every row complete, the recall measured.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from manifold._checks import check_count
from manifold._progress import Progress
from manifold._typing import RandomState
from manifold.backends import Backend
from manifold.neighbors._base import Neighbors, sort_rows
from manifold.neighbors._exact import exact_search, tiles_forecast
from manifold.neighbors._recall import Sample
from manifold.neighbors.points import GATHER, PointSet, slices

_FLAT = 20_000  # points below which FAISS searches all


@dataclass(frozen=True)
class Faiss:
    """Search an index of FAISS: flat to 20,000 points and for the inner product, IVF beyond. ``method="faiss"``.

    Reference: Johnson et al. (2021), section 3.

    Parameters
    ----------
    n_probes : int
        Of sqrt(n) cells of an inverted file, those that each point is compared with.

    Raises
    ------
    TypeError, ValueError
        For settings out of range.

    Examples
    --------
    >>> Faiss().n_probes
    16
    """

    n_probes: int = 16

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
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
        """Return k near others of each point; the facts say the recall. FAISS draws its own random numbers.

        Rows that come back with fewer than k others are searched again exactly.

        Raises
        ------
        ImportError
            Where FAISS is not installed.
        ValueError
            Where a similarity would overflow float32.
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
        rows = np.ascontiguousarray(points.centred(slice(None)))
        index.train(rows)
        index.add(rows)
        if hasattr(index, "nprobe"):
            index.nprobe = self.n_probes
        del rows  # the index holds a copy
        ids, similarities = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
        for part in slices(n, max(1, GATHER // (d * (k + 1)))):
            found = index.search(np.ascontiguousarray(points.centred(part)), k + 1)[1]
            near = points.compare(points.rows(np.maximum(found, 0)), points.rows(part))
            own = np.arange(part.start, part.stop)[:, None]
            ordered = sort_rows(np.where(found == own, -1, found), near, drop_self=False)
            ids[part], similarities[part] = (x[:, :k] for x in ordered)
        short = np.flatnonzero(ids[:, -1] < 0)
        if short.size:
            again = exact_search(points, points, k=k, rows=short, drop_self=True, backend=backend)
            ids[short], similarities[short] = again
        sample = Sample.draw(points, k, rng=np.random.default_rng(0), backend=backend)
        recall = sample.recall(similarities, cure=f"raise n_probes={self.n_probes} of Faiss, or use 'exact'")
        return Neighbors._trusted(
            ids,
            similarities,
            metric=points.metric,
            method=f"faiss {kind}",
            n_repaired=int(short.size),
            facts={"recall": recall},
        )

    def memory_forecast(self, n: int, d: int, k: int) -> int:
        """Return the bytes, at most, that the search takes beside the points: the copy of them in the index.

        >>> Faiss().memory_forecast(60_000, 784, 50) < 1e9
        True
        """
        return tiles_forecast(n, d, k) + 4 * n * d
