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
    """What an algorithm may ask of an array library."""

    name: str
    #: iterations between two looks of the host at device scalars (each look waits for the device)
    check_every: int
    #: columns worth solving together, where memory allows
    column_block: int
    #: what the device raises where an allocation does not fit
    out_of_memory: tuple[type[BaseException], ...]

    @property
    def xp(self) -> ModuleType:
        """The array namespace: NumPy or CuPy."""

    def owns(self, x: object) -> bool:
        """Say whether `x` is an array of this backend's device."""

    def asarray(self, x: object, *, dtype: DTypeLike | None = None) -> Array:
        """Bring `x` to the device, converted to `dtype`; no copy where none is needed."""

    def to_host(self, x: Array) -> AnyArray:
        """Copy `x` to a NumPy array; waits for the device."""

    def csr(self, matrix: sparse.csr_array, *, dtype: DTypeLike) -> SparseMatrix:
        """Bring a SciPy CSR matrix to the device as `dtype` with 32-bit indices."""

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
        """

    def axpy(self, y: Array, x: Array, factors: Array | float) -> Array:
        """Add ``factors x`` to y, in place, and return the squared lengths of its columns: (q,) float64."""

    def advance(self, x: Array, p: Array, z: Array, *, step: Array | float, ratio: Array | float) -> None:
        """Add ``step p`` to x, and turn p to ``z + ratio p``, both in place."""

    def column_dots(self, x: Array, y: Array) -> Array:
        """Return the inner products of the columns of two (n, q) blocks, accumulated in float64: (q,)."""

    def column_sizes(self, block: Array, weights: Array) -> Array:
        """Return the sum of squares, the largest |x| / weight and the largest |x| of each column: (3, q) float64."""

    def block_width(self, n_rows: int, n_columns: int) -> int:
        """Return how many columns, `n_columns` or more, a block may have in a loop of sweeps at the same cost."""

    def row_dots(self, x: Array, y: Array) -> Array:
        """Return the inner products over the last axis, the same bits for a pair whatever stands beside it."""

    def top_k(self, values: Array, k: int) -> tuple[Array, Array]:
        """Return ids and values (r, k) of the k largest of each row of (r, n), sorted by (-value, id)."""

    def factorize(self, matrix: SparseMatrix) -> Callable[[Array], Array]:
        """Factorise a symmetric positive definite (n, n) float64 matrix; return the map B -> matrix^-1 B."""

    def free_memory(self) -> int:
        """Return the bytes that can still be allocated on the device."""


def rounding_unit(dtype: DTypeLike) -> float:
    """Return the unit roundoff of a floating dtype: half the distance from 1 to the next number.

    >>> rounding_unit("float32")
    5.960464477539063e-08
    """
    return float(np.finfo(dtype).eps) / 2
