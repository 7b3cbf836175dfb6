"""Rankings and relevance in, figures of merit out.

A ranking is (q, m) item ids, best first, one row a query; a negative or empty id pads a short row.
``relevant`` and ``junk`` hold one collection of ids a query; junk is taken out before anything is counted.
A query without relevant items is skipped (a mean over no query is NaN). A malformed ranking, or relevance
that does not fit it, is a ValueError or TypeError that says how to mend it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ids: TypeAlias = Collection[Any] | NDArray[Any]
Relevance: TypeAlias = Sequence[Ids]
FloatArray: TypeAlias = NDArray[np.float64]
Interpolation: TypeAlias = Literal["trapezoid", "step"]


def average_precision(ranks: ArrayLike, n_relevant: int, *, interpolation: Interpolation = "trapezoid") -> float:
    """Area under the precision-recall curve of one query.

    ``AP = sum_j (p0 + p1) / (2 n)`` with ``p1 = (j + 1) / (r_j + 1)`` and ``p0 = j / r_j`` (1 at rank 0), the
    trapezoid rule of the Oxford protocol; ``"step"`` is ``sum_j p1 / n``, the AP of trec_eval.

    Parameters
    ----------
    ranks : (p,) int
        0-based ranks of the relevant items that were retrieved, junk taken out.
    n_relevant : int
        All relevant items, also those not retrieved; 0 gives NaN.

    Raises
    ------
    ValueError
        If ``interpolation`` is unknown or a rank is negative, repeated or one too many.

    References
    ----------
    Philbin et al., "Object retrieval with large vocabularies and fast spatial matching", CVPR 2007.

    Examples
    --------
    >>> round(average_precision([0, 3, 4, 5], 4), 4)
    0.65
    """
    if interpolation not in ("trapezoid", "step"):
        raise ValueError(f"interpolation={interpolation!r} is unknown: use 'trapezoid' or 'step'")
    r = np.unique(np.asarray(ranks, dtype=np.int64))
    if r.size != np.size(ranks) or (r.size and r[0] < 0) or r.size > n_relevant:
        raise ValueError(f"ranks={ranks!r} with n_relevant={n_relevant}: give at most n_relevant distinct ranks >= 0")
    if n_relevant == 0:
        return float("nan")
    j = np.arange(r.size)
    precision = (j + 1) / (r + 1)
    if interpolation == "trapezoid":
        precision = (precision + np.where(r == 0, 1.0, j / np.maximum(r, 1))) / 2
    return float(precision.sum() / n_relevant)


def average_precisions(
    ranking: ArrayLike,
    relevant: Relevance,
    *,
    junk: Relevance | None = None,
    interpolation: Interpolation = "trapezoid",
) -> FloatArray:
    """Average precision of every query, (q,) float64, NaN without relevant items; see `average_precision`.

    Examples
    --------
    >>> average_precisions([[7, 1, 2], [1, 7, 2]], [[7], [7]])
    array([1.  , 0.25])
    """
    judged = _judge(ranking, relevant, junk)
    return np.array([average_precision(j.ranks, j.n_relevant, interpolation=interpolation) for j in judged])


def mean_average_precision(
    ranking: ArrayLike,
    relevant: Relevance,
    *,
    junk: Relevance | None = None,
    interpolation: Interpolation = "trapezoid",
) -> float:
    """Mean average precision (mAP) over the queries that have relevant items; see `average_precision`.

    Examples
    --------
    >>> mean_average_precision([[7, 1, 2], [1, 7, 2]], [[7], [7]])
    0.625
    """
    return _mean(average_precisions(ranking, relevant, junk=junk, interpolation=interpolation))


def mean_precision_at_k(
    ranking: ArrayLike, relevant: Relevance, *, k: int = 10, junk: Relevance | None = None
) -> float:
    """Mean precision of the first k items (mP@k) as the revisited protocol counts it.

    ``P@k = #(pos <= k') / k'`` with 1-based positions ``pos`` and ``k' = min(max(pos), k)``: a list is not
    blamed for what follows its last relevant item. 0 where no relevant item was retrieved.

    References
    ----------
    Radenović et al., "Revisiting Oxford and Paris", CVPR 2018.

    Examples
    --------
    >>> mean_precision_at_k([[7, 1, 2, 8, 3]], [[7, 8]], k=5)
    0.5
    """
    _check_k(k)
    return _mean([_precision(j, k) for j in _judge(ranking, relevant, junk)])


def recall_at_k(ranking: ArrayLike, relevant: Relevance, *, k: int = 100, junk: Relevance | None = None) -> float:
    """Mean fraction of a query's relevant items among its first k, ``#(rank < k) / n``.

    Examples
    --------
    >>> recall_at_k([[7, 1, 8]], [[7, 8]], k=2)
    0.5
    """
    _check_k(k)
    judged = _judge(ranking, relevant, junk)
    return _mean([np.count_nonzero(j.ranks < k) / j.n_relevant for j in judged if j.n_relevant])


def hit_rate_at_k(ranking: ArrayLike, relevant: Relevance, *, k: int = 1, junk: Relevance | None = None) -> float:
    """Fraction of queries with at least one relevant item among the first k, ``mean_q [min rank < k]``.

    Metric learning calls it Recall@K. At k = 1, with the items of the query's class relevant, it is the
    accuracy of the nearest-neighbour classifier.

    Examples
    --------
    >>> hit_rate_at_k([[7, 1], [1, 7]], [[7, 8], [7]], k=1)
    0.5
    """
    _check_k(k)
    return _mean([(j.ranks < k).any() for j in _judge(ranking, relevant, junk) if j.n_relevant])


def ndcg_at_k(ranking: ArrayLike, relevant: Relevance, *, k: int = 10, junk: Relevance | None = None) -> float:
    """Mean normalised discounted cumulative gain of the first k items.

    ``DCG = sum_{r < k} gain_r / log2(r + 2)`` over 0-based ranks r, divided by the DCG of the ideal order:
    linear gain, as in trec_eval's ndcg_cut. A query's relevant items are a mapping ``id -> gain``, or any
    other collection of ids, each of gain 1. A negative or non-finite gain is a ValueError.

    References
    ----------
    Järvelin & Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002.

    Examples
    --------
    >>> round(ndcg_at_k([[7, 1, 8]], [{7: 1, 8: 3}]), 4)
    0.6885
    """
    _check_k(k)
    judged = _judge(ranking, relevant, junk)
    return _mean([_ndcg(j, wanted, k) for j, wanted in zip(judged, relevant, strict=True)])


def bulls_eye(ranking: ArrayLike, relevant: Relevance, *, m: int) -> float:
    """Bull's-eye score: mean fraction of the query's class among its m nearest items, itself counted.

    ``(1 + #(rank < m - 1)) / (1 + n)``: the query is an item of the collection and takes the first of the m
    places; ``ranking`` and ``relevant`` leave it out. m is 40 on MPEG-7, 72 on COIL-20, 15 on ORL.

    References
    ----------
    Latecki, Lakämper & Eckhardt, "Shape descriptors for non-rigid shapes", CVPR 2000.

    Examples
    --------
    >>> bulls_eye([[1, 7, 8]], [[7, 8, 9]], m=3)
    0.5
    """
    _check_k(m, name="m")
    judged = [j for j in _judge(ranking, relevant, None) if j.n_relevant]
    return _mean([(1 + np.count_nonzero(j.ranks < m - 1)) / (1 + j.n_relevant) for j in judged])


def revisited(
    ranking: ArrayLike,
    *,
    easy: Relevance,
    hard: Relevance,
    junk: Relevance,
    ks: Sequence[int] = (1, 5, 10),
) -> dict[str, dict[str, float]]:
    """Easy, Medium and Hard figures of the revisited Oxford and Paris protocol.

    Relevant / junk are easy / junk + hard (Easy), easy + hard / junk (Medium), hard / junk + easy (Hard).

    Returns ``{"easy" | "medium" | "hard": {"mAP": ..., "mP@1": ..., ...}}``, fractions of 1.

    References
    ----------
    Radenović et al., "Revisiting Oxford and Paris: Large-Scale Image Retrieval Benchmarking", CVPR 2018.

    Examples
    --------
    >>> revisited([[4, 9, 5]], easy=[[4]], hard=[[5]], junk=[[9]], ks=(1,))["hard"]
    {'mAP': 1.0, 'mP@1': 1.0}
    """
    for k in ks:
        _check_k(k, name="ks")
    queries = list(zip(easy, hard, junk, strict=True))
    protocols: dict[str, tuple[Relevance, Relevance]] = {
        "easy": (easy, [{*j, *h} for _, h, j in queries]),
        "medium": ([{*e, *h} for e, h, _ in queries], junk),
        "hard": (hard, [{*j, *e} for e, _, j in queries]),
    }
    figures = {}
    for name, (relevant, ignored) in protocols.items():
        judged = list(_judge(ranking, relevant, ignored))
        figures[name] = {"mAP": _mean([average_precision(j.ranks, j.n_relevant) for j in judged])}
        figures[name] |= {f"mP@{k}": _mean([_precision(j, k) for j in judged]) for k in ks}
    return figures


def overlap_at_k(a: ArrayLike, b: ArrayLike, *, k: int | None = None) -> float:
    """Mean set overlap of two rankings of the same queries, ``|A_k ∩ B_k| / max(|A_k|, |B_k|)``.

    ``k`` defaults to the whole rows. Rows where both are empty are skipped.

    Examples
    --------
    >>> overlap_at_k([[1, 2, 3, 4]], [[4, 3, 9, 8]])
    0.5
    """
    if k is not None:
        _check_k(k)
    rows_a, rows_b = _rows(a, name="a"), _rows(b, name="b")
    if len(rows_a) != len(rows_b):
        raise ValueError(f"a ranks {len(rows_a)} queries and b {len(rows_b)}: give both the same queries")
    sets_a, sets_b = ([set(_unpad(row[:k]).tolist()) for row in rows] for rows in (rows_a, rows_b))
    pairs = [(x, y) for x, y in zip(sets_a, sets_b, strict=True) if x or y]
    return _mean([len(x & y) / max(len(x), len(y)) for x, y in pairs])


def k_occurrences(neighbors: ArrayLike, n_items: int) -> NDArray[np.int64]:
    """How often each item stands in the neighbour lists, ``N_k(i) = #{q : i in row q}``, (n_items,) int64.

    Examples
    --------
    >>> k_occurrences([[0, 1], [0, -1]], 3)
    array([2, 1, 0])
    """
    ids = _unpad(_rows(neighbors, name="neighbors").ravel())
    if ids.size and ids.max() >= n_items:
        raise ValueError(f"neighbors holds item {ids.max()} but n_items={n_items}: give every item a count")
    return np.bincount(ids, minlength=n_items).astype(np.int64)


def hubness(counts: ArrayLike) -> float:
    """Skewness of the k-occurrences, ``mean((N - mean)^3) / var^{3/2}``, population moments; 0 if all equal.

    References
    ----------
    Radovanović, Nanopoulos & Ivanović, "Hubs in space", JMLR 2010.

    Examples
    --------
    >>> round(hubness([0, 0, 1, 1, 2, 6]), 4)
    1.3746
    """
    deviation = np.asarray(counts, dtype=np.float64)
    if deviation.size == 0:
        raise ValueError("counts is empty: give the count of at least one item, see k_occurrences")
    deviation = deviation - deviation.mean()
    variance = float(np.mean(deviation**2))
    return float(np.mean(deviation**3)) / variance**1.5 if variance else 0.0


def normalized_mutual_information(
    a: ArrayLike, b: ArrayLike, *, average: Literal["arithmetic", "geometric"] = "arithmetic"
) -> float:
    """Mutual information of two labellings over the mean of their entropies, ``2 I / (H_a + H_b)``.

    ``average="geometric"`` divides by ``sqrt(H_a H_b)`` instead. Two labellings without entropy agree: 1.

    Geometric: Strehl & Ghosh, "Cluster ensembles", JMLR 2002.

    Examples
    --------
    >>> round(normalized_mutual_information([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2]), 4)
    0.5158
    """
    if np.shape(a) != np.shape(b) or np.ndim(a) != 1 or np.size(a) == 0:
        raise ValueError(f"a {np.shape(a)} and b {np.shape(b)}: give two (n,) labellings of the same items")
    if average not in ("arithmetic", "geometric"):
        raise ValueError(f"average={average!r} is unknown: use 'arithmetic' or 'geometric'")
    (_, rows), (_, columns) = np.unique(a, return_inverse=True), np.unique(b, return_inverse=True)
    joint = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(joint, (rows, columns), 1 / rows.size)
    h_a, h_b, h_ab = (_entropy(p) for p in (joint.sum(1), joint.sum(0), joint.ravel()))
    mean = (h_a + h_b) / 2 if average == "arithmetic" else (h_a * h_b) ** 0.5
    if h_a == h_b == 0:
        return 1.0
    return (h_a + h_b - h_ab) / mean if mean else 0.0


class _Judged(NamedTuple):
    """What one query's ranking says of its relevant items."""

    ids: NDArray[Any]  # (p,) those retrieved, best first
    ranks: NDArray[np.int64]  # (p,) their 0-based ranks, junk taken out
    n_relevant: int


def _judge(ranking: ArrayLike, relevant: Relevance, junk: Relevance | None) -> Iterator[_Judged]:
    rows = _rows(ranking, name="ranking")
    junk = [()] * len(rows) if junk is None else junk
    for name, value in (("relevant", relevant), ("junk", junk)):
        if len(value) != len(rows):
            raise ValueError(f"{name} has {len(value)} collections for {len(rows)} queries: give one a query")
    for q, row in enumerate(rows):
        wanted, ignored = _ids(relevant[q], row, name="relevant"), _ids(junk[q], row, name="junk")
        if ignored.size and np.isin(wanted, ignored).any():
            raise ValueError(f"query {q} has ids both in relevant and in junk: keep each in one of them")
        kept = _unpad(row[~np.isin(row, ignored)] if ignored.size else row)
        ranks = np.flatnonzero(np.isin(kept, wanted))
        if np.unique(kept[ranks]).size != ranks.size:
            raise ValueError(f"ranking of query {q} repeats a relevant id: rank each item once")
        yield _Judged(kept[ranks], ranks, wanted.size)


def _rows(ranking: ArrayLike, *, name: str) -> NDArray[Any]:
    ids = np.asarray(ranking)
    if ids.dtype.kind == "O" and all(isinstance(i, str) for i in ids.flat):
        ids = ids.astype(str)
    if ids.ndim != 2 or ids.dtype.kind not in "iuUT":
        raise TypeError(f"{name} is {ids.dtype} of shape {ids.shape}: give (q, m) integer or string ids")
    return ids


def _ids(collection: Ids, row: NDArray[Any], *, name: str) -> NDArray[Any]:
    ids = np.unique(collection if isinstance(collection, np.ndarray) else np.array(list(collection)))
    if ids.size and (ids.dtype.kind in "iu") != (row.dtype.kind in "iu"):
        raise TypeError(f"{name} holds {ids.dtype} ids and the ranking {row.dtype}: give both the same kind")
    return ids if ids.size else np.empty(0, row.dtype)


def _unpad(row: NDArray[Any]) -> NDArray[Any]:
    return row[row >= 0] if row.dtype.kind in "iu" else row[row != ""]


def _precision(judged: _Judged, k: int) -> float:
    if judged.ranks.size == 0:
        return 0.0 if judged.n_relevant else float("nan")
    k = min(int(judged.ranks[-1]) + 1, k)
    return np.count_nonzero(judged.ranks < k) / k


def _ndcg(judged: _Judged, relevant: Ids, k: int) -> float:
    gain = relevant if isinstance(relevant, Mapping) else dict.fromkeys(judged.ids.tolist(), 1.0)
    ideal = np.array(list(gain.values()) if isinstance(relevant, Mapping) else [1.0] * judged.n_relevant)
    if not (np.isfinite(ideal).all() and (ideal >= 0).all()):
        raise ValueError("relevant holds a negative or non-finite gain: give gains >= 0")
    ideal = np.sort(ideal)[::-1][:k]
    best = float(ideal @ (1 / np.log2(np.arange(ideal.size) + 2)))
    first = judged.ranks < k
    gains = np.array([gain[i] for i in judged.ids[first].tolist()], dtype=np.float64)
    return float(gains @ (1 / np.log2(judged.ranks[first] + 2))) / best if best else float("nan")


def _entropy(p: FloatArray) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def _mean(values: ArrayLike) -> float:
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if known.size else float("nan")


def _check_k(k: int, *, name: str = "k") -> None:
    if k < 1:
        raise ValueError(f"{name}={k} is below 1: count at least the first item")
