"""Memory: how much is free here, and a refusal before an allocation that would not fit."""

from __future__ import annotations

import ctypes
import logging
import os
import re
from bisect import bisect_right
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from manifold.errors import MemoryBudgetError

_LOG = logging.getLogger(__name__)
_UNITS = ("B", "KiB", "MiB", "GiB")
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_CGROUP_USAGES = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


def _read_bytes(paths: tuple[str, ...]) -> int | None:
    for path in paths:
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdigit() else None
    return None


def _read_cache(paths: tuple[str, ...]) -> int:
    """Return the bytes of files that a control group holds and gives back when asked: they count as used there."""
    for path in paths:
        try:
            lines = Path(path).with_name("memory.stat").read_text().splitlines()
        except OSError:
            continue
        told = dict(line.split()[:2] for line in lines if len(line.split()) == 2)
        text = told.get("total_inactive_file", told.get("inactive_file", ""))
        return int(text) if text.isdigit() else 0
    return 0


def available_memory() -> int:
    """Return the bytes this process may still take: the smaller of free RAM and the control group's rest.

    >>> available_memory() > 0
    True
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        try:
            free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, ValueError, OSError):  # no sysconf on this system: nothing can be promised
            return 2**62
    limit, used = _read_bytes(_CGROUP_LIMITS), _read_bytes(_CGROUP_USAGES) or 0
    return free if limit is None else max(0, min(free, limit - max(0, used - _read_cache(_CGROUP_USAGES))))


def give_back() -> None:
    """Return memory that long work has freed to the system, where a C library keeps it for itself, as glibc's does.

    Arrays of up to 32 MiB lie between others there, and half of what a process seems to hold may be free.

    >>> give_back()
    """
    with suppress(AttributeError, TypeError, OSError):  # another library, which returns it or cannot be asked
        ctypes.CDLL(None).malloc_trim(0)


def require_memory(n_bytes: int, *, purpose: str, cure: str | Callable[[int], str]) -> None:
    """Raise `MemoryBudgetError` if `n_bytes` more than fits, before anything is allocated.

    The cure may depend on the bytes that are free, to say how much of the work would fit.

    >>> require_memory(1024, purpose="a small table", cure="")
    """
    free = available_memory()
    _LOG.debug("%s: about %s of %s", purpose, format_bytes(n_bytes), format_bytes(free))
    if n_bytes > free:
        cure = cure if isinstance(cure, str) else cure(free)
        raise MemoryBudgetError(
            f"{purpose} needs about {format_bytes(n_bytes)}, but {format_bytes(free)} are available: {cure}"
        )


def at_most(name: str, most: int, forecast: Callable[[int], int]) -> Callable[[int], str]:
    """Return a cure that says how far a setting, with which the forecast grows, would have to come down.

    >>> at_most("n_entries", 256, lambda n_entries: 100 * n_entries)(12_345)
    'lower n_entries to 123 or less'
    """

    def cure(free: int) -> str:
        fits = bisect_right(range(1, most + 1), free, key=forecast)
        return f"lower {name} to {fits} or less" if fits else f"lower {name} and the number of points: not even 1 fits"

    return cure


def parse_bytes(value: int | str, name: str) -> int:
    """Return a number of bytes that a person wrote.

    Raises
    ------
    TypeError, ValueError
        For what is no positive number with one of the units of `format_bytes`.

    Examples
    --------
    >>> parse_bytes("1.5 GiB", "memory"), parse_bytes(4096, "memory")
    (1610612736, 4096)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        number, unit = str(value), "B"
    elif isinstance(value, str):
        number, _, unit = value.strip().partition(" ")
    else:
        raise TypeError(f"{name} must be bytes or a text such as '4 GiB', got {value!r}")
    if unit.strip() not in _UNITS or not re.fullmatch(r"\d+(\.\d+)?", number) or not float(number):
        raise ValueError(f"{name} must be such as '4 GiB' or '500 MiB', got {value!r}")
    return int(float(number) * 1024 ** _UNITS.index(unit.strip()))


def format_bytes(n_bytes: float) -> str:
    """Write a number of bytes for a person.

    >>> format_bytes(38_000_000)
    '36.2 MiB'
    """
    for unit in _UNITS:
        if abs(n_bytes) < 1024 or unit == "GiB":
            return f"{n_bytes:.0f} B" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    raise AssertionError("unreachable")
