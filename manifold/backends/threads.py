"""Ranges of rows on the threads of this process, for work that lets the interpreter go: products, compiled loops.

In: ``work(start, stop)``, which fills rows of its own. Out: nothing. The ranges depend on the step alone, never on the
number of threads, so that neither does what they are filled with.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


class _State:
    """What all threads of the process share."""

    pool: ThreadPoolExecutor | None = None
    limit: int | None = None  # of BLAS, before it was held at one thread for a call


_LOCK = threading.Lock()  # of what stands here
_ALONE = threading.Lock()  # of BLAS, held at one thread for one call at a time
_LOCAL = threading.local()  # .inside: this thread works for a call above, which has the processors already


def in_threads(
    work: Callable[[int, int], object], n: int, *, step: int, n_threads: int | None = None, blas: bool = False
) -> None:
    """Call ``work(start, stop)`` for ranges of `step` that cover 0..n-1, on as many threads as `thread_count` allows.

    The caller is one of the threads; a single range, and a call from inside `work`, stay on it. Ranges are handed out
    in ascending order. The first exception is raised once all threads have stopped; ranges not begun are left out.

    Parameters
    ----------
    n_threads : int, optional
        At most so many.
    blas : bool
        `work` calls matrix products: for the time of the call each runs on the thread that asked for it, so that
        neither the processors are asked for twice, nor do the bits depend on their number.

    Examples
    --------
    >>> import numpy as np
    >>> squares = np.arange(5.0)
    >>> def square(start, stop): squares[start:stop] **= 2
    >>> in_threads(square, 5, step=2)
    >>> squares.tolist()
    [0.0, 1.0, 4.0, 9.0, 16.0]
    """
    starts = iter(range(0, n, step))
    failed = threading.Event()

    def help_out() -> None:
        before = vars(_LOCAL).copy()
        _LOCAL.inside, _LOCAL.alone = True, blas or before.get("alone", False)
        try:
            with _blas().limit(limits=1) if blas else nullcontext():  # a BLAS on OpenMP has a limit for each thread
                while not failed.is_set():
                    with _LOCK:
                        start = next(starts, None)
                    if start is None:
                        return
                    work(start, min(start + step, n))
        except BaseException:
            failed.set()
            raise
        finally:
            vars(_LOCAL).clear()
            vars(_LOCAL).update(before)

    threads = min(thread_count(n_threads), -(-n // step)) if n > step else 1
    with _blas_on_one_thread() if blas else nullcontext():
        helpers = [_pool().submit(help_out) for _ in range(threads - 1)]
        try:
            help_out()
        finally:
            begun = [helper for helper in helpers if not helper.cancel()]
            if begun:
                wait(begun)
        for helper in begun:
            helper.result()


def thread_count(at_most: int | None = None) -> int:
    """Return how many threads may work for this one: 1 where it works for another already.

    The least of the processors this process may run on, and the limit of the linear algebra underneath NumPy, which
    follows ``OMP_NUM_THREADS`` and ``threadpoolctl.threadpool_limits``.

    >>> from threadpoolctl import threadpool_limits
    >>> with threadpool_limits(1):
    ...     thread_count()
    1
    """
    if getattr(_LOCAL, "inside", False):
        return 1
    limit = _State.limit or _blas_limit()  # not the one thread it is held at for another call
    return max(1, min(_processors(), limit, *([] if at_most is None else [at_most])))


@contextmanager
def _blas_on_one_thread() -> Iterator[None]:
    """Hold BLAS at one thread. The limit is the process's, so that callers take turns: each uses all processors."""
    if getattr(_LOCAL, "alone", False):
        yield
        return
    with _ALONE:
        _State.limit = _blas_limit()
        try:
            with _blas().limit(limits=1):
                yield
        finally:
            _State.limit = None


def _blas_limit() -> int:
    limits = [library.num_threads for library in _blas().lib_controllers]
    return min((limit for limit in limits if limit), default=_processors())  # a BLAS may not say


@cache
def _blas() -> ThreadpoolController:
    import numpy as np  # noqa: F401 -- its BLAS must be loaded to be found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def _processors() -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "")  # a BLAS that cannot be asked may follow it all the same
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, int(asked)) if asked.isdigit() and int(asked) > 0 else available


def _pool() -> ThreadPoolExecutor:
    with _LOCK:
        if _State.pool is None:
            _State.pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="manifold")
        return _State.pool


def _after_fork() -> None:
    """Start over in a child process, which has none of its parent's threads, and perhaps their locks."""
    global _LOCK, _ALONE, _LOCAL  # a lock that was held at the fork stays held
    _LOCK, _ALONE, _LOCAL = threading.Lock(), threading.Lock(), threading.local()
    _State.pool = _State.limit = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
