"""Conjugate gradients on many columns at once: (I - a S) X = w Y, each column stopped for itself.

In: unit seed columns. Out: X, iterations, true residuals, bounds. One product with S serves all columns; columns
that have converged are frozen on the device and leave the block when half of it is done.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifold._checks import check_stopping
from manifold._typing import Ints
from manifold.backends import Array, Backend
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.solvers.base import Callback, Prepared, Snapshot, Solution, Solver, require_one_pole, require_poles
from manifold.solvers.system import NormalizedAffinity, Seeds, error_bound, solve_in_blocks

PRESETS = {"paper": (1e-6, 20), "ranking": (1e-3, None), "exact": (1e-10, None)}
_RESTARTS = 3  # fresh starts from the true residual, when rounding has made the recurrence drift from it


@dataclass(frozen=True)
class ConjugateGradient(Solver):
    """Block conjugate gradients.

    Solves (I - a S) X = w Y for each resolvent w / (1 - a x) of the filter and adds the X.

    Reference: Iscen et al. (2017), section 4.3 and eq. 17; Hestenes and Stiefel (1952).

    Parameters
    ----------
    rtol : float
        Relative, of ||b||_2 with b = w Y: a column stops when ||b - (I - a S) x||_2 <= rtol ||b||_2. 1e-2 to 1e-3
        rank as the exact scores do.
    max_iter : int, optional
        By default twice the number that suffices in exact arithmetic,
        sqrt(kappa) / 2 * log(2 sqrt(kappa) / rtol) with kappa = (1 + a) / (1 - a).

    Raises
    ------
    ValueError
        For an rtol outside (0, 1), or (when prepared) a filter that is not a sum of resolvents.

    Notes
    -----
    The last iterate is the best: the error of CG falls in the 2-norm and in the A-norm at every step, even where
    the residual does not. Its true residual r takes a product with S, and x + r is what is returned: its error is a S
    times that of x, its residual a S r, which on neighbourhood graphs is about half as long. Cost: one product with S
    and eight passes over (n, q) an iteration; memory 5 n q.

    Examples
    --------
    >>> ConjugateGradient.preset("paper").max_iter
    20
    """

    rtol: float = 1e-3
    max_iter: int | None = None

    def __post_init__(self) -> None:
        check_stopping(self.rtol, self.max_iter)

    @classmethod
    def preset(cls, name: str) -> ConjugateGradient:
        """Return the settings "paper" (1e-6, 20 iterations), "ranking" (1e-3) or "exact" (1e-10, for float64).

        >>> ConjugateGradient.preset("ranking")
        ConjugateGradient(rtol=0.001, max_iter=None)
        """
        if name not in PRESETS:
            raise ValueError(f"preset must be one of {tuple(PRESETS)}, got {name!r}")
        rtol, max_iter = PRESETS[name]
        return cls(rtol=rtol, max_iter=max_iter)

    def iterations(self, a: float) -> int:
        """Return the most iterations a column may take at pole 1 / a.

        >>> ConjugateGradient(rtol=1e-6).iterations(0.99)
        244
        """
        if self.max_iter is not None:
            return self.max_iter
        root = np.sqrt((1 + abs(a)) / (1 - abs(a)))
        return 2 * int(np.ceil(root / 2 * np.log(2 * root / self.rtol)))

    def prepare(self, graph: Graph, filter: Filter, backend: Backend) -> PreparedConjugateGradient:
        """Normalise the affinity on the backend.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> pair = graph_from_affinity([[0, 1], [1, 0]])
        >>> ConjugateGradient().prepare(pair, Diffusion(), get_backend()).system.entries.toarray().tolist()
        [[0.0, 1.0], [1.0, 0.0]]
        """
        require_poles(filter, "cg")
        return PreparedConjugateGradient(self, filter, NormalizedAffinity(graph, backend))


@dataclass(frozen=True, eq=False)
class PreparedConjugateGradient(Prepared):
    """S on a backend, ready for seeds."""

    settings: ConjugateGradient
    filter: Filter
    system: NormalizedAffinity

    name = "cg"

    def solve(self, seeds: object, *, x0: object = None, callback: Callback | None = None) -> Solution:
        """Return F = h(S) seeds; `x0` (n, q) starts from an earlier answer, for filters of one resolvent.

        `callback` is shown a `Snapshot` at every look at the residuals; what it raises ends the solve.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> pair = graph_from_affinity([[0, 1], [1, 0]]).astype("float64")
        >>> solution = ConjugateGradient(rtol=1e-9).prepare(pair, Diffusion(0.5), get_backend()).solve([1.0, 0.0])
        >>> solution.scores.round(6).tolist(), solution.n_iter.tolist()  # S has two eigenvalues: two iterations
        ([0.666667, 0.333333], [2])
        """
        require_one_pole(self.filter, x0)
        return solve_in_blocks(self.system, seeds, self._solve_block, solver=self.name, x0=x0, callback=callback)

    def correction(self, values: Array) -> Array:
        """Return h(S) values for columns (n, q) in the order of S: a step of iterative refinement.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> pair = graph_from_affinity([[0, 1], [1, 0]]).astype("float64")
        >>> prepared = ConjugateGradient(rtol=1e-9).prepare(pair, Diffusion(0.5), get_backend())
        >>> prepared.correction(np.array([[3.0], [0.0]])).round(6).ravel().tolist()
        [2.0, 1.0]
        """
        seeds = Seeds.of(values, self.system)
        x, *_ = self._solve_block(seeds, None, np.arange(values.shape[1]), None)
        return x * seeds.scale

    def start(self, b: Array, a: float) -> Array | None:
        """Return an approximation (n, q) of (I - a S)^-1 b to start from, or None: from zero.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> prepared = ConjugateGradient().prepare(graph_from_affinity([[0, 1], [1, 0]]), Diffusion(), get_backend())
        >>> prepared.start(np.ones((2, 1)), 0.95) is None
        True
        """
        return None

    def _solve_block(
        self, seeds: Seeds, x0: Array | None, columns: Ints, callback: Callback | None
    ) -> tuple[Array, ...]:
        xp = self.system.backend.xp
        total = xp.zeros_like(seeds.block)
        q = seeds.block.shape[1]
        converged, broken = xp.ones(q, dtype=bool), xp.zeros(q, dtype=bool)
        n_iter, worst, bound = xp.zeros(q, dtype=np.int64), xp.zeros(q), xp.zeros(q)
        for w, a in self.filter.resolvents or ():
            solve = _ColumnSolve(self, a, seeds.block * seeds.block.dtype.type(w), x0)
            solve.run(columns, callback)
            total += solve.x
            converged &= solve.converged
            broken |= ~solve.converged & solve.stuck
            n_iter += solve.n_iter
            worst = xp.maximum(worst, solve.relative)
            bound += solve.bound
        return total, converged, n_iter, worst, bound, broken


class _ColumnSolve:
    """The solve of one resolvent for one block: state on the device, the host looks every few iterations."""

    def __init__(self, prepared: PreparedConjugateGradient, a: float, b: Array, x0: Array | None) -> None:
        self.system, self.a, self.b = prepared.system, prepared.system.dtype.type(a), b
        self.rtol, self.budget = prepared.settings.rtol, prepared.settings.iterations(a)
        backend, xp = self.system.backend, self.system.backend.xp
        x0 = prepared.start(b, a) if x0 is None else x0
        self.x = xp.zeros_like(b) if x0 is None else x0.copy()
        self.least = (1 - abs(a)) / 4  # a quarter of the least eigenvalue: p'Ap is four times as much of |p|^2 >= |r|^2
        self.target = self.rtol**2 * backend.column_dots(b, b)
        self.n_iter = xp.zeros(b.shape[1], dtype=np.int64)
        self.converged = self.stuck = self.relative = self.bound = xp.zeros(b.shape[1])
        self._residual = b.copy() if x0 is None else self._true_residual()

    def _true_residual(self) -> Array:
        return self.system.residual(self.b, self.x, self.a)

    def run(self, columns: Ints, callback: Callback | None) -> None:
        """Iterate until the true residual of every column is small, or no restart helps."""
        backend, xp = self.system.backend, self.system.backend.xp
        before = xp.full(self.target.shape, np.inf)
        self.stuck = xp.zeros(self.target.shape, dtype=bool)
        for attempt in range(1 + _RESTARTS):
            squares = backend.column_dots(self._residual, self._residual)
            self.stuck |= (squares > before / 4) & (self.n_iter < self.budget)
            active = (squares > self.target) & (self.n_iter < self.budget) & ~self.stuck
            # the first round takes all columns, so that the host need not wait to learn which are zero
            which = np.flatnonzero(backend.to_host(active)) if attempt else np.arange(columns.size)
            if not which.size:
                break
            before = xp.where(active, squares, before)
            self._iterate(which, columns, callback)
            self._residual = self._true_residual()
        walked, r = self.n_iter > 0, self._residual
        norm, self.bound = error_bound(self.system, b=self.b, x=self.x, residual=r, a=float(self.a), walked=walked)
        backend.axpy(self.x, r, walked.astype(r.dtype))  # the product that judges x pays for a step of the walk
        self.converged = backend.column_dots(r, r) <= self.target
        length = xp.sqrt(self.target) / self.rtol
        self.relative = norm / xp.where(length > 0, length, 1.0)

    def _iterate(self, which: Ints, columns: Ints, callback: Callback | None) -> None:
        """Run CG on the columns `which` from their residuals; write back x and n_iter."""
        backend, xp, S = self.system.backend, self.system.backend.xp, self.system
        which, n_real = self._filled(which), which.size
        at = backend.asarray(which)
        x, r = self.x, self._residual
        if not n_real == which.size == x.shape[1]:  # all columns are worked on where they are, without a copy
            # taken with `take`: fancy indexing of columns would leave them in Fortran order, which the product copies
            x, r = xp.take(x, at, axis=1), xp.take(r, at, axis=1)
        target, n_iter = self.target[at], self.n_iter[at]
        rho = backend.column_dots(r, r)
        p, Ap, curvature = r.copy(), xp.empty_like(r), xp.empty_like(rho)
        active = (rho > target) & (n_iter < self.budget)
        iteration = 0
        while True:
            iteration += 1
            Ap = backend.spmm(S.matrix, p, a=-self.a, b=1.0, dots=curvature, out=Ap)
            # 0 once a residual has underflowed; never 0/0. Less than theory allows where rounding has made A singular
            active &= (curvature > 0) & (curvature >= self.least * rho)
            step = xp.where(active, rho / xp.where(active, curvature, 1.0), 0.0)
            squares = backend.axpy(r, Ap, -step)
            n_iter += active
            ratio = xp.where(active, squares / xp.where(active, rho, 1.0), 0.0)
            backend.advance(x, p, r, step=step, ratio=ratio)
            rho = xp.where(active, squares, rho)
            active &= (squares > target) & (n_iter < self.budget)
            if iteration % backend.check_every:
                continue
            going = np.flatnonzero(backend.to_host(active)[:n_real])
            if callback is not None:
                length = xp.sqrt(squares / xp.where(target > 0, target, 1.0)) * self.rtol
                callback(Snapshot(columns[which[:n_real]], iteration, backend.to_host(length)[:n_real]))
            left = self._filled(going)
            if 2 * left.size <= which.size:  # half of the block is done: go on with the other half alone
                self.n_iter[at] = n_iter
                if x is not self.x:
                    self.x[:, at] = x
                if not going.size:
                    return
                which, n_real, kept = which[left], going.size, backend.asarray(left)
                at = backend.asarray(which)
                x, r, p = (xp.take(block, kept, axis=1) for block in (x, r, p))
                Ap, curvature = xp.empty_like(r), curvature[kept]
                rho, target, n_iter, active = rho[kept], target[kept], n_iter[kept], active[kept]

    def _filled(self, which: Ints) -> Ints:
        """Return columns, some of them again where a block of more columns costs no more."""
        return np.resize(which, self.system.backend.block_width(self.system.n_nodes, which.size))
