"""Clusters of a collection: one for each mode of its graph, every node to the mode that reaches it best.

    label_i = argmax_j F_ij,   F = h(S) Y,   Y a unit column for each mode

With e_j the error bound of column j a label is proved where its score less e is above all others plus theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from manifold._checks import check_count
from manifold._progress import Progress, shown
from manifold._typing import Floats, Ints, Mask
from manifold.backends import Backend, get_backend
from manifold.discovery._local_reach import serves
from manifold.discovery._nearby import best_of_modes
from manifold.discovery._reach import BLOCK, check_nodes, exact_solver, solver_for
from manifold.filters import Diffusion, Filter
from manifold.graph import Graph, check_graph
from manifold.graph.modes import graph_modes
from manifold.ranking import unit_seeds
from manifold.solvers import Prepared, Solution, Solver, merge_reports, report_failures

_DEFAULT_FILTER = Diffusion(0.9)
_KEPT = 0.8  # of the clusters, where fewer are asked for: all at once would drop whole regions
_MOST_HOPS = 30


@dataclass(frozen=True, eq=False)
class Clusters:
    """A cluster for each mode, and what is known of each node.

    Reference: Iscen et al. (2018b), section 3.3, for modes; guide *notation*, "Own methods".

    Attributes
    ----------
    labels : (n,) int64
        The cluster 0..m-1 of each node; -1 where no mode is reached.
    modes : (m,) int64
        The node that each cluster stands for: its prototype.
    scores : (n,) float64
        F of the node's own cluster.
    margins : (n,) float64
        How far that is above the next cluster.
    certified : (n,) bool
        Whether bounds prove that no other cluster has as large a score.
    diagnostics : Solution
        The verdict on each column; no scores.

    Examples
    --------
    >>> from manifold import graph_from_affinity
    >>> found = cluster(graph_from_affinity(np.kron(np.eye(2), [[0, 1, 1], [1, 0, 1], [1, 1, 0]])))
    >>> found
    Clusters: 6 nodes in 2 clusters of 3..3 (median 3), 0 in none, 100% certified
    """

    labels: Ints
    modes: Ints
    scores: Floats
    margins: Floats
    certified: Mask
    diagnostics: Solution

    def __len__(self) -> int:
        return self.modes.size

    def __repr__(self) -> str:
        sizes, inside = self.sizes, self.labels >= 0
        spread = f" of {sizes.min():,}..{sizes.max():,} (median {int(np.median(sizes)):,})" if sizes.size else ""
        share = self.certified[inside].mean() if inside.any() else 0.0
        return (
            f"Clusters: {self.labels.size:,} nodes in {len(self):,} clusters{spread}, "
            f"{np.count_nonzero(~inside):,} in none, {share:.0%} certified"
        )

    @property
    def sizes(self) -> Ints:
        """Nodes of each cluster (m,).

        >>> from manifold import graph_from_affinity
        >>> cluster(graph_from_affinity([[0, 1, 0], [1, 0, 0], [0, 0, 0]])).sizes.tolist()
        [2]
        """
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self))

    def members(self, cluster: int, n: int | None = None) -> Ints:
        """Return the nodes of one cluster by falling score, the n first or all: a summary of it begins with its mode.

        >>> from manifold import graph_from_affinity
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
        >>> cluster_of_three = cluster(path)
        >>> cluster_of_three.members(0, n=2).tolist()
        [1, 0]
        """
        inside = np.flatnonzero(self.labels == cluster)
        own = inside == self.modes[cluster]
        return inside[np.lexsort((inside, -self.scores[inside], ~own))][:n]


def cluster(
    graph: Graph,
    modes: object = None,
    *,
    n_clusters: int | None = None,
    hops: int = 3,
    filter: Filter = _DEFAULT_FILTER,
    solver: str | Solver = "cg",
    certify: bool = False,
    backend: str | Backend = "scipy",
    on_failure: str = "warn",
    progress: Progress | bool | None = None,
) -> Clusters:
    """Cluster the nodes of a graph by its modes; how many there are is found.

    Reference: Iscen et al. (2018b), section 3.3, for modes; guide *notation*, "Own methods", for what is proved.

    Parameters
    ----------
    graph : Graph
    modes : (m,) int, optional
        Nodes that clusters are made of; by default `graph_modes` within `hops`.
    n_clusters : int, optional
        Ask for so many: of modes within as many hops as leave twice as many, those of the smallest clusters are
        dropped, a fifth at a time. Components without a mode are then in no cluster: a graph of more neighbours
        joins them.
    hops : int
        More of them find fewer clusters: of 1,797 digits, 33 with 2, 23 with 3.
    filter : Filter
        0.99 follows manifolds further (NMI on the digits .85 against .83), and 0.9 proves more.
    solver : str or Solver
        See `manifold.diffuse`; "cg" solves to a relative residual of 1e-4.
    certify : bool
        Solve again in float64, to 1e-8, where labels are open; to 1e-7 on large graphs.
    backend, on_failure, progress
        See `manifold.discovery.mine`.

    Returns
    -------
    Clusters

    Raises
    ------
    ValueError, TypeError
        For modes that are no nodes or repeat; for `modes` and `n_clusters` together; for more clusters than modes.

    Notes
    -----
    Cost: a column of a solve a mode, 64 at a time, of which the two best scores of each node are kept; with
    `n_clusters` five times as many at most. On graphs of 20,000 nodes and more, up to alpha 0.95, what each mode
    touches: 6,879 clusters of a million windows of photos in 33 s of one core and 0.5 GiB, 99 % proved.

    Examples
    --------
    >>> from manifold import graph_from_affinity
    >>> cliques = np.kron(np.eye(2), np.ones((5, 5)))
    >>> cliques[4, 5] = cliques[5, 4] = 0.1
    >>> found = cluster(graph_from_affinity(cliques * (1 - np.eye(10))), [0, 9], certify=True)
    >>> found.labels.tolist(), found.certified.all()
    ([0, 0, 0, 0, 0, 1, 1, 1, 1, 1], np.True_)
    """
    check_graph(graph)
    if modes is not None and n_clusters is not None:
        raise ValueError("modes are given: leave n_clusters out, or the modes")
    device = get_backend(backend)
    with shown(progress, "clusters") as report:
        near = isinstance(solver, str) and solver in ("auto", "cg") and serves(graph, filter, device)
        run = _Run(graph, solver_for(solver, graph, filter), filter, device, near=near, progress=report)
        if modes is not None:
            best = run.best_two(check_nodes(modes, graph.n_nodes, "modes"))
        elif n_clusters is not None:
            best = run.fewer(_enough(graph, check_count(n_clusters, "n_clusters")), n_clusters)
        else:
            best = run.best_two(graph_modes(graph, hops=hops))
        if certify and not best.certified.all():
            exact = graph.astype(np.float64)
            solver = exact_solver(exact, filter)
            best = _Run(exact, solver, filter, device, near=near, exact=True, progress=report).best_two(best.modes)
    report_failures(best.diagnostics, on_failure)
    return best


@dataclass(frozen=True)
class _Run:
    """How modes are solved for, and who is told how far that is."""

    graph: Graph
    solver: Solver
    filter: Filter
    backend: Backend
    near: bool = False  # walks stay near their modes: each is solved for where it is
    exact: bool = False
    progress: Progress | None = None

    @cached_property
    def prepared(self) -> Prepared:
        """The solver for all nodes at once: made where it is used, and once."""
        return self.solver.prepare(self.graph, self.filter, self.backend)

    def fewer(self, modes: Ints, n_clusters: int) -> Clusters:
        """Drop the smallest fifth of the clusters, whose nodes go to others, until as many are left as asked for."""
        best = self.best_two(modes)
        while len(best) > n_clusters:
            n_kept = max(n_clusters, int(len(best) * _KEPT))
            largest = np.lexsort((np.arange(len(best)), -best.sizes))[:n_kept]
            best = self.best_two(best.modes[np.sort(largest)])
        return best

    def best_two(self, modes: Ints) -> Clusters:
        """Solve for the modes, a block at a time, and keep of each node the best score and the best of all others."""
        n = self.graph.n_nodes
        if self.near:
            contest, proved, report = best_of_modes(
                self.graph,
                modes,
                filter=self.filter,
                backend=self.backend,
                exact=self.exact,
                progress=self.progress,
            )
            margins = contest.score - contest.second
            return Clusters(contest.label, modes, contest.score, margins, proved, report)
        label, score, margin_from = np.full(n, -1), np.zeros(n), np.zeros(n)
        error, others = np.zeros(n), np.zeros(n)  # of the best score; upper bound of all others, 0 where nothing comes
        every, reports = np.arange(n), []
        for start in range(0, modes.size, BLOCK):
            columns = np.arange(start, min(start + BLOCK, modes.size))
            solution = self.prepared.solve(unit_seeds(modes[columns], n))
            F = np.maximum(self.backend.to_host(solution.scores), 0).astype(np.float64)
            e = np.where(np.isnan(solution.error_bound), np.inf, solution.error_bound)
            reached = self.graph.components[:, None] == self.graph.components[modes[columns]]
            upper = np.where(reached, F + e, 0.0)
            here = F.argmax(axis=1)
            value, most = F[every, here], upper[every, here]
            F[every, here] = upper[every, here] = 0
            better = value > score
            # the loser of the two is one of the others from here on
            others = np.maximum.reduce([others, upper.max(axis=1), np.where(better, score + error, most)])
            margin_from = np.maximum.reduce([margin_from, F.max(axis=1), np.minimum(score, value)])
            label, error = np.where(better, columns[here], label), np.where(better, e[here], error)
            score = np.maximum(score, value)
            reports.append(replace(solution, scores=np.empty(0)))
            if self.progress is not None:
                self.progress(int(columns[-1]) + 1, modes.size)
        certified = (label >= 0) & (score - error > others)
        return Clusters(label, modes, score, score - margin_from, certified, merge_reports(reports))


def _enough(graph: Graph, n_clusters: int) -> Ints:
    """Return the modes within as many hops as leave twice as many, or all."""
    found = graph_modes(graph, hops=1)
    if found.size < n_clusters:
        raise ValueError(f"n_clusters={n_clusters}, but the graph has {found.size} modes: pass modes of your own")
    for hops in range(2, _MOST_HOPS):
        fewer = graph_modes(graph, hops=hops)
        if fewer.size < 2 * n_clusters:  # the strongest are not the largest: there must be some to drop
            break
        found = fewer
    return found
