"""What an index was built for: a graph and a filter in, an error for others."""

from __future__ import annotations

from typing import Protocol

from manifold._typing import AnyArray
from manifold.filters import Filter
from manifold.graph import Graph


class Built(Protocol):
    """Columns, and what they were built for."""

    @property
    def graph(self) -> Graph:
        """The graph of their nodes."""

    @property
    def filter(self) -> Filter:
        """h, of h(S)."""

    def described(self) -> tuple[dict[str, AnyArray], dict[str, object]]:
        """Return the arrays and parameters of the columns, to be saved."""


def check_origin(index: Built, graph: Graph, filter: Filter) -> None:
    """Raise ValueError for another graph or filter than an index was built for.

    >>> from manifold import Diffusion, graph_from_affinity
    >>> from manifold.index import DiffusionIndex
    >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
    >>> index = DiffusionIndex(n_entries=2, dtype="float64").build(path, filter=Diffusion(0.5))
    >>> try:
    ...     check_origin(index, path, Diffusion(0.9))
    ... except ValueError as error:
    ...     print(error)
    the index was built for Diffusion(alpha=0.5), not for Diffusion(alpha=0.9): use the one it has
    """
    mine, theirs = index.graph.affinity, graph.affinity
    if mine.shape != theirs.shape or mine.nnz != theirs.nnz or (mine != theirs).nnz:
        raise ValueError(f"the index was built for another graph, {index.graph!r}, than {graph!r}: build it anew")
    if index.filter != filter:
        raise ValueError(f"the index was built for {index.filter}, not for {filter}: use the one it has")
