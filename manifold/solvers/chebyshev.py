"""Chebyshev expansion: h(S) Y = sum of c_k T_k(S) Y, of a degree and with coefficients known before the first product.

In: unit seed columns. Out: F, the degree, true residuals, bounds. The spectrum lies in [-1, 1]: nothing is estimated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from manifold._checks import check_stopping
from manifold._typing import Ints
from manifold.backends import Array, Backend, rounding_unit
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.solvers._series import Series, expand
from manifold.solvers.base import Callback, Prepared, Snapshot, Solution, Solver
from manifold.solvers.system import NormalizedAffinity, Seeds, error_bound, solve_in_blocks

_REFINEMENTS = 3


@dataclass(frozen=True)
class Chebyshev(Solver):
    """Expansion of h in Chebyshev polynomials.

        F = sum of c_k T_k(S) Y,    T_{k+1}(S) = 2 S T_k(S) - T_{k-1}(S),    k <= degree

    Reference: Shuman et al. (2011), section III.

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
    No inner products: all columns take the same degree, none is frozen, and an `x0` is of no use. The host looks once,
    at the end, whether rounding asks for corrections, each of a degree that its own residual asks for: the same seeds
    give the same bits in any batch. A column of zeros counts 0 iterations.
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

        for series, first in zip(
            self.parts, _expansions(self.system, self.parts, y, self.degree, show=show), strict=True
        ):
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
    steps, before = xp.zeros(length.shape, dtype=np.int64), np.full(length.shape, np.inf)
    for _ in range(_REFINEMENTS):
        now = S.backend.to_host(xp.where(eligible, relative, 0.0))
        going = (rtol < now) & (now < before)
        if not going.any():
            break
        # each column by its own degree, whatever stands beside it
        needed = [series.least_degree(rtol / (2 * r)) if go else 0 for r, go in zip(now, going, strict=True)]
        degrees, before = np.array(needed), np.where(going, now, 0.0)
        short, degree = S.backend.asarray(going), S.backend.asarray(degrees)
        (more,) = _expansions(S, (series,), residual / kind(series.w), degrees.max(), degrees=degrees)
        better = x + xp.where(short, more, 0)
        fresh, closer, left = judge(better)
        take = fresh < relative
        x, residual = xp.where(take, better, x), xp.where(take, left, residual)
        relative, bound = xp.where(take, fresh, relative), xp.where(take, closer, bound)
        steps += short * degree
    return x, relative, bound, steps


def _expansions(
    S: NormalizedAffinity,
    parts: tuple[Series, ...],
    y: Array,
    degree: int,
    *,
    show: Callable[[int], None] | None = None,
    degrees: Ints | None = None,
) -> list[Array]:
    """Return, for each series, the sum of c_k T_k(S) y, k <= degree: one recurrence serves them all.

    With `degrees` (q,) each column has an end of its own.
    """
    backend, coefficients = S.backend, [series.coefficients[: degree + 1] for series in parts]
    q = y.shape[1]
    width = backend.block_width(S.n_nodes, q)
    if width > q:  # a block of more columns costs no more
        y = backend.xp.take(y, backend.asarray(np.resize(np.arange(q), width)), axis=1)
    ends = None if degrees is None else np.resize(degrees, width)
    sums = [y.dtype.type(c[0]) * y for c in coefficients]
    before, T = None, y
    for k in range(1, degree + 1):
        out = before if k > 2 else None  # never the seeds
        before, T = T, backend.spmm(S.matrix, T, a=1.0 if k == 1 else 2.0, c=-1.0, other=before, out=out)
        for total, c in zip(sums, coefficients, strict=True):
            if k < len(c) and c[k]:
                backend.axpy(total, T, c[k] if ends is None else backend.asarray(np.where(k <= ends, c[k], 0.0)))
        if show is not None:
            show(k)
    return sums if width == q else [backend.xp.ascontiguousarray(total[:, :q]) for total in sums]
