"""What the `manifold` command writes: a ranking as npz, csv, json or run, and facts as JSON.

A file is written beside its final place, then moved there: an interrupted run leaves the old file or the new one,
never half of one.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import IO

import numpy as np

from manifold._typing import AnyArray
from manifold.datasets.trec import check_word, run_lines
from manifold.ranking import Ranking
from manifold.storage import write_atomically

OUTPUTS = (".npz", ".csv", ".json", ".run")


def check_names(names: AnyArray | None, n: int, *, output: Path, ids: AnyArray | None) -> AnyArray:
    """Return names (n,) of the queries, 0..n-1 by default; what the output could not hold is met before the work.

    >>> check_names(None, 3, output=Path("r.csv"), ids=None).tolist()
    [0, 1, 2]
    """
    names = np.arange(n) if names is None else names
    if names.shape != (n,):
        raise ValueError(f"--query-ids holds names of shape {names.shape} for {n} queries: give each query one")
    if output.suffix == ".run":
        for some in (names, np.empty(0) if ids is None else ids):
            for name in some.tolist():
                check_word(name)
    return names


def write_ranking(path: Path, ranking: Ranking, queries: AnyArray) -> None:
    """Write a ranking; `queries` (q,) names its rows in csv and json."""
    writers = {".npz": _write_npz, ".csv": _write_csv, ".json": _write_json, ".run": _write_run}
    write_atomically(path, lambda file: writers[path.suffix](file, ranking, queries))


def _write_npz(file: IO[bytes], ranking: Ranking, queries: AnyArray) -> None:
    np.savez(
        file,
        queries=queries,
        ids=ranking.ids,
        scores=ranking.scores,
        slack=ranking.slack,
        certified=ranking.certified,
        allow_pickle=False,
    )


def _write_csv(file: IO[bytes], ranking: Ranking, queries: AnyArray) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("query", "rank", "id", "score"))
    for query, ids, scores in zip(queries.tolist(), ranking.ids, ranking.scores, strict=True):
        table.writerows((query, r, *pair) for r, pair in enumerate(zip(ids.tolist(), scores.tolist(), strict=True), 1))
    text.detach()


def _write_run(file: IO[bytes], ranking: Ranking, queries: AnyArray) -> None:
    file.writelines(line.encode() for line in run_lines(ranking.ids, ranking.scores, queries=queries.tolist()))


def _write_json(file: IO[bytes], ranking: Ranking, queries: AnyArray) -> None:
    answer = {
        "queries": queries,
        "ids": ranking.ids,
        "scores": ranking.scores,
        "slack": ranking.slack,
        "certified": ranking.certified,
    }
    file.write(to_json(answer).encode() + b"\n")


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
