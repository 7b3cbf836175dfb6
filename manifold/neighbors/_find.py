"""Who is near whom: the one door to every method, and a warning of points that no method can place."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial
from os import PathLike

import numpy as np

from manifold._checks import check_count, check_random_state
from manifold._progress import Progress, check_progress, shown
from manifold._resources import at_most, parse_bytes, require_memory
from manifold._typing import Ints, RandomState
from manifold.backends import Backend, backend_for, on_host
from manifold.errors import warn
from manifold.neighbors._adapters import from_precomputed
from manifold.neighbors._all_pairs import Exact
from manifold.neighbors._base import METRICS, Neighbors
from manifold.neighbors._inverted_file import InvertedFile
from manifold.neighbors._methods import Method, check_method, get_method
from manifold.neighbors._on_disk import on_disk_rows, search_on_disk
from manifold.neighbors.compact import decided, n_candidates
from manifold.neighbors.points import PointSet, point_set

_ROUNDED = 2.0**-12  # what rounding takes from the cosine of copies, at most, and more


def find_neighbors(
    X: object,
    n_neighbors: int = 10,
    *,
    method: str | Method = "auto",
    metric: str = "cosine",
    backend: str | Backend = "auto",
    random_state: RandomState = None,
    progress: Progress | bool | None = None,
    folder: str | PathLike[str] | None = None,
    memory: int | str | None = None,
    executor: Executor | None = None,
) -> Neighbors:
    """Find the k nearest other points of each point.

    Reference: guide *scale*, "The search for neighbours".

    Parameters
    ----------
    X : (n, d) array-like of numbers, PointSet, path of a file, or (n, n) similarities for ``metric="precomputed"``
        Never written to; an array or map of float32, float16, int8 or uint8 is read in place. That of a device is
        checked, and kept, on the host, and searched on its device. Points of `point_set` are neither checked nor
        measured again; of those of `compact_points` approximate methods read the bytes.
    n_neighbors : int
        k neighbours *other than self*, which is removed by id. Cut to n - 1, with a warning.
    method : str or Method
        "auto", a name in `METHODS`, or settings such as ``InvertedFile(recall=0.99)``. "auto" is exact where that takes
        seconds, an inverted file where it takes longer: see `choose_method`, and the `facts` of the result. What is
        approximate says its measured recall there, and warns of one below 0.9.
    metric : {"cosine", "inner_product", "euclidean", "precomputed"}
        See `manifold.neighbors._base` for the similarity each one means; that of a PointSet is its own.
    backend : {"auto", "scipy", "cupy"} or Backend
        Where the exact search and the inverted file run; "auto" follows `X`. Neighbours are on the host in any case.
    random_state : int, numpy.random.Generator or None
        For "inverted_file", where None is 0, and "nn_descent", where it is another seed each time.
    progress : bool or callable(done, total), optional
        Called after each tile of the exact search, each cell of an inverted file. True shows a bar on stderr with the
        time left, by tqdm where it is installed.
    folder : path, optional
        Where the lists are to lie, with all that an inverted file makes them through: nothing of the size of X is in
        memory. What was stopped goes on at the next such call, to the same bits; what is there is opened. X may also
        be an iterator of batches of rows, which are written beside the folder once.
    memory : int or str, optional
        With `folder`: bytes that the search may take, such as "4 GiB"; by default half of those that are free.
    executor : concurrent.futures.Executor, optional
        With `folder`: who does the work, a pool of processes, say, each of which takes `memory`.

    Raises
    ------
    TypeError, ValueError
        For input that is not finite real numbers of the right shape, an unknown name, or a metric that a method, or
        the points, were not made for.
    MemoryBudgetError
        Where the lists would not fit in memory; raised before the search.

    Examples
    --------
    >>> find_neighbors([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], 1).indices.tolist()
    [[1], [0], [1]]
    """
    k = check_count(n_neighbors, "n_neighbors")
    if folder is not None:
        X = on_disk_rows(X, folder)
    elif memory is not None or executor is not None:
        raise TypeError("memory= and executor= are those of a search on disk: give folder=, too")
    arrays = backend_for(backend, {"X": X.X if isinstance(X, PointSet) else X})
    check_method(method)
    check_random_state(random_state)
    check_progress(progress)
    if metric == "precomputed" and folder is None and not isinstance(X, PointSet):
        if method not in ("auto", "exact"):
            raise ValueError(f"metric='precomputed' needs no search: leave out method={method!r}")
        found = from_precomputed(on_host(X, arrays), k, name="X")
        _at_most(k, found.n_nodes)  # says so where there are not as many
        return found
    if metric not in (*METRICS, "precomputed"):
        raise ValueError(f"metric must be one of {(*METRICS, 'precomputed')}, got {metric!r}")
    points = point_set(X if isinstance(X, PointSet) else on_host(X, arrays), metric)
    n, d = points.X.shape
    k = _at_most(k, n)
    if folder is not None:
        chosen = InvertedFile() if method in ("auto", "inverted_file") else method
        with shown(progress, "neighbours") as report:
            found = search_on_disk(
                points,
                k,
                settings=chosen,
                folder=folder,
                memory=None if memory is None else parse_bytes(memory, "memory"),
                executor=executor,
                random_state=random_state,
                progress=report,
            )
        warn_of_awkward_points(points, found)
        return found
    settings, why = get_method(method, n=n, d=d, k=k, metric=metric, on_host=arrays.owns(points.X[:0]))
    twice = points.compact is not None and not isinstance(settings, Exact)
    wide = n_candidates(k, n - 1) if twice and k else k
    forecast = partial(settings.memory_forecast, n, d)
    fewer = at_most("n_neighbors", k, forecast)
    require_memory(forecast(wide), purpose=f"finding {k} neighbours of {n} points", cure=fewer)
    if k == 0:
        nobody = np.empty((n, 0), np.int32), np.empty((n, 0), np.float32)
        return Neighbors._trusted(*nobody, metric=metric, method="exact")
    with shown(progress, "neighbours") as report:
        asked = points.proposing if twice else points
        found = settings.search(asked, wide, backend=arrays, random_state=random_state, progress=report)
    if twice:
        found = decided(points, found, k, backend=arrays, random_state=random_state)
    if method == "auto" and found.method != "exact":
        facts = {**found.facts, "chosen": why}
        found = found._with_lists(found.indices, found.similarities, facts=facts, partition=found.partition)
    warn_of_awkward_points(points, found)
    return found


def _at_most(k: int, n: int) -> int:
    if n > 1 and k > n - 1:
        warn(f"n_neighbors={k} but each of the {n} points has only {n - 1} others: using {n - 1}")
    return min(k, n - 1)


def warn_of_awkward_points(points: PointSet, found: Neighbors, *, first: int = 0) -> None:
    """Warn of zero vectors, which have no direction, and of points that only see their own copies, from a row on.

    Reference: guide *notation*, "How the parts meet".

    >>> points = point_set([[1.0, 0.0], [0.0, 1.0]])
    >>> warn_of_awkward_points(points, find_neighbors(points, 1))
    """
    if points.metric == "cosine":
        zeros = first + np.flatnonzero(points.norms[first:] == 0)
        if zeros.size:
            warn(f"{zeros.size} zero vectors (first: row {zeros[0]}) have cosine 0 to all: isolated in a graph")
    if found.n_neighbors == found.n_nodes - 1:  # everyone is listed: no copy can hide another point
        return
    last = found.indices[:, -1].astype(np.int64)
    # a copy is as similar as can be, within rounding: few rows have to be compared
    near = found.similarities[first:, -1] >= points.largest - np.float32(_ROUNDED)
    rows: Ints = first + np.flatnonzero((last[first:] >= 0) & (near | np.isinf(points.largest)))
    unit = points.rows
    # a point whose k-th neighbour is itself again sees nothing but copies of itself
    equal = [rows[s][(unit(rows[s]) == unit(last[rows[s]])).all(axis=1)] for s in points.parts(rows.size)]
    inside = np.concatenate(equal) if equal else rows
    inside = inside[points.norms[inside] > 0] if points.metric == "cosine" else inside
    if inside.size:
        warn(
            f"n_neighbors={found.n_neighbors} is smaller than a group of duplicates: {inside.size} points (first: "
            f"row {inside[0]}) have only copies of themselves as neighbours: raise n_neighbors or drop the copies"
        )
