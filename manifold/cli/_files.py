"""Files of the `manifold` command: features in (npy, npz, parquet), a ranking out (npz, csv, json, run).

Nothing is ever unpickled, and a file is written beside its final place, then moved there: an interrupted run
leaves the old file or the new one, never half of one.
"""

from __future__ import annotations

import csv
import io
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from manifold.datasets.trec import check_word, run_lines
from manifold.ranking import Ranking
from manifold.storage import write_atomically

INPUTS, OUTPUTS = (".npy", ".npz", ".parquet"), (".npz", ".csv", ".json", ".run")


def read_array(path: Path, *, option: str, key: str | None = None) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return the array of a file, and the ids that stand beside it (the `id` column of a parquet file).

    Raises
    ------
    ValueError, FileNotFoundError, ImportError
        Naming `option`, the file and the cure.
    """
    if path.suffix not in INPUTS:
        raise ValueError(f"{option} {path} must end in {', '.join(INPUTS)}: numpy.save('X.npy', X) writes one")
    if not path.is_file():
        raise FileNotFoundError(f"{option} {path} is not a file: check the path")
    if path.suffix == ".parquet":
        return _read_parquet(path, option=option)
    what = f"{option} {path}"
    with _only_plain_arrays(what):
        loaded = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded, None
    with loaded:
        name = _only_key(loaded.files, key, what=what)
        with _only_plain_arrays(what):
            return loaded[name], None


def read_names(path: Path, *, option: str, key: str | None = None) -> NDArray[Any]:
    """Return names (n,): an array of one dimension, the `id` column of a parquet file, or the lines of a text.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError, ImportError
        Naming `option`, the file and the cure.
    """
    if path.suffix == ".txt":
        try:
            return np.array(path.read_text("utf-8").splitlines(), dtype=np.str_)
        except FileNotFoundError:
            raise FileNotFoundError(f"{option} {path} is not a file: check the path") from None
        except UnicodeDecodeError as error:
            raise ValueError(f"{option} {path} is not a text in UTF-8 ({error}): write one name a line") from error
    names, beside = read_array(path, option=option, key=key)
    return names if beside is None else beside


def check_names(names: NDArray[Any] | None, n: int, *, output: Path, ids: NDArray[Any] | None) -> NDArray[Any]:
    """Return names (n,) of the queries, 0..n-1 by default; what the output could not hold is met before the work."""
    names = np.arange(n) if names is None else names
    if names.shape != (n,):
        raise ValueError(f"--query-ids holds names of shape {names.shape} for {n} queries: give each query one")
    if output.suffix == ".run":
        for some in (names, np.empty(0) if ids is None else ids):
            for name in some.tolist():
                check_word(name)
    return names


@contextmanager
def _only_plain_arrays(what: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, EOFError, BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise ValueError(
            f"{what} cannot be read ({(str(error) or 'empty').splitlines()[0]}): write plain numbers or texts with "
            "numpy.save or numpy.savez; pickled objects are never loaded"
        ) from error


def _only_key(names: list[str], key: str | None, *, what: str) -> str:
    if key is None and len(names) == 1:
        return names[0]
    if key not in names:
        asked = f"no array {key!r}" if key else f"{len(names)} arrays"
        raise ValueError(f"{what} holds {asked}: choose with --key, one of {', '.join(names) or '(none)'}")
    return key


def _read_parquet(path: Path, *, option: str) -> tuple[NDArray[Any], NDArray[Any] | None]:
    try:
        from pyarrow import ArrowInvalid, parquet, types
    except ImportError as error:
        raise ImportError(
            f"{option} {path} needs pyarrow: pip install 'manifold-search[parquet]', or pass a .npy file"
        ) from error
    try:
        table = parquet.read_table(path)
    except ArrowInvalid as error:
        raise ValueError(f"{option} {path} is not a parquet file ({str(error).splitlines()[0]})") from error
    numeric = [
        field.name
        for field in table.schema
        if field.name != "id" and (types.is_integer(field.type) or types.is_floating(field.type))
    ]
    if not numeric:
        raise ValueError(f"{option} {path} has no numeric column: give each feature a column of its own")
    rows = np.column_stack([table[name].to_numpy().astype(np.float32) for name in numeric])
    return rows, table["id"].to_numpy() if "id" in table.column_names else None


def check_output(path: Path, *, suffixes: tuple[str, ...]) -> None:
    """Refuse, before any work, an output that could not be written after it."""
    if path.suffix not in suffixes:
        raise ValueError(f"--output {path} must end in {', '.join(suffixes)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"--output {path}: the folder {path.parent} does not exist: make it first")
    if path.is_dir():
        raise ValueError(f"--output {path} is a folder: name a file")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"--output {path}: the folder {path.parent} cannot be written to: choose another")


def write_ranking(path: Path, ranking: Ranking, queries: NDArray[Any]) -> None:
    """Write a ranking; `queries` (q,) names its rows in csv and json."""
    writers = {".npz": _write_npz, ".csv": _write_csv, ".json": _write_json, ".run": _write_run}
    write_atomically(path, lambda file: writers[path.suffix](file, ranking, queries))


def _write_npz(file: IO[bytes], ranking: Ranking, queries: NDArray[Any]) -> None:
    np.savez(
        file,
        queries=queries,
        ids=ranking.ids,
        scores=ranking.scores,
        slack=ranking.slack,
        certified=ranking.certified,
        allow_pickle=False,
    )


def _write_csv(file: IO[bytes], ranking: Ranking, queries: NDArray[Any]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("query", "rank", "id", "score"))
    for query, ids, scores in zip(queries.tolist(), ranking.ids, ranking.scores, strict=True):
        table.writerows((query, r, *pair) for r, pair in enumerate(zip(ids.tolist(), scores.tolist(), strict=True), 1))
    text.detach()


def _write_run(file: IO[bytes], ranking: Ranking, queries: NDArray[Any]) -> None:
    file.writelines(line.encode() for line in run_lines(ranking.ids, ranking.scores, queries=queries.tolist()))


def _write_json(file: IO[bytes], ranking: Ranking, queries: NDArray[Any]) -> None:
    answer = {
        "queries": queries,
        "ids": ranking.ids,
        "scores": ranking.scores,
        "slack": ranking.slack,
        "certified": ranking.certified,
    }
    file.write(to_json(answer).encode() + b"\n")


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Write a value as strict JSON: arrays become lists, NaN and infinity null."""
    return json.dumps(_plain(value), indent=indent, allow_nan=False, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
