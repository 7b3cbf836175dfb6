"""The one reader of what users call an array: lists, NumPy of any kind, frames and columns, tensors of the CPU.

In: whatever a user holds. Out: a NumPy array by place, or our words about what it is instead. Frames and columns of
pandas, polars and Arrow are read through narwhals, which knows the missing values and list columns of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from scipy import sparse

from manifold._typing import AnyArray

if TYPE_CHECKING:
    from narwhals.stable.v2 import Series

    _Column: TypeAlias = Series[Any]

_FRAMES = ("pandas", "polars", "pyarrow", "modin", "narwhals")


class Table(NamedTuple):
    """Numbers (n, d), and the names of their columns where they had some."""

    values: AnyArray
    names: tuple[str, ...] | None = None


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
    if _package(x) in _FRAMES:
        read = _read_columns(x, name)
        if read is not None:
            return read if isinstance(read, np.ndarray) else read.values
    return _plain(x, name)


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
    read = _read_columns(x, name) if _package(x) in _FRAMES else None
    if isinstance(read, Table):
        return read
    values = _plain(x, name) if read is None else read
    if values.dtype == object and values.ndim == 1 and values.size and np.ndim(values[0]) == 1:
        values = _stacked(values, name)
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {values.dtype}: convert it to float32")
    return Table(values)


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
    package = _package(x)
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
    if str(x.device) != "cpu":
        raise TypeError(f"{name} lives on {x.device} but the work was asked for on the CPU: pass {name}.cpu()")
    if str(x.layout) != "torch.strided":
        raise TypeError(f"{name} is a sparse tensor, where a dense array is needed: pass {name}.to_dense()")
    x = x.detach()
    return (x.float() if str(x.dtype) == "torch.bfloat16" else x).numpy()


def _read_columns(x: object, name: str) -> AnyArray | Table | None:
    """Return a column as an array, a frame as a table; None for what narwhals does not know."""
    import narwhals.stable.v2 as nw

    native = nw.from_native(x, eager_only=True, allow_series=True, pass_through=True)
    if isinstance(native, nw.Series):
        return _of_column(native, name)
    if not isinstance(native, nw.DataFrame):
        return None
    columns = list(native.iter_columns())
    lists = [c for c in columns if _holds_lists(c)]
    if len(columns) == 1 and lists:
        return Table(_stacked(lists[0].to_numpy(), name))
    wrong = [c for c in columns if not (c.dtype.is_numeric() or c.dtype == nw.Boolean) or c.dtype == nw.Decimal]
    if lists:
        raise TypeError(
            f"{name} has a column of lists, {lists[0].name!r}, beside others: pass {name}[{lists[0].name!r}]"
        )
    if wrong:
        named = ", ".join(f"{c.name!r} ({c.dtype})" for c in wrong[:5])
        raise TypeError(f"{name} must hold real numbers, and has {len(wrong)} other columns, {named}: leave them out")
    values = [_of_column(c, name) for c in columns]
    dtype = np.result_type(*(v.dtype for v in values)) if values else np.dtype(np.float64)
    table = np.column_stack(values).astype(dtype, copy=False) if values else np.empty((len(native), 0))
    return Table(table, tuple(str(column) for column in native.columns))


def _of_column(column: _Column, name: str) -> AnyArray:
    values: AnyArray = column.to_numpy()
    if values.dtype == object and _holds_lists(column):
        return _stacked(values, name)
    return values


def _holds_lists(column: _Column) -> bool:
    kind = str(column.dtype).partition("(")[0]
    if kind != "Object":
        return kind in ("List", "Array")
    values = column.to_numpy()  # pandas keeps lists as objects
    return bool(values.size) and isinstance(values[0], list | tuple | np.ndarray)


def _stacked(rows: AnyArray, name: str) -> AnyArray:
    """Return vectors that stand in a column as rows (n, d)."""
    lengths = {np.shape(row) for row in rows}
    if len(lengths) > 1:
        raise ValueError(f"{name} holds rows of different lengths: pad or cut them to one")
    return np.stack([np.asarray(row) for row in rows])
