"""Figures of merit of one kind each: the value of every query, and its mean over the queries that have one.

In: a ranking (q, m) and what is relevant to each query. A function of one `Judged` list is NaN without relevant items.
An item is relevant where its gain is above 0; in a collection without gains all are.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from manifold._typing import Floats, Ints
from manifold.metrics._judged import Judged, Relevance, as_ids, check_k, judge, known_mean

Interpolation: TypeAlias = Literal["trapezoid", "step"]


def average_precision(ranks: ArrayLike, n_relevant: int, *, interpolation: Interpolation = "step") -> float:
    """Average precision of one query: the mean, over what is relevant, of the precision where it was found.

    ``AP = sum_j p1 / n`` with ``p1 = (j + 1) / (r_j + 1)``, as trec_eval and scikit-learn count it. ``"trapezoid"`` is
    the rule of the Oxford protocols, ``sum_j (p0 + p1) / (2 n)`` with ``p0 = j / r_j`` (1 at rank 0).

    Reference: Buckley and Voorhees (2000); Philbin et al. (2007), for the trapezoids.

    Parameters
    ----------
    ranks : (p,) int
        0-based ranks of the relevant items that were retrieved, junk taken out.
    n_relevant : int
        All relevant items, also those not retrieved; 0 gives NaN.
    interpolation : "step" or "trapezoid"

    Raises
    ------
    ValueError
        If ``interpolation`` is unknown or a rank is negative, repeated or one too many.

    Examples
    --------
    >>> round(average_precision([0, 3, 4, 5], 4), 4), round(average_precision([1], 1, interpolation="trapezoid"), 4)
    (0.6917, 0.25)
    """
    if interpolation not in ("trapezoid", "step"):
        raise ValueError(f"interpolation={interpolation!r} is unknown: use 'trapezoid' or 'step'")
    given = as_ids(ranks, name="ranks")
    if given.dtype.kind not in "iu":
        raise TypeError(f"ranks must be whole numbers, got {given.dtype}")
    r = np.unique(given.astype(np.int64))
    if r.size != given.size or (r.size and r[0] < 0) or r.size > n_relevant:
        raise ValueError(f"ranks={ranks!r} with n_relevant={n_relevant}: give at most n_relevant distinct ranks >= 0")
    if n_relevant == 0:
        return float("nan")
    j = np.arange(r.size)
    precision = (j + 1) / (r + 1)
    if interpolation == "trapezoid":  # the precision just before the item too, so that a late one counts less
        precision = (precision + np.where(r == 0, 1.0, j / np.maximum(r, 1))) / 2
    return float(precision.sum() / n_relevant)


def average_precisions(
    ranking: ArrayLike,
    relevant: Relevance,
    *,
    junk: Relevance | None = None,
    interpolation: Interpolation = "step",
) -> Floats:
    """Average precision of every query, (q,) float64, NaN without relevant items; see `average_precision`.

    Reference: Buckley and Voorhees (2000).

    Examples
    --------
    >>> average_precisions([[7, 1, 2], [1, 7, 2]], [[7], [7]])
    array([1. , 0.5])
    """
    return np.array([averaged_precision(j, interpolation) for j in judge(ranking, relevant, junk)], dtype=np.float64)


def mean_average_precision(
    ranking: ArrayLike,
    relevant: Relevance,
    *,
    junk: Relevance | None = None,
    interpolation: Interpolation = "step",
) -> float:
    """Mean average precision (mAP) over the queries that have relevant items; see `average_precision`.

    Reference: Buckley and Voorhees (2000).

    Examples
    --------
    >>> mean_average_precision([[7, 1, 2], [1, 7, 2]], [[7], [7]])
    0.75
    """
    return known_mean(average_precisions(ranking, relevant, junk=junk, interpolation=interpolation))


def mean_precision_at_k(
    ranking: ArrayLike, relevant: Relevance, *, k: int = 10, junk: Relevance | None = None
) -> float:
    """Mean precision of the first k items (mP@k) as the revisited protocol counts it.

    ``P@k = #(pos <= k') / k'`` with 1-based positions ``pos`` and ``k' = min(max(pos), k)``: a list is not
    blamed for what follows its last relevant item. 0 where no relevant item was retrieved.

    Reference: Radenović et al. (2018).

    Examples
    --------
    >>> mean_precision_at_k([[7, 1, 2, 8, 3]], [[7, 8]], k=5)
    0.5
    """
    check_k(k)
    return known_mean([precision(j, k) for j in judge(ranking, relevant, junk)])


def recall_at_k(ranking: ArrayLike, relevant: Relevance, *, k: int = 100, junk: Relevance | None = None) -> float:
    """Mean fraction of a query's relevant items among its first k, ``#(rank < k) / n``.

    Reference: TREC formats (trec_eval), recall.

    Examples
    --------
    >>> recall_at_k([[7, 1, 8]], [[7, 8]], k=2)
    0.5
    """
    check_k(k)
    return known_mean([recall(j, k) for j in judge(ranking, relevant, junk)])


def hit_rate_at_k(ranking: ArrayLike, relevant: Relevance, *, k: int = 1, junk: Relevance | None = None) -> float:
    """Fraction of queries with at least one relevant item among the first k, ``mean_q [min rank < k]``.

    Metric learning calls it Recall@K. At k = 1, with the items of the query's class relevant, it is the
    accuracy of the nearest-neighbour classifier.

    Reference: Jégou et al. (2011), where it is called recall@R.

    Examples
    --------
    >>> hit_rate_at_k([[7, 1], [1, 7]], [[7, 8], [7]], k=1)
    0.5
    """
    check_k(k)
    return known_mean([hit(j, k) for j in judge(ranking, relevant, junk)])


def reciprocal_rank(
    ranking: ArrayLike, relevant: Relevance, *, k: int | None = None, junk: Relevance | None = None
) -> float:
    """Mean reciprocal rank (MRR), ``mean_q 1 / (1 + min rank)``, 0 where no relevant item is among the first k.

    ``k`` defaults to the whole rows, as in trec_eval's recip_rank.

    Reference: Voorhees (1999).

    Examples
    --------
    >>> reciprocal_rank([[7, 1, 2], [1, 7, 2]], [[7], [7]])
    0.75
    """
    if k is not None:
        check_k(k)
    return known_mean([reciprocal(j, k) for j in judge(ranking, relevant, junk)])


def ndcg_at_k(ranking: ArrayLike, relevant: Relevance, *, k: int = 10, junk: Relevance | None = None) -> float:
    """Mean normalised discounted cumulative gain of the first k items.

    ``DCG = sum_{r < k} gain_r / log2(r + 2)`` over 0-based ranks r, divided by the DCG of the ideal order:
    linear gain, as in trec_eval's ndcg_cut. A query's relevant items are a mapping ``id -> gain``, where those of gain
    0 and less are not relevant, or any other collection of ids, each of gain 1.

    Reference: Järvelin and Kekäläinen (2002).

    Examples
    --------
    >>> round(ndcg_at_k([[7, 1, 8]], [{7: 1, 8: 3}]), 4)
    0.6885
    """
    check_k(k)
    return known_mean([ndcg(j, k) for j in judge(ranking, relevant, junk)])


def bulls_eye(ranking: ArrayLike, relevant: Relevance, *, m: int) -> float:
    """Bull's-eye score: mean fraction of the query's class among its m nearest items, itself counted.

    ``(1 + #(rank < m - 1)) / (1 + n)``: the query is an item of the collection and takes the first of the m
    places; ``ranking`` and ``relevant`` leave it out. m is 40 on MPEG-7, 72 on COIL-20, 15 on ORL.

    Reference: Latecki et al. (2000).

    Examples
    --------
    >>> bulls_eye([[1, 7, 8]], [[7, 8, 9]], m=3)
    0.5
    """
    check_k(m, name="m")
    return known_mean([seen_by_bulls_eye(j, m) for j in judge(ranking, relevant, None)])


def averaged_precision(judged: Judged, interpolation: Interpolation) -> float:
    """Return the average precision.

    >>> round(averaged_precision(next(judge([[1, 7, 8]], [{7: 1, 8: 3, 9: 2}], None)), "step"), 4)
    0.3889
    """
    return average_precision(judged.ranks, judged.n_relevant, interpolation=interpolation)


def precision(judged: Judged, k: int) -> float:
    """Return the share of relevant items among the first k, or up to the last relevant one.

    >>> precision(next(judge([[1, 7, 8]], [{7: 1, 8: 3, 9: 2}], None)), 2)
    0.5
    """
    if judged.ranks.size == 0:
        return 0.0 if judged.n_relevant else float("nan")
    k = min(int(judged.ranks[-1]) + 1, k)  # the program of the protocol does not blame a list for what follows
    return float(np.count_nonzero(judged.ranks < k) / k)


def recall(judged: Judged, k: int) -> float:
    """Return the share of the relevant items that are among the first k.

    >>> round(recall(next(judge([[1, 7, 8]], [{7: 1, 8: 3, 9: 2}], None)), 2), 4)
    0.3333
    """
    return float(np.count_nonzero(judged.ranks < k) / judged.n_relevant) if judged.n_relevant else float("nan")


def hit(judged: Judged, k: int) -> float:
    """Return 1 where a relevant item is among the first k, else 0.

    >>> [hit(next(judge([[1, 7, 8]], [{7: 1, 8: 3, 9: 2}], None)), k) for k in (1, 2)]
    [0.0, 1.0]
    """
    return float((judged.ranks < k).any()) if judged.n_relevant else float("nan")


def miss(judged: Judged, k: int) -> float:
    """Return 1 where no relevant item is among the first k, else 0.

    >>> miss(next(judge([[1, 7, 8]], [{7: 1, 8: 3, 9: 2}], None)), 1)
    1.0
    """
    return 1 - hit(judged, k)


def seen_by_bulls_eye(judged: Judged, k: int) -> float:
    """Return the share of the query's class among its k nearest, itself counted.

    >>> seen_by_bulls_eye(next(judge([[1, 7, 8]], [{7: 1, 8: 3, 9: 2}], None)), 4)
    0.75
    """
    # ranks leave the query out, which takes the first of the k places
    found = 1 + np.count_nonzero(judged.ranks < k - 1)
    return float(found / (1 + judged.n_relevant)) if judged.n_relevant else float("nan")


def reciprocal(judged: Judged, k: int | None = None) -> float:
    """Return 1 over the place of the first relevant item, 0 where none is among the first k.

    >>> reciprocal(next(judge([[1, 7, 8]], [{7: 1, 8: 3, 9: 2}], None)))
    0.5
    """
    if not judged.n_relevant:
        return float("nan")
    first = int(judged.ranks[0]) + 1 if judged.ranks.size else None
    return 1 / first if first is not None and (k is None or first <= k) else 0.0


def ndcg(judged: Judged, k: int) -> float:
    """Return the discounted gain of the first k over the best that can be had.

    >>> round(ndcg(next(judge([[1, 7, 8]], [{7: 1, 8: 3, 9: 2}], None)), 3), 4)
    0.4475
    """
    if not judged.n_relevant:
        return float("nan")
    # linear gains, as in trec_eval; 2^gain - 1 is another measure of the same name
    first = judged.ranks < k
    best = _discounted(np.sort(judged.ideal)[::-1][:k], np.arange(min(k, judged.n_relevant)))
    return _discounted(judged.gains[first], judged.ranks[first]) / best


def binary_ndcg(judged: Judged, k: int) -> float:
    """Return the same with gain 1 for all that is relevant.

    >>> round(binary_ndcg(next(judge([[1, 7, 8]], [{7: 1, 8: 3, 9: 2}], None)), 3), 4)
    0.5307
    """
    return ndcg(judged._replace(gains=np.ones(judged.gains.size), ideal=np.ones(judged.n_relevant)), k)


def _discounted(gains: Floats, ranks: Ints) -> float:
    return float(gains @ (1 / np.log2(ranks + 2)))
