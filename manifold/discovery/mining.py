"""Mining on manifolds: near in the graph but far in features, and the other way round, for every anchor.

E_k(a) the k most similar items, M_k(a) the k largest scores of f = h(S) e_a, the anchor in neither:

    S+ = M \\ E   what a metric should bring nearer        S- = E \\ M   what it should push away
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifold._checks import check_can, check_count
from manifold._progress import Progress, shown
from manifold._typing import AnyArray, Floats, Ints, Mask
from manifold.backends import Backend, get_backend
from manifold.discovery._mined import Mined
from manifold.discovery._pool import in_order
from manifold.discovery._reach import Reach, check_nodes, exact_solver, reached, solver_for
from manifold.filters import Diffusion, Filter
from manifold.graph import Graph, check_graph
from manifold.neighbors import Neighbors
from manifold.ranking import unit_seeds
from manifold.solvers import Prepared, Solution, Solver, merge_reports, report_failures, updated_report

_DEFAULT_FILTER = Diffusion(0.99)


def mine(
    graph: Graph,
    neighbors: Neighbors,
    anchors: object = None,
    *,
    n_positive: int = 50,
    n_negative: int = 100,
    pool: int = 50,
    filter: Filter = _DEFAULT_FILTER,
    solver: str | Solver = "cg",
    certify: bool = False,
    backend: str | Backend = "scipy",
    on_failure: str = "warn",
    progress: Progress | bool | None = None,
) -> Mined:
    """Mine hard positives and hard negatives from a graph, without labels.

        S+ = M_n_positive \\ E_n_positive,   S- = E_n_negative \\ M_n_negative

    Positives come by falling score, negatives by falling similarity, at most `pool` of each.

    Reference: Iscen et al. (2018b), section 3.

    Parameters
    ----------
    graph : Graph
        n nodes.
    neighbors : Neighbors
        Lists over the same nodes, by which items are near each other: at least max(n_positive, n_negative) wide.
    anchors : (a,) int, optional
        Nodes; by default all. `manifold.discovery.graph_modes` are those of the paper.
    n_positive : int
        Below the size of a class: beyond it, what is far in the graph comes in (of photos of groceries, 65 a class,
        68 % of S+ are of the anchor's class with 20, 44 % with 50).
    n_negative : int
        Above the size of a class: else S- is of the anchor's own. No method that sees no labels can tell.
    pool : int
    filter : Filter
        h; 0.99 in the paper.
    solver : str or Solver
        See `manifold.diffuse`; "cg" solves to a relative residual of 1e-4, which decides most members.
    certify : bool
        Solve anchors with members that are not proved again, in float64 to 1e-8. What stays open then is a tie.
    backend, on_failure
        See `manifold.diffuse`.
    progress : bool or callable(done, total), optional
        Shown the anchors that are done.

    Returns
    -------
    Mined
        Weights are scores f; certificates are proofs by error bounds that a member is in the exact M, or not in it.

    Raises
    ------
    ValueError, TypeError
        For lists of other nodes, or too few of them; for anchors that are no nodes, or repeat.

    Notes
    -----
    Cost: one column of a solve an anchor, 64 at a time; memory 64 n scores. Only scores above 0 are positives: what
    the anchor does not reach never fills a list up. `Mined.empty` names the anchors with an empty pool.

    Examples
    --------
    >>> from manifold import find_neighbors, graph_from_affinity
    >>> rows = np.array([[0.5 * i, 1.1 * j] for j in range(2) for i in range(6)])  # two rows of six points
    >>> steps = np.arange(11) != 5
    >>> two_paths = graph_from_affinity(np.diag(steps, 1) + np.diag(steps, -1)).astype("float64")
    >>> mined = mine(two_paths, find_neighbors(rows, 11, metric="euclidean"), [0], n_positive=4, n_negative=4)
    >>> mined.positives.of(0).tolist(), mined.negatives.of(0).tolist()
    ([3, 4], [6, 7])
    """
    widest = max(check_count(n_positive, "n_positive"), check_count(n_negative, "n_negative"))
    nodes = _anchors(anchors, graph, neighbors, widest=widest)
    lists = _Lists(neighbors, n_positive, n_negative)
    limit, device = check_count(pool, "pool"), get_backend(backend)
    prepared = solver_for(solver, graph, filter).prepare(graph, filter, device)
    with shown(progress, "mining") as report:
        found = _mined(prepared, graph, nodes, lists=lists, filter=filter, backend=device, progress=report)
    if certify and not found.decided.all():
        open_ = np.flatnonzero(~found.decided)
        exact = graph.astype(np.float64)
        prepared = exact_solver(exact, filter).prepare(exact, filter, device)
        finer = _mined(prepared, exact, nodes[open_], lists=lists, filter=filter, backend=device)
        found = found.updated(finer, open_)
    report_failures(found.report, on_failure)
    positives, negatives = (
        in_order(part.owners, part.ids, n_anchors=nodes.size, limit=limit, columns=part.columns)
        for part in (found.positives, found.negatives)
    )
    return Mined(nodes, positives, negatives, found.report)


@dataclass(frozen=True)
class _Lists:
    """Who is near whom by similarity, and how many of them count."""

    neighbors: Neighbors
    n_positive: int
    n_negative: int


@dataclass(frozen=True)
class _Members:
    """Members in the order of their anchors, best first."""

    owners: Ints
    ids: Ints
    columns: tuple[Floats, Floats, Mask]  # weights, similarities, certificates


@dataclass(frozen=True)
class _Found:
    positives: _Members
    negatives: _Members
    decided: Mask  # of each anchor, whether all members are proved
    report: Solution

    def updated(self, finer: _Found, at: Ints) -> _Found:
        """Return these pools with those of the anchors `at` replaced."""

        def joined(old: _Members, new: _Members) -> _Members:
            kept = ~np.isin(old.owners, at)
            weights, similarities, proved = old.columns
            rest = _Members(old.owners[kept], old.ids[kept], (weights[kept], similarities[kept], proved[kept]))
            return _together([rest, _Members(at[new.owners], new.ids, new.columns)])

        decided = self.decided.copy()
        decided[at] = finer.decided
        return _Found(
            joined(self.positives, finer.positives),
            joined(self.negatives, finer.negatives),
            decided,
            updated_report(self.report, finer.report, at),
        )


def _mined(
    prepared: Prepared,
    graph: Graph,
    nodes: Ints,
    *,
    lists: _Lists,
    filter: Filter,
    backend: Backend,
    progress: Progress | None = None,
) -> _Found:
    """Solve for the anchors, and set their lists by score and by similarity off against one another."""
    positives, negatives, reports = [], [], []
    seeds = unit_seeds(nodes, graph.n_nodes)
    k = max(lists.n_positive, lists.n_negative)
    found = reached(prepared, seeds, graph=graph, filter=filter, backend=backend, k=k, own=nodes)
    for reach, report in found:
        reports.append(report)
        positives.append(_positives(reach, nodes, lists))
        negatives.append(_negatives(reach, nodes, lists))
        if progress is not None:
            progress(int(reach.columns[-1]) + 1, nodes.size)
    near, far = _together(positives), _together(negatives)
    decided = np.ones(nodes.size, dtype=bool)
    for side in (near, far):
        decided[side.owners[~side.columns[2]]] = False
    return _Found(near, far, decided, merge_reports(reports))


def _positives(reach: Reach, nodes: Ints, lists: _Lists) -> _Members:
    k, place = lists.n_positive, np.arange(reach.columns.size)
    own = nodes[reach.columns]
    near, similarities = (part[own] for part in (lists.neighbors.indices, lists.neighbors.similarities))
    # a pair of an anchor's place and a node as one number, so that a block is looked up at once
    listed = np.where(near >= 0, near + place[:, None] * np.int64(len(lists.neighbors)), -1).ravel()
    asked = reach.rows + place[:, None] * np.int64(len(lists.neighbors))
    order = np.argsort(listed, kind="stable")
    at = np.minimum(np.searchsorted(listed, asked, sorter=order), max(listed.size - 1, 0))
    found = order[at] if listed.size else np.zeros(asked.shape, dtype=np.int64)
    is_listed = (listed[found] == asked) if listed.size else np.zeros(asked.shape, dtype=bool)
    among = is_listed & (found % near.shape[1] < k)
    kept = reach.members(k) & ~among & (reach.values > 0)
    values = np.where(is_listed, similarities.ravel()[found], np.nan)
    proved = reach.surely_in(reach.values, k=k, place=place)
    return _picked(kept, reach, ids=reach.rows, weights=reach.values, similarities=values, proved=proved)


def _negatives(reach: Reach, nodes: Ints, lists: _Lists) -> _Members:
    k, place = lists.n_negative, np.arange(reach.columns.size)
    own = nodes[reach.columns]
    near = lists.neighbors.indices[own, :k].astype(np.int64)
    scores = reach.at(near, place)
    kept = (near >= 0) & ~reach.belongs(near, scores, k=k, place=place)
    proved = reach.surely_out(scores, k=k, place=place)
    similarities = lists.neighbors.similarities[own, :k]
    return _picked(kept, reach, ids=near, weights=np.maximum(scores, 0), similarities=similarities, proved=proved)


def _picked(kept: Mask, reach: Reach, *, ids: Ints, weights: Floats, similarities: AnyArray, proved: Mask) -> _Members:
    owners = np.broadcast_to(reach.columns[:, None], kept.shape)[kept]
    return _Members(owners, ids[kept], (weights[kept], similarities[kept].astype(np.float64), proved[kept]))


def _together(parts: list[_Members]) -> _Members:
    nothing = np.empty(0, dtype=np.int64)
    parts = [_Members(nothing, nothing, (np.empty(0), np.empty(0), np.empty(0, dtype=bool))), *parts]
    columns = zip(*(part.columns for part in parts), strict=True)
    weights, similarities, proved = (np.concatenate(column) for column in columns)
    owners, ids = (np.concatenate([getattr(part, name) for part in parts]) for name in ("owners", "ids"))
    return _Members(owners, ids, (weights, similarities, proved))


def _anchors(anchors: object, graph: Graph, neighbors: Neighbors, *, widest: int) -> Ints:
    """Return the nodes to mine for, checked with the lists they are mined from."""
    check_graph(graph)
    check_can(neighbors, "n_neighbors", "similarities", name="neighbors", a="Neighbors of find_neighbors(X)")
    n = graph.n_nodes
    if neighbors.n_nodes != n:
        raise ValueError(f"neighbors are lists of {neighbors.n_nodes} points, the graph has {n} nodes")
    if neighbors.n_neighbors < min(widest, n - 1):
        raise ValueError(
            f"neighbors hold {neighbors.n_neighbors} for each point, but n_positive and n_negative ask for {widest}: "
            f"find_neighbors(X, {widest})"
        )
    return np.arange(n) if anchors is None else check_nodes(anchors, n, "anchors")
