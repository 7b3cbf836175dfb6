"""Files of tables, parquet or csv, in; their columns by name, each by what its type means or its fields spell, out."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from manifold._typing import AnyArray
from manifold.cli._tables import Column, Table

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_NO_NUMBER = {"nan", "inf", "-inf", "+inf"}  # of a number all the same: refused, or missing, later on


def read_table(path: Path, *, what: str) -> tuple[Table, bool]:
    """Return the columns of a parquet or csv file, and whether the file names them: a csv of numbers need not."""
    return (_read_parquet(path, what), True) if path.suffix == ".parquet" else _read_csv(path, what)


def _read_parquet(path: Path, what: str) -> Table:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError as error:
        raise ImportError(
            f"{what} needs pyarrow: pip install 'manifold-search[parquet]', or pass a .npy file"
        ) from error
    try:
        table = parquet.read_table(path)
    except ArrowInvalid as error:
        raise ValueError(f"{what} is not a parquet file ({str(error).splitlines()[0]})") from error
    _check_distinct(table.column_names, what)
    return {name: _arrow_column(table[name], f"{what}: column {name!r}") for name in table.column_names}


def _arrow_column(values: object, what: str) -> Column:
    """Return an Arrow column by what its type means; null is NaN in numbers, None in texts."""
    import pyarrow as pa
    from pyarrow import compute, types

    column = pa.chunked_array(values)
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind, names = column.type, column.to_pylist
    if types.is_integer(kind) or types.is_floating(kind):
        return Column("integer" if types.is_integer(kind) else "floating", column.to_numpy, names)
    if types.is_boolean(kind) or types.is_decimal(kind):
        numbers = column.cast(pa.int8() if types.is_boolean(kind) else pa.float64())
        return Column("boolean" if types.is_boolean(kind) else "decimal", numbers.to_numpy, names)
    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if not (lists and (types.is_integer(kind.value_type) or types.is_floating(kind.value_type))):
        text = types.is_string(kind) or types.is_large_string(kind)
        return Column("text" if text else str(kind), column.to_numpy, names)

    def rows() -> AnyArray:
        """Return the lists as rows (n, d); raise ValueError where one is missing or of another length."""
        lengths = np.array([-1 if x is None else x for x in compute.list_value_length(column).to_pylist()])
        other = np.flatnonzero(lengths != lengths[0]) if lengths.size and lengths[0] >= 0 else np.arange(lengths.size)
        if other.size:
            raise ValueError(f"{what}: the list of row {other[0]} is missing or of another length: give each row one")
        flat: AnyArray = compute.list_flatten(column).to_numpy()
        return flat.reshape(lengths.size, -1)

    return Column("list", rows, names)


def _read_csv(path: Path, what: str) -> tuple[Table, bool]:
    lines = read_csv_lines(path, what=what)
    if not lines:
        raise ValueError(f"{what} is empty: write one row a line")
    first, width = lines[0][1], len(lines[0][1])
    while width > 1 and lines[-1][1] == [""]:
        lines.pop()
    for number, fields in lines:
        if len(fields) != width:
            raise ValueError(f"{what} line {number} has {len(fields)} fields, not {width}: give each line the same")
    counted = [str(i) for i in range(width)]
    header = not all(is_number(field) for field in first)
    if not header and width > 1 and first == counted:
        raise ValueError(f"{what}: is its first line, 0 to {width - 1}, a header or a point? Name the columns by words")
    names, rows = (first, lines[1:]) if header else (counted, lines)
    _check_distinct(names, what)
    table = {name: _text_column([fields[i] for _, fields in rows]) for i, name in enumerate(names)}
    if header:
        return table, True
    odd = next((name for name, column in table.items() if column.kind == "text"), None)
    if odd is not None:
        raise ValueError(f"{what}: field {int(odd) + 1} is a number in its first line and a text below: mend the file")
    return {name: Column("floating", column.read, column.names) for name, column in table.items()}, False


def read_csv_lines(path: Path, *, what: str) -> list[tuple[int, list[str]]]:
    """Return the number of each line of a csv file and its fields; an empty line is one empty field.

    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "a.csv"
    >>> _ = path.write_text('"a, b",007\\n')
    >>> read_csv_lines(path, what="a.csv")
    [(1, ['a, b', '007'])]
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            return [(reader.line_num, fields or [""]) for fields in reader]
    except UnicodeDecodeError as error:
        raise ValueError(f"{what} is not a text in UTF-8 ({error}): save it as UTF-8") from error
    except csv.Error as error:
        raise ValueError(f"{what} is not csv ({error}): fields with commas or quotes stand in double quotes") from error


def is_number(field: str) -> bool:
    """Tell whether a field is written as a number, that which is no number (nan, inf) among them.

    >>> is_number("-1.5e+00"), is_number("1_0"), is_number("")
    (True, False, False)
    """
    return bool(NUMBER.fullmatch(field.strip())) or field.strip().lower() in _NO_NUMBER


def _text_column(fields: Sequence[str]) -> Column:
    """Return a column of a csv by what its fields spell; an empty field among numbers is NaN."""
    names = lambda: fields  # noqa: E731
    if (lists := _lists(fields)) is not None:
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for row in lists for value in row)
        return Column("list" if numbers else "lists of texts", lambda: _rows_of(lists), lambda: lists)
    known = [field for field in fields if field.strip()]
    if not known or not all(map(is_number, known)):
        return Column("text", lambda: np.array(fields, dtype=np.str_), names)
    whole = len(known) == len(fields) and all(_WHOLE.fullmatch(field.strip()) for field in known)
    read = lambda: np.array([float(field) if field.strip() else np.nan for field in fields])  # noqa: E731
    return Column("integer" if whole else "floating", read, names)


def _lists(fields: Sequence[str]) -> list[list[object]] | None:
    """Return the lists that all fields spell, as JSON does; None where one spells something else."""
    if not fields or not all(field.lstrip().startswith("[") for field in fields):
        return None
    try:
        return [json.loads(field) for field in fields]
    except ValueError:
        return None


def _rows_of(lists: Sequence[Sequence[object]]) -> AnyArray:
    odd = next((row for row, values in enumerate(lists) if len(values) != len(lists[0])), None)
    if odd is not None:
        raise ValueError(f"the list of row {odd} is of another length than the first: give each row one of a length")
    return np.array(lists, dtype=np.float64)


def _check_distinct(names: Sequence[str], what: str) -> None:
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"{what} names a column {twice!r} twice: give each its own name")
