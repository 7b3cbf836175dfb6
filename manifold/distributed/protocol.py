"""What a task finds on a rank, what runs it on all of them, and where ranks come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from manifold.backends import Array
from manifold.backends.exchange import Exchange


class Rank(Exchange, Protocol):
    """What a task finds where it runs: an exchange with the other ranks, and what earlier tasks have kept.

    Reference: guide *cluster*, "What a worker does".

    Examples
    --------
    >>> from manifold.backends.exchange import Alone
    >>> Alone().n_ranks, Alone().swap({}, [])  # what a rank adds to this is `kept` and `report`
    (1, {})
    """

    kept: dict[object, Array]

    def report(self, news: object) -> None:
        """Show something to whoever listens to the run."""


Task: TypeAlias = Callable[[Rank, Array], Array]  # called with the rank and its part


class Ranks(Protocol):
    """Processes that are ready.

    Reference: guide *cluster*, "What a worker does".

    Examples
    --------
    >>> class Here:  # this process
    ...     size, kept = 1, {}
    ...     def run(self, task, parts, *, listen=None): return [task(self, part) for part in parts]
    >>> ranks: Ranks = Here()
    >>> ranks.run(lambda rank, part: part + 1, [41])
    [42]
    """

    size: int

    def run(self, task: Task, parts: Sequence[Array], *, listen: Callable[[Array], None] | None = None) -> list[Array]:
        """Call the task on every rank at once, each with its part; return what they answer, in their order.

        Raises
        ------
        WorkerLostError
            Where a process ends, or does not answer; no other goes on with the task.
        """


class Cluster(Protocol):
    """Where ranks come from.

    Reference: guide *cluster*, "What a worker does".

    Examples
    --------
    >>> class Here:  # this process, as a cluster of one
    ...     size, kept = 1, {}
    ...     def ranks(self): return self
    ...     def run(self, task, parts, *, listen=None): return [task(self, part) for part in parts]
    >>> cluster: Cluster = Here()
    >>> cluster.ranks().size
    1
    """

    def ranks(self) -> Ranks:
        """Return the processes that are there, new ones in place of those that were lost."""
