"""How kernels are compiled: a loop of Python in, machine code out, when it is first called; what rows hold, read there.

In: a kernel. Out: the same, compiled. `number` reads an entry of rows that are stored in fewer bits than float32.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

import numba
import numpy as np
from numba.extending import overload

from manifold.backends._base import Array

Kernel: TypeAlias = Callable[..., Array]  # typed when it is compiled
_SOURCES = sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).digest()


def compiled(kernel: Kernel, *, reorders: bool = False) -> Kernel:
    """Return a kernel that lets the interpreter go, kept on disk where there is a folder to write to.

    With `reorders` its sums may be added up in any order.

    >>> compiled(lambda x: 2 * x)(21)
    42
    """
    try:
        made = numba.njit(nogil=True, cache=True, fastmath=reorders)(kernel)
        # Numba looks at the file of a kernel alone, and would keep what the kernels of other files were when it was
        # compiled: code is of use only to the sources of this whole folder
        kept: Array = vars(made)["_cache"]._cache_file
        kept._source_stamp = kept._source_stamp, _SOURCES
    except (RuntimeError, LookupError, AttributeError):  # no folder to write to; or Numba does not say what it keeps
        return numba.njit(nogil=True, fastmath=reorders)(kernel)
    return made


def number(entry: Array) -> Array:
    """Return an entry of stored rows as float32, exactly: of float32, int8, uint8 and, as the bits it is, float16.

    Numba has no float16 on the host, so such rows are passed as uint16 (`PointSet.plain`).

    >>> number(np.float16(0.5).view(np.uint16)), number(np.int8(-3))
    (np.float32(0.5), np.float32(-3.0))
    """
    return np.float32(entry.view(np.float16) if entry.dtype == np.uint16 else entry)


@overload(number)
def _number(entry):  # type: ignore[no-untyped-def]
    if entry != numba.types.uint16:

        def single(entry):  # type: ignore[no-untyped-def]
            return np.float32(entry)

        return single

    def half(entry):  # type: ignore[no-untyped-def]
        # exponent and fraction move to where float32 has them; the exponents' zeros are 127 - 15 = 112 apart
        bits = np.uint32(entry)
        moved = ((bits & np.uint32(0x8000)) << np.uint32(16)) | ((bits & np.uint32(0x7FFF)) << np.uint32(13))
        return np.uint32(moved).view(np.float32) * np.float32(2.0**112)

    return half
