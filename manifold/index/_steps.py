"""Conjugate gradients in single precision, a few steps at a time, for a refinement that ends when it is decided.

In: -a S in float32 and a residual in float64. Out: corrections, as far as single precision carries.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from manifold._typing import Floats
from manifold.backends import get_backend

_HOST = get_backend("scipy")
_END = 1e-5  # share of a residual down to which single precision follows it


def dot(x: Floats, y: Floats) -> float:
    """Return an inner product, the same on any number of threads.

    >>> dot(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    11.0
    """
    return float(np.einsum("i,i->", x, y))


class Steps:
    """Conjugate gradients on (I - a S) e = r in single precision, a few steps at a time; `single` is -a S.

    The residual is scaled to length 1, which keeps squares in the range of single precision.
    """

    def __init__(self, single: sparse.csr_array, r: Floats, length: float) -> None:
        self.single, self.scale = single, length
        self.r = (r / length if length else r).astype(single.dtype)
        self.x, self.p = np.zeros_like(self.r), self.r.copy()
        self.rho, self.curvature = 1.0, np.empty(1)

    def taken(self) -> Floats:
        """Return the correction since the last call."""
        e = self.x * np.float64(self.scale)
        self.x[:] = 0
        return e

    @property
    def length(self) -> float:
        """Length of the residual, as far as the recurrence knows."""
        return self.scale * float(np.sqrt(self.rho))

    @property
    def spent(self) -> bool:
        """Whether the residual has fallen as far as the precision carries."""
        return self.rho <= _END**2

    def advance(self, n_steps: int, *, length: float) -> None:
        """Take up to `n_steps`, fewer where the residual is no longer than `length`, or at the end of the precision.

        >>> halved = sparse.csr_array(np.array([[0, -0.5], [-0.5, 0]], np.float32))  # -a S of a pair, a = 1 / 2
        >>> steps = Steps(halved, np.array([3.0, 0.0]), 3.0)
        >>> steps.advance(9, length=0.0)
        >>> steps.taken().round(4).tolist(), steps.spent  # 3 (4, 2) / 3
        ([4.0, 2.0], True)
        """
        real, target = self.single.dtype.type, max(length / self.scale, _END) if self.scale else np.inf
        for _ in range(n_steps):
            if self.rho <= target * target:  # a power would raise where this is infinite
                return
            Ap = _HOST.spmm(self.single, self.p[:, None], b=1.0, dots=self.curvature)[:, 0]
            curvature = float(self.curvature[0])
            if curvature <= 0:  # the residual has underflowed: go on from the true one
                return
            step = real(self.rho / curvature)
            self.x += step * self.p
            Ap *= step
            self.r -= Ap
            before, self.rho = self.rho, dot(self.r, self.r)
            self.p *= real(self.rho / before)
            self.p += self.r
