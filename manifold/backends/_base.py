"""The protocol between algorithms and arrays: what an algorithm may ask of a device, and nothing else.

In: host or device arrays. Out: arrays of one device. Algorithms are written once against `Backend`; `xp` is
the array namespace (NumPy or CuPy) for everything elementwise.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import DTypeLike
from scipy import sparse

from manifold._typing import AnyArray

Array: TypeAlias = Any  # an array of the backend's device: numpy.ndarray or cupy.ndarray
SparseMatrix: TypeAlias = Array  # the backend's CSR matrix, used only through `spmm` and `factorize`


@runtime_checkable
class Backend(Protocol):
    """What an algorithm may ask of an array library.

    Reference: Python array API (2022), for the names of `xp`; guide *notation*, "How the parts meet".
    """

    name: str
    #: iterations between two looks of the host at device scalars (each look waits for the device)
    check_every: int
    #: columns worth solving together, where memory allows
    column_block: int
    #: what the device raises where an allocation does not fit
    out_of_memory: tuple[type[BaseException], ...]

    @property
    def xp(self) -> ModuleType:
        """The array namespace: NumPy or CuPy.

        >>> from manifold.backends import get_backend
        >>> float(get_backend("scipy").xp.sqrt(4.0))
        2.0
        """

    def owns(self, x: object) -> bool:
        """Say whether `x` is an array of this backend's device.

        >>> from manifold.backends import get_backend
        >>> get_backend("scipy").owns(np.ones(2)), get_backend("scipy").owns([1.0, 1.0])
        (True, False)
        """

    def asarray(self, x: object, *, dtype: DTypeLike | None = None) -> Array:
        """Bring `x` to the device, converted to `dtype`; no copy where none is needed.

        >>> from manifold.backends import get_backend
        >>> float(get_backend("scipy").asarray([1, 2], dtype=np.float64).sum())
        3.0
        """

    def to_host(self, x: Array) -> AnyArray:
        """Copy `x` to a NumPy array; waits for the device.

        >>> from manifold.backends import get_backend
        >>> float(get_backend("scipy").to_host(np.array([1.0, 2.0]))[1])
        2.0
        """

    def csr(self, matrix: sparse.csr_array, *, dtype: DTypeLike) -> SparseMatrix:
        """Bring a SciPy CSR matrix to the device as `dtype` with 32-bit indices.

        >>> from manifold.backends import get_backend
        >>> matrix = get_backend("scipy").csr(sparse.eye_array(3, format="csr"), dtype=np.float32)
        >>> matrix.nnz, matrix.dtype.name, matrix.indices.dtype.name
        (3, 'float32', 'int32')
        """

    def spmm(
        self,
        matrix: SparseMatrix,
        block: Array,
        *,
        a: Array | float = 1.0,
        b: Array | float | None = None,
        c: Array | float = 1.0,
        other: Array | None = None,
        dots: Array | None = None,
        out: Array | None = None,
    ) -> Array:
        """Return ``a matrix @ block + b block + c other``: (m, n) sparse times (n, q) dense.

        Factors are numbers or one a column (q,); what is None is left out. `dots` (q,) float64 is filled with the inner
        products of the columns of block and result. `out` is memory that may be taken for the result; it may be that
        of `other`, not that of `block`.

        >>> from manifold.backends import get_backend
        >>> swap = sparse.csr_array([[0.0, 1.0], [1.0, 0.0]])
        >>> get_backend("scipy").spmm(swap, np.array([[1.0], [3.0]]), a=2.0, b=1.0).tolist()
        [[7.0], [5.0]]
        """

    def axpy(self, y: Array, x: Array, factors: Array | float) -> Array:
        """Add ``factors x`` to y, in place, and return the squared lengths of its columns: (q,) float64.

        >>> from manifold.backends import get_backend
        >>> y = np.array([[1.0], [2.0]])
        >>> get_backend("scipy").axpy(y, np.array([[1.0], [1.0]]), 2.0).tolist(), y.ravel().tolist()
        ([25.0], [3.0, 4.0])
        """

    def advance(self, x: Array, p: Array, z: Array, *, step: Array | float, ratio: Array | float) -> None:
        """Add ``step p`` to x, and turn p to ``z + ratio p``, both in place.

        >>> from manifold.backends import get_backend
        >>> x, p, z = (np.full((2, 1), value) for value in (1.0, 2.0, 3.0))
        >>> get_backend("scipy").advance(x, p, z, step=0.5, ratio=2.0)
        >>> x.ravel().tolist(), p.ravel().tolist()
        ([2.0, 2.0], [7.0, 7.0])
        """

    def column_dots(self, x: Array, y: Array) -> Array:
        """Return the inner products of the columns of two (n, q) blocks, accumulated in float64: (q,).

        >>> from manifold.backends import get_backend
        >>> block = np.array([[1.0, 2.0], [3.0, 4.0]])
        >>> get_backend("scipy").column_dots(block, block).tolist()
        [10.0, 20.0]
        """

    def column_sizes(self, block: Array, weights: Array) -> Array:
        """Return the sum of squares, the largest |x| / weight and the largest |x| of each column: (3, q) float64.

        >>> from manifold.backends import get_backend
        >>> get_backend("scipy").column_sizes(np.array([[3.0], [-4.0]]), np.array([[1.0], [2.0]])).ravel().tolist()
        [25.0, 3.0, 4.0]
        """

    def block_width(self, n_rows: int, n_columns: int) -> int:
        """Return how many columns, `n_columns` or more, a block may have in a loop of sweeps at the same cost.

        >>> from manifold.backends import get_backend
        >>> get_backend("scipy").block_width(100, 3)
        3
        """

    def row_dots(self, x: Array, y: Array) -> Array:
        """Return the inner products over the last axis, the same bits for a pair whatever stands beside it.

        >>> from manifold.backends import get_backend
        >>> get_backend("scipy").row_dots(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 1.0])).tolist()
        [3.0, 7.0]
        """

    def top_k(self, values: Array, k: int) -> tuple[Array, Array]:
        """Return ids and values (r, k) of the k largest of each row of (r, n), sorted by (-value, id).

        >>> from manifold.backends import get_backend
        >>> ids, values = get_backend("scipy").top_k(np.array([[0.5, 0.9, 0.5]]), 2)
        >>> ids.tolist(), values.tolist()
        ([[1, 0]], [[0.9, 0.5]])
        """

    def factorize(self, matrix: SparseMatrix) -> Callable[[Array], Array]:
        """Factorise a symmetric positive definite (n, n) float64 matrix; return the map B -> matrix^-1 B.

        >>> from manifold.backends import get_backend
        >>> solve = get_backend("scipy").factorize(sparse.csr_array([[2.0, 1.0], [1.0, 2.0]]))
        >>> solve(np.array([[3.0], [0.0]])).round(12).ravel().tolist()
        [2.0, -1.0]
        """

    def free_memory(self) -> int:
        """Return the bytes that can still be allocated on the device.

        >>> from manifold.backends import get_backend
        >>> get_backend("scipy").free_memory() > 2**20
        True
        """


def rounding_unit(dtype: DTypeLike) -> float:
    """Return the unit roundoff of a floating dtype: half the distance from 1 to the next number.

    Reference: Higham (2002), chapter 2.

    >>> rounding_unit("float32")
    5.960464477539063e-08
    """
    return float(np.finfo(dtype).eps) / 2
