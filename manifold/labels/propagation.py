"""The door of label propagation: a graph and a few labels in, a label and a certainty for every point out.

F = h(S) Y,   p_ij = F_ij / sum_k F_ik,   label_i = argmax_j p_ij,   certainty_i = 1 - H(p_i) / log c
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from manifold._arrays import as_numbers
from manifold._resources import at_most, require_memory
from manifold._typing import AnyArray, Floats, Mask
from manifold.backends import Backend, backend_for, on_host
from manifold.errors import warn
from manifold.filters import Diffusion, Filter
from manifold.graph import Graph
from manifold.labels._averages import averages, moments
from manifold.labels._base import Method, Problem, label_means, rows_to_one
from manifold.labels._far import heard
from manifold.labels._methods import LocalGlobalConsistency, get_method
from manifold.labels.balance import BALANCES, check_priors, estimated_priors
from manifold.labels.certainty import certainty
from manifold.labels.result import Propagation
from manifold.labels.targets import Targets, encode
from manifold.solvers import ConjugateGradient, Solution, Solver, get_solver, report_failures
from manifold.solvers.base import Callback


def propagation_memory(graph: Graph, n_columns: int, *, method: str | Method = "lgc") -> int:
    """Return the bytes, at most, that propagating `n_columns` classes takes beside the graph.

    S with what forms and orders it (32 bytes an entry, and the entry twice), the block of conjugate gradients (6 blocks
    of up to 32 columns), and scores, distributions and what computes them (4 columns a class); in float64 but for
    "lgc".

    >>> from manifold import graph_from_affinity
    >>> propagation_memory(graph_from_affinity([[0, 1], [1, 0]]), 10)
    880
    """
    diffusion = isinstance(get_method(method), LocalGlobalConsistency)
    entry, n = graph.dtype.itemsize if diffusion else 8, graph.n_nodes
    return (32 + 2 * entry) * int(graph.affinity.nnz) + entry * n * (6 * min(n_columns, 32) + 4 * n_columns)


@np.errstate(under="ignore")  # far from labels scores and shares of classes are of any size down to nothing
def propagate(
    graph: Graph,
    labels: object,
    *,
    method: str | Method = "lgc",
    filter: Filter | None = None,
    solver: str | Solver = "auto",
    unlabeled: object = -1,
    kind: str = "auto",
    normalize_seeds: bool = True,
    balance: str | None = None,
    priors: str | ArrayLike = "estimated",
    clamp: bool = True,
    x0: ArrayLike | None = None,
    backend: str | Backend = "auto",
    on_failure: str = "warn",
    callback: Callback | None = None,
) -> Propagation:
    """Propagate a few labels over a graph.

    Parameters
    ----------
    graph : Graph
        n nodes; "sum" edges serve labels best.
    labels : (n,) or (n, q) array-like
        Classes of any kind, soft labels, 0/1 indicators or real values.
    method : str or Method
        A name in `manifold.labels.METHODS`, which means the defaults of its class, or the settings of one. With one to
        five labels a class, and classes of known `priors`, the two MBO are best.
    filter : Filter, optional
        h; by default ``Diffusion(0.95)``. "harmonic" and "poisson" have a system of their own, and take none.
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
    priors : "estimated", "uniform" or (c,) array
        The share of each class. Estimated from the numbers of labels, shrunk towards uniform as far as these could be
        an accident of the draw, see `manifold.labels.estimated_priors`.
    clamp : bool
        Whether labelled points keep the label given; without it a wrong one can be outvoted.
    x0 : (n, c), optional
        ``scores`` of an earlier propagation of the same classes, on a graph that has changed a little.
    backend, on_failure, callback
        See `manifold.diffuse`.

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
    Cost: one solve with a column a class; memory O(n c) beside S.

    References
    ----------
    Zhou, Bousquet, Lal, Weston and Schölkopf, "Learning with local and global consistency", NIPS 2003.
    Iscen, Tolias, Avrithis and Chum, "Label propagation for deep semi-supervised learning", CVPR 2019.

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
    if not isinstance(graph, Graph):
        raise TypeError(f"graph must be a Graph, got {type(graph).__name__}: manifold.build_graph(X, edges='sum')")
    arrays = backend_for(backend, {"labels": labels, "x0": x0})
    labels, start = on_host(labels, arrays), None if x0 is None else as_numbers(on_host(x0, arrays), "x0")
    targets = encode(labels, graph.n_nodes, unlabeled=unlabeled, kind=kind)
    q = targets.Y.shape[1]
    chosen = get_method(method)
    needed = partial(propagation_memory, graph, method=chosen)
    require_memory(needed(q), purpose=f"propagating {q} columns", cure=at_most("the columns at a time", q, needed))
    averaging = targets.kind in ("multilabel", "values")
    if averaging and not (chosen.averages and balance is None):
        raise ValueError(
            f"kind={targets.kind!r} needs a method that averages, 'lgc' or 'harmonic', and no balance, "
            f"got method={method!r}, balance={balance!r}"
        )
    if not chosen.diffuses and (filter is not None or solver != "auto"):
        raise ValueError(f"method {method!r} has a system of its own: leave out filter and solver")
    # the one default of every door; methods with systems of their own never look at it
    h = filter or Diffusion()
    given = moments(targets) if averaging else _shares(targets.Y)
    if start is not None and start.shape != given.shape:
        raise ValueError(f"x0 must have the shape {given.shape} of the scores, got {start.shape}")
    shares = _priors("uniform" if averaging else priors, given)
    problem = Problem(
        graph=graph,
        given=given,
        seeds=_normalized(given, shares) if normalize_seeds and not averaging else given,
        labelled=targets.labelled,
        priors=shares,
        filter=h,
        solver=_label_solver(solver, graph, h),
        backend=arrays,
        callback=callback,
        signed=averaging,
    )
    solution = chosen.solve(problem, x0=start)
    report_failures(solution, on_failure)
    reached = problem.in_labelled_component
    if averaging:
        reached = reached & heard(solution.scores, signed=True)
    elif chosen.diffuses:  # a row of zeros, not one without a positive score: prices of class sizes are subtracted
        reached = reached & solution.scores.any(axis=1)
    _warn_of_what_is_missing(reached, problem.in_labelled_component, targets)
    if averaging:
        return _averaged(solution, reached, targets, clamp=clamp)
    P = _distributions(solution.scores, problem, reached)
    if balance is not None:
        free = reached & ~targets.labelled
        P[free] = BALANCES[balance](P[free], shares)
    # after the balance: what was given is no estimate, and is not balanced
    if clamp:
        P[targets.labelled] = given.tocsr()[targets.labelled].toarray()
    return Propagation(
        labels=targets.names(np.where(reached, P.argmax(axis=1), -1)),
        distributions=P,
        certainty=certainty(P),
        reached=reached,
        labelled=targets.labelled,
        classes=targets.classes,
        solution=solution,
    )


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


