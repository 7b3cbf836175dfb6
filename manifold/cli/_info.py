"""`manifold info`: what is installed here, on which libraries, and what a GPU would still need."""

from __future__ import annotations

from manifold._typing import Facts
from manifold._versions import versions


def run() -> tuple[Facts, str]:
    """Say what is installed here, and what a GPU would still need."""
    return versions()
