"""Graphs of networkx, the only file that imports it: W in, W out."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeGuard

from scipy import sparse

if TYPE_CHECKING:
    import networkx as nx

    NetworkxGraph: TypeAlias = nx.Graph


def is_networkx(W: object) -> TypeGuard[NetworkxGraph]:
    """Whether W is a graph of networkx, which is not imported to find out.

    >>> is_networkx([[0, 1], [1, 0]])
    False
    """
    return any(base.__module__.split(".")[0] == "networkx" for base in type(W).__mro__)


def from_networkx(graph: NetworkxGraph) -> sparse.csr_array:
    """Return the affinity (n, n): nodes in the order of the graph, ``weight`` of its edges, 1 where there is none.

    Raises TypeError for weights that are no numbers.

    >>> import networkx as nx
    >>> from_networkx(nx.path_graph(["a", "b"])).toarray().tolist()
    [[0, 1], [1, 0]]
    """
    import networkx as nx

    if not len(graph):  # which networkx refuses
        return sparse.csr_array((0, 0))
    try:
        return nx.to_scipy_sparse_array(graph, weight="weight", format="csr")
    except (TypeError, ValueError) as error:
        raise TypeError(f"weights of edges must be numbers: {error}") from None


def to_networkx(W: sparse.csr_array) -> NetworkxGraph:
    """Return the graph of an affinity; raise ImportError that names the cure where networkx is missing.

    >>> to_networkx(sparse.csr_array([[0, 1], [1, 0]])).number_of_edges()
    1
    """
    try:
        import networkx as nx
    except ImportError as error:
        raise ImportError("Graph.to_networkx needs networkx: pip install networkx") from error
    return nx.from_scipy_sparse_array(W)
