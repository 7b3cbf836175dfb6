"""Queries to seeds: a query is not in the graph, so it enters as weights on its nearest points.

y_i = s_k(x_i | q)     the weight of x_i among the k_q nearest of q, else 0     (Iscen et al., CVPR 2017, eq. 7)
y_i = sum over the regions of the query, then only the largest entries stay     (eq. 8 and section 5.1)
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from manifold._arrays import as_array, as_integers
from manifold._typing import AnyArray, Floats
from manifold.graph.affinity import Affinity

Y_MODES = ("sum_of_powers", "power_of_sum")


def query_seeds(
    ids: AnyArray,
    similarities: AnyArray,
    *,
    n_nodes: int,
    affinity: Affinity | None = None,
    node_scales: Floats | None = None,
) -> sparse.csc_array:
    """Return Y (n, q) with the weights of each query's nearest points.

    Reference: Iscen et al. (2017), section 3.2 and eq. 7: a query that is not in the collection.

    Parameters
    ----------
    ids, similarities : (q, k)
        The k_q nearest points of each query; -1 pads.
    n_nodes : int
        Rows of Y.
    affinity : Affinity
        The kernel of the graph; by default max(s, 0)^3.
    node_scales : (n,), optional
        sigma of each point, for the self-tuning kernel; that of the query stands in for it.

    Examples
    --------
    >>> query_seeds(np.array([[2, 0]]), np.array([[1.0, 0.5]]), n_nodes=3).toarray().ravel().tolist()
    [0.125, 0.0, 1.0]
    """
    ids, similarities = as_integers(ids, "ids"), as_array(similarities, "similarities")
    weights = _weights(ids, similarities, affinity or Affinity(), node_scales)
    kept = (ids >= 0) & (weights > 0)
    # written down as it is stored: a detour by coordinates takes ten times as long as a query has
    starts = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int32)
    seeds = sparse.csc_array((weights[kept], ids[kept].astype(np.int32), starts), shape=(n_nodes, ids.shape[0]))
    seeds.sum_duplicates()
    return seeds


def unit_seeds(nodes: AnyArray, n_nodes: int) -> sparse.csc_array:
    """Return Y (n, q) with a one at the node of each column: queries that are in the graph.

    Reference: Zhou et al. (2003b), section 2.

    >>> unit_seeds(np.array([2]), 3).toarray().ravel().tolist()
    [0.0, 0.0, 1.0]
    """
    nodes = as_integers(nodes, "nodes")
    q = nodes.size
    return sparse.csc_array((np.ones(q), (nodes, np.arange(q))), shape=(n_nodes, q))


def regional_seeds(
    ids: AnyArray,
    similarities: AnyArray,
    *,
    owners: AnyArray,
    n_nodes: int,
    n_largest: int = 200,
    gamma: float = 3.0,
    y_mode: str = "sum_of_powers",
) -> sparse.csc_array:
    """Return Y (n, q) for queries of several vectors, each column cut to its largest entries.

    Reference: Iscen et al. (2017), section 4 and eq. 8: the vectors of a query enter together.

    Parameters
    ----------
    ids, similarities : (m, k)
        The nearest points of each of the m query regions; -1 pads.
    owners : (m,) int
        The query 0..q-1 each region belongs to.
    n_largest : int
        Entries kept in each column (the second cut of section 5.1; equal entries by ascending id).
    gamma : float
        Exponent of the kernel max(s, 0)^gamma.
    y_mode : {"sum_of_powers", "power_of_sum"}
        sum of s^gamma, as the paper's equation 8 has it, or (sum of s)^gamma, as its official code does.

    Examples
    --------
    >>> hit_twice = dict(owners=np.array([0, 0]), n_nodes=1)
    >>> ids, similarities = np.array([[0], [0]]), np.array([[0.9], [0.8]])
    >>> [round(float(regional_seeds(ids, similarities, y_mode=m, **hit_twice)[0, 0]), 3) for m in Y_MODES]
    [1.241, 4.913]
    """
    if y_mode not in Y_MODES:
        raise ValueError(f"y_mode must be one of {Y_MODES}, got {y_mode!r}")
    owners = as_integers(owners, "owners")
    ids, similarities = as_integers(ids, "ids"), as_array(similarities, "similarities")
    values = np.where(ids >= 0, similarities, 0).astype(np.float64)
    if y_mode == "sum_of_powers":
        values = np.maximum(values, 0) ** gamma
    valid = ids >= 0
    columns = np.broadcast_to(owners[:, None], ids.shape)[valid]
    q = int(owners.max(initial=-1)) + 1
    total = sparse.csc_array((values[valid], (ids[valid], columns)), shape=(n_nodes, q))
    total.sum_duplicates()
    if y_mode == "power_of_sum":
        total.data = np.maximum(total.data, 0) ** gamma
    for j in range(q):
        column = total.data[total.indptr[j] : total.indptr[j + 1]]
        column[np.argsort(-column, kind="stable")[n_largest:]] = 0
    total.eliminate_zeros()
    return total


def _weights(
    ids: AnyArray,
    similarities: AnyArray,
    affinity: Affinity,
    node_scales: Floats | None,
) -> Floats:
    if not affinity.is_scaled:
        return affinity.weights(similarities)
    own = affinity.scales(np.where(ids >= 0, similarities, -np.inf))[:, None]
    return affinity.weights(similarities, own, own if node_scales is None else node_scales[ids])
