"""What comes in at the doors: features, ids and counts are checked once, here, before any work.

In: whatever a user calls an array. Out: float32 rows, or an error that names argument, value and cure.
"""

from __future__ import annotations

import operator
from numbers import Real
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from manifold._arrays import as_table
from manifold._resources import require_memory
from manifold._typing import AnyArray, Floats
from manifold.errors import warn

_CHECK_BYTES = 1 << 24  # rows are looked at in blocks of this size, so that a memmap is never loaded whole
_LARGE_CAST = 1 << 30
_COMPACT = tuple(np.dtype(name) for name in ("float16", "int8", "uint8"))  # float32 holds each of their numbers
_KEPT = 2.0**-20  # what rounding may take from a row, beside the size of the collection


def check_count(value: object, name: str, *, minimum: int = 1) -> int:
    """Return `value` as an int; floats are refused even when they are whole.

    >>> check_count(np.int64(10), "n_neighbors")
    10
    """
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        count = operator.index(value)  # type: ignore[arg-type]  # what is no integer raises TypeError
    except TypeError:
        raise TypeError(
            f"{name} must be an integer, got {value!r} of type {type(value).__name__}: write {name}=10, say"
        ) from None
    if count < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {count}")
    return count


def check_can(value: object, *methods: str, name: str, a: str) -> None:
    """Raise TypeError for what has not the methods of a kind of object, or is a class of it; `a` says which kind.

    >>> check_can({}, "keys", name="settings", a="a mapping")
    """
    if isinstance(value, type):
        raise TypeError(f"{name} must be {a}, got the class {value.__name__}: call it, {value.__name__}(...)")
    # a property that raises where nothing is fitted is there
    missing = [method for method in methods if not (hasattr(type(value), method) or hasattr(value, method))]
    if missing:
        raise TypeError(f"{name} must be {a}, got {type(value).__name__}, which has no {missing[0]!r}")


def check_random_state(value: object, name: str = "random_state") -> None:
    """Raise for what seeds no generator of random numbers; Generators, integers >= 0 and None do.

    >>> check_random_state(7)
    """
    generator(value, name)


def generator(value: object, name: str = "random_state") -> np.random.Generator:
    """Return the generator of random numbers that a `random_state` means: itself, one that is seeded, or a new one.

    Raises
    ------
    TypeError, ValueError
        For what seeds none.

    Examples
    --------
    >>> generator(7).integers(100), generator(7).integers(100)
    (np.int64(94), np.int64(94))
    """
    try:
        return np.random.default_rng(value)  # type: ignore[arg-type]  # what it does not know is refused below
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{name} must be an integer >= 0, a numpy.random.Generator or None, got {value!r}: write {name}=0, say"
        ) from None


