"""How kernels are compiled: a loop of Python in, machine code out, when it is first called."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numba

from manifold.backends._base import Array

Kernel: TypeAlias = Callable[..., Array]  # typed when it is compiled


def compiled(kernel: Kernel) -> Kernel:
    """Return a kernel that lets the interpreter go, kept on disk where there is a folder to write to.

    >>> compiled(lambda x: 2 * x)(21)
    42
    """
    try:
        return numba.njit(nogil=True, cache=True)(kernel)
    except RuntimeError:  # no folder to write to
        return numba.njit(nogil=True)(kernel)
