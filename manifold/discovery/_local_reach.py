"""What seeds reach, at the cost of what each touches: one list a seed, relaxed until it is proved, on every thread.

In: seeds Y (n, q) of few nodes, a large graph. Out: what was found of each, and whether this pays.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from scipy import sparse

from manifold._typing import Ints
from manifold.backends import Backend
from manifold.backends.threads import in_threads
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.solvers import Solution, Status
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


def report_of(found: list[Found], n_entries: int) -> Solution:
    """Return how each list went: passes over the graph's entries, residual, and the bound on every score."""
    status = tuple(Status.CONVERGED if one.decided else Status.APPROXIMATE for one in found)
    passes = np.array([-(-one.n_edges // max(n_entries, 1)) for one in found], dtype=np.int64)
    residual, bound = (np.array([getattr(one, name) for one in found]) for name in ("residual", "error_bound"))
    return Solution(np.empty(0), status, passes, residual, bound, solver="local")
