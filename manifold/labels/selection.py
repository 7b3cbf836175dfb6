"""Which points to label next: a graph and the points that have labels in, the ids of those worth asking about out."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from manifold._arrays import as_array, as_numbers, as_table
from manifold._checks import check_count, generator, read_features
from manifold._typing import AnyArray, Floats, Ints, Mask, RandomState
from manifold.backends import get_backend
from manifold.errors import ManifoldDeprecationWarning, warn
from manifold.filters import Diffusion, Filter
from manifold.graph import Graph
from manifold.labels.certainty import certainty
from manifold.solvers import Solver, get_solver, report_failures

STRATEGIES = ("margin", "jlp", "coreset", "entropy", "random")
_DEFAULT_FILTER = Diffusion(0.99)


def select(
    graph: Graph,
    labelled: ArrayLike,
    budget: int,
    *,
    strategy: str | None = None,
    features: ArrayLike | None = None,
    distributions: ArrayLike | None = None,
    filter: Filter = _DEFAULT_FILTER,
    solver: str | Solver = "auto",
    random_state: RandomState = None,
    method: str | None = None,
) -> Ints:
    """Choose the points whose labels would help most.

    Reference: Scheffer et al. (2001), for the margin; Siméoni et al. (2020), for jlp; Sener and Savarese (2018),
    algorithm 1.

    Parameters
    ----------
    graph : Graph
        n nodes.
    labelled : (m,) ids, or (n,) bool array
        Points that have labels; may be empty for "jlp", "coreset" and "random".
    budget : int
        How many more to choose.
    strategy : {"margin", "jlp", "coreset", "entropy", "random"}
        By default "margin" where `distributions` are given, and "jlp" where they are not.
        ``"margin"``: the rows of `distributions` whose two largest probabilities are nearest to each other.
        ``"jlp"``: the point that the labels reach least, f = h(S) 1_labelled, again and again, each choice joining
        the labels. ``"coreset"``: the point of `features` farthest from its nearest labelled one, again and
        again. ``"entropy"``: the least certain rows of `distributions`. ``"random"``: any.
        Ties go to the larger degree, so that a component without labels is asked about at its centre, then to the
        smaller id.
    features : (n, d) array-like
        For "coreset"; Euclidean distances.
    distributions : (n, c) array
        For "margin" and "entropy": ``propagate(...).distributions``.
    filter, solver
        For "jlp", see `manifold.diffuse`.
    random_state : int or numpy.random.Generator, optional
        For "random".
    method : str, optional
        The old name of `strategy`, which warns.

    Returns
    -------
    (budget,) int64 ids, distinct, none of them labelled, in the order of choice.

    Raises
    ------
    ValueError
        For ids outside the graph, a budget beyond the unlabelled points, an unknown strategy, or one that lacks what
        it works on.

    Warns
    -----
    ConvergenceWarning
        Where a solve of "jlp" did not converge.

    Notes
    -----
    Cost: "jlp" one solve of one column a choice, as f is linear in its seeds; "coreset" O(n d) a choice.

    Examples
    --------
    >>> from manifold import graph_from_affinity
    >>> two_pairs = graph_from_affinity(np.kron(np.eye(2), [[0, 1], [1, 0]]))
    >>> select(two_pairs, [0], 2).tolist()
    [2, 1]
    """
    if method is not None:
        warn("select(method=) is select(strategy=) now, and will go in the next version", ManifoldDeprecationWarning)
        strategy = method
    if strategy is None:
        strategy = "jlp" if distributions is None else "margin"
    known, drawn = _mask(labelled, graph.n_nodes), generator(random_state)
    check_count(budget, "budget")
    free = np.flatnonzero(~known)
    if budget > free.size:
        raise ValueError(f"budget={budget}, but only {free.size} points are not labelled: lower it")
    if strategy == "jlp":
        return _greedy_reach(graph, known, budget, filter=filter, solver=solver)
    if strategy == "coreset":
        return _greedy_cover(graph, known, budget, features)
    if strategy in ("margin", "entropy"):
        P = _require(distributions, graph, "distributions", cure="propagate(...).distributions")
        sure = certainty(P)[free] if strategy == "entropy" else _margins(P)[free]
        # ties by degree: among the equally unsure a hub teaches most
        return free[np.lexsort((-graph.degrees[free], sure))][:budget]
    if strategy == "random":
        return drawn.choice(free, budget, replace=False)
    raise ValueError(f"strategy must be one of {STRATEGIES}, got {strategy!r}")


def _margins(P: AnyArray) -> AnyArray:
    """Return how far the largest probability of each row (n, c) is above the next."""
    if P.ndim != 2 or P.shape[1] < 2:
        raise ValueError(f"distributions must be (n, classes), of two or more, for strategy='margin', got {P.shape}")
    ends = np.partition(as_numbers(P, "distributions"), -2, axis=1)
    return np.asarray(ends[:, -1] - ends[:, -2])


def _greedy_reach(graph: Graph, known: Mask, budget: int, *, filter: Filter, solver: str | Solver) -> Ints:
    settings, _ = get_solver(solver, graph, filter)
    prepared = settings.prepare(graph, filter, get_backend())

    def reach(seeds: Mask) -> Floats:
        solution = prepared.solve(seeds * 1.0)
        report_failures(solution, "warn")
        return np.asarray(solution.scores, dtype=np.float64)

    # f is linear in its seeds: a choice adds its own column, and nothing is solved again
    known, scores = known.copy(), reach(known)
    chosen = np.empty(budget, dtype=np.int64)
    for t in range(budget):
        chosen[t] = _least(np.maximum(scores, 0), graph, known)  # below 0 is the solver's tolerance
        known[chosen[t]] = True
        if t + 1 < budget:
            scores += reach(np.arange(graph.n_nodes) == chosen[t])
    return chosen


@np.errstate(under="ignore")
def _greedy_cover(graph: Graph, known: Mask, budget: int, features: ArrayLike | None) -> Ints:
    given = _require(features, graph, "features", cure="the points of the graph")
    X = _comparable(read_features(given, "features", centred=True).rows)
    squares = np.einsum("nd,nd->n", X, X)

    def distances(i: int) -> AnyArray:
        return np.asarray(np.maximum(squares - 2 * (X @ X[i]) + squares[i], 0))

    # only the distance to the nearest labelled point is kept: O(n) memory, whatever the number of labels
    known, nearest = known.copy(), np.full(graph.n_nodes, np.inf, dtype=X.dtype)
    for i in np.flatnonzero(known).tolist():
        np.minimum(nearest, distances(i), out=nearest)
    chosen = np.empty(budget, dtype=np.int64)
    for t in range(budget):
        chosen[t] = _least(-nearest, graph, known)
        known[chosen[t]] = True
        np.minimum(nearest, distances(chosen[t]), out=nearest)
    return chosen


def _comparable(X: AnyArray) -> AnyArray:
    """Return points around their mean in a unit of their own size: squares keep what differs, and stay in range."""
    around = X - X.mean(axis=0, dtype=np.float64)
    exponent = int(np.frexp(np.abs(around).max(initial=0))[1])
    scaled: AnyArray = np.ldexp(around, -exponent)
    return scaled.astype(np.float32)


def _least(values: AnyArray, graph: Graph, known: Mask) -> int:
    """Return the id of the least value that is not known; of those alike, the one of the largest degree."""
    values = np.where(known, np.inf, values)
    ties = np.flatnonzero(values == values.min())
    return int(ties[graph.degrees[ties].argmax()])


def _mask(labelled: ArrayLike, n: int) -> Mask:
    ids = as_array(labelled, "labelled")
    if ids.dtype == bool and ids.shape == (n,):
        ids = np.flatnonzero(ids)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise ValueError(f"labelled must be ids (m,) or booleans ({n},), got {ids.dtype} {ids.shape}")
    if ids.size and (ids.min() < 0 or ids.max() >= n):
        raise ValueError(f"labelled must lie in 0..{n - 1}, got {ids.min()}..{ids.max()}")
    mask = np.zeros(n, dtype=bool)
    mask[ids.astype(np.int64)] = True
    return mask


def _require(values: ArrayLike | None, graph: Graph, name: str, *, cure: str) -> AnyArray:
    rows = None if values is None else as_table(values, name).values
    if rows is None or rows.shape[:1] != (graph.n_nodes,):
        size = None if rows is None else rows.shape[0] if rows.ndim else rows.shape
        raise ValueError(f"this strategy needs {name} of {graph.n_nodes} rows, got {size}: pass {cure}")
    return rows
