"""The manifest: what a folder holds, declared in JSON, believed only once it is checked."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NotRequired, TypedDict

import numpy as np

from manifold import __version__
from manifold._typing import AnyArray, Facts
from manifold.errors import CorruptFileError
from manifold.storage._files import open_plain, write

FORMAT, VERSION = "manifold", 2  # 2: a graph is saved with its degrees and components
MANIFEST = "manifest.json"
DTYPES = ("|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8")
OURS = re.compile(r"([a-z][a-z0-9_]{0,63})\.manifold-[0-9a-f]{16}\.(npy|tmp)")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MANIFEST_BYTES, _PARAMETER_BYTES, _MAX_ARRAYS, _MAX_NDIM = 1 << 20, 1 << 18, 256, 32
_CHUNK = 1 << 22


class Manifest(TypedDict):
    """What `manifest.json` holds."""

    format: str
    version: int
    kind: str
    created_with: object
    parameters: Facts
    arrays: dict[str, object]
    sha256: NotRequired[str]  # of the rest


@dataclass(frozen=True)
class Entry:
    """One array as the manifest declares it."""

    where: str
    file: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    sha256: str

    @staticmethod
    def parse(value: object, name: str, folder: Path) -> Entry:
        """Return the declaration once every part of it is known to be harmless."""
        where = f"{folder}: array {name!r}"
        value = value if isinstance(value, dict) else {}
        file, dtype, shape, size, digest = (value.get(key) for key in ("file", "dtype", "shape", "bytes", "sha256"))
        match = OURS.fullmatch(file) if isinstance(file, str) else None
        if not isinstance(file, str) or match is None or match.groups() != (name, "npy"):
            raise CorruptFileError(f"{where} names the file {file!r}, which no save makes: it is not read")
        if dtype not in DTYPES:
            raise CorruptFileError(f"{where} ({file}) has dtype {dtype!r}: only {', '.join(DTYPES)} are read")
        if not (isinstance(shape, list) and len(shape) <= _MAX_NDIM and all(type(n) is int and n >= 0 for n in shape)):
            raise CorruptFileError(f"{where} ({file}) has no valid shape")
        if type(size) is not int or not isinstance(digest, str):
            raise CorruptFileError(f"{where} ({file}) has no valid size or checksum")
        entry = Entry(where, file, dtype, tuple(shape), size, digest)
        # an empty array may still have a shape that no memory could address
        addressable = math.prod(max(n, 1) for n in shape) * np.dtype(dtype).itemsize <= np.iinfo(np.intp).max
        if not addressable or size != entry.expected_size:
            raise CorruptFileError(f"{where} ({file}) declares a size that its shape and dtype do not have")
        return entry

    @property
    def header(self) -> bytes:
        """The one header of a `.npy` file (version 1.0) that this package writes and reads."""
        text = f"{{'descr': '{self.dtype}', 'fortran_order': False, 'shape': {self.shape}, }}"
        text += " " * (-(len(text) + 11) % 64) + "\n"  # data start at a multiple of 64
        return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()

    @property
    def expected_size(self) -> int:
        """Bytes of a file of this dtype and shape."""
        return len(self.header) + math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def read(self, file: BinaryIO, *, full: bool, mmap: bool) -> AnyArray:
        """Return the array, once the file is known to be what was declared."""
        what = f"{self.where} ({self.file})"
        found = os.fstat(file.fileno()).st_size
        if found != self.size:
            raise CorruptFileError(f"{what} has {found} bytes, and should have {self.size}: it was cut or replaced")
        # compared, not parsed: a header of another writer could declare what the manifest does not
        if file.read(len(self.header)) != self.header:
            raise CorruptFileError(f"{what} begins with another header than its dtype and shape have: it was replaced")
        file.seek(0)
        if full and hashlib.file_digest(file, "sha256").hexdigest() != self.sha256:  # type: ignore[arg-type]
            raise CorruptFileError(f"{what} fails its checksum: restore it from a copy, or save it again")
        array: AnyArray
        if mmap:
            array = np.memmap(file, self.dtype, "r", len(self.header), self.shape)
        else:
            file.seek(len(self.header))
            array = np.fromfile(file, self.dtype, math.prod(self.shape)).reshape(self.shape)
        if full and self.dtype == "|b1" and array.view(np.uint8).max(initial=0) > 1:
            raise CorruptFileError(f"{what} holds booleans that are neither 0 nor 1")
        return array


def draft(kind: str, arrays: Mapping[str, AnyArray], parameters: Facts) -> Manifest:
    """Return the manifest, without its arrays, of what can be stored."""
    if not _NAME.fullmatch(kind):
        raise ValueError(f"kind must be of a-z, 0-9 and '_', got {kind!r}")
    if len(arrays) > _MAX_ARRAYS:
        raise ValueError(f"arrays are {len(arrays)}, and may be at most {_MAX_ARRAYS}: stack some")
    try:
        text = json.dumps(dict(parameters), allow_nan=False, default=np.generic.item)
        same = json.loads(text) == parameters
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"parameters are more than JSON can hold ({error}): store them as arrays") from None
    if not same:
        raise TypeError("parameters would not come back equal from JSON: use lists, not tuples, and texts as keys")
    if len(text) > _PARAMETER_BYTES:
        raise ValueError(f"parameters take {len(text)} bytes, and may take {_PARAMETER_BYTES}: store some as arrays")
    created = {"manifold": __version__, "numpy": np.__version__}
    return {
        "format": FORMAT,
        "version": VERSION,
        "kind": kind,
        "created_with": created,
        "parameters": json.loads(text),
        "arrays": {},
    }


def checked(array: AnyArray, name: str) -> AnyArray:
    """Return an array that can be stored under this name.

    >>> checked(np.arange(3), "ranks").size
    3
    """
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ValueError(f"arrays have names of a-z, 0-9 and '_', got {name!r}")
    if array.dtype.newbyteorder("<").str not in DTYPES or array.ndim > _MAX_NDIM:
        raise TypeError(f"array {name!r} is {array.dtype} with {array.ndim} axes: only plain numbers are stored")
    return array


def write_array(path: Path, array: AnyArray) -> dict[str, object]:
    """Write an array durably, and return its entry in the manifest."""
    array = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    entry = Entry("", path.name, array.dtype.str, array.shape, 0, "")
    data = array.reshape(-1).view(np.uint8).data  # in chunks, so that a mapped array is never in memory whole
    digest = write(path, [entry.header, *(data[i : i + _CHUNK] for i in range(0, len(data), _CHUNK))])
    shape = list(entry.shape)
    return {"file": entry.file, "dtype": entry.dtype, "shape": shape, "bytes": entry.expected_size, "sha256": digest}


def _digest(manifest: Mapping[str, object]) -> str:
    """Return the checksum of a manifest, whatever its white space and the order of its keys."""
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def signed(manifest: Mapping[str, object]) -> bytes:
    """Return the manifest as a file holds it, with its own checksum."""
    return json.dumps({**manifest, "sha256": _digest(manifest)}).encode()


def read_manifest(folder: Path) -> Manifest:
    """Return a manifest that is whole, of this format, and of a version that this package knows."""
    where = folder / MANIFEST
    with open_plain(where) as file:
        data = file.read(_MANIFEST_BYTES + 1)
    if len(data) > _MANIFEST_BYTES:
        raise CorruptFileError(f"{where} is longer than a manifest can be ({_MANIFEST_BYTES} bytes)")
    try:
        manifest = json.loads(data.decode())
        digest = _digest(manifest) if isinstance(manifest, dict) else ""
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(f"{where} is damaged: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CorruptFileError(f"{where} is not of the format {FORMAT!r}")
    version = manifest.get("version")
    if type(version) is not int or version < 1:
        raise CorruptFileError(f"{where} has no valid format version")
    if version > VERSION:
        raise CorruptFileError(
            f"{where} is of format {version}, written with {manifest.get('created_with')!r}; manifold {__version__} "
            f"reads formats up to {VERSION}: upgrade manifold"
        )
    if manifest.get("sha256") != digest:
        raise CorruptFileError(f"{where} fails its own checksum: restore it from a copy, or save it again")
    arrays, kind, parameters = manifest.get("arrays"), manifest.get("kind"), manifest.get("parameters")
    if not (isinstance(arrays, dict) and isinstance(parameters, dict) and isinstance(kind, str)):
        raise CorruptFileError(f"{where} lacks its kind, parameters or arrays")
    if len(arrays) > _MAX_ARRAYS:
        raise CorruptFileError(f"{where} lists {len(arrays)} arrays: at most {_MAX_ARRAYS} are read")
    return {
        "format": FORMAT,
        "version": version,
        "kind": kind,
        "created_with": manifest.get("created_with"),
        "parameters": parameters,
        "arrays": arrays,
        "sha256": digest,
    }
