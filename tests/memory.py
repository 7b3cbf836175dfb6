"""What work takes of memory at its peak, against what it said that it would take."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from types import ModuleType

import pytest


def peak_over_forecast(work: Callable[[], object], monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> float:
    """Run a piece of work, and return its peak over the largest number of bytes that the module asked for."""
    asked = []

    def note(n_bytes: int, **words: object) -> None:
        asked.append(n_bytes)

    monkeypatch.setattr(module, "require_memory", note)
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / max(asked)
    finally:
        tracemalloc.stop()
