"""Ranks as actors of a client: runs that are watched, and ended on all of them where one fails.

In: a client, the addresses of workers, a task. Out: what each rank answers, or the error that says which was lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from manifold.backends import Array
from manifold.distributed._actor import RankActor, RunAbortedError
from manifold.errors import WorkerLostError

if TYPE_CHECKING:
    from distributed import Client

    from manifold.distributed.protocol import Task

_SHORTEST, _LONGEST = 0.001, 0.02  # seconds between two looks at a run
_THERE = ("finished", "pending")  # the states of a future whose actor is there
_PING = 2.0  # seconds between two questions whether a worker is alive


def gone(client: Client) -> WorkerLostError:
    """Return the error that says how to go on without the scheduler."""
    return WorkerLostError(
        f"the scheduler of {client!r} is gone: connect a client to another cluster and call again; what earlier calls "
        "have finished, and folders of a build, stay as they are",
        can_go_on=False,
    )


class DaskRanks:
    """One actor on each of some workers."""

    def __init__(self, client: Client, workers: Sequence[str], *, timeout: float) -> None:
        self.client, self.workers, self.size, self.timeout = client, workers, len(workers), timeout
        self.is_whole, self._run = True, 0
        token = uuid4().hex[:8]
        self._held = [
            client.submit(
                RankActor,
                rank,
                timeout,
                key=f"manifold-rank-{token}-{rank}",
                workers=[worker],
                allow_other_workers=False,
                actor=True,
                pure=False,
            )
            for rank, worker in enumerate(workers)
        ]
        self._actors = [self._actor(rank) for rank in range(self.size)]
        self._watched([actor.meet(self._actors, workers) for actor in self._actors], None)

    def _actor(self, rank: int) -> Array:
        try:
            return self._held[rank].result(timeout=self.timeout)
        except Exception as error:  # of a worker that ends or stalls dask says it in many ways
            reason = f"worker {self.workers[rank]} has not begun a rank within {self.timeout:g} s"
            raise gone(self.client) if self.client.status != "running" else WorkerLostError(reason) from error

    def run(self, task: Task, parts: Sequence[Array], *, listen: Callable[[Array], None] | None = None) -> list[Array]:
        """Call the task on every rank at once, each with its part."""
        self._run += 1
        calls = [actor.run(self._run, task, part) for actor, part in zip(self._actors, parts, strict=True)]
        try:
            return self._watched(calls, listen)
        except BaseException as error:  # a KeyboardInterrupt too: nothing runs on
            self.is_whole = self.is_whole and not isinstance(error, WorkerLostError)
            self._abort(calls)
            raise

    def _watched(self, calls: Sequence[Array], listen: Callable[[Array], None] | None) -> list[Array]:
        """Return the answers; raise what a rank raises, or what ends one, as soon as it is seen."""
        pause, asked = _SHORTEST, time.monotonic()
        pings: list[Array] = []
        while True:
            answers = [self._answer(rank, call) for rank, call in enumerate(calls) if call.done()]
            if len(answers) == len(calls):
                if listen is not None:
                    self._tell(pings, listen)
                    self._tell([self._actors[0].news()], listen)
                return answers
            self._look()
            now = time.monotonic()
            if all(ping.done() for ping in pings):
                self._tell(pings, listen)
                pings = []
                if now - asked > (_LONGEST if listen is not None else _PING):
                    pings, asked = self._pings(), now
            elif now - asked > self.timeout:
                silent = next(rank for rank, ping in enumerate(pings) if not ping.done())
                raise WorkerLostError(f"worker {self.workers[silent]} has not answered for {self.timeout:g} s")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST)

    def _answer(self, rank: int, call: Array) -> Array:
        try:
            return call.result(timeout=self.timeout)
        except RunAbortedError:  # it is the other's failure that is told
            return None
        except BaseException as error:
            # what breaks because a worker is gone is told as that; of a task an error of this very class is unheard of
            if type(error) is OSError:
                raise WorkerLostError(f"worker {self.workers[rank]} was lost") from error
            self._look()
            raise

    def _tell(self, pings: Sequence[Array], listen: Callable[[Array], None] | None) -> None:
        """Show the news of the first rank, which has all there are; the others' only say that they are alive."""
        told = [self._answer(rank, ping) for rank, ping in enumerate(pings)]
        if told and listen is not None:
            for news in told[0]:
                listen(news)

    def _pings(self) -> list[Array]:
        try:
            return [actor.news() for actor in self._actors]
        except RuntimeError:  # as an actor says that it is lost
            self._look()
            raise

    def _look(self) -> None:
        """Raise where a worker or the scheduler is gone."""
        for worker, held in zip(self.workers, self._held, strict=True):
            if held.status not in _THERE:
                time.sleep(_LONGEST)  # a client that has lost all of them will know by then
                raise (
                    gone(self.client)
                    if self.client.status != "running"
                    else WorkerLostError(f"worker {worker} was lost")
                )
        if self.client.status != "running":
            raise gone(self.client)

    def _abort(self, calls: Sequence[Array]) -> None:
        """End the run on all ranks that are left, and wait until they have left it."""
        for actor in self._actors:
            with suppress(Exception):  # one that is lost has nothing to end
                actor.abort(self._run)
        until = time.monotonic() + min(self.timeout, 10.0)
        while time.monotonic() < until and not all(call.done() for call in calls):
            if not self.is_whole and self._all_left(calls):
                return
            time.sleep(_LONGEST)

    def _all_left(self, calls: Sequence[Array]) -> bool:
        """Whether every rank on a worker that is still there has left the run."""
        return all(call.done() or held.status not in _THERE for call, held in zip(calls, self._held, strict=True))
