"""Clusters of dask.distributed: the only file that imports it.

In: a client. Out: the workers behind it, looked at, as ranks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike

from manifold.distributed._checks import check_addresses, check_workers
from manifold.distributed._run import DaskRanks, gone
from manifold.errors import WorkerLostError

try:
    from distributed import Client, LocalCluster
except ImportError as error:  # also where a package that it needs is missing
    raise ImportError(
        f"clusters need the extra 'distributed': pip install 'manifold-search[distributed]' ({error})"
    ) from error

_NAME = "manifold"  # of what a client keeps for us, as long as it lives itself
_REPLACED = 30.0  # seconds within which a lost worker is expected back


@contextmanager
def local_client(n_workers: int, *, threads: int, memory_limit: str | int) -> Iterator[Client]:
    """Start processes on the loopback interface, and end them."""
    with (
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=threads,
            processes=True,
            memory_limit=memory_limit,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # or a port that another cluster may have
        ) as cluster,
        Client(cluster, direct_to_workers=True) as client,
    ):
        yield client


def checked(client: Client, *, path: str | PathLike[str] | None, insecure: bool, timeout: float) -> DaskCluster:
    """Return a cluster that was looked at, the same one for a client."""
    workers = _workers(client)
    check_addresses([client.scheduler.address, *workers], insecure=insecure)
    check_workers(client.run, path)
    cluster: DaskCluster | None = client.extensions.get(_NAME)
    if cluster is None or (cluster.insecure, cluster.timeout) != (insecure, timeout):
        cluster = client.extensions[_NAME] = DaskCluster(client, insecure=insecure, timeout=timeout)
    return cluster


def known(client: Client) -> DaskCluster:
    """Return the cluster of a client, checked as if nothing were said where it is new."""
    cluster: DaskCluster | None = client.extensions.get(_NAME)
    return cluster or checked(client, path=None, insecure=False, timeout=60.0)


def _workers(client: Client) -> list[str]:
    """Return the addresses of all workers."""
    if client.status != "running":
        raise gone(client)
    return sorted(client.scheduler_info(n_workers=-1)["workers"])


class DaskCluster:
    """The workers of a client as ranks, kept from one solve to the next, and new ones where some were lost."""

    def __init__(self, client: Client, *, insecure: bool, timeout: float) -> None:
        self.client, self.insecure, self.timeout = client, insecure, timeout
        self._ranks: DaskRanks | None = None

    def ranks(self) -> DaskRanks:
        """Return ranks on all workers that are there; those that were lost are waited for first."""
        workers = _workers(self.client)
        before = self._ranks
        if before is not None and before.is_whole and before.workers == workers:
            return before
        if before is not None and not before.is_whole:
            with suppress(TimeoutError):  # fewer workers answer with the same bits
                self.client.wait_for_workers(before.size, timeout=_REPLACED)
            workers = _workers(self.client)
        if not workers:
            raise WorkerLostError(f"{self.client!r} has no worker: start some", can_go_on=False)
        check_addresses([self.client.scheduler.address, *workers], insecure=self.insecure)
        self._ranks = DaskRanks(self.client, workers, timeout=self.timeout)
        return self._ranks
