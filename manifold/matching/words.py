"""Visual words: descriptors in, their nearest centroids out; and the signatures of Hamming embedding.

words   c(x) = argmin_c ||x - c||_2          signature   b(x) = [P x > median of its word], B bits
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from manifold._arrays import as_array
from manifold._checks import check_count, check_features, generator
from manifold._progress import Progress, shown
from manifold._typing import AnyArray, Floats, Ints, RandomState
from manifold.backends.threads import in_threads
from manifold.storage import Stored, save_arrays

_BLOCK = 1 << 22  # scores of descriptors against centroids that a thread holds at a time
_BATCH = 1 << 16  # descriptors that one step of k-means sees
_SPARE = 2  # candidates beyond those asked for, that a sum in float32 may have put in a wrong order


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Centroids of visual words, and where Hamming embedding is asked for, its projection and medians.

    Reference: Sivic and Zisserman (2003); Jégou et al. (2008), section 3, for signatures.

    Parameters
    ----------
    centroids : (k, d) float32 or float64
    projection : (B, d), optional
        Orthonormal rows; see `with_signatures`.
    medians : (k, B), optional
        Of the projected descriptors of each word.

    Raises
    ------
    TypeError, ValueError
        For shapes that do not fit, NaN or infinity.

    Examples
    --------
    >>> Vocabulary([[0.0, 0.0], [10.0, 0.0]]).words([[1, 0], [9, 1]]).tolist()
    [0, 1]
    """

    centroids: AnyArray
    projection: AnyArray | None = None
    medians: AnyArray | None = None

    def __post_init__(self) -> None:
        centroids = as_array(self.centroids, "centroids")
        if centroids.dtype != np.float64:
            centroids = check_features(centroids, "centroids")
        if centroids.ndim != 2 or not centroids.size or not np.isfinite(centroids).all():
            raise ValueError(f"centroids must be finite numbers (k, d), got shape {centroids.shape}")
        object.__setattr__(self, "centroids", centroids)
        if (self.projection is None) != (self.medians is None):
            raise ValueError("projection and medians must be given together: see Vocabulary.with_signatures")
        if self.projection is None or self.medians is None:
            return
        projection, medians = check_features(self.projection, "projection"), check_features(self.medians, "medians")
        if projection.shape[1] != centroids.shape[1] or medians.shape != (len(centroids), len(projection)):
            raise ValueError(
                f"projection must be (B, {centroids.shape[1]}) and medians ({len(centroids)}, B), "
                f"got {projection.shape} and {medians.shape}"
            )
        object.__setattr__(self, "projection", projection)
        object.__setattr__(self, "medians", medians)

    def __repr__(self) -> str:
        bits = "" if self.projection is None else f", n_bits={len(self.projection)}"
        return f"Vocabulary(n_words={self.n_words}, n_dims={self.centroids.shape[1]}{bits})"

    @property
    def n_words(self) -> int:
        """Number k of words.

        >>> Vocabulary([[0.0], [1.0]]).n_words
        2
        """
        return len(self.centroids)

    def words(self, descriptors: object, *, n_assignments: int = 1) -> NDArray[np.int32]:
        """Return the nearest words (m,) of descriptors, or the a nearest (m, a), nearest first.

        Equal distances go to the smaller word.

        Parameters
        ----------
        descriptors : (m, d)
        n_assignments : int
            a; with 1 the answer has one dimension.

        Raises
        ------
        TypeError, ValueError
            For another width, NaN or infinity, more assignments than words.

        Notes
        -----
        Cost: m k d in float32, by BLAS, in blocks; the nearest are compared again in float64, so that neither the
        number of threads nor what else is asked for changes an answer.

        Examples
        --------
        >>> Vocabulary([[0.0], [1.0], [5.0]]).words([[0.6], [4.0]], n_assignments=2).tolist()
        [[1, 0], [2, 1]]
        """
        X, a = self._given(descriptors), check_count(n_assignments, "n_assignments")
        if a > self.n_words:
            raise ValueError(f"n_assignments must be at most the {self.n_words} words, got {a}")
        out = np.empty((len(X), a), np.int32)
        C = self.centroids.astype(np.float32)
        halves = (self.centroids.astype(np.float64) ** 2).sum(axis=1) / 2
        half, candidates = halves.astype(np.float32), min(a + _SPARE, self.n_words)

        def work(first: int, last: int) -> None:
            rows = X[first:last]
            scores = rows.astype(np.float32) @ C.T
            scores -= half
            own, some = np.arange(last - first), np.empty((last - first, candidates), np.int64)
            for at in range(candidates):  # a few passes over all are quicker than a partition
                some[:, at] = scores.argmax(axis=1)
                scores[own, some[:, at]] = -np.inf
            some.sort(axis=1)
            gaps = rows[:, None, :].astype(np.float64) - self.centroids[some]
            distances = (gaps**2).sum(axis=2)
            order = np.argsort(distances, axis=1, kind="stable")[:, :a]
            out[first:last] = np.take_along_axis(some, order, axis=1)

        with np.errstate(under="ignore"):
            in_threads(work, len(X), step=max(1, _BLOCK // max(self.n_words, 4 * X.shape[1])), blas=True)
        return out[:, 0] if a == 1 else out

    def with_signatures(self, descriptors: object, *, n_bits: int = 64, random_state: RandomState = 0) -> Vocabulary:
        """Return the vocabulary with what Hamming embedding needs: a random orthogonal projection, and medians.

        Reference: Jégou et al. (2008), section 3.

        Parameters
        ----------
        descriptors : (m, d)
            Those that the medians are taken of; words that none has take the medians of all.
        n_bits : int
            B <= d.
        random_state : int or Generator

        Examples
        --------
        >>> X = np.random.default_rng(7).normal(size=(50, 8))
        >>> learn_vocabulary(X, 4).with_signatures(X, n_bits=6)
        Vocabulary(n_words=4, n_dims=8, n_bits=6)
        """
        X, B = self._given(descriptors), check_count(n_bits, "n_bits")
        if X.shape[1] < B or not len(X):
            raise ValueError(f"n_bits must be at most the {X.shape[1]} dimensions of one descriptor or more, got {B}")
        noise = generator(random_state).normal(size=(X.shape[1], X.shape[1]))
        P = np.linalg.qr(noise)[0][:, :B].T.astype(np.float32)
        words, projected = self.words(X), X.astype(np.float32) @ P.T
        medians = np.tile(np.median(projected, axis=0), (self.n_words, 1)).astype(np.float32)
        order = np.argsort(words, kind="stable")
        ends = np.searchsorted(words[order], np.arange(self.n_words + 1))
        for word in np.flatnonzero(np.diff(ends)):
            medians[word] = np.median(projected[order[ends[word] : ends[word + 1]]], axis=0)
        return replace(self, projection=P, medians=medians)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save it as a folder, for `manifold.load`.

        >>> from tempfile import TemporaryDirectory
        >>> import manifold as mf
        >>> with TemporaryDirectory() as folder:
        ...     mf.load(Vocabulary([[0.0], [1.0]]).save(f"{folder}/words"))
        Vocabulary(n_words=2, n_dims=1)
        """
        arrays = {"centroids": self.centroids, "projection": self.projection, "medians": self.medians}
        kept = {name: array for name, array in arrays.items() if array is not None}
        return save_arrays(path, kind="vocabulary", arrays=kept, parameters={})

    @classmethod
    def _from_stored(cls, stored: Stored) -> Vocabulary:
        return cls(stored.arrays["centroids"], stored.arrays.get("projection"), stored.arrays.get("medians"))

    def _given(self, descriptors: object) -> AnyArray:
        X = as_array(descriptors, "descriptors")
        if X.dtype not in (np.uint8, np.float64):
            X = check_features(X, "descriptors") if X.size else X.astype(np.float32)
        if X.ndim != 2 or X.shape[1] != self.centroids.shape[1]:
            raise ValueError(f"descriptors must be (m, {self.centroids.shape[1]}), as centroids are, got {X.shape}")
        if not np.isfinite(X).all():
            raise ValueError("descriptors hold NaN or infinity: leave those keypoints out")
        return X


def learn_vocabulary(
    descriptors: object,
    n_words: int,
    *,
    n_iter: int = 10,
    random_state: RandomState = 0,
    progress: Progress | bool | None = None,
) -> Vocabulary:
    """Learn visual words by k-means: Lloyd's iterations, on batches where there are many descriptors.

    ``c <- (n_c c + sum of the batch's x in c) / (n_c + count)``, n_c what earlier batches gave c: a running mean. A
    word that nothing was assigned to takes the place of the descriptor of the batch that is farthest from its own.

    Reference: Sculley (2010).

    Parameters
    ----------
    descriptors : (m, d)
    n_words : int
        k <= m.
    n_iter : int
        Steps; each sees all descriptors, or 65,536 of them drawn anew.
    random_state : int or Generator
    progress : bool or callable, optional

    Raises
    ------
    TypeError, ValueError
        For more words than descriptors, NaN or infinity.

    Notes
    -----
    Cost: n_iter * min(m, 65,536) * k * d.

    Examples
    --------
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0]])
    >>> sorted(learn_vocabulary(X, 2).centroids.tolist())
    [[0.0, 0.5], [9.0, 8.5]]
    """
    k, n_iter = check_count(n_words, "n_words"), check_count(n_iter, "n_iter")
    X = as_array(descriptors, "descriptors")
    X = X if X.dtype == np.uint8 and X.ndim == 2 else check_features(X, "descriptors")
    if k > len(X):
        raise ValueError(f"n_words must be at most the {len(X)} descriptors, got {k}: learn fewer words")
    rng = generator(random_state)
    C = X[np.sort(rng.choice(len(X), k, replace=False))].astype(np.float64)
    counts = np.zeros(k)
    with shown(progress, "k-means") as report:
        for step in range(n_iter):
            whole = len(X) <= _BATCH
            batch = X if whole else X[np.sort(rng.choice(len(X), _BATCH, replace=False))]
            C = _step(batch, C, np.zeros(k) if whole else counts)
            if report is not None:
                report(step + 1, n_iter)
    return Vocabulary(C.astype(np.float32))


def _step(batch: AnyArray, C: Floats, counts: Floats) -> Floats:
    """Return centroids after one batch; `counts` are added to in place."""
    words = Vocabulary(C.astype(np.float32)).words(batch)
    found = np.bincount(words, minlength=len(C))
    order = np.argsort(words, kind="stable")
    filled = np.flatnonzero(found)
    starts = np.searchsorted(words[order], filled)
    sums = np.zeros_like(C)
    sums[filled] = _sums(batch, order, starts)
    total = counts + found
    moved = np.where(total[:, None] > 0, (C * counts[:, None] + sums) / np.maximum(total, 1)[:, None], C)
    counts += found
    lonely = np.flatnonzero(total == 0)
    if lonely.size:
        gaps = ((batch.astype(np.float64) - moved[words]) ** 2).sum(axis=1)
        moved[lonely] = batch[np.argsort(-gaps, kind="stable")[: lonely.size]]
    return moved


def _sums(batch: AnyArray, order: Ints, starts: Ints) -> Floats:
    """Return the sum of the rows of each word, added up in float64 in the order of the rows."""
    sums: Callable[..., Floats] = np.add.reduceat
    return sums(batch[order].astype(np.float64), starts, axis=0)
