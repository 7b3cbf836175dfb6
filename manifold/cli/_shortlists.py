"""Lists that another search found: files of runs and tables in, names of queries, ids and scores out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from manifold._typing import AnyArray
from manifold.cli._files import NAMES
from manifold.cli._table_files import read_table
from manifold.cli._tables import Table, take_names
from manifold.datasets import read_run

ENDINGS = (".run", ".txt", ".csv", ".parquet")
_QUERIES = ("query", "qid", "query_id")


class Lists(NamedTuple):
    """What was found for each of q queries; lists may have different lengths."""

    queries: Sequence[object]
    ids: Sequence[Sequence[object]]
    scores: Sequence[Sequence[float]]


def read_lists(path: Path, *, option: str) -> Lists:
    """Return the lists of a run (TREC) or of a table: a row an item found, or a row a query with columns of lists.

    Raises
    ------
    ValueError, FileNotFoundError, ImportError
        Naming `option`, the file and the cure.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "lists.csv"
    >>> _ = path.write_text("query,id,score\\nq1,a,0.9\\nq2,b,0.8\\nq1,c,0.7\\n")
    >>> read_lists(path, option="--run")
    Lists(queries=['q1', 'q2'], ids=[['a', 'c'], ['b']], scores=[[0.9, 0.7], [0.8]])
    """
    what = f"{option} {path}"
    if path.suffix not in ENDINGS:
        raise ValueError(f"{what} must end in {', '.join(ENDINGS)}: the first two are runs in TREC's format")
    if not path.is_file():
        raise FileNotFoundError(f"{what} is not a file: check the path")
    if path.suffix in (".run", ".txt"):
        run = read_run(path)
        lengths = (~np.isnan(run.scores)).sum(axis=1)
        ids = [row[:m].tolist() for row, m in zip(run.ids, lengths, strict=True)]
        return Lists(run.queries, ids, [row[:m].tolist() for row, m in zip(run.scores, lengths, strict=True)])
    table, named = read_table(path, what=what)
    if not named:
        raise ValueError(f"{what} has no header: name its columns query, id and score")
    ids_column = _one_of(table, ("id", "ids", *NAMES, "item"), what)
    scores_column = _one_of(table, ("score", "scores", "similarity", "similarities", "distance", "distances"), what)
    if table[ids_column].kind.startswith("list") or _holds_lists(table[ids_column].names()):
        return _of_lists(table, ids_column, scores_column, what)
    return _of_rows(table, ids_column, scores_column, what)


def _one_of(table: Table, names: Sequence[str], what: str) -> str:
    found = next((name for name in names if name in table), None)
    if found is None:
        raise ValueError(f"{what} has no column {names[0]}: it holds {', '.join(table)}")
    return found


def _holds_lists(values: Sequence[object]) -> bool:
    return len(values) > 0 and isinstance(values[0], list)


def _of_rows(table: Table, ids_column: str, scores_column: str, what: str) -> Lists:
    queries = take_names(table, _one_of(table, _QUERIES, what), what=what).tolist()
    names, scores = take_names(table, ids_column, what=what).tolist(), table[scores_column].read().tolist()
    lists: dict[object, tuple[list[object], list[float]]] = {}
    for query, name, score in zip(queries, names, scores, strict=True):
        ids, of = lists.setdefault(query, ([], []))
        ids.append(name)
        of.append(score)
    return Lists([*lists], [ids for ids, _ in lists.values()], [of for _, of in lists.values()])


def _of_lists(table: Table, ids_column: str, scores_column: str, what: str) -> Lists:
    queries = next((name for name in _QUERIES if name in table), None)
    ids, scores = (_rows(table[name].names()) for name in (ids_column, scores_column))
    odd = next((i for i, (a, b) in enumerate(zip(ids, scores, strict=True)) if len(a) != len(b)), None)
    if odd is not None:
        raise ValueError(f"{what}: row {odd} has {len(ids[odd])} {ids_column} and {len(scores[odd])} {scores_column}")
    names = list(range(len(ids))) if queries is None else take_names(table, queries, what=what).tolist()
    return Lists(names, ids, scores)


def _rows(values: Sequence[Any]) -> list[list[Any]]:
    """Return lists, those that are missing empty."""
    return [row or [] for row in values]


def named_as(names: Sequence[object], ids: AnyArray, *, option: str) -> list[object]:
    """Return names as the kind of the ids: a file of texts may mean the integers by which items are named.

    >>> named_as(["7", "12"], np.array([7, 12, 40]), option="--run")
    [7, 12]
    """
    if ids.dtype.kind not in "iu" or not any(isinstance(name, str) for name in names):
        return [*names]
    try:
        return [int(str(name)) for name in names]
    except ValueError:
        odd = next(name for name in names if not str(name).lstrip("-").isdigit())
        raise ValueError(f"{option} holds {odd!r}, but items are named by integers") from None
