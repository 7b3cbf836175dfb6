"""Several processes that work as one: a task in, and the parts of its answer out, one a rank.

A cluster is a client of dask.distributed, or anything with `ranks`. A task is called on every rank at once, and ranks
exchange arrays meanwhile; what a task computes is none of this room's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING

from manifold._checks import check_can, check_count
from manifold.backends import Array
from manifold.distributed.protocol import Cluster, Rank, Ranks

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Cluster", "Rank", "Ranks", "check", "cluster_of", "local"]


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
    check_count(n_workers, "n_workers")
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
    check_can(client, "scheduler_info", "status", name="client", a="a distributed.Client")
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
