"""Rows as they are stored: in which dtypes they may stay, how others join them, and where their centre is.

In: rows (n, d). Out: rows of another dtype, without loss or as bytes that keep directions; or a centre (d,). float32
holds every number of float16, int8 and uint8, so that what is computed of such rows has the bits that a float32 copy of
them would give.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from manifold._typing import AnyArray

STORED = tuple(np.dtype(name) for name in ("float32", "float16", "int8", "uint8"))
_TOGETHER = 1 << 20  # numbers that become bytes at a time
_SAMPLE = 1024  # points whose median is asked whether the mean is among them
_DRAWN = 8  # distances of a usual point from the median, beyond which the mean is not


def stored_as(X: NDArray[np.float32], dtype: np.dtype[np.generic]) -> AnyArray:
    """Return rows in a dtype of `STORED`, without loss.

    Raises
    ------
    ValueError
        Where it cannot hold their numbers.

    Examples
    --------
    >>> stored_as(np.array([[1, 2]], np.float32), np.dtype("int8")).tolist()
    [[1, 2]]
    """
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        stored: AnyArray = X.astype(dtype, copy=False)
    lost = np.flatnonzero((stored != X).any(axis=1))
    if lost.size:
        raise ValueError(
            f"X holds numbers that {dtype}, as which the points are stored, does not, first in row {lost[0]}: "
            f"store them so, X.astype({dtype.name!r}), or fit to float32"
        )
    return stored


def bytes_by_row(X: AnyArray) -> NDArray[np.int8]:
    """Return rows as int8, each at a scale of its own: its largest number becomes 127.

    Made block by block, so that of float32 nothing of the size of X is made.

    >>> bytes_by_row(np.array([[0.5, -1.0], [0.0, 0.0]], np.float32)).tolist()
    [[64, -127], [0, 0]]
    """
    made, step = np.empty(X.shape, np.int8), max(1, _TOGETHER // X.shape[1])
    for start in range(0, len(X), step):
        rows = X[start : start + step].astype(np.float64)  # 127 / 1e-38 is no float32
        largest = np.abs(rows).max(axis=1, initial=0, keepdims=True)
        rows *= np.divide(127, largest, out=np.zeros_like(largest), where=largest > 0)
        made[start : start + step] = np.rint(rows)
    return made


def centre_of(X: AnyArray, *, most: int) -> NDArray[np.float32]:
    """Return the mean of rows (n, d), or where a few far ones draw it away from the others, a median of `most` numbers.

    >>> centre_of(np.array([[3, 4], [1, 2]], np.uint8), most=1 << 20).tolist()
    [2.0, 3.0]
    """
    n, d = X.shape
    centre: NDArray[np.float32] = X.mean(axis=0, dtype=np.float64).astype(np.float32)
    some = X[:: -(-n // max(1, min(_SAMPLE, most // d)))].astype(np.float64)
    median = np.median(some, axis=0)
    usual = float(np.median(np.sqrt(((some - median) ** 2).sum(axis=1))))
    drawn = float(np.sqrt(((centre - median) ** 2).sum()))
    return median.astype(np.float32) if drawn > _DRAWN * usual > 0 else centre
