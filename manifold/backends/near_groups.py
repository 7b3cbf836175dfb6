"""Groups of 16 nodes that are near each other, compiled: a graph in, an order of its nodes out."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from manifold._typing import AnyArray, Ints
from manifold.backends._compiled import compiled
from manifold.backends.column_relaxation import WIDTH

_NEAR = 1 << 10  # nodes around one that are looked at for those that are in no group yet


def near_groups(affinity: sparse.csr_array, order: AnyArray) -> Ints:
    """Return the nodes (n,) so that each 16 in a row are near each other: columns that touch the same rows.

    Greedily, in the order given: a node, then the nearest that are in no group yet, through others if need be.

    >>> ring = sparse.csr_array(np.roll(np.eye(40), 1, axis=1) + np.roll(np.eye(40), -1, axis=1))
    >>> sorted(near_groups(ring, np.arange(40))[:16].tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 33, 34, 35, 36, 37, 38, 39]
    """
    grouped: Ints = np.empty(order.size, np.int64)
    _group(affinity.indptr, affinity.indices, order.astype(np.int64), grouped)
    return grouped


@compiled
def _group(indptr, indices, order, grouped):  # type: ignore[no-untyped-def]
    n = order.size
    free, met_by, queue = np.ones(n, np.bool_), np.full(n, -1, np.int64), np.empty(min(n, _NEAR), np.int64)
    taken, next_one, looked, met = 0, 0, 0, 0
    while taken < n:
        if taken % WIDTH == 0 or looked == met:  # a new group, or nothing is left around this one
            while not free[order[next_one]]:
                next_one += 1
            node = order[next_one]
            free[node], grouped[taken], queue[0] = False, node, node
            taken, looked, met = taken + 1, 0, 1
            group = taken
            met_by[node] = group
            continue
        node = queue[looked]
        looked += 1
        for e in range(indptr[node], indptr[node + 1]):
            j = np.int64(indices[e])
            if met_by[j] == group:
                continue
            met_by[j] = group
            if met < queue.size:
                queue[met] = j
                met += 1
            if free[j]:
                free[j], grouped[taken] = False, j
                taken += 1
                if taken % WIDTH == 0:
                    break
