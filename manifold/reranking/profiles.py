"""Profiles: two items are alike where their sparse rows of weights are alike.

With p and g two rows >= 0, summed over the columns both of them hold:

    jaccard          sum min(p, g) / (sum p + sum g - sum min(p, g))         = sum min / sum max
    jensen_shannon   1 - JS(p, g) / log 2, which is that sum of (p + g) log2(p + g) - p log2 p - g log2 g, halved,
                     for rows of sum 1
    product          sum p g
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from manifold._arrays import as_array, as_numbers
from manifold._checks import check_count
from manifold._resources import require_memory
from manifold._typing import AnyArray
from manifold.index import StoredColumns
from manifold.reranking._lists import Askers, Lists, best_of_rows
from manifold.reranking._sparse import cut, sparse_rows, unit_sums

_TERMS = 1 << 22  # pairs of entries looked at together
_ANSWERS = 1 << 19  # possible answers put in order together
_ANSWER_BYTES = 112  # of one of them, while it is
Term: TypeAlias = Callable[[AnyArray, AnyArray], AnyArray]


def compare_profiles(
    queries: sparse.sparray | sparse.spmatrix,
    profiles: sparse.sparray | sparse.spmatrix,
    *,
    k: int = 100,
    measure: str = "jaccard",
) -> Lists:
    """Return the k items whose profiles are most similar to each query's, through an inverted index.

    ``s_ij = sum_l min(p_il, g_jl) / sum_l max(p_il, g_jl)`` for "jaccard"; the others see the head of this file.

    Reference: Bai and Bai (2016), for Jaccard similarities of sparse rows through an inverted index.

    Parameters
    ----------
    queries : (q, m) sparse array
        Rows of weights >= 0 over m columns.
    profiles : (n, m) sparse array
        Those of the items, such as `score_profiles` of an index, or `reciprocal_profiles`.
    k : int
        Items to return; all n where k is larger.
    measure : {"jaccard", "jensen_shannon", "product"}
        See `manifold.reranking.profiles`; "jensen_shannon" scales rows to sum 1 first.

    Returns
    -------
    ids, similarities : (q, k) int64, float64
        Best first, equal ones by ascending id; -1 and 0 where fewer items share a column with the query.

    Raises
    ------
    TypeError, ValueError
        For profiles that are not sparse, an unknown measure, widths that differ, weights that are negative or not
        finite.
    MemoryBudgetError
        Where it would not fit in memory; raised before the work.

    Notes
    -----
    Cost: the sum, over the entries of all queries, of the length of their columns: about n s^2 for s entries a row and
    all n items asking. Memory beside the profiles, their transpose and the answers: up to 160 MiB, 220 MiB for
    "jensen_shannon", more only where one row alone needs it.

    Examples
    --------
    >>> P = sparse.csr_array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]])
    >>> ids, similarities = compare_profiles(P[[0]], P, k=2)
    >>> ids.tolist(), similarities.round(3).tolist()
    ([[0, 1]], [[1.0, 0.333]])
    """
    P, G = _checked(queries, "queries"), _checked(profiles, "profiles")
    if P.shape[1] != G.shape[1]:
        raise ValueError(f"queries have {P.shape[1]} columns and profiles {G.shape[1]}: give both the same")
    nobody = np.empty((P.shape[0], 0))
    if measure not in _TERM:
        raise ValueError(f"measure must be one of {tuple(_TERM)}, got {measure!r}")
    asking = Askers(nobody.astype(np.int64), nobody, None, G.shape[0], G.shape[0])
    return rank_profiles(P, G, asking, measure=measure, weight=0.0, k=check_count(k, "k"))


def score_profiles(scores: ArrayLike | StoredColumns, *, n_entries: int = 200) -> sparse.csr_array:
    """Return diffusion scores as profiles: the largest entries of each column, to sum 1, as sparse rows.

    Two items are then alike where they reach the same items, which holds back hubs: a hub is reached by all, and
    reaches more than what a member of one class does.

    Reference: Bai and Bai (2016), for sparse profiles; guide *rerank*, "Lists without vectors".

    Parameters
    ----------
    scores : (n, q) array-like, or StoredColumns
        Scores of q queries over n items (`Solution.scores`); or a built `manifold.DiffusionIndex`, whose n columns are
        those of all items.
    n_entries : int
        T, entries kept in a row; it should exceed the size of the classes sought.

    Returns
    -------
    csr_array (q, n) float32

    Raises
    ------
    ValueError
        For scores that are not (n, q), or NaN; an entry below 0, which is rounding, is left out.

    Examples
    --------
    >>> score_profiles([[0.3, 0.0], [0.1, 0.5], [0.05, 0.25]], n_entries=2).toarray().astype(float).round(2).tolist()
    [[0.75, 0.25, 0.0], [0.0, 0.67, 0.33]]
    """
    T = check_count(n_entries, "n_entries")
    values: AnyArray
    if isinstance(scores, StoredColumns):
        n = scores.graph.n_nodes
        ids, values, _, _ = scores.own(np.arange(n))
        ids, values = ids.astype(np.int64), values.astype(np.float32)
    else:
        given = as_array(scores, "scores")
        values = given.T if given.dtype == np.float32 else as_numbers(given, "scores").T
        if values.ndim != 2 or np.isnan(values).any():
            raise ValueError(f"scores must be numbers (n, q), not NaN, got {values.dtype} {values.T.shape}")
        n = values.shape[1]
        ids = np.broadcast_to(np.arange(n), values.shape)
    if values.shape[1] > T:
        largest = np.argpartition(-values, T - 1, axis=1)[:, :T]
        ids, values = np.take_along_axis(ids, largest, axis=1), np.take_along_axis(values, largest, axis=1)
    return unit_sums(sparse_rows(np.where(values > 0, ids, -1), values.astype(np.float32), n))


def rank_profiles(
    P: sparse.csr_array, G: sparse.csr_array, asking: Askers, *, measure: str, weight: float, k: int, norm: float = 1.0
) -> Lists:
    """Return the k best of (1 - weight) similarity of profiles / norm - weight distance, for rows P against rows G."""
    k = min(k, asking.n_answers)
    needed = profiles_forecast(P, G, asking, measure=measure, k=k)
    require_memory(needed, purpose=f"{k} answers to each of {asking.n} lists", cure="ask for fewer, or for some rows")
    ids, scores = np.empty((asking.n, k), dtype=np.int64), np.empty((asking.n, k))
    for block, similar in profile_similarities(P, G, measure=measure):
        width = asking.ids.shape[1]
        for part in cut(similar.indptr + width * np.arange(similar.shape[0] + 1), _ANSWERS):
            rows = slice(block.start + part.start, block.start + part.stop)
            ids[rows], scores[rows] = best_of_rows(similar[part] / norm, asking.part(rows), weight=weight, k=k)
    return ids, scores


def profiles_forecast(P: sparse.csr_array, G: sparse.csr_array, asking: Askers, *, measure: str, k: int) -> int:
    """Return the bytes, at most, that `rank_profiles` takes: answers, an index, a block of pairs, answers in order.

    >>> P = sparse.csr_array(np.eye(3, dtype=np.float32))
    >>> nobody = Askers(np.empty((3, 0), np.int64), np.empty((3, 0)), None, 3, 3)
    >>> profiles_forecast(P, P, nobody, measure="product", k=1)
    516
    """
    item: int = G.dtype.itemsize
    width = asking.ids.shape[1]
    pairs = np.diff(_pairs(P, np.bincount(G.indices, minlength=G.shape[1])))
    total, largest = int(pairs.sum()), int(pairs.max(initial=0))
    together = min(total, max(_TERMS, largest))
    answers = min(total + width * asking.n, max(_ANSWERS, min(largest, G.shape[0]) + width))
    index: int = 2 * (P.nnz + G.nnz) * (item + 4)
    needed: int = 16 * asking.n * k + index + _PAIRS[measure] * item * together + _ANSWER_BYTES * answers
    return needed


def profile_similarities(
    P: sparse.csr_array, G: sparse.csr_array, *, measure: str
) -> Iterator[tuple[slice, sparse.csr_array]]:
    """Yield blocks of rows of P, as a slice, and their similarities (r, n) to all rows of G that share a column.

    >>> P = sparse.csr_array([[1.0, 3.0], [0.0, 1.0]])
    >>> [similar.toarray().tolist() for _, similar in profile_similarities(P, P, measure="product")]
    [[[10.0, 3.0], [3.0, 1.0]]]
    """
    if measure == "jensen_shannon":
        P, G = unit_sums(P), unit_sums(G)
    index = G.T.tocsr()  # column j -> who holds it
    sums = np.asarray(P.sum(axis=1)), np.asarray(G.sum(axis=1))
    for rows in cut(_pairs(P, np.diff(index.indptr)), _TERMS):
        similar = _product(P[rows], index) if measure == "product" else _shared(P[rows], index, _TERM[measure])
        if measure == "jaccard":
            own = np.repeat(sums[0][rows], np.diff(similar.indptr))
            similar.data = similar.data / (own + sums[1][similar.indices] - similar.data)
        yield rows, similar


def _shared(P: sparse.csr_array, index: sparse.csr_array, term: Term) -> sparse.csr_array:
    """Return the matrix (r, n) with entries sum_j term(p_ij, g_lj), in one pass over the columns that P holds.

    Each stored entry of P fetches its column; a product with the 0/1 matrix that says whose entry it is adds them up.
    """
    fetched = index[P.indices]
    fetched.data = term(np.repeat(P.data, np.diff(fetched.indptr)), fetched.data)
    whose = sparse.csr_array((np.ones(P.nnz, P.dtype), np.arange(P.nnz), P.indptr), shape=(P.shape[0], P.nnz))
    return _product(whose, fetched)


def _product(A: sparse.csr_array, B: sparse.csr_array) -> sparse.csr_array:
    product = sparse.csr_array(A @ B)
    product.sort_indices()
    return product


def _pairs(P: sparse.csr_array, lengths: AnyArray) -> AnyArray:
    """Return how many pairs of entries the rows before each row of P lead to, by the lengths of columns."""
    entries = np.concatenate([[0], np.cumsum(lengths[P.indices], dtype=np.int64)])
    before: AnyArray = entries[P.indptr]
    return before


def _half_js(p: AnyArray, g: AnyArray) -> AnyArray:
    """Return the term of 1 - JS / log 2; 0 where either is 0, as 0 log 0 = 0."""
    both = (p > 0) & (g > 0)
    p, g = np.where(both, p, 1), np.where(both, g, 1)
    return np.where(both, ((p + g) * np.log2(p + g) - p * np.log2(p) - g * np.log2(g)) / 2, 0).astype(p.dtype)


_TERM: dict[str, Term] = {"jaccard": np.minimum, "jensen_shannon": _half_js, "product": np.multiply}
_PAIRS = {"jaccard": 6, "jensen_shannon": 10, "product": 3}  # numbers held for a pair of entries


def _checked(matrix: object, name: str) -> sparse.csr_array:
    if not sparse.issparse(matrix):
        raise TypeError(f"{name} must be a sparse matrix of profiles, got {type(matrix).__name__}")
    csr = sparse.csr_array(matrix)
    if csr.dtype.kind != "f":
        csr = csr.astype(np.float64)
    if csr.nnz and not (csr.data.min() >= 0 and np.isfinite(csr.data).all()):
        raise ValueError(f"{name} hold weights that are negative or not finite: profiles are >= 0")
    if not csr.has_canonical_format or not csr.data.all():
        csr = csr.copy()  # the caller's stays as it is
        csr.sum_duplicates()
        csr.eliminate_zeros()
    return csr
