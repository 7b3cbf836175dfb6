"""What the `manifold` command writes: a ranking as npz, csv, json or run, and facts as JSON.

A file is written beside its final place, then moved there: an interrupted run leaves the old file or the new one,
never half of one.
"""

from __future__ import annotations

import csv
import io
import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import IO

import numpy as np

from manifold._typing import AnyArray, Facts
from manifold.datasets.trec import check_word, run_lines
from manifold.ranking import Ranking
from manifold.storage import write_atomically

OUTPUTS = (".npz", ".csv", ".json", ".parquet", ".run")


def answer(
    args: Namespace, ranking: Ranking, names: AnyArray, *, facts: Facts, lines: Sequence[str]
) -> tuple[Facts, str]:
    """Write a ranking where it was asked for; else it is the answer itself, as text and among the facts."""
    if args.output is None:
        file = io.BytesIO()
        (_write_run if args.format == "run" else _write_csv)(file, ranking, names)
        return {**facts, "ranking": _parts(ranking, names)}, file.getvalue().decode().rstrip("\n")
    write_ranking(args.output, ranking, names)
    return {**facts, "output": args.output}, "\n".join([*lines, f"saved   {args.output}"])


def form_of(args: Namespace) -> str:
    """Return the form of what is written or printed: "run", "csv", ...

    >>> form_of(Namespace(output=Path("r.run"), format="csv")), form_of(Namespace(output=None, format="csv"))
    ('run', 'csv')
    """
    return str(args.format if args.output is None else args.output.suffix[1:])


def check_names(names: AnyArray | None, n: int, *, form: str, ids: AnyArray | None) -> AnyArray:
    """Return names (n,) of the queries, 0..n-1 by default; what the output could not hold is met before the work.

    >>> check_names(None, 3, form="csv", ids=None).tolist()
    [0, 1, 2]
    """
    names = np.arange(n) if names is None else names
    if names.shape != (n,):
        raise ValueError(f"--query-ids holds names of shape {names.shape} for {n} queries: give each query one")
    if form == "run":
        for some in (names, np.empty(0) if ids is None else ids):
            for name in some.tolist():
                check_word(name)
    return names


def write_ranking(path: Path, ranking: Ranking, queries: AnyArray) -> None:
    """Write a ranking; `queries` (q,) names its rows in csv and json."""
    writers = {
        ".npz": _write_npz, ".csv": _write_csv, ".json": _write_json, ".parquet": _write_parquet, ".run": _write_run,
    }  # fmt: skip
    write_atomically(path, lambda file: writers[path.suffix](file, ranking, queries))


def _parts(ranking: Ranking, queries: AnyArray) -> dict[str, AnyArray]:
    return {
        "queries": queries,
        "ids": ranking.ids,
        "scores": ranking.scores,
        "slack": ranking.slack,
        "certified": ranking.certified,
    }


def _write_npz(file: IO[bytes], ranking: Ranking, queries: AnyArray) -> None:
    np.savez(file, **_parts(ranking, queries), allow_pickle=False)


def _write_csv(file: IO[bytes], ranking: Ranking, queries: AnyArray) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("query", "rank", "id", "score"))
    for query, ids, scores in zip(queries.tolist(), ranking.ids, ranking.scores, strict=True):
        table.writerows((query, r, *pair) for r, pair in enumerate(_listed(ids, scores), 1))
    text.detach()


def _listed(ids: AnyArray, scores: AnyArray) -> list[tuple[object, float]]:
    """Return the items of a row and their scores; what pads a short row is none."""
    pairs = zip(ids.tolist(), scores.tolist(), strict=True)
    return [(name, score) for name, score in pairs if name is not None and name not in (-1, "")]


def _write_run(file: IO[bytes], ranking: Ranking, queries: AnyArray) -> None:
    file.writelines(line.encode() for line in run_lines(ranking.ids, ranking.scores, queries=queries.tolist()))


def _write_json(file: IO[bytes], ranking: Ranking, queries: AnyArray) -> None:
    file.write(to_json(_parts(ranking, queries)).encode() + b"\n")


def _write_parquet(file: IO[bytes], ranking: Ranking, queries: AnyArray) -> None:
    """Write a row a query: its name, columns of lists of ids and scores, slack and whether the list is certified."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError("--output needs pyarrow: pip install 'manifold-search[parquet]', or name a .csv") from error
    rows = [_listed(*row) for row in zip(ranking.ids, ranking.scores, strict=True)]
    columns = {
        "query": queries.tolist(),
        "ids": [[name for name, _ in row] for row in rows],
        "scores": [[score for _, score in row] for row in rows],
        "slack": ranking.slack.tolist(),
        "certified": ranking.certified.tolist(),
    }
    parquet.write_table(pa.table(columns), file)


def write_queries(path: Path, tables: Sequence[Mapping[str, Sequence[object]]]) -> None:
    """Write tables of queries, columns of equal length each, as one csv; NaN and what a table lacks are empty."""

    def write(file: IO[bytes]) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        rows = csv.DictWriter(text, dict.fromkeys(name for table in tables for name in table), lineterminator="\n")
        rows.writeheader()
        for table in tables:
            for cells in zip(*table.values(), strict=True):
                named = zip(table, cells, strict=True)
                rows.writerow({name: cell for name, cell in named if not (isinstance(cell, float) and isnan(cell))})
        text.detach()

    write_atomically(path, write)


def to_json(value: object, *, indent: int | None = None) -> str:
    """Write a value as strict JSON: arrays become lists, NaN and infinity null.

    >>> to_json({"scores": np.array([0.5, np.nan])})
    '{"scores": [0.5, null]}'
    """
    return json.dumps(_plain(value), indent=indent, allow_nan=False, ensure_ascii=False)


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
