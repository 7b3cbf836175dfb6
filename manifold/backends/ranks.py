"""A backend of one process among several: each holds rows of S and of every block, and all of them run one solver.

In: rows of a matrix with global columns, an exchange with the other ranks. Out: products whose block is completed by
the rows that other ranks own (the halo), sums that are the same numbers, in the same order, on every rank.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

import numpy as np
from scipy import sparse

from manifold._typing import AnyArray, Floats, Ints
from manifold.backends import _numba
from manifold.backends._scipy import ScipyBackend
from manifold.backends.exchange import Arrays, Exchange


def even_cuts(n_rows: int, n_ranks: int) -> Ints:
    """Return where the rows of each rank begin, and where the last ones end: (n_ranks + 1,), at ends of bands.

    >>> even_cuts(10_000, 2).tolist(), even_cuts(100, 2).tolist()
    ([0, 4096, 10000], [0, 0, 100])
    """
    bands = -(-n_rows // _numba.BAND)
    cuts: Ints = np.minimum(np.arange(n_ranks + 1) * bands // n_ranks * _numba.BAND, n_rows)
    return cuts


class RankBackend(ScipyBackend):
    """The compiled kernels on rows ``cuts[rank]`` to ``cuts[rank + 1]`` of blocks that no process holds whole.

    Products take the matrix that `place` returns. A sum over rows is that of bands of 2,048 rows, added in their order
    by every rank, as one process adds them: the same bits for any number of ranks. Other reductions over rows, which
    `xp` offers, are of this rank's rows alone, and no iteration needs one. Reference: guide *cluster*, "What a worker
    does".

    Parameters
    ----------
    exchange : Exchange
    cuts : (n_ranks + 1,) int
        Where the rows of each rank begin; multiples of 2,048, but for the last.

    Raises
    ------
    ValueError
        For other cuts.

    Examples
    --------
    >>> from manifold.backends.exchange import Alone
    >>> backend = RankBackend(Alone(), even_cuts(3, 1))
    >>> path = backend.place(sparse.csr_array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]))
    >>> backend.spmm(path, np.array([[1.0], [2.0], [4.0]])).ravel().tolist()
    [2.0, 5.0, 2.0]
    """

    name = "ranks"

    def __init__(self, exchange: Exchange, cuts: Ints) -> None:
        uneven = cuts[1:-1][cuts[1:-1] < cuts[-1]] % _numba.BAND
        if cuts.size != exchange.n_ranks + 1 or cuts[0] or (np.diff(cuts) < 0).any() or uneven.any():
            raise ValueError(f"cuts must ascend from 0 by multiples of {_numba.BAND}, one a rank, got {cuts.tolist()}")
        self.exchange, self.cuts = exchange, cuts
        self.first, self.last = int(cuts[exchange.rank]), int(cuts[exchange.rank + 1])
        self._others = [rank for rank in range(exchange.n_ranks) if rank != exchange.rank]
        pieces = [_superbands(int(start), int(stop)) for start, stop in pairwise(cuts)]
        self._superbands = np.concatenate(pieces)  # of the rows that all ranks send of a sum
        self._sends: dict[int, Ints] = {}
        self._places: dict[int, slice] = {}
        self._halo = np.empty((0, 0))  # of the last product, whose memory the next one takes
        self.sent = 0  # bytes, since this backend was made

    def place(self, rows: sparse.csr_array) -> sparse.csr_array:
        """Return own rows (m, n) with columns as a product meets them: own ones, then the halo; tell ranks what it is.

        >>> from manifold.backends.exchange import Alone
        >>> backend = RankBackend(Alone(), even_cuts(2, 1))
        >>> backend.place(sparse.csr_array([[0.0, 2.0], [2.0, 0.0]])).toarray()[0].tolist()
        [0.0, 2.0]
        """
        own, columns = self.last - self.first, rows.indices
        outside = (columns < self.first) | (columns >= self.last)
        halo = np.unique(columns[outside])
        ends = np.searchsorted(halo, self.cuts)
        asked = {rank: halo[ends[rank] : ends[rank + 1]] for rank in self._others}
        self._places = {r: slice(int(ends[r]), int(ends[r + 1])) for r in asked if ends[r + 1] > ends[r]}
        wanted = self._swap(asked, self._others)
        self._sends = {rank: (ids - self.first).astype(np.intp) for rank, ids in wanted.items() if ids.size}
        # entries keep their order, that of the columns of the whole matrix: so do the sums that a product is made of
        local = columns - columns.dtype.type(self.first)
        local[outside] = own + np.searchsorted(halo, columns[outside])
        narrow = np.int32 if max(rows.nnz, own + halo.size) < 2**31 else np.int64
        parts = (rows.data, *(ids.astype(narrow, copy=False) for ids in (local, rows.indptr)))
        return sparse.csr_array(parts, shape=(own, own + halo.size))

    @property
    def halo(self) -> int:
        """How many rows of other ranks a product takes."""
        return sum(place.stop - place.start for place in self._places.values())

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
        """Return own rows of ``a matrix @ block + b block + c other``; all ranks call it at once.

        >>> from manifold.backends.exchange import Alone
        >>> RankBackend(Alone(), even_cuts(1, 1)).spmm(sparse.csr_array([[2.0]]), np.array([[1.0]]), b=1.0).tolist()
        [[3.0]]
        """
        halo = self._arrived(block) if self._others else None
        return _numba.spmm(matrix, block, a=a, b=b, c=c, other=other, dots=dots, out=out, halo=halo, total=self._total)

    def _arrived(self, block: AnyArray) -> AnyArray:
        """Return the halo of a block, whose rows go to the ranks that have them in theirs."""
        sent = {rank: np.take(block, ids, axis=0) for rank, ids in self._sends.items()}
        arrived, shape = self._swap(sent, self._places.keys()), (self.halo, block.shape[1])
        if len(arrived) == 1:  # of one other rank: it is the halo; kernels have one version for arrays to write to
            (only,) = arrived.values()
            return np.require(only, requirements=("C", "W"))
        if self._halo.shape != shape or self._halo.dtype != block.dtype:
            self._halo = np.empty(shape, dtype=block.dtype)
        for rank, place in self._places.items():
            self._halo[place] = arrived[rank]
        return self._halo

    def axpy(self, y: AnyArray, x: AnyArray, factors: AnyArray | float) -> Floats:
        """Add ``factors x`` to y, and return the squared lengths of its whole columns."""
        return _numba.axpy(y, x, factors, total=self._total)

    def advance(
        self, x: AnyArray, p: AnyArray, z: AnyArray, *, step: AnyArray | float, ratio: AnyArray | float
    ) -> None:
        """Add ``step p`` to x, and turn p to ``z + ratio p``."""
        _numba.advance(x, p, z, step=step, ratio=ratio)

    def column_dots(self, x: AnyArray, y: AnyArray) -> Floats:
        """Return the inner products of whole columns.

        >>> from manifold.backends.exchange import Alone
        >>> RankBackend(Alone(), even_cuts(1, 1)).column_dots(np.array([[2.0]]), np.array([[3.0]])).tolist()
        [6.0]
        """
        return _numba.column_dots(x, y, total=self._total)

    def column_sizes(self, block: AnyArray, weights: Floats) -> Floats:
        """Return the sum of squares, the largest size beside the weights and the largest size of whole columns."""
        sizes = _numba.column_sizes(block, weights, total=self._total)
        sizes[1:] = np.max(self._gathered(sizes[1:]), axis=0)
        return sizes

    def block_width(self, n_rows: int, n_columns: int) -> int:
        """Return `n_columns`: a column more costs a message of its rows.

        >>> from manifold.backends.exchange import Alone
        >>> RankBackend(Alone(), even_cuts(1, 1)).block_width(1 << 20, 3)
        3
        """
        return n_columns

    def _total(self, sums: Floats) -> Floats:
        """Return the sum over the bands of all ranks; what is sent of a whole superband is its sum."""
        groups = _superbands(self.first, self.last, whole=False)
        keep = np.flatnonzero(np.diff(groups, prepend=-1))
        parts = np.split(sums, keep[1:]) if len(sums) else []
        full = [len(part) == _numba.SUPERBAND for part in parts]
        rows = [_numba.added(part)[None] if whole else part for part, whole in zip(parts, full, strict=True)]
        return _numba.added(np.concatenate(self._gathered(np.concatenate([sums[:0], *rows]))), self._superbands)

    def _gathered(self, part: AnyArray) -> list[AnyArray]:
        """Return the parts of all ranks, in their order."""
        arrived = {**self._swap(dict.fromkeys(self._others, part), self._others), self.exchange.rank: part}
        return [arrived[rank] for rank in sorted(arrived)]

    def _swap(self, parts: Arrays, sources: Collection[int]) -> Arrays:
        self.sent += sum(part.nbytes for part in parts.values())
        return self.exchange.swap(parts, sources)


def _superbands(start: int, stop: int, *, whole: bool = True) -> Ints:
    """Return the superband of each row that is sent of a sum over rows: one of each `whole` superband, or all bands."""
    bands = range(start // _numba.BAND, -(-stop // _numba.BAND)) if start < stop else range(0)
    groups = np.array(bands, dtype=np.int64) // _numba.SUPERBAND
    if not whole:
        return groups
    _, counts = np.unique(groups, return_counts=True)
    return np.repeat(np.unique(groups), np.where(counts == _numba.SUPERBAND, 1, counts))
