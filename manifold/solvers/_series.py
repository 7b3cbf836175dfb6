"""Functions on [-1, 1] as Chebyshev series, with bounds on what a series cut short leaves out.

In: a filter. Out: coefficients c_k of sum c_k T_k(x); of a resolvent in closed form, else by a cosine transform.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.chebyshev import poly2cheb as polynomial_in_chebyshev
from scipy import fft

from manifold._typing import Floats
from manifold.backends import rounding_unit
from manifold.filters import Filter, Polynomial
from manifold.solvers.system import NormalizedAffinity

MOST_TERMS = 1 << 16  # of a series: so many products with S are days on a large graph
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Series:
    """A function on [-1, 1] as sum of c_k T_k(x), k < K.

    `rest` bounds what the sum leaves out: the coefficients beyond, and the rounding of those kept. With a pole 1 / a,
    the function is the resolvent w / (1 - a x).
    """

    coefficients: Floats
    rest: float
    w: float = 1.0
    a: float | None = None

    @np.errstate(under="ignore")
    def truncation(self) -> Floats:
        """Return, for each degree m < K, a bound on max |h - sum to m| over [-1, 1]: the |c_k| beyond m, added.

        >>> Series(np.array([1.0, 0.5, -0.25]), 0.0).truncation().tolist()
        [0.75, 0.25, 0.0]
        """
        c = np.abs(self.coefficients)
        return np.append(np.cumsum(c[:0:-1])[::-1], 0.0) + self.rest

    @np.errstate(under="ignore")
    def shortfall(self) -> Floats:
        """Return, for each degree m < K, what is stopped on: of a resolvent the relative residual, else the error.

        Since (1 - a x) sum c_k T_k = w and 2 x T_k = T_{k+1} + T_{k-1}, all of the residual polynomial cancels but
        a / 2 (c_m T_{m+1} - c_{m+1} T_m), with c_0 doubled.

        >>> from manifold import Diffusion
        >>> expand(Diffusion(0.6), "chebyshev")[0].shortfall()[:3].round(6).tolist()  # 3^-m
        [1.0, 0.333333, 0.111111]
        """
        if self.a is None:
            return 2 * (self.truncation() - self.rest)  # the other half of the tolerance is left to rounding
        c = np.append(np.abs(self.coefficients), 0.0)
        c[0] *= 2
        shortfall: Floats = abs(self.a) / 2 * (c[:-1] + c[1:]) / self.w
        return shortfall

    def least_degree(self, rtol: float) -> int:
        """Return the least degree whose shortfall is at most rtol.

        >>> from manifold import Diffusion
        >>> expand(Diffusion(0.6), "chebyshev")[0].least_degree(0.01)  # 3^-5 < 0.01 < 3^-4
        5
        """
        return int(np.argmax(np.append(self.shortfall(), 0.0) <= rtol))

    @np.errstate(under="ignore")
    def rounding(self, degree: int, system: NormalizedAffinity) -> float:
        """Return a bound on the rounding of sum to `degree` of c_k T_k(S) y, relative to ||y||_2.

        A step T_{k+1} = 2 S T_k - T_{k-1} errs by at most 3 u ||T_k|| (u: twice the longest row + 8 unit roundoffs,
        which counts the rounding of S). The errors obey the same recurrence, so that with g_k = T_k(1 + 3 u / 2) the
        computed T_k is at most g_k ||y|| long and g_k - 1 of that wrong. The sum itself adds a unit roundoff a term.
        """
        c, unit = np.abs(self.coefficients[: degree + 1]), rounding_unit(system.dtype)
        half = np.arange(c.size) * np.arccosh(1 + 1.5 * system.rounding) / 2
        with np.errstate(over="ignore"):
            excess = 2 * np.sinh(half) ** 2  # g_k - 1, without cancellation
            return float((c * excess).sum() + (degree + 5) * unit * (c * (1 + excess)).sum())


def expand(filter: Filter, solver: str) -> tuple[Series, ...]:
    """Return a series for each resolvent of a filter, or one for a filter that has none.

    >>> from manifold import Diffusion
    >>> expand(Diffusion(0.0), "chebyshev")[0].coefficients.tolist()
    [1.0]
    """
    if filter.resolvents is not None:
        return tuple(_expand_resolvent(w, a) for w, a in filter.resolvents)
    if not filter.smooth:
        raise ValueError(f"solver {solver!r} needs a smooth filter, {filter} has a step: use solver='direct'")
    return (_expand_polynomial(filter) if isinstance(filter, Polynomial) else _expand_function(filter),)


@np.errstate(under="ignore")
def _expand_resolvent(w: float, a: float) -> Series:
    """w / (1 - a x) = w / s (1 + 2 sum z^k T_k), with s = sqrt(1 - a^2) and z = a / (1 + s)."""
    s = np.sqrt((1 - a) * (1 + a))
    z = a / (1 + s)
    size = 1 if z == 0 else int(np.ceil(np.log(_EPS**2 * (1 - abs(z))) / np.log(abs(z)))) + 1
    k = np.arange(size)
    c = 2 * w / s * np.power(float(z), k)
    c[0] /= 2
    # a relative rounding of 4 eps in z is one of 4 k eps in its power
    rest = abs(c[-1] * z) / (1 - abs(z)) + 4 * _EPS * float((np.abs(c) * (k + 2)).sum())
    return Series(c, float(rest), w, a)


@np.errstate(under="ignore")
def _expand_polynomial(h: Polynomial) -> Series:
    """Coefficients of a polynomial in another basis: of its own degree, however much its values cancel."""
    given = np.array(h.coefficients)
    if given.size > MOST_TERMS:
        raise ValueError(
            f"a polynomial of degree {given.size - 1:,} has more than {MOST_TERMS:,} terms, which a series holds at "
            f"most: give fewer coefficients, or use solver='direct'"
        )
    c = polynomial_in_chebyshev(given)
    # each step of the conversion adds halves of earlier numbers, whose sizes add up to no more than those given
    return Series(c, 4 * _EPS * given.size * float(np.abs(given).sum()))


@np.errstate(under="ignore")
def _expand_function(h: Filter) -> Series:
    """Coefficients by a discrete cosine transform of h, as float64 evaluates it, at the Chebyshev points.

    The points are doubled until the last half of the coefficients is rounding. From there on those of a smooth filter
    fall at least geometrically, so that all beyond, and all they fold onto others, is less than that half.
    """
    n = 512  # no polynomial of fewer terms can hide between the points
    while True:
        x = np.cos(np.pi * np.arange(n + 1) / n)
        values = h(x)
        c = fft.dct(values, type=1) / n
        c[[0, -1]] /= 2
        slope = float(np.abs(np.diff(values) / np.diff(x)).max())  # the points are rounded, too
        noise = _EPS * (16 * float(np.abs(values).max()) + 2 * slope)
        size = int(np.flatnonzero(np.abs(c) > noise).max(initial=0)) + 1
        if size <= n // 2:
            break
        n *= 2
        if n > 2 * MOST_TERMS:
            raise ValueError(
                f"{h} needs a series of degree {MOST_TERMS:,} or more, which is too much work: "
                f"choose a filter that changes less steeply, or solver='direct'"
            )
    k = np.arange(size)
    points = _EPS * float((k * k * np.abs(c[:size])).sum())  # |h'| eps: the points are rounded
    transform = 4 * _EPS * np.log2(n) * np.sqrt(n) * float(np.abs(values).max())
    return Series(c[:size], float(2 * np.abs(c[size:]).sum() + points + transform))
