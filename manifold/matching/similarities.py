"""Bags of two sides to the sparse matrix of their match kernel, through an inverted file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from manifold._checks import check_can, check_count
from manifold._progress import Progress, shown
from manifold._typing import AnyArray, Floats
from manifold.backends import get_backend
from manifold.backends.threads import in_threads
from manifold.matching.kernels import ASMK, VLAD, BagOfWords, Bags, HammingEmbedding

_BLOCK = 1 << 22  # scores that are held at a time, 32 MiB
_ROWS = 8  # images that a thread takes at a time


def match_kernel(
    bags: Bags,
    *,
    queries: Bags | None = None,
    n_best: int | None = None,
    progress: Progress | bool | None = None,
) -> sparse.csr_array:
    """Return the match kernel of all pairs of images, or of queries and images, as a sparse matrix.

    Reference: Tolias et al. (2013), and what each kernel names.

    Parameters
    ----------
    bags : Bags
        N images; see `aggregate`, and `manifold.matching.kernels` for the equation.
    queries : Bags, optional
        q others, of the same kernel and vocabulary. How much a word counts (idf) is that of `bags`.
    n_best : int, optional
        Keep only so many of each row, equal ones by ascending image; without queries, of the others than itself.
    progress : bool or callable, optional

    Returns
    -------
    csr_array (N, N) or (q, N) float64
        Without queries and `n_best` symmetric, of Hamming embedding up to rounding.
        For a graph: ``from_precomputed(K, k)``.

    Raises
    ------
    TypeError, ValueError
        For queries of another kernel or vocabulary.

    Notes
    -----
    Cost: the sum over words c of (entries of c that ask) x (entries of c) products of d numbers, or of d bits; memory
    for 4 million scores beside the result. The result does not depend on threads or blocks.

    Examples
    --------
    >>> from manifold.matching import LocalFeatures, Vocabulary, aggregate
    >>> features = LocalFeatures(np.ones((3, 2)), [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [0, 2, 3])
    >>> match_kernel(aggregate(features, Vocabulary([[0.0, 0.0]]))).toarray().round(4).tolist()
    [[1.0, 0.3536], [0.3536, 1.0]]
    """
    for given, name in ((bags, "bags"), (bags if queries is None else queries, "queries")):
        check_can(given, "kernel", "lists", name=name, a="bags, as aggregate makes")
    asking = bags if queries is None else queries
    if asking.kernel != bags.kernel or asking.lists.size != bags.lists.size:
        raise ValueError(f"queries must be of the kernel and words of bags, got {asking} for {bags}")
    kept = None if n_best is None else check_count(n_best, "n_best")
    weights = _weights(bags)
    own, theirs = (_inverse_norms(side, weights) for side in (asking, bags))
    sums = _summing(asking, bags, weights)
    n, N = asking.n_images, bags.n_images
    step, parts = max(1, _BLOCK // max(N, 1)), []
    with shown(progress, "match kernel") as report:
        for start in range(0, n, step):
            stop = min(start + step, n)
            out = np.zeros((stop - start, N))
            sums(asking.indptr[start : stop + 1], out)
            out *= own[start:stop, None] * theirs  # one product, which commutes: the matrix stays symmetric
            if queries is None and kept is not None:
                out[np.arange(stop - start), np.arange(start, stop)] = 0
            parts.append(sparse.csr_array(out) if kept is None else _best(out, kept))
            if report is not None:
                report(stop, n)
    return sparse.csr_array(sparse.vstack(parts, format="csr")) if parts else sparse.csr_array((n, N))


def _summing(asking: Bags, bags: Bags, weights: Floats) -> Callable[[AnyArray, Floats], None]:
    """Return what adds the kernel of some images and all others into rows of zeros."""
    from manifold.backends import match_lists  # compiles, when first asked

    kernel, words = bags.kernel, asking.words
    shared = (asking.entries, words, asking.vectors, bags.lists, bags.owners, bags.vectors, weights)
    table = _table(bags)
    alpha, threshold = (kernel.alpha, kernel.threshold) if isinstance(kernel, ASMK) else (1.0, -np.inf)

    def sums(rows: AnyArray, out: Floats) -> None:
        def work(first: int, last: int) -> None:
            if table is not None:
                match_lists.sum_signatures(rows, *shared, table, out, first, last)
            else:
                match_lists.sum_products(rows, *shared, float(alpha), float(threshold), out, first, last)

        in_threads(work, len(out), step=_ROWS)

    return sums


def _table(bags: Bags) -> Floats | None:
    """Return the kernel of signatures by the number of bits that differ, or None for vectors."""
    kernel = bags.kernel
    if isinstance(kernel, HammingEmbedding):
        n_bits = 64 * bags.vectors.shape[1]
        differ = np.arange(n_bits + 1)
        return np.where(differ <= kernel.threshold, 1 - 2 * differ / bags.n_bits, 0.0)
    if isinstance(kernel, ASMK) and kernel.binary:
        u = 1 - 2 * np.arange(64 * bags.vectors.shape[1] + 1) / bags.n_bits
        with np.errstate(under="ignore"):
            return np.where(u >= kernel.threshold, np.maximum(u, 0) ** kernel.alpha, 0.0)
    return None


def _weights(bags: Bags) -> Floats:
    """Return how much a match of each word counts: 1, or log(N / images that have it)^2."""
    if not getattr(bags.kernel, "idf", False):
        return np.ones(bags.lists.size - 1)
    starts = bags.groups()[:-1]
    images = np.bincount(bags.words[starts], minlength=bags.lists.size - 1)
    return np.where(images > 0, np.log(bags.n_images / np.maximum(images, 1)) ** 2, 0.0)


def _inverse_norms(bags: Bags, weights: Floats) -> Floats:
    """Return 1 / |X| (N,) of each image, 0 of one that has nothing that counts."""
    starts = bags.groups()
    kernel, owners, words = bags.kernel, bags.owners[starts[:-1]], bags.words[starts[:-1]]
    squares = np.ones(owners.size)
    if isinstance(kernel, HammingEmbedding):
        squares = np.diff(starts).astype(np.float64) ** 2
    elif isinstance(kernel, BagOfWords) or (isinstance(kernel, VLAD) and not kernel.intra):
        squares = (bags.vectors.astype(np.float64) ** 2).sum(axis=1)
    total = np.bincount(owners, weights[words] * squares, minlength=bags.n_images)
    return np.where(total > 0, 1 / np.sqrt(np.where(total > 0, total, 1)), 0.0)


def _best(out: Floats, kept: int) -> sparse.csr_array:
    """Return the largest entries of each row that are not 0."""
    k = min(kept, out.shape[1])
    ranked = np.where(out == 0, -np.inf, out)
    ids, values = get_backend("scipy").top_k(ranked, k) if k else (np.empty((len(out), 0), int), out[:, :0])
    rows, columns = np.nonzero(np.isfinite(values))
    entries = (values[rows, columns], (rows, ids[rows, columns]))
    return sparse.csr_array(entries, shape=out.shape)
