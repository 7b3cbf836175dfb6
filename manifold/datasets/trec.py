"""Files of TREC: judgements (qrels) and rankings (runs), in and out; what is written is read back as it was.

A line of qrels is ``query iteration item gain``, a line of a run ``query Q0 item rank score tag``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from math import isfinite, isnan
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manifold._typing import AnyArray, Floats
from manifold.datasets._ground_truth import GroundTruth
from manifold.errors import warn

FIGURES = ("mAP", "MRR", "nDCG@10", "recall@100")
_INTEGER = re.compile(r"[+-]?[0-9]+")  # int() would take 1_0 for 10, and digits of other scripts
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


class Run(NamedTuple):
    """Rankings of some queries as a file holds them."""

    queries: tuple[str, ...]  # (q,)
    ids: NDArray[np.str_]  # (q, m) best first, "" pads a short row
    scores: Floats  # (q, m), NaN pads


def read_qrels(path: str | PathLike[str]) -> GroundTruth:
    """Read judgements: items of positive gain are relevant, by that gain; all others are not.

    A query without relevant items is left out of the means, where trec_eval counts it as 0.

    Reference: TREC formats (trec_eval), qrels.

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
        if not _INTEGER.fullmatch(gain):
            raise ValueError(f"{where} holds {gain!r} where an integer gain must stand")
        of[item] = int(gain)
    gains = [{item: gain for item, gain in of.items() if gain > 0} for of in judged.values()]
    if not any(gains):
        raise ValueError(
            f"{path} judges no item relevant: some line must be query iteration item gain, with a gain > 0"
        )
    return GroundTruth(Path(path).name, {"relevant": gains}, figures=FIGURES, queries=tuple(judged))


def write_qrels(path: str | PathLike[str], truth: GroundTruth) -> None:
    """Write the judgements of each query, with gain 1 where they were not graded.

    Reference: TREC formats (trec_eval), qrels.

    Raises
    ------
    ValueError
        For what the format cannot say: several settings, junk, names with blanks or given twice, gains that are no
        whole numbers, and a truth without judgements. Queries without any are left out, with a warning.

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
    """Return the lines of a file of judgements.

    >>> list(qrels_lines(GroundTruth("one", {"relevant": [["a", "b"]]}, queries=("q",))))
    ['q 0 a 1\\n', 'q 0 b 1\\n']
    """
    if len(truth.settings) != 1 or any(map(len, truth.lists.get("junk", ()))):
        raise ValueError(f"{truth.name} has settings {', '.join(truth.settings)} and junk, which qrels cannot say")
    relevant, _ = truth.judgements(next(iter(truth.settings)))
    words = _words(truth.queries or range(truth.n_queries), "queries")
    _check_some([len(some) > 0 for some in relevant], "judged item", "qrels")
    for query, some in zip(words, relevant, strict=True):
        gains = [_whole(gain, query) for gain in some.values()] if isinstance(some, Mapping) else [1] * len(some)
        names = [_name_of(item, truth) for item in (some.tolist() if isinstance(some, np.ndarray) else some)]
        for item, gain in zip(_words(names, f"judgements of query {query!r}"), gains, strict=True):
            yield f"{query} 0 {item} {gain}\n"


def _name_of(item: object, truth: GroundTruth) -> object:
    return truth.items[item] if isinstance(item, int) and truth.items else item


def _whole(gain: float, query: str) -> int:
    if not isfinite(gain) or gain != int(gain):
        raise ValueError(
            f"gain {gain!r} of query {query!r} is no whole number, and qrels hold no other: round or scale"
        )
    return int(gain)


def read_run(path: str | PathLike[str]) -> Run:
    """Read rankings, in the order in which trec_eval takes them.

    That is by descending score in single precision, equal ones by descending name; the rank in the file is not
    looked at.

    Reference: TREC formats (trec_eval), runs.

    Raises
    ------
    ValueError
        For a line that does not hold six fields, a score that is no number, and an item ranked twice.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two.run"
    >>> _ = path.write_text("q1 Q0 a 1 0.5 tag\\nq1 Q0 b 2 0.7 tag\\nq2 Q0 c 1 0.1 tag\\n")
    >>> read_run(path).ids.tolist()
    [['b', 'a'], ['c', '']]
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
    path: str | PathLike[str], ids: ArrayLike, scores: ArrayLike, *, queries: Iterable[object], tag: str = "manifold"
) -> None:
    """Write rankings so that every reader takes them in this order.

    Reference: TREC formats (trec_eval), runs.

    Parameters
    ----------
    ids, scores : (q, m)
        Best first; ids of -1, "", None or NaN are left out, whatever their scores. Scores that are equal in single
        precision, in which trec_eval reads them, are written as the next smaller number each, since it orders equal
        ones by name.
    queries : (q,)
        Names of the queries, without blanks.

    Raises
    ------
    ValueError
        For shapes that do not fit, scores that ascend or are not finite, names with blanks or given twice, and where
        no query has an item. Queries without any are left out, with a warning: a run has no line for them.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "one.run"
    >>> write_run(path, [["doc-b", "doc-a"]], [[0.5, 0.5]], queries=["q1"])
    >>> print(path.read_text(), end="")
    q1 Q0 doc-b 1 0.5 manifold
    q1 Q0 doc-a 2 0.49999997 manifold
    """
    text = "".join(run_lines(ids, scores, queries=queries, tag=tag))
    Path(path).write_text(text, encoding="utf-8", errors="surrogateescape")