def _priors(priors: str | ArrayLike, given: sparse.csc_array) -> Floats:
    c = given.shape[1]
    if not isinstance(priors, str):
        return check_priors(priors, c)
    if priors not in ("estimated", "uniform"):
        raise ValueError(f"priors must be 'estimated', 'uniform' or an array ({c},), got {priors!r}")
    return estimated_priors(given.sum(axis=0)) if priors == "estimated" else np.full(c, 1 / c)


def _shares(Y: sparse.csc_array) -> sparse.csc_array:
    """Return soft labels in rows of sum 1, of any size: by a power of two first, which is exact."""
    largest = Y.max(axis=1).toarray()
    Y = sparse.csc_array((np.ldexp(Y.data, -np.frexp(largest)[1][Y.indices]), Y.indices, Y.indptr), shape=Y.shape)
    mass = Y.sum(axis=1)
    return sparse.csc_array(Y * np.divide(1, mass, out=np.zeros_like(mass), where=mass > 0)[:, None])


def _normalized(Y: sparse.csc_array, priors: Floats) -> sparse.csc_array:
    """Return seeds whose columns add up to their priors, at the scale of Y; a class without seeds stays empty."""
    sums = Y.sum(axis=0)
    factors = np.divide(sums.sum() * priors, sums, out=np.zeros_like(priors), where=sums > 0)
    return sparse.csc_array(Y * factors[None, :])


def _label_solver(solver: str | Solver, graph: Graph, filter: Filter) -> Solver:
    settings, _ = get_solver(solver, graph, filter)
    return ConjugateGradient(rtol=1e-5) if solver == "auto" and isinstance(settings, ConjugateGradient) else settings


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
