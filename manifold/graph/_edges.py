"""The edge rule: lists of neighbours in, a symmetric affinity W out.

    W = (1 - b) mutual + b union,   b = one_sided

is the mutual rule made soft: pairs that only one side lists count b times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._checks import check_count
from manifold._typing import AnyArray, Ints
from manifold.graph._returned import returned_listings
from manifold.graph.affinity import Affinity
from manifold.neighbors import Neighbors

# name -> W of the directed weights A and their transpose; bridges belong to "mutual"
EDGE_RULES: Mapping[str, Callable[[sparse.csr_array, sparse.csr_array], sparse.csr_array]] = MappingProxyType(
    {
        "mutual": lambda A, transposed: A.minimum(transposed),
        "union": lambda A, transposed: A.maximum(transposed),
        "sum": lambda A, transposed: A + transposed,
    }
)


def symmetric_affinity(
    neighbors: Neighbors, kernel: Affinity, *, edges: str, bridge: int, one_sided: float = 0.0
) -> tuple[sparse.csr_array, int]:
    """Return W by one of the edge rules, and the number of weights that were not positive.

    >>> lists = Neighbors([[1], [0], [0]], [[1.0], [1.0], [0.5]], metric="cosine", method="by hand")
    >>> symmetric_affinity(lists, Affinity(gamma=1.0), edges="sum", bridge=0)[0].toarray().tolist()
    [[0.0, 2.0, 0.5], [2.0, 0.0, 0.0], [0.5, 0.0, 0.0]]
    """
    scales = kernel.scales(neighbors.similarities)
    weights, n_clipped = list_weights(
        neighbors.indices, neighbors.similarities, kernel, scales=scales, unit=unit_of(neighbors)
    )
    W = joined_lists(neighbors.indices, weights, edges=edges, bridge=bridge, one_sided=one_sided)
    return W, n_clipped


def joined_lists(
    ids: NDArray[np.int32], weights: NDArray[np.float32], *, edges: str, bridge: int, one_sided: float
) -> sparse.csr_array:
    """Return W by one of the edge rules, of listings (n, k) and their weights, 0 where there is none.

    >>> joined_lists(np.array([[1], [0]]), np.ones((2, 1), np.float32), edges="sum", bridge=0, one_sided=0.0).sum()
    np.float32(4.0)
    """
    directed = _directed_affinity(ids, weights)
    transposed = directed.T.tocsr()
    W = EDGE_RULES[edges](directed, transposed)
    if edges == "mutual" and bridge:
        first = _directed_affinity(ids[:, :bridge], weights[:, :bridge])
        W = W.maximum(first.maximum(first.T.tocsr()))
    if one_sided:
        with np.errstate(under="ignore"):  # what vanishes is no edge
            W = (1 - one_sided) * W + one_sided * directed.maximum(transposed)
        W.eliminate_zeros()
    return sparse.csr_array(W, dtype=np.float32)


def unit_of(neighbors: Neighbors) -> float:
    """Return what similarities are divided by before they become weights: the largest, where they may be of any scale.

    >>> unit_of(Neighbors([[1], [0]], [[4.0], [4.0]], metric="inner_product", method="by hand"))
    4.0
    """
    if neighbors.metric not in ("inner_product", "precomputed"):
        return 1.0
    return float(neighbors.similarities[:, :1].max(initial=0.0)) or 1.0  # lists begin with the best


def list_weights(
    ids: NDArray[np.int32],
    similarities: AnyArray,
    kernel: Affinity,
    *,
    scales: AnyArray,
    unit: float,
    rows: slice | Ints = slice(None),
    ranks: AnyArray | None = None,
) -> tuple[NDArray[np.float32], int]:
    """Return the weight (m, k) of each listing, 0 where there is none, and how many were not positive.

    `rows` says which of all nodes, whose `scales` (n,) are given, the lists are of; `ranks` are those of the lists by
    default.

    >>> list_weights(np.array([[1], [0]]), np.array([[0.5], [0.5]]), Affinity(), scales=np.ones(2), unit=1.0)[0][0]
    array([0.125], dtype=float32)
    """
    if unit != 1:  # S does not see it
        similarities = similarities / unit
    weights = kernel.weights(similarities, scales[rows][:, None], scales[ids], ranks=ranks)
    vanish = weights < np.finfo(np.float32).tiny
    weights[vanish] = 0
    return weights.astype(np.float32), int((vanish & (ids >= 0)).sum())


def _directed_affinity(ids: NDArray[np.int32], weights: NDArray[np.float32]) -> sparse.csr_array:
    """Return A (n, n) with a_ij the weight of neighbour j of i."""
    n, kept = len(ids), weights > 0
    indptr = np.zeros(n + 1, dtype=np.int64)  # SciPy makes it int32 where that holds it
    np.cumsum(kept.sum(axis=1), out=indptr[1:])
    directed = sparse.csr_array((weights[kept], ids[kept], indptr), shape=(n, n))
    directed.sort_indices()  # rows come by similarity, and hold no id twice: canonical now
    return directed


def one_sided_weight(neighbors: Neighbors) -> float:
    """Return b = min(((1 - r) / r)^2 / 10, 1/2), where r is the share of listings that are returned.

    Where nearly all are, as on a smooth manifold, one that is not is likely wrong; in many dimensions, where hubs are
    listed by many and can list few, it says little. To two digits, so that W stays while a few points come and go.

    Reference: guide *notation*, "Own methods".

    >>> lists = np.array([[1], [0], [0]])
    >>> one_sided_weight(Neighbors(lists, np.ones((3, 1)), metric="cosine", method="by hand"))  # r = 2/3
    0.025
    """
    n_listed, returned = returned_listings(neighbors.indices)
    odds = (n_listed - returned) / returned if returned else np.inf
    return float(f"{min(odds**2 / 10, 0.5):.2g}")  # what a few listings more would change says nothing


def check_edges(edges: str, bridge: int, one_sided: float | None = 0.0) -> None:
    """Raise for an unknown rule, a number of bridges that is none, or a weight that no rule has.

    >>> check_edges("mutual", 1, one_sided=0.5)
    """
    if edges not in EDGE_RULES:
        raise ValueError(f"edges must be one of {(*EDGE_RULES,)}, got {edges!r}")
    check_count(bridge, "bridge", minimum=0)
    if one_sided is not None and not 0 <= one_sided <= 1:
        raise ValueError(f"one_sided must lie in [0, 1], got {one_sided!r}: None takes it from the neighbours")
    if edges != "mutual" and one_sided != 0:
        raise ValueError(f"one_sided={one_sided!r} softens edges='mutual', not {edges!r}: leave it out")
