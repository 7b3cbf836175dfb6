"""A cluster made of threads: each rank is one, messages are queues, and whatever a process could keep is kept apart.

A green run proves that ranks compute what one process computes, to the bit, and that all of them call `swap` in step.
It does not prove anything about processes, serialisation, or what is lost.
"""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from queue import Queue


class _Rank:
    def __init__(self, rank, n_ranks, boxes):
        self.rank, self.n_ranks, self.boxes, self.kept, self.messages = rank, n_ranks, boxes, {}, 0
        self.listen = None

    def swap(self, parts, sources):
        for other, part in parts.items():
            self.messages += 1
            self.boxes[self.rank, other].put(part.copy())
        return {other: self.boxes[other, self.rank].get(timeout=60) for other in sources}

    def report(self, news):
        if self.listen is not None:
            self.listen(news)


class ThreadRanks:
    """Ranks on threads of this process; also a cluster, of which they are the ranks."""

    def __init__(self, size):
        self.size, boxes = size, {(i, j): Queue() for i in range(size) for j in range(size)}
        self.members = [_Rank(i, size, boxes) for i in range(size)]

    def ranks(self):
        return self

    def run(self, task, parts, *, listen=None):
        start = threading.Barrier(self.size)

        def one(member, part):
            start.wait()
            return pickle.loads(pickle.dumps(task))(member, part)  # a task of its own, as on another machine

        for member in self.members:
            member.listen = listen
        with ThreadPoolExecutor(self.size) as pool:
            return [
                each.result() for each in [pool.submit(one, *pair) for pair in zip(self.members, parts, strict=True)]
            ]
