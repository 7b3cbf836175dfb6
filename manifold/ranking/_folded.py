"""Pooling taken into a spectrum: P U is formed once, and a query never meets the regions.

G = h(0) P Y + (P U) (h(Lambda) - h(0)) U'Y        P U (N, R), G (N, q)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from scipy import sparse

from manifold.backends import Array
from manifold.ranking.pooling import Pooling
from manifold.solvers import Prepared, Solution, Status
from manifold.solvers.base import Callback
from manifold.solvers.fast_spectral_ranking import PreparedFastSpectralRanking
from manifold.solvers.system import Seeds, check_seeds


@dataclass(frozen=True, eq=False)
class PooledSpectrum:
    """Fast spectral ranking of images: a prepared spectrum of regions with their linear pooling folded in."""

    prepared: PreparedFastSpectralRanking
    pooling: Pooling

    holds_columns: ClassVar[bool] = False
    is_pooled: ClassVar[bool] = True
    proves_lists: ClassVar[bool] = False

    @classmethod
    def of(cls, prepared: Prepared, pooling: Pooling) -> PooledSpectrum | None:
        """Take the pooling in where nothing is lost: steps, residuals and the maximum need the scores of regions."""
        if not isinstance(prepared, PreparedFastSpectralRanking) or pooling.maximum:
            return None
        settings = prepared.settings
        return None if settings.n_steps or settings.certify else cls(prepared, pooling)

    def __post_init__(self) -> None:
        _ = self._vectors, self._matrix  # offline, not with the first query

    @cached_property
    def _vectors(self) -> list[Array]:
        """P U of each block of components: dense for a giant, sparse where there are many small ones."""
        spectrum, P = self.prepared.spectrum, self.pooling.matrix
        backend, pooled = spectrum.backend, []
        for block in spectrum.blocks:
            nodes, U = backend.to_host(block.nodes), backend.to_host(block.U)
            c, s, r = U.shape
            if c == 1:
                pooled.append(backend.asarray((P[:, nodes[0]] @ U[0]).astype(spectrum.dtype)))
            else:
                diagonal = sparse.bsr_array((U, np.arange(c), np.arange(c + 1)), shape=(c * s, c * r))
                product = sparse.csr_array(P[:, nodes.ravel()] @ diagonal)
                pooled.append(backend.csr(product, dtype=spectrum.dtype))
        return pooled

    @cached_property
    def _matrix(self) -> Array:
        return self.pooling.backend.csr(self.pooling.matrix, dtype=self.prepared.spectrum.dtype)

    def solve(self, seeds: object, *, x0: object = None, callback: Callback | None = None) -> Solution:
        """Return the scores G (N, q) of images; `x0` and `callback` are not used, and no error is bounded."""
        fsr = self.prepared
        spectrum, filter, backend = fsr.inside, fsr.filter, fsr.system.backend
        values, _ = check_seeds(seeds, spectrum.n_nodes)
        block = Seeds.take(values, fsr.system)
        constant = float(filter(0.0)) if fsr.settings.identity else 0.0
        with np.errstate(under="ignore"):
            scaled = spectrum.scale(spectrum.project(block.block, block.rows), lambda x: filter(x) - constant)
            scores = block.block.dtype.type(constant) * backend.spmm(self._matrix, fsr.system.outside(block.block))
            for vectors, c in zip(self._vectors, scaled, strict=True):
                if c is not None:
                    scores = scores + self._add(vectors, c)
        finite, q = backend.to_host(block.finite), values.shape[1]
        status = tuple(Status.APPROXIMATE if good else Status.NONFINITE for good in finite)
        unknown = np.full(q, np.inf)
        return Solution(
            backend.xp.where(block.finite, scores * block.scale, np.nan), status, np.zeros(q, dtype=np.int64),
            residual=unknown, error_bound=unknown, solver="fsr",
        )  # fmt: skip

    def _add(self, vectors: Array, coefficients: Array) -> Array:
        c, r, q = coefficients.shape
        if c == 1:
            return vectors @ coefficients[0]
        return self.prepared.system.backend.spmm(vectors, coefficients.reshape(c * r, q))
