"""Random walk with restart on many columns at once: x <- a S x + w y, each column stopped for itself.

In: unit seed columns. Out: X, iterations, true residuals, bounds. No inner products but those of the stopping test.
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

_LITTLE = 0.8  # of the residual: where so much is left after steps that halve it in theory, rounding holds it


@dataclass(frozen=True)
class PowerIteration(Solver):
    """Random walk with restart.

        x <- a S x + w y        for each resolvent w / (1 - a x) of the filter; the x are added

    Reference: Zhou et al. (2003b), section 2.

    Parameters
    ----------
    rtol : float
        Relative, of ||b||_2 with b = w Y: a column stops when ||b - (I - a S) x||_2 <= rtol ||b||_2.
    max_iter : int, optional
        By default twice the number that suffices in exact arithmetic, log(rtol) / log|a|.

    Raises
    ------
    ValueError
        For an rtol outside (0, 1), or (when prepared) a filter that is not a sum of resolvents.

    Notes
    -----
    The step x_{t+1} - x_t is the residual of x_t, so that stopping costs no product, and both the residual and the
    error shrink by |a| or more a step. From Y >= 0 and a > 0 the walk climbs: no score is above the exact one.
    Cost: one product with S and five passes over (n, q) an iteration; memory 4 n q. Conjugate gradients need about
    the square root of these iterations.

    Examples
    --------
    >>> from manifold import Diffusion, diffuse, graph_from_affinity
    >>> pair = graph_from_affinity([[0, 1], [1, 0]]).astype("float64")
    >>> diffuse(pair, [1.0, 0.0], filter=Diffusion(0.5), solver=PowerIteration(rtol=1e-9)).scores.round(6).tolist()
    [0.666667, 0.333333]
    """

    rtol: float = 1e-3
    max_iter: int | None = None

    def __post_init__(self) -> None:
        check_stopping(self.rtol, self.max_iter)

    def iterations(self, a: float) -> int:
        """Return the most iterations a column may take at pole 1 / a.

        >>> PowerIteration(rtol=1e-6).iterations(0.99)
        2750
        """
        if self.max_iter is not None:
            return self.max_iter
        return 2 * int(np.ceil(np.log(self.rtol) / np.log(abs(a)))) if a else 1

    @np.errstate(under="ignore")
    def prepare(self, graph: Graph, filter: Filter, backend: Backend) -> PreparedPowerIteration:
        """Normalise the affinity on the backend.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> PowerIteration().prepare(graph_from_affinity([[0, 1], [1, 0]]), Diffusion(0.5), get_backend()).filter
        Diffusion(alpha=0.5)
        """
        require_poles(filter, "power")
        return PreparedPowerIteration(self, filter, NormalizedAffinity(graph, backend))


@dataclass(frozen=True, eq=False)
class PreparedPowerIteration(Prepared):
    """S on a backend, ready for seeds."""

    settings: PowerIteration
    filter: Filter
    system: NormalizedAffinity

    def solve(self, seeds: object, *, x0: object = None, callback: Callback | None = None) -> Solution:
        """Return F = h(S) seeds; `x0` (n, q) starts from an earlier answer, for filters of one resolvent.

        `callback` is shown a `Snapshot` at every look at the residuals; what it raises ends the solve.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> pair = graph_from_affinity([[0, 1], [1, 0]]).astype("float64")
        >>> prepared = PowerIteration(rtol=1e-9).prepare(pair, Diffusion(0.5), get_backend())
        >>> solution = prepared.solve([1.0, 0.0])
        >>> solution.scores.round(6).tolist(), solution.n_iter.tolist()  # of residual 2^-(t + 1) < 1e-9
        ([0.666667, 0.333333], [29])
        """
        require_one_pole(self.filter, x0)
        return solve_in_blocks(self.system, seeds, self._solve_block, solver="power", x0=x0, callback=callback)

    def _solve_block(
        self, seeds: Seeds, x0: Array | None, columns: Ints, callback: Callback | None
    ) -> tuple[Array, ...]:
        xp = self.system.backend.xp
        total = xp.zeros_like(seeds.block)
        q = columns.size
        converged, broken = xp.ones(q, dtype=bool), xp.zeros(q, dtype=bool)
        n_iter, worst, bound = xp.zeros(q, dtype=np.int64), xp.zeros(q), xp.zeros(q)
        for w, a in self.filter.resolvents or ():
            walk = _Walk(self, a, seeds.block * seeds.block.dtype.type(w), x0)
            walk.run(columns, callback)
            norm, part = error_bound(self.system, b=walk.b, x=walk.x, residual=walk.residual, a=a)
            total += walk.x
            converged &= ~walk.above
            broken |= walk.stuck
            n_iter += walk.n_iter
            worst = xp.maximum(worst, norm / xp.where(walk.length > 0, walk.length, 1.0))
            bound += part
        return total, converged, n_iter, worst, bound, broken


class _Walk:
    """The walk of one resolvent for one block: state on the device, the host looks every few iterations."""

    def __init__(self, prepared: PreparedPowerIteration, a: float, b: Array, x0: Array | None) -> None:
        self.system, self.a, self.b = prepared.system, prepared.system.dtype.type(a), b
        self.rtol, self.budget = prepared.settings.rtol, prepared.settings.iterations(a)
        # in so many steps the residual halves, whatever the graph
        self.period = int(np.ceil(np.log(2) / -np.log(abs(a)))) if a else 1
        xp = self.system.backend.xp
        self.x = (b if x0 is None else x0).copy()  # the first step from 0 leads to b, without a product
        self.residual = xp.zeros_like(b)
        self.length = xp.sqrt(self.system.backend.column_dots(b, b))
        self.n_iter = xp.zeros(b.shape[1], dtype=np.int64)
        self.above, self.stuck = (xp.zeros(b.shape[1], dtype=bool) for _ in range(2))

    def run(self, columns: Ints, callback: Callback | None) -> None:
        """Walk until the residual of every column is small, or rounding holds it."""
        backend, xp = self.system.backend, self.system.backend.xp
        which, at = np.arange(columns.size), backend.asarray(np.arange(columns.size))
        x, b, n_iter, stuck = self.x, self.b, self.n_iter, self.stuck
        target = (self.rtol * self.length) ** 2
        before, t = xp.full(target.shape, np.inf), 0
        while True:
            r = self.system.residual(b, x, self.a)
            squares = backend.column_dots(r, r)
            above = squares > target
            if t % self.period == 0:  # a residual that has not halved by now is held by rounding
                stuck = stuck | (above & (squares > _LITTLE**2 * before))
                before = squares
            active = above & ~stuck & (n_iter < self.budget)
            if t % backend.check_every == 0:
                going = backend.to_host(active)
                if callback is not None:
                    length = xp.sqrt(squares / xp.where(target > 0, target, 1.0)) * self.rtol
                    callback(Snapshot(columns[which], t, backend.to_host(length)))
                if 2 * going.sum() <= going.size:  # half of the block is done: go on with the other half alone
                    self.x[:, at], self.residual[:, at] = x, r
                    self.n_iter[at], self.above[at], self.stuck[at] = n_iter, above, stuck
                    if not going.any():
                        return
                    which, kept = which[going], backend.asarray(np.flatnonzero(going))
                    at = backend.asarray(which)
                    x, b, r = (xp.take(block, kept, axis=1) for block in (x, b, r))
                    n_iter, stuck, active = n_iter[kept], stuck[kept], active[kept]
                    target, before = target[kept], before[kept]
            # a column that is done takes a step of 0, so that the residual written back is that of its scores
            backend.axpy(x, r, active.astype(x.dtype))
            n_iter = n_iter + active
            t += 1
