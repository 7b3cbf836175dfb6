"""Several rankings of the same queries fused into one.

score_i = sum over rankings r of weight_r g_r(i), 0 where i is not listed
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from manifold._arrays import as_array, as_numbers
from manifold._checks import check_count
from manifold._resources import require_memory
from manifold._typing import AnyArray, Floats, Mask

RULES = ("min_max", "reciprocal_rank", "sum")
_HUGE = 2.0**1022  # scores whose differences may exceed float64
_BYTES = 112  # of an entry of a list while it is fused


def fuse_rankings(
    rankings: Sequence[Iterable[ArrayLike]],
    *,
    weights: ArrayLike | None = None,
    rule: str = "min_max",
    k: int = 100,
    constant: float = 60.0,
) -> tuple[AnyArray, Floats]:
    """Fuse rankings of the same queries: ``score_i = sum over rankings r of weight_r g_r(i)``, 0 where i is not listed.

    Parameters
    ----------
    rankings : sequence of (ids, scores), or of Ranking
        Each (q, m), best first; m may differ. Ids are integers (-1 pads) or strings ("" pads), each once in a row.
    weights : sequence of float, optional
        One >= 0 a ranking; all 1 by default.
    rule : {"min_max", "reciprocal_rank", "sum"}
        g: the score on the scale of its list, (s - least) / (largest - least), 1 where they are equal; or
        1 / (constant + rank), ranks from 1, for scores that do not compare; or the score as it is, where a negative one
        counts less than not being listed.
    k : int
        Items to return.
    constant : float
        > 0, of "reciprocal_rank".

    Returns
    -------
    ids, scores : (q, k)
        Best first, equal scores by ascending id; -1 (or "") and 0 pad.

    Raises
    ------
    ValueError
        For no rankings, other numbers of queries, ids of different kinds, twice in a row or beyond 63 bits, scores that
        are not finite, or whose sum is not.
    MemoryBudgetError
        Where the lists would not fit; raised before the work.

    Notes
    -----
    Cost: a sort of all entries of all lists; memory 112 bytes an entry.

    References
    ----------
    Cormack, Clarke & Büttcher, "Reciprocal rank fusion outperforms Condorcet", SIGIR 2009, for "reciprocal_rank".

    Examples
    --------
    >>> near, diffused = ([[4, 7, 9]], [[0.9, 0.8, 0.1]]), ([[7, 5]], [[0.3, 0.1]])
    >>> ids, scores = fuse_rankings([near, diffused], k=3)
    >>> ids.tolist(), scores.round(3).tolist()
    ([[7, 4, 5]], [[1.875, 1.0, 0.0]])
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {RULES}, got {rule!r}")
    if not constant > 0:
        raise ValueError(f"constant must be positive, got {constant!r}: 60 is the published one")
    k = check_count(k, "k")
    lists = [_checked(*ranking) for ranking in rankings]
    factors = np.ones(len(lists)) if weights is None else as_numbers(weights, "weights")
    if not lists or factors.shape != (len(lists),) or not ((factors >= 0) & np.isfinite(factors)).all():
        raise ValueError(f"give rankings, and one weight >= 0 each: got {len(lists)} and weights={weights!r}")
    q, kinds = lists[0][0].shape[0], {"text" if ids.dtype.kind == "U" else "number" for ids, _ in lists}
    if len(kinds) > 1 or any(ids.shape[0] != q for ids, _ in lists):
        raise ValueError("rankings must be of the same queries, with ids that are all integers or all strings")
    missing: str | int = "" if kinds == {"text"} else -1
    entries = sum(ids.size for ids, _ in lists)
    require_memory(_BYTES * entries, purpose=f"fusing {entries} entries", cure="fuse shorter lists, or some queries")
    names, codes = np.unique(np.concatenate([ids.ravel() for ids, _ in lists]), return_inverse=True)
    queries = np.concatenate([np.repeat(np.arange(q), ids.shape[1]) for ids, _ in lists])
    with np.errstate(over="ignore", under="ignore"):
        parts = [w * _scaled(ids != missing, s, rule, constant) for w, (ids, s) in zip(factors, lists, strict=True)]
    valid = names[codes] != missing
    pairs, where = np.unique(queries[valid] * names.size + codes[valid], return_inverse=True)
    weighed = np.concatenate([part.ravel() for part in parts])[valid]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        total = np.bincount(where, weights=weighed, minlength=pairs.size)
    if not np.isfinite(total).all():
        raise ValueError(f"weighted scores of rule={rule!r} exceed float64 (1.8e308): lower the weights or the scores")
    query, code = np.divmod(pairs, max(names.size, 1))
    order = np.lexsort((code, -total, query))
    rank = np.arange(query.size) - np.searchsorted(query, query)
    kept = rank < k
    best, scores = np.full((q, k), missing, dtype=names.dtype), np.zeros((q, k))
    best[query[kept], rank[kept]], scores[query[kept], rank[kept]] = names[code[order][kept]], total[order][kept]
    return best, scores


def _checked(ids: ArrayLike, scores: ArrayLike) -> tuple[AnyArray, Floats]:
    names, values = np.atleast_2d(as_array(ids, "ids")), np.atleast_2d(as_numbers(scores, "scores"))
    if names.dtype.kind == "O" and all(isinstance(name, str) for name in names.flat):
        names = names.astype(str)
    if names.dtype.kind not in "iuU" or names.shape != values.shape or names.ndim != 2:
        raise ValueError(f"ids (integers or strings) and scores must share (q, m), got {names.shape}, {values.shape}")
    if names.dtype.kind == "u":  # beside -1 NumPy would make floats of them
        if names.size and names.max() >= 2**63:
            raise ValueError(f"ids hold {names.max()}, beyond 2^63 - 1: write such ids as strings")
        names = names.astype(np.int64)
    missing = names == ("" if names.dtype.kind == "U" else -1)
    if not np.isfinite(values[~missing]).all():
        raise ValueError("scores hold NaN or infinity beside an id")
    together = np.sort(names, axis=1)
    twice = (together[:, 1:] == together[:, :-1]) & (together[:, 1:] != ("" if names.dtype.kind == "U" else -1))
    if twice.any():
        raise ValueError(f"ids of query {np.flatnonzero(twice.any(axis=1))[0]} name an item twice")
    return names, values


def _scaled(valid: Mask, scores: Floats, rule: str, constant: float) -> Floats:
    """Return g (q, m), 0 beside padding."""
    if rule == "reciprocal_rank":
        return np.where(valid, 1 / (constant + np.cumsum(valid, axis=1)), 0.0)
    scores = np.where(valid, scores, 0)
    if rule == "sum":
        return scores
    # half of such a score is exact, and a difference of halves is finite
    scores = scores * np.where(np.abs(scores).max(axis=1, initial=0) >= _HUGE, 0.5, 1.0)[:, None]
    least = np.where(valid, scores, np.inf).min(axis=1, initial=np.inf, keepdims=True)
    largest = np.where(valid, scores, -np.inf).max(axis=1, initial=-np.inf, keepdims=True)
    span = np.where(valid.any(axis=1, keepdims=True), largest, 0) - np.where(np.isfinite(least), least, 0)
    above = np.where(valid, scores - np.where(np.isfinite(least), least, 0), 0)
    return np.where(span > 0, above / np.where(span > 0, span, 1), valid)
