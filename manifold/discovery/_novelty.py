"""What labels do not account for: points of no known class, and labels that their surroundings deny.

    novelty_i = -max_j F_ij / sqrt(d_i)                   F = h(S) Y, a column a class: the mass that labels send
    support_i = (F_ic - K_ii) / sum_j (F_ij - [j = c] K_ii)     c the label of i, K = h(S): what all others say of it

Certainty, 1 - H(p_i) / log c, is no novelty: it is of shares, and a point that hardly anything reaches may be sure.
"""

from __future__ import annotations

import numpy as np

from manifold._typing import Floats, Ints
from manifold.backends import get_backend
from manifold.discovery._reach import BLOCK
from manifold.filters import Diffusion, Filter
from manifold.graph import Graph, check_graph
from manifold.index import StoredColumns
from manifold.labels.targets import Targets, encode
from manifold.ranking import unit_seeds
from manifold.solvers import ConjugateGradient, Solver, diffuse, get_solver

_DEFAULT_FILTER = Diffusion(0.9)
_RTOL = 1e-5  # of columns that are compared far from their seeds


@np.errstate(under="ignore")
def novelty(
    graph: Graph,
    labels: object,
    *,
    filter: Filter = _DEFAULT_FILTER,
    solver: str | Solver = "auto",
    unlabeled: object = -1,
    on_failure: str = "warn",
) -> Floats:
    """Return how little the known classes account for each point (n,): 0 where nothing of them arrives, else below.

    Reference: guide *notation*, "Own methods".

    Parameters
    ----------
    graph : Graph
        "sum" edges serve labels best.
    labels : (n,) array-like
        Classes of any kind; as `manifold.propagate` takes them.
    filter : Filter
    solver, unlabeled, on_failure
        See `manifold.propagate`.

    Returns
    -------
    (n,) float64
        -max_j F_ij / sqrt(d_i), a rank, not a probability.

    Raises
    ------
    ValueError, TypeError
        For labels that do not fit the graph, hold no labelled point, or are no classes.

    Notes
    -----
    Share of (new, known) pairs of unlabelled points in the right order, half of ten digits known by five labels each:
    .98, where certainty has .95. Photos of groceries of one visit, three of 81 classes hidden, half of the others
    labelled: .96; but of other shops .8, where known things look new, too.
    Cost: a column of a solve a class.

    Examples
    --------
    >>> from manifold import graph_from_affinity
    >>> path = graph_from_affinity(np.eye(5, k=1) + np.eye(5, k=-1))
    >>> novelty(path, [3, -1, -1, -1, -1]).argmax()
    np.int64(4)
    """
    targets = class_targets(labels, graph, unlabeled)
    F = diffuse(
        graph, targets.Y, filter=filter, solver=_label_solver(solver, graph, filter), on_failure=on_failure
    ).scores
    most = np.maximum(F.max(axis=1), 0).astype(np.float64)
    return np.asarray(-most * graph.scale(0.5) + 0.0)


def support(
    graph: Graph,
    labels: object,
    *,
    filter: Filter = _DEFAULT_FILTER,
    solver: str | Solver = "auto",
    unlabeled: object = -1,
    index: StoredColumns | None = None,
    on_failure: str = "warn",
) -> Floats:
    """Return, of what all others send to a labelled point, the share that agrees with its label (n,).

    The lowest are suspects: labels to look at first. A point's own seed is left out by its entry K_ii of h(S), so that
    it is what a propagation without its label says, for all points at once.

    Reference: guide *notation*, "Own methods".

    Parameters
    ----------
    graph, labels, filter, solver, unlabeled, on_failure
        See `novelty`.
    index : StoredColumns, optional
        Built for this graph and filter: K_ii is looked up instead of solved for.

    Returns
    -------
    (n,) float64 in [0, 1]
        NaN for points without a label, and where no other label arrives.

    Raises
    ------
    ValueError, TypeError
        As `novelty`; for an index of another graph or filter.

    Notes
    -----
    Of digits and photos of groceries with a tenth of the labels flipped, 99 in 100 pairs of a flipped and a right one
    stand in order; the plain share of neighbours that agree does as well where classes are far apart.
    Cost: a column of a solve a class, and, without an index, one a labelled point.

    Examples
    --------
    >>> from manifold import graph_from_affinity
    >>> cliques = graph_from_affinity(np.kron(np.eye(2), np.ones((4, 4)) - np.eye(4)))
    >>> support(cliques, ["a", "a", "a", "b", "b", "b", "b", "b"]).round(2).tolist()
    [0.67, 0.67, 0.67, 0.0, 1.0, 1.0, 1.0, 1.0]
    """
    targets = class_targets(labels, graph, unlabeled)
    settings = _label_solver(solver, graph, filter)
    solution = diffuse(graph, targets.Y, filter=filter, solver=settings, on_failure=on_failure)
    F = np.maximum(solution.scores.astype(np.float64), 0)
    labelled = np.flatnonzero(targets.labelled)
    own = targets.Y.tocsr()[labelled].toarray().argmax(axis=1)
    F = F[labelled]
    agreeing = F[np.arange(labelled.size), own] - _diagonal(
        graph, labelled, filter=filter, solver=settings, index=index
    )
    # what is left is rounding where no other label of the class arrives
    agreeing = np.where(agreeing > _RTOL * F[np.arange(labelled.size), own], agreeing, 0.0)
    F[np.arange(labelled.size), own] = agreeing
    total = F.sum(axis=1)
    found = np.full(graph.n_nodes, np.nan)
    found[labelled] = np.divide(agreeing, total, out=np.full(labelled.size, np.nan), where=total > 0)
    return found


def class_targets(labels: object, graph: Graph, unlabeled: object) -> Targets:
    """Return labels that are classes as columns; raise ValueError for soft ones, several a point, and numbers.

    >>> from manifold import graph_from_affinity
    >>> class_targets(["a", None], graph_from_affinity([[0, 1], [1, 0]]), -1).classes.tolist()
    ['a']
    """
    check_graph(graph)
    targets = encode(labels, graph.n_nodes, unlabeled=unlabeled)
    if targets.kind != "classes":
        raise ValueError(f"labels must be one class a point, got {targets.kind}: take the largest of soft labels")
    return targets


def _label_solver(solver: str | Solver, graph: Graph, filter: Filter) -> Solver:
    settings, _ = get_solver(solver, graph, filter)
    return ConjugateGradient(rtol=_RTOL) if solver == "auto" and isinstance(settings, ConjugateGradient) else settings


def _diagonal(graph: Graph, nodes: Ints, *, filter: Filter, solver: Solver, index: StoredColumns | None) -> Floats:
    """Return K_ii of some nodes: as an index holds them, or a block of unit columns at a time."""
    if index is not None:
        index.prepare(graph, filter, index.backend)
        ids, values, _, _ = index.held(nodes)
        own = ids == nodes[:, None]
        if not own.any(axis=1).all():
            first = nodes[~own.any(axis=1)][0]
            raise ValueError(
                f"index does not hold the entry of node {first} in its own column: build it with more entries"
            )
        return np.asarray(np.where(own, values, 0).max(axis=1), dtype=np.float64)
    found = np.empty(nodes.size)
    prepared = solver.prepare(graph, filter, get_backend("scipy"))
    for start in range(0, nodes.size, BLOCK):
        some = nodes[start : start + BLOCK]
        scores = prepared.solve(unit_seeds(some, graph.n_nodes)).scores
        found[start : start + some.size] = scores[some, np.arange(some.size)]
    return found
