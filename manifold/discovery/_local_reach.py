"""The same at the cost of what each seed touches: one list a seed, relaxed until it is proved, on every thread.

In: seeds Y (n, q) of few nodes, a large graph. Out: `Reach`, a block at a time, for lists of one length k.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec

import numpy as np
from scipy import sparse

from manifold._typing import Floats, Ints
from manifold.backends import Backend
from manifold.backends.threads import in_threads
from manifold.discovery._reach import BLOCK, Reach
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.solvers import Local, Solution, Status
from manifold.solvers.proved import Found, ProvedLists

_MANY = 20_000  # nodes from which walks fill so little of the graph that touching it alone pays
_FAR = 0.95  # alpha up to which they stay near


def serves(graph: Graph, filter: Filter, backend: Backend) -> bool:
    """Return whether lists are proved sooner by local solves than by solves of the whole graph.

    >>> from manifold import Diffusion, graph_from_affinity
    >>> from manifold.backends import get_backend
    >>> serves(graph_from_affinity([[0, 1], [1, 0]]), Diffusion(), get_backend())
    False
    """
    poles = filter.resolvents or ()
    near = len(poles) == 1 and 0 < poles[0][1] <= _FAR
    return near and graph.n_nodes >= _MANY and backend.name == "scipy" and find_spec("numba") is not None


def reached_nearby(
    seeds: sparse.csc_array, *, graph: Graph, filter: Filter, backend: Backend, k: int, own: Ints
) -> Iterator[tuple[Reach, Solution]]:
    """Yield what `reached` does, of the k best alone: a column that is not proved has an infinite error."""
    lists = Local().prepare(graph, filter, backend).lists()
    sizes = np.bincount(graph.components, minlength=graph.n_components)
    for start in range(0, seeds.shape[1], BLOCK):
        columns = np.arange(start, min(start + BLOCK, seeds.shape[1]))
        found = found_nearby(lists, seeds[:, columns], own[columns], k=k)
        rows, values = np.full((columns.size, k + 1), -1), np.full((columns.size, k + 1), -np.inf)
        error, n_reached = np.full(columns.size, np.inf), np.zeros(columns.size, dtype=np.int64)
        for j, one in enumerate(found):
            rows[j, : one.rows.size], values[j, : one.rows.size] = one.rows, one.scores
            if one.outside < one.lower:  # the cut lies between them: no list of exact scores differs
                error[j], values[j, k] = 0, max(one.outside, 0)
            first = seeds.indices[seeds.indptr[columns[j]] : seeds.indptr[columns[j] + 1]]
            touched = np.unique(graph.components[first])
            n_reached[j] = sizes[touched].sum()
            n_reached[j] -= own[columns[j]] >= 0 and graph.components[own[columns[j]]] in touched
        reach = Reach(columns, rows, values, error, n_reached, True, partial(_looked_up, graph, found, seeds, columns))
        yield reach, report_of(found, int(graph.affinity.nnz))


def found_nearby(lists: ProvedLists, seeds: sparse.csc_array, own: Ints, *, k: int) -> list[Found]:
    """Ask for the list of each seed, as many at a time as there are threads."""
    answers: dict[int, Found] = {}

    def ask(first: int, last: int) -> None:
        for j in range(first, last):
            part = slice(seeds.indptr[j], seeds.indptr[j + 1])
            left_out = None if own[j] < 0 else own[j : j + 1]
            nodes, weights = seeds.indices[part].astype(np.int64), seeds.data[part].astype(np.float64)
            answers[j] = lists.best(nodes, weights, k, slack=0.0, left_out=left_out)

    in_threads(ask, seeds.shape[1], step=1)
    return [answers[j] for j in range(seeds.shape[1])]


def _looked_up(
    graph: Graph, found: list[Found], seeds: sparse.csc_array, columns: Ints, nodes: Ints, place: Ints
) -> Floats:
    """Return scores of nodes (p, w): those that were touched, 0 for others of the components, -inf beyond them."""
    scores = np.empty(nodes.shape)
    for p, j in enumerate(place.tolist()):
        one = found[j]
        order = np.argsort(one.nodes, kind="stable")
        at = np.minimum(np.searchsorted(one.nodes, nodes[p], sorter=order), max(one.nodes.size - 1, 0))
        here = one.nodes[order[at]] == nodes[p]
        first = seeds.indices[seeds.indptr[columns[j]] : seeds.indptr[columns[j] + 1]]
        inside = np.isin(graph.components[nodes[p]], graph.components[first])
        scores[p] = np.where(here, one.x[order[at]], np.where(inside, 0.0, -np.inf))
    return scores


def report_of(found: list[Found], n_entries: int) -> Solution:
    """Return how each list went: passes over the graph's entries, residual, and the bound on every score."""
    status = tuple(Status.CONVERGED if one.decided else Status.APPROXIMATE for one in found)
    passes = np.array([-(-one.n_edges // max(n_entries, 1)) for one in found], dtype=np.int64)
    residual, bound = (np.array([getattr(one, name) for one in found]) for name in ("residual", "error_bound"))
    return Solution(np.empty(0), status, passes, residual, bound, solver="local")
