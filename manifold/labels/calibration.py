"""Probabilities that mean what they say: a power of them, fitted where the truth is known, and how far off they are.

q_ij  proportional to  p_ij^beta exp(b_j),    beta and b where -log q_i,truth is least     (Guo et al., ICML 2017)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from manifold._arrays import as_integers, as_numbers
from manifold._checks import check_count
from manifold._typing import AnyArray, Floats, Ints

LEAST = 1e-6  # a probability below it is taken for it: nothing is known to be impossible
_DOUBTED = 0.25  # of a label
_POWERS = np.geomspace(0.05, 200, 60)
_PRECISION = 8.0  # of the prior of a bias: it is of a third of a nat
_ROUNDS = 100


@np.errstate(under="ignore")
def fitted_power(logits: Floats, truth: Ints, weights: Floats) -> float:
    """Return the beta of which softmax(beta logits) has the least weighted mean of -log p_truth, of 60 from .05 to 200.

    A quarter of a label more is of any class: labels that are all right, as a few may be, do not ask for certainty.

    >>> logits = np.log([[0.6, 0.4], [0.6, 0.4], [0.6, 0.4], [0.6, 0.4]])
    >>> fitted_power(logits, np.array([0, 0, 0, 1]), np.ones(4)) > 2  # right in three of four, as .75 would be
    True
    """
    z = logits - logits.max(axis=1, keepdims=True)
    known, any_class = z[np.arange(truth.size), truth], z.mean(axis=1)
    more = _DOUBTED * weights.mean() / truth.size
    losses = []
    for beta in _POWERS:
        total = np.log(np.exp(beta * z).sum(axis=1))
        losses.append(float(weights @ (total - beta * known) + more * (total - beta * any_class).sum()))
    return float(_POWERS[int(np.argmin(losses))])


@np.errstate(under="ignore")
def fitted_bias(logits: Floats, truth: Ints, weights: Floats) -> Floats:
    """Return the b (c,) under which softmax(logits + b) makes the truth likeliest, and a normal prior of variance 1/8.

        b_j = (labels of class j - sum_i p_ij) / 8,    p = softmax(logits + b), labels counted by weight

    So a class that is given away too often gets less. Zeros where a class has no label: nothing tells how often it is.

    Reference: Alexandari et al. (2020), section 3, for the bias; Böhning (1992), for the step.

    Parameters
    ----------
    logits : (m, c)
    truth : (m,)
    weights : (m,)
        Of sum 1.

    Notes
    -----
    A step by the inverse of m / 2 + 8, which no curvature exceeds, leaves at most m / (m + 16) of the distance: of 128
    labels 8e-6 after 100 steps.

    Examples
    --------
    >>> b = fitted_bias(np.zeros((4, 2)), np.array([0, 0, 0, 1]), np.full(4, 0.25))
    >>> b.round(3).tolist(), (8 * b + 4 * softmax(b[None])[0]).round(3).tolist()  # 3 labels and 1
    ([0.1, -0.1], [3.0, 1.0])
    """
    m, c = logits.shape
    bias, counted = np.zeros(c), m * np.bincount(truth, weights, minlength=c)
    if not counted.all():
        return bias
    for _ in range(_ROUNDS):
        said = m * (weights @ softmax(logits + bias))
        bias += (counted - said - _PRECISION * bias) / (m / 2 + _PRECISION)
    return bias


@np.errstate(under="ignore")
def log_losses(logits: Floats, truth: Ints) -> Floats:
    """Return -log p_truth (m,) for p = softmax(logits).

    >>> log_losses(np.zeros((1, 2)), np.array([0])).round(4).tolist()
    [0.6931]
    """
    z = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(z).sum(axis=1)) - z[np.arange(truth.size), truth])


@np.errstate(under="ignore")
def softmax(logits: AnyArray) -> AnyArray:
    """Return exp(logits) in rows of sum 1.

    >>> softmax(np.log([[1.0, 3.0]])).round(3).tolist()
    [[0.25, 0.75]]
    """
    P: AnyArray = np.exp(logits - logits.max(axis=1, keepdims=True))
    P /= P.sum(axis=1, keepdims=True)
    return P


def logits_of(distributions: AnyArray) -> AnyArray:
    """Return the logarithms of distributions, of none below 1e-6.

    >>> logits_of(np.array([[1.0, 0.0]])).round(1).tolist()
    [[0.0, -13.8]]
    """
    return np.asarray(np.log(np.maximum(distributions, LEAST)))


def calibration_error(distributions: ArrayLike, truth: ArrayLike, *, n_bins: int = 15) -> float:
    """Return the expected calibration error: how far the largest probabilities are from the share that is right.

        sum over bins b of  |b| / n  |mean of max_j p_ij - share with argmax_j p_ij = truth_i|,    i in b

    Reference: Guo et al. (2017), eq. 3.

    Parameters
    ----------
    distributions : (n, c) array
        Rows of sum 1.
    truth : (n,) integers
        The column of each row's class.
    n_bins : int
        Of equal width, by the largest probability.

    Raises
    ------
    ValueError
        For shapes that do not fit, and columns outside the distributions.

    Examples
    --------
    >>> round(calibration_error([[0.9, 0.1], [0.9, 0.1]], [0, 1]), 3)
    0.4
    """
    P, columns = as_numbers(distributions, "distributions"), as_integers(truth, "truth")
    check_count(n_bins, "n_bins")
    if P.ndim != 2 or columns.shape != P.shape[:1] or not P.size:
        raise ValueError(f"distributions (n, c) and truth (n,) must fit, got {P.shape} and {columns.shape}")
    if columns.min() < 0 or columns.max() >= P.shape[1]:
        raise ValueError(f"truth must lie in 0..{P.shape[1] - 1}, got {columns.min()}..{columns.max()}")
    sure = P.max(axis=1)
    gap = sure - (P.argmax(axis=1) == columns)
    bins = np.minimum((sure * n_bins).astype(np.int64), n_bins - 1)
    return float(abs(np.bincount(bins, gap)).sum() / sure.size)
