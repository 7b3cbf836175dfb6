"""Personalised PageRank: a walk that restarts at its seeds, on an undirected graph; the best nodes, and a proof.

In: a graph, seeds by name. Out: p = (1 - a) (I - a W D^-1)^-1 y, of sum 1. With S = D^-1/2 W D^-1/2 that is
D^1/2 h(S) D^-1/2 y, h(x) = (1 - a) / (1 - a x): the diffusion of scaled seeds, ranked by scaled scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from copy import copy
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
from scipy import sparse

from manifold._arrays import as_numbers
from manifold._checks import check_count
from manifold._typing import Floats, Ints, Mask
from manifold.backends import get_backend
from manifold.filters import Diffusion
from manifold.graph import Graph, graph_from_affinity
from manifold.ranking._base import Ranking
from manifold.ranking._collection import Ids
from manifold.ranking._ranker import Ranker, Task
from manifold.ranking._stored import Answer
from manifold.solvers import ConjugateGradient, Local, report_failures

_RTOL = 1e-2  # of the order within a list; which nodes are in it is proved
_PASSES = 1.0  # relaxed before the whole graph is solved on; where walks will fill it, that is seen before
_ALL = 1e-12  # of scores of all nodes
_PREPARED: WeakKeyDictionary[Graph, dict[tuple[float, bool], Ranker]] = WeakKeyDictionary()
_NUMBERED: WeakKeyDictionary[Graph, Ids] = WeakKeyDictionary()


@np.errstate(under="ignore")
def personalized_pagerank(
    graph: object,
    seeds: object,
    *,
    damping: float = 0.85,
    k: int | None = None,
    ids: object = None,
    edges: str | None = None,
) -> Ranking:
    """Rank the nodes of an undirected graph by a random walk that returns to some seeds.

        p = damping W D^-1 p + (1 - damping) y,    y the weights of the seeds, of sum 1

    A walk that stands on a node without edges returns to the seeds at once. The k best are solved for until they are
    proved: no other node has a larger p.

    Reference: Haveliwala (2002), eq. 5; Zhou et al. (2003a), for undirected graphs as a symmetric system.

    Parameters
    ----------
    graph : Graph, or (n, n) array, sparse matrix or networkx graph
        What is no `Graph` yet is taken by `graph_from_affinity` in float64, loops kept; a `Graph` is prepared once for
        all calls.
    seeds : name, sequence of names, mapping of names to weights, or a sequence of such
        Where the walk begins, and returns to: alike, or in proportion to weights >= 0. Several queries where they stand
        in a sequence of sequences or mappings.
    damping : float in [0, 1)
        The share of steps that do not return.
    k : int, optional
        How many nodes are wanted; by default all, with their scores to about ten digits.
    ids : (n,) integers, strings or UUIDs, optional
        Names of the nodes; by default those of a networkx graph, or 0..n-1.
    edges : {None, "mutual", "union", "sum"}
        How a directed graph is made undirected; None refuses one.

    Returns
    -------
    Ranking
        Ids and scores of each query, (k,) for one. ``slack`` is 0 where the list is proved to hold the k best, and
        below 1e-9 where what rounding leaves is a tie. ``diagnostics.error_bound`` bounds the error of all scores.

    Raises
    ------
    ValueError
        For a directed graph without a rule in `edges`, names that the graph does not hold, no seeds, weights that are
        negative, not finite, or all 0, a damping outside [0, 1).
    TypeError
        For names of another kind than those of the nodes.

    Notes
    -----
    Cost: what the walk touches, where it stays near its seeds; where it fills the graph, passes over its edges until
    the list is told apart, some 5 to 15; about log(1e12) / sqrt(1 - damping) of them for all scores. Nodes of the same
    edges have the same score: of such at the end of a list any are as good.

    Examples
    --------
    >>> path = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> ids, scores = personalized_pagerank(path, {"a": 1.0}, damping=0.5, ids=["a", "b", "c"])
    >>> ids.tolist(), scores.round(6).tolist()  # 7, 4 and 1 twelfths
    (['a', 'b', 'c'], [0.583333, 0.333333, 0.083333])
    """
    check_damping(damping)
    taken, names = named_graph(graph, ids, edges=edges)
    queries, is_single = seeds_of_each(seeds)
    wanted = None if k is None else check_count(k, "k")
    rows, scores, slack, report = walked(taken, [named_seeds(query, names) for query in queries], damping, k=wanted)
    found = names.names(rows)
    return Ranking(found[0] if is_single else found, scores[0] if is_single else scores, slack, report)


@np.errstate(under="ignore")
def walked(
    graph: Graph, queries: list[tuple[Ints, Floats]], damping: float, *, k: int | None, allowed: Mask | None = None
) -> Answer:
    """Return the k best rows of walks that return to rows with weights, or all; scores, slack, how the solve went.

    >>> graph = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> walked(graph, [(np.array([0]), np.ones(1))], 0.5, k=1, allowed=np.array([False, False, True]))[0].tolist()
    [[2]]
    """
    Y = _seeded([(rows, _shares(weights)) for rows, weights in queries], graph, damping)
    wanted = graph.n_nodes if k is None else min(k, graph.n_nodes)
    ranker = _prepared(graph, Diffusion(damping), exact=k is None)
    task = Task(wanted, lambda some: np.empty((some.size, 0), dtype=np.int64), slack=0.0, allowed=allowed)
    rows, scores, slack, report = ranker.rank(Y, task)
    report_failures(report, "warn")
    report = replace(report, error_bound=report.error_bound * float(np.sqrt(graph.degrees.max(initial=1.0))))
    return rows, scores, slack, report


def check_damping(damping: object) -> None:
    """Raise ValueError for a share of steps that is none, or would never return.

    >>> check_damping(0.85)
    """
    if not (isinstance(damping, int | float | np.number) and 0 <= damping < 1):
        raise ValueError(f"damping must lie in [0, 1), got {damping!r}: 0.85 is usual")


def named_graph(graph: object, ids: object, *, edges: str | None) -> tuple[Graph, Ids]:
    """Return a graph and the names of its nodes.

    >>> named_graph([[0, 1], [1, 0]], ["a", "b"], edges=None)[1].values.tolist()
    ['a', 'b']
    """
    if isinstance(graph, Graph):
        if edges is not None:
            raise ValueError(f"edges={edges!r} is for a matrix that is not symmetric; a Graph is undirected: leave it")
        if ids is not None:
            return graph, Ids(ids, graph.n_nodes)
        if graph not in _NUMBERED:
            _NUMBERED[graph] = Ids(None, graph.n_nodes)
        return graph, _NUMBERED[graph]
    taken = graph_from_affinity(graph, edges=edges, self_loops="keep", dtype="float64")
    if ids is None and hasattr(graph, "nodes"):
        ids = list(graph.nodes)
    return taken, Ids(ids, taken.n_nodes)


def seeds_of_each(seeds: object) -> tuple[list[object], bool]:
    """Return the seeds of each query, and whether there is only one, given by itself.

    >>> seeds_of_each({"a": 1.0}), seeds_of_each([["a"], ["b"]])
    (([{'a': 1.0}], True), ([['a'], ['b']], False))
    """
    if isinstance(seeds, np.ndarray) and seeds.ndim == 2:
        return list(seeds), False
    if isinstance(seeds, list | tuple) and any(isinstance(x, Mapping | list | tuple | AbstractSet) for x in seeds):
        return list(seeds), False
    return [seeds], True


def named_seeds(query: object, names: Ids) -> tuple[Ints, Floats]:
    """Return the rows and weights of one query, 1 where it gives names alone.

    >>> [part.tolist() for part in named_seeds({"b": 2, "a": 0.5}, Ids(["a", "b"], 2))]
    [[1, 0], [2.0, 0.5]]
    """
    values = as_numbers(list(query.values()), "weights of seeds") if isinstance(query, Mapping) else None
    given = list(query) if isinstance(query, Mapping | AbstractSet) else query
    rows = np.atleast_1d(names.present(given, name="seeds"))
    if rows.ndim != 1 or not rows.size:
        raise ValueError(f"seeds must be names of nodes, or a mapping of them to weights, got {query!r}")
    weights = np.ones(rows.size) if values is None else values
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ValueError(f"weights of seeds must be finite and >= 0, some of them larger, got {weights.tolist()}")
    return rows, weights


def _shares(weights: Floats) -> Floats:
    """Return weights of sum 1; of nothing, nothing."""
    if not weights.any():
        return weights
    weights = weights / weights.max()  # their sum may be beyond float64
    return np.asarray(weights / weights.sum())


def _seeded(queries: list[tuple[Ints, Floats]], graph: Graph, damping: float) -> sparse.csc_array:
    """Return D^-1/2 y (n, q), scaled so that p has sum 1 where walks start from nodes without edges."""
    parts = []
    for rows, w in queries:
        degrees = graph.degrees[rows]
        alone = degrees == 0
        parts.append((rows, w / np.sqrt(np.where(alone, 1.0, degrees)) / (1 - damping * w[alone].sum())))
    columns = np.repeat(np.arange(len(parts)), [rows.size for rows, _ in parts])
    rows, values = (np.concatenate([part[i] for part in parts]) if parts else np.empty(0, int) for i in (0, 1))
    Y = sparse.csc_array((values, (rows, columns)), shape=(graph.n_nodes, len(parts)))
    Y.eliminate_zeros()
    return Y


def _prepared(graph: Graph, filter: Diffusion, *, exact: bool) -> Ranker:
    """Return what is made once for a graph and a damping."""
    made = _PREPARED.setdefault(graph, {})
    key = (filter.alpha, exact)
    if key not in made:
        # a twin that shares its arrays: what holds the graph itself would keep it alive as long as it is kept
        twin = copy(graph)
        twin = twin.astype(np.float64) if exact else twin
        backend, solver = get_backend("scipy"), ConjugateGradient(_ALL) if exact else Local(_RTOL, max_passes=_PASSES)
        made[key] = Ranker(twin, filter, solver.prepare(twin, filter, backend), backend, -0.5)
    return made[key]
