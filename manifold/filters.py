"""Transfer functions h of the eigenvalue, as data: what F = h(S) Y does to each frequency of the graph.

Every filter has h(1) = 1, so the scores of all filters and solvers stand on one scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from manifold.backends import Array
from manifold.errors import warn


class Filter(Protocol):
    """A transfer function on [-1, 1] with h(1) = 1.

    Reference: Iscen et al. (2018a), section 4; Shuman et al. (2013), section III.
    """

    @property
    def resolvents(self) -> tuple[tuple[float, float], ...] | None:
        """Pairs (w, a), |a| < 1, with h(x) = sum of w / (1 - a x); None where h is not such a sum.

        >>> Diffusion(alpha=0.5).resolvents, Heat(t=2.0).resolvents
        (((0.5, 0.5),), None)
        """

    @property
    def smooth(self) -> bool:
        """Whether polynomials approach h fast on [-1, 1]; a filter with a step needs eigenvectors.

        >>> Diffusion().smooth, LowPass().smooth
        (True, False)
        """

    @np.errstate(under="ignore")
    def __call__(self, eigenvalues: Array | float) -> Array:
        """Return h of each eigenvalue."""


@dataclass(frozen=True)
class Diffusion:
    """The random walk with restart: F = (1 - alpha) (I - alpha S)^-1 Y.

        h(x) = (1 - alpha) / (1 - alpha x)

    Reference: Zhou et al. (2003b), section 2; Iscen et al. (2017), eq. 4.

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

    smooth = True

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)

    @property
    def resolvents(self) -> tuple[tuple[float, float], ...]:
        """One resolvent: ((1 - alpha, alpha),).

        >>> Diffusion(alpha=0.75).resolvents
        ((0.25, 0.75),)
        """
        return ((1.0 - self.alpha, float(self.alpha)),)

    @np.errstate(under="ignore")
    def __call__(self, eigenvalues: Array | float) -> Array:
        """Return (1 - alpha) / (1 - alpha x)."""
        return (1 - self.alpha) / (1 - self.alpha * eigenvalues)


@dataclass(frozen=True)
class RegularizedDiffusion:
    """Diffusion over even walks only: the regularised diffusion process.

        h(x) = (1 - alpha) / (1 - alpha x^2) = (1 - alpha)/2 [1 / (1 - sqrt(alpha) x) + 1 / (1 + sqrt(alpha) x)]

    Reference: Bai et al. (2017).

    Parameters
    ----------
    alpha : float in [0, 1)

    Raises
    ------
    ValueError
        For an alpha outside [0, 1).

    Examples
    --------
    >>> float(RegularizedDiffusion(alpha=0.5)(-1.0))
    1.0
    """

    alpha: float = 0.95

    smooth = True

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)

    @property
    def resolvents(self) -> tuple[tuple[float, float], ...]:
        """Two resolvents, at plus and minus sqrt(alpha).

        >>> RegularizedDiffusion(alpha=0.25).resolvents
        ((0.375, 0.5), (0.375, -0.5))
        """
        weight, root = (1.0 - self.alpha) / 2, float(np.sqrt(self.alpha))
        return ((weight, root), (weight, -root))

    @np.errstate(under="ignore")
    def __call__(self, eigenvalues: Array | float) -> Array:
        """Return (1 - alpha) / (1 - alpha x^2)."""
        return (1 - self.alpha) / (1 - self.alpha * eigenvalues * eigenvalues)


@dataclass(frozen=True)
class Heat:
    """The heat kernel: F = exp(-t (I - S)) Y.

        h(x) = exp(t (x - 1))

    Reference: Kondor and Lafferty (2002).

    Parameters
    ----------
    t : float >= 0
        Time, in steps of the walk.

    Raises
    ------
    ValueError
        For a t that is negative or not finite.

    Examples
    --------
    >>> round(float(Heat(t=2.0)(0.0)), 6)
    0.135335
    """

    t: float = 10.0

    smooth = True
    resolvents = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.t) and self.t >= 0):
            raise ValueError(f"t must be a finite number >= 0, got {self.t!r}")

    @np.errstate(under="ignore")
    def __call__(self, eigenvalues: Array | float) -> Array:
        """Return exp(t (x - 1))."""
        return np.exp(self.t * (eigenvalues - 1))


