"""A block of columns on some rows of S, cut by a rank from a graph that it opens by itself.

In: the path of a saved graph, a prepared solver, rows of seeds. Out: rows of scores; no other rows of S are held.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from manifold._resources import require_memory
from manifold._typing import AnyArray, Floats, Ints
from manifold.backends import Array
from manifold.backends.ranks import RankBackend
from manifold.distributed.protocol import Rank
from manifold.errors import CorruptFileError
from manifold.graph import Graph
from manifold.solvers._formed import inverse, normalized
from manifold.solvers._normalized import NormalizedAffinity
from manifold.solvers.system import Seeds

_BLOCKS = 6  # of own rows, that a solve holds at once
_ROWS = 1 << 16  # cut at a time: what is sorted and gathered meanwhile stays small


class Shard(NormalizedAffinity):
    """The rows of S that a rank owns: what `NormalizedAffinity` is to a solver, for blocks of these rows."""

    def __init__(self, graph: Graph, backend: RankBackend) -> None:
        self.graph, self.backend, self.n_nodes, self.dtype = graph, backend, graph.n_nodes, graph.dtype
        self.order = self.position = None  # rows come in the order of S
        ids = np.arange(graph.n_nodes, dtype=np.int32) if graph.order is None else graph.order
        self._own = ids[backend.first : backend.last]
        self.matrix = backend.place(_cut(graph, backend, ids))
        self.halo = backend.halo

    @property
    def degrees(self) -> Floats:
        """Row sums of own rows of W, in their order."""
        return self.graph.degrees[self._own]


@dataclass(frozen=True)
class Rows:
    """Rows of S of a saved graph, as a rank finds them by itself."""

    folder: str
    digest: str
    cuts: tuple[int, ...]

    def held(self, rank: Rank) -> Shard:
        """Return own rows, kept from an earlier task or cut now: all ranks do the same.

        Raises CorruptFileError where the folder holds another graph by now, or here.
        """
        from manifold import load

        if self not in rank.kept:
            rank.kept.clear()  # before the next rows are cut: a process holds those of one graph
            graph = load(self.folder, verify="lazy")
            if graph.saved[1] != self.digest:
                raise CorruptFileError(f"{self.folder} holds another graph here than where it was loaded: load it anew")
            rank.kept[self] = Shard(graph, RankBackend(rank, np.array(self.cuts)))
        shard: Shard = rank.kept[self]
        return shard


@dataclass(frozen=True, eq=False)
class Solve:
    """A block of columns, solved for own rows: what a solver does with it in one process."""

    prepared: Array  # of the solvers that have `_solve_block`
    columns: Ints
    rows: Rows

    def __call__(self, rank: Rank, part: tuple[AnyArray, ...]) -> tuple[AnyArray, list[AnyArray]]:
        block, x0, scale, finite = part
        shard = self.rows.held(rank)
        rows = _BLOCKS * len(block) + 2 * shard.halo  # what arrives of it, and in its place
        columns = f"{block.shape[1]} columns on {len(block)} rows of a graph"
        require_memory(block.itemsize * block.shape[1] * rows, purpose=columns, cure="add workers")
        solver = replace(self.prepared, system=shard)
        callback = None if rank.rank else rank.report  # all of them see the same
        with np.errstate(under="ignore"):
            x, *facts = solver._solve_block(Seeds(block, scale, finite), x0, self.columns, callback)
        return x, facts


def _cut(graph: Graph, backend: RankBackend, order: AnyArray) -> sparse.csr_array:
    """Return own rows of S, columns numbered in its order and ascending, block by block."""
    W, degrees, position = graph.affinity, graph.degrees, inverse(order)
    own = order[backend.first : backend.last]
    lengths = np.diff(W.indptr)[own]
    m, kind = int(lengths.sum()), np.int32 if graph.n_nodes < 2**31 else np.int64
    entry = graph.dtype.itemsize + np.dtype(kind).itemsize
    require_memory(2 * entry * m, purpose=f"{own.size} rows of a graph", cure="add workers")
    columns, data = np.empty(m, dtype=kind), np.empty(m, dtype=graph.dtype)
    indptr = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    for start in range(0, own.size, _ROWS):
        nodes = own[start : start + _ROWS]
        rows = W[nodes]
        # the degree of each entry's column as of a column of its own: nothing is as long as the graph
        alone = sparse.csr_array((rows.data, np.arange(rows.nnz), rows.indptr), shape=(nodes.size, rows.nnz))
        values = normalized(alone, degrees[rows.indices], graph.dtype, of_rows=degrees[nodes]).data
        block = sparse.csr_array((values, position[rows.indices], rows.indptr), shape=rows.shape)
        block.sort_indices()
        part = slice(int(indptr[start]), int(indptr[start + nodes.size]))
        columns[part], data[part] = block.indices, block.data
    return sparse.csr_array((data, columns, indptr), shape=(own.size, graph.n_nodes))
