"""Columns of the nodes that a change of the graph has touched: solved by what the index was, each whole.

In: nodes of the graph as it is. Out: their columns, how well they are known, and what an index keeps of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from manifold._resources import require_memory
from manifold._typing import AnyArray, Floats, Ints
from manifold.graph import Graph
from manifold.index._build import DiffusionIndex
from manifold.index._column_solver import ColumnSolver
from manifold.index.stored import StoredColumns

_RTOL = 1e-12  # what they are not known to, all others widen by
_SHARE = 2.0**-22  # of the least entry that is kept, of local ones
_MOST_ENTRIES = 1 << 27  # of all of them: 1 GiB


@dataclass(frozen=True, eq=False)
class SolvedColumns:
    """Columns of t nodes; entry i of column j is known to ``bound[j] unit[i]``.

    Attributes
    ----------
    entries : (n, t) float64
        Dense or, of columns that touch few nodes, CSR.
    bound : (t,) float64
    unit : (n,) float64
    kept : dict of str to (t, ...) array
        What an index keeps of them.
    """

    entries: Floats | sparse.csr_array
    bound: Floats
    unit: Floats
    kept: dict[str, AnyArray]

    def rows(self, nodes: Ints) -> Floats:
        """Return the entries (c, t) at some nodes."""
        if isinstance(self.entries, np.ndarray):
            return self.entries[nodes]
        return np.asarray(self.entries[nodes].toarray())

    def lengths(self, matrix: sparse.csr_array) -> Floats:
        """Return the 2-norms (n,) of ``matrix`` (s, t) times each row of the entries."""
        products = matrix @ self.entries.T
        if sparse.issparse(products):
            return np.sqrt(np.asarray(products.multiply(products).sum(axis=0), dtype=np.float64).ravel())
        return np.asarray(np.sqrt(np.einsum("ij,ij->j", products, products)))


def solved_columns(
    columns: StoredColumns, graph: Graph, nodes: Ints, *, settings: DiffusionIndex
) -> SolvedColumns | None:
    """Return the columns of some nodes of a graph, by the solver of an index; None where they would take a GiB.

    Raises MemoryBudgetError where that and an index would not fit.
    """
    n, t = graph.n_nodes, nodes.size
    forecast, local = settings.memory_forecast(n), settings.solver == "local"
    if not local and t * n > _MOST_ENTRIES:
        return None
    needed = forecast if local else forecast + 3 * 8 * t * n
    require_memory(needed, purpose=f"an index of {n} nodes", cure="change fewer items at a time")
    if local:
        return _by_relaxation(columns, graph, nodes, width=columns.ids.shape[1])
    solver = ColumnSolver(graph, columns.filter, columns.backend, rtol=_RTOL)
    solved, bound = np.empty((n, t)), np.empty(t)
    for start in range(0, t, solver.width):
        part = slice(start, start + solver.width)
        x, bound[part] = solver.solve(nodes[part])
        solved[:, part] = solver.backend.to_host(x)
    kept = solver.cut(
        nodes,
        solver.backend.asarray(solved),
        bound,
        n_entries=columns.ids.shape[1],
        dtype=columns.values.dtype,
    )
    return SolvedColumns(solved, bound, np.ones(n), kept)


def _by_relaxation(columns: StoredColumns, graph: Graph, nodes: Ints, *, width: int) -> SolvedColumns | None:
    """Solve columns where they touch the graph, near ones together."""
    from manifold.backends.near_groups import near_groups  # loads the compiler
    from manifold.index._local_columns import LocalColumns

    order = np.arange(graph.n_nodes)  # for few columns none is made
    solver = LocalColumns(graph, columns.filter, n_entries=max(width, 1), rtol=_RTOL, share=_SHARE, order=order)
    among = near_groups(graph.affinity[nodes][:, nodes], np.arange(nodes.size))
    parts, bound, n_entries = [], np.empty(nodes.size), 0
    kept: dict[str, AnyArray] = {}
    for start in range(0, nodes.size, solver.width):
        places = among[start : start + solver.width]
        found, x, bound[places] = solver.solve_whole(nodes[places], dtype=columns.values.dtype)
        n_entries += x.nnz
        if n_entries > _MOST_ENTRIES // 2:  # an index holds each with its node
            return None
        parts.append((x.data, x.coords[0], places[x.coords[1]]))
        for name, values in found.items():
            kept.setdefault(name, np.empty((nodes.size, *values.shape[1:]), values.dtype))[places] = values
    entries = [np.concatenate(each) for each in zip(*parts, strict=True)] if parts else [np.empty(0)] * 3
    at = entries[1].astype(np.int64), entries[2].astype(np.int64)
    X = sparse.csr_array((entries[0], at), shape=(graph.n_nodes, nodes.size))
    return SolvedColumns(X, bound, solver.roots, kept)
