"""A saved folder as one file to send, and back: a zip of its own few files, stored as they are.

Nothing is compressed, so that nothing can unfold to more than was sent; and no name in a file is ever a path.
"""

from __future__ import annotations

import io
import os
import secrets
import shutil
import zipfile
from contextlib import ExitStack
from pathlib import Path

from manifold.errors import CorruptFileError
from manifold.storage._files import sync, write_atomically
from manifold.storage._manifest import MANIFEST, OURS, Entry, read_manifest

_CHUNK = 1 << 20


class _Frugal(io.BufferedReader):
    """A file that gives a chunk at a time, whatever length the table of a zip claims or has."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = os.fstat(self.fileno()).st_size - self.tell()
        if size > _CHUNK:
            raise ValueError(f"{size} bytes are more than its table may take")
        return super().read(size)


def export_file(folder: str | os.PathLike[str], file: str | os.PathLike[str]) -> Path:
    """Write the version that a folder holds as one zip, in place of an older file or not at all.

    Reference: Zip (APPNOTE 6.3), stored without compression; guide *scale*, "Keep what was expensive".

    Raises
    ------
    CorruptFileError
        Where the folder is no save.
    OSError
        As the system has it; an older file is then as it was.

    Examples
    --------
    >>> import numpy as np
    >>> from tempfile import TemporaryDirectory
    >>> from manifold.storage import load_arrays, save_arrays
    >>> with TemporaryDirectory() as at:
    ...     saved = save_arrays(f"{at}/ranks", kind="ranks", arrays={"r": np.arange(3)}, parameters={})
    ...     sent = export_file(saved, f"{at}/ranks.zip")
    ...     load_arrays(import_file(sent, f"{at}/again"), mmap=False).arrays["r"].tolist()
    [0, 1, 2]
    """
    folder, file = Path(folder), Path(file)
    manifest = read_manifest(folder)
    entries = [Entry.parse(value, name, folder) for name, value in manifest["arrays"].items()]

    def fill(out: object) -> None:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
            for name in (MANIFEST, *(entry.file for entry in entries)):
                archive.write(folder / name, name)

    write_atomically(file, fill)
    return file


def import_file(file: str | os.PathLike[str], folder: str | os.PathLike[str]) -> Path:
    """Unpack what `export_file` wrote as a new folder, whole or not at all; `manifold.load` checks what it says.

    Reference: Zip (APPNOTE 6.3), stored without compression; guide *scale*, "A save is refused".

    Raises
    ------
    CorruptFileError
        For a file that is no such zip: members of other names (``../`` and absolute ones among them), links,
        compressed or repeated members, more bytes than the file has, or checksums that fail.
    FileExistsError
        Where `folder` is.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as at:
    ...     try:
    ...         import_file(__file__, f"{at}/folder")
    ...     except CorruptFileError as error:
    ...         str(error).endswith("is no export of a save: File is not a zip file")
    True
    """
    file, folder = Path(file), Path(folder)
    if os.path.lexists(folder):
        raise FileExistsError(f"{folder} is in the way: choose another path, or remove it")
    unfinished = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.tmp")
    with ExitStack() as stack:
        try:
            source = stack.enter_context(_Frugal(io.FileIO(file)))
            archive = stack.enter_context(zipfile.ZipFile(source))
            members = archive.infolist()
            _refuse_strangers(file, members)
            os.mkdir(unfinished)
            stack.callback(shutil.rmtree, unfinished, ignore_errors=True)
            for member in members:
                with archive.open(member) as data, open(unfinished / member.filename, "xb") as target:
                    shutil.copyfileobj(data, target, _CHUNK)
                    target.flush()
                    os.fsync(target.fileno())
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            raise CorruptFileError(f"{file} is no export of a save: {error}") from error
        sync(unfinished)
        os.rename(unfinished, folder)
        sync(folder.parent)
    return folder


def _refuse_strangers(file: Path, members: list[zipfile.ZipInfo]) -> None:
    """Raise ValueError for a member that `export_file` does not write; nothing has been unpacked then."""
    names = [member.filename for member in members]
    for member, name in zip(members, names, strict=True):
        if not (name == MANIFEST or OURS.fullmatch(name)) or member.orig_filename != name:
            raise ValueError(f"it holds {name!r}, which no save makes")
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise ValueError(f"{name} is compressed, and only stored members are read")
        if member.external_attr >> 16 & 0o170000 not in (0, 0o100000):
            raise ValueError(f"{name} is a link or a device")
    if len(set(names)) < len(names) or MANIFEST not in names:
        raise ValueError(f"it holds {len(names)} members, some of one name, or no {MANIFEST}")
    if sum(member.file_size for member in members) > file.stat().st_size:
        raise ValueError("its members claim more bytes than it has")
