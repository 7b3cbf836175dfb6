"""Hybrid diffusion: conjugate gradients that start from what the leading eigenvectors answer.

In: seed columns. Out: F to a tolerance, whatever the quality of the eigenvectors, in fewer iterations than without.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from manifold._checks import check_count, check_stopping
from manifold.backends import Array, Backend
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.solvers.base import Solver, require_poles
from manifold.solvers.conjugate_gradient import ConjugateGradient, PreparedConjugateGradient
from manifold.solvers.fast_spectral_ranking import take_spectrum
from manifold.solvers.spectrum import Spectrum
from manifold.solvers.system import NormalizedAffinity


@dataclass(frozen=True)
class Hybrid(Solver):
    """Conjugate gradients from a spectral start.

        x_0 = U (I - a Lambda)^-1 U' b + (b - U U' b),    then CG on (I - a S) x = b

    The start is the answer on the leading eigenvectors U; what is left to CG lies beside them, where the condition
    number (1 - a l_n) / (1 - a l_1) has fallen to (1 - a l_n) / (1 - a l_{rank+1}). The paper splits S = U Lambda U' +
    rest and is as exact as U; here U only begins the search, and the answer is exact for any U. Preconditioned by U at
    every step, CG took as many iterations on MNIST down to residuals of 1e-10, with S U = U Lambda to 1e-2, and each of
    them cost several times as much.

    Reference: Iscen et al. (2018c).

    Parameters
    ----------
    rank : int >= 0
        Eigenvectors of each component, tens to a few hundred; 0 is plain CG, all need no iteration.
    rtol : float
        Relative, of ||b||_2 with b = w Y: a column stops when ||b - (I - a S) x||_2 <= rtol ||b||_2.
    max_iter : int, optional
        As for `ConjugateGradient`.
    spectrum : Spectrum, optional
        That of an earlier `prepare` (``prepared.spectrum``) on the same graph, of this rank or more.

    Raises
    ------
    ValueError
        For settings out of range, or (when prepared) a filter that is not a sum of resolvents or a spectrum that does
        not fit.
    MemoryBudgetError
        When prepared, before the eigenvectors are allocated.

    Notes
    -----
    The last digits follow the number of threads of the linear algebra, and the columns solved together.
    Offline: see `leading_eigenpairs`. The start costs 4 n rank operations a column, an iteration that of CG;
    memory n rank.

    Examples
    --------
    >>> from manifold import diffuse, graph_from_affinity
    >>> pair = graph_from_affinity(np.array([[0, 1], [1, 0]])).astype("float64")
    >>> diffuse(pair, [1.0, 0.0], solver=Hybrid(rank=2)).scores.round(4).tolist()
    [0.5128, 0.4872]
    """

    rank: int = 100
    rtol: float = 1e-3
    max_iter: int | None = None
    spectrum: Spectrum | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.rank != 0:
            check_count(self.rank, "rank")
        check_stopping(self.rtol, self.max_iter)

    @np.errstate(under="ignore")
    def prepare(self, graph: Graph, filter: Filter, backend: Backend) -> PreparedHybrid:
        """Compute the eigenpairs, unless they were given.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> pair = graph_from_affinity([[0, 1], [1, 0]]).astype("float64")
        >>> Hybrid(rank=1).prepare(pair, Diffusion(), get_backend()).spectrum.eigenvalues.round(6).tolist()
        [1.0]
        """
        require_poles(filter, "hybrid")
        system = NormalizedAffinity(graph, backend)
        spectrum = take_spectrum(self.spectrum, self.rank, system)
        inside = spectrum.renumbered(system.position)
        return PreparedHybrid(ConjugateGradient(self.rtol, self.max_iter), filter, system, spectrum, inside)


@dataclass(frozen=True, eq=False)
class PreparedHybrid(PreparedConjugateGradient):
    """S and its leading eigenpairs, ready for seeds; `spectrum` can be given to other solvers on the same graph."""

    spectrum: Spectrum
    inside: Spectrum = field(repr=False)  # the same, its nodes in the order of the system

    name = "hybrid"

    def start(self, b: Array, a: float) -> Array | None:
        """Return the answer on the leading eigenvectors, and b beside them.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> pair = graph_from_affinity([[0, 1], [1, 0]]).astype("float64")
        >>> prepared = Hybrid(rank=1).prepare(pair, Diffusion(0.5), get_backend())
        >>> prepared.start(np.array([[1.0], [0.0]]), 0.5).round(6).ravel().tolist()  # b + (2 - 1) of its mean
        [1.5, 0.5]
        """
        spectrum = self.inside
        if spectrum.rank == 0:
            return None
        with np.errstate(under="ignore"):  # entries of an eigenvector may be as small as can be written
            # beside U the start is b itself, the first term of the Neumann series
            c = spectrum.scale(spectrum.project(b), lambda x: 1 / (1 - a * x) - 1)
            return spectrum.add(c, b.copy())
