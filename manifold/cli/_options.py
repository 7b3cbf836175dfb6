"""Options that several commands have; one with a list of names takes it from the table of a room.

A table is looked up when a name is checked or the help of its command is printed; nothing of the package is imported
before, so that `--help` and usage errors are quick.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module

FILES = "npy, npz, parquet or csv"
NAMES = "npy, npz, parquet or csv (column `id`) or txt (one a line)"
CLASSES = "npy, npz, csv (column `label`) or txt (one a line); empty is none"


@dataclass(frozen=True)
class Names(Collection[str]):
    """The names that a table holds, with those that its room takes beside them, looked up anew each time.

    With `listed` the room itself refuses what it does not know, in its own words: the names are there for the help.
    """

    table: str  # module:TABLE
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    listed: bool = False

    def __iter__(self) -> Iterator[str]:
        module, name = self.table.split(":")
        table: Iterable[str] = getattr(import_module(module), name)
        return iter(dict.fromkeys((*self.first, *table, *self.last)))

    def __contains__(self, name: object) -> bool:
        return self.listed or any(name == known for known in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def choose(
    one: argparse._ActionsContainer, option: str, names: Names, *, default: str | None = None, about: str = ""
) -> None:
    """Add an option that takes one of the names of a table."""
    word = option.lstrip("-").replace("-", "_").upper()
    # given afterwards: argparse looks through choices that it is given at once
    one.add_argument(option, metavar=word, default=default, help=about or None).choices = names


def add_reading(one: argparse._ActionsContainer) -> None:
    """Add how features are read of a file that holds more."""
    one.add_argument("--key", help="array to read of npz files that hold several")
    one.add_argument(
        "--columns", nargs="+", metavar="NAME",
        help="features of a parquet or csv file, by name or pattern ('f*'); by default its column of lists, or its "
        "floating columns, or its integer ones, and what is left out is said; other files are read by these names",
    )  # fmt: skip


def add_common(one: argparse.ArgumentParser) -> None:
    """Add the seed, and what becomes of a solve that fails."""
    one.add_argument("--seed", type=int, default=0, help="of what is drawn at random (%(default)s)")
    one.add_argument(
        "--on-failure", choices=("warn", "raise", "ignore"), default="warn",
        help="what to do about a query that does not converge: 'raise' ends with exit code 1 (%(default)s)",
    )  # fmt: skip
