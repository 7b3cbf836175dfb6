"""The product of a large sparse matrix with one vector, by ranges of rows on the threads of this process."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold.backends._threads import in_threads

_RANGES = 4
_ALONE = 1 << 18  # entries below which one thread is done sooner


class SplitRows:
    """A CSR matrix cut into ranges of rows of about as many entries; SciPy's product lets other threads run.

    >>> S = SplitRows(sparse.csr_array(np.eye(3)))
    >>> (S @ np.arange(3.0)).tolist()
    [0.0, 1.0, 2.0]
    """

    def __init__(self, matrix: sparse.csr_array) -> None:
        self.dtype, self.n = matrix.dtype, matrix.shape[0]
        count = _RANGES if matrix.nnz > _ALONE else 1
        cuts = np.searchsorted(matrix.indptr, np.linspace(0, matrix.nnz, count + 1)[1:-1])
        ends = [0, *(int(cut) for cut in cuts), self.n]
        self._parts = [(slice(i, j), _narrow(matrix[i:j])) for i, j in pairwise(ends)]

    def __matmul__(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the product with a vector (n,); its bits are those of the whole matrix."""
        out = np.empty(self.n, dtype=np.result_type(self.dtype, x.dtype))

        def work(start: int, stop: int) -> None:
            for rows, part in self._parts[start:stop]:
                out[rows] = part @ x

        in_threads(work, len(self._parts), step=1)
        return out


def _narrow(matrix: sparse.csr_array) -> sparse.csr_array:
    """Return the matrix with 32-bit indices: slicing has widened them."""
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    return matrix
