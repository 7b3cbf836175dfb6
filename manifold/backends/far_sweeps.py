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
def residuals(rows, seeds, x, roots, pole, nodes, r):  # type: ignore[no-untyped-def]
    """Write w Y - (I - a S) x of some nodes into `r` (n, q); return the largest |r_i| / v_i (q,), v = sqrt(degree)."""
    (indptr, indices, data), (starts, columns, values), (w, a) = rows, seeds, pole
    q = x.shape[1]
    row, largest = np.empty(q), np.zeros(q)
    for i in nodes:
        row[:] = 0.0
        for e in range(indptr[i], indptr[i + 1]):
            j = indices[e]
            weight = np.float64(data[e]) / roots[j]
            for c in range(q):
                row[c] += weight * x[j, c]
        for c in range(q):
            row[c] = a / roots[i] * row[c] - x[i, c]
        for e in range(starts[i], starts[i + 1]):
            row[columns[e]] += w * values[e]
        for c in range(q):
            r[i, c] = row[c]
            largest[c] = max(largest[c], abs(row[c]) / roots[i])
    return largest


@compiled
def sweep(rows, rates, b, own, u, backwards, waits, owed, least):  # type: ignore[no-untyped-def]
    """Renew u of those of the first m nodes that wait, in their order or against it; return how many did.

    Parameters
    ----------
    rows, rates : CSR (m, n) and (m,)
        Of W, and a over its degrees.
    b, own : (s, q) and (m,)
        What comes from a node's own label, and which row of `b` that is, or -1.
    waits, owed, least : (m,) bool, (m,) and float
        What a node has gained since its neighbours were told: once it is more than `least` of its largest u, they wait.
        So where none does, all that a node could gain is at most that share of its largest.
    """
    (indptr, indices, data), (m, q) = rows, (own.size, u.shape[1])
    row, renewed = np.empty(q), 0
    for t in range(m):
        p = m - 1 - t if backwards else t
        if not waits[p]:
            continue
        waits[p] = False
        renewed += 1
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
        owed[p] += gain
        if owed[p] > least * top:
            owed[p] = 0.0
            for e in range(indptr[p], indptr[p + 1]):
                if indices[e] < m:
                    waits[indices[e]] = True
    return renewed
