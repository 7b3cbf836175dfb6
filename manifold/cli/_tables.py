"""Tables as named columns: which of them are features, which one names the rows, and what is left out is said.

In: a parquet or csv file. Out: columns by name, each with what it holds; rows of features (n, d) and their names.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

import numpy as np

from manifold._typing import AnyArray
from manifold.errors import warn

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_NO_NUMBER = {"nan", "inf", "-inf", "+inf"}  # of a number all the same: refused, or missing, later on
_SHOWN = 5  # names in a message

# columns that say what a row is, not where it lies: features only where --columns names them
_ABOUT = {"", "index", "unnamed: 0", "__index_level_0__", "id", "qid", "query", "query_id", "item", "item_id", "label"}
_ABOUT |= {"labels", "class", "target", "year", "date", "time", "timestamp", "split", "fold"}


@dataclass(frozen=True)
class Column:
    """One column: "floating", "integer", "list", "boolean", "decimal", "text" or the name of another type."""

    kind: str
    read: Callable[[], AnyArray]  # (n,) numbers, or (n, d) of lists
    names: Callable[[], Sequence[object]]  # (n,) integers or texts as they are written; None where there is none


Table: TypeAlias = Mapping[str, Column]


def read_table(path: Path, *, what: str) -> tuple[Table, bool]:
    """Return the columns of a parquet or csv file, and whether the file names them: a csv of numbers need not."""
    return (_read_parquet(path, what), True) if path.suffix == ".parquet" else _read_csv(path, what)


def take_features(
    table: Table,
    *,
    what: str,
    asked: Sequence[str] | None = None,
    like: Sequence[str] | None = None,
    beside: str | None = None,
) -> tuple[AnyArray, tuple[str, ...]]:
    """Return the features (n, d) of a table and the columns that they are, and say which others are left out.

    By default they are its one column of lists; else all floating columns; else all integer ones; never one whose name
    says that it is something about a row, such as `label` or `year`.

    Parameters
    ----------
    asked : sequence of str, optional
        Patterns of names ("f*"), by which a user chose: then what is left out needs no word.
    like : sequence of str, optional
        Names that other features had, in whose order these are put.
    beside : str, optional
        The column that names the rows.

    Examples
    --------
    >>> table = {name: Column("floating", lambda: np.ones(1), list) for name in ("x", "y", "label")}
    >>> take_features(table, what="--features X.csv", asked=["x"])
    (array([[1.]]), ('x',))
    """
    if like is not None:
        chosen = list(like)
        missing = [name for name in chosen if name not in table]
        if missing:
            raise ValueError(
                f"{what} lacks {len(missing)} of the {len(chosen)} columns of --features ({_listed(missing)}): give "
                "it the same names"
            )
    else:
        chosen = _default(table, what) if asked is None else _matching(table, asked, what)
    odd = [name for name in chosen if table[name].kind not in _NUMERIC]
    if odd:
        raise ValueError(f"{what}: column {odd[0]!r} holds {table[odd[0]].kind}, no numbers: leave it out")
    left = [f"{name or repr(name)} ({table[name].kind})" for name in table if name not in {*chosen, beside}]
    if asked is None and left:
        warn(f"{what}: features are {_span(chosen)}; left out: {_listed(left)}; --columns chooses")
    elif asked is None and like is None and table[chosen[0]].kind == "integer":
        warn(f"{what}: features are {_span(chosen)}, all integers; --columns chooses")
    parts = [table[name].read() for name in chosen]
    return np.hstack([part[:, None] if part.ndim == 1 else part for part in parts]), tuple(chosen)


_NUMERIC = ("floating", "integer", "list", "boolean", "decimal")


def _default(table: Table, what: str) -> list[str]:
    coordinates = "x" in table or "X" in table  # beside which y is one more, and else a class
    about = _ABOUT if coordinates else _ABOUT | {"y"}
    some = {name: column.kind for name, column in table.items() if name.lower() not in about}
    lists, floating, whole = ([n for n in some if some[n] == kind] for kind in ("list", "floating", "integer"))
    if len(lists) > 1:
        raise ValueError(f"{what} holds {len(lists)} columns of lists: choose with --columns, of {_listed(lists)}")
    if not (chosen := lists or floating or whole):
        raise ValueError(
            f"{what} has no numeric column that is a feature by its name, of {_listed([*table])}: give each feature a "
            "column of its own, or all one column of lists; --columns takes any"
        )
    return chosen


def _matching(table: Table, patterns: Sequence[str], what: str) -> list[str]:
    found = {pattern: [name for name in table if fnmatchcase(name, pattern)] for pattern in patterns}
    for pattern, names in found.items():
        if not names:
            raise ValueError(f"{what} has no column {pattern!r} of --columns: it holds {_listed([*table])}")
    return list(dict.fromkeys(name for names in found.values() for name in names))


def take_names(table: Table, column: str, *, what: str) -> AnyArray:
    """Return the names (n,) of rows: integers or texts, of which none is missing."""
    names = table[column].names()
    empty = next((row for row, name in enumerate(names) if name is None or name == ""), None)
    if empty is not None:
        raise ValueError(f"{what}: column {column!r} is empty in row {empty}: name every row")
    if not all(isinstance(name, str) for name in names) and table[column].kind != "integer":
        raise ValueError(f"{what}: column {column!r} holds {table[column].kind}: names are integers or texts")
    return np.array(names, dtype=None if len(names) else np.str_)


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
    known = [field for field in fields if field.strip()]
    if not known or not all(map(is_number, known)):
        return Column("text", lambda: np.array(fields, dtype=np.str_), names)
    whole = len(known) == len(fields) and all(_WHOLE.fullmatch(field.strip()) for field in known)
    numbers = lambda: np.array([float(field) if field.strip() else np.nan for field in fields])  # noqa: E731
    return Column("integer" if whole else "floating", numbers, names)


def _check_distinct(names: Sequence[str], what: str) -> None:
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"{what} names a column {twice!r} twice: give each its own name")


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest


def _span(names: Sequence[str]) -> str:
    return f"column {names[0]}" if len(names) == 1 else f"the {len(names)} columns {names[0]} .. {names[-1]}"
