"""Several processes that work as one: a task in, and the parts of its answer out, one a rank.

A cluster is a client of dask.distributed, or anything with `ranks`. A task is called on every rank at once, and ranks
exchange arrays meanwhile; what a task computes is none of this room's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING, Protocol, TypeAlias

from manifold.backends import Array
from manifold.backends.exchange import Exchange

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Cluster", "Rank", "Ranks", "check", "cluster_of", "local"]


class Rank(Exchange, Protocol):
    """What a task finds where it runs: an exchange with the other ranks, and what earlier tasks have kept.

    Reference: guide *cluster*, "What a worker does".
    """

    kept: dict[object, Array]

    def report(self, news: object) -> None:
        """Show something to whoever listens to the run."""


Task: TypeAlias = Callable[[Rank, Array], Array]  # called with the rank and its part


class Ranks(Protocol):
    """Processes that are ready.

    Reference: guide *cluster*, "What a worker does".
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
    """

    def ranks(self) -> Ranks:
        """Return the processes that are there, new ones in place of those that were lost."""


@contextmanager
def local(n_workers: int = 2, *, threads: int = 1, memory_limit: str | int = "auto") -> Iterator[Client]:
    """Start worker processes on this machine, reachable from it alone, and end them.

    Reference: guide *cluster*, "One machine, to try it".

    Parameters
    ----------
    n_workers : int
    threads : int
        Of each worker, in compiled loops and linear algebra.
    memory_limit : str or int
        Of each worker, see `distributed.LocalCluster`; above it a worker is started anew.

    Yields
    ------
    distributed.Client

    Raises
    ------
    ImportError
        Without the extra ``distributed``.
    """
    from manifold.distributed._dask import local_client

    with local_client(n_workers, threads=threads, memory_limit=memory_limit) as client:
        yield client


def check(
    client: Client, *, path: str | PathLike[str] | None = None, insecure: bool = False, timeout: float = 60.0
) -> Cluster:
    """Look at a cluster before it is trusted with work, and return it as one that solves take.

    Reference: guide *cluster*, "Who may reach it".

    Parameters
    ----------
    client : distributed.Client
    path : str or path, optional
        A saved folder that every worker must find, with the arrays that are found here.
    insecure : bool
        Whether addresses that are neither of this machine nor TLS will do: whoever reaches one runs code there.
    timeout : float
        Seconds after which a worker that does not answer is given up.

    Raises
    ------
    ValueError
        For open addresses, naming the first; for workers with other versions of the package; for a folder that is
        another there.
    WorkerLostError
        Where there is no worker.

    Warns
    -----
    ManifoldWarning
        Where processors or versions of libraries differ: answers agree within their bounds, not to the bit.
    """
    from manifold.distributed._dask import checked

    return checked(client, path=path, insecure=insecure, timeout=timeout)


def cluster_of(cluster: object) -> Cluster:
    """Return a cluster as solves take it: a client that was not looked at yet is checked.

    Reference: guide *cluster*, "Who may reach it".

    Raises
    ------
    TypeError
        For anything else.

    Examples
    --------
    >>> try:
    ...     cluster_of("tcp://10.0.0.1:8786")
    ... except TypeError as error:
    ...     print(error)
    cluster must be a distributed.Client or manifold.distributed.check(client), got str
    """
    given: Array = cluster
    if callable(getattr(given, "ranks", None)):
        made: Cluster = given
        return made
    # recognised, not imported: who has a client has the package
    if type(cluster).__module__.split(".")[0] == "distributed" and hasattr(cluster, "scheduler_info"):
        from manifold.distributed._dask import known

        return known(given)
    raise TypeError(
        f"cluster must be a distributed.Client or manifold.distributed.check(client), got {type(cluster).__name__}"
    )
