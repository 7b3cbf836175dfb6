"""Transfer functions h of the eigenvalue, as data: what F = h(S) Y does to each frequency of the graph.

Every filter has h(1) = 1, so scores of all filters and solvers stand on one scale.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from manifold._errors import ManifoldWarning


class Filter(Protocol):
    """A transfer function on [-1, 1] with h(1) = 1."""

    @property
    def resolvents(self) -> tuple[tuple[float, float], ...] | None:
        """Pairs (w, a), |a| < 1, with h(x) = sum of w / (1 - a x); None where h is not such a sum."""

    def __call__(self, eigenvalues: Any) -> Any:
        """Return h of each eigenvalue."""


@dataclass(frozen=True)
class Diffusion:
    """The random walk with restart of Zhou et al. (NIPS 2003): F = (1 - alpha) (I - alpha S)^-1 Y.

        h(x) = (1 - alpha) / (1 - alpha x)

    Parameters
    ----------
    alpha : float in [0, 1)
        How far to diffuse: a walk takes alpha / (1 - alpha) steps on average before it restarts. 0 returns the
        seeds. The condition number of the system is at most (1 + alpha) / (1 - alpha).

    Raises
    ------
    ValueError
        For an alpha outside [0, 1): at 1 the system is singular, beyond it indefinite.

    Warns
    -----
    ManifoldWarning
        For alpha > 0.9999, with the iterations to expect.

    Examples
    --------
    >>> float(Diffusion(alpha=0.5)(0.0))
    0.5
    """

    alpha: float = 0.95

    def __post_init__(self) -> None:
        if not (isinstance(self.alpha, int | float | np.number) and 0 <= self.alpha < 1):
            raise ValueError(f"alpha must lie in [0, 1), got {self.alpha!r}: 0.9 to 0.99 serve most collections")
        if self.alpha > 0.9999:
            steps = int(np.sqrt(2 / (1 - self.alpha)) * np.log(2e6) / 2)
            warnings.warn(
                f"alpha={self.alpha} makes the system nearly singular: expect up to {steps} iterations for 1e-6",
                ManifoldWarning,
                stacklevel=3,
            )

    @property
    def resolvents(self) -> tuple[tuple[float, float], ...]:
        """One resolvent: ((1 - alpha, alpha),)."""
        return ((1.0 - self.alpha, float(self.alpha)),)

    def __call__(self, eigenvalues: Any) -> Any:
        """Return (1 - alpha) / (1 - alpha x)."""
        return (1 - self.alpha) / (1 - self.alpha * eigenvalues)
