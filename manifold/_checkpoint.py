"""Long work that survives being stopped: arrays on disk, filled block by block, with a note of what is done.

In: a folder, the arrays' shapes, and a fingerprint of the work. Out: writable arrays and a flag for each block. A block
is flagged after its rows have reached the disk, so that a resumed build never trusts half a block.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Checkpoint:
    """Named arrays of a build in blocks; in memory without a folder, on disk, and resumable, with one.

    Parameters
    ----------
    folder : path or None
        Made if absent; one that holds another build is refused.
    arrays : mapping name -> (shape, dtype)
    n_blocks : int
    fingerprint : str
        Of everything the result depends on.

    Raises
    ------
    ValueError
        For a folder that holds another build, or none at all.

    Examples
    --------
    >>> state = Checkpoint(None, {"x": ((4,), "float32")}, n_blocks=2, fingerprint="")
    >>> state.todo
    [0, 1]
    """

    def __init__(
        self, folder: Any, arrays: Mapping[str, tuple[tuple[int, ...], Any]], *, n_blocks: int, fingerprint: str
    ) -> None:
        if folder is None:
            self.arrays: dict[str, NDArray[Any]] = {name: np.empty(*kind) for name, kind in arrays.items()}
            self._done: NDArray[Any] = np.zeros(n_blocks, dtype=np.uint8)
            return
        folder = Path(folder)
        note = folder / "checkpoint.json"
        fresh = not note.exists()
        if fresh and folder.exists() and any(folder.iterdir()):
            raise ValueError(f"checkpoint={str(folder)!r} is not empty and holds no build: choose another folder")
        if not fresh and json.loads(note.read_text())["fingerprint"] != fingerprint:
            raise ValueError(
                f"checkpoint={str(folder)!r} belongs to another build (other graph or settings): choose another folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        kinds = {**arrays, "_done": ((n_blocks,), np.uint8)}
        opened = {name: _open(folder / f"{name}.npy", kind, fresh=fresh) for name, kind in kinds.items()}
        self._done = opened.pop("_done")
        self.arrays = opened
        if fresh:  # written last: a folder without it was stopped before it held anything
            note.write_text(json.dumps({"fingerprint": fingerprint}))

    @property
    def todo(self) -> list[int]:
        """Blocks that are not done."""
        return [int(block) for block in np.flatnonzero(self._done == 0)]

    def finish(self, block: int) -> None:
        """Flag a block whose rows have been written."""
        for array in (*self.arrays.values(), None, self._done):
            if array is None:
                self._done[block] = 1
            elif isinstance(array, np.memmap):
                array.flush()


def fingerprint(*parts: Any) -> str:
    """Return a digest of arrays and of the ``repr`` of everything else.

    >>> fingerprint(np.arange(3), "a") == fingerprint(np.arange(3), "b")
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
        digest.update(b"|")
    return digest.hexdigest()


def _open(path: Path, kind: tuple[tuple[int, ...], Any], *, fresh: bool) -> NDArray[Any]:
    shape, dtype = kind
    if fresh:
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
    array = np.load(path, mmap_mode="r+", allow_pickle=False)
    if array.shape != shape or array.dtype != np.dtype(dtype):
        raise ValueError(f"{path} holds {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}: start anew")
    return np.asanyarray(array)
