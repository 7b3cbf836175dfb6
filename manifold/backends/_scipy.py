"""The CPU backend: NumPy arrays and SciPy CSR matrices, in and out.

Blocks of many rows go through compiled kernels where Numba is installed, others through NumPy and SciPy, without its
import: the number of rows alone decides, so that a column meets the same arithmetic in any batch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from types import ModuleType

import numpy as np
from numpy.typing import DTypeLike
from scipy import linalg, sparse

from manifold import _resources
from manifold._typing import AnyArray, Floats, Ints
from manifold.backends._row_dots import row_dots
from manifold.backends._sweeps import Sweeps

COMPILED_FROM = 8192  # rows from which on loading the compiled kernels, half a second once in a process, pays
DENSE_LIMIT = 2000  # below this many nodes a dense Cholesky factor is faster than a sparse one
_MOST_NARROW = 2**31 - 1  # what a 32-bit index can count
_DOT_BLOCK = 512  # rows summed in working precision before float64 takes over: as fast as one sum, 100 x as exact
_SORT_WIDTH = 512  # rows this short are sorted whole
_STREAMED = 1 << 16  # scores from which on a compiled selection is quicker
_FIRST_STREAMED = 1 << 23  # and from which on it is loaded, a third of a second once in a process
_SHORT = 128  # lists this short are kept sorted while scores stream by
_MIN_GROUP = 4  # groups smaller than this save nothing over a sort


class ScipyBackend(Sweeps):
    """NumPy, SciPy and compiled kernels, which add up in one order; only factors follow the number of threads.

    Reference: guide *notation*, "How the parts meet".
    """

    name = "scipy"
    xp = np
    check_every = 1
    column_block = 32  # enough to share the reading of a matrix, and a message; what more would save is not seen
    # host memory runs out without notice: what is large is forecast, see `require_memory`
    out_of_memory: tuple[type[BaseException], ...] = ()

    def owns(self, x: object) -> bool:
        """Say whether `x` is a NumPy array.

        >>> ScipyBackend().owns(np.float64(1.0))
        False
        """
        return isinstance(x, np.ndarray)

    def asarray(self, x: object, *, dtype: DTypeLike | None = None) -> AnyArray:
        """Return `x` as a NumPy array, converted to `dtype`; no copy where none is needed.

        >>> x = np.ones(2)
        >>> ScipyBackend().asarray(x) is x
        True
        """
        return np.asarray(x, dtype=dtype)

    def to_host(self, x: AnyArray) -> AnyArray:
        """Return `x` itself: it is on the host."""
        return x

    def csr(self, matrix: sparse.csr_array, *, dtype: DTypeLike) -> sparse.csr_array:
        """Return a CSR matrix of `dtype` that shares what arrays it can, with 32-bit indices where they suffice.

        >>> wide = sparse.csr_array((np.ones(1), np.zeros(1, np.int64), np.array([0, 1], np.int64)), shape=(1, 1))
        >>> ScipyBackend().csr(wide, dtype=np.float64).indptr.dtype.name
        'int32'
        """
        out = sparse.csr_array(matrix, dtype=dtype, copy=False)
        if max(out.nnz, *out.shape) <= _MOST_NARROW:
            parts = (out.data, *(np.require(ids, np.int32, "W") for ids in (out.indices, out.indptr)))
            out = sparse.csr_array(parts, shape=out.shape)
        return out

    def _multiply(self, matrix: sparse.csr_array, block: AnyArray) -> AnyArray:
        product: AnyArray = matrix @ block
        return product

    def spmm(
        self,
        matrix: sparse.csr_array,
        block: AnyArray,
        *,
        a: AnyArray | float = 1.0,
        b: AnyArray | float | None = None,
        c: AnyArray | float = 1.0,
        other: AnyArray | None = None,
        dots: Floats | None = None,
        out: AnyArray | None = None,
    ) -> AnyArray:
        """Return ``a matrix @ block + b block + c other``.

        >>> swap, block = sparse.csr_array([[0.0, 1.0], [1.0, 0.0]]), np.array([[1.0], [3.0]])
        >>> dots = np.empty(1)
        >>> ScipyBackend().spmm(swap, block, a=-0.5, b=1.0, dots=dots).ravel().tolist(), dots.tolist()
        ([-0.5, 2.5], [7.0])
        """
        given = [x for x in (other, out) if x is not None]
        kernels = _compiled(matrix.shape[0], block, *given, entries=matrix.dtype)
        do = super().spmm if kernels is None else kernels.spmm
        product: AnyArray = do(matrix, block, a=a, b=b, c=c, other=other, dots=dots, out=out)
        return product

    def axpy(self, y: AnyArray, x: AnyArray, factors: AnyArray | float) -> Floats:
        """Add ``factors x`` to y, and return the squared lengths of its columns."""
        kernels = _compiled(len(y), y, x)
        squares: Floats = (super().axpy if kernels is None else kernels.axpy)(y, x, factors)
        return squares

    def advance(
        self, x: AnyArray, p: AnyArray, z: AnyArray, *, step: AnyArray | float, ratio: AnyArray | float
    ) -> None:
        """Add ``step p`` to x, and turn p to ``z + ratio p``."""
        kernels = _compiled(len(x), x, p, z)
        (super().advance if kernels is None else kernels.advance)(x, p, z, step=step, ratio=ratio)

    def column_sizes(self, block: AnyArray, weights: Floats) -> Floats:
        """Return the sum of squares, the largest size beside the weights and the largest size of each column."""
        kernels = _compiled(len(block), block)
        sizes: Floats = (super().column_sizes if kernels is None else kernels.column_sizes)(block, weights)
        return sizes

    def block_width(self, n_rows: int, n_columns: int) -> int:
        """Return how many columns compiled loops take in the same time: one, or as many as fill cache lines.

        >>> ScipyBackend().block_width(COMPILED_FROM - 1, 5), ScipyBackend().block_width(COMPILED_FROM, 1)
        (5, 1)
        """
        kernels = None if n_columns <= 1 or n_rows < COMPILED_FROM else _kernels()
        return n_columns if kernels is None else -(-n_columns // kernels.WIDTH) * kernels.WIDTH

    def column_dots(self, x: AnyArray, y: AnyArray) -> Floats:
        """Return the inner products of the columns, in blocks of rows whose sums are added in float64.

        >>> x = np.full((3000, 1), 0.1, np.float32)
        >>> round(float(ScipyBackend().column_dots(x, x)[0]), 3)
        30.0
        """
        kernels = _compiled(len(x), x, y)
        if kernels is not None:
            compiled: Floats = kernels.column_dots(x, y)
            return compiled
        if x.shape[1] == 1:
            return _one_column_dot(x, y)
        n, q = x.shape
        head = n - n % _DOT_BLOCK
        shape = (-1, _DOT_BLOCK, q)
        blocks = np.einsum("bij,bij->bj", x[:head].reshape(shape), y[:head].reshape(shape))
        rest = np.einsum("ij,ij->j", x[head:], y[head:])
        total: Floats = blocks.sum(axis=0, dtype=np.float64) + rest
        return total

    def row_dots(self, x: AnyArray, y: AnyArray) -> AnyArray:
        """Return the inner products over the last axis, each summed in one order.

        >>> ScipyBackend().row_dots(np.array([[3.0, 4.0]]), np.array([[3.0, 4.0]])).tolist()
        [25.0]
        """
        return row_dots(x, y)

    def top_k(self, values: AnyArray, k: int) -> tuple[Ints, AnyArray]:
        """Return the k largest entries of each row, equal values by ascending id.

        >>> ids, values = ScipyBackend().top_k(np.array([[1.0, 3.0, 2.0, 3.0]]), 3)
        >>> ids.tolist(), values.tolist()
        ([[1, 3, 2]], [[3.0, 3.0, 2.0]])
        """
        n = values.shape[1]
        k = min(k, n)
        streamed = _STREAMED if "manifold.backends.compiled_lists" in sys.modules else _FIRST_STREAMED
        if values.size >= streamed and k <= _SHORT and values.dtype == np.float32 and find_spec("numba") is not None:
            from manifold.backends.compiled_lists import top_k

            return top_k(np.ascontiguousarray(values), k)
        if n <= _SORT_WIDTH or n < _MIN_GROUP**2 * k:
            ids = np.argsort(-values, axis=1, kind="stable")[:, :k]
        else:
            ids = _grouped_top_k(values, k)
        return ids, np.take_along_axis(values, ids, axis=1)

    def factorize(self, matrix: sparse.csr_array) -> Callable[[AnyArray], AnyArray]:
        """Factorise by dense Cholesky below `DENSE_LIMIT` nodes, by sparse LU in symmetric mode above.

        >>> ScipyBackend().factorize(sparse.csr_array([[4.0]]))(np.array([[2.0]])).tolist()
        [[0.5]]
        """
        if matrix.shape[0] <= DENSE_LIMIT:
            # in the order of LAPACK, which would copy it otherwise
            factor = linalg.cho_factor(matrix.toarray(order="F"), lower=True, overwrite_a=True, check_finite=False)
            return lambda block: linalg.cho_solve(factor, block, check_finite=False)
        lu = sparse.linalg.splu(
            matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )
        return lambda block: lu.solve(np.ascontiguousarray(block))

    def free_memory(self) -> int:
        """Return the bytes this process may still allocate.

        >>> ScipyBackend().free_memory() > 2**20
        True
        """
        return _resources.available_memory()


def _one_column_dot(x: AnyArray, y: AnyArray) -> Floats:
    """Return the inner product of single columns, added up as beside others: NumPy adds up one alone in another order.

    Blocks of rows stand side by side as columns do; what fills no two blocks is met twice.
    """
    head = len(x) - len(x) % _DOT_BLOCK
    sides = [np.ascontiguousarray(z[:head].reshape(-1, _DOT_BLOCK).T) for z in (x, y)]
    sides = [np.repeat(z, 2, axis=1) if z.shape[1] == 1 else z for z in sides]
    blocks = np.einsum("ib,ib->b", *sides)[: head // _DOT_BLOCK]
    rest = np.einsum("ij,ij->j", np.repeat(x[head:], 2, axis=1), np.repeat(y[head:], 2, axis=1))[:1]
    total: Floats = np.cumsum(np.append(0.0, blocks))[-1:] + rest  # one after another, as rows of a table are
    return total


@cache
def _kernels() -> ModuleType | None:
    if find_spec("numba") is None:
        return None
    from manifold.backends import _numba

    return _numba


def _compiled(n_rows: int, *blocks: AnyArray, entries: DTypeLike = np.float32) -> ModuleType | None:
    """Return the compiled kernels where they serve these blocks: many rows, all of one precision, in C order."""
    dtype = blocks[0].dtype
    if n_rows < COMPILED_FROM or dtype not in (np.float32, np.float64) or entries not in (np.float32, dtype):
        return None
    plain = all(block.dtype == dtype and block.flags.c_contiguous and block.shape[1] for block in blocks)
    return _kernels() if plain else None


def _grouped_top_k(values: AnyArray, k: int) -> Ints:
    """Return the ids of the k largest of each row through the maxima of groups of sqrt(n / k) entries.

    The k groups with the largest maxima hold at least k entries no smaller than the k-th largest of the row, and
    every larger one. So only k * width entries are partitioned, about ten times fewer than n.
    """
    r, n = values.shape
    width = int(np.sqrt(n / k))
    m = n // width  # group j holds the entries j, j + m, j + 2m, ...; the tail that fills no group is kept whole
    grouped = values[:, : m * width].reshape(r, width, m)
    maxima = grouped.max(axis=1)
    best = np.argpartition(maxima, m - k, axis=1)[:, m - k :]
    tail = np.broadcast_to(np.arange(m * width, n), (r, n - m * width))
    ids = np.concatenate([(best[:, None, :] + m * np.arange(width)[:, None]).reshape(r, -1), tail], axis=1)
    candidates = np.take_along_axis(values, ids, axis=1)
    last = candidates.shape[1] - k
    order = np.argpartition(candidates, last, axis=1)[:, last:]
    kth = np.take_along_axis(candidates, order[:, :1], axis=1)
    chosen, chosen_values = (
        np.take_along_axis(ids, order, axis=1),
        np.take_along_axis(candidates, order, axis=1),
    )
    chosen = np.take_along_axis(chosen, np.lexsort((chosen, -chosen_values)), axis=1)
    # equal values across the k-th place, in or out of the groups looked at: those rows are settled by id, whole
    tied = ((maxima >= kth).sum(axis=1) > k) | ((candidates >= kth).sum(axis=1) > k)
    for i in np.flatnonzero(tied):
        above = np.flatnonzero(values[i] > kth[i])
        above = above[np.argsort(-values[i, above], kind="stable")]
        chosen[i] = np.concatenate([above, np.flatnonzero(values[i] == kth[i])[: k - above.size]])
    return chosen
