"""What comes in at the doors: features, ids and counts are checked once, here, before any work.

In: whatever a user calls an array. Out: float32 rows, or an error that names argument, value and cure.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._resources import require_memory
from manifold.errors import warn

_CHECK_BYTES = 1 << 24  # rows are looked at in blocks of this size, so that a memmap is never loaded whole
_LARGE_CAST = 1 << 30


def check_count(value: Any, name: str, *, minimum: int = 1) -> int:
    """Return `value` as an int; floats are refused even when they are whole.

    >>> check_count(np.int64(10), "n_neighbors")
    10
    """
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        count = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name} must be an integer, got {value!r} of type {type(value).__name__}: write {name}=10, say"
        ) from None
    if count < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {count}")
    return count


def check_stopping(rtol: float, max_iter: Any = None) -> None:
    """Raise for a relative tolerance outside (0, 1), or a limit of iterations that is no positive integer.

    >>> check_stopping(1e-3, 20)
    """
    if not 0 < rtol < 1:
        raise ValueError(f"rtol must lie in (0, 1), got {rtol!r}: 1e-3 for rankings, 1e-10 for values")
    if max_iter is not None:
        check_count(max_iter, "max_iter")


def check_features(X: Any, name: str = "X") -> NDArray[np.float32]:
    """Return finite (n, d) float32 rows; a float32 array or memmap comes back as it is, without a copy.

    Parameters
    ----------
    X : array-like (n, d)
        Numbers; frames of pandas, polars and Arrow, lists of lists and CPU tensors are converted.

    Raises
    ------
    TypeError
        For sparse, masked, matrix, complex, object and string input, and arrays of a GPU.
    ValueError
        For a wrong number of dimensions, no points, no columns, NaN, infinity, or values beyond float32.
    """
    rows = _as_array(X, name)
    if rows.ndim != 2:
        hint = "X.reshape(1, -1) is one point, X.reshape(-1, 1) is one column"
        raise ValueError(f"{name} must have 2 dimensions (points, features), got shape {rows.shape}: {hint}")
    if rows.shape[0] == 0:
        raise ValueError(f"{name} holds no points: its shape is {rows.shape}")
    return _finite_float32(rows, name)


def check_queries(Q: Any, n_features: int, name: str = "Q") -> tuple[NDArray[np.float32], bool]:
    """Return finite (q, d) float32 rows and whether one 1-D query was given; q = 0 is allowed."""
    rows = _as_array(Q, name)
    single = rows.ndim == 1
    if single:
        rows = rows[None, :]
    if rows.ndim != 2 or rows.shape[1] != n_features:
        raise ValueError(f"{name} must have the {n_features} features of the fitted points, got shape {np.shape(Q)}")
    return _finite_float32(rows, name), single


def _as_array(X: Any, name: str) -> NDArray[Any]:
    if sparse.issparse(X):
        raise TypeError(
            f"{name} is a sparse {type(X).__name__}; every metric (cosine, inner_product, euclidean) needs "
            f"dense features: reduce it (sklearn.decomposition.TruncatedSVD) or pass {name}.toarray()"
        )
    if isinstance(X, np.matrix):
        raise TypeError(f"{name} is a numpy.matrix: pass numpy.asarray({name})")
    if isinstance(X, np.ma.MaskedArray):
        if np.ma.is_masked(X):
            raise TypeError(f"{name} is a masked array with masked entries: fill them, {name}.filled(...), first")
        X = X.data
    if type(X).__module__.split(".")[0] == "cupy":
        raise TypeError(f"{name} lives on a GPU but the work was asked for on the CPU: pass {name}.get()")
    try:
        rows = np.asarray(X)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{name} is no array of numbers: {error}") from None
    if rows.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {rows.dtype}: convert it to float32")
    return rows


def _finite_float32(rows: NDArray[Any], name: str) -> NDArray[np.float32]:
    n, d = rows.shape
    if d == 0:
        raise ValueError(f"{name} has no features: its shape is {rows.shape}")
    if rows.dtype == np.float16 and rows.nbytes > _LARGE_CAST:
        warn(f"{name} is float16: its float32 copy takes {rows.nbytes / 2**29:.1f} GiB")
    if rows.dtype.kind == "f" and (not rows.dtype.isnative or rows.dtype.itemsize > 8):
        warn(f"{name} has dtype {rows.dtype.str}: it is computed with as float32")
    if rows.dtype == np.float32 and rows.dtype.isnative:
        out = rows
    else:
        require_memory(4 * n * d, purpose=f"a float32 copy of {name}", cure="store it as float32, read in place")
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            out = rows.astype(np.float32)
    step = max(1, _CHECK_BYTES // (4 * d))
    bad = [start + np.flatnonzero(~np.isfinite(out[start : start + step]).all(axis=1)) for start in range(0, n, step)]
    where = np.concatenate(bad) if bad else np.empty(0, dtype=np.int64)
    if where.size:
        if np.isfinite(rows[where[0]]).all():
            raise ValueError(f"{name} row {where[0]} exceeds float32 (3.4e38), as do {where.size - 1} more: rescale it")
        raise ValueError(
            f"{name} holds NaN or infinity in {where.size} of {n} rows, first in row {where[0]}: "
            "drop or impute them, for example X[numpy.isfinite(X).all(axis=1)]"
        )
    return out
