"""Single columns solved again, by what the others of their index were."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from manifold._typing import AnyArray, Ints
from manifold.index._column_solver import ColumnSolver

if TYPE_CHECKING:
    from manifold.index.stored import StoredColumns

Renewal: TypeAlias = Callable[[Ints], dict[str, AnyArray]]  # one node -> what an index keeps of its column

_RTOL = 1e-8


def renewal(index: StoredColumns) -> Renewal:
    """Return what solves a column of an index, one at a time.

    >>> from manifold import Diffusion, DiffusionIndex, graph_from_affinity
    >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> index = DiffusionIndex(n_entries=2, dtype="float64", solver="local").build(path, filter=Diffusion(0.5))
    >>> renewal(index)(np.array([0]))["values"].round(4).tolist()
    [[0.5833, 0.2357]]
    """
    graph, width, dtype = index.graph, index.ids.shape[1], index.values.dtype
    if index.solver == "local":
        from manifold.index._local_columns import LocalColumns  # loads the compiler

        order = np.arange(graph.n_nodes)  # single columns gain nothing by one of near nodes
        local = LocalColumns(graph, index.filter, n_entries=max(width, 1), rtol=_RTOL, order=order)
        return lambda node: local.solve(node, dtype=dtype)
    solver = ColumnSolver(graph, index.filter, index.backend, rtol=_RTOL)
    return lambda node: solver.cut(node, *solver.solve(node), n_entries=width, dtype=dtype)
