"""Queries over many processes, each of which opens one saved search by its path: queries in, one ranking out.

search(Q) = [search(Q_1); search(Q_2); ...],    for lists do not depend on what is asked beside them
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, fields
from functools import lru_cache
from os import PathLike, fspath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from manifold._arrays import as_array
from manifold._checks import check_can, check_count
from manifold._typing import AnyArray
from manifold.backends import Array
from manifold.errors import CorruptFileError
from manifold.ranking._base import Ranking
from manifold.solvers import Solution, merge_reports
from manifold.storage import load_arrays

if TYPE_CHECKING:
    from manifold.ranking.search import ManifoldSearch


def search_on(
    executor: Executor,
    path: str | PathLike[str],
    Q: ArrayLike,
    *,
    k: int = 100,
    slack: float | None = None,
    batch: int = 64,
) -> Ranking:
    """Rank a saved collection for queries, on the workers of an executor.

    Reference: guide *cluster*, "One machine, to try it".

    Parameters
    ----------
    executor : concurrent.futures.Executor
        A pool of processes, or ``client.get_executor()`` of a cluster, whose workers find the folder.
    path : str or path
        Of a search, by its ``save(path)``; a worker maps it once, and keeps it mapped for the next queries.
    Q : (q, d) or (d,) array-like
    k, slack
        See `ManifoldSearch.search`.
    batch : int
        Queries that are sent together.

    Returns
    -------
    Ranking
        That of ``load(path).search(Q, k, slack=slack)``, to the bit for a solver of lists (``solver="local"``) or of
        columns.

    Raises
    ------
    CorruptFileError
        Where a worker finds another save at the path.
    ValueError, TypeError
        As `ManifoldSearch.search`; for a batch below 1.

    Notes
    -----
    Cost: that of the queries, and a message a batch. A worker reads what its queries need of the graph.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from tempfile import TemporaryDirectory
    >>> from manifold import ManifoldSearch
    >>> search = ManifoldSearch(n_neighbors=1, solver="local").fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> with TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
    ...     path = search.save(f"{folder}/search")
    ...     search_on(pool, path, [[1.0, 0.0], [0.0, 1.0]], k=1, batch=1).ids.ravel().tolist()
    [0, 2]
    """
    check_can(executor, "map", name="executor", a="a concurrent.futures.Executor")
    batch = check_count(batch, "batch")
    queries = as_array(Q, "Q")
    if not isinstance(path, str | PathLike):
        raise TypeError(f"path must be that of a saved search, got {type(path).__name__}: path = search.save(folder)")
    stored = load_arrays(path, verify="lazy")
    if "search" not in stored.kind:
        raise ValueError(f"path={fspath(path)!r} holds a {stored.kind!r}, where a saved search is asked")
    asked = _Asked(fspath(path), stored.digest, k, slack)
    if queries.ndim != 2 or len(queries) <= batch:
        return next(executor.map(asked, [queries]))
    return _joined(list(executor.map(asked, np.split(queries, range(batch, len(queries), batch)))))


@dataclass(frozen=True)
class _Asked:
    """What is asked of a saved search, wherever it is opened."""

    path: str
    digest: str
    k: int
    slack: float | None

    @property
    def __name__(self) -> str:  # what a dashboard calls it, instead of all that stands here
        return "search"

    def __call__(self, queries: AnyArray) -> Ranking:
        return _opened(self.path, self.digest).search(queries, self.k, slack=self.slack)


@lru_cache(maxsize=1)  # of one search at a time: an older one is let go
def _opened(path: str, digest: str) -> ManifoldSearch:
    from manifold import load

    search: ManifoldSearch = load(path, verify="lazy")
    if load_arrays(path, verify="lazy").digest != digest:
        raise CorruptFileError(f"{path} holds another search here than where it was asked for: give workers one folder")
    return search


def _joined(parts: list[Ranking]) -> Ranking:
    """Return the rankings of several batches as one."""
    joined: dict[str, Array] = {}
    for field in fields(Ranking):
        values = [getattr(part, field.name) for part in parts]
        if isinstance(values[0], Solution):
            joined[field.name] = merge_reports(values)
        else:
            joined[field.name] = None if values[0] is None else np.concatenate(values)
    return Ranking(**joined)
