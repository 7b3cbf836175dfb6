"""Long work that survives being stopped: arrays on disk, filled block by block, with a digest of each that is done.

In: a folder, the arrays' shapes, and a fingerprint of the work. Out: writable arrays and the blocks that are to do. A
block counts as done where its rows are, bit for bit, what was written: one that was torn or damaged is done again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from manifold._typing import AnyArray
from manifold.errors import CorruptFileError
from manifold.storage._files import open_plain, write_atomically, writing
from manifold.storage._manifest import Entry

_NOTE = "checkpoint.json"
_DIGEST = hashlib.sha256().digest_size


class Blocks:
    """Named arrays of a build, filled by blocks of rows.

    Parameters
    ----------
    arrays : dict of str to array
        With the same number of rows, all of them.
    width : int
        Rows of a block.
    digests : array (n_blocks, 32) of uint8, optional
        Of the blocks that are done; zeros elsewhere.

    Examples
    --------
    >>> with open_blocks(None, {"x": ((5,), "float32")}, width=2, fingerprint="") as state:
    ...     state.write(2, {"x": 7.0})
    ...     state.todo, state.arrays["x"][4].item()
    ([0, 1, 2], 7.0)
    """

    def __init__(self, arrays: dict[str, AnyArray], width: int, digests: NDArray[np.uint8] | None = None) -> None:
        self.arrays, self._width, self._digests = arrays, width, digests
        n_blocks = -(-max((len(array) for array in arrays.values()), default=0) // width)
        self.todo = list(range(n_blocks))
        if digests is not None:
            self.todo = [i for i in self.todo if not (digests[i].any() and digests[i].tobytes() == self._digest(i))]

    def write(self, block: int, parts: Mapping[str, ArrayLike]) -> None:
        """Write the rows of a block; on disk, with their digest, when this returns.

        >>> blocks = Blocks({"x": np.zeros(3)}, 2)
        >>> blocks.write(0, {"x": [1.0, 2.0]})
        >>> blocks.arrays["x"].tolist()
        [1.0, 2.0, 0.0]
        """
        with np.errstate(under="ignore"):  # what is rounded to 0 is the writer's to count
            for name, values in parts.items():
                self.arrays[name][self._rows(block)] = values
        if self._digests is not None:
            self._digests[block] = np.frombuffer(self._digest(block), dtype=np.uint8)
            for array in (*self.arrays.values(), self._digests):
                array.flush()  # type: ignore[attr-defined]

    def _rows(self, block: int) -> slice:
        return slice(block * self._width, (block + 1) * self._width)

    def _digest(self, block: int) -> bytes:
        digest = hashlib.sha256()
        for array in self.arrays.values():
            digest.update(np.ascontiguousarray(array[self._rows(block)]).data)
        return digest.digest()


@contextmanager
def open_blocks(
    folder: str | os.PathLike[str] | None,
    arrays: Mapping[str, tuple[tuple[int, ...], DTypeLike]],
    *,
    width: int,
    fingerprint: str,
) -> Iterator[Blocks]:
    """Open the arrays of a build: in memory without a folder; on disk, and as far as they were filled, with one.

    Parameters
    ----------
    folder : path or None
        Made if absent, and held until the end: another build there waits for it.
    arrays : mapping of str to (shape, dtype)
    width : int
        Rows of a block.
    fingerprint : str
        Of everything the result depends on.

    Raises
    ------
    ValueError
        For a folder that holds another build, or none at all; a CorruptFileError where a file of it is damaged.
    OSError
        As the system has it: a disk that has no room says so before anything is computed.

    Examples
    --------
    >>> with open_blocks(None, {"x": ((3, 2), "float32")}, width=2, fingerprint="") as state:
    ...     state.todo
    [0, 1]
    """
    if folder is None:
        yield Blocks({name: np.empty(*kind) for name, kind in arrays.items()}, width)
        return
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with writing(folder):
        note(folder, fingerprint)
        opened = {name: _mapped(folder / f"{name}.npy", *kind) for name, kind in arrays.items()}
        n_blocks = -(-max((len(array) for array in opened.values()), default=0) // width)
        yield Blocks(opened, width, _mapped(folder / "_done.npy", (n_blocks, _DIGEST), np.uint8))


def fingerprint(*parts: object) -> str:
    """Return a digest of arrays and of the ``repr`` of everything else.

    >>> fingerprint(np.arange(3), "a") == fingerprint(np.arange(3), "b")
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
        digest.update(b"|")
    return digest.hexdigest()


def note(folder: Path, fingerprint: str) -> None:
    """Note whose build a folder holds, or raise ValueError where it holds another, or something else.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     note(Path(folder), "one")
    ...     note(Path(folder), "another")
    Traceback (most recent call last):
    ValueError: checkpoint='...' belongs to another build (other input or settings): choose another folder
    """
    path, where = folder / _NOTE, f"checkpoint={str(folder)!r}"
    if not path.exists():
        if any(not name.startswith(f".{_NOTE}.") for name in os.listdir(folder)):
            raise ValueError(f"{where} is not empty and holds no build: choose another folder")
        text = json.dumps({"fingerprint": fingerprint})
        write_atomically(path, lambda file: file.write(text.encode()))
        return
    try:
        with open_plain(path) as file:
            found = json.loads(file.read(4096))["fingerprint"]
    except (ValueError, TypeError, LookupError) as error:
        raise CorruptFileError(f"{path} is damaged ({error!r}): remove {folder}, and build anew") from None
    if found != fingerprint:
        raise ValueError(f"{where} belongs to another build (other input or settings): choose another folder")


def _mapped(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> AnyArray:
    """Map an array from its file, which is made, with all its room, where there is none."""
    entry = Entry("", path.name, np.dtype(dtype).str, shape, 0, "")

    def reserve(file: IO[bytes]) -> None:  # a map of a file with holes would crash on a full disk
        file.write(entry.header)
        file.flush()
        getattr(os, "posix_fallocate", lambda n, _, size: os.truncate(n, size))(file.fileno(), 0, entry.expected_size)

    if not path.exists():
        write_atomically(path, reserve)
    with open_plain(path) as file:
        if os.fstat(file.fileno()).st_size != entry.expected_size or file.read(len(entry.header)) != entry.header:
            raise CorruptFileError(
                f"{path}: array {path.stem!r} is not {entry.dtype} {shape}, as this build has it: it was cut or "
                f"replaced; remove {path.parent}, and build anew"
            )
    return np.memmap(path, entry.dtype, "r+", len(entry.header), shape)
