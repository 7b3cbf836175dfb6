"""The GPU backend: CuPy arrays and cuSPARSE matrices, in and out. The only file that imports cupy.

CuPy imports without a device, so `cupy_backend` probes with a real allocation, kernel and sparse product, once,
and names the piece that is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manifold._errors import BackendError
from manifold.backends._base import Array, SparseMatrix

_MAX_ENTRIES = 2**31 - 1  # cuSPARSE through CuPy indexes with 32 bits


@cache
def cupy_backend() -> CupyBackend:
    """Return the one CuPy backend of this process.

    Raises
    ------
    BackendError
        Naming what is missing (package, driver, kernel compiler or sparse library) and the line that fixes it.
    """
    try:
        import cupy
    except ImportError as error:
        raise BackendError(
            "CuPy is not installed: pip install 'manifold-search[gpu]' (CUDA 12) or 'manifold-search[gpu13]' (CUDA 13)"
        ) from error
    step, cure = "allocate on", "install an NVIDIA driver that matches the CUDA version of the CuPy wheel"
    try:
        x = cupy.zeros(2, dtype=np.float32)
        step, cure = (
            "compile a kernel for",
            "pip install 'cupy-cuda12x[ctk]' brings the compiler (NVRTC) along",
        )
        x += 1
        step, cure = (
            "multiply a sparse matrix on",
            "pip install 'cupy-cuda12x[ctk]' brings cuSPARSE and cuBLAS along",
        )
        from cupyx.scipy import sparse

        product = sparse.csr_matrix(cupy.eye(2, dtype=np.float32)) @ x
        float(product.sum())
    except Exception as error:  # CuPy raises a different type for each missing piece
        raise BackendError(f"CuPy is installed but could not {step} a GPU ({error}): {cure}") from error
    return CupyBackend(cupy, sparse)


class CupyBackend:
    """CuPy on the current device."""

    name = "cupy"
    check_every = 5

    def __init__(self, cupy: Any, sparse: Any) -> None:
        self.xp, self._sparse = cupy, sparse

    def owns(self, x: object) -> bool:
        """Say whether `x` is a CuPy array."""
        return isinstance(x, self.xp.ndarray)

    def asarray(self, x: Any, *, dtype: Any = None) -> Array:
        """Bring `x` to the device, converted to `dtype`; no copy where none is needed."""
        return self.xp.asarray(x, dtype=dtype)

    def to_host(self, x: Array) -> NDArray[Any]:
        """Copy `x` to a NumPy array; waits for the device."""
        return np.asarray(self.xp.asnumpy(x))

    def csr(self, matrix: Any, *, dtype: Any) -> SparseMatrix:
        """Bring a SciPy CSR matrix to the device as `dtype` with 32-bit indices."""
        if matrix.nnz > _MAX_ENTRIES:
            raise BackendError(
                f"the graph has {matrix.nnz} entries, CuPy indexes 2^31 - 1: lower n_neighbors, or use backend='scipy'"
            )
        arrays = (matrix.data.astype(dtype), matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32))
        return self._sparse.csr_matrix(tuple(self.xp.asarray(part) for part in arrays), shape=matrix.shape)

    def spmm(self, matrix: SparseMatrix, block: Array) -> Array:
        """Return ``matrix @ block``."""
        return self.xp.ascontiguousarray(matrix @ block)

    def column_dots(self, x: Array, y: Array) -> Array:
        """Return the inner products of the columns, accumulated in float64."""
        return self.xp.sum(x * y, axis=0, dtype=np.float64)

    def top_k(self, values: Array, k: int) -> tuple[Array, Array]:
        """Return the k largest entries of each row, equal values by ascending id."""
        order = self.xp.argsort(-values, axis=1, kind="stable")[:, : min(k, values.shape[1])]
        return order, self.xp.take_along_axis(values, order, axis=1)

    def factorize(self, matrix: SparseMatrix) -> Callable[[Array], Array]:
        """Factorise on the host (SuperLU), solve on the device."""
        from cupyx.scipy.sparse.linalg import splu

        factor: Callable[[Array], Array] = splu(matrix.tocsc()).solve
        return factor

    def free_memory(self) -> int:
        """Return the free bytes of the device and of CuPy's pool."""
        free, _ = self.xp.cuda.runtime.memGetInfo()
        return int(free + self.xp.get_default_memory_pool().free_bytes())
