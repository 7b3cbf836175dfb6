"""The door of label propagation: a graph and a few labels in, a label and a certainty for every point out.

F = h(S) Y,   p_ij = F_ij / sum_k F_ik,   label_i = argmax_j p_ij,   certainty_i = 1 - H(p_i) / log c
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from os import PathLike

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from manifold._arrays import as_numbers
from manifold._checks import check_callback
from manifold._resources import at_most, require_memory
from manifold._typing import AnyArray, Mask
from manifold.backends import Backend, backend_for, on_host
from manifold.errors import warn
from manifold.filters import Diffusion, Filter
from manifold.graph import Graph
from manifold.labels._asked import (
    asked_graphs,
    class_shares,
    normalized,
    rows_of_shares,
    weighed,
    with_propagated_sizes,
)
from manifold.labels._averages import averages, moments
from manifold.labels._base import Method, Problem, label_means, rows_to_one
from manifold.labels._far import heard
from manifold.labels._methods import LocalGlobalConsistency, get_method
from manifold.labels.auto import Auto
from manifold.labels.balance import BALANCES
from manifold.labels.certainty import certainty
from manifold.labels.choice import Choice
from manifold.labels.result import Propagation
from manifold.labels.targets import Targets, encode
from manifold.neighbors import PointSet
from manifold.solvers import Checkpointed, ConjugateGradient, OnCluster, Solution, Solver, get_solver, report_failures
from manifold.solvers.base import Callback


def propagation_memory(graph: Graph, n_columns: int, *, method: str | Method = "auto", n_graphs: int = 1) -> int:
    """Return the bytes, at most, that propagating `n_columns` classes takes beside the graph.

    S with what forms and orders it (32 bytes an entry, and the entry twice), the block of conjugate gradients (6 blocks
    of up to 32 columns), and scores, distributions and what computes them (6 columns a class); in float64 but for
    "lgc". "auto" keeps two scores and one for each alpha on each of `n_graphs`, and has 8 blocks of 32 columns.

    Reference: guide *scale*, "How much memory, before you start".

    >>> from manifold import graph_from_affinity
    >>> propagation_memory(graph_from_affinity([[0, 1], [1, 0]]), 10, method="lgc")
    1040
    """
    chosen = get_method(method)
    entry, n = graph.dtype.itemsize if isinstance(chosen, LocalGlobalConsistency) else 8, graph.n_nodes
    more = n * (8 * n_columns * n_graphs * (2 + len(chosen.alphas)) + 2048) if isinstance(chosen, Auto) else 0
    return (32 + 2 * entry) * graph.n_entries + entry * n * (6 * min(n_columns, 32) + 6 * n_columns) + more


@np.errstate(under="ignore")  # far from labels scores and shares of classes are of any size down to nothing
def propagate(
    graph: Graph | Mapping[str, Graph],
    labels: object,
    *,
    method: str | Method = "auto",
    filter: Filter | None = None,
    solver: str | Solver = "auto",
    unlabeled: object = -1,
    kind: str = "auto",
    normalize_seeds: bool = True,
    balance: str | None = None,
    priors: str | ArrayLike = "estimated",
    classes: str | None = None,
    clamp: bool = True,
    sample_weight: ArrayLike | None = None,
    points: PointSet | None = None,
    x0: ArrayLike | None = None,
    backend: str | Backend = "auto",
    on_failure: str = "warn",
    callback: Callback | None = None,
    cluster: object = None,
    checkpoint: str | PathLike[str] | None = None,
) -> Propagation:
    """Propagate a few labels over a graph.

    Reference: Zhou et al. (2003a), section 2; Iscen et al. (2019), eq. 8; guide *labels*.

    Parameters
    ----------
    graph : Graph, or a mapping of names to graphs of the same points
        n nodes; "sum" edges serve labels best. Of several "auto" chooses, and the first is its default; other methods
        take one.
    labels : (n,) or (n, q) array-like
        Classes of any kind, soft labels, 0/1 indicators or real values. Where some classes may have no label at all,
        `manifold.discovery.new_classes` finds them first.
    method : str or Method
        A name in `manifold.labels.METHODS`, which means the defaults of its class, or the settings of one. "auto" is
        "lgc" with fewer than three labels a class; with more it mixes "lgc" and "harmonic" on each graph with nearest
        neighbours, as labels that are left out ask for it, calibrates, and says what it did in `Propagation.choice`.
    filter : Filter, optional
        h; by default ``Diffusion(0.95)``, beside which "auto" tries others. "harmonic" and "poisson" have a system
        of their own, and take none.
    solver : str or Solver
        See `manifold.diffuse`; "auto" solves far beyond what a ranking needs (rtol 1e-5), for the scores of points
        far from all labels are small.
    unlabeled : object
        The class that means "not labelled"; None and NaN always do.
    kind : {"auto", "classes", "soft", "multilabel", "values"}
        What `labels` are; "auto" takes (n,) for classes and (n, c) for soft labels.
    normalize_seeds : bool
        Whether the seeds of class j add up to its prior (uniform, in the code of Iscen et al.) or to its number of
        labels (as in their paper). With as many labels of each class it makes no difference; without, plain argmax
        follows the draw of the labels, and can fall below the nearest neighbour.
    balance : {None, "mass", "mean_shift", "sinkhorn"}
        What is done to the distributions of unlabelled points to meet the priors, see `manifold.labels.balance`.
    priors : "estimated", "uniform", "propagated" or (c,) array
        The share of each class. Estimated from the numbers of labels, shrunk towards uniform as far as these could be
        an accident of the draw, see `manifold.labels.estimated_priors`; or the shares of the labels that "lgc"
        propagates, for methods that hold class sizes ("ilpc", the two MBO) where nothing is known of these.
    classes : {None, "even"}
        "even" says that classes are known to be of one size: priors are uniform, and with one or two labels a class
        "auto" takes methods that hold class sizes. Where classes are not, these are much worse than "lgc".
    clamp : bool
        Whether labelled points keep the label given; without it a wrong one can be outvoted.
    sample_weight : (n,) array, optional
        How much each label counts, >= 0; 0 is no label: how sure annotators were, or how many of them said so.
    points : PointSet, optional
        The nodes as points, `manifold.neighbors.point_set(X, metric)`, for "auto" to compare with nearest neighbours.
    x0 : (n, c), optional
        ``scores`` of an earlier propagation of the same classes, on a graph that has changed a little; for methods
        that are one solve.
    backend, on_failure, callback, cluster, checkpoint
        See `manifold.diffuse`; a cluster solves for methods that diffuse, and "auto" tries candidates in this process.

    Returns
    -------
    Propagation

    Raises
    ------
    ValueError, TypeError
        For labels that do not fit the graph or their kind, or hold no labelled point; for unknown names.
    MemoryBudgetError
        Where the scores would not fit, see `propagation_memory`.

    Warns
    -----
    ManifoldWarning
        Where all labels are of one class, and, with the count, where points are not reached by any label.
    ConvergenceWarning
        With ``on_failure="warn"``.

    Notes
    -----
    Cost: one solve with a column a class, for "auto" one a candidate, see `manifold.labels.Auto`; O(n c) beside S.

    Examples
    --------
    >>> from manifold import graph_from_affinity
    >>> path = graph_from_affinity([[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    >>> result = propagate(path, [7, -1, -1, 9])
    >>> result.labels.tolist(), result.certainty.tolist()
    ([7, 7, 7, 9], [1.0, 1.0, 1.0, 1.0])
    """
    if balance not in (None, *BALANCES):
        raise ValueError(f"balance must be None or one of {tuple(BALANCES)}, got {balance!r}")
    check_callback(callback)
    chosen = get_method(method)
    graphs = asked_graphs(graph, chosen, points)
    name, first = next(iter(graphs.items()))
    arrays = backend_for(backend, {"labels": labels, "x0": x0})
    labels, start = on_host(labels, arrays), None if x0 is None else as_numbers(on_host(x0, arrays), "x0")
    targets = encode(labels, first.n_nodes, unlabeled=unlabeled, kind=kind)
    q = targets.Y.shape[1]
    needed = partial(propagation_memory, first, method=chosen, n_graphs=len(graphs))
    require_memory(needed(q), purpose=f"propagating {q} columns", cure=at_most("the columns at a time", q, needed))
    if averaging := targets.kind in ("multilabel", "values"):
        _check_averages(chosen, targets.kind, method=method, balance=balance)
    if not chosen.diffuses and (filter is not None or solver != "auto"):
        raise ValueError(f"method {method!r} has a system of its own: leave out filter and solver")
    # the one default of every door; methods with systems of their own never look at it
    h = filter or Diffusion()
    targets, weights = weighed(targets, sample_weight, chosen)
    given = moments(targets) if averaging else rows_of_shares(targets.Y)
    if start is not None and start.shape != given.shape:
        raise ValueError(f"x0 must have the shape {given.shape} of the scores, got {start.shape}")
    seeds = given if weights is None else sparse.csc_array(sparse.diags_array(weights) @ given)
    shares, known = class_shares("uniform" if averaging else priors, seeds, classes)
    problem = Problem(
        graph=first,
        given=given,
        seeds=normalized(seeds, shares) if normalize_seeds and not averaging else seeds,
        labelled=targets.labelled,
        priors=shares,
        filter=h,
        solver=_label_solver(solver, first, h, cluster=cluster, checkpoint=checkpoint),
        backend=arrays,
        callback=callback,
        signed=averaging,
        weights=weights,
        name=name,
        others={other: graphs[other] for other in graphs if other != name},
        points=points,
        sizes_are_known=known,
        clamp=clamp,
        filter_is_default=filter is None,
    )
    if isinstance(priors, str) and priors == "propagated" and not averaging:
        problem = with_propagated_sizes(problem)
    solution, choice = _solved(chosen, problem, start)
    report_failures(solution, on_failure)
    reached = _reached(problem, solution.scores, diffuses=chosen.diffuses)
    _warn_of_what_is_missing(reached, problem.in_labelled_component, targets)
    if averaging:
        made = _averaged(solution, reached, targets, clamp=clamp)
    else:
        made = _classified(solution, reached, targets, problem=problem, balance=balance)
    return replace(made, choice=choice)


def _reached(problem: Problem, scores: AnyArray, *, diffuses: bool) -> Mask:
    """Return to which points (n,) a label comes: one is in their component, and something of it is left."""
    reached = problem.in_labelled_component
    if problem.signed:
        return reached & heard(scores, signed=True)
    # a row of zeros, not one without a positive score: prices of class sizes are subtracted
    return reached & scores.any(axis=1) if diffuses else reached


def _check_averages(chosen: Method, kind: str, *, method: str | Method, balance: str | None) -> None:
    if not (chosen.averages and balance is None):
        raise ValueError(
            f"kind={kind!r} needs a method that averages, 'auto', 'lgc' or 'harmonic', and no balance, "
            f"got method={method!r}, balance={balance!r}"
        )


def _solved(method: Method, problem: Problem, x0: AnyArray | None) -> tuple[Solution, Choice | None]:
    return method.chosen(problem, x0=x0) if isinstance(method, Auto) else (method.solve(problem, x0=x0), None)


def _distributions(scores: AnyArray, problem: Problem, reached: Mask) -> AnyArray:
    """Return the positive part of scores (n, c) in rows of sum 1; uniform where no label reaches.

    A row that is reached without a positive score, where sources of Poisson learning cancel, or prices of class sizes
    exceed all that is there, is that of the labels of its component on the whole.
    """
    P = rows_to_one(scores)
    empty = np.flatnonzero(reached & ~P.any(axis=1))
    if empty.size:
        P[empty] = label_means(problem.seeds, problem.graph.components)[problem.graph.components[empty]]
    # never NaN, and never the first class
    P[~reached] = 1 / P.shape[1]
    return P


def _classified(
    solution: Solution, reached: Mask, targets: Targets, *, problem: Problem, balance: str | None
) -> Propagation:
    """Return what scores say of classes."""
    P = _distributions(solution.scores, problem, reached)
    if balance is not None:
        free = reached & ~targets.labelled
        P[free] = BALANCES[balance](P[free], problem.priors)
    if problem.clamp:  # after the balance: what was given is no estimate, and is not balanced
        P[targets.labelled] = problem.given.tocsr()[targets.labelled].toarray()
    return Propagation(
        labels=targets.names(np.where(reached, P.argmax(axis=1), -1)),
        distributions=P,
        certainty=certainty(P),
        reached=reached,
        labelled=targets.labelled,
        classes=targets.classes,
        solution=solution,
    )


def _averaged(solution: Solution, reached: Mask, targets: Targets, *, clamp: bool) -> Propagation:
    """Return what averages of the targets say, for targets that are numbers."""
    values, sure = averages(solution.scores, targets, reached)
    if clamp:
        values[targets.labelled], sure[targets.labelled] = targets.Y.tocsr()[targets.labelled].toarray(), 1
    if targets.kind == "multilabel":
        labels: AnyArray = np.where(reached[:, None], values >= 0.5, -1)
        P = values
    else:
        labels, P = values[:, 0] if targets.one_column else values, np.empty((reached.size, 0), values.dtype)
    return Propagation(labels, P, sure, reached, targets.labelled, targets.classes, solution)


def _label_solver(
    solver: str | Solver, graph: Graph, filter: Filter, *, cluster: object, checkpoint: str | PathLike[str] | None
) -> Solver:
    settings, _ = get_solver(solver, graph, filter)
    if solver == "auto" and isinstance(settings, ConjugateGradient):
        settings = ConjugateGradient(rtol=1e-5)
    settings = settings if cluster is None else OnCluster(settings, cluster)
    return settings if checkpoint is None else Checkpointed(settings, checkpoint)


def _warn_of_what_is_missing(reached: Mask, in_component: Mask, targets: Targets) -> None:
    if targets.classes.size == 1 and targets.kind == "classes":
        warn(f"all labels are of one class, {targets.classes[0]}: every point that is reached gets it")
    cures = (
        (~in_component, "label a point of each component, or build the graph with more neighbours or bridges"),
        (in_component & ~reached, "the labels of their component are too far away; label a point near them"),
    )
    for missed, cure in cures:
        if missed.any():
            warn(
                f"{np.count_nonzero(missed)} of {reached.size} points are not reached by any label (first: "
                f"{np.flatnonzero(missed)[0]}): they get {targets.missing!r}, the uniform distribution and certainty "
                f"0; {cure}"
            )
