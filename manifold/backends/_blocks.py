"""Work in blocks: as large as memory allows, and smaller where it turns out to allow less."""

from __future__ import annotations

from collections.abc import Callable

from manifold.backends._base import Backend
from manifold.errors import MemoryBudgetError

_HALVINGS = 3


def in_blocks(work: Callable[[slice], object], n: int, *, most: int, bytes_each: int, backend: Backend) -> None:
    """Call ``work(part)`` for slices that cover 0..n-1, `most` long, or shorter where free memory asks for it.

    Where the device runs out of memory all the same, the part is tried again at half the length; after three halvings,
    or at length 1, that is an error. What `work` did before it failed must not matter.

    Reference: guide *scale*, "It does not fit".

    Parameters
    ----------
    bytes_each : int
        Memory that a part takes for each unit of its length.

    Raises
    ------
    MemoryBudgetError
        Where memory runs out for good, naming the length last tried.

    Examples
    --------
    >>> from manifold.backends import get_backend
    >>> parts = []
    >>> in_blocks(parts.append, 5, most=2, bytes_each=8, backend=get_backend())
    >>> parts
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    size = max(1, min(most, backend.free_memory() // max(bytes_each, 1)))
    first = halvings = 0
    while first < n:
        part = slice(first, min(first + size, n))
        try:
            work(part)
        except backend.out_of_memory as error:
            length = part.stop - first
            if length == 1 or halvings == _HALVINGS:
                raise MemoryBudgetError(
                    f"backend {backend.name!r} ran out of memory with blocks of {length} after {halvings} halvings "
                    f"({error}): free memory on the device, or use backend='scipy'"
                ) from error
            # for all parts to come: what did not fit once would not fit again
            size, halvings = -(-length // 2), halvings + 1
            continue
        first = part.stop
