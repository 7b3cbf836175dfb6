"""Files of TREC: judgements (qrels) and rankings (runs), in and out.

A line of qrels is ``query iteration item gain``, a line of a run ``query Q0 item rank score tag``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manifold.datasets._ground_truth import GroundTruth

FIGURES = ("mAP", "nDCG@10", "recall@100")


class Run(NamedTuple):
    """Rankings of some queries as a file holds them."""

    queries: tuple[str, ...]  # (q,)
    ids: NDArray[np.str_]  # (q, m) best first, "" pads a short row
    scores: NDArray[np.float64]  # (q, m), NaN pads


def read_qrels(path: str | PathLike[str]) -> GroundTruth:
    """Read judgements: items of positive gain are relevant, by that gain; all others are not.

    A query without relevant items is left out of the means, where trec_eval counts it as 0.

    Raises
    ------
    ValueError
        For a line that does not hold four fields, a gain that is no integer, and an item judged twice.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two.qrels"
    >>> _ = path.write_text("q1 0 doc-a 2\\nq1 0 doc-b 0\\nq2 0 doc-b 1\\n")
    >>> read_qrels(path).lists["relevant"]
    [{'doc-a': 2}, {'doc-b': 1}]
    """
    judged: dict[str, dict[str, int]] = {}
    for where, (query, _, item, gain) in _lines(Path(path), n_fields=4, form="query iteration item gain"):
        of = judged.setdefault(query, {})
        if item in of:
            raise ValueError(f"{where} judges {item!r} of query {query!r} a second time: keep one judgement")
        try:
            of[item] = int(gain)
        except ValueError:
            raise ValueError(f"{where} holds {gain!r} where an integer gain must stand") from None
    gains = [{item: gain for item, gain in of.items() if gain > 0} for of in judged.values()]
    if not any(gains):
        raise ValueError(
            f"{path} judges no item relevant: some line must be query iteration item gain, with a gain > 0"
        )
    return GroundTruth(
        Path(path).name, {"relevant": gains}, figures=FIGURES, interpolation="step", queries=tuple(judged)
    )


def write_qrels(path: str | PathLike[str], truth: GroundTruth) -> None:
    """Write what is relevant to each query, with gain 1 where it was not graded.

    Raises
    ------
    ValueError
        For a truth of several settings or with junk, which the format cannot say, and names with blanks.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "one.qrels"
    >>> write_qrels(path, GroundTruth("one", {"relevant": [{"doc-a": 2}]}, queries=("q1",)))
    >>> path.read_text()
    'q1 0 doc-a 2\\n'
    """
    Path(path).write_text("".join(qrels_lines(truth)), encoding="utf-8", errors="surrogateescape")


def qrels_lines(truth: GroundTruth) -> Iterator[str]:
    """Return the lines of a file of judgements."""
    if len(truth.settings) != 1 or any(truth.lists.get("junk", ())):
        raise ValueError(f"{truth.name} has settings {', '.join(truth.settings)} and junk, which qrels cannot say")
    relevant, _ = truth.judgements(next(iter(truth.settings)))
    for query, some in zip(truth.queries or map(str, range(truth.n_queries)), relevant, strict=True):
        gains = some if isinstance(some, Mapping) else dict.fromkeys(np.asarray(some).tolist(), 1)
        for item, gain in gains.items():
            name = item if isinstance(item, str) or not truth.items else truth.items[item]
            yield f"{check_word(query)} 0 {check_word(name)} {gain}\n"


def read_run(path: str | PathLike[str]) -> Run:
    """Read rankings, in the order in which trec_eval takes them.

    That is by descending score in single precision, equal ones by descending name; the rank in the file is not
    looked at.

    Raises
    ------
    ValueError
        For a line that does not hold six fields, a score that is no number, and an item ranked twice.
    """
    found: dict[str, dict[str, float]] = {}
    for where, (query, _, item, _, score, _) in _lines(Path(path), n_fields=6, form="query Q0 item rank score tag"):
        of = found.setdefault(query, {})
        if item in of:
            raise ValueError(f"{where} ranks {item!r} of query {query!r} a second time: rank each item once")
        of[item] = _number(score, where=where)
    if not found:
        raise ValueError(f"{path} holds no ranking: each line is query Q0 item rank score tag")
    m = max(map(len, found.values()))
    rows = [sorted(of, key=lambda item: (np.float32(of[item]), item), reverse=True) for of in found.values()]
    ids = np.array([row + [""] * (m - len(row)) for row in rows], dtype=np.str_).reshape(len(rows), m)
    scores = np.full((len(rows), m), np.nan)
    for out, row, of in zip(scores, rows, found.values(), strict=True):
        out[: len(row)] = [of[item] for item in row]
    return Run(tuple(found), ids, scores)


def write_run(
    path: str | PathLike[str], ids: ArrayLike, scores: ArrayLike, *, queries: Sequence[Any], tag: str = "manifold"
) -> None:
    """Write rankings so that every reader takes them in this order.

    Parameters
    ----------
    ids, scores : (q, m)
        Best first; ids of -1 or "" are left out. Scores that are equal in single precision, in which trec_eval reads
        them, are written as the next smaller number each, since it orders equal ones by name.
    queries : (q,)
        Names of the queries, without blanks.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "one.run"
    >>> write_run(path, [["doc-b", "doc-a"]], [[0.5, 0.5]], queries=["q1"])
    >>> print(path.read_text(), end="")
    q1 Q0 doc-b 1 0.5 manifold
    q1 Q0 doc-a 2 0.49999997 manifold
    """
    Path(path).write_text(
        "".join(run_lines(ids, scores, queries=queries, tag=tag)), encoding="utf-8", errors="surrogateescape"
    )


def run_lines(ids: ArrayLike, scores: ArrayLike, *, queries: Sequence[Any], tag: str = "manifold") -> Iterator[str]:
    """Return the lines of a run."""
    names, values = np.asarray(ids), np.asarray(scores, dtype=np.float32)
    if names.shape != values.shape or names.ndim != 2 or len(names) != len(queries):
        raise ValueError(
            f"ids {names.shape}, scores {values.shape} and {len(queries)} queries: give (q, m) twice, and q names"
        )
    if not np.isfinite(values).all() or (np.diff(values, axis=1) > 0).any():
        raise ValueError("scores hold NaN, infinity, or a row that ascends: give each row best first")
    tag = check_word(tag)
    for query, row, descending in zip(queries, names, _strictly_descending(values), strict=True):
        word, rank = check_word(query), 0
        for name, score in zip(row.tolist(), descending.tolist(), strict=True):
            if name not in (-1, ""):
                rank += 1
                yield f"{word} Q0 {check_word(name)} {rank} {np.float32(score)!s} {tag}\n"


def _strictly_descending(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows in which each number lies below the one before it, and no further than it must.

    The normal float32 numbers are counted off by integers, 0 in the middle: their order is that of the bits.
    """
    least = np.int64(np.finfo(np.float32).tiny.view(np.int32)) - 1  # subnormal numbers are taken for 0
    magnitude = np.abs(scores).view(np.int32).astype(np.int64)
    place = np.maximum(magnitude - least, 0) * np.where(scores < 0, -1, 1)
    steps = np.arange(scores.shape[1])
    place = np.minimum.accumulate(place + steps, axis=1) - steps
    bits = np.where(place == 0, 0, np.abs(place) + least).astype(np.int32)
    return np.where(place < 0, -1, 1).astype(np.float32) * bits.view(np.float32)


def _lines(path: Path, *, n_fields: int, form: str) -> Iterator[tuple[str, list[str]]]:
    """Return where each line stands, and its fields."""
    if path.is_dir() or not path.exists():
        raise FileNotFoundError(f"{path} is not a file: its lines should be {form}")
    with open(path, encoding="utf-8", errors="surrogateescape") as file:  # names may be in any coding
        for number, line in enumerate(file, 1):
            fields = line.split()
            if not fields:
                continue
            if len(fields) != n_fields:
                raise ValueError(f"{path} line {number} has {len(fields)} fields, not {n_fields}: {form}")
            yield f"{path} line {number}", fields


def _number(text: str, *, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise ValueError(f"{where} holds {text!r} where a finite number must stand")
    return value


def check_word(name: Any) -> str:
    """Return a name as one word, or say why it is none."""
    word = str(name)
    if not word or word.split() != [word]:
        raise ValueError(f"name {word!r} is empty or has blanks, which a line of TREC cannot hold: rename it")
    return word
