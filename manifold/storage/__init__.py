"""Named arrays and parameters as a folder that survives crashes and refuses damage; nothing is ever unpickled.

    path/manifest.json                    kind, parameters, versions; per array its file, dtype, shape, bytes, SHA-256
    path/indices.manifold-<16 hex>.npy    one array; its name is new at every save, its bytes never change

A save writes new array files beside those in use, makes them durable, and replaces `manifest.json` by one atomic
rename; once that is durable too, it deletes what the new manifest does not name. So at every instant the manifest in
place is a whole one, and so are the files it names: none is ever changed, and none is deleted while a manifest that
names it is in place, or could be after a power cut. Writers take turns by a lock on the folder, which dies with its
holder: what a crash left is known to be dead, and the next save deletes it. Where a file system has no locks, a save
deletes only the version that it replaced.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from manifold._typing import AnyArray, Facts
from manifold.errors import CorruptFileError
from manifold.storage._archive import export_file, import_file
from manifold.storage._files import open_plain, sync, write, write_atomically, writing
from manifold.storage._manifest import (
    MANIFEST,
    OURS,
    Entry,
    Manifest,
    checked,
    draft,
    read_manifest,
    signed,
    write_array,
)
from manifold.storage._names import decode_names, encode_names

__all__ = [
    "Stored",
    "decode_names",
    "encode_names",
    "export_file",
    "import_file",
    "is_saved",
    "load_arrays",
    "save_arrays",
    "write_atomically",
]


@dataclass(frozen=True, eq=False)
class Stored:
    """What a folder held: its kind, arrays by name (read-only maps of the files, or copies) and parameters.

    `verified` says whether every byte was read: who looks through all entries of large arrays does so then, or else
    when they are first used, naming the `path`. `digest` is that of the manifest, and so of every array: another
    process that opens the folder, and finds it, has the same arrays.

    Reference: NumPy file format (NEP 1); guide *scale*, "Keep what was expensive".

    >>> stored = Stored(kind="example", arrays={"ids": np.arange(3)}, parameters={"alpha": 0.9})
    >>> stored.arrays["ids"].sum(), stored.verified
    (np.int64(3), True)
    """

    kind: str
    arrays: Mapping[str, AnyArray]
    parameters: Facts
    verified: bool = True
    path: str = ""
    digest: str = ""


def save_arrays(path: str | os.PathLike[str], *, kind: str, arrays: Mapping[str, ArrayLike], parameters: Facts) -> Path:
    """Save arrays and parameters as a folder, in place of the version that is there, or not at all.

    Reference: NumPy file format (NEP 1); guide *scale*, "Keep what was expensive".

    Parameters
    ----------
    path : str or path
        The folder; its parent exists. A folder that is not such a save is never touched.
    kind : str
        What the arrays are together, such as "graph".
    arrays : mapping of str to array
        At most 256 arrays of bool, integers or floats up to 64 bits; names of a-z, 0-9 and "_". Stored little-endian in
        C order. Arrays mapped from the version that is replaced may be among them.
    parameters : mapping
        What JSON gives back equal (numpy scalars come back as Python's), up to 256 KiB.

    Returns
    -------
    Path

    Raises
    ------
    TypeError, ValueError
        For what cannot be stored; nothing was written.
    FileExistsError
        Where `path` is something else than a save this version can read.
    OSError
        As the system has it (disk full, read-only): the old version is as it was, or the new one is whole.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = save_arrays(f"{folder}/ranks", kind="ranks", arrays={"r": np.arange(3)}, parameters={"k": 3})
    ...     stored = load_arrays(path, kind="ranks", mmap=False)
    >>> stored.arrays["r"].tolist(), stored.parameters["k"]
    ([0, 1, 2], 3)
    """
    folder = Path(path)
    plain = {name: checked(np.asarray(array), name) for name, array in arrays.items()}
    manifest = draft(kind, plain, parameters)
    with writing(folder) as locked:
        replaced = _named_or_refuse(folder)  # under the lock: what is in use now stays so until the rename
        sync(folder)  # of a manifest that came just before a crash, too
        if locked:
            _sweep(folder, _ours(folder))
        token = f".manifold-{secrets.token_hex(8)}"
        try:
            for name, array in plain.items():
                manifest["arrays"][name] = write_array(folder / f"{name}{token}.npy", array)
            write(folder / f"manifest{token}.tmp", [signed(manifest)])
            sync(folder)
            os.replace(folder / f"manifest{token}.tmp", folder / MANIFEST)
            sync(folder)
        except BaseException:  # a KeyboardInterrupt too: only what this save wrote goes
            with suppress(OSError, CorruptFileError):
                _sweep(folder, [name for name in _ours(folder) if token in name])
            raise
        _sweep(folder, _ours(folder) if locked else replaced)
    return folder


def is_saved(path: str | os.PathLike[str], *, kind: str) -> bool:
    """Return whether a folder holds a save of a kind; False where one could be made, before the work for it is done.

    Reference: NumPy file format (NEP 1); guide *scale*, "Keep what was expensive".

    Raises
    ------
    FileExistsError
        Where something else than a save of this kind is in the way.
    ValueError
        For a path that names no folder; a CorruptFileError for a manifest that is damaged.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     is_saved(folder, kind="graph")
    False
    """
    folder = Path(path)
    if not folder.name:
        raise ValueError(f"folder must name a folder, got {os.fspath(path)!r}: 'graph', say")
    if not os.path.lexists(folder):
        return False
    if not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: choose another path, or remove it")
    try:
        held = read_manifest(folder)["kind"]
    except FileNotFoundError:
        _named_or_refuse(folder)
        return False
    if held != kind:
        raise FileExistsError(f"{folder} is in the way (it holds a {held!r}): choose another path, or remove it")
    return True


def load_arrays(
    path: str | os.PathLike[str], *, kind: str | None = None, verify: str = "full", mmap: bool = True
) -> Stored:
    """Load what `save_arrays` saved, or refuse it by name; a save under way is never seen half.

    Reference: NumPy file format (NEP 1); guide *scale*, "A save is refused".

    Parameters
    ----------
    path : str or path
        The folder.
    kind : str, optional
        Refuse any other kind.
    verify : {"full", "lazy"}
        Read every byte and compare checksums, or only the manifest (which has a checksum of its own), file sizes and
        headers: quick at any size, and blind to damage within an array. Checksums meet accidents; who can write
        the folder can also write them.
    mmap : bool
        Map the arrays from their files, read-only, rather than copy them into memory. The files never change, and a
        map outlives the save that replaces them; do not truncate them by other means.

    Returns
    -------
    Stored

    Raises
    ------
    CorruptFileError
        For damage, a foreign or newer format, another kind, or a name that leads out of the folder; before anything of
        the size that a file claims is allocated.
    FileNotFoundError
        Where there is no such folder.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = save_arrays(f"{folder}/ranks", kind="ranks", arrays={"r": np.arange(3)}, parameters={})
    ...     load_arrays(path, verify="lazy").verified
    False
    """
    if verify not in ("full", "lazy"):
        raise ValueError(f"verify must be 'full' or 'lazy', got {verify!r}")
    folder = Path(path)
    with ExitStack() as stack:
        manifest, files = _open_version(folder, stack)
        if kind not in (None, manifest["kind"]):
            raise CorruptFileError(f"{folder} holds a {manifest['kind']!r}, not a {kind!r}: check the path")
        arrays = {name: entry.read(file, full=verify == "full", mmap=mmap) for name, (entry, file) in files.items()}
    return Stored(
        manifest["kind"],
        MappingProxyType(arrays),
        manifest["parameters"],
        verified=verify == "full",
        path=str(folder),
        digest=manifest["sha256"],
    )


def _open_version(folder: Path, stack: ExitStack) -> tuple[Manifest, dict[str, tuple[Entry, BinaryIO]]]:
    """Open all files of one version, before a save could replace it; of the next one, if it did."""
    while True:
        try:
            manifest = read_manifest(folder)
        except (FileNotFoundError, NotADirectoryError):
            if not os.path.lexists(folder):
                raise FileNotFoundError(f"{folder} does not exist: check the path") from None
            raise CorruptFileError(f"{folder} holds no {MANIFEST}: it is no save, or its first one broke off") from None
        entries = {name: Entry.parse(value, name, folder) for name, value in manifest["arrays"].items()}
        files = {}
        with ExitStack() as opened:
            try:
                for name, entry in entries.items():
                    files[name] = entry, opened.enter_context(open_plain(folder / entry.file))
            except FileNotFoundError:
                # gone because a save has replaced this version, or lost
                if read_manifest(folder)["sha256"] == manifest["sha256"]:
                    raise CorruptFileError(f"{entry.where}: its file {entry.file} is missing") from None
                continue
            stack.push(opened.pop_all())
        return manifest, files


def _ours(folder: Path) -> list[str]:
    """Return the files in a folder that only a save makes, whole or broken off."""
    return [name for name in os.listdir(folder) if OURS.fullmatch(name)]


def _named_or_refuse(folder: Path) -> list[str]:
    """Return the array files in use, or raise where a save would replace something else than an older save."""
    try:
        return _named(folder)
    except FileNotFoundError:
        if set(os.listdir(folder)) <= set(_ours(folder)):
            return []
        reason = f"it holds other files and no {MANIFEST}"
    except CorruptFileError as error:
        reason = str(error)
    raise FileExistsError(f"{folder} is in the way ({reason}): choose another path, or remove it")


def _named(folder: Path) -> list[str]:
    return [Entry.parse(value, name, folder).file for name, value in read_manifest(folder)["arrays"].items()]


def _sweep(folder: Path, names: Collection[str]) -> None:
    """Delete those of these files that the manifest in place does not name; that manifest is known to be durable."""
    with suppress(FileNotFoundError):
        names = set(names) - set(_named(folder))
    for name in sorted(names):
        with suppress(OSError):
            os.unlink(folder / name)
