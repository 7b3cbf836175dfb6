"""Columns of h(S) solved where they touch the graph, 16 near ones together, and cut to their largest entries.

In: a graph, a filter of one resolvent w / (1 - a x). Out: of each column what an index keeps, with tail and error.

With x an approximate column, r = w e_j - (I - a S) x its residual and v = sqrt(degree), S v <= v and (I - a S)^-1 >= 0
give

    |exact - x|  <=  max_i (|r_i| / v_i) v / (1 - a)

for every node, those that were not touched included, where x and r are 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

import numpy as np
from numpy.typing import DTypeLike
from scipy import sparse
from scipy.sparse.csgraph import reverse_cuthill_mckee

from manifold._typing import AnyArray, Floats, Ints
from manifold.backends.column_relaxation import WIDTH, ColumnRelaxation, Entries
from manifold.backends.near_groups import near_groups
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.index._column_solver import one_resolvent, stored_error

_SHARE = (
    2.0**-12
)  # of the least entry that is kept: an error that leaves all but a hundredth of certified lists certified
_FIRST = 1 / 64  # of w (1 - a) / degree: the first threshold, at which the least entry is learnt
_STEP = 2.0**-14  # at most this much of the last threshold
_AIMED = 0.85  # of what is small enough: the least entry that is kept grows, or falls, a little on the way
_MOST = 100  # passes over the graph, times 1 / sqrt(1 - a): more than rounding leaves to gain
_TINY = 1e-300
_SLACK = 1 + 1e-12  # more than the rounding of bounds


class LocalColumns:
    """Columns of h(S) by relaxation around their nodes; bits depend on neither threads nor what was solved before.

    Parameters
    ----------
    graph : Graph
    filter : Filter
        Of one resolvent, with a pole beyond 1.
    n_entries : int
        T, kept of each column.
    rtol : float
        Of w: errors below rtol w are small enough, whatever the least entry is.
    share : float
        Of the least entry that is kept: errors below it are small enough, too.
    order : (n,) int, optional
        Nodes, each 16 in a row near each other; by default found here.

    Attributes
    ----------
    order : (n,) int
        Each 16 nodes in a row are to be solved together.
    """

    width = WIDTH

    def __init__(
        self,
        graph: Graph,
        filter: Filter,
        *,
        n_entries: int,
        rtol: float,
        share: float = _SHARE,
        order: Ints | None = None,
    ) -> None:
        self.w, self.a = one_resolvent(filter)
        self.graph, self.k, self.rtol, self.share = graph, min(n_entries, graph.n_nodes), rtol, share
        degrees = graph.degrees
        self.roots: Floats = np.where(degrees > 0, np.sqrt(degrees), 1.0)
        self.sizes = np.bincount(graph.components, minlength=graph.n_components)
        self.order = self._groups() if order is None else order
        self.entries = Entries.of(graph.affinity, self.roots, a=self.a, order=self.order)
        self.widest: Floats = np.zeros(graph.n_components)  # the largest v of each component
        np.maximum.at(self.widest, graph.components, self.roots)
        self.budget = _MOST / np.sqrt(1 - self.a) * (graph.affinity.nnz + graph.n_nodes)
        self._free: SimpleQueue[ColumnRelaxation] = SimpleQueue()

    def most_memory(self) -> int:
        """Return the bytes that the solve of a group takes where it touches the whole graph.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> LocalColumns(graph_from_affinity([[0, 1], [1, 0]]), Diffusion(), n_entries=1, rtol=1e-8).most_memory()
        1488
        """
        each = 2 * self.width * 8 + 96  # x, r; of a node, and what is looked through for the largest
        return 2 * int(self.graph.n_nodes * each + self.graph.affinity.nnz * 20)

    def _groups(self) -> Ints:
        """Return the nodes (n,), each 16 in a row near each other."""
        W = self.graph.affinity
        narrow = type(W)((W.data, W.indices.astype(np.int32), W.indptr.astype(np.int32)), shape=W.shape)
        near = reverse_cuthill_mckee(narrow, symmetric_mode=True) if W.nnz < 2**31 else np.arange(W.shape[0])
        small = (self.sizes <= self.k)[self.graph.components[near]]  # they need no bound on what is left out
        return near_groups(W, np.concatenate([near[~small], near[small]]))

    def solve(self, nodes: Ints, *, dtype: DTypeLike) -> dict[str, AnyArray]:
        """Return the largest entries of the columns of at most 16 nodes, ids ascending, with their tails and errors.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
        >>> solver = LocalColumns(path, Diffusion(0.5), n_entries=2, rtol=1e-9)
        >>> kept = solver.solve(np.array([0]), dtype="float64")
        >>> kept["ids"].tolist(), kept["values"].round(4).tolist(), kept["tail"].round(4).tolist()
        ([[0, 1]], [[0.5833, 0.2357]], [0.0834])
        >>> bool(kept["error"][0] <= 0.24 / 4096)
        True
        """
        with self._workspace() as work:
            return self._cut(work, nodes, dtype)[0]

    def solve_whole(self, nodes: Ints, *, dtype: DTypeLike) -> tuple[dict[str, AnyArray], sparse.coo_array, Floats]:
        """Return what `solve` does, and all that was touched (n, q): no entry of column j is off by more than bound v.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
        >>> solver = LocalColumns(path, Diffusion(0.5), n_entries=2, rtol=1e-9)
        >>> solver.solve_whole(np.array([0]), dtype="float64")[1].toarray().round(4).ravel().tolist()
        [0.5833, 0.2357, 0.0833]
        """
        with self._workspace() as work:
            kept, bound = self._cut(work, nodes, dtype)
            x, met = np.maximum(work.x, 0), work.nodes  # exact columns are >= 0
        at = np.tile(met, nodes.size), np.repeat(np.arange(nodes.size), met.size)
        return kept, sparse.coo_array((x.ravel(), at), shape=(self.graph.n_nodes, nodes.size)), bound

    @contextmanager
    def _workspace(self) -> Iterator[ColumnRelaxation]:
        """Lend a workspace to this thread alone: one that is idle, or a new one."""
        try:
            work = self._free.get_nowait()
        except Empty:
            work = ColumnRelaxation(self.entries, a=self.a, w=self.w)
        try:
            yield work
        finally:
            self._free.put(work)

    def _cut(self, work: ColumnRelaxation, nodes: Ints, dtype: DTypeLike) -> tuple[dict[str, AnyArray], Floats]:
        """Relax until each entry is known well enough, and cut; return bounds on |exact - x| / v, too."""
        components = self.graph.components
        sizes, widest = self.sizes[components[nodes]], self.widest[components[nodes]]
        work.start(nodes)
        gap = 1 - self.a * (1 + 4 * work.rounding)  # S v <= v but for rounding
        inverse = _SLACK / gap if gap > 0 else np.inf
        roots, least = self.roots[nodes], np.zeros(nodes.size)
        eps = _FIRST * self.w * (1 - self.a) * roots / roots.max() ** 3  # what a node sends is in proportion to its v
        while True:
            ended = not work.relax(eps, budget=self.budget)
            bound = work.judge() * inverse
            found = work.largest(self.k, least=least, labels=components)
            error, unseen = bound * found.widest, bound * widest
            kth = found.values.min(axis=1, initial=np.inf, where=found.values > 0)
            enough = np.maximum(self.share * kth, self.rtol * self.w)
            missed = (found.n_found < np.minimum(self.k, sizes)) | (unseen > np.maximum(kth, self.rtol * self.w))
            short = np.where(missed, _STEP, np.clip(_AIMED * enough / np.maximum(error, _TINY), _STEP, 1))
            if ended or short.min() >= _AIMED or eps.max() <= work.rounding * self.w / roots.max():
                break
            eps, least = (
                eps * short * min(0.5 / float(short.min()), 1.0),
                np.where(found.n_found == self.k, kth / 2, 0.0),
            )
        # all that a column reaches is stored: all else is 0, exactly
        whole = (found.n_found == sizes) | (self.k == self.graph.n_nodes)
        error = np.where(found.n_labelled < np.minimum(self.k, sizes), np.maximum(error, unseen), error)
        tail = np.where(whole, 0.0, (found.beyond + unseen) * _SLACK)
        error = stored_error(error, dtype)
        return {"ids": found.ids, "values": found.values, "tail": tail, "error": error}, bound
