"""The edge rule: lists of neighbours in, a symmetric affinity W out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._checks import check_count
from manifold.graph.affinity import Affinity
from manifold.neighbors import Neighbors

EDGE_RULES = ("mutual", "union", "sum")


def symmetric_affinity(
    neighbors: Neighbors, kernel: Affinity, *, edges: str, bridge: int
) -> tuple[sparse.csr_array, int]:
    """Return W by one of the edge rules, and the number of weights that were not positive."""
    directed, n_clipped = _directed_affinity(neighbors, kernel)
    transposed = directed.T.tocsr()
    if edges == "sum":
        return sparse.csr_array(directed + transposed), n_clipped
    if edges == "union":
        return sparse.csr_array(directed.maximum(transposed)), n_clipped
    W = directed.minimum(transposed)
    if bridge:
        first, _ = _directed_affinity(neighbors.first(bridge), kernel, scales_from=neighbors)
        W = W.maximum(first.maximum(first.T.tocsr()))
    return sparse.csr_array(W), n_clipped


def _directed_affinity(
    neighbors: Neighbors, kernel: Affinity, *, scales_from: Neighbors | None = None
) -> tuple[sparse.csr_array, int]:
    """Return A (n, n) float32 with a_ij the weight of neighbour j of i, and the number of weights not positive."""
    scales = kernel.scales((scales_from or neighbors).similarities)
    ids, n = neighbors.indices, neighbors.n_nodes
    similarities: NDArray[Any] = neighbors.similarities
    if neighbors.metric in ("inner_product", "precomputed"):  # of any scale, which S does not see
        similarities = similarities / (float(similarities.max(initial=0.0)) or 1.0)
    weights = kernel.weights(similarities, scales[:, None], scales[ids])
    listed = ids >= 0
    kept = listed & (weights >= np.finfo(np.float32).tiny)
    rows = np.broadcast_to(np.arange(n)[:, None], ids.shape)[kept]
    entries = (weights[kept].astype(np.float32), (rows, ids[kept]))
    return sparse.csr_array(entries, shape=(n, n)), int(listed.sum() - kept.sum())


def check_edges(edges: str, bridge: int) -> None:
    """Raise ValueError for an unknown rule, or a number of bridges that is none."""
    if edges not in EDGE_RULES:
        raise ValueError(f"edges must be one of {EDGE_RULES}, got {edges!r}")
    check_count(bridge, "bridge", minimum=0)
