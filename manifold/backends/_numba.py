"""Compiled kernels of the CPU: products with a sparse matrix, and the passes over blocks that an iteration is made of.

In: C-contiguous blocks (n, q). Out: the same numbers on any number of threads, and of a column alone as in a block:
what is added up of a column has one order, four partial sums in turn, over entries of a row, rows of a band.

Imported where a large problem asks for it, and nowhere else; each kernel is compiled when first called, and kept on
disk. Bands of rows run on the threads of this process (`in_threads`), never on those of Numba, whose default layer ends
the process when two of them call it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import numpy as np
from scipy import sparse

from manifold._typing import AnyArray, DType, Floats
from manifold.backends._compiled import Kernel, compiled
from manifold.backends._lanes import add, fma, larger, load, prefetch, store, widened, zeros
from manifold.backends.threads import in_threads, thread_count

Total: TypeAlias = Callable[[AnyArray], Floats]  # (bands, q) -> (q,)

WIDTH = 16  # columns held together: of float32 a cache line
WIDEST = 32  # of float32, where they come in so many: a row of the matrix is read, and its end guessed, half as often
BAND = 2048  # rows whose sums are added up by themselves
SUPERBAND = 1024  # bands that are added up first: what a process sends of the sums of millions of rows stays small
_CHUNK = 128  # rows whose product is still in the nearest cache when its sums are taken
_AHEAD = 32  # entries ahead whose rows of a block are asked for: by itself a processor looks ten or so ahead
_RANGES = 3  # of rows for each thread
_ALONE = 1 << 19  # entries met, or numbers passed over, below which one thread is done about as soon


def spmm(
    matrix: sparse.csr_array,
    block: AnyArray,
    *,
    a: AnyArray | float,
    b: AnyArray | float | None,
    c: AnyArray | float,
    other: AnyArray | None,
    dots: AnyArray | None,
    out: AnyArray | None,
    halo: AnyArray | None = None,
    total: Total | None = None,
) -> AnyArray:
    """Return ``a matrix @ block + b block + c other``; `dots` is filled with the inner products of block and result.

    Columns of the matrix beyond the rows of the block are of `halo`, the rows below them. What has sums takes a `total`
    of the sums of its bands: where other processes have bands of their own, of all.
    """
    n, q = matrix.shape[0], block.shape[1]
    result = np.empty((n, q), dtype=block.dtype) if out is None else out
    own = None if b is None else block
    factors = [_columns(0 if factor is None else factor, q, block.dtype) for factor in (a, b, c)]
    sums, kernel = np.zeros((0 if dots is None else _n_bands(n), q)), _product(*_lanes(block))

    def work(start: int, stop: int) -> None:
        kernel(matrix.indptr, matrix.indices, matrix.data, block, halo, result, own, other, *factors, sums, start, stop)

    _in_ranges(work, n, size=matrix.nnz * -(-q // WIDTH))
    if dots is not None:
        dots[:] = (total or added)(sums)
    return result


def axpy(y: AnyArray, x: AnyArray, factors: AnyArray | float, *, total: Total | None = None) -> Floats:
    """Add ``factors x`` to y, and return the squared lengths of its columns.

    >>> y = np.array([[1.0], [2.0]])
    >>> axpy(y, np.array([[1.0], [1.0]]), 2.0).tolist(), y.ravel().tolist()
    ([25.0], [3.0, 4.0])
    """
    n, q = y.shape
    sums, kernel, factors = np.zeros((_n_bands(n), q)), _axpy(*_lanes(y)), _columns(factors, q, y.dtype)
    _in_ranges(lambda start, stop: kernel(y, x, factors, sums, start, stop), n, size=y.size)
    return (total or added)(sums)


def advance(x: AnyArray, p: AnyArray, z: AnyArray, *, step: AnyArray | float, ratio: AnyArray | float) -> None:
    """Add ``step p`` to x, and turn p to ``z + ratio p``."""
    n, q = x.shape
    kernel, step, ratio = _advance(*_lanes(x)), _columns(step, q, x.dtype), _columns(ratio, q, x.dtype)
    _in_ranges(lambda start, stop: kernel(x, p, z, step, ratio, start, stop), n, size=x.size)


def column_dots(x: AnyArray, y: AnyArray, *, total: Total | None = None) -> Floats:
    """Return the inner products of columns.

    >>> column_dots(np.array([[1.0], [2.0]]), np.array([[3.0], [4.0]])).tolist()
    [11.0]
    """
    n, q = x.shape
    sums, kernel = np.zeros((_n_bands(n), q)), _dots(*_lanes(x))
    _in_ranges(lambda start, stop: kernel(x, y, sums, start, stop), n, size=x.size)
    return (total or added)(sums)


def column_sizes(block: AnyArray, weights: AnyArray, *, total: Total | None = None) -> Floats:
    """Return, for each column, the sum of squares, the largest size beside the weights, and the largest size.

    >>> column_sizes(np.array([[3.0], [-4.0]]), np.array([[1.0], [2.0]])).ravel().tolist()
    [25.0, 3.0, 4.0]
    """
    n, q = block.shape
    sums, largest, kernel = np.zeros((_n_bands(n), q)), np.zeros((_n_bands(n), 2 * q)), _sizes(*_lanes(block))
    inverse = 1 / weights.ravel()
    _in_ranges(lambda start, stop: kernel(block, inverse, sums, largest, start, stop), n, size=block.size)
    return np.stack([(total or added)(sums), *largest.max(axis=0, initial=0).reshape(2, q)])


def _lanes(block: AnyArray) -> tuple[int, bool]:
    """Return how many columns a kernel holds together, and whether the last ones may be fewer."""
    q = block.shape[1]
    wide = block.dtype == np.float32 and q % WIDEST == 0
    return (1, False) if q == 1 else (WIDEST if wide else WIDTH, q % WIDTH > 0)


def _n_bands(n: int) -> int:
    return -(-n // BAND)


def _columns(factor: AnyArray | float, q: int, dtype: DType) -> AnyArray:
    """Return one factor a column."""
    factors = np.empty(q, dtype=dtype)
    factors[:] = factor
    return factors


def added(sums: AnyArray, superbands: AnyArray | None = None) -> Floats:
    """Return the sums over all bands in one order, those of a superband first; ``sum`` has another for one column.

    `superbands` (m,), ascending, says which one each row of sums (m, q) is of; by default they follow one another.

    >>> added(np.ones((2050, 1))).tolist(), added(np.array([[1.0], [2.0]]), np.array([0, 7])).tolist()
    ([2050.0], [3.0])
    """
    if not len(sums):
        return np.zeros(sums.shape[1])
    ends = range(SUPERBAND, len(sums), SUPERBAND) if superbands is None else np.flatnonzero(np.diff(superbands)) + 1
    each = [np.cumsum(part, axis=0)[-1] for part in np.split(sums, list(ends))]
    total: Floats = np.cumsum(each, axis=0)[-1]
    return total


def _in_ranges(work: Callable[[int, int], object], n: int, *, size: int) -> None:
    threads = thread_count() if size >= _ALONE else 1
    if threads == 1:
        work(0, n)
    else:
        in_threads(work, n, step=BAND * -(-n // (_RANGES * threads * BAND)))


# Kernels work on the rows from `first` to `last`, of which `first` begins a band. Places are unsigned: of a signed one
# Numba asks first whether it counts from the end, which costs three times the loop. What a kernel closes over are
# numbers alone, so that it is found on disk again.


@cache
def _product(width: int, masked: bool) -> Kernel:
    def product(indptr, indices, data, block, halo, out, own, other, a, b, c, sums, first, last):  # type: ignore[no-untyped-def]  # noqa: PLR0912 -- of a version few are left
        q, W, B = np.uint64(1 if width == 1 else block.shape[1]), np.uint64(width), np.uint64(BAND)
        n, end = np.uint64(block.shape[0]), np.uint64(indices.shape[0] - 1)
        for start in range(np.uint64(first), np.uint64(last), np.uint64(_CHUNK)):
            stop = min(start + np.uint64(_CHUNK), np.uint64(last))
            for j in range(np.uint64(0), q, W):
                m = min(q - j, W)
                by, plus = load(a, j, m, width, masked), load(c, j, m, width, masked)
                itself = load(b, j, m, width, masked)
                for i in range(start, stop):
                    at = i * q + j
                    none = zeros(by)
                    s0, s1, s2, s3 = none, none, none, none
                    if width > 1:  # most neighbours of a band are in it, or in the next
                        prefetch(block, at + B * q, width)
                    for k in range(np.uint64(indptr[i]), np.uint64(indptr[i + np.uint64(1)])):
                        if width > 1:  # of a single column they are in the nearest cache, or soon
                            soon = np.uint64(indices[min(k + np.uint64(_AHEAD), end)])
                            if halo is None or soon < n:
                                prefetch(block, soon * q + j, width)
                            else:
                                prefetch(halo, (soon - n) * q + j, width)
                        place = np.uint64(indices[k])
                        if halo is None or place < n:
                            entry = load(block, place * q + j, m, width, masked)
                        else:
                            entry = load(halo, (place - n) * q + j, m, width, masked)
                        s0, s1, s2, s3 = s1, s2, s3, fma(data[k], entry, s0)
                    total = none
                    if own is not None:  # first: of a residual this is the difference of two nearly equal numbers
                        total = fma(itself, load(own, at, m, width, masked), none)
                    total = fma(by, add(add(s0, s1), add(s2, s3)), total)
                    if other is not None:
                        total = fma(plus, load(other, at, m, width, masked), total)
                    store(out, at, m, masked, total)
                if sums.shape[0] > 0:
                    at = start // B * q + j
                    t0 = load(sums, at, m, width, masked)
                    t1, t2, t3 = zeros(t0), zeros(t0), zeros(t0)
                    for i in range(start, stop):
                        x = widened(load(block, i * q + j, m, width, masked))
                        y = widened(load(out, i * q + j, m, width, masked))
                        t0, t1, t2, t3 = t1, t2, t3, fma(x, y, t0)
                    store(sums, at, m, masked, add(add(t0, t1), add(t2, t3)))

    return compiled(product)


@cache
def _axpy(width: int, masked: bool) -> Kernel:
    def axpy(y, x, factors, sums, first, last):  # type: ignore[no-untyped-def]
        q, W, B = np.uint64(y.shape[1]), np.uint64(width), np.uint64(BAND)
        for start in range(np.uint64(first), np.uint64(last), B):
            stop = min(start + B, np.uint64(last))
            for j in range(np.uint64(0), q, W):
                m = min(q - j, W)
                factor, t0 = load(factors, j, m, width, masked), load(sums, start // B * q + j, m, width, masked)
                t1, t2, t3 = zeros(t0), zeros(t0), zeros(t0)
                for i in range(start, stop):
                    at = i * q + j
                    value = fma(factor, load(x, at, m, width, masked), load(y, at, m, width, masked))
                    store(y, at, m, masked, value)
                    t0, t1, t2, t3 = t1, t2, t3, fma(widened(value), widened(value), t0)
                store(sums, start // B * q + j, m, masked, add(add(t0, t1), add(t2, t3)))

    return compiled(axpy)


@cache
def _advance(width: int, masked: bool) -> Kernel:
    def advance(x, p, z, step, ratio, first, last):  # type: ignore[no-untyped-def]
        q, W, some = np.uint64(x.shape[1]), np.uint64(width), np.uint64(_CHUNK)
        for start in range(np.uint64(first), np.uint64(last), some):
            stop = min(start + some, np.uint64(last))
            for j in range(np.uint64(0), q, W):
                m = min(q - j, W)
                forward, turn = load(step, j, m, width, masked), load(ratio, j, m, width, masked)
                for i in range(start, stop):
                    at = i * q + j
                    way = load(p, at, m, width, masked)
                    store(x, at, m, masked, fma(forward, way, load(x, at, m, width, masked)))
                    store(p, at, m, masked, fma(turn, way, load(z, at, m, width, masked)))

    return compiled(advance)


@cache
def _dots(width: int, masked: bool) -> Kernel:
    def dots(x, y, sums, first, last):  # type: ignore[no-untyped-def]
        q, W, B = np.uint64(x.shape[1]), np.uint64(width), np.uint64(BAND)
        for start in range(np.uint64(first), np.uint64(last), B):
            stop = min(start + B, np.uint64(last))
            for j in range(np.uint64(0), q, W):
                m = min(q - j, W)
                t0 = load(sums, start // B * q + j, m, width, masked)
                t1, t2, t3 = zeros(t0), zeros(t0), zeros(t0)
                for i in range(start, stop):
                    one = widened(load(x, i * q + j, m, width, masked))
                    other = widened(load(y, i * q + j, m, width, masked))
                    t0, t1, t2, t3 = t1, t2, t3, fma(one, other, t0)
                store(sums, start // B * q + j, m, masked, add(add(t0, t1), add(t2, t3)))

    return compiled(dots)


@cache
def _sizes(width: int, masked: bool) -> Kernel:
    def sizes(block, inverse, sums, largest, first, last):  # type: ignore[no-untyped-def]
        q, W, B = np.uint64(block.shape[1]), np.uint64(width), np.uint64(BAND)
        for start in range(np.uint64(first), np.uint64(last), B):
            stop = min(start + B, np.uint64(last))
            for j in range(np.uint64(0), q, W):
                m, at = min(q - j, W), start // B * q + j
                t0 = load(sums, at, m, width, masked)
                none = zeros(t0)
                t1, t2, t3, beside, plain = none, none, none, none, none
                for i in range(start, stop):
                    value = widened(load(block, i * q + j, m, width, masked))
                    t0, t1, t2, t3 = t1, t2, t3, fma(value, value, t0)
                    plain = larger(plain, value)
                    beside = larger(beside, fma(inverse[i], value, none))
                store(sums, at, m, masked, add(add(t0, t1), add(t2, t3)))
                store(largest, at + start // B * q, m, masked, beside)
                store(largest, at + start // B * q + q, m, masked, plain)

    return compiled(sizes)