@dataclass(frozen=True)
class Polynomial:
    """A finite walk: F = sum of c_k S^k Y, scaled so that the coefficients add up to 1.

    Powers of x^2, (1, 0, 1, 0, 1), are the tensor product graph; (0, 1) is one step of
    propagation, which is what average query expansion does.

    Reference: Yang et al. (2013), for powers of x^2.

    Parameters
    ----------
    coefficients : tuple of float
        c_0, c_1, ...; any scale, but not of sum 0.

    Raises
    ------
    ValueError
        For no coefficients, NaN, or a sum of 0.

    Examples
    --------
    >>> float(Polynomial((1, 0, 1))(0.5))
    0.625
    """

    coefficients: tuple[float, ...] = (1.0, 1.0)

    smooth = True
    resolvents = None

    def __post_init__(self) -> None:
        values = np.array(self.coefficients, dtype=np.float64)
        if values.ndim != 1 or not values.size or not np.isfinite(values).all() or (total := float(values.sum())) == 0:
            raise ValueError(f"coefficients must be finite numbers of a sum that is not 0, got {self.coefficients!r}")
        # scaled once and kept so: equal filters compare equal, and h(1) = 1
        object.__setattr__(self, "coefficients", tuple(float(c) / total for c in values))

    @np.errstate(under="ignore")
    def __call__(self, eigenvalues: Array | float) -> Array:
        """Return the polynomial by Horner's rule."""
        value = 0.0 * eigenvalues  # zeros of their shape, on their device
        for c in reversed(self.coefficients):
            value = value * eigenvalues + c
        return value


@dataclass(frozen=True)
class LowPass:
    """Keep what varies slowly over the graph, drop the rest: h(x) = 1 for x >= cutoff, else 0.

    The ideal filter of graph signal processing. It has a step, so that only solvers with eigenvectors
    ("fsr", "direct") serve it.

    Reference: Shuman et al. (2013), section III.

    Parameters
    ----------
    cutoff : float in (-1, 1]
        Least eigenvalue that passes.

    Raises
    ------
    ValueError
        For a cutoff outside (-1, 1].

    Examples
    --------
    >>> LowPass(cutoff=0.5)(np.array([1.0, 0.2])).tolist()
    [1.0, 0.0]
    """

    cutoff: float = 0.5

    smooth = False
    resolvents = None

    def __post_init__(self) -> None:
        if not -1 < self.cutoff <= 1:
            raise ValueError(f"cutoff must lie in (-1, 1], got {self.cutoff!r}")

    @np.errstate(under="ignore")
    def __call__(self, eigenvalues: Array | float) -> Array:
        """Return 1 where x >= cutoff, up to the rounding of an eigenvalue, else 0."""
        return 1.0 * (eigenvalues >= self.cutoff - 1e-6)


def check_filter(filter: object) -> None:
    """Raise TypeError for what is no transfer function, or only the class of one.

    Reference: Iscen et al. (2018a), section 4.

    >>> check_filter(Diffusion(0.9))
    """
    if isinstance(filter, type) or not (callable(filter) and hasattr(filter, "resolvents")):
        raise TypeError(f"filter must be a transfer function such as Diffusion(alpha=0.95), got {filter!r}")


def _check_alpha(alpha: float) -> None:
    if not (isinstance(alpha, int | float | np.number) and 0 <= alpha < 1):
        raise ValueError(f"alpha must lie in [0, 1), got {alpha!r}: 0.9 to 0.99 serve most collections")
    if alpha > 0.9999:
        steps = int(np.sqrt(2 / (1 - alpha)) * np.log(2e6) / 2)
        warn(f"alpha={alpha} makes the system nearly singular: expect up to {steps} iterations for 1e-6")
