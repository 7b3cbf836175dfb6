"""Laplacian systems, the limit alpha = 1 of diffusion: L = D - W = D^1/2 (I - S) D^1/2 on the nodes that are kept.

In: right sides (n, q). Out: X with (I - P S P) X = B, by conjugate gradients. In these scaled unknowns plain conjugate
gradients are those of L with its diagonal for a preconditioner.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from manifold._typing import Floats, Mask
from manifold.backends import Array, Backend
from manifold.graph import Graph
from manifold.solvers.base import Callback, Solution
from manifold.solvers.conjugate_gradient import ConjugateGradient, PreparedConjugateGradient
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

    is_regular = False  # at the pole 1 no error is bounded, and none is asked for

    def __init__(self, graph: Graph, backend: Backend, kept: Mask) -> None:
        super().__init__(graph, backend, np.float64)
        self.kept = kept
        self.whole = self.host  # sources at other nodes reach the kept ones by its edges
        S, kept = self.entries, kept if self.order is None else kept[self.order]
        rows = np.repeat(kept, np.diff(S.indptr))
        # zeros are stored, so that the pattern, and with it the order of every sum, stays that of S
        data = np.where(rows & kept[S.indices], S.data, 0)
        self.entries = sparse.csr_array((data, S.indices, S.indptr), shape=S.shape)
        self.matrix = backend.csr(self.entries, dtype=self.dtype)

    def __reduce__(self) -> tuple[object, ...]:
        return _KeptNodes, (self.graph, self.backend, self.kept)


@dataclass(frozen=True, eq=False)
class Laplacian:
    """D - W on the nodes that are kept, and the square roots of degrees that scale its unknowns.

        L_kk u = s    is    (I - P S P) X = B,    X = D^1/2 u,  B = D^-1/2 s,  P = diag(kept)

    With all nodes kept it is singular, and its solutions are those that the start leaves in place along D^1/2 1: the
    sources of each component must add up to 0. Harmonic functions (Zhu, Ghahramani and Lafferty, ICML 2003, equation 5)
    keep the unlabelled nodes, Poisson learning (Calder et al., ICML 2020) all of them.

    Attributes
    ----------
    system : NormalizedAffinity
        P S P in float64; its ``whole`` is S on the host.
    roots : (n, 1) float64
        D^1/2, 1 for isolated nodes.
    settings : ConjugateGradient
        How far to solve, and for how long.

    Examples
    --------
    A path whose ends are held at 1 and 0: the harmonic value between them is their mean.

    >>> from manifold import graph_from_affinity
    >>> from manifold.backends import get_backend
    >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> how = {"kept": np.array([False, True, False]), "settings": ConjugateGradient(rtol=1e-9, max_iter=9)}
    >>> laplacian = Laplacian.of(path, get_backend(), **how)
    >>> sources = np.array([[0.0], [1.0], [0.0]])  # W times the values held, at the nodes that are kept
    >>> (laplacian.solve(sources / laplacian.roots).scores / laplacian.roots).ravel().round(6).tolist()
    [0.0, 0.5, 0.0]
    """

    system: _KeptNodes
    roots: Floats  # (n, 1), 1 for isolated nodes
    settings: ConjugateGradient

    @classmethod
    def of(cls, graph: Graph, backend: Backend, *, kept: Mask, settings: ConjugateGradient) -> Laplacian:
        """Form S once, in float64: the systems here have no alpha to keep them well conditioned.

        Parameters
        ----------
        kept : (n,) bool
            The nodes whose values are unknown.
        settings : ConjugateGradient
            With a `max_iter`: at the pole 1 none can be promised.

        Raises
        ------
        ValueError
            For settings without.
        """
        if settings.max_iter is None:
            raise ValueError(f"settings must have a max_iter, got {settings}: at the pole 1 none can be promised")
        roots = np.sqrt(np.where(graph.degrees > 0, graph.degrees, 1))[:, None]
        return cls(_KeptNodes(graph, backend, kept), roots, settings)

    def solve(self, B: object, *, x0: object = None, callback: Callback | None = None) -> Solution:
        """Return X on the host, with (I - P S P) X = B; B is zero where no node is kept.

        A column of zeros is exact; of the others no bound on the error is known, for the system may be singular.

        Parameters
        ----------
        B : (n, q)
            Right sides, sources over `roots`.
        x0 : (n, q), optional
            What to start from, values times `roots`.

        Notes
        -----
        Cost: that of `ConjugateGradient`, in float64.

        Examples
        --------
        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> pair = graph_from_affinity([[0, 1], [1, 0]])
        >>> settings = ConjugateGradient(rtol=1e-9, max_iter=9)
        >>> laplacian = Laplacian.of(pair, get_backend(), kept=np.ones(2, bool), settings=settings)
        >>> laplacian.solve(np.array([[1.0], [-1.0]])).scores.round(6).ravel().tolist()  # u_0 - u_1 = 1
        [0.5, -0.5]
        """
        prepared = PreparedConjugateGradient(self.settings, _InverseLaplacian(), self.system)
        solution = prepared.solve(B, x0=x0, callback=callback)
        return replace(solution, scores=self.system.backend.to_host(solution.scores))
