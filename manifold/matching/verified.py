"""Verified seeds: what another judge says of a query's best items decides where its diffusion starts.

    y_i = v_i max(s_i, 0)      v = verification / its largest, s the similarity            (Siméoni et al., CVPR 2019)

Verified *edges* enter where the graph is built: `manifold.neighbors.Neighbors.with_similarities`, or a matrix of scores
as ``build_graph(scores, metric="precomputed")``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from manifold._arrays import as_integers, as_numbers
from manifold._checks import check_count


def verified_seeds(
    ids: ArrayLike, similarities: ArrayLike, verification: ArrayLike, *, n_nodes: int, n_seeds: int = 4
) -> sparse.csc_array:
    """Return Y (n, q): the similarity of each query's verified items, weighted by how well they were verified.

    ``y_i = (v_i / max v) max(s_i, 0)``, or ``v_i / max v`` where all of those are 0; the `n_seeds` largest stay.

    Reference: Siméoni et al. (2019).

    Parameters
    ----------
    ids, similarities, verification : (q, m)
        Items, their similarity to the query, and a score >= 0 from elsewhere: inliers of a spatial verification, an
        aggregated match kernel, a cross-encoder, clicks. Any order; -1 pads.
    n_nodes : int
        Rows of Y.
    n_seeds : int
        Entries kept in a column, equal ones by their place in the row.

    Returns
    -------
    csc_array (n_nodes, q) float64
        For `manifold.diffuse`; a column is empty where nothing was verified.

    Raises
    ------
    ValueError
        For shapes that differ, ids out of range or twice in a row, scores that are negative or not finite.

    Notes
    -----
    Cost: a sort of each row.

    Examples
    --------
    >>> verified_seeds([[2, 0, 1]], [[0.9, 0.8, 0.7]], [[10, 0, 40]], n_nodes=3).toarray().ravel().round(3).tolist()
    [0.0, 0.7, 0.225]
    """
    rows = as_integers(ids, "ids")
    s, v = as_numbers(similarities, "similarities").copy(), as_numbers(verification, "verification").copy()
    if rows.ndim != 2 or not rows.shape == s.shape == v.shape:
        raise ValueError(f"ids, similarities, verification must share (q, m), got {rows.shape}, {s.shape}, {v.shape}")
    if rows.size and not (rows.min() >= -1 and rows.max() < n_nodes):
        raise ValueError(f"ids must lie in -1..{n_nodes - 1}, got {rows.min()}..{rows.max()}")
    s[rows < 0], v[rows < 0] = 0, 0
    if not (np.isfinite(s).all() and np.isfinite(v).all() and (v >= 0).all()):
        raise ValueError("similarities or verification hold NaN or infinity, or verification is negative")
    best = v.max(axis=1, initial=0, keepdims=True)
    v /= np.where(best > 0, best, 1)
    y = v * np.maximum(s, 0)
    y = np.where((y > 0).any(axis=1, keepdims=True), y, v)
    order = np.argsort(-y, axis=1, kind="stable")[:, : check_count(n_seeds, "n_seeds")]
    rows, y = np.take_along_axis(rows, order, axis=1), np.take_along_axis(y, order, axis=1)
    kept = y > 0
    columns = np.broadcast_to(np.arange(rows.shape[0])[:, None], rows.shape)[kept]
    Y = sparse.csc_array((y[kept], (rows[kept], columns)), shape=(n_nodes, rows.shape[0]))
    if Y.nnz < kept.sum():
        raise ValueError("a row of ids names an item twice: give each item one score")
    return Y
