"""Compiled: scores of nodes far from all labels, by Gauss-Seidel sweeps from the near ones to the far ones and back.

In: W, and u = D^-1/2 x with those of the other nodes known. Out: u of the far ones, u_i = b_i + a / d_i sum_j W_ij u_j.
Each is a sum of products that are not negative, and grows from sweep to sweep: right relative to itself, however small.
"""

from __future__ import annotations

import numpy as np

from manifold.backends._compiled import compiled


@compiled
def distances(indptr, indices, is_far):  # type: ignore[no-untyped-def]
    """Return how many edges each node is away from the others, 0 for these; as many as there are nodes: no way."""
    n, met, head = is_far.size, 0, 0
    waiting, away = np.empty(n, np.int32), np.full(n, n, np.int32)
    for i in range(n):
        if not is_far[i]:
            away[i] = 0
            waiting[met] = i
            met += 1
    while head < met:
        i = waiting[head]
        head += 1
        for e in range(indptr[i], indptr[i + 1]):
            j = indices[e]
            if away[j] == n:
                away[j] = away[i] + 1
                waiting[met] = j
                met += 1
    return away


@compiled
def sweep(rows, rates, b, own, u, backwards, added, tops):  # type: ignore[no-untyped-def]
    """Renew u of the first m nodes, in their order or against it; add the largest of what one has gained to `added`.

    Parameters
    ----------
    rows, rates : CSR (m, n) and (m,)
        Of W, and a over its degrees.
    b, own : (s, q) and (m,)
        What comes from a node's own label, and which row of `b` that is, or -1.
    added, tops : (m,)
        `tops` becomes the largest u of each node.
    """
    (indptr, indices, data), (m, q) = rows, (own.size, u.shape[1])
    row = np.empty(q)
    for t in range(m):
        p = m - 1 - t if backwards else t
        row[:] = 0.0
        for e in range(indptr[p], indptr[p + 1]):
            j, weight = indices[e], np.float64(data[e])
            for c in range(q):
                row[c] += weight * u[j, c]
        gain = top = 0.0
        for c in range(q):
            new = rates[p] * row[c] + (b[own[p], c] if own[p] >= 0 else 0.0)
            gain, top = max(gain, new - u[p, c]), max(top, new)
            u[p, c] = new
        added[p] += gain
        tops[p] = top


@compiled
def left_over(added, before, tops, least):  # type: ignore[no-untyped-def]
    """Return what sweeps that were not made may add to a node, as a share of its largest, by the pace of the last two.

    The pace is the slowest among nodes that have gained more than a share `least`.
    """
    pace = share = 0.0
    for p in range(added.size):
        if tops[p] > 0:
            share = max(share, added[p] / tops[p])
            if added[p] > least * tops[p]:
                pace = max(pace, added[p] / before[p] if before[p] > 0 else np.inf)
    return share * pace / (1 - pace) if pace < 1 else np.inf
