"""What the `manifold` command reads: features and names, one reader a kind, from npy, npz, parquet, csv and txt.

Nothing is ever unpickled, and nothing is guessed: what could be read in two ways is refused with the cure.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from manifold._typing import AnyArray
from manifold.cli._table_files import read_csv_lines, read_table
from manifold.cli._tables import Table, take_features, take_names

ARRAYS, TABLES = (".npy", ".npz"), (".parquet", ".csv")
INPUTS = (*ARRAYS, *TABLES)
NAMES = ("id", "qid")  # columns of a table that name its rows
_HEADERS = {*NAMES, "item", "query", "name", "label", "labels", "class", "target", "y"}  # of a csv with one column


@dataclass(frozen=True, eq=False)
class Features:
    """Rows of a file, the names of their columns, and those that stand beside the rows; None where it has none."""

    rows: AnyArray
    columns: tuple[str, ...] | None = None
    ids: AnyArray | None = None


def read_features(
    path: Path,
    *,
    option: str,
    key: str | None = None,
    columns: Sequence[str] | None = None,
    like: Features | None = None,
    names: Sequence[str] = NAMES,
) -> Features:
    """Return features and the names beside them: columns of a table by name, in the order of those they go `like`.

    Parameters
    ----------
    columns : sequence of str, optional
        Patterns of the columns to take of a table; by default those that are features by their type and name.
    like : Features, optional
        What the rows are compared with: where both have names of columns, the same are taken, in the same order.
    names : sequence of str
        Columns that may name the rows, the first that is there.

    Raises
    ------
    ValueError, FileNotFoundError, ImportError
        Naming `option`, the file and the cure.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "X.csv"
    >>> _ = path.write_text("id,x,y\\n007,1.5,2.5\\n")
    >>> found = read_features(path, option="--features")
    >>> found.rows.tolist(), found.columns, found.ids.tolist()
    ([[1.5, 2.5]], ('x', 'y'), ['007'])
    """
    what = f"{option} {path}"
    if ending_of(path, INPUTS, option) in ARRAYS:
        if columns is not None and like is None:
            raise ValueError(f"--columns chooses by name, but {what} holds an array without names: leave it out")
        return Features(read_array(path, what, key))
    table, named = read_table(path, what=what)
    if not named:
        if columns is not None:
            raise ValueError(f"--columns chooses by name, but {what} has no header: leave it out, or write one")
        return Features(take_features(table, what=what, asked=[*table])[0])
    beside = next((name for name in names if name in table), None)
    ids = None if beside is None else take_names(table, beside, what=what)
    same = None if like is None else like.columns
    rows, taken = take_features(table, what=what, asked=columns, like=same, beside=beside)
    return Features(rows, taken, ids)


def read_names(path: Path, *, option: str, key: str | None = None) -> AnyArray:
    """Return names (n,): an array, the column `id` or `qid` of a table or its only one, or the lines of a text.

    Texts stay as they are written, leading zeros and all; an empty one is refused.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError, ImportError
        Naming `option`, the file and the cure.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "ids.txt"
    >>> _ = path.write_bytes(b"\\xef\\xbb\\xbf007\\r\\n8\\r\\n")
    >>> read_names(path, option="--ids").tolist()
    ['007', '8']
    """
    what = f"{option} {path}"
    if ending_of(path, (*INPUTS, ".txt"), option) in ARRAYS:
        return read_array(path, what, key)
    if path.suffix == ".parquet":
        table = read_table(path, what=what)[0]
        return take_names(table, _only(table, NAMES, what), what=what)
    lines = read_lines(path, what, NAMES)
    for number, name in lines:
        if not name:
            raise ValueError(f"{what} line {number} is empty: name every row, or delete the line")
    return np.array([name for _, name in lines], dtype=np.str_)


def ending_of(path: Path, endings: Sequence[str], option: str) -> str:
    """Return the ending of a file that is there, one of those; else raise ValueError or FileNotFoundError."""
    if path.suffix not in endings:
        raise ValueError(f"{option} {path} must end in {', '.join(endings)}: numpy.save('X.npy', X) writes one")
    if not path.is_file():
        raise FileNotFoundError(f"{option} {path} is not a file: check the path")
    return path.suffix


def read_lines(path: Path, what: str, columns: Sequence[str]) -> list[tuple[int, str]]:
    """Return the numbers and texts of the lines of a txt, or of one column of a csv, without its header."""
    if path.suffix == ".txt":
        try:
            lines = path.read_text("utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"{what} is not a text in UTF-8 ({error}): write one name a line") from error
        return list(enumerate(lines[:-1] if lines[-1] == "" else lines, 1))
    rows = read_csv_lines(path, what=what)
    if not rows or len(rows[0][1]) == 1:
        header = bool(rows) and rows[0][1][0].strip().lower() in _HEADERS
        if wide := next((number for number, fields in rows if len(fields) > 1), None):
            raise ValueError(f"{what} line {wide} has more than one field: put texts with commas in double quotes")
        return [(number, fields[0]) for number, fields in rows[header:]]
    table, named = read_table(path, what=what)
    if not named:
        raise ValueError(f"{what} has several columns and no header: name one of them {columns[0]}")
    texts = table[_only(table, columns, what)].names()
    return [(number, str(text)) for (number, _), text in zip(rows[1:], texts, strict=False)]


def _only(table: Table, wanted: Sequence[str], what: str) -> str:
    """Return the first of the columns wanted that a table has, or its only one."""
    found = [name for name in wanted if name in table] or list(table)
    if len(found) > 1 and not set(found) <= set(wanted):
        raise ValueError(f"{what} has {len(found)} columns and none named {' or '.join(wanted)}: name one so")
    return found[0]


def read_array(path: Path, what: str, key: str | None) -> AnyArray:
    """Return the array of a npy, read in place, or the one of a npz that `key` names."""
    with _only_plain_arrays(what):
        loaded = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        name = _only_key(loaded.files, key, what=what)
        with _only_plain_arrays(what):
            array: AnyArray = loaded[name]
            return array


@contextmanager
def _only_plain_arrays(what: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, EOFError, BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise ValueError(
            f"{what} cannot be read ({(str(error) or 'empty').splitlines()[0]}): write plain numbers or texts with "
            "numpy.save or numpy.savez; pickled objects are never loaded"
        ) from error


def _only_key(names: list[str], key: str | None, *, what: str) -> str:
    if key is None and len(names) == 1:
        return names[0]
    if key not in names:
        asked = f"no array {key!r}" if key else f"{len(names)} arrays"
        raise ValueError(f"{what} holds {asked}: choose with --key, one of {', '.join(names) or '(none)'}")
    return key


def check_output(path: Path, *, suffixes: tuple[str, ...], option: str = "--output") -> None:
    """Refuse, before any work, an output that could not be written after it.

    >>> check_output(Path("r.gif"), suffixes=(".png",))
    Traceback (most recent call last):
    ValueError: --output r.gif must end in .png
    """
    if path.suffix not in suffixes:
        raise ValueError(f"{option} {path} must end in {', '.join(suffixes)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{option} {path}: the folder {path.parent} does not exist: make it first")
    if path.is_dir():
        raise ValueError(f"{option} {path} is a folder: name a file")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{option} {path}: the folder {path.parent} cannot be written to: choose another")
