"""The passes over a block that an iteration is made of, as plain expressions: what a backend has without faster ones.

In: blocks (n, q), and factors that are numbers or one a column. Out: blocks; sums over columns in float64.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import ModuleType

from manifold._typing import DType
from manifold.backends._base import Array, SparseMatrix


class Sweeps(ABC):
    """Methods of `Backend` for a backend that has `xp`, `column_dots` and a product of its own, `_multiply`."""

    xp: ModuleType

    @abstractmethod
    def _multiply(self, matrix: SparseMatrix, block: Array) -> Array:
        """Return ``matrix @ block`` in memory of its own."""

    @abstractmethod
    def column_dots(self, x: Array, y: Array) -> Array:
        """See `Backend`."""

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
        """Return ``a matrix @ block + b block + c other``."""
        result = self._multiply(matrix, block)  # in memory of its own: all that follows is done in place
        result *= _factor(a, result.dtype)
        if b is not None:
            result += _factor(b, result.dtype) * block
        if other is not None:
            result += _factor(c, result.dtype) * other
        if dots is not None:
            dots[:] = self.column_dots(block, result)
        return result

    def axpy(self, y: Array, x: Array, factors: Array | float) -> Array:
        """Add ``factors x`` to y, and return the squared lengths of its columns."""
        y += _factor(factors, y.dtype) * x
        return self.column_dots(y, y)

    def advance(self, x: Array, p: Array, z: Array, *, step: Array | float, ratio: Array | float) -> None:
        """Add ``step p`` to x, and turn p to ``z + ratio p``."""
        x += _factor(step, x.dtype) * p
        p *= _factor(ratio, p.dtype)
        p += z

    def column_sizes(self, block: Array, weights: Array) -> Array:
        """Return the sum of squares, the largest size beside the weights and the largest size of each column."""
        size = self.xp.abs(block)
        return self.xp.stack([self.column_dots(block, block), (size / weights).max(axis=0), size.max(axis=0)])

    def block_width(self, n_rows: int, n_columns: int) -> int:
        """Return how many columns a block may have at the cost of `n_columns`."""
        return n_columns


def _factor(factor: Array | float, dtype: DType) -> Array:
    """Return a number or an array of numbers in the precision of a block."""
    many: Array = factor  # in float64 it would widen a block of float32
    return many.astype(dtype) if getattr(many, "shape", ()) else dtype.type(many)
