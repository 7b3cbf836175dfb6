"""Fast spectral ranking: the filter applied to the leading eigenpairs, exact there, and approximated beside them.

In: seed columns, best sparse. Out: F with a truncated spectrum, and a bound from its true residual.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.polynomial import chebyshev

from manifold._checks import check_count, check_stopping
from manifold._typing import Ints
from manifold.backends import Array, Backend
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.solvers.base import Callback, Prepared, Solution, Solver, Status
from manifold.solvers.eigenpairs import leading_eigenpairs
from manifold.solvers.spectrum import Spectrum
from manifold.solvers.system import NormalizedAffinity, Seeds, error_bound, solve_in_blocks

Transfer: TypeAlias = Callable[[Array], Array]


def take_spectrum(given: Spectrum | None, rank: int, system: NormalizedAffinity) -> Spectrum:
    """Return the spectrum given, cut to the rank and on the backend of the system, or compute one.

    >>> from manifold import graph_from_affinity
    >>> from manifold.backends import get_backend
    >>> system = NormalizedAffinity(graph_from_affinity([[0, 1], [1, 0]]).astype("float64"), get_backend())
    >>> whole = take_spectrum(None, 2, system)
    >>> whole.eigenvalues.round(6).tolist(), take_spectrum(whole, 1, system).eigenvalues.round(6).tolist()
    ([1.0, -1.0], [1.0])
    """
    if given is None:
        return leading_eigenpairs(system, rank)
    if given.digest != system.digest:
        raise ValueError(
            f"spectrum belongs to another graph: {given.n_nodes} nodes in {given.dtype}, "
            f"this one has {system.n_nodes} in {system.dtype}, or other weights: compute it from this one"
        )
    if given.rank < min(rank, given.n_nodes):
        raise ValueError(f"spectrum has rank {given.rank}, rank={rank} was asked for: compute it with that rank")
    return given.on(system.backend).truncate(rank)


@dataclass(frozen=True)
class FastSpectralRanking(Solver):
    """Fast spectral ranking, with the identity term kept apart.

        F = h(0) Y + U (h(Lambda) - h(0)) U' Y                                   n_steps = 0
        F = U h(Lambda) U' Y + p(S) (Y - U U' Y),  p of degree n_steps near h    n_steps > 0

    U holds the `rank` leading eigenvectors of each connected component. p interpolates h at 0 and at the Chebyshev
    points of the interval in which the other eigenvalues lie.

    Reference: Iscen et al. (2018a).

    Parameters
    ----------
    rank : int >= 1
        Eigenvectors of each component; a component of up to `rank` nodes is exact.
    n_steps : int >= 0
        Products with S spent on what U leaves; a few, up to some 20. 0 for a filter with a step, whatever is asked.
    identity : bool
        False is the paper's form, F = U h(Lambda) U' Y, which drops the rest; n_steps must be 0 then.
    certify : bool
        Measure the true residual, one product with S for each resolvent, and bound the error by it. Without it (or for
        a filter that is no sum of resolvents) residual and bound are ``inf``, and queries are several times faster.
    rtol : float
        A column whose relative residual is measured to be at most this is CONVERGED, others are APPROXIMATE.
    spectrum : Spectrum, optional
        That of an earlier `prepare` (``prepared.spectrum``) on the same graph, of this rank or more; its ``save(path)``
        keeps it for another day.

    Raises
    ------
    ValueError
        For settings out of range, or (when prepared) a spectrum that does not fit.
    MemoryBudgetError
        When prepared, before the eigenvectors are allocated.

    Notes
    -----
    The last digits follow the number of threads of the linear algebra, and the columns solved together.
    Offline: see `leading_eigenpairs`; memory n rank. Online, a column: rank (n + nnz(Y)) operations for sparse seeds,
    twice n rank for dense ones and with steps, and the products.

    Examples
    --------
    >>> from manifold import diffuse, graph_from_affinity
    >>> pair = graph_from_affinity(np.array([[0, 1], [1, 0]])).astype("float64")
    >>> diffuse(pair, [1.0, 0.0], solver=FastSpectralRanking(rank=2)).scores.round(4).tolist()
    [0.5128, 0.4872]
    """

    rank: int = 100
    n_steps: int = 0
    identity: bool = True
    certify: bool = True
    rtol: float = 1e-3
    spectrum: Spectrum | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_count(self.rank, "rank")
        if self.n_steps:
            check_count(self.n_steps, "n_steps")
            if not self.identity:
                raise ValueError(f"n_steps={self.n_steps} continue the identity term: use identity=True")
        check_stopping(self.rtol)

    @np.errstate(under="ignore")
    def prepare(self, graph: Graph, filter: Filter, backend: Backend) -> PreparedFastSpectralRanking:
        """Compute the eigenpairs, unless they were given.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> pair = graph_from_affinity([[0, 1], [1, 0]]).astype("float64")
        >>> FastSpectralRanking(rank=1).prepare(pair, Diffusion(), get_backend()).spectrum.remainder
        (-1.0, -1.0)
        """
        system = NormalizedAffinity(graph, backend)
        spectrum = take_spectrum(self.spectrum, self.rank, system)
        return PreparedFastSpectralRanking(self, filter, system, spectrum, spectrum.renumbered(system.position))


@dataclass(frozen=True, eq=False)
class PreparedFastSpectralRanking(Prepared):
    """Eigenpairs on a backend, ready for seeds; `spectrum` can be given to other solvers on the same graph."""

    settings: FastSpectralRanking
    filter: Filter
    system: NormalizedAffinity
    spectrum: Spectrum
    inside: Spectrum = field(repr=False)  # the same, its nodes in the order of the system

    def solve(self, seeds: object, *, x0: object = None, callback: Callback | None = None) -> Solution:
        """Return F = h(S) seeds, approximately; it has no use for `x0` and nothing to show a `callback`.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> pair = graph_from_affinity([[0, 1], [1, 0]]).astype("float64")
        >>> prepared = FastSpectralRanking(rank=1).prepare(pair, Diffusion(0.5), get_backend())
        >>> prepared.solve([1.0, 0.0]).scores.round(6).tolist()  # 0.5 y + (1 - 0.5) of its mean
        [0.75, 0.25]
        """
        return solve_in_blocks(
            self.system, seeds, self._solve_block, solver="fsr", callback=callback, otherwise=Status.APPROXIMATE
        )

    def _solve_block(
        self, seeds: Seeds, x0: Array | None, columns: Ints, callback: Callback | None
    ) -> tuple[Array, ...]:
        xp, q = self.system.backend.xp, seeds.block.shape[1]
        zero = seeds.scale == 0
        # of all eigenpairs nothing is left over, and near a step no polynomial helps
        steps = self.settings.n_steps if self.filter.smooth and not self.spectrum.full else 0
        transfers: list[Transfer] = [_resolvent(w, a) for w, a in self.filter.resolvents or ()]
        with np.errstate(under="ignore"):  # entries of an eigenvector may be as small as can be written
            parts = self._apply(seeds, transfers or [self.filter], steps)
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        unknown = xp.where(zero, 0.0, np.inf)  # of what is not measured nothing is promised
        worst, bound = unknown, unknown
        if transfers and self.settings.certify:
            worst, bound = self._certify(seeds.block, parts)
        full = xp.full(q, self.spectrum.full and not (transfers and self.settings.certify))
        converged = (worst <= self.settings.rtol) | full
        n_iter = xp.where(zero, 0, steps)
        return total, converged, n_iter, worst, bound, xp.zeros(q, dtype=bool)

    def _apply(self, seeds: Seeds, transfers: list[Transfer], steps: int) -> list[Array]:
        """Return h(S) Y for each transfer h; the products with S serve all of them."""
        spectrum, block = self.inside, seeds.block
        scalar = block.dtype.type
        c = spectrum.project(block, seeds.rows)
        if not steps:
            constants = [float(h(0.0)) if self.settings.identity else 0.0 for h in transfers]
            return [
                spectrum.add(spectrum.scale(c, _beside(h, h0)), scalar(h0) * block)
                for h, h0 in zip(transfers, constants, strict=True)
            ]
        # p is near h only where the eigenvalues left out lie: what U holds is taken out before
        rest = block - spectrum.add(c, self.system.backend.xp.zeros_like(block))
        parts = self._interpolate(rest, transfers, steps)
        return [spectrum.add(spectrum.scale(c, h), part) for h, part in zip(transfers, parts, strict=True)]

    def _interpolate(self, rest: Array, transfers: list[Transfer], degree: int) -> list[Array]:
        """Return p(S) rest, p(x) = h(0) + x sum of c_k T_k((x - middle) / half), k < degree, for each transfer h.

        h(0) is kept because most eigenvalues of a graph lie near 0; the sum interpolates (h(x) - h(0)) / x.
        """
        backend, (low, high) = self.system.backend, self.spectrum.remainder
        middle, half = (high + low) / 2, max((high - low) / 2, 1e-3)
        scalar = rest.dtype.type
        points = chebyshev.chebpts1(degree)
        x = middle + half * points
        x = np.where(np.abs(x) < 1e-4, 1e-4, x)  # a slope by difference, without cancellation
        fit = np.linalg.inv(chebyshev.chebvander(points, degree - 1))
        series = [fit @ ((h(x) - h(0.0)) / x) for h in transfers]
        before, now = None, self.system @ rest
        parts = [scalar(h(0.0)) * rest + scalar(c[0]) * now for h, c in zip(transfers, series, strict=True)]
        for k in range(1, degree):
            twice = (1 if before is None else 2) / half
            after = backend.spmm(self.system.matrix, now, a=twice, b=-middle * twice, c=-1.0, other=before)
            before, now = now, after
            for part, c in zip(parts, series, strict=True):
                backend.axpy(part, now, c[k])
        return parts

    def _certify(self, block: Array, parts: list[Array]) -> tuple[Array, Array]:
        """Return the largest relative residual of the resolvents, and the sum of their error bounds."""
        backend, xp = self.system.backend, self.system.backend.xp
        worst, bound = xp.zeros(block.shape[1]), xp.zeros(block.shape[1])
        for (w, a), x in zip(self.filter.resolvents or (), parts, strict=True):
            b = block * block.dtype.type(w)  # each resolvent is a system of its own, and so are residual and bound
            residual = self.system.residual(b, x, a)
            norm, part = error_bound(self.system, b=b, x=x, residual=residual, a=a)
            length = xp.sqrt(backend.column_dots(b, b))
            worst = xp.maximum(worst, norm / xp.where(length > 0, length, 1.0))
            bound += part
        return worst, bound


def _beside(h: Transfer, constant: float) -> Transfer:
    return lambda x: h(x) - constant


def _resolvent(w: float, a: float) -> Transfer:
    return lambda x: w / (1 - a * x)
