"""Files of features, format by format: maps of their rows, or their rows batch by batch."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from manifold._typing import AnyArray
from manifold.errors import warn

_TENSORS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I8": "|i1", "U8": "|u1", "BF16": "<u2"}
TABLES = (".parquet", ".arrow", ".feather")
_MOST_HEADER = 100_000_000  # bytes of a header of safetensors, as its format has it
_ROWS = 1 << 15  # of a table that are read together


def map_array(path: Path) -> AnyArray:
    """Map the array of a `.npy` file."""
    try:
        mapped: AnyArray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"X={str(path)!r} cannot be read ({error})") from error
    return mapped


def map_tensor(path: Path) -> AnyArray:
    """Map the one tensor of rows of a file of safetensors."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_MOST_HEADER, path.stat().st_size):
            raise ValueError(f"X={str(path)!r} is no file of safetensors: its header would be {length} bytes long")
        try:
            header = json.loads(file.read(length))
            told = {name: told for name, told in header.items() if name != "__metadata__"}
            tensors = {name: one for name, one in told.items() if len(one["shape"]) == 2}
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"X={str(path)!r} is no file of safetensors, by its header ({error!r})") from None
    if len(tensors) != 1:
        raise ValueError(f"X={str(path)!r} must hold one tensor of rows, has {sorted(tensors)[:5]}: save it by itself")
    (one,) = tensors.values()
    if one["dtype"] not in _TENSORS:
        raise TypeError(f"X={str(path)!r} holds {one['dtype']}: save it as F32, F16, BF16, I8 or U8")
    dtype, shape, (first, last) = (
        np.dtype(_TENSORS[one["dtype"]]),
        tuple(map(int, one["shape"])),
        one["data_offsets"],
    )
    if last - first != dtype.itemsize * math.prod(shape) or 8 + length + last > path.stat().st_size:
        raise ValueError(f"X={str(path)!r} is damaged: its tensor has other bytes than its shape")
    return np.memmap(path, dtype, "r", 8 + length + first, shape)


def as_numbers_of(rows: AnyArray, path: Path) -> AnyArray:
    """Return rows as numbers: those of bfloat16 are the upper halves of float32."""
    if path.suffix != ".safetensors" or rows.dtype != np.uint16:
        return rows
    return (rows.astype(np.uint32) << 16).view(np.float32)


def open_table(path: Path, *, beside: object = None) -> tuple[tuple[str, ...] | None, Iterator[object]]:
    """Return the columns of a file of Arrow or Parquet that are features, and tables of them, a batch of rows each.

    They are its one column of lists, which has no names, or else all but the column `beside`, which names rows.
    """
    pa, file = _opened(path)
    schema = file.schema_arrow if path.suffix == ".parquet" else file.schema
    chosen, are_lists = _chosen(schema, path, beside)
    if path.suffix == ".parquet":
        batches = file.iter_batches(batch_size=_ROWS, columns=chosen)
    else:
        batches = (file.get_batch(i).select(chosen) for i in range(file.num_record_batches))
    return None if are_lists else tuple(chosen), (pa.Table.from_batches([batch]) for batch in batches)


def read_column(path: Path, column: str) -> list[object]:
    """Return what a column of a file of Arrow or Parquet holds, row by row; raise ValueError where it has none."""
    _, file = _opened(path)
    _check_column(file.schema_arrow if path.suffix == ".parquet" else file.schema, path, column)
    table = file.read(columns=[column]) if path.suffix == ".parquet" else file.read_all()
    held: list[object] = table[column].to_pylist()
    return held


def _opened(path: Path) -> tuple[Any, Any]:
    """Return pyarrow, which has no types, and the file as it opens it."""
    try:
        import pyarrow as pa
        from pyarrow import ipc, parquet
    except ImportError as error:
        raise ImportError(f"X={str(path)!r} needs pyarrow: pip install 'manifold-search[parquet]'") from error
    try:
        if path.suffix == ".parquet":
            return pa, parquet.ParquetFile(path)
        return pa, ipc.open_file(pa.memory_map(str(path)))
    except pa.ArrowInvalid as error:
        raise ValueError(f"X={str(path)!r} cannot be read ({str(error).splitlines()[0]})") from error


def _chosen(schema: Any, path: Path, beside: object) -> tuple[list[str], bool]:
    """Return the columns that are features, and whether they are lists; raise for a choice that is the user's."""
    if isinstance(beside, str):
        _check_column(schema, path, beside)
    others = [field for field in schema if field.name != beside]
    lists = [field.name for field in others if "list<" in str(field.type)]
    read = f"pyarrow.{'parquet.read_table' if path.suffix == '.parquet' else 'feather.read_table'}({str(path)!r}"
    if len(lists) > 1:
        raise ValueError(f"X={str(path)!r} has {len(lists)} columns of lists, {lists[:5]}: pass {read})[{lists[0]!r}]")
    if lists:
        left = [f"{field.name} ({field.type})" for field in others if field.name != lists[0]]
        if left:
            warn(
                f"X={str(path)!r}: features are the column of lists {lists[0]!r}; left out: {', '.join(left[:5])}"
                f"{', ...' * (len(left) > 5)}; ids='NAME' names items by a column"
            )
        return lists, True
    held = {field.name: str(field.type) for field in others}
    numeric = [name for name, kind in held.items() if re.fullmatch(r"u?int\d+|float|double|halffloat|bool", kind)]
    if len(numeric) < len(held):
        other = [f"{name!r} ({kind})" for name, kind in held.items() if name not in numeric]
        raise TypeError(
            f"X={str(path)!r} has columns that hold no numbers, {', '.join(other[:5])}: name items by one, with "
            f"ids={other[0].split(' (')[0]}, or leave them out, with {read}, columns={numeric[:2]}), say"
        )
    return numeric, False


def _check_column(schema: Any, path: Path, column: str) -> None:
    if column not in schema.names:
        raise ValueError(f"ids={column!r} is no column of X={str(path)!r}, which has {schema.names[:8]}")
