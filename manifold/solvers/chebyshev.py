"""Chebyshev expansion: h(S) Y = sum of c_k T_k(S) Y, of a degree and with coefficients known before the first product.

In: unit seed columns. Out: F, the degree, true residuals, bounds. The spectrum lies in [-1, 1]: nothing is estimated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import fft

from manifold._checks import check_stopping
from manifold._typing import Floats, Ints
from manifold.backends import Array, Backend, rounding_unit
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.solvers.base import Callback, Prepared, Snapshot, Solution, Solver
from manifold.solvers.system import NormalizedAffinity, Seeds, error_bound, solve_in_blocks

_EPS = float(np.finfo(np.float64).eps)
_REFINEMENTS = 3


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
    return (_expand_function(filter),)


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
def _expand_function(h: Filter) -> Series:
    """Coefficients by a discrete cosine transform of h, as float64 evaluates it, at the Chebyshev points.

    The points are doubled until the last half of the coefficients is rounding. From there on those of a smooth filter
    fall at least geometrically, so that all beyond, and all they fold onto others, is less than that half.
    """
    n = 512  # no polynomial of fewer terms can hide between the points
    while True:
        values = h(np.cos(np.pi * np.arange(n + 1) / n))
        c = fft.dct(values, type=1) / n
        c[[0, -1]] /= 2
        noise = 16 * _EPS * float(np.abs(values).max())
        size = int(np.flatnonzero(np.abs(c) > noise).max(initial=0)) + 1
        if size <= n // 2 or n >= 1 << 22:
            break
        n *= 2
    k = np.arange(size)
    points = _EPS * float((k * k * np.abs(c[:size])).sum())  # |h'| eps: the points are rounded
    transform = 4 * _EPS * np.log2(n) * np.sqrt(n) * float(np.abs(values).max())
    return Series(c[:size], float(2 * np.abs(c[size:]).sum() + points + transform))


@dataclass(frozen=True)
class Chebyshev(Solver):
    """Expansion of h in Chebyshev polynomials (Shuman, Vandergheynst and Frossard, DCOSS 2011, section III).

        F = sum of c_k T_k(S) Y,    T_{k+1}(S) = 2 S T_k(S) - T_{k-1}(S),    k <= degree

    Parameters
    ----------
    rtol : float
        The degree is the least that brings the relative residual ||b - (I - a S) x||_2 / ||b||_2 of each resolvent
        below it; for a filter that is no sum of resolvents, the error ||F - scores||_2 / ||Y||_2.
    max_iter : int, optional
        Most products to take, whatever the degree needed.

    Raises
    ------
    ValueError
        For an rtol outside (0, 1), or (when prepared) a filter with a step.

    Notes
    -----
    No inner products: all columns take the same degree, none is frozen, an `x0` is of no use, and the same seeds give
    the same bits in any batch. The host looks once, at the end, whether rounding asks for a correction. A column of
    zeros counts 0 iterations.
    Bound: min(the true residual of each resolvent, one product, in `error_bound`; the coefficients left out and
    `Series.rounding`). Where no resolvent says more, `Solution.residual` is this bound, relative.
    Cost: a product with S and three passes over (n, q) an iteration; memory 5 n q, n q more for a second resolvent.

    Examples
    --------
    >>> from manifold import Diffusion, Heat
    >>> Chebyshev(rtol=1e-3).degree(Diffusion(0.99)), Chebyshev(rtol=1e-3).degree(Heat(10.0))
    (67, 11)
    """

    rtol: float = 1e-3
    max_iter: int | None = None

    def __post_init__(self) -> None:
        check_stopping(self.rtol, self.max_iter)

    def degree(self, filter: Filter) -> int:
        """Return the degree that reaches rtol, at most max_iter.

        >>> from manifold import Polynomial
        >>> Chebyshev().degree(Polynomial((1.0, 0.0, 1.0))), Chebyshev(max_iter=1).degree(Polynomial((1.0, 0.0, 1.0)))
        (2, 1)
        """
        degree = max(series.least_degree(self.rtol) for series in expand(filter, "chebyshev"))
        return degree if self.max_iter is None else min(degree, self.max_iter)

    @np.errstate(under="ignore")
    def prepare(self, graph: Graph, filter: Filter, backend: Backend) -> PreparedChebyshev:
        """Expand the filter and normalise the affinity on the backend.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> Chebyshev(rtol=0.01).prepare(graph_from_affinity([[0, 1], [1, 0]]), Diffusion(0.6), get_backend()).degree
        5
        """
        parts = expand(filter, "chebyshev")
        return PreparedChebyshev(self, parts, self.degree(filter), NormalizedAffinity(graph, backend))


@dataclass(frozen=True, eq=False)
class PreparedChebyshev(Prepared):
    """Coefficients, and S on a backend, ready for seeds."""

    settings: Chebyshev
    parts: tuple[Series, ...]
    degree: int
    system: NormalizedAffinity

    def solve(self, seeds: object, *, x0: object = None, callback: Callback | None = None) -> Solution:
        """Return F = h(S) seeds; `x0` is of no use; `callback` is shown the residual that theory promises.

        >>> from manifold import Heat, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> pair = graph_from_affinity([[0, 1], [1, 0]]).astype("float64")
        >>> prepared = Chebyshev(rtol=1e-9).prepare(pair, Heat(1.0), get_backend())
        >>> prepared.solve([1.0, 0.0]).scores.round(6).tolist()  # exp(-1) (cosh 1, sinh 1)
        [0.567668, 0.432332]
        """
        return solve_in_blocks(self.system, seeds, self._solve_block, solver="chebyshev", callback=callback)

    def _solve_block(
        self, seeds: Seeds, x0: Array | None, columns: Ints, callback: Callback | None
    ) -> tuple[Array, ...]:
        xp, y = self.system.backend.xp, seeds.block
        length = xp.sqrt(self.system.backend.column_dots(y, y))
        n_iter = xp.where(length > 0, self.degree, 0)
        worst, bound, total = xp.zeros(columns.size), xp.zeros(columns.size), xp.zeros_like(y)
        reached = True
        promise = np.max([np.resize(s.shortfall(), self.degree + 1) for s in self.parts], axis=0)

        def show(k: int) -> None:
            if callback is not None and k % self.system.backend.check_every == 0:
                callback(Snapshot(columns, k, np.full(columns.size, promise[k])))

        for series, first in zip(self.parts, _expansions(self.system, self.parts, y, self.degree, show), strict=True):
            x, enough = first, self.degree >= series.least_degree(self.settings.rtol)
            relative, part = self._theory(series, length)
            if series.a is not None:
                eligible = xp.full(length.shape, enough)
                x, relative, true, steps = corrected(
                    self.system, series, y, x=x, rtol=self.settings.rtol, eligible=eligible
                )
                part = xp.where(steps > 0, true, xp.minimum(true, part))
                n_iter += steps
            total += x
            reached &= enough
            worst, bound = xp.maximum(worst, relative), bound + part
        converged = worst <= self.settings.rtol
        # of the degree that suffices only rounding can make too little
        broken = ~converged if reached else xp.zeros_like(converged)
        return total, converged, n_iter, worst, bound, broken

    def _theory(self, series: Series, length: Array) -> tuple[Array, Array]:
        """Return what the coefficients left out and rounding cost at most: relative, and times ||y||_2."""
        S, xp, kept = self.system, self.system.backend.xp, min(self.degree, series.coefficients.size - 1)
        relative = float(series.truncation()[kept]) + series.rounding(kept, S)
        longest = length * (1 + 1024 * rounding_unit(S.dtype))  # the sum of squares is rounded too
        return xp.where(length > 0, relative, 0.0), xp.where(length > 0, relative, 0.0) * longest


def corrected(
    S: NormalizedAffinity, series: Series, y: Array, *, x: Array, rtol: float, eligible: Array
) -> tuple[Array, Array, Array, Array]:
    """Judge x as w (I - a S)^-1 y; where rounding holds its residual above rtol, expand the residual and add.

    Steps of a recurrence add up their rounding, which a second, short expansion of what is left undoes. Returns, for
    each column, x, its relative residual, a bound on its error, and the steps taken; `eligible` columns only take any.
    The host looks once, and once a correction.
    """
    xp, kind = S.backend.xp, y.dtype.type
    b = y * kind(series.w)
    length = xp.sqrt(S.backend.column_dots(b, b))

    def judge(x: Array) -> tuple[Array, Array, Array]:
        residual = S.residual(b, x, series.a or 0.0)
        norm, bound = error_bound(S, b=b, x=x, residual=residual, a=float(series.a or 0.0))
        return norm / xp.where(length > 0, length, 1.0), bound, residual

    relative, bound, residual = judge(x)
    steps, before = xp.zeros(length.shape, dtype=np.int64), np.inf
    for _ in range(_REFINEMENTS):
        short = eligible & (relative > rtol)
        worst = float(S.backend.to_host(xp.where(short, relative, 0.0).max()))
        if not rtol < worst < before:
            break
        degree, before = series.least_degree(rtol / (2 * worst)), worst
        (more,) = _expansions(S, (series,), residual / kind(series.w), degree)
        better = x + xp.where(short, more, 0)
        fresh, closer, left = judge(better)
        take = fresh < relative
        x, residual = xp.where(take, better, x), xp.where(take, left, residual)
        relative, bound = xp.where(take, fresh, relative), xp.where(take, closer, bound)
        steps += short * degree
    return x, relative, bound, steps


def _expansions(
    S: NormalizedAffinity, parts: tuple[Series, ...], y: Array, degree: int, show: Callable[[int], None] | None = None
) -> list[Array]:
    """Return, for each series, the sum of c_k T_k(S) y, k <= degree: one recurrence serves them all."""
    backend, coefficients = S.backend, [series.coefficients[: degree + 1] for series in parts]
    q = y.shape[1]
    width = backend.block_width(S.n_nodes, q)
    if width > q:  # a block of more columns costs no more
        y = backend.xp.take(y, backend.asarray(np.resize(np.arange(q), width)), axis=1)
    sums = [y.dtype.type(c[0]) * y for c in coefficients]
    before, T = None, y
    for k in range(1, degree + 1):
        out = before if k > 2 else None  # never the seeds
        before, T = T, backend.spmm(S.matrix, T, a=1.0 if k == 1 else 2.0, c=-1.0, other=before, out=out)
        for total, c in zip(sums, coefficients, strict=True):
            if k < len(c) and c[k]:
                backend.axpy(total, T, c[k])
        if show is not None:
            show(k)
    return sums if width == q else [backend.xp.ascontiguousarray(total[:, :q]) for total in sums]
