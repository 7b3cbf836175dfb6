"""Match kernels: local features to bags of entries, one list a word; bags to sparse similarities of images.

    K(X, Y) = sum_c w_c sum_(x in X_c, y in Y_c) k(x, y) / (|X| |Y|)      w_c = 1, or log(N / N_c)^2 (idf)

where X_c are the entries of image X in word c and k is the kernel: what an entry is, and what two give, is the table
below. Images that share no word have no entry in K.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from manifold._checks import check_can, check_count
from manifold._typing import AnyArray, Floats, Ints
from manifold.matching.features import LocalFeatures, check_local_features
from manifold.matching.words import Vocabulary

_BLOCK = 1 << 22  # numbers of descriptors that are worked on together
_CANCELLED = 1e-6  # of the lengths of residuals: a sum this short has no direction


@dataclass(frozen=True)
class ASMK:
    """Aggregated selective match kernel: of each word one unit vector, and a power of their product.

        V_c = sum_(x in X_c) (x - c) / its norm      k = u^alpha for u = V_c(X)'V_c(Y) >= threshold, else 0

    ``|X|`` is the root of the number of words of X (of their idf). A word whose residuals cancel gives 0.

    Reference: Tolias et al. (2013), eqs. 8-14.

    Parameters
    ----------
    alpha : float
        > 0; 3 in the paper. The power is inside: a graph of these similarities takes ``gamma=1``, its default.
    threshold : float in [0, 1)
    binary : bool
        ASMK*: signs of V_c instead, ``u = 1 - 2 hamming / d``; d bits an entry.
    idf : bool

    Examples
    --------
    >>> ASMK().alpha
    3.0
    """

    alpha: float = 3.0
    threshold: float = 0.0
    binary: bool = False
    idf: bool = False

    def __post_init__(self) -> None:
        if not (np.isfinite(self.alpha) and self.alpha > 0):
            raise ValueError(f"alpha must be a positive number, got {self.alpha!r}: 3 in the paper")
        if not 0 <= self.threshold < 1:  # a fractional power of what is negative is none
            raise ValueError(f"threshold must lie in [0, 1), got {self.threshold!r}")


@dataclass(frozen=True)
class VLAD:
    """Vectors of locally aggregated descriptors, compared by their cosine: ``k = V_c(X)'V_c(Y)``.

    Reference: Jégou et al. (2010); Arandjelović and Zisserman (2013), section 3.

    Parameters
    ----------
    intra : bool
        Intra-normalisation: the sum of each word to unit length, so that a burst counts as one match.

    Examples
    --------
    >>> VLAD()
    VLAD(intra=True)
    """

    intra: bool = True


@dataclass(frozen=True)
class HammingEmbedding:
    """Pairs of features of one word whose signatures differ in few bits: ``k = 1 - 2h / B`` for h <= threshold.

    ``|X|`` is the norm of the histogram of words. The vocabulary has signatures: `Vocabulary.with_signatures`.

    Reference: Jégou et al. (2008), section 3.

    Parameters
    ----------
    threshold : int
        Bits that may differ; 24 of 64.
    idf : bool

    Examples
    --------
    >>> HammingEmbedding().threshold
    24
    """

    threshold: int = 24
    idf: bool = True

    def __post_init__(self) -> None:
        check_count(self.threshold, "threshold", minimum=0)


@dataclass(frozen=True)
class BagOfWords:
    """Histograms of words, compared by their cosine: ``k = n_c(X)^burstiness n_c(Y)^burstiness``.

    Reference: Sivic and Zisserman (2003); Jégou et al. (2009).

    Parameters
    ----------
    idf : bool
    burstiness : float in [0, 1]
        1 counts features, 0.5 their root, 0 only whether there are any: repeated structure counts less.

    Examples
    --------
    >>> BagOfWords(burstiness=0.5).idf
    True
    """

    idf: bool = True
    burstiness: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.burstiness <= 1:
            raise ValueError(f"burstiness must lie in [0, 1], got {self.burstiness!r}: 1 counts features")


Kernel: TypeAlias = ASMK | VLAD | HammingEmbedding | BagOfWords
KERNELS: Mapping[str, Callable[[], Kernel]] = MappingProxyType(
    {"asmk": ASMK, "vlad": VLAD, "he": HammingEmbedding, "bow": BagOfWords}
)


@dataclass(frozen=True, eq=False)
class Bags:
    """Images as entries of an inverted file, made by `aggregate`: what `match_kernel` compares.

    Reference: Tolias et al. (2013).

    Parameters
    ----------
    kernel : ASMK, VLAD, HammingEmbedding or BagOfWords
    lists : (k + 1,) int64
        Where the entries of each word begin.
    owners : (E,) int32
        The image of each entry, ascending in a word.
    vectors : (E, d) float, or (E, ceil(bits / 64)) uint64
        What the kernel keeps of it.
    indptr, entries : (N + 1,), (E,) int64
        The entries of each image, by word.
    n_bits : int
        Of a signature; 0 of vectors.

    Examples
    --------
    >>> words = LocalFeatures(np.ones((3, 2)), None, [0, 2, 3], [1, 1, 1])
    >>> aggregate(words, Vocabulary([[0.0], [1.0]]), kernel="bow")
    Bags(kernel=BagOfWords(idf=True, burstiness=1.0), n_images=2, n_words=2, n_entries=2)
    """

    kernel: Kernel
    lists: Ints
    owners: AnyArray
    vectors: AnyArray
    indptr: Ints
    entries: Ints
    n_bits: int = 0

    def __repr__(self) -> str:
        return (
            f"Bags(kernel={self.kernel}, n_images={self.n_images}, n_words={self.lists.size - 1}, "
            f"n_entries={self.owners.size})"
        )

    @property
    def n_images(self) -> int:
        """Number N of images.

        >>> words = LocalFeatures(np.ones((3, 2)), None, [0, 2, 3], [1, 1, 1])
        >>> aggregate(words, Vocabulary([[0.0], [1.0]]), kernel="bow").n_images
        2
        """
        return self.indptr.size - 1

    @property
    def words(self) -> Ints:
        """The word (E,) of each entry.

        >>> words = LocalFeatures(np.ones((3, 2)), None, [0, 2, 3], [1, 1, 1])
        >>> aggregate(words, Vocabulary([[0.0], [1.0]]), kernel="bow").words.tolist()
        [1, 1]
        """
        return np.repeat(np.arange(self.lists.size - 1), np.diff(self.lists))

    def groups(self) -> Ints:
        """Return where in the inverted file the entries of each word and image begin, and the end of all.

        >>> words = LocalFeatures(np.ones((3, 2)), None, [0, 2, 3], [1, 1, 1])
        >>> aggregate(words, Vocabulary([[0.0], [1.0]]), kernel="bow").groups().tolist()
        [0, 1, 2]
        """
        return _starts(self.words, self.owners)


def aggregate(
    features: LocalFeatures,
    vocabulary: Vocabulary,
    *,
    kernel: str | Kernel = "asmk",
    n_assignments: int = 1,
) -> Bags:
    """Turn the local features of each image into entries of an inverted file.

    Reference: Tolias et al. (2013), eqs. 8-14, and what each kernel names.

    Parameters
    ----------
    features : LocalFeatures
        Their `words`, where there are, are those of the vocabulary; without, they are found here.
    vocabulary : Vocabulary
    kernel : {"asmk", "vlad", "he", "bow"} or settings
        A name means the defaults of `ASMK`, `VLAD`, `HammingEmbedding` or `BagOfWords`.
    n_assignments : int
        Words that each feature enters, nearest first; of queries, 5 find more. Beyond 1 they are found here.

    Returns
    -------
    Bags

    Raises
    ------
    TypeError, ValueError
        For an unknown kernel, words out of range, descriptors that are missing or of another width.

    Notes
    -----
    Cost: that of the words, then m d; entries are at most one a feature and assignment. Descriptors are read in blocks,
    so that mapped ones are never loaded whole. Entries of float64 descriptors are float64, all others float32.

    Examples
    --------
    >>> features = LocalFeatures(np.ones((3, 2)), [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [0, 2, 3])
    >>> aggregate(features, Vocabulary([[0.0, 0.0], [9.0, 9.0]])).vectors.round(3).tolist()
    [[0.707, 0.707], [1.0, 0.0]]
    """
    if isinstance(kernel, str):
        if kernel not in KERNELS:
            raise ValueError(f"kernel must be one of {tuple(KERNELS)} or its settings, got {kernel!r}")
        kernel = KERNELS[kernel]()
    if not isinstance(kernel, Kernel):
        raise TypeError(f"kernel must be one of {tuple(KERNELS)} or its settings, got {kernel!r}")
    check_local_features(features)
    check_can(vocabulary, "words", "centroids", name="vocabulary", a="a Vocabulary, as learn_vocabulary makes")
    words = _assigned(features, vocabulary, check_count(n_assignments, "n_assignments"))
    images = np.repeat(np.arange(features.n_images, dtype=np.int32), features.counts)
    rows, place = np.nonzero(words >= 0)
    words, images = words[rows, place].astype(np.int64), images[rows]
    order = np.lexsort((rows, images, words))
    words, images, rows = words[order], images[order], rows[order]
    starts = np.arange(words.size + 1) if isinstance(kernel, HammingEmbedding) else _starts(words, images)
    n_bits = _n_bits(kernel, vocabulary)
    vectors = _vectors(kernel, features, vocabulary, rows=rows, words=words, starts=starts)
    words, owners = words[starts[:-1]], images[starts[:-1]]
    entries = np.lexsort((words, owners))
    return Bags(
        kernel,
        np.searchsorted(words, np.arange(vocabulary.n_words + 1)),
        owners,
        vectors,
        np.searchsorted(owners[entries], np.arange(features.n_images + 1)),
        entries,
        n_bits,
    )


def _assigned(features: LocalFeatures, vocabulary: Vocabulary, n_assignments: int) -> AnyArray:
    """Return the words (m, a) of the features."""
    if features.words is not None and n_assignments == 1:
        if features.words.max(initial=-1) >= vocabulary.n_words:
            raise ValueError(
                f"words must be below the {vocabulary.n_words} of the vocabulary, got {features.words.max()}: "
                "take them from this vocabulary, vocabulary.words(descriptors)"
            )
        return features.words[:, None]
    words = vocabulary.words(_need(features), n_assignments=n_assignments)
    return words[:, None] if n_assignments == 1 else words


def _need(features: LocalFeatures) -> AnyArray:
    if features.descriptors is None:
        raise ValueError("features must have descriptors for this: kernel='bow' takes words alone")
    return features.descriptors


def _n_bits(kernel: Kernel, vocabulary: Vocabulary) -> int:
    if isinstance(kernel, HammingEmbedding):
        if vocabulary.projection is None:
            raise ValueError("kernel='he' needs signatures: vocabulary.with_signatures(descriptors)")
        return len(vocabulary.projection)
    return vocabulary.centroids.shape[1] if isinstance(kernel, ASMK) and kernel.binary else 0


def _starts(words: AnyArray, images: AnyArray) -> Ints:
    """Return where sorted words and images change, and the end."""
    change = np.ones(words.size, bool)
    change[1:] = (np.diff(words) != 0) | (np.diff(images) != 0)
    return np.append(np.flatnonzero(change), words.size)


def _vectors(
    kernel: Kernel, features: LocalFeatures, vocabulary: Vocabulary, *, rows: Ints, words: Ints, starts: Ints
) -> AnyArray:
    """Return what a kernel keeps of each entry, block by block."""
    if isinstance(kernel, BagOfWords):
        return np.asarray(np.diff(starts)[:, None] ** kernel.burstiness, dtype=np.float64)
    X, d = _need(features), vocabulary.centroids.shape[1]
    if X.shape[1] != d:
        raise ValueError(f"descriptors must have the {d} dimensions of the centroids, got {X.shape[1]}")
    n_bits, E, dtype = _n_bits(kernel, vocabulary), starts.size - 1, np.float64 if X.dtype == np.float64 else np.float32
    # filled in place: parts that are put together in the end would be there twice
    out: AnyArray = np.empty((E, -(-n_bits // 64)), np.uint64) if n_bits else np.empty((E, d), dtype)
    step = max(1, _BLOCK // d)
    first = 0
    while first < E:  # whole entries, of about `step` features; one larger is taken alone
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + step, side="right")) - 1)
        some = slice(starts[first], starts[last])
        if isinstance(kernel, HammingEmbedding):
            out[first:last] = _signatures(X[rows[some]], words[some], vocabulary)
        else:
            gaps = X[rows[some]].astype(np.float64) - vocabulary.centroids[words[some]]
            unit = isinstance(kernel, ASMK) or kernel.intra
            V = _summed(gaps, starts[first:last] - starts[first], unit=unit)
            with np.errstate(under="ignore"):
                out[first:last] = _packed(V > 0) if n_bits else V
        first = last
    return out


def _summed(gaps: Floats, starts: Ints, *, unit: bool) -> Floats:
    """Return the sum of the residuals of each entry, of unit length or as it is."""
    sums: Floats = np.add.reduceat(gaps, starts, axis=0)
    if not unit:
        return sums
    with np.errstate(under="ignore"):
        lengths = np.add.reduceat(np.linalg.norm(gaps, axis=1), starts)
        norms = np.linalg.norm(sums, axis=1)
        directed = norms > _CANCELLED * lengths
        return np.where(directed[:, None], sums / np.where(directed, norms, 1)[:, None], 0)


def _signatures(X: AnyArray, words: Ints, vocabulary: Vocabulary) -> AnyArray:
    assert vocabulary.projection is not None  # looked at by _n_bits
    assert vocabulary.medians is not None
    # one row at a time in a fixed order: a matrix product of another block could end on the other side of a median
    projected = np.einsum("md,bd->mb", X.astype(np.float64), vocabulary.projection.astype(np.float64))
    return _packed(projected > vocabulary.medians[words])


def _packed(bits: AnyArray) -> AnyArray:
    """Return bits (m, b) as (m, ceil(b / 64)) uint64."""
    filled = np.zeros((len(bits), -(-bits.shape[1] // 64) * 64), bool)
    filled[:, : bits.shape[1]] = bits
    return np.packbits(filled, axis=1).view(np.uint64)
