"""A rank as it lives in a worker: one thread runs a task, and messages arrive beside it.

In: tasks and parts from the client, arrays from the other ranks. Out: answers; arrays to the other ranks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from manifold._typing import AnyArray
from manifold.backends import Array
from manifold.errors import WorkerLostError

_LOOK = 1.0  # seconds between two looks at the clock; what arrives is seen at once


class RunAbortedError(Exception):
    """The client has ended the run of a task: some other rank has failed, or nobody waits for the answer."""


class RankActor:
    """One of the ranks; methods that are coroutines are answered while a task runs."""

    def __init__(self, rank: int, timeout: float) -> None:
        self.rank, self.n_ranks, self.timeout = rank, 1, timeout
        self.kept: dict[object, Array] = {}
        self._peers: Sequence[Array] = []
        self._names: Sequence[str] = []
        self._box: dict[tuple[int, int, int], AnyArray] = {}
        self._arrived = threading.Condition()
        self._run = self._step = 0
        self._aborted = 0  # the last run that was ended from outside
        self._news: list[object] = []

    async def meet(self, peers: Sequence[Array], names: Sequence[str]) -> None:
        """Learn who the others are: actors by rank, and the addresses of their workers."""
        self._peers, self._names, self.n_ranks = peers, names, len(peers)

    async def put(self, key: tuple[int, int, int], part: AnyArray) -> None:
        """Take an array of a run, a step and a sender."""
        with self._arrived:
            self._box[key] = part
            self._arrived.notify_all()

    async def abort(self, run: int) -> None:
        """End a run, and those before it."""
        with self._arrived:
            self._aborted = max(self._aborted, run)
            self._arrived.notify_all()

    async def news(self) -> list[object]:
        """Return what the task has shown since the last time; an answer says that this worker is alive."""
        news, self._news = self._news, []
        return news

    def report(self, news: object) -> None:
        """Keep something for whoever listens."""
        self._news.append(news)

    def run(self, run: int, task: Array, part: Array) -> Array:
        """Call the task; what an earlier run has left in the box is thrown away."""
        with self._arrived:
            self._run, self._step = run, 0
            self._box = {key: array for key, array in self._box.items() if key[0] >= run}
        self._news = []
        # compiled loops have one version for arrays that may be written to, and would be compiled again for others
        fixed = [isinstance(x, np.ndarray) and not x.flags.writeable for x in part]
        return task(self, tuple(x.copy() if copied else x for x, copied in zip(part, fixed, strict=True)))

    def swap(self, parts: Mapping[int, AnyArray], sources: Collection[int]) -> dict[int, AnyArray]:
        """See `manifold.backends.exchange.Exchange`."""
        self._step += 1
        for other, part in parts.items():
            try:
                self._peers[other].put((self._run, self._step, self.rank), part)
            except RuntimeError as error:
                raise WorkerLostError(f"worker {self._names[other]} was lost") from error
        return {other: self._taken(other) for other in sources}

    def _taken(self, other: int) -> AnyArray:
        key, until = (self._run, self._step, other), time.monotonic() + self.timeout
        with self._arrived:
            while key not in self._box:
                self._go_on(other, until)
                self._arrived.wait(_LOOK)
            return self._box.pop(key)

    def _go_on(self, other: int, until: float) -> None:
        if self._aborted >= self._run:
            raise RunAbortedError
        if time.monotonic() > until:
            raise WorkerLostError(f"worker {self._names[other]} has sent nothing for {self.timeout:g} s")
