"""Laplacian systems, the limit alpha = 1 of diffusion: L = D - W = D^1/2 (I - S) D^1/2 on the nodes that are kept.

In: right sides (n, q). Out: X with (I - P S P) X = B, by the conjugate gradients of the solvers' room. In these scaled
unknowns plain conjugate gradients are those of L with its diagonal for a preconditioner.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._typing import Floats, Mask
from manifold.backends import Array, Backend
from manifold.graph import Graph
from manifold.solvers import ConjugateGradient, Solution
from manifold.solvers.base import Callback
from manifold.solvers.conjugate_gradient import PreparedConjugateGradient
from manifold.solvers.system import NormalizedAffinity


@dataclass(frozen=True)
class _InverseLaplacian:
    """The transfer function 1 / (1 - x), the one resolvent that has its pole on the spectrum."""

    resolvents = ((1.0, 1.0),)
    smooth = False

    def __call__(self, eigenvalues: Array | float) -> Array:
        return 1 / (1 - eigenvalues)


class _KeptNodes(NormalizedAffinity):
    """P S P in float64, with P = diag(kept): rows and columns of the other nodes are zero."""

    def __init__(self, graph: Graph, backend: Backend, kept: Mask) -> None:
        super().__init__(graph, backend, np.float64)
        self.whole = self.host
        S, kept = self.entries, kept if self.order is None else kept[self.order]
        rows = np.repeat(kept, np.diff(S.indptr))
        data = np.where(rows & kept[S.indices], S.data, 0)
        self.entries = sparse.csr_array((data, S.indices, S.indptr), shape=S.shape)
        self.matrix = backend.csr(self.entries, dtype=self.dtype)


@dataclass(frozen=True, eq=False)
class Laplacian:
    """D - W on the nodes that are kept, and the square roots of degrees that scale its unknowns."""

    system: _KeptNodes
    roots: Floats  # (n, 1), 1 for isolated nodes
    settings: ConjugateGradient

    @classmethod
    def of(cls, graph: Graph, backend: Backend, *, kept: Mask, settings: ConjugateGradient) -> Laplacian:
        """Form S once, in float64: the systems here have no alpha to keep them well conditioned."""
        roots = np.sqrt(np.where(graph.degrees > 0, graph.degrees, 1))[:, None]
        return cls(_KeptNodes(graph, backend, kept), roots, settings)

    def solve(self, B: object, *, x0: object = None, callback: Callback | None = None) -> Solution:
        """Return X on the host, with (I - P S P) X = B; B is zero where no node is kept.

        A column of zeros is exact; of the others no bound on the error is known, for the system may be singular.
        """
        prepared = PreparedConjugateGradient(self.settings, _InverseLaplacian(), self.system)
        with np.errstate(invalid="ignore"):  # the bound of a zero column, 0 times inf
            solution = prepared.solve(B, x0=x0, callback=callback)
        bound = np.where(np.isnan(solution.error_bound), 0, solution.error_bound)
        return replace(solution, scores=self.system.backend.to_host(solution.scores), error_bound=bound)


def label_means(seeds: sparse.csc_array, components: NDArray[np.int32]) -> Floats:
    """Return the mean seed of each component (m, c): rows of sum 1, or 0 in components without a label."""
    n, m = components.size, int(components.max(initial=-1)) + 1
    gather = sparse.csr_array((np.ones(n), (components, np.arange(n))), shape=(m, n))
    sums = (gather @ seeds).toarray()
    mass = sums.sum(axis=1, keepdims=True)
    return np.asarray(sums / np.where(mass > 0, mass, 1))
