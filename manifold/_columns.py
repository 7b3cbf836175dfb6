"""Frames and columns of pandas, polars and Arrow -> arrays, through narwhals: missing values and lists are known to it.

In: a frame or a column. Out: numbers by place, with the names of the columns, or our words about what it holds instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from manifold._typing import AnyArray

if TYPE_CHECKING:
    from narwhals.stable.v2 import Series

    _Column: TypeAlias = Series[Any]

FRAMES = ("pandas", "polars", "pyarrow", "modin", "narwhals")  # packages whose objects are asked for columns


class Table(NamedTuple):
    """Numbers (n, d), and the names of their columns where they had some."""

    values: AnyArray
    names: tuple[str, ...] | None = None


def read_columns(x: object, name: str, *, texts: bool = False) -> AnyArray | Table | None:
    """Return a column as an array, a frame as a table; None for what narwhals does not know.

    Columns of a frame hold numbers, or, all of them where `texts` may be, texts.

    >>> import pandas as pd
    >>> read_columns(pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}), "X").values.ravel().tolist()
    [1.0, nan]
    """
    import narwhals.stable.v2 as nw

    try:
        native = nw.from_native(x, eager_only=True, allow_series=True, pass_through=True)
    except nw.exceptions.DuplicateError:
        raise ValueError(f"{name} has two columns of one name: rename one, or pass {name}.to_numpy()") from None
    if isinstance(native, nw.Series):
        return _of_column(native, name)
    if not isinstance(native, nw.DataFrame):
        return None
    columns: list[_Column] = list(native.iter_columns())  # type: ignore[arg-type]  # its stable name for them
    lists = [c for c in columns if _holds_lists(c)]
    if len(columns) == 1 and lists:
        return Table(stacked(lists[0].to_numpy(), name))
    wrong = [c for c in columns if not (c.dtype.is_numeric() or c.dtype == nw.Boolean) or c.dtype == nw.Decimal]
    if lists:
        raise TypeError(
            f"{name} has a column of lists, {lists[0].name!r}, beside others: pass {name}[{lists[0].name!r}]"
        )
    if texts and columns and all(c.dtype == nw.String for c in columns):
        return Table(np.column_stack([c.to_numpy().astype(object) for c in columns]))
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
        return stacked(values, name)
    return values


def _holds_lists(column: _Column) -> bool:
    kind = str(column.dtype).partition("(")[0]
    if kind != "Object":
        return kind in ("List", "Array")
    values = column.to_numpy()  # pandas keeps lists as objects
    return bool(values.size) and isinstance(values[0], list | tuple | np.ndarray)


def stacked(rows: AnyArray, name: str) -> AnyArray:
    """Return vectors that stand in a column as rows (n, d).

    >>> stacked(np.array([[1, 2], [3, 4]]), "X").shape
    (2, 2)
    """
    lacking = [i for i, row in enumerate(rows) if row is None]
    if lacking:
        raise ValueError(f"{name} lacks the vectors of {len(lacking)} rows, first of row {lacking[0]}: drop them")
    lengths = {np.shape(row) for row in rows}
    if len(lengths) > 1:
        raise ValueError(f"{name} holds rows of different lengths: pad or cut them to one")
    return np.stack([np.asarray(row) for row in rows]) if len(rows) else np.empty((0, 0))
