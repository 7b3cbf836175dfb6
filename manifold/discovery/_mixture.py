"""A map as a mixture of Gaussians whose number is found: mass on a grid in, weights, means and covariances out.

    p_k = pi_k N(mu_k, Sigma_k),   <p_i, p_j> = pi_i pi_j N(mu_i; mu_j, Sigma_i + Sigma_j)

Components that others explain are purged: in falling pi, k stays where |p_k|^2 / (|p_k|^2 + sum of <p_k, p_j> over the
j that stay) is at least a threshold. Nothing expands: on a smooth map the tails of everything would be seen.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manifold._typing import Floats, Ints

_CELL = np.eye(2) / 12  # covariance of a square of side 1: mass sits on cells, not on points
_STEP = 2  # a component starts on each second cell of each second row
_ROUNDS = 100
_STILL = 1e-5


class Mixture(NamedTuple):
    """Components by falling weight: pi (k,), mu (k, 2) as y, x in cells, Sigma (k, 2, 2)."""

    weights: Floats
    means: Floats
    covariances: Floats


@np.errstate(under="ignore")  # far from everything densities are nothing
def fit_mixture(mass: Floats, *, threshold: float) -> Mixture:
    """Fit a mixture to mass (H, W) >= 0: expectation, maximisation and purge by turns until nothing moves.

    >>> mass = np.zeros((9, 12))
    >>> mass[2, 3], mass[6, 9] = 1, 3
    >>> found = fit_mixture(mass, threshold=0.6)
    >>> found.weights.round(3).tolist(), found.means.round(3).tolist()
    ([0.75, 0.25], [[6.5, 9.5], [2.5, 3.5]])
    """
    cells: Floats = np.argwhere(mass > 0) + np.float64(0.5)
    f = mass[mass > 0] / mass.sum() if cells.size else np.empty(0)
    starts = cells[(np.floor(cells) % _STEP == 0).all(axis=1)] if cells.size else np.empty((0, 2))
    starts = np.asarray(starts if len(starts) else cells, dtype=np.float64)
    k = len(starts)
    found = Mixture(np.full(k, 1 / max(k, 1)), starts, np.tile(np.eye(2) * _STEP**2 / 2, (k, 1, 1)))
    for _ in range(_ROUNDS):
        if not len(found.weights):
            break
        moved = _maximised(found, cells, f)
        kept = _unexplained(moved, threshold)
        same = kept.size == len(found.weights) and abs(moved.means[kept] - found.means).max() < _STILL
        found = Mixture(moved.weights[kept] / moved.weights[kept].sum(), moved.means[kept], moved.covariances[kept])
        if same:
            break
    return found


def _maximised(mixture: Mixture, cells: Floats, f: Floats) -> Mixture:
    """Share each cell out among the components, and fit each to what it got; by falling weight."""
    away = cells[:, None] - mixture.means
    inverse = np.linalg.inv(mixture.covariances)
    squares = np.einsum("pki,kij,pkj->pk", away, inverse, away)
    scale = np.log(mixture.weights) - np.log(np.linalg.det(mixture.covariances)) / 2
    logs = scale - squares / 2
    shares = np.exp(np.maximum(logs - logs.max(axis=1, keepdims=True), -700))
    shares *= (f / shares.sum(axis=1))[:, None]
    weights = shares.sum(axis=0)
    alive = weights > 1e-12
    weights, shares = weights[alive], shares[:, alive] / weights[alive]
    means = shares.T @ cells
    away = cells[:, None] - means
    covariances = np.einsum("pk,pki,pkj->kij", shares, away, away) + _CELL
    order = np.lexsort((means[:, 1], means[:, 0], -weights.round(12)))
    return Mixture(weights[order], means[order], covariances[order])


def _unexplained(mixture: Mixture, threshold: float) -> Ints:
    """Return which components stay, in falling weight."""
    k = len(mixture.weights)
    away = mixture.means[:, None] - mixture.means
    both = mixture.covariances[:, None] + mixture.covariances
    squares = np.einsum("ijm,ijmn,ijn->ij", away, np.linalg.inv(both), away)
    density = np.exp(np.maximum(-squares / 2, -700)) / (2 * np.pi * np.sqrt(np.linalg.det(both)))
    overlap = mixture.weights[:, None] * mixture.weights * density
    kept: list[int] = []
    for i in range(k):
        own = overlap[i, i]
        if own >= threshold * (own + overlap[i, kept].sum()):
            kept.append(i)
    return np.array(kept, dtype=np.int64)
