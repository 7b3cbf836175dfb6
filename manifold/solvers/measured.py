"""Which solver lists best on a graph: by what lists cost on a handful of its nodes, counted, not timed.

In: a graph, a filter, a backend. Out: the settings of a solver, and why it is this one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manifold._typing import Floats, Ints
from manifold.backends import Backend
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.solvers import get_solver
from manifold.solvers.base import Solver
from manifold.solvers.local import Local, serves

_MEASURED_FROM = 20_000  # nodes below which a solve of the whole graph costs about as little
_NODES, _SEEDS = 16, 5  # of the sample; seeds of a query, the node and neighbours
_GOLDEN = (5**0.5 - 1) / 2  # multiples of it lie evenly in [0, 1), however many they are
_MOST_PASSES = 1.0  # over the entries of S that a list may cost: what it takes a solve of the whole graph to begin
_SHARE = 0.75  # of the sample that has to be proved within them


class Groups(NamedTuple):
    """Groups of nodes that are listed instead of nodes, such as images of several regions."""

    owners: Ints  # (n,) the group of each node
    weights: Floats  # (n,) of their scores, see `PreparedLocal.groups`
    maximum: bool
    n_largest: int  # seeds that are kept of a query


def solver_of_lists(
    graph: Graph,
    filter: Filter,
    backend: Backend,
    *,
    k: int = 10,
    scale: Floats | None = None,
    groups: Groups | None = None,
) -> tuple[Solver, str]:
    """Return the solver that "auto" means where lists of the best are asked for, and why.

    On 20,000 nodes and more, 16 queries are asked at nodes spread over the graph: local solves are chosen where three
    in four prove a list of k within one pass over the edges, and what `get_solver` chooses otherwise.

    Parameters
    ----------
    graph, filter, backend
    k : int
        Places of a list.
    scale : (n,) float64, optional
        Lists are by ``scale F``.
    groups : Groups, optional
        Lists are of groups of nodes; a query is then all nodes of one, each with its nearest neighbours.

    Examples
    --------
    >>> from manifold import Diffusion, graph_from_affinity
    >>> from manifold.backends import get_backend
    >>> from scipy import sparse
    >>> n, one = 20_000, np.ones(19_999)
    >>> path = graph_from_affinity(sparse.diags_array((one, one), offsets=(-1, 1)))
    >>> solver, why = solver_of_lists(path, Diffusion(0.9), get_backend())
    >>> solver, why[:43]
    (Local(rtol=0.01, max_passes=3.0), 'local, because lists of 10 at 16 of 16 samp')
    """
    otherwise, reason = get_solver("auto", graph, filter)
    if graph.n_nodes < _MEASURED_FROM or backend.name != "scipy" or not serves(filter):
        return otherwise, reason
    passes = measured_passes(graph, filter, backend, k=k, scale=scale, groups=groups)
    few = np.flatnonzero(passes <= _MOST_PASSES).size
    what = f"lists of {k}" if groups is None else f"lists of {k} groups"
    seen = f"{what} at {few} of {_NODES} sampled nodes are proved within one pass over the edges"
    if few < _SHARE * _NODES:
        return otherwise, f"{reason}; not local, because {seen}"
    return Local(), f"local, because {seen}, {np.median(passes):.2g} at the median"


def measured_passes(
    graph: Graph,
    filter: Filter,
    backend: Backend,
    *,
    k: int = 10,
    scale: Floats | None = None,
    groups: Groups | None = None,
) -> Floats:
    """Return what lists at some nodes cost (16,): edges over entries of S; `inf` where more than one did not do.

    >>> from manifold import Diffusion, graph_from_affinity
    >>> from manifold.backends import get_backend
    >>> from scipy import sparse
    >>> n, one = 20_000, np.ones(19_999)
    >>> path = graph_from_affinity(sparse.diags_array((one, one), offsets=(-1, 1)))
    >>> bool((measured_passes(path, Diffusion(0.9), get_backend()) < 0.3).all())
    True
    """
    local = Local(max_passes=_MOST_PASSES).prepare(graph, filter, backend)
    lists = (
        local.lists(scale) if groups is None else local.groups(groups.owners, groups.weights, maximum=groups.maximum)
    )
    passes, entries = np.full(_NODES, np.inf), max(graph.n_entries, 1)
    for j, node in enumerate((np.arange(_NODES) * _GOLDEN % 1 * graph.n_nodes).astype(np.int64)):
        found = lists.best(*_query(graph, node, groups), k)
        if found.decided:
            passes[j] = found.n_edges / entries
    return passes


def _query(graph: Graph, node: int, groups: Groups | None) -> tuple[Ints, Floats]:
    """Return seeds as those of a query at a node: itself, and its nearest neighbours by their weights."""
    W, n_kept = graph.affinity, _SEEDS if groups is None else groups.n_largest
    sums: dict[int, float] = {}
    for region in [node] if groups is None else np.flatnonzero(groups.owners == groups.owners[node]):
        part = slice(W.indptr[region], W.indptr[region + 1])
        weights = W.data[part].astype(np.float64)
        nearest = np.argsort(-weights, kind="stable")[: n_kept - 1]
        own = weights[nearest].max(initial=1.0 if not weights.size else 0.0)
        for seed, weight in ((region, own), *zip(W.indices[part][nearest], weights[nearest], strict=True)):
            sums[int(seed)] = sums.get(int(seed), 0.0) + float(weight)
    seeds = sorted(sums, key=lambda seed: -sums[seed])[:n_kept]
    return np.array(seeds, dtype=np.int64), np.array([sums[seed] for seed in seeds])
