"""The lists that a graph was made of: those that lie beside its folder, and whether they are its own.

In: a graph. Out: `Neighbors`, mapped, or None.
"""

from __future__ import annotations

from pathlib import Path

from manifold.graph._graph import Graph
from manifold.neighbors import Neighbors, open_lists


def beside(folder: Path) -> Path:
    """Return where the lists of a graph lie that was built in a folder.

    >>> beside(Path("places/graph")).as_posix()
    'places/graph.lists'
    """
    return folder.with_name(f"{folder.name}.lists")


def lists_of(graph: Graph) -> Neighbors | None:
    """Return the lists that a graph of a folder was made of, mapped, where `build_graph` has left them beside it.

    Reference: guide *scale*, "More than memory holds".

    Raises
    ------
    ValueError
        Where the lists that lie there are those of another graph.

    Examples
    --------
    >>> from manifold.graph import graph_from_affinity
    >>> lists_of(graph_from_affinity([[0, 1], [1, 0]])) is None
    True
    """
    if graph.saved is None or not beside(Path(graph.saved[0])).is_dir():
        return None
    folder = beside(Path(graph.saved[0]))
    lists = open_lists(folder)
    told = {"method": lists.method, "metric": lists.metric, "n_neighbors": lists.n_neighbors, **lists.facts}
    if lists.n_nodes != graph.n_nodes or any(graph.facts.get(name) != value for name, value in told.items()):
        raise ValueError(f"{folder} holds lists of another graph than {graph.saved[0]}: {lists}; move them away")
    return lists
