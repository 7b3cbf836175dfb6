"""Files of features, format by format: maps of their rows, or their rows batch by batch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from manifold._typing import AnyArray

_TENSORS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I8": "|i1", "U8": "|u1", "BF16": "<u2"}
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
        header = json.loads(file.read(length))
    tensors = {name: told for name, told in header.items() if name != "__metadata__" and len(told["shape"]) == 2}
    if len(tensors) != 1:
        raise ValueError(f"X={str(path)!r} must hold one tensor of rows, has {sorted(tensors)[:5]}: save it by itself")
    (told,) = tensors.values()
    if told["dtype"] not in _TENSORS:
        raise TypeError(f"X={str(path)!r} holds {told['dtype']}: save it as F32, F16, BF16, I8 or U8")
    dtype, shape, (first, last) = (
        np.dtype(_TENSORS[told["dtype"]]),
        tuple(map(int, told["shape"])),
        told["data_offsets"],
    )
    if last - first != dtype.itemsize * math.prod(shape) or 8 + length + last > path.stat().st_size:
        raise ValueError(f"X={str(path)!r} is damaged: its tensor has other bytes than its shape")
    return np.memmap(path, dtype, "r", 8 + length + first, shape)


def as_numbers_of(rows: AnyArray, path: Path) -> AnyArray:
    """Return rows as numbers: those of bfloat16 are the upper halves of float32."""
    if path.suffix != ".safetensors" or rows.dtype != np.uint16:
        return rows
    return (rows.astype(np.uint32) << 16).view(np.float32)


def read_tables(path: Path) -> Iterator[object]:
    """Yield tables of a file of Arrow or Parquet, a batch of rows each."""
    try:
        import pyarrow as pa
        from pyarrow import ipc, parquet
    except ImportError as error:
        raise ImportError(f"X={str(path)!r} needs pyarrow: pip install 'manifold-search[parquet]'") from error
    try:
        if path.suffix == ".parquet":
            batches = parquet.ParquetFile(path).iter_batches(batch_size=_ROWS)
        else:
            file = ipc.open_file(pa.memory_map(str(path)))
            batches = (file.get_batch(i) for i in range(file.num_record_batches))
    except pa.ArrowInvalid as error:
        raise ValueError(f"X={str(path)!r} cannot be read ({str(error).splitlines()[0]})") from error
    return (pa.Table.from_batches([batch]) for batch in batches)
