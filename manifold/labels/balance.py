"""Class balance: distributions P (n, c) in, distributions whose columns hold the mass that is due to each class out.

    mass        p_ij  proportional to  pi_j p_ij / mean_i p_ij     (Zhu, Ghahramani and Lafferty, ICML 2003, section 4)
    sinkhorn    p_ij = u_i p_ij v_j, of row sums 1 and column means pi_j     (Sinkhorn and Knopp, 1967)
    mean_shift  p_ij  proportional to  max(p_ij - mean_i p_ij + pi_j, 0)

The third centres what degenerates to a constant column as alpha goes to 1. All leave rows of sum 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtri

from manifold._arrays import as_array, as_numbers
from manifold._checks import check_stopping
from manifold._typing import AnyArray, Floats
from manifold.errors import ConvergenceWarning, warn

_CHANCE = 0.05  # how often equal shares give counts that are taken for unequal ones


@np.errstate(under="ignore")
def class_mass(P: ArrayLike, priors: ArrayLike) -> AnyArray:
    """Return p_ij proportional to priors_j p_ij / mean_i p_ij: class-mass normalisation.

    Reference: Zhu et al. (2003), section 4.

    Parameters
    ----------
    P : (n, c) array, or a stack of them
        Non-negative rows of sum 1.
    priors : (c,) array
        The mass that is due to each class.

    Examples
    --------
    >>> class_mass([[0.8, 0.2], [0.4, 0.6], [0.6, 0.4]], [0.6, 0.4]).round(2).tolist()
    [[0.8, 0.2], [0.4, 0.6], [0.6, 0.4]]
    """
    Q, due = _checked(P, priors)
    return _rows_to_one(Q * _over(due, _means(Q)).astype(Q.dtype)[..., None, :])


@np.errstate(under="ignore")
def mean_shift(P: ArrayLike, priors: ArrayLike) -> AnyArray:
    """Return rows proportional to the positive part of P - mean_i P + priors.

    Reference: guide *notation*, "Own methods".

    Examples
    --------
    >>> mean_shift([[0.9, 0.1], [0.8, 0.2]], [0.5, 0.5]).round(2).tolist()
    [[0.55, 0.45], [0.45, 0.55]]
    """
    Q, due = _checked(P, priors)
    shift = (due - _means(Q)).astype(Q.dtype)
    return _rows_to_one(np.maximum(Q + shift[..., None, :], 0))


@np.errstate(under="ignore")
def sinkhorn(
    P: ArrayLike, priors: ArrayLike, *, rtol: float = 1e-3, max_iter: int = 1000, strict: bool = True
) -> AnyArray:
    """Scale rows and columns of P until rows add up to 1 and column means are the priors.

    Reference: Sinkhorn and Knopp (1967).

    Parameters
    ----------
    P, priors
        As `class_mass`, which is the first step; or a stack of P, (..., n, c), each balanced by itself.
    rtol : float
        Stops where no column mean is further than rtol times its prior from it.
    max_iter : int
    strict : bool
        Whether to warn where max_iter runs out.

    Warns
    -----
    ConvergenceWarning
        Where max_iter runs out: zeros of P can make the priors impossible. Then u and v drift apart; where a factor
        leaves the range of P's dtype it is held at its end, so that rows are finite and of sum 1 all the same.

    Notes
    -----
    Cost: two passes over (n, c) an iteration.

    Examples
    --------
    >>> sinkhorn([[0.8, 0.2], [0.6, 0.4]], [0.5, 0.5]).round(3).tolist()
    [[0.62, 0.38], [0.38, 0.62]]
    """
    check_stopping(rtol, max_iter)
    Q, due = _checked(P, priors)
    means = _means(Q)
    v, least = np.ones_like(means), float(np.finfo(Q.dtype).tiny) ** 0.5
    for _ in range(max_iter):
        v *= _over(due, means)
        v /= np.maximum(v.max(axis=-1, keepdims=True), least)
        # impossible priors drive a factor to 0 without end; a row of it alone must stay a row of sum 1
        v = np.where(v > 0, np.maximum(v, least), 0)
        rows = (Q @ v.astype(Q.dtype)[..., None])[..., 0]  # only the factors change: Q itself is read, never written
        u = np.divide(1, rows, out=np.zeros_like(rows), where=rows > least**2)
        means = v * (u[..., None, :] @ Q)[..., 0, :] / max(Q.shape[-2], 1)
        worst = float(_over(abs(means - due), due * (means > 0)).max(initial=0))
        if worst <= rtol:
            break
    if worst > rtol and strict:
        warn(
            f"sinkhorn: column means are {worst:.1e} (relative) from the priors after {max_iter} iterations: "
            "the priors may be impossible on this graph; raise max_iter or rtol, or use balance='mass'",
            ConvergenceWarning,
        )
    scaled = Q * v.astype(Q.dtype)[..., None, :]
    return _rows_to_one(np.where(scaled.any(axis=-1, keepdims=True), scaled, Q))  # a row that no factor holds stays


def estimated_priors(label_counts: ArrayLike) -> Floats:
    """Return the shares of classes estimated from how many labels each has, shrunk towards equal shares.

        pi = t / c + (1 - t) n / m,    t = min(1, q / X^2),    X^2 = m c sum_j (n_j / m - 1 / c)^2

    X^2 is Pearson's statistic of equal shares, and q its 95 % quantile under them (chi squared, c - 1 degrees of
    freedom). Where the counts could be an accident of the draw, as with few labels or as many of each class, the
    estimate is uniform; with many labels it goes to their shares. With the mean of X^2 for its quantile it would be the
    shrinkage of James and Stein, which follows accidents half of the time.

    Reference: Hausser and Strimmer (2009), for shrinkage to equal shares.

    Parameters
    ----------
    label_counts : (c,) array
        Labels of each class, m in all.

    Examples
    --------
    >>> estimated_priors([3, 1]).tolist(), estimated_priors([300, 100]).round(3).tolist()
    ([0.5, 0.5], [0.74, 0.26])
    """
    counts = as_numbers(label_counts, "label_counts")
    if counts.ndim != 1 or not counts.size or not (np.isfinite(counts).all() and (counts >= 0).all() and counts.any()):
        raise ValueError(f"label_counts must be finite numbers >= 0, not all 0, got {label_counts!r}")
    c, m = counts.size, counts.sum()
    # shrunk by what an accident of the draw explains, not by a constant
    deviation = counts / m - 1 / c
    statistic = m * c * (deviation**2).sum()
    accident = chdtri(c - 1, _CHANCE) if c > 1 else 0.0
    return np.asarray(1 / c + deviation * (1 - min(1.0, accident / statistic) if statistic > 0 else 0.0))


BALANCES: dict[str, Callable[[ArrayLike, ArrayLike], AnyArray]] = {
    "mass": class_mass,
    "mean_shift": mean_shift,
    "sinkhorn": sinkhorn,
}


def check_priors(priors: ArrayLike, n_classes: int) -> Floats:
    """Return priors (c,) of sum 1.

    Raises
    ------
    ValueError
        For a wrong shape, or shares that are not positive and finite.

    >>> check_priors([3, 1], 2).tolist()
    [0.75, 0.25]
    """
    values = as_numbers(priors, "priors")
    if values.shape != (n_classes,):
        raise ValueError(f"priors must have one share for each of the {n_classes} classes, got shape {values.shape}")
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError(f"priors must be positive and finite, got {priors!r}")
    return np.asarray(values / values.sum())


def _checked(P: ArrayLike, priors: ArrayLike) -> tuple[AnyArray, Floats]:
    Q = as_array(P, "P")
    Q = Q if Q.dtype in (np.float32, np.float64) and Q.dtype.isnative else as_numbers(Q, "P")
    if Q.ndim < 2:
        raise ValueError(f"distributions must have shape (n, classes), got {Q.shape}")
    return np.ascontiguousarray(Q), check_priors(priors, Q.shape[-1])


def _means(P: AnyArray) -> Floats:
    """Return the column means, 0 where there are no rows."""
    return np.asarray(P.sum(axis=-2, dtype=np.float64) / max(P.shape[-2], 1))


def _over(priors: Floats, means: Floats) -> Floats:
    """Return priors / means, 0 for a class without mass: no factor could give it any."""
    return np.divide(priors, means, out=np.zeros_like(means), where=means > 0)


def _rows_to_one(P: AnyArray) -> AnyArray:
    mass = P.sum(axis=-1, keepdims=True)
    P /= np.where(mass > 0, mass, 1)
    return P
