"""The `manifold` command: what people do with files, without a line of Python."""

from manifold.cli._commands import main

__all__ = ["main"]
