"""Inner products with one order of summation, which compiled code can follow to the last bit.

Products of float32 are exact in float64, and are added up there: entry j to sum j mod 32, then the sums in halves.
"""

from __future__ import annotations

import numpy as np

from manifold._typing import AnyArray

LANES = 32


@np.errstate(under="ignore")  # a product too small for float32 is 0
def row_dots(x: AnyArray, y: AnyArray) -> AnyArray:
    """Return the inner products over the last axis of arrays that broadcast, in the dtype of `x`.

    >>> row_dots(np.ones((2, 40), np.float32), np.arange(40, dtype=np.float32))
    array([780., 780.], dtype=float32)
    """
    wide, other = (np.ascontiguousarray(rows, dtype=np.float64) for rows in (x, y))
    d = x.shape[-1]
    whole = d - d % LANES
    strips, others = (rows[..., :whole].reshape(*rows.shape[:-1], whole // LANES, LANES) for rows in (wide, other))
    sums = np.einsum("...jl,...jl->...l", strips, others)
    sums[..., : d - whole] += wide[..., whole:] * other[..., whole:]
    while sums.shape[-1] > 1:  # in halves, as compiled code adds the lanes of a register
        half = sums.shape[-1] // 2
        sums = sums[..., :half] + sums[..., half:]
    dots: AnyArray = sums[..., 0].astype(x.dtype)
    return dots