def run_lines(ids: ArrayLike, scores: ArrayLike, *, queries: Iterable[object], tag: str = "manifold") -> Iterator[str]:
    """Return the lines of a run; arguments and errors as for `write_run`.

    >>> list(run_lines([[7, -1]], [[0.5, float("nan")]], queries=["q"], tag="x"))
    ['q Q0 7 1 0.5 x\\n']
    """
    names, words = _table(ids, "ids"), _words(queries, "queries")
    if names.dtype.kind not in "iuUTO":
        raise TypeError(f"ids must be integers or texts, got dtype {names.dtype}: 7.0 is the name of no item")
    values = _table(scores, "scores")
    if values.dtype.kind not in "biuf":
        raise TypeError(f"scores must be numbers (q, m), got dtype {values.dtype}")
    values = values.astype(np.float32)
    if names.shape != values.shape or names.ndim != 2 or len(names) != len(words):
        raise ValueError(
            f"ids {names.shape}, scores {values.shape} and {len(words)} queries: give (q, m) twice, and q names"
        )
    rows = [[item for item in row if not _is_pad(item)] for row in names.tolist()]
    _check_some([len(row) > 0 for row in rows], "item", "run")
    tag = check_word(tag)
    for query, row, all_of_row, given in zip(words, rows, names.tolist(), values, strict=True):
        kept = given[[not _is_pad(item) for item in all_of_row]]
        if not np.isfinite(kept).all() or (np.diff(kept) > 0).any():
            raise ValueError("scores hold NaN, infinity, or a row that ascends: give each row best first")
        descending = _strictly_descending(kept[None])[0]
        for rank, (item, score) in enumerate(zip(_words(row, f"ids of query {query!r}"), descending, strict=True), 1):
            yield f"{query} Q0 {item} {rank} {score!s} {tag}\n"


def _table(given: object, name: str) -> AnyArray:
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise TypeError(f"{name} is a masked array with masked entries: fill them, {name}.filled(...), first")
    try:
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, tensors of what NumPy has not
        raise TypeError(f"{name} is {type(given).__name__}, which is no array (q, m): {error}") from None


def _is_pad(item: object) -> bool:
    return item is None or item in (-1, "") or (isinstance(item, float) and isnan(item))


def _check_some(present: Collection[bool], what: str, kind: str) -> None:
    """Raise where nothing would be written, and warn of queries that the file cannot name."""
    if not any(present):
        raise ValueError(f"no query has a {what}: an empty {kind} file says nothing")
    if none := len(present) - sum(present):
        warn(f"{none} of {len(present)} queries have no {what}: a {kind} file has no line for them, they are left out")


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
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:  # names may be in any coding
        for number, line in enumerate(file, 1):
            fields = line.split()
            if not fields:
                continue
            if len(fields) != n_fields:
                raise ValueError(f"{path} line {number} has {len(fields)} fields, not {n_fields}: {form}")
            yield f"{path} line {number}", fields


def _number(text: str, *, where: str) -> float:
    value = float(text) if _NUMBER.fullmatch(text) else float("nan")
    if not np.isfinite(value):
        raise ValueError(f"{where} holds {text!r} where a finite number must stand")
    return value


def _words(names: Iterable[object], what: str) -> list[str]:
    """Return names as words, all different."""
    words = [check_word(name) for name in names]
    seen: set[str] = set()
    for word in words:
        if word in seen:
            raise ValueError(f"{what} hold {word!r} twice, which a reader could not tell apart: name each once")
        seen.add(word)
    return words


def check_word(name: object) -> str:
    """Return a name as one word that is read back as it was, or say why it is none.

    >>> check_word(7)
    '7'
    """
    word = str(name)
    if not word or word.split() != [word]:
        raise ValueError(f"name {word!r} is empty or has blanks, which a line of TREC cannot hold: rename it")
    try:  # names read in another coding hold single bytes as surrogates
        kept = word.encode("utf-8", "surrogateescape").decode("utf-8-sig", "surrogateescape") == word
    except UnicodeEncodeError:
        kept = False
    if not kept:
        raise ValueError(f"name {word!r} begins with a byte-order mark or holds half a character: rename it")
    return word