def check_number(value: object, name: str) -> float:
    """Return `value` as a float; raise TypeError for what is no real number.

    >>> check_number(np.float32(0.5), "threshold")
    0.5
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r} of type {type(value).__name__}: write {name}=0.5, say")
    return float(value)


def check_callback(callback: object) -> None:
    """Raise TypeError for a `callback` that cannot be called.

    >>> check_callback(print)
    """
    if not (callback is None or callable(callback)):
        raise TypeError(f"callback must be callable(Snapshot) or None, got {callback!r}: lambda shown: None, say")


def check_stopping(rtol: float, max_iter: object = None) -> None:
    """Raise for a relative tolerance outside (0, 1), or a limit of iterations that is no positive integer.

    >>> check_stopping(1e-3, 20)
    """
    if not 0 < rtol < 1:
        raise ValueError(f"rtol must lie in (0, 1), got {rtol!r}: 1e-3 for rankings, 1e-10 for values")
    if max_iter is not None:
        check_count(max_iter, "max_iter")


class Features(NamedTuple):
    """Finite rows, the names of their columns, and what was taken from every row before it was rounded."""

    rows: AnyArray
    names: tuple[str, ...] | None = None
    offset: Floats | None = None


def check_features(X: object, name: str = "X") -> NDArray[np.float32]:
    """Return finite (n, d) float32 rows; a float32 array or memmap comes back as it is, without a copy.

    Parameters
    ----------
    X : array-like (n, d)
        Numbers; frames of pandas, polars and Arrow, columns of lists, lists of lists and CPU tensors are converted.

    Raises
    ------
    TypeError
        For sparse, masked, matrix, complex, object and string input, and arrays of a GPU.
    ValueError
        For a wrong number of dimensions, no points, no columns, NaN, infinity, or values beyond float32.

    Examples
    --------
    >>> check_features([[1, 2]]).dtype
    dtype('float32')
    """
    return read_features(X, name).rows


def read_features(X: object, name: str = "X", *, centred: bool = False, compact: bool = False) -> Features:
    """Return the features of a collection, checked, and where they may be `centred`, rounded so that distances stay.

    Rows of float32, and where they may be `compact`, of float16, int8 and uint8, are left where they lie, all others
    are copied as float32.

    Points far from the origin lose in float32 what tells them apart: 1e6 + x is kept to 0.06. Where distances alone
    matter, the mean is then taken away in float64, before rounding.

    Examples
    --------
    >>> far = np.array([[1e9 + 0.25], [1e9 + 0.5]])
    >>> read_features(far, centred=True).rows.ravel().tolist()
    [-0.125, 0.125]
    """
    rows, names = as_table(X, name)
    if rows.ndim != 2:
        hint = "X.reshape(1, -1) is one point, X.reshape(-1, 1) is one column"
        raise ValueError(f"{name} must have 2 dimensions (points, features), got shape {rows.shape}: {hint}")
    if rows.shape[0] == 0:
        raise ValueError(f"{name} holds no points: its shape is {rows.shape}")
    offset = _offset(rows) if centred else None
    if compact and rows.dtype in _COMPACT and rows.dtype.isnative:
        _check_finite(rows, rows, name)
        return Features(rows, names, offset)
    return Features(_finite_float32(rows, name, offset=offset), names, offset)


def check_queries(
    Q: object,
    n_features: int,
    name: str = "Q",
    *,
    names: tuple[str, ...] | None = None,
    offset: Floats | None = None,
) -> tuple[NDArray[np.float32], bool]:
    """Return finite (q, d) float32 rows and whether one 1-D query was given; q = 0 is allowed.

    Parameters
    ----------
    Q : array-like (q, d) or (d,)
    n_features : int
        d of the points that are asked.
    names : tuple of str, optional
        Columns of those points: a frame is put in their order, and refused where it lacks some or has others.
    offset : (d,), optional
        What was taken from those points before they were rounded.

    Examples
    --------
    >>> import pandas as pd
    >>> check_queries(pd.DataFrame({"b": [2.0], "a": [1.0]}), 2, names=("a", "b"))[0].tolist()
    [[1.0, 2.0]]
    """
    rows, found = as_table(Q, name)
    single, shape = rows.ndim == 1, rows.shape
    if single:
        rows = rows[None, :]
    if names is not None and found is not None and rows.ndim == 2:
        rows = _in_order_of(rows, found, names, name)
    if rows.ndim != 2 or rows.shape[1] != n_features:
        raise ValueError(f"{name} must have the {n_features} features of the fitted points, got shape {shape}")
    return _finite_float32(rows, name, offset=offset), single


def _in_order_of(rows: AnyArray, found: tuple[str, ...], names: tuple[str, ...], name: str) -> AnyArray:
    """Return the columns of a frame in the order of those that were fitted."""
    if found == names:
        return rows
    missing, other = [n for n in names if n not in found], [n for n in found if n not in names]
    if missing or other or len(set(found)) != len(found):
        lacks = f"lacks {missing[:5]}" if missing else "has them all"
        raise ValueError(
            f"{name} must have the columns of the fitted points; it {lacks}, and has {other[:5] or 'no'} others: "
            f"pass {name}[{list(names[:3])} ...]"
        )
    return rows[:, [found.index(n) for n in names]]


def _offset(rows: AnyArray) -> Floats | None:
    """Return the mean of rows whose differences float32 would not keep; None where it keeps them, as it mostly does."""
    if rows.dtype.kind not in "iuf" or rows.dtype.itemsize <= 4 or not rows.size:
        return None
    lost = spread = 0.0
    with np.errstate(all="ignore"):  # what is not finite is refused after
        mean = rows.mean(axis=0, dtype=np.float64)
        step = max(1, _CHECK_BYTES // (8 * max(rows.shape[1], 1)))
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            lost = max(lost, float(np.abs(part.astype(np.float32).astype(np.float64) - part).max()))
            spread = max(spread, float(np.abs(part - mean).max()))
    return mean if lost > _KEPT * spread and np.isfinite(mean).all() else None


def _finite_float32(rows: AnyArray, name: str, *, offset: Floats | None = None) -> NDArray[np.float32]:
    n, d = rows.shape
    if rows.dtype == np.float16 and rows.nbytes > _LARGE_CAST:
        warn(f"{name} is float16: its float32 copy takes {rows.nbytes / 2**29:.1f} GiB")
    if rows.dtype.kind == "f" and (not rows.dtype.isnative or rows.dtype.itemsize > 8):
        warn(f"{name} has dtype {rows.dtype.str}: it is computed with as float32")
    if rows.dtype == np.float32 and rows.dtype.isnative and offset is None:
        out = rows
    else:
        require_memory(4 * n * d, purpose=f"a float32 copy of {name}", cure="store it as float32, read in place")
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            out = rows.astype(np.float32) if offset is None else (rows - offset).astype(np.float32)
    _check_finite(out, rows, name)
    return out


def _check_finite(out: AnyArray, rows: AnyArray, name: str) -> None:
    """Raise ValueError where rows (n, d) have no column, or are not finite; `out` is what they became."""
    n, d = rows.shape
    if d == 0:
        raise ValueError(f"{name} has no features: its shape is {rows.shape}")
    if out.dtype.kind != "f":
        return
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
