"""How many listings are returned: lists of neighbours in, two counts out."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

_MANY = 1 << 18  # listings from which on it is worth while to load a compiler


def returned_listings(ids: NDArray[np.int32]) -> tuple[int, int]:
    """Return how many listings (n, k) there are, and of how many the other side lists this one; -1 pads.

    Cost: n k^2 comparisons.

    >>> returned_listings(np.array([[1], [0], [0]], np.int32))
    (3, 2)
    """
    if ids.size > _MANY and find_spec("numba") is not None:
        from manifold.backends.compiled_edges import returned

        return int((ids >= 0).sum()), int(returned(ids))
    n, k = ids.shape
    rows, columns = np.repeat(np.arange(n), k)[ids.ravel() >= 0], ids[ids >= 0].astype(np.int64)
    both = np.intersect1d(rows * n + columns, columns * n + rows, assume_unique=True)
    return rows.size, both.size
