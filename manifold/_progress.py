"""How far long work is: a callback of the caller's, or one line on stderr with the time that is left.

In: ``progress=`` of a public function, True or a callback. Out: the callback that the work calls, or None.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Progress = Callable[[int, int], None]


@contextmanager
def shown(progress: Progress | bool | None, label: str) -> Iterator[Progress | None]:
    """Give the callback(done, total) of a piece of work: a bar for True, by tqdm where it is installed.

    >>> with shown(False, "columns") as report:
    ...     report is None
    True
    """
    if progress is not None and not isinstance(progress, bool):
        if not callable(progress):
            raise TypeError(f"progress must be True, False or callable(done, total), got {progress!r}")
        yield progress
        return
    if not progress:
        yield None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        tqdm = _Line
    bar: Any = tqdm(desc=label)

    def report(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    try:
        yield report
    finally:  # interrupted work leaves no open line
        bar.close()


class _Line:
    """A bar without tqdm: counts and the seconds left, at the rate so far, written over at most twice a second."""

    total = 0

    def __init__(self, desc: str) -> None:
        self.n, self._label, self._start, self._last = 0, desc, time.monotonic(), -1.0

    def update(self, step: int) -> None:
        """Count `step` more, and write the line anew where half a second has gone by."""
        self.n += step
        now = time.monotonic()
        if self.n < self.total and now - self._last < 0.5:
            return
        self._last = now
        left = (now - self._start) * (self.total - self.n) / max(self.n, 1)
        text = f"{self._label}: {self.n:,} of {self.total:,} ({self.n / max(self.total, 1):.0%}), {left:.0f} s left"
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()

    def close(self) -> None:
        sys.stderr.write("\n" if self.n else "")
