"""Tables as named columns: which of them are features, which one names the rows, and what is left out is said.

In: columns by name, each with what it holds. Out: rows of features (n, d), names of rows (n,).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeAlias

import numpy as np

from manifold._typing import AnyArray
from manifold.errors import warn

_SHOWN = 5  # names in a message

# columns that say what a row is, not where it lies: features only where --columns names them
_ABOUT = {"", "index", "unnamed: 0", "__index_level_0__", "id", "qid", "query", "query_id", "item", "item_id", "label"}
_ABOUT |= {"labels", "class", "target", "year", "date", "time", "timestamp", "split", "fold"}


@dataclass(frozen=True)
class Column:
    """One column: "floating", "integer", "list", "boolean", "decimal", "text" or the name of another type."""

    kind: str
    read: Callable[[], AnyArray]  # (n,) numbers, or (n, d) of lists
    names: Callable[[], Sequence[object]]  # (n,) integers or texts as they are written; None where there is none


Table: TypeAlias = Mapping[str, Column]


def take_features(
    table: Table,
    *,
    what: str,
    asked: Sequence[str] | None = None,
    like: Sequence[str] | None = None,
    beside: str | None = None,
) -> tuple[AnyArray, tuple[str, ...]]:
    """Return the features (n, d) of a table and the columns that they are, and say which others are left out.

    By default they are its one column of lists; else all floating columns; else all integer ones; never one whose name
    says that it is something about a row, such as `label` or `year`.

    Parameters
    ----------
    asked : sequence of str, optional
        Patterns of names ("f*"), by which a user chose: then what is left out needs no word.
    like : sequence of str, optional
        Names that other features had, in whose order these are put.
    beside : str, optional
        The column that names the rows.

    Examples
    --------
    >>> table = {name: Column("floating", lambda: np.ones(1), list) for name in ("x", "y", "label")}
    >>> take_features(table, what="--features X.csv", asked=["x"])
    (array([[1.]]), ('x',))
    """
    if like is not None:
        chosen = list(like)
        missing = [name for name in chosen if name not in table]
        if missing:
            raise ValueError(
                f"{what} lacks {len(missing)} of the {len(chosen)} columns of --features ({_listed(missing)}): give "
                "it the same names"
            )
    else:
        chosen = _default(table, what) if asked is None else _matching(table, asked, what)
    odd = [name for name in chosen if table[name].kind not in _NUMERIC]
    if odd:
        raise ValueError(f"{what}: column {odd[0]!r} holds {table[odd[0]].kind}, no numbers: leave it out")
    left = [f"{name or repr(name)} ({table[name].kind})" for name in table if name not in {*chosen, beside}]
    if asked is None and left:
        warn(f"{what}: features are {_span(chosen)}; left out: {_listed(left)}; --columns chooses")
    elif asked is None and like is None and table[chosen[0]].kind == "integer":
        warn(f"{what}: features are {_span(chosen)}, all integers; --columns chooses")
    parts = [table[name].read() for name in chosen]
    return np.hstack([part[:, None] if part.ndim == 1 else part for part in parts]), tuple(chosen)


_NUMERIC = ("floating", "integer", "list", "boolean", "decimal")


def _default(table: Table, what: str) -> list[str]:
    coordinates = "x" in table or "X" in table  # beside which y is one more, and else a class
    about = _ABOUT if coordinates else _ABOUT | {"y"}
    some = {name: column.kind for name, column in table.items() if name.lower() not in about}
    lists, floating, whole = ([n for n in some if some[n] == kind] for kind in ("list", "floating", "integer"))
    if len(lists) > 1:
        raise ValueError(f"{what} holds {len(lists)} columns of lists: choose with --columns, of {_listed(lists)}")
    if not (chosen := lists or floating or whole):
        raise ValueError(
            f"{what} has no numeric column that is a feature by its name, of {_listed([*table])}: give each feature a "
            "column of its own, or all one column of lists; --columns takes any"
        )
    return chosen


def _matching(table: Table, patterns: Sequence[str], what: str) -> list[str]:
    found = {pattern: [name for name in table if fnmatchcase(name, pattern)] for pattern in patterns}
    for pattern, names in found.items():
        if not names:
            raise ValueError(f"{what} has no column {pattern!r} of --columns: it holds {_listed([*table])}")
    return list(dict.fromkeys(name for names in found.values() for name in names))


def take_names(table: Table, column: str, *, what: str) -> AnyArray:
    """Return the names (n,) of rows: integers or texts, of which none is missing."""
    names = table[column].names()
    empty = next((row for row, name in enumerate(names) if name is None or name == ""), None)
    if empty is not None:
        raise ValueError(f"{what}: column {column!r} is empty in row {empty}: name every row")
    if not all(isinstance(name, str) for name in names) and table[column].kind != "integer":
        raise ValueError(f"{what}: column {column!r} holds {table[column].kind}: names are integers or texts")
    return np.array(names, dtype=None if len(names) else np.str_)


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest


def _span(names: Sequence[str]) -> str:
    return f"column {names[0]}" if len(names) == 1 else f"the {len(names)} columns {names[0]} .. {names[-1]}"
