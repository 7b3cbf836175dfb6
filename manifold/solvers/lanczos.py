"""Lanczos: one Krylov basis a column, F = ||y|| V h(T) e_1, which serves every filter from the same products.

In: unit seed columns. Out: F with bounds, and the bases, so that `LanczosSolution.refilter` costs no product with S.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from manifold._checks import check_stopping
from manifold._resources import require_memory
from manifold._typing import Floats, Ints
from manifold.backends import Array, Backend, rounding_unit
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.solvers._lanczos_basis import Basis, BasisGrowth
from manifold.solvers._series import Series, expand
from manifold.solvers.base import Callback, Prepared, Solution, Solver, Status
from manifold.solvers.chebyshev import corrected
from manifold.solvers.system import NormalizedAffinity, Seeds, check_seeds, solve_in_blocks

_EPS = float(np.finfo(np.float64).eps)
_MARGIN = 1.01  # over the lengths of basis vectors, which are 1 up to the rounding of a sum of squares


@dataclass(frozen=True)
class Lanczos(Solver):
    """One Krylov basis V for each column, orthogonal by a three-term recurrence.

        S V = V T + beta v e_m',    F = ||y||_2 V h(T) e_1,    T (m, m) tridiagonal

    Reference: Saad (1992).

    Parameters
    ----------
    rtol : float
        Relative: a column stops when ||b - (I - a S) x||_2 = |a| beta |z_m| ||y||_2, z = w (I - a T)^-1 e_1, is at
        most rtol ||b||_2 for every resolvent; for a filter without any, at ||F - scores||_2 <= rtol ||Y||_2.
    max_iter : int, optional
        By default ten and twice the degree that suffices to `Chebyshev`.

    Raises
    ------
    ValueError
        For an rtol outside (0, 1), or (when prepared, or asked of `refilter`) a filter with a step.
    MemoryBudgetError
        Where m n q entries of basis would not fit, before they are made.

    Notes
    -----
    Nothing is orthogonalised again. Rounding breaks the orthogonality of V, but neither the residual nor any bound
    here rests on it: they follow from S V = V T + beta v e_m' + Delta alone, whose Delta is the rounding of one step,
    at most 3 u a column. What is lost is some iterations, the same as conjugate gradients lose.
    Cost: one product with S, two inner products and six passes over (n, q) an iteration; memory m n q entries of the
    graph's dtype, kept by the solution: 51 MB for m = 10, n = 20,000, q = 64. A column that is done, or whose space
    is invariant under S (beta = 0: its answer is exact), takes no more of it once half of the block is done.

    Examples
    --------
    >>> from manifold import Diffusion, Heat, diffuse, graph_from_affinity
    >>> pair = graph_from_affinity([[0, 1], [1, 0]]).astype("float64")
    >>> solution = diffuse(pair, [1.0, 0.0], filter=Diffusion(0.5), solver=Lanczos(rtol=1e-9))
    >>> solution.scores.round(6).tolist()
    [0.666667, 0.333333]
    >>> solution.refilter(Heat(1.0)).scores.round(6).tolist()
    [0.567668, 0.432332]
    """

    rtol: float = 1e-3
    max_iter: int | None = None

    def __post_init__(self) -> None:
        check_stopping(self.rtol, self.max_iter)

    @np.errstate(under="ignore")
    def prepare(self, graph: Graph, filter: Filter, backend: Backend) -> PreparedLanczos:
        """Normalise the affinity on the backend.

        >>> from manifold import RegularizedDiffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> len(Lanczos().prepare(graph_from_affinity([[0, 1], [1, 0]]), RegularizedDiffusion(), get_backend()).parts)
        2
        """
        return PreparedLanczos(self, expand(filter, "lanczos"), NormalizedAffinity(graph, backend))


@dataclass(frozen=True, eq=False)
class PreparedLanczos(Prepared):
    """S on a backend, ready for seeds."""

    settings: Lanczos
    parts: tuple[Series, ...]
    system: NormalizedAffinity

    def solve(self, seeds: object, *, x0: object = None, callback: Callback | None = None) -> LanczosSolution:
        """Return F = h(S) seeds with its bases; `x0` is of no use; `callback` is shown the residuals as they fall.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> pair = graph_from_affinity([[0, 1], [1, 0]]).astype("float64")
        >>> solution = Lanczos(rtol=1e-9).prepare(pair, Diffusion(0.5), get_backend()).solve([1.0, 0.0])
        >>> solution.scores.round(6).tolist(), solution.n_iter.tolist()  # the space is all of two dimensions
        ([0.666667, 0.333333], [2])
        """
        values, _ = check_seeds(seeds, self.system.n_nodes)
        self._require(values.shape[1] * (1 + max(series.least_degree(self.settings.rtol) for series in self.parts)))
        kept: list[tuple[Basis, Seeds]] = []
        solve_block = partial(self._solve_block, kept)
        solution = solve_in_blocks(self.system, seeds, solve_block, solver="lanczos", callback=callback)
        return LanczosSolution(**vars(solution), bases=tuple(kept), prepared=self)

    def _require(self, n_vectors: int) -> None:
        require_memory(
            self.system.dtype.itemsize * self.system.n_nodes * n_vectors,
            purpose=f"{n_vectors} basis vectors on {self.system.n_nodes} nodes",
            cure="pass fewer seed columns at a time, or use solver='cg'",
        )

    def _solve_block(
        self,
        kept: list[tuple[Basis, Seeds]],
        seeds: Seeds,
        x0: Array | None,
        columns: Ints,
        callback: Callback | None,
    ) -> tuple[Array, ...]:
        rtol = self.settings.rtol
        degree = max(series.least_degree(rtol) for series in self.parts)
        budget = self.settings.max_iter or 2 * degree + 10
        growth = BasisGrowth(self.system, seeds.block, parts=self.parts, rtol=rtol, require=self._require)
        basis = growth.run(budget, columns, callback)
        x, weights, (worst, bound, steps) = self.answer(basis, self.parts, seeds.block)
        x = basis.combine(weights, self.system.backend) if x is None else x
        converged = worst <= rtol
        facts = (converged, basis.n_iter + steps, worst, bound, ~converged & (basis.n_iter < budget))
        kept.append((basis, seeds))  # last: a block that ran out of memory is solved again
        return x, *map(self.system.backend.asarray, facts)

    def answer(
        self, basis: Basis, parts: tuple[Series, ...], y: Array | None
    ) -> tuple[Array | None, Floats, tuple[Floats, Floats, Ints]]:
        """Return weights of the basis for h(S) y, with residuals, bounds and steps of correction.

        Given y, residuals are the true ones; they may ask for corrections: h(S) y then comes first.
        """
        S, backend = self.system, self.system.backend
        unit, m = rounding_unit(S.dtype), len(basis.diagonal)
        worst, bound, weights = np.zeros(basis.length.size), np.zeros(basis.length.size), np.zeros_like(basis.diagonal)
        total, steps = None, np.zeros(basis.length.size, dtype=np.int64)
        for series in parts:
            small = basis.expand if series.a is None else basis.resolve
            z, relative, error = small(series, 3 * S.rounding + 8 * _EPS)
            error = _MARGIN * basis.length * (error + (m + 4) * unit * np.abs(z).sum(axis=0))
            z, lost = basis.cut(basis.length * z, unit)
            error = error + _MARGIN * lost
            if y is not None and series.a is not None:
                eligible = backend.asarray(relative <= self.settings.rtol)  # the others need more vectors
                x = backend.xp.ascontiguousarray(basis.combine(z, backend))
                x, *facts = corrected(S, series, y, x=x, rtol=self.settings.rtol, eligible=eligible)
                relative, true, more = backend.to_host(backend.xp.stack(facts))
                error, steps = np.where(more > 0, true, np.minimum(error, true)), steps + more.astype(np.int64)
                total = x if total is None else total + x
            weights += z
            worst, bound = np.maximum(worst, relative), bound + error
        some = basis.length > 0
        return total, weights, (np.where(some, worst, 0.0), np.where(some, bound, 0.0), steps)


@dataclass(frozen=True, eq=False)
class LanczosSolution(Solution):
    """Scores and the bases they came from; `refilter` gives those of any other smooth filter without a product.

    Reference: Saad (1992).
    """

    bases: tuple[tuple[Basis, Seeds], ...] = ()
    prepared: PreparedLanczos | None = None

    @np.errstate(under="ignore")
    def refilter(self, filter: Filter, *, certify: bool = False) -> LanczosSolution:
        """Return F = h(S) seeds for another filter, from the same bases.

        Parameters
        ----------
        filter : Filter
            Any smooth one. A basis grown for alpha = 0.99 also serves what is smoother; one grown for less may not
            reach rtol: such a column is MAX_ITER, and its bound says how far it is.
        certify : bool
            Take one product with S for each resolvent, for true residuals and bounds that are some times tighter.
            Without, `residual` is that of the recurrence, which leaves out rounding; `error_bound` counts it.

        Notes
        -----
        Cost: one pass over the bases, m n q entries.

        Examples
        --------
        >>> from manifold import Diffusion, RegularizedDiffusion, diffuse, graph_from_affinity
        >>> pair = graph_from_affinity([[0, 1], [1, 0]]).astype("float64")
        >>> solution = diffuse(pair, [1.0, 0.0], filter=Diffusion(0.5), solver=Lanczos(rtol=1e-9))
        >>> solution.refilter(RegularizedDiffusion(0.5)).scores.round(6).tolist()  # S S = I, and h(1) = h(-1) = 1
        [1.0, 0.0]
        """
        assert self.prepared is not None
        solve, S, xp = self.prepared, self.prepared.system, self.prepared.system.backend.xp
        parts = expand(filter, "lanczos")
        scores, facts, first = xp.empty_like(self.scores), [np.zeros((2, 0))], 0
        columns = scores[:, None] if scores.ndim == 1 else scores
        for basis, seeds in self.bases:
            x, weights, (worst, bound, _) = solve.answer(basis, parts, seeds.block if certify else None)
            scale, finite = S.backend.to_host(xp.stack([seeds.scale, seeds.finite.astype(np.float64)]))
            part = slice(first, first + basis.length.size)
            if x is None:  # scaling the weights instead of the scores saves two passes
                x = basis.combine(weights * np.where(finite > 0, scale, np.nan), S.backend)
            else:
                x = xp.where(seeds.finite, x * seeds.scale, np.nan)
            columns[:, part] = S.outside(x)
            tiny = (scale > 0) * float(np.finfo(S.dtype).tiny) * (1 + len(weights))
            facts.append(np.where(finite > 0, [worst, bound * scale + tiny], [[np.nan], [np.inf]]))
            first = part.stop
        residual, error = np.concatenate(facts, axis=1) if self.bases else (self.residual, self.error_bound)
        verdicts = [_verdict(r, solve.settings.rtol) for r in residual]
        return LanczosSolution(
            scores, tuple(verdicts), self.n_iter, residual, error, "lanczos", bases=self.bases, prepared=solve
        )


def _verdict(residual: float, rtol: float) -> Status:
    if np.isnan(residual):
        return Status.NONFINITE
    return Status.CONVERGED if residual <= rtol else Status.MAX_ITER
