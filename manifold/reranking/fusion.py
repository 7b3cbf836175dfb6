"""Several rankings of the same queries fused into one.

score_i = sum over rankings r of weight_r g_r(i), 0 where i is not listed
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from manifold._arrays import as_numbers
from manifold._checks import check_count
from manifold._resources import require_memory
from manifold._typing import AnyArray, Floats
from manifold.reranking._listed import MISSING, Listed, refuse_repeated

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

    Reference: Cormack et al. (2009), for "reciprocal_rank".

    Parameters
    ----------
    rankings : sequence of (ids, scores), or of Ranking
        Each (q, m), best first; m may differ. Ids are integers (-1 pads), strings ("" pads) or UUIDs (None pads), each
        once in a row.
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
        Best first, equal scores by ascending id; -1 (or "", or None) and 0 pad.

    Raises
    ------
    ValueError
        For no rankings, other numbers of queries, ids of different kinds or twice in a row, scores that are not finite,
        or whose sum is not.
    MemoryBudgetError
        Where the lists would not fit; raised before the work.

    Notes
    -----
    Cost: a sort of all entries of all lists; memory 112 bytes an entry.

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
    lists = [Listed.of(*ranking) for ranking in rankings]
    factors = np.ones(len(lists)) if weights is None else as_numbers(weights, "weights")
    if not lists or factors.shape != (len(lists),) or not ((factors >= 0) & np.isfinite(factors)).all():
        raise ValueError(f"give rankings, and one weight >= 0 each: got {len(lists)} and weights={weights!r}")
    q, kinds = lists[0].names.shape[0], {of.kind for of in lists}
    if len(kinds) > 1 or any(of.names.shape[0] != q for of in lists):
        raise ValueError(f"rankings must be of the same queries, with ids of one kind, got {sorted(kinds)}")
    missing = MISSING[kinds.pop()]
    entries = sum(of.names.size for of in lists)
    require_memory(_BYTES * entries, purpose=f"fusing {entries} entries", cure="fuse shorter lists, or some queries")
    names, codes = np.unique(np.concatenate([of.names[of.valid] for of in lists]), return_inverse=True)
    queries = np.concatenate([np.nonzero(of.valid)[0] for of in lists])
    with np.errstate(over="ignore", under="ignore"):
        parts = [w * _scaled(of, rule, constant) for w, of in zip(factors, lists, strict=True)]
    keys = queries * names.size + codes
    refuse_repeated(keys, lists)
    pairs, where = np.unique(keys, return_inverse=True)
    weighed = np.concatenate(parts)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        total = np.bincount(where, weights=weighed, minlength=pairs.size)
    if not np.isfinite(total).all():
        raise ValueError(f"weighted scores of rule={rule!r} exceed float64 (1.8e308): lower the weights or the scores")
    query, code = np.divmod(pairs, max(names.size, 1))
    order = np.lexsort((code, -total, query))
    rank = np.arange(query.size) - np.searchsorted(query, query)
    kept = rank < k
    dtype = names.dtype if names.size else lists[0].names.dtype
    best, scores = np.full((q, k), missing, dtype=dtype), np.zeros((q, k))
    best[query[kept], rank[kept]], scores[query[kept], rank[kept]] = names[code[order][kept]], total[order][kept]
    return best, scores


def _scaled(listed: Listed, rule: str, constant: float) -> Floats:
    """Return g of all that is no pad, list after list."""
    valid, scores = listed.valid, listed.scores
    if rule == "reciprocal_rank":
        return np.asarray((1 / (constant + np.cumsum(valid, axis=1)))[valid])
    scores = np.where(valid, scores, 0)
    if rule == "sum":
        return scores[valid]
    # half of such a score is exact, and a difference of halves is finite
    scores = scores * np.where(np.abs(scores).max(axis=1, initial=0) >= _HUGE, 0.5, 1.0)[:, None]
    least = np.where(valid, scores, np.inf).min(axis=1, initial=np.inf, keepdims=True)
    largest = np.where(valid, scores, -np.inf).max(axis=1, initial=-np.inf, keepdims=True)
    span = np.where(valid.any(axis=1, keepdims=True), largest, 0) - np.where(np.isfinite(least), least, 0)
    above = np.where(valid, scores - np.where(np.isfinite(least), least, 0), 0)
    return np.where(span > 0, above / np.where(span > 0, span, 1), 1.0)[valid]
