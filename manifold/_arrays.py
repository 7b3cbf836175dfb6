"""The one reader of what users call an array: lists, NumPy of any kind, frames and columns, tensors of the CPU.

In: whatever a user holds. Out: a NumPy array by place, or our words about what it is instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Protocol

import numpy as np
from scipy import sparse

from manifold._columns import FRAMES, Table, read_columns, stacked
from manifold._typing import AnyArray, Floats


class _Tensor(Protocol):
    """What is asked of a tensor of PyTorch."""

    device: object
    dtype: object
    layout: object

    def detach(self) -> _Tensor: ...
    def float(self) -> _Tensor: ...
    def numpy(self) -> AnyArray: ...


def as_array(x: object, name: str) -> AnyArray:
    """Return what a user holds as a NumPy array, by place: labels of rows and indices of series are not looked at.

    Parameters
    ----------
    x : list, array, Series or column, frame, or tensor of the CPU
        Missing numbers of nullable columns come as NaN.
    name : str
        What the caller's argument is called.

    Raises
    ------
    TypeError
        For sparse matrices, ``numpy.matrix``, masked entries, and arrays of a GPU; each with the cure.
    ValueError
        For lists of different lengths.

    Examples
    --------
    >>> import pandas as pd
    >>> as_array(pd.Series([3, 1], index=[9, 4]), "ids").tolist()
    [3, 1]
    """
    if is_frame(x):
        read = read_columns(x, name, texts=True)
        if read is not None:
            return read if isinstance(read, np.ndarray) else read.values
    return _plain(x, name)


def as_numbers(x: object, name: str) -> Floats:
    """Return real numbers of any shape as float64, read by place; a missing one is NaN.

    Raises
    ------
    TypeError
        As `as_array`, and for what holds no numbers: texts that look like some are none.

    Examples
    --------
    >>> as_numbers([[1, None]], "scores").tolist()
    [[1.0, nan]]
    """
    values = as_array(x, name)
    if values.dtype.kind == "O" and all(value is None or isinstance(value, Real) for value in values.flat):
        values = values.astype(np.float64)
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {values.dtype}: convert them to float64")
    return values.astype(np.float64, copy=False)


def as_integers(x: object, name: str) -> AnyArray:
    """Return whole numbers of any shape in their own dtype, read by place; floats are refused even when whole.

    Raises
    ------
    TypeError
        As `as_array`, and for what holds no integers; a missing one makes floats of all others.

    Examples
    --------
    >>> as_integers([[2, -1]], "ids").tolist(), as_integers([], "ids").dtype
    ([[2, -1]], dtype('int64'))
    """
    values = as_array(x, name)
    if values.dtype.kind == "O" and all(isinstance(value, Integral) for value in values.flat):
        values = np.array(values.tolist()).reshape(values.shape)
    if not values.size:
        return values.astype(np.int64)
    if values.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, got dtype {values.dtype}: convert them to int64")
    return values


def as_table(x: object, name: str) -> Table:
    """Return numbers (n, d) with the names of their columns; a column of lists is a table of its own.

    Raises
    ------
    TypeError
        As `as_array`; and for columns that hold no numbers, naming them.

    Examples
    --------
    >>> import pandas as pd
    >>> as_table(pd.DataFrame({"b": [1, 2], "a": [0.5, 0.25]}), "X").names
    ('b', 'a')
    >>> as_table(pd.DataFrame({"embedding": [[1.0, 2.0], [3.0, 4.0]]}), "X").values.tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    if isinstance(x, Table):  # read already
        return x
    read = read_columns(x, name) if is_frame(x) else None
    if isinstance(read, Table):
        return read
    values = _plain(x, name) if read is None else read
    if values.dtype == object and values.ndim == 1 and values.size and np.ndim(values[0]) == 1:
        values = stacked(values, name)
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {values.dtype}: convert it to float32")
    return Table(values)


def is_tensor(x: object) -> bool:
    """Return whether x is a tensor of PyTorch, without importing it.

    >>> is_tensor([1.0])
    False
    """
    return _package(x) == "torch"


def is_frame(x: object) -> bool:
    """Return whether x is of a library of frames and columns.

    >>> is_frame([1.0])
    False
    """
    return _package(x) in FRAMES


def _package(x: object) -> str:
    return type(x).__module__.partition(".")[0]


def _plain(x: object, name: str) -> AnyArray:
    """Return what is no frame as an array, or say why not."""
    if sparse.issparse(x):
        raise TypeError(
            f"{name} is a sparse {type(x).__name__}, where a dense array is needed: reduce it "
            f"(sklearn.decomposition.TruncatedSVD) or pass {name}.toarray()"
        )
    if isinstance(x, np.matrix):
        raise TypeError(f"{name} is a numpy.matrix: pass numpy.asarray({name})")
    if isinstance(x, np.ma.MaskedArray):
        if np.ma.is_masked(x):
            raise TypeError(f"{name} is a masked array with masked entries: fill them, {name}.filled(...), first")
        x = x.data
    if isinstance(x, Iterator):
        raise TypeError(f"{name} is an iterator, where all of it is needed at once: pass list({name})")
    package = _package(x)
    if package in FRAMES and hasattr(x, "collect"):
        raise TypeError(f"{name} is a lazy frame: pass {name}.collect()")
    if package == "cupy":
        raise TypeError(f"{name} lives on a GPU but the work was asked for on the CPU: pass {name}.get()")
    if package == "torch":
        return _of_tensor(x, name)  # type: ignore[arg-type]  # known by its package: nothing is imported to ask
    try:
        array: AnyArray = np.asarray(x)
    except ValueError:  # rows of different lengths
        raise ValueError(f"{name} holds rows of different lengths: pad or cut them to one") from None
    return array


def _of_tensor(x: _Tensor, name: str) -> AnyArray:
    """Return a tensor's numbers: gradients are left behind, and bfloat16, which NumPy has not, becomes float32."""
    if str(x.device) == "meta":
        raise TypeError(f"{name} is a tensor of the meta device, which holds no numbers: load its values first")
    if str(x.device) != "cpu":
        raise TypeError(f"{name} lives on {x.device} but the work was asked for on the CPU: pass {name}.cpu()")
    if str(x.layout) != "torch.strided":
        raise TypeError(f"{name} is a sparse tensor, where a dense array is needed: pass {name}.to_dense()")
    x = x.detach()
    return (x.float() if str(x.dtype) == "torch.bfloat16" else x).numpy()
