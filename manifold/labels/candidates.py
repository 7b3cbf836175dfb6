"""Graphs of points that labels choose among: features in, "sum" graphs by name out, that of 10 neighbours first.

This is what all doors that take features do with `n_neighbors`.
"""

from __future__ import annotations

from manifold._checks import check_count
from manifold._progress import Progress
from manifold._typing import RandomState
from manifold.graph import Graph, graph_from_neighbors
from manifold.graph.affinity import Affinity
from manifold.labels._base import Method
from manifold.labels._methods import get_method
from manifold.labels.auto import Auto
from manifold.labels.result import Propagation
from manifold.neighbors import Neighbors, PointSet, find_neighbors, point_set

DEFAULT_NEIGHBORS = 10
_OTHERS = (5, 20)  # half and twice as many; wider graphs won on no set by more than chance


def label_graphs(
    features: object,
    n_neighbors: int | str = "auto",
    *,
    method: str | Method = "auto",
    metric: str = "euclidean",
    affinity: str = "auto",
    gamma: float = 3.0,
    edges: str = "sum",
    search: str = "auto",
    random_state: RandomState = None,
    progress: Progress | None = None,
) -> tuple[dict[str, Graph], PointSet | None]:
    """Return the graphs to choose among, by name, and the points; one graph where a number of neighbours is given.

    Raises
    ------
    ValueError
        For an `n_neighbors` that is neither a number nor "auto"; and as `manifold.build_graph`.

    Examples
    --------
    >>> list(label_graphs([[0.0], [0.1], [5.0], [5.1]])[0])  # 3 others are all there are
    ['k = 3']
    """
    kernel = Affinity(affinity, gamma, metric)  # a wrong one is refused before the search
    if metric == "precomputed":
        # rows of a sparse matrix need not hold more
        k = DEFAULT_NEIGHBORS if n_neighbors == "auto" else check_count(n_neighbors, "n_neighbors")
        return graphs_of(find_neighbors(features, k, metric=metric), (k,), affinity=kernel, edges=edges), None
    points = features if isinstance(features, PointSet) else point_set(features, metric, name="features")
    widths = widths_of(n_neighbors, len(points.X), method=method)
    neighbors = find_neighbors(
        points, max(widths), method=search, metric=metric, random_state=random_state, progress=progress
    )
    return graphs_of(neighbors, widths, affinity=kernel, edges=edges), points


def widths_of(n_neighbors: int | str, n: int, *, method: str | Method) -> tuple[int, ...]:
    """Return numbers of neighbours: what was asked for, or the default first, and all at most n - 1.

    >>> widths_of("auto", 1000, method="auto"), widths_of("auto", 1000, method="lgc"), widths_of(7, 3, method="auto")
    ((10, 5, 20), (10,), (7,))
    """
    if n_neighbors != "auto":
        return (check_count(n_neighbors, "n_neighbors"),)
    most = max(n - 1, 1)
    others = _OTHERS if isinstance(get_method(method), Auto) else ()
    return tuple(dict.fromkeys(min(k, most) for k in (DEFAULT_NEIGHBORS, *others)))


def graphs_of(
    neighbors: Neighbors, widths: tuple[int, ...], *, affinity: Affinity, edges: str = "sum"
) -> dict[str, Graph]:
    """Return a graph of the first k neighbours for each k.

    >>> found = find_neighbors([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0]], 2)
    >>> {name: graph.n_nodes for name, graph in graphs_of(found, (2, 1), affinity=Affinity()).items()}
    {'k = 2': 3, 'k = 1': 3}
    """
    return {
        f"k = {k}": graph_from_neighbors(neighbors.first(k), affinity=affinity.kind, gamma=affinity.gamma, edges=edges)
        for k in widths
    }


def most_used(graphs: dict[str, Graph], result: Propagation) -> Graph:
    """Return the graph of the setting that has most weight in what "auto" chose; the first where there was no choice.

    >>> from manifold import graph_from_affinity, propagate
    >>> pair = graph_from_affinity([[0, 1], [1, 0]])
    >>> most_used({"a pair": pair}, propagate(pair, [0, 1])) is pair
    True
    """
    first = next(iter(graphs.values()))
    choice = result.choice
    if choice is None or not choice.loss:
        return first
    used = {name: weight for name, weight in zip(choice.names, choice.weights, strict=True) if ", " in name}
    best = max(used, key=lambda name: used[name]).split(", ")[0]
    return graphs.get(best, first)
