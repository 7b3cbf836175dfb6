"""Modes of a graph: nodes of larger degree than all that are near them, one for each thing that there is.

The stationary distribution of the random walk is d_i / sum d, so these are its local maxima.
"""

from __future__ import annotations

import numpy as np

from manifold._checks import check_count
from manifold._typing import Ints
from manifold.graph._given import check_graph
from manifold.graph._graph import Graph


def graph_modes(graph: Graph, *, hops: int = 3, strict: bool = False) -> Ints:
    """Return the nodes (m,) whose degree is the largest within some hops, the largest first.

        i is a mode   where  d_i >= d_j  for every j within `hops` edges of i, of equal ones the smaller id

    Reference: Iscen et al. (2018b), section 3.3.

    Parameters
    ----------
    graph : Graph
    hops : int
        How far a mode stands out: more hops, fewer modes; 1 in the paper, of which it takes the 1,500 first.
    strict : bool
        Ask for ``d_i > d_j``, as in the code of the paper: two neighbours of equal degree are then both lost.

    Returns
    -------
    (m,) int64
        Isolated nodes are none.

    Notes
    -----
    Cost: a pass over W a hop.

    Examples
    --------
    >>> from manifold.graph import graph_from_affinity
    >>> star_and_pair = np.zeros((6, 6), int)
    >>> star_and_pair[0, 1:4] = star_and_pair[1:4, 0] = star_and_pair[4, 5] = star_and_pair[5, 4] = 1
    >>> graph_modes(graph_from_affinity(star_and_pair)).tolist()
    [0, 4]
    >>> graph_modes(graph_from_affinity(star_and_pair), strict=True).tolist()
    [0]
    """
    hops = check_count(hops, "hops")
    check_graph(graph)
    degrees = graph.degrees
    ids = np.arange(graph.n_nodes)
    modes = _winners(graph, np.lexsort((-ids, degrees)), hops)
    if strict:  # who wins however ties are broken ties with nobody
        modes &= _winners(graph, np.lexsort((ids, degrees)), hops)
    found = np.flatnonzero(modes & (degrees > 0))
    return found[np.lexsort((found, -degrees[found]))]


def _winners(graph: Graph, order: Ints, hops: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return which nodes come last in `order` among all within some hops."""
    W = graph.affinity
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size)
    best = rank.copy()
    rows = np.flatnonzero(np.diff(W.indptr))
    for _ in range(hops):
        if rows.size:
            # of rows that are not empty, each reaches from its start to the next one's
            best[rows] = np.maximum(best[rows], np.maximum.reduceat(best[W.indices], W.indptr[rows]))
    return np.asarray(best == rank)
