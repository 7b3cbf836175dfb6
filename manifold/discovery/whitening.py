"""Pair whitening: pairs that belong together in, a linear map in which they differ by noise of unit size out.

C = 1/|P| sum over pairs of (x_i - x_j)(x_i - x_j)' + ridge (tr C / d) I,   A = C^-1/2
z = unit((x - m) A V),   m the mean of X, V the leading eigenvectors of the covariance of (x - m) A
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from manifold._arrays import as_integers
from manifold._checks import check_count, check_features, check_queries
from manifold._resources import require_memory
from manifold._typing import AnyArray, Floats, Ints
from manifold.errors import NotFittedError, warn
from manifold.storage import Stored, save_arrays

if TYPE_CHECKING:
    from sklearn.utils import Tags

_ROWS = 1 << 14  # pairs of one block
_HELD_OUT = 5  # each fifth anchor judges


class PairWhitening:
    """Whitening learned from pairs: a closed form in place of a training loop, with the interface of scikit-learn.

    Reference: Mikolajczyk and Matas (2007); Radenović et al. (2016), section 3.3.

    Parameters
    ----------
    n_components : int, optional
        Dimensions D kept; by default all d.
    ridge : float
        Of the mean variance of the differences, added to each. 0.5 loses on none of six sets; less gains more where
        pairs are many and right (0.01 on Grocery), and may lose all where they are few (ORL, Cranfield).
    min_gain : float
        By how much a fit with `triplets` must lower the share of them that are in the wrong order. Where it does not,
        features are left alone.

    Attributes
    ----------
    mean_ : (d,) float64
    projection_ : (d, D) float64
        ``A V``; of the differences of the pairs ``projection_.T @ C @ projection_ = I``.
    left_alone_ : bool
        Whether `transform` returns the rows at unit length, as they are.
    errors_ : (before, after) or None
        The share of held-out triplets whose negative is nearer than the positive.

    Notes
    -----
    It serves where classes are small and many. Measured on held-out classes without labels, mAP before and after:
    Grocery .49 and .56 (photos of other visits ask), COIL-20 .70 and .74, ORL faces .68 and .79, Cranfield .42 and .44
    (128 of 384 numbers, its questions ask). Five big classes lost .01 (CIFAR-10), .05 (Fashion-MNIST) at ridge=0.1:
    give `triplets`, and those are left alone.
    Cost: |P| d^2 + n d^2 + d^3, memory d^2 and a block of pairs.

    Examples
    --------
    >>> differences = np.array([[2.0, 0.0], [0.0, 1.0]])
    >>> X = np.concatenate([np.zeros((2, 2)), differences])
    >>> whitening = PairWhitening(ridge=0.0).fit(X, [[0, 2], [1, 3]])
    >>> P = whitening.projection_
    >>> abs(P @ P.T).round(8).tolist()  # of C = diag(2, 1/2) the inverse
    [[0.5, 0.0], [0.0, 2.0]]
    """

    mean_: Floats
    projection_: Floats
    left_alone_: bool
    errors_: tuple[float, float] | None

    def __init__(self, n_components: int | None = None, *, ridge: float = 0.5, min_gain: float = 0.25) -> None:
        self.n_components = n_components
        self.ridge = ridge
        self.min_gain = min_gain

    def get_params(self, deep: bool = True) -> dict[str, object]:
        """Return the parameters, as scikit-learn asks for them.

        >>> PairWhitening(64).get_params()
        {'n_components': 64, 'ridge': 0.5, 'min_gain': 0.25}
        """
        return {"n_components": self.n_components, "ridge": self.ridge, "min_gain": self.min_gain}

    def set_params(self, **params: object) -> Self:
        """Set parameters by name; raise ValueError for others.

        >>> PairWhitening().set_params(ridge=0.1).ridge
        0.1
        """
        unknown = set(params) - set(self.get_params())
        if unknown:
            raise ValueError(f"PairWhitening has no parameter {sorted(unknown)[0]!r}: n_components, ridge, min_gain")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def fit(self, X: object, pairs: object, *, triplets: object = None) -> Self:
        """Learn the map.

        Parameters
        ----------
        X : (n, d) array-like
            Features, scaled as those that will be transformed: unit rows for cosine.
        pairs : (m, 2) int
            Rows that belong together: nearest neighbours and mined positives, side by side, serve best. In a pipeline
            they stand in the place of y.
        triplets : (t, 3) int, optional
            Rows: anchor, positive, negative, such as ``mined.triplets(10)``. Pairs of every fifth anchor are then held
            out, and its triplets decide whether the features are whitened or left alone.

        Raises
        ------
        ValueError, TypeError
            For features that are not finite, rows that are not there, and pairs that span too little for ``ridge=0``.
        MemoryBudgetError
            Where d^2 does not fit.

        Warns
        -----
        ManifoldWarning
            Where the held-out triplets say that whitening would not help.
        """
        rows = check_features(X)
        n, d = rows.shape
        if self.ridge < 0 or not np.isfinite(self.ridge):
            raise ValueError(f"ridge must be at least 0, got {self.ridge!r}")
        kept = d if self.n_components is None else min(check_count(self.n_components, "n_components"), d)
        require_memory(5 * 8 * d * d, purpose=f"whitening {d} features", cure="reduce them first")
        together = _rows(pairs, n, 2, "pairs")
        errors, alone = None, False
        if triplets is not None:
            judged = _rows(triplets, n, 3, "triplets")
            errors = self._judge(rows, together, judged, kept)
            alone = errors[1] > (1 - self.min_gain) * errors[0]
        self.mean_, self.projection_ = _whitened(rows, together, kept, self.ridge)
        self.left_alone_, self.errors_ = alone, errors
        if alone and errors is not None:
            warn(
                f"whitening by pairs puts {errors[1]:.1%} of held-out triplets in the wrong order, without it are "
                f"{errors[0]:.1%}: features are left alone; it helps where classes are small and many"
            )
        return self

    def transform(self, X: object) -> NDArray[np.float32]:
        """Return rows (n, D) of unit length; (n, d) where features are left alone.

        >>> X = np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
        >>> PairWhitening().fit(X, [[0, 1], [2, 3]]).transform(X).shape
        (4, 2)
        """
        if not hasattr(self, "projection_"):
            raise NotFittedError("this PairWhitening has learned no pairs yet: call fit(X, pairs)")
        rows, single = check_queries(X, self.mean_.size, "X")
        moved = _unit(rows.astype(np.float64) if self.left_alone_ else (rows - self.mean_) @ self.projection_)
        found = moved.astype(np.float32)
        return found[0] if single else found

    def fit_transform(self, X: object, pairs: object, *, triplets: object = None) -> NDArray[np.float32]:
        """Fit, then transform the same features."""
        return self.fit(X, pairs, triplets=triplets).transform(X)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "projection_")

    def __sklearn_tags__(self) -> Tags:  # a pipeline asks for them, and only then is scikit-learn there
        from sklearn.utils import Tags, TargetTags, TransformerTags

        return Tags(estimator_type=None, target_tags=TargetTags(required=True), transformer_tags=TransformerTags())

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        if not hasattr(self, "projection_"):
            return f"PairWhitening({told})"
        made = (
            "left alone" if self.left_alone_ else f"{self.projection_.shape[0]} -> {self.projection_.shape[1]} features"
        )
        return f"PairWhitening({told}), {made}"

    def save(self, path: str | PathLike[str]) -> Path:
        """Save the map as a folder; `manifold.load` gives it back, to the bit.

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> from manifold import load
        >>> whitening = PairWhitening().fit([[0.0, 0], [2, 0], [0, 1]], [[0, 1], [0, 2]])
        >>> with TemporaryDirectory() as folder:
        ...     load(whitening.save(f"{folder}/map"))
        PairWhitening(n_components=None, ridge=0.5, min_gain=0.25), 2 -> 2 features
        """
        if not hasattr(self, "projection_"):
            raise NotFittedError("this PairWhitening has learned no pairs yet: call fit(X, pairs)")
        arrays = {"mean": self.mean_, "projection": self.projection_}
        told = {"left_alone": self.left_alone_, "errors": None if self.errors_ is None else list(self.errors_)}
        return save_arrays(path, kind="pair_whitening", arrays=arrays, parameters={**self.get_params(), **told})

    @classmethod
    def _from_stored(cls, stored: Stored) -> PairWhitening:
        mean, projection = (np.asarray(stored.arrays[name]) for name in ("mean", "projection"))
        told = stored.parameters
        made = cls(told["n_components"], ridge=float(told["ridge"]), min_gain=float(told["min_gain"]))
        if mean.dtype != np.float64 or projection.dtype != np.float64 or projection.shape[:1] != mean.shape:
            raise ValueError(
                f"mean and projection must be float64 (d,) and (d, D), got {mean.shape}, {projection.shape}"
            )
        if projection.ndim != 2 or not isinstance(told["left_alone"], bool):
            raise ValueError(f"left_alone must be a flag, got {told['left_alone']!r}")
        made.mean_, made.projection_, made.left_alone_ = mean, projection, told["left_alone"]
        before_after = told["errors"]
        made.errors_ = None if before_after is None else (float(before_after[0]), float(before_after[1]))
        return made

    def _judge(self, rows: NDArray[np.float32], pairs: Ints, triplets: Ints, kept: int) -> tuple[float, float]:
        """Return the share of held-out triplets in the wrong order, before whitening by the rest and after."""
        anchors = np.unique(triplets[:, 0])
        held = anchors[::_HELD_OUT]
        judges = triplets[np.isin(triplets[:, 0], held)]
        rest = pairs[~np.isin(pairs, held).any(axis=1)]
        if not judges.size or not rest.size:
            raise ValueError("triplets leave no pair, or no anchor, to judge by: give more of both, or leave them out")
        mean, projection = _whitened(rows, rest, kept, self.ridge)
        plain = [rows[judges[:, j]].astype(np.float64) for j in range(3)]
        shares = []
        for three in (plain, [(part - mean) @ projection for part in plain]):
            anchor, positive, negative = (_unit(part) for part in three)
            shares.append(float(np.mean((anchor * negative).sum(axis=1) >= (anchor * positive).sum(axis=1))))
        return shares[0], shares[1]


def _whitened(rows: NDArray[np.float32], pairs: Ints, kept: int, ridge: float) -> tuple[Floats, Floats]:
    """Return the mean m (d,) and the projection (d, D)."""
    d = rows.shape[1]
    C = np.zeros((d, d))
    for start in range(0, len(pairs), _ROWS):
        first, second = (rows[pairs[start : start + _ROWS, j]].astype(np.float64) for j in (0, 1))
        C += (first - second).T @ (first - second)
    C /= len(pairs)
    C[np.diag_indices(d)] += ridge * np.trace(C) / d
    values, vectors = np.linalg.eigh(C)
    if values[0] <= values[-1] * d * np.finfo(np.float64).eps:
        raise ValueError(
            f"pairs differ in too few directions: the least variance is {values[0]:.1e} of {values[-1]:.1e}; "
            f"give more pairs, or ridge=0.01 (got {ridge!r})"
        )
    A = (vectors / np.sqrt(values)) @ vectors.T
    mean = rows.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((d, d))
    for start in range(0, len(rows), _ROWS):
        moved = (rows[start : start + _ROWS] - mean) @ A
        covariance += moved.T @ moved
    V = np.linalg.eigh(covariance)[1][:, ::-1][:, :kept]
    # eigenvectors have no sign of their own: the largest entry is made positive, so that every fit is the same
    P = A @ V
    signs = np.sign(P[np.abs(P).argmax(axis=0), np.arange(kept)])
    return mean, np.asarray(P * np.where(signs == 0, 1.0, signs))


def _unit(rows: Floats) -> Floats:
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return np.asarray(rows / np.where(norms > 0, norms, 1.0))


def _rows(given: object, n: int, width: int, name: str) -> Ints:
    """Return rows (m, width) of X, checked."""
    rows: AnyArray = as_integers(given, name)
    if rows.ndim != 2 or rows.shape[1] != width or not len(rows):
        raise ValueError(f"{name} must be rows of X (m, {width}), got shape {rows.shape}")
    if rows.min() < 0 or rows.max() >= n:
        raise ValueError(f"{name} must lie in 0..{n - 1}, got {rows.min()}..{rows.max()}")
    return rows.astype(np.int64)
