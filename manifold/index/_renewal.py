"""Single columns solved again, by what the others of their index were."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from manifold._typing import AnyArray, Ints
from manifold.backends import Backend
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.index._column_solver import ColumnSolver

Renewal: TypeAlias = Callable[[Ints], dict[str, AnyArray]]  # one node -> what an index keeps of its column

_RTOL = 1e-8


def renewal(graph: Graph, filter: Filter, backend: Backend, *, values: AnyArray, solver: str) -> Renewal:
    """Return what solves a column of an index as wide as its `values` (n, T), one at a time.

    >>> from manifold import Diffusion, graph_from_affinity
    >>> from manifold.backends import get_backend
    >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> solve = renewal(path, Diffusion(0.5), get_backend(), values=np.zeros((3, 2)), solver="local")
    >>> solve(np.array([0]))["values"].round(4).tolist()
    [[0.5833, 0.2357]]
    """
    n_entries, dtype = values.shape[1], values.dtype
    if solver == "local":
        from manifold.index._local_columns import LocalColumns  # loads the compiler

        order = np.arange(graph.n_nodes)  # single columns gain nothing by one of near nodes
        local = LocalColumns(graph, filter, n_entries=max(n_entries, 1), rtol=_RTOL, order=order)
        return lambda node: local.solve(node, dtype=dtype)
    whole = ColumnSolver(graph, filter, backend, rtol=_RTOL)
    return lambda node: whole.cut(node, *whole.solve(node), n_entries=n_entries, dtype=dtype)
