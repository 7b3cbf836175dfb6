"""Features where they lie: a file or batches in, rows that are mapped rather than read out.

Files of `.npy` and `.safetensors` are mapped as they are. Rows of other files and of iterators come in batches, are
checked one batch at a time, and are written once, as a `.npy` file that can be mapped.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from manifold._arrays import as_table
from manifold._checks import read_features
from manifold._columns import Table
from manifold._typing import AnyArray
from manifold.neighbors._formats import TABLES, as_numbers_of, map_array, map_tensor, open_table, read_column
from manifold.neighbors._stored_rows import STORED
from manifold.storage import write_atomically

_BATCH = 1 << 24  # bytes of rows that are read together, about
_HEADER = 128  # bytes of a `.npy` header whose shape is known last


class Source(Protocol):
    """Rows (n, d) that a task opens where it runs.

    >>> source: Source = Held(np.ones((2, 3), np.float32))
    """

    def open(self) -> AnyArray:
        """Return the rows."""


@dataclass(frozen=True)
class Mapped:
    """Rows of a file, which a worker maps from its path.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     source_of(write_features([np.ones((2, 3), np.float32)], f"{folder}/X.npy")).shape
    (2, 3)
    """

    path: str
    dtype: str
    shape: tuple[int, int]
    offset: int

    def open(self) -> AnyArray:
        """Return the rows, read-only."""
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)


@dataclass(frozen=True, eq=False)
class Held:
    """Rows in memory, which go to a worker as a copy.

    >>> Held(np.ones((2, 3), np.float32)).open().shape
    (2, 3)
    """

    array: AnyArray

    def open(self) -> AnyArray:
        """Return the rows."""
        return self.array


def source_of(X: AnyArray) -> Mapped | Held:
    """Return where rows are: in their file, if they are a map of it, C-contiguous; or else in memory.

    >>> type(source_of(np.ones((2, 3), np.float32))).__name__
    'Held'
    """
    base = _owner(X)
    if isinstance(base, np.memmap) and base.filename and X.flags.c_contiguous:
        n, d = X.shape
        offset = X.ctypes.data - base.ctypes.data + int(base.offset)  # rows of a map may be a part of it
        return Mapped(os.path.abspath(base.filename), X.dtype.str, (n, d), offset)
    return Held(X)


def _owner(X: AnyArray) -> object:
    """Return the array of whose memory X is a view."""
    while isinstance(X.base, np.ndarray):
        X = X.base
    return X


def open_features(path: str | os.PathLike[str], *, copy: str | os.PathLike[str] | None = None) -> AnyArray:
    """Return the rows (n, d) of a file, mapped where its format allows it.

    Parameters
    ----------
    path : str or path
        ``.npy`` or ``.safetensors`` with one array of rows, ``.parquet``, ``.arrow`` or ``.feather`` with one column of
        lists, whatever is beside it, or columns of numbers.
    copy : str or path, optional
        Where rows that cannot be mapped are written, and mapped from; by default they are read into memory.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    TypeError, ValueError
        For another format, for what are no rows of real numbers, and for NaN or infinity in rows that are written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/X.npy", np.arange(6, dtype=np.uint8).reshape(3, 2))
    ...     open_features(f"{folder}/X.npy").shape
    (3, 2)
    """
    rows, _, batches = _rows_of(Path(path))
    if rows is not None and rows.dtype in STORED:
        return rows
    if copy is None:
        return np.concatenate([read_features(batch, compact=True).rows for batch in batches])
    return write_features(batches, copy)


def read_file(path: str | os.PathLike[str], *, beside: object = None) -> Table:
    """Return the rows of a file in the precision that they have there, and the names of their columns.

    Parameters
    ----------
    path : str or path
        See `open_features`.
    beside : str, optional
        A column that is no feature: it names the rows.

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        See `open_features`.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/X.npy", np.full((2, 1), 1e9 + 0.25))
    ...     read_file(f"{folder}/X.npy").values[0, 0].item()
    1000000000.25
    """
    rows, names, batches = _rows_of(Path(path), beside)
    if rows is None:
        tables = [as_table(batch, "X").values for batch in batches]
        rows = np.concatenate(tables) if tables else np.empty((0, 0))
    return Table(as_table(as_numbers_of(rows, Path(path)), "X").values, names)


def names_in(X: object, ids: object) -> object:
    """Return ids, or, where they are the name of a column of the file X, what that column holds.

    Raises ValueError for a column that the file has not, and for a file without columns.

    Reference: guide *scale*, "More than memory holds".

    >>> names_in(np.ones((2, 3)), ["a", "b"])
    ['a', 'b']
    """
    if not (isinstance(ids, str) and isinstance(X, str | os.PathLike)):
        return ids
    if Path(X).suffix not in TABLES:
        raise ValueError(
            f"ids={ids!r} would name a column, and X={os.fspath(X)!r} has none: pass one name for each row"
        )
    return read_column(Path(X), ids)


def _rows_of(path: Path, beside: object = None) -> tuple[AnyArray | None, tuple[str, ...] | None, Iterator[object]]:
    """Return a map of the rows, where there can be one; names of their columns, or None; the rows in parts."""
    if not path.is_file():
        raise FileNotFoundError(f"X={str(path)!r} is no file: check the path")
    if path.suffix in TABLES:
        return None, *open_table(path, beside=beside)
    if path.suffix not in (".npy", ".safetensors"):
        raise ValueError(f"X={str(path)!r} must end in .npy, .safetensors, .parquet, .arrow or .feather")
    rows = map_tensor(path) if path.suffix == ".safetensors" else map_array(path)
    if rows.ndim != 2:
        raise ValueError(f"X={str(path)!r} must hold rows (points, features), got shape {rows.shape}")
    step = max(1, _BATCH // max(1, rows.shape[1] * rows.itemsize))
    return rows, None, (as_numbers_of(rows[start : start + step], path) for start in range(0, len(rows), step))


def write_features(batches: Iterable[object], path: str | os.PathLike[str]) -> AnyArray:
    """Write batches of rows to a `.npy` file, which appears whole, and return the rows mapped from it.

    Parameters
    ----------
    batches : iterable of (m, d) array-like
        Of one width and kind; float32, float16, int8 and uint8 stay, all others become float32. One is held at a time.
    path : str or path

    Raises
    ------
    TypeError, ValueError
        As `point_set` for each batch; for none, and where one has another width or dtype than the first.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_features((np.full((2, 3), i, np.int8) for i in range(4)), f"{folder}/X.npy").shape
    (8, 3)
    """

    def write(file: IO[bytes]) -> None:
        file.write(bytes(_HEADER))
        n, first = 0, None
        for number, batch in enumerate(batches):
            rows = read_features(batch, f"batch {number}", compact=True).rows
            first = rows[:1] if first is None else first
            if rows.dtype != first.dtype or rows.shape[1] != first.shape[1]:
                raise ValueError(
                    f"batch {number} is {rows.dtype} with {rows.shape[1]} features, and the first {first.dtype} with "
                    f"{first.shape[1]}: give all of them one form"
                )
            file.write(np.ascontiguousarray(rows).data)
            n += len(rows)
        if first is None:
            raise ValueError("X holds no batches: give one at least")
        text = f"{{'descr': '{first.dtype.str}', 'fortran_order': False, 'shape': {(n, first.shape[1])}, }}"
        file.seek(0)
        file.write(
            b"\x93NUMPY\x01\x00" + (_HEADER - 10).to_bytes(2, "little") + text.ljust(_HEADER - 11).encode() + b"\n"
        )

    write_atomically(Path(path), write)
    return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
