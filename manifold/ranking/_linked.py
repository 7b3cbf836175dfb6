"""A graph of named nodes, some of them with features, that changes: nodes join and leave, edges are set and cut.

In: a state, and names of what changes. Out: another state; the one before stays as it is. W is then what a matrix of
the same nodes and edges would be taken as, to the bit, so that nothing but it has to be right after a change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from manifold._arrays import as_numbers
from manifold._typing import Floats, Ints
from manifold.graph import Graph
from manifold.neighbors import PointSet, point_set
from manifold.ranking._collection import Ids, as_names

_WEIGHED, _NAMED = "(name, name, weight)", "(name, name)"


@dataclass(frozen=True, eq=False, kw_only=True)
class Linked:
    """A graph, the names of its nodes, and features of some: row i of `points` are those of node ``nodes[i]``."""

    graph: Graph
    names: Ids
    points: PointSet | None = None
    nodes: Ints


def with_edges(state: Linked, edges: object) -> Linked:
    """Return the state with edges of given weights, new ones or in place of what was there.

    >>> from manifold.graph import graph_from_affinity
    >>> pair = Linked(graph=graph_from_affinity([[0, 1], [1, 0]]), names=Ids(["a", "b"], 2), nodes=np.empty(0, int))
    >>> with_edges(pair, [("b", "a", 3.0)]).graph.affinity.toarray().tolist()
    [[0.0, 3.0], [3.0, 0.0]]
    """
    first, second, weights = _read(state.names, edges, _WEIGHED)
    dtype = state.graph.affinity.dtype
    with np.errstate(over="ignore", under="ignore"):
        kept = weights.astype(dtype)
    if not (np.isfinite(kept) & (kept > 0)).all():
        away = weights[~(np.isfinite(kept) & (kept > 0))][0]
        raise ValueError(f"edges must have weights > 0 that {dtype} can hold, got {away}: unlink cuts an edge")
    return replace(state, graph=_edited(state.graph, first, second, kept.astype(np.float64)))


def without_edges(state: Linked, edges: object) -> Linked:
    """Return the state without some edges; raise ValueError for one that is not there.

    >>> from manifold.graph import graph_from_affinity
    >>> pair = Linked(graph=graph_from_affinity([[0, 1], [1, 0]]), names=Ids(["a", "b"], 2), nodes=np.empty(0, int))
    >>> without_edges(pair, [("b", "a")]).graph.n_edges
    0
    """
    first, second, _ = _read(state.names, edges, _NAMED)
    for i, j in zip(first, second, strict=True):
        if not state.graph.affinity[i, j]:
            one, other = state.names.names(np.array([i, j])).tolist()
            raise ValueError(f"edges must be there to be cut, {one!r} and {other!r} have none")
    return replace(state, graph=_edited(state.graph, first, second, np.zeros(first.size)))


def with_nodes(state: Linked, ids: object, X: object) -> Linked:
    """Return the state with new nodes, without edges yet, behind the others; X are their features, or None.

    >>> from manifold.graph import graph_from_affinity
    >>> pair = Linked(graph=graph_from_affinity([[0, 1], [1, 0]]), names=Ids(["a", "b"], 2), nodes=np.empty(0, int))
    >>> after = with_nodes(pair, ["c"], [[1.0, 2.0]])
    >>> after.graph.n_nodes, after.nodes.tolist()
    (3, [2])
    """
    given = np.atleast_1d(as_names(ids)[0])
    n, m = len(state.names), given.size
    names, W = state.names.with_more(given, m), state.graph.affinity
    ends = np.concatenate([W.indptr, np.full(m, W.indptr[-1])])
    W = sparse.csr_array((W.data, W.indices, ends), shape=(n + m, n + m))
    grown = replace(state, graph=_graph(state.graph, W), names=names)
    if X is None or not (m or np.asarray(X).size):
        return grown
    points = point_set(X) if state.points is None else state.points.joining(X)
    if points.X.shape[0] != m:
        raise ValueError(f"X must have a row for each of the {m} ids, got {points.X.shape[0]}")
    points = points if state.points is None else state.points.with_rows(points.X)
    return replace(grown, points=points, nodes=np.concatenate([state.nodes, np.arange(n, n + m)]))


def without_nodes(state: Linked, ids: object) -> Linked:
    """Return the state without some nodes and their edges; the others close up in order.

    >>> from manifold.graph import graph_from_affinity
    >>> pair = Linked(graph=graph_from_affinity([[0, 1], [1, 0]]), names=Ids(["a", "b"], 2), nodes=np.array([1, 0]))
    >>> without_nodes(pair, "a").nodes.tolist()
    [0]
    """
    gone = np.atleast_1d(state.names.present(ids))
    if np.unique(gone).size != gone.size:
        raise ValueError("ids must name each node that leaves once")
    stay = np.setdiff1d(np.arange(len(state.names)), gone)
    kept = np.flatnonzero(np.isin(state.nodes, stay))
    return Linked(
        graph=state.graph.subgraph(stay),
        names=state.names.only(stay),
        points=None if state.points is None or not kept.size else state.points.only(kept),
        nodes=np.searchsorted(stay, state.nodes[kept]),
    )


def _read(names: Ids, edges: object, form: str) -> tuple[Ints, Ints, Floats]:
    """Return rows and weights of edges as a user gives them, none of them twice."""
    given = list(edges) if isinstance(edges, Iterable) and not isinstance(edges, str) else [edges]
    width = form.count(",") + 1
    for edge in given:
        if isinstance(edge, str) or not isinstance(edge, Iterable) or len(tuple(edge)) != width:
            raise ValueError(f"edges must be a sequence of {form}, got {edge!r} in it")
    parts = list(zip(*given, strict=True)) if given else [()] * width
    first, second = (np.atleast_1d(names.present(list(part), name="edges")) for part in parts[:2])
    pairs = np.sort(np.stack([first, second], axis=1), axis=1)
    _, at, times = np.unique(pairs, axis=0, return_index=True, return_counts=True)
    if (times > 1).any():
        one, other = names.names(pairs[at[times > 1][0]]).tolist()
        raise ValueError(f"edges must be named once, {one!r} and {other!r} are twice: they have no direction")
    return first, second, as_numbers(list(parts[2]), "weights of edges") if width > 2 else np.empty(0)


def _edited(graph: Graph, first: Ints, second: Ints, weights: Floats) -> Graph:
    """Return a graph whose edges have given weights, 0 for none: W both ways, in the order that it is stored in."""
    W, n = graph.affinity, graph.n_nodes
    keys = np.repeat(np.arange(n), np.diff(W.indptr)) * n + W.indices
    new, at = np.unique(np.concatenate([first * n + second, second * n + first]), return_index=True)
    values = np.concatenate([weights, weights])[at].astype(W.dtype)
    place, data = np.searchsorted(keys, new), W.data.copy()
    there = np.append(keys, -1)[place] == new
    data[place[there]] = values[there]
    keys, data = (np.insert(old, place[~there], more[~there]) for old, more in ((keys, new), (data, values)))
    keys, data = keys[data > 0], data[data > 0]
    rows, columns = np.divmod(keys, max(n, 1))
    ends = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
    return _graph(graph, sparse.csr_array((data, columns, ends), shape=(n, n)))


def _graph(before: Graph, W: sparse.csr_array) -> Graph:
    return Graph(W, before.facts, self_loops=True)
