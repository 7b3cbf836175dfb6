"""The GPU backend: CuPy arrays in and out, on the current device. The only file that imports cupy.

CuPy imports without a device, so `cupy_backend` probes with a real allocation, kernel, sparse and dense product, and
names the piece that is missing. Sparse products, column sums and selections are kernels of our own: those of CuPy copy
the block into Fortran order, add up a tall block in one thread group a column, and sort whole rows. Work runs on the
current stream of the calling thread, and `to_host` waits for it. Several GPUs are out of scope: the current device does
all of the work of a call, and its arrays must be there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import metadata
from os import environ
from types import ModuleType

import numpy as np
from numpy.typing import DTypeLike
from scipy import sparse

from manifold._resources import format_bytes
from manifold._typing import AnyArray
from manifold.backends._base import Array, SparseMatrix
from manifold.backends._cupy_kernels import THREADS, TOP_K_LIMIT, source
from manifold.backends._sweeps import Sweeps
from manifold.errors import BackendError

_MAX_ENTRIES = 2**31 - 1  # what a 32-bit index can count
_DENSE_LIMIT = 8000  # below this many nodes a dense Cholesky factor, 0.5 GiB at most, is faster than a sparse one
_ROWS_A_GROUP = 64  # rows each thread of `column_dots` adds up, at least
_MOST_GROUPS = 1024
_WHEELS = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")
_INSTALL = "pip install 'manifold-search[gpu]' (CUDA 12) or 'manifold-search[gpu13]' (CUDA 13)"
_CTK = "pip install 'cupy-cuda12x[ctk]' (or 'cupy-cuda13x[ctk]') brings {} along"


@cache
def cupy_backend() -> CupyBackend:
    """Return the one CuPy backend of this process.

    Raises
    ------
    BackendError
        Naming what is missing (package, driver, device, kernel compiler, sparse or dense library) and the line that
        fixes it; for two wheels of CuPy at once; and for ``CUPY_TF32``, whose products the error bounds do not cover.
    """
    wheels = installed_wheels()
    if len(wheels) > 1:
        raise BackendError(
            f"several wheels of CuPy are installed, {' and '.join(wheels)}, and overwrite each other: "
            f"pip uninstall {' '.join(wheel.split()[0] for wheel in wheels)}, then {_INSTALL}"
        )
    try:
        import cupy
    except ImportError as error:
        if wheels:
            raise BackendError(f"{wheels[0]} is installed but does not load ({error}): {_INSTALL}") from error
        raise BackendError(f"CuPy is not installed: {_INSTALL}") from error
    if environ.get("CUPY_TF32", "0") not in ("", "0"):
        raise BackendError("CUPY_TF32 rounds float32 products to 11 bits, which the bounds here do not count: unset it")
    step, cure = "find", "install an NVIDIA driver that is at least as new as the CUDA version of the wheel"
    try:
        if cupy.cuda.runtime.getDeviceCount() == 0:
            raise RuntimeError("the driver shows no device: see nvidia-smi and CUDA_VISIBLE_DEVICES")
        step = "allocate on"
        x = cupy.zeros((2, 2), dtype=np.float32)
        step, cure = "compile a kernel for", _CTK.format("the compiler (NVRTC)")
        x += 1
        step, cure = "multiply a sparse matrix on", _CTK.format("cuSPARSE")
        from cupyx.scipy import sparse as device_sparse

        backend = CupyBackend(cupy, device_sparse)
        x = backend.spmm(backend.csr(sparse.eye_array(2, format="csr"), dtype=np.float32), x)
        step, cure = "multiply dense matrices on", _CTK.format("cuBLAS")
        total = float((x @ x).sum())
    except Exception as error:  # CuPy raises a different type for each missing piece
        raise BackendError(f"CuPy is installed but could not {step} a GPU ({error}): {cure}") from error
    if total != 8:
        raise BackendError(f"the GPU computes 8 as {total}: its driver and the wheel of CuPy do not fit each other")
    return backend


def installed_wheels() -> list[str]:
    """Return the distributions of CuPy that are installed, with their versions; nothing is imported."""
    found = []
    for name in _WHEELS:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return found


def describe_gpu() -> str:
    """Return the device in use, its memory, and the versions of driver and runtime.

    Raises
    ------
    BackendError
        As `cupy_backend` does.
    """
    backend = cupy_backend()
    runtime = backend.xp.cuda.runtime
    number = runtime.getDevice()
    facts = runtime.getDeviceProperties(number)
    name = facts["name"].decode() if isinstance(facts["name"], bytes) else facts["name"]
    versions = [f"{v // 1000}.{v % 1000 // 10}" for v in (runtime.driverGetVersion(), runtime.runtimeGetVersion())]
    free, total = (format_bytes(size) for size in (backend.free_memory(), facts["totalGlobalMem"]))
    return (
        f"cuda:{number}, {name}, {free} of {total} free, "
        f"driver for CUDA {versions[0]}, runtime {versions[1]}, CuPy {backend.xp.__version__}"
    )


class CupyBackend(Sweeps):
    """CuPy on the current device; sums are taken in one order, so the same input gives the same bits on each run."""

    name = "cupy"
    check_every = 5
    column_block = 256

    def __init__(self, cupy: ModuleType, sparse: ModuleType) -> None:
        self.xp, self._sparse = cupy, sparse
        #: raised once CuPy's pool has given back all it held and the device is still full
        self.out_of_memory: tuple[type[BaseException], ...] = (cupy.cuda.memory.OutOfMemoryError,)
        self._kernel = cache(self._compile)

    def _compile(self, name: str, dtype: str) -> Callable[..., None]:
        kernel: Callable[..., None] = self.xp.RawKernel(source(name, dtype), name)
        return kernel

    def owns(self, x: object) -> bool:
        """Say whether `x` is a CuPy array."""
        return isinstance(x, self.xp.ndarray)

    def asarray(self, x: object, *, dtype: DTypeLike | None = None) -> Array:
        """Bring `x` to the device, converted to `dtype`; no copy where none is needed."""
        return self.xp.asarray(x, dtype=dtype)

    def to_host(self, x: Array) -> AnyArray:
        """Copy `x` to a NumPy array; waits for the current stream."""
        return np.asarray(self.xp.asnumpy(x))

    def csr(self, matrix: sparse.csr_array, *, dtype: DTypeLike) -> SparseMatrix:
        """Bring a SciPy CSR matrix to the device as `dtype` with 32-bit indices."""
        if matrix.nnz > _MAX_ENTRIES:
            raise BackendError(
                f"the matrix has {matrix.nnz} entries, 32-bit indices count {_MAX_ENTRIES}: "
                "lower n_neighbors, or use backend='scipy'"
            )
        arrays = (matrix.data.astype(dtype), matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32))
        return self._sparse.csr_matrix(tuple(self.xp.asarray(part) for part in arrays), shape=matrix.shape)

    def _multiply(self, matrix: SparseMatrix, block: Array) -> Array:
        """Return ``matrix @ block``, each entry summed in the order in which its row is stored."""
        (n, _), q, dtype = matrix.shape, block.shape[1], np.result_type(matrix.dtype, block.dtype)
        block, data = self.xp.ascontiguousarray(block, dtype=dtype), matrix.data.astype(dtype, copy=False)
        product = self.xp.empty((n, q), dtype=dtype)
        across, rows = _thread_block(q)
        arrays = (matrix.indptr, matrix.indices, data, block, product)
        if product.size:
            kernel = self._kernel("spmm", dtype.name)
            kernel((-(-n // rows), -(-q // across)), (across, rows), (*arrays, np.int32(n), np.int32(q)))
        return product

    def column_dots(self, x: Array, y: Array) -> Array:
        """Return the inner products of the columns, accumulated in float64, in groups of rows."""
        (n, q), dtype = x.shape, np.result_type(x.dtype, y.dtype)
        across, rows = _thread_block(q)
        groups = min(max(1, n // (rows * _ROWS_A_GROUP)), _MOST_GROUPS)
        partial = self.xp.zeros((groups, q), dtype=np.float64)
        if x.size:
            both = (self.xp.ascontiguousarray(part, dtype=dtype) for part in (x, y))
            kernel = self._kernel("column_dots", dtype.name)
            kernel((groups, -(-q // across)), (across, rows), (*both, partial, np.int32(n), np.int32(q)))
        return partial.sum(axis=0)

    def row_dots(self, x: Array, y: Array) -> Array:
        """Return the inner products over the last axis, in an order that its length determines."""
        return self.xp.sum(x * y, axis=-1)

    def top_k(self, values: Array, k: int) -> tuple[Array, Array]:
        """Return the k largest entries of each row, equal values by ascending id."""
        r, n = values.shape
        k = min(k, n)
        if k > TOP_K_LIMIT:  # a list this long is sorted with its row
            order = self.xp.argsort(-values, axis=1)[:, :k]  # CuPy sorts stably
            return order, self.xp.take_along_axis(values, order, axis=1)
        ids, best = self.xp.empty((r, k), dtype=np.int64), self.xp.empty((r, k), dtype=values.dtype)
        if ids.size:
            kernel = self._kernel("top_k", values.dtype.name)
            rows = self.xp.ascontiguousarray(values)
            kernel((r,), (THREADS,), (rows, ids, best, np.int32(n), np.int32(k)))
        return ids, best

    def factorize(self, matrix: SparseMatrix) -> Callable[[Array], Array]:
        """Factorise by dense Cholesky below 8,000 nodes; above, by SuperLU on the host, to be solved on the device."""
        if matrix.shape[0] <= _DENSE_LIMIT:
            from cupyx.scipy.linalg import solve_triangular

            L = self.xp.linalg.cholesky(matrix.toarray())
            return lambda block: solve_triangular(L, solve_triangular(L, block, lower=True), lower=True, trans=1)
        from cupyx.scipy.sparse.linalg import splu

        solve: Callable[[Array], Array] = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0).solve
        return lambda block: self.xp.ascontiguousarray(solve(block))

    def free_memory(self) -> int:
        """Return the free bytes of the device and of CuPy's pool, within the limit of the pool."""
        pool = self.xp.get_default_memory_pool()
        free = self.xp.cuda.runtime.memGetInfo()[0] + pool.free_bytes()
        limit = pool.get_limit()
        return int(min(free, limit - pool.used_bytes()) if limit else free)


def _thread_block(n_columns: int) -> tuple[int, int]:
    """Return the threads of a block along columns, up to a warp of them, and along rows."""
    across = 1
    while across < min(n_columns, 32):
        across *= 2
    return across, THREADS // across
