"""How far long work is: a callback of the caller's, or one line on stderr with the time that is left.

In: ``progress=`` of a public function, True or a callback. Out: the callback that the work calls, or None.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

Progress = Callable[[int, int], None]


class _Bar(Protocol):
    """What is asked of a bar, tqdm's or our own."""

    n: float
    total: float | None

    def update(self, n: float) -> object:
        """Count n more."""

    def close(self) -> None:
        """End the line."""


def check_progress(progress: object) -> None:
    """Raise TypeError for a `progress` that is no switch and cannot be called.

    >>> check_progress(True)
    """
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise TypeError(f"progress must be True, False or callable(done, total), got {progress!r}: True shows a bar")


@contextmanager
def shown(progress: Progress | bool | None, label: str) -> Iterator[Progress | None]:
    """Give the callback(done, total) of a piece of work: a bar for True, by tqdm where it is installed.

    >>> with shown(False, "columns") as report:
    ...     report is None
    True
    """
    check_progress(progress)
    if progress is not None and not isinstance(progress, bool):
        yield progress
        return
    if not progress:
        yield None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        bar: _Bar = _Line(label)
    else:
        bar = tqdm(desc=label)

    def report(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    try:
        yield report
    finally:  # interrupted work leaves no open line
        bar.close()


class _Line:
    """A bar without tqdm: counts and the seconds left, at the rate so far, written over at most twice a second."""

    def __init__(self, label: str) -> None:
        self.n: float = 0
        self.total: float | None = None
        self._label, self._start, self._last = label, time.monotonic(), -1.0

    def update(self, n: float) -> None:
        """Count n more, and write the line anew where half a second has gone by."""
        self.n += n
        now, total = time.monotonic(), self.total or 0
        if self.n < total and now - self._last < 0.5:
            return
        self._last = now
        left = (now - self._start) * (total - self.n) / max(self.n, 1)
        text = f"{self._label}: {self.n:,.0f} of {total:,.0f} ({self.n / max(total, 1):.0%}), {left:.0f} s left"
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()

    def close(self) -> None:
        sys.stderr.write("\n" if self.n else "")
