"""How processes that hold rows of the same blocks talk: arrays to others, arrays from others, in step."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from manifold._typing import AnyArray

Arrays: TypeAlias = Mapping[int, AnyArray]  # by rank


class Exchange(Protocol):
    """How ranks talk: all of them call `swap` in turn, as often as the others."""

    rank: int
    n_ranks: int

    def swap(self, parts: Arrays, sources: Collection[int]) -> Arrays:
        """Send an array to each rank that `parts` names, and return those that the ranks in `sources` sent to this one.

        >>> from manifold.backends.exchange import Alone
        >>> Alone().swap({}, [])
        {}
        """


@dataclass(frozen=True)
class Alone:
    """The exchange of a rank without others.

    Reference: guide *cluster*, "What a worker does".

    >>> Alone().n_ranks
    1
    """

    rank: int = 0
    n_ranks: int = 1

    def swap(self, parts: Arrays, sources: Collection[int]) -> Arrays:
        """Return nothing: there is nobody to send it.

        >>> Alone().swap({}, [])
        {}
        """
        return {}
