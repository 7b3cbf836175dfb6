"""Rows with room behind them: what joins is written there, once, and nothing that was there before is copied.

In: rows, and others that follow. Out: all of them, plain and contiguous, in one place.
"""

from __future__ import annotations

import threading

import numpy as np

from manifold._typing import AnyArray

_SHARE = 8  # of the rows are there as room behind them, once some have joined


class Room:
    """A buffer of which the first rows are taken; whoever holds those may append, who is first.

    >>> room = Room(np.zeros((2, 1)), 3)
    >>> room.appended(2, np.ones((3, 1))).ravel().tolist(), room.appended(2, np.ones((1, 1))) is None
    ([0.0, 0.0, 1.0, 1.0, 1.0], True)
    """

    def __init__(self, rows: AnyArray, more: int) -> None:
        n = len(rows)
        self._buffer = np.empty((n + more + (n + more) // _SHARE, *rows.shape[1:]), rows.dtype)
        self._buffer[:n], self._taken = rows, n
        self._turn = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:  # of a copy of the rows the room stays here
        return Room, (self._buffer[:0], 0)

    def appended(self, n: int, more: AnyArray) -> AnyArray | None:
        """Return the first n rows and others behind them, or None where there is no room, or others came first."""
        end = n + len(more)
        with self._turn:
            if self._taken != n or end > len(self._buffer):
                return None
            self._taken = end
        self._buffer[n:end] = more
        rows = self._buffer[:end]
        rows.flags.writeable = False
        return rows


def appended(room: Room | None, rows: AnyArray, more: AnyArray) -> tuple[AnyArray, Room]:
    """Return rows and others behind them, and the room that is left: of these rows, where there is some, or a new one.

    Cost: of what joins; a copy of all where there is no room yet, and where as many as an eighth have joined since.

    >>> rows, room = appended(None, np.zeros((8, 1)), np.ones((1, 1)))
    >>> again, _ = appended(room, rows, np.ones((1, 1)))
    >>> again.size, np.shares_memory(rows, again)
    (10, True)
    """
    together = None if room is None else room.appended(len(rows), more)
    if together is None:
        room = Room(rows, len(more))
        together = room.appended(len(rows), more)
    assert room is not None
    assert together is not None  # it was made for them
    return together, room
