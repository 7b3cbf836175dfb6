"""An index that follows its graph: columns that still hold where nodes have come, gone, or changed their edges.

In: stored columns, and the graph as it is. Out: stored columns of that graph, some of them with wider bounds.

With v = sqrt(degree), V = diag(v) and M = V^2 - a W there is K = w V M^-1 V; a prime marks the graph as it is. A node
that is isolated in one of the graphs, or not in it, takes v from the other, for its column is w e whatever its v. Then
M - M' is zero but for the touched nodes T, new or with other edges, and M'^-1 - M^-1 = M^-1 (M - M') M'^-1. Outside T,
where v is the same in both graphs, this says

    K'_ij - K_ij = (1 / w) (K q_j)_i,    q_j = V^-1 (M - M') V'^-1 K'_Tj,

and because |e_i' K q|^2 <= (e_i' K e_i) (q' K q), and no eigenvalue of K exceeds 1,

    |K'_ij - K_ij| <= (1 / w) sqrt(max K_ii) ||q_j||_2    for all i and j outside T.

The columns K' e_t of the touched nodes are solved; K' is symmetric, so that they hold the K'_Tj of every other column
too. Far from the change these are tiny, and the column hardly widens. One that widens beyond use is marked as stale.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from manifold._typing import AnyArray, Floats, Ints, Mask
from manifold.graph import Graph
from manifold.index._build import DiffusionIndex
from manifold.index._touched import SolvedColumns, solved_columns
from manifold.index.lazy import LazyColumns
from manifold.index.stored import StoredColumns

_MOST_TOUCHED = 0.25  # share of the nodes, beyond which the index is built anew
_CHUNK = 1 << 22  # entries worked on at a time
_ROUNDING = 1e-13  # more than that of q, for columns of length 1
_SLACK = 1e-10
_WORN = 1 / 8  # share of its tail that a column's error may reach before it is stale
_EXACT = 1e-7  # errors that make no column stale


def updated_columns(
    columns: StoredColumns, graph: Graph, rows: Ints, *, settings: DiffusionIndex | None = None
) -> StoredColumns:
    """Return an index of another graph, from that of the graph before.

    Reference: guide *scale*, "A collection that changes".

    Parameters
    ----------
    columns : StoredColumns
        Of n nodes.
    graph : Graph
        As it is, with n' nodes.
    rows : (n',) int
        Which node of before each one is, ascending, or -1.
    settings : DiffusionIndex, optional
        Those it was built with; by default its width and dtype.

    Returns
    -------
    StoredColumns
        Certain as ever; `stale` marks columns that want to be solved again.

    Notes
    -----
    Cost: a column for each touched node, by the solver of the index, and one pass over it. Where more than a quarter of
    the nodes are touched, their columns would take more than a GiB, or columns hold all nodes, the index is built anew.

    Examples
    --------
    >>> from manifold import Diffusion, graph_from_affinity
    >>> ring = np.roll(np.eye(40), 1, axis=1) + np.roll(np.eye(40), -1, axis=1)
    >>> cut = ring.copy()
    >>> cut[0, 39] = cut[39, 0] = 0
    >>> index = DiffusionIndex(n_entries=9).build(graph_from_affinity(ring), filter=Diffusion(0.5))
    >>> changed = updated_columns(index, graph_from_affinity(cut), np.arange(40))
    >>> np.flatnonzero(changed.stale).tolist()
    [1, 2, 3, 4, 5, 6, 33, 34, 35, 36, 37, 38]
    """
    if isinstance(columns, LazyColumns):
        return columns.on(graph)
    n, width = graph.n_nodes, columns.ids.shape[1]
    settings = settings or DiffusionIndex(max(width, 1), str(columns.values.dtype), solver=columns.solver)
    change = _Change.between(columns, graph, rows)
    solved = None
    if width == min(settings.n_entries, n) and change.touched.size <= _MOST_TOUCHED * n:
        solved = solved_columns(columns, graph, change.touched, settings=settings)
    if solved is None:
        return settings.build(graph, filter=columns.filter, backend=columns.backend)
    widening, doubt = change.widening(solved, graph)
    found: dict[str, AnyArray] = {
        "ids": np.empty((n, width), dtype=np.uint32),
        "values": np.empty((n, width), dtype=columns.values.dtype),
        "tail": np.empty(n),
        "error": np.empty(n),
        "stale": np.zeros(n, dtype=bool),
    }
    others = np.setdiff1d(np.arange(n), change.touched)
    step = max(1, _CHUNK // max(width, change.touched.size, 1))
    with np.errstate(under="ignore"):
        for start in range(0, others.size, step):
            nodes = others[start : start + step]
            part = _Part.of(columns, nodes, rows=rows, place=change.place, n=n)
            part.take_touched(solved.rows(nodes), change.touched, doubt=doubt[nodes], n=n)
            part.take_components(nodes, graph)
            for name, values in part.widened(widening[nodes]).items():
                found[name][nodes] = values
        for name, values in solved.kept.items():
            found[name][change.touched] = values
    return StoredColumns(
        graph,
        columns.filter,
        ids=found["ids"],
        values=found["values"],
        tail=found["tail"],
        error=found["error"],
        backend=columns.backend,
        stale=found["stale"],
        solver=settings.solver,
    )


@dataclass(frozen=True, eq=False)
class _Change:
    """What is different between two graphs.

    Attributes
    ----------
    touched : (t,) int
        Nodes of the graph as it is whose edges are others, and those that are new.
    place : (n,) int
        Where each node of before is; those that have gone follow the n' that are there.
    matrix : csr_array (s, t)
        V^-1 (M - M') V'^-1, for the s touched nodes of before.
    factor : float
        sqrt(max K_ii) / w.
    """

    touched: Ints
    place: Ints
    matrix: sparse.csr_array
    factor: float

    @classmethod
    def between(cls, columns: StoredColumns, after: Graph, rows: Ints) -> _Change:
        """Compare the graph of some columns with the one after; `rows` (n',) says where each node was, -1: nowhere."""
        before, n = columns.graph, after.n_nodes
        place = np.full(before.n_nodes, -1)
        place[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
        gone = np.flatnonzero(place < 0)
        place[gone] = n + np.arange(gone.size)
        size = n + gone.size
        difference = _placed(before, place, size) - _placed(after, np.arange(n), size)
        difference.eliminate_zeros()
        touched = np.union1d(np.flatnonzero(np.diff(difference.indptr)), np.flatnonzero(rows < 0))
        degrees = np.zeros((2, size))
        degrees[0, place], degrees[1, :n] = before.degrees, after.degrees
        d_before, d_after = (np.where(d > 0, d, np.where(e > 0, e, 1.0)) for d, e in (degrees, degrees[::-1]))
        ((w, a),) = columns.filter.resolvents or ()
        known, there = touched[np.isin(touched, place)], touched[touched < n]
        shift = sparse.diags_array(d_before - d_after, format="csr") - a * difference
        matrix = (
            sparse.diags_array(1 / np.sqrt(d_before[known]))
            @ sparse.csr_array(shift[known][:, there])
            @ sparse.diags_array(1 / np.sqrt(d_after[there]))
        )
        return cls(there, place, sparse.csr_array(matrix), float(columns.root_diagonal.max(initial=0.0)) / w)

    def widening(self, solved: SolvedColumns, after: Graph) -> tuple[Floats, Floats]:
        """Return by how much columns (n',) outside T may have changed, and how well their entries in T are known."""
        # a component without touched nodes is what it was
        near = np.isin(after.components, after.components[self.touched])
        doubt = np.where(near, solved.bound.max(initial=0.0) * solved.unit, 0.0)
        known = float(np.linalg.norm(abs(self.matrix) @ solved.bound))
        rounding = float(np.linalg.norm(abs(self.matrix) @ np.full_like(solved.bound, _ROUNDING)))
        change = self.factor * (solved.lengths(self.matrix) + known * solved.unit + rounding) * (1 + _SLACK)
        return np.where(near, change, 0.0), doubt


@dataclass(eq=False)
class _Part:
    """Some columns outside T on their way from one graph to the other."""

    ids: Ints  # (c, T), in the graph as it is
    values: AnyArray
    tail: Floats
    error: Floats
    worn: Mask  # stale before
    beyond: Floats = field(init=False)  # bounds on the touched entries that are not stored

    @classmethod
    def of(cls, columns: StoredColumns, nodes: Ints, *, rows: Ints, place: Ints, n: int) -> _Part:
        """Take columns by their new names; for each entry that has gone comes another, known to the tail."""
        old = rows[nodes]
        ids, values, tail, error = columns.held(old)
        ids, values = place[ids], np.array(values)
        error = np.array(error)
        for row in np.flatnonzero((ids >= n).any(axis=1)):
            gone = ids[row] >= n
            free = np.setdiff1d(np.arange(min(n, 2 * gone.size)), ids[row])
            ids[row, gone], values[row, gone] = free[: gone.sum()], 0
            error[row] = max(error[row], tail[row])
            order = np.argsort(ids[row])
            ids[row], values[row] = ids[row, order], values[row, order]
        return cls(ids, values, np.array(tail), error, columns.is_stale(old))

    def take_touched(self, solved: Floats, touched: Ints, *, doubt: Floats, n: int) -> None:
        """Take the entries (c, t) at touched nodes from their own columns, and bound those that are not stored."""
        number = np.full(n, -1)
        number[touched] = np.arange(touched.size)
        row, column = np.nonzero(number[self.ids] >= 0)
        which = number[self.ids[row, column]]
        self.values[row, column] = solved[row, which]
        rest = solved.copy()
        rest[row, which] = 0
        self.beyond = rest.max(axis=1, initial=0.0) + doubt
        self.error = np.maximum(self.error, doubt + float(np.finfo(self.values.dtype).smallest_subnormal))

    def take_components(self, nodes: Ints, graph: Graph) -> None:
        """Set entries between components to 0, which is exact."""
        self.values[graph.components[self.ids] != graph.components[nodes][:, None]] = 0

    def widened(self, widening: Floats) -> dict[str, AnyArray]:
        """Return the columns with what may have changed added to their bounds."""
        error, tail = self.error + widening, self.tail + widening
        missed = self.beyond > tail
        tail = np.maximum(tail, self.beyond)
        stale = self.worn | missed | (error > np.maximum(_WORN * tail, _EXACT))
        return {"ids": self.ids, "values": self.values, "tail": tail, "error": error, "stale": stale}


def _placed(graph: Graph, place: Ints, size: int) -> sparse.csr_array:
    """Return W in float64 with its nodes at other places of a larger matrix."""
    W = graph.affinity.tocoo()
    entries = (W.data.astype(np.float64), (place[W.coords[0]], place[W.coords[1]]))
    return sparse.csr_array(entries, shape=(size, size))
