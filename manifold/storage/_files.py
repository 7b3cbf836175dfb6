"""Files and folders, one system call at a time: durable writes, plain opens, a lock."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any, BinaryIO

from manifold.errors import CorruptFileError

fcntl: Any = import_module("fcntl") if os.name == "posix" else None  # without: no locks, no syncing of folders


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading that is neither a link nor a device."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise CorruptFileError(f"{path} is a link, a folder or a device: only plain files are read")
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return open(path, "rb", opener=lambda name, mode: os.open(name, mode | flags))


def write(path: Path, parts: Collection[bytes | memoryview]) -> str:
    """Write a new file durably, and return its SHA-256."""
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        for part in parts:
            digest.update(part)
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError as error:  # of a full disk: the system names no file
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file beside `path`, then move it there: whoever reads finds the old file or the new one, whole.

    Reference: POSIX (2017), rename; guide *scale*, "Keep what was expensive".

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder, "note"), lambda file: file.write(b"whole"))
    ...     Path(folder, "note").read_bytes()
    b'whole'
    """
    path = Path(os.path.realpath(path))  # a link stays, and what it leads to is written
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path} is a folder or a device: choose another path")
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(unfinished, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    if fcntl is not None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def writing(folder: Path) -> Iterator[bool]:
    """Make the folder where there is none, hold its lock, and give whether there is one; undo it for an error."""
    while True:
        made, held = _make(folder), False
        try:
            with _locked(folder) as locked:
                if locked is None:  # another writer failed, and took its folder away
                    continue
                held = True
                try:
                    with suppress(PermissionError):  # a parent that may not be read cannot be synced
                        sync(folder.parent)
                    yield locked
                    return
                except BaseException:
                    _undo(folder, made)  # before the lock goes to a writer that waits
                    raise
        except BaseException:
            if not held:
                _undo(folder, made)
            raise


def _undo(folder: Path, made: bool) -> None:
    if made:
        with suppress(OSError):
            os.rmdir(folder)  # fails unless empty


def _make(folder: Path) -> bool:
    try:
        os.mkdir(folder)
    except FileNotFoundError:
        raise FileNotFoundError(f"{folder.parent} does not exist, where {folder.name} should lie: make it") from None
    except FileExistsError:
        if os.path.lexists(folder) and not folder.is_dir():
            raise FileExistsError(f"{folder} is a file: choose another path, or remove it") from None
        return False
    return True


@contextmanager
def _locked(folder: Path) -> Iterator[bool | None]:
    """Hold the lock of a folder: None where the folder is gone by then, False where there are no locks."""
    if fcntl is None:
        yield False
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            locked = True
        except OSError:
            locked = False
        try:
            same = os.path.samestat(os.fstat(descriptor), os.stat(folder))
        except FileNotFoundError:
            same = False
        yield locked if same else None
    finally:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # also where a fork has copied the descriptor
        os.close(descriptor)
