"""Rankings and judgements in, what each query's list says of its relevant items out.

Ids are read in one place, `as_ids`: whole numbers of any width, texts and UUIDs, whichever library holds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from itertools import repeat
from math import isnan
from typing import NamedTuple, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike

from manifold._typing import AnyArray, Floats, Ints

_PAD = -1  # of integer rows, unless an item that is judged has that name; rows of texts are padded with ""


class Relevance(Protocol):
    """One collection of ids a query, in the order of the rows of the ranking: read by place, whatever its labels."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[object]: ...


class Judged(NamedTuple):
    """What one query's ranking says of its relevant items."""

    ranks: Ints  # (p,) 0-based, of those retrieved, best first, junk taken out
    gains: Floats  # (p,) theirs, 1 each where they were not graded
    ideal: Floats  # (n,) gains of all that are relevant, all above 0

    @property
    def n_relevant(self) -> int:
        """How many items are relevant, retrieved or not."""
        return self.ideal.size


def judge(ranking: ArrayLike, relevant: Relevance, junk: Relevance | None) -> Iterator[Judged]:
    """Look each query's relevant items up in its list, junk taken out.

    >>> [of.ranks.tolist() for of in judge([[7, 1, 8], [4, 5, 6]], [[7, 8], [6]], [[1], []])]
    [[0, 1], [2]]
    """
    rows = as_rows(ranking, name="ranking")
    _check_one_a_query(relevant, len(rows), name="relevant")
    if junk is not None:
        _check_one_a_query(junk, len(rows), name="junk")
    pad = _pad_of(rows, [relevant] if junk is None else [relevant, junk])
    for q, (row, judged, ignored) in enumerate(zip(rows, relevant, repeat(()) if junk is None else junk, strict=False)):
        wanted, gains = _relevant(judged, q)
        yield _look_up(row if pad is None else row[row != pad], wanted, gains, ignored=_ids(ignored, "junk"), q=q)


def _look_up(row: AnyArray, wanted: AnyArray, gains: Floats, *, ignored: AnyArray, q: int) -> Judged:
    row_, wanted_ = _alike(row, wanted, name="relevant")
    if ignored.size:
        if wanted.size and np.isin(*_alike(wanted, ignored, name="junk")).any():
            raise ValueError(f"query {q} has ids both in relevant and in junk: keep each in one of them")
        row_ = row_[~np.isin(*_alike(row, ignored, name="junk"))]
    ranks = np.flatnonzero(np.isin(row_, wanted_))
    found = row_[ranks]
    # an item listed twice would be found twice: more than 1 of its kind, and a recall above 1
    if np.unique(found).size != ranks.size:
        raise ValueError(f"ranking of query {q} repeats a relevant id: rank each item once")
    return Judged(ranks, gains[np.searchsorted(wanted_, found)], gains)


def _relevant(judged: object, q: int) -> tuple[AnyArray, Floats]:
    """Return the ids of positive gain, sorted, and their gains: 0 and less say that an item is not relevant."""
    if not isinstance(judged, Mapping):
        ids = np.unique(_ids(judged, "relevant"))
        return ids, np.ones(ids.size)
    ids = _ids(list(judged), "relevant")
    try:
        gains = np.array(list(judged.values()), dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"relevant of query {q} holds a gain that is no number: give id -> gain") from None
    if not np.isfinite(gains).all():
        raise ValueError(f"relevant of query {q} holds a gain that is not finite: give numbers, above 0 if relevant")
    order = np.argsort(ids, kind="stable")
    if np.unique(ids).size != ids.size:
        raise ValueError(f"relevant of query {q} judges an id twice: give each one gain")
    order = order[gains[order] > 0]
    return ids[order], gains[order]


def _check_one_a_query(value: object, n: int, *, name: str) -> None:
    if isinstance(value, str | Mapping) or not isinstance(value, Sized):
        raise TypeError(f"{name} is a {type(value).__name__}: give one collection of ids a query, in the order of rows")
    if len(value) != n:
        raise ValueError(f"{name} has {len(value)} collections for {n} queries: give one a query")


def _pad_of(rows: AnyArray, judged: Iterable[Relevance]) -> int | str | None:
    """Return what fills short rows; None where -1 is the name of an item."""
    if rows.dtype.kind == "U":
        return ""
    # reading all judgements takes as long as judging them: only where the ranking holds the number in question
    named = (rows == _PAD).any() and any((_ids(some, "ids") == _PAD).any() for of in judged for some in of)
    return None if named else _PAD


def as_rows(ranking: ArrayLike, *, name: str) -> AnyArray:
    """Return (q, m) ids, or say what is wrong with them.

    >>> as_rows([["a", "b"]], name="ranking").shape
    (1, 2)
    """
    ids = as_ids(ranking, name=name)
    if ids.ndim != 2:
        raise TypeError(f"{name} is {ids.dtype} of shape {ids.shape}: give (q, m) integer or string ids")
    return ids


def _ids(collection: object, name: str) -> AnyArray:
    """Return the ids (r,) of one query; one text or one number is one id."""
    if isinstance(collection, Iterable) and not isinstance(collection, str | np.ndarray):
        to_list = getattr(collection, "to_pylist", None)  # a column of Arrow holds scalars of its own
        collection = list(
            collection if to_list is None else to_list()
        )  # a set, a view of a mapping, a column: by place
    return as_ids(collection, name=name).ravel()


def as_ids(values: object, *, name: str) -> AnyArray:
    """Return ids as integers or texts, exactly; raise TypeError for what is neither, naming it.

    >>> as_ids([2**63, 5], name="ids").dtype, as_ids(["a", None], name="ids").tolist()
    (dtype('uint64'), ['a', ''])
    """
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise TypeError(f"{name} is a masked array with masked entries: fill them, {name}.filled(-1), first")
    try:
        ids: AnyArray = np.asarray(values)
        if (
            ids.dtype.kind == "O"
            and ids.ndim == 1
            and all(isinstance(row, list | np.ndarray) for row in ids)
            and ids.size
        ):
            values = ids.tolist()  # a column of lists
            ids = np.asarray(values)
        if ids.dtype.kind in "fUST" and not (isinstance(values, np.ndarray) and ids.dtype.kind == "U"):
            ids = np.asarray(values, dtype=object)  # what NumPy made one kind of may have been several
    except ValueError:
        raise TypeError(f"{name} has rows of different lengths: pad the short ones with -1 or ''") from None
    except (TypeError, RuntimeError) as error:  # tensors of what NumPy has not, or with a gradient
        raise TypeError(f"{name} is {type(values).__name__}, which is no array of ids ({error})") from None
    if ids.dtype.kind == "O" or not ids.size:
        ids = _of_one_kind(ids)
    # one kind of integers where they fit: NumPy compares signed with unsigned ones as floats
    if ids.dtype == np.uint64 and not (ids > np.iinfo(np.int64).max).any():
        ids = ids.astype(np.int64)
    if ids.dtype.kind not in "iuU" and not (ids.dtype.kind == "O" and _are(ids.ravel().tolist(), int)):
        given = np.asarray(values).dtype
        raise TypeError(f"{name} is {given} of shape {ids.shape}: give (q, m) integer or string ids, or UUIDs")
    return ids


def _of_one_kind(objects: AnyArray) -> AnyArray:
    """Return objects that are all texts, all UUIDs or all whole numbers as such; others as they are."""
    values = objects.ravel().tolist()
    if not values:
        return np.empty(objects.shape, np.int64)
    missing = [_is_missing(one) for one in values]
    known = [one for one, no in zip(values, missing, strict=True) if not no]
    # a UUID is its text, so that those of a file and those of a program are the same
    if all(missing) or _are(known, str) or _are(known, UUID):
        texts = ["" if no else str(one) for one, no in zip(values, missing, strict=True)]
        if any(text.endswith("\0") for text in texts):  # NumPy's texts have no end of their own
            raise ValueError("ids end with NUL, which a text of NumPy cannot: write them without it")
        return np.array(texts, dtype=np.str_).reshape(objects.shape)
    if not _are(known, (int, np.integer)) or any(isinstance(one, bool) for one in known):
        return objects
    whole = [_PAD if no else int(one) for one, no in zip(values, missing, strict=True)]
    for dtype in (np.int64, np.uint64, object):  # Python's own integers hold what no other can
        try:
            return np.array(whole, dtype=dtype).reshape(objects.shape)
        except OverflowError:
            continue
    return objects


def _are(values: list[object], kind: type | tuple[type, ...]) -> bool:
    return all(isinstance(one, kind) for one in values)


def _is_missing(value: object) -> bool:
    """Return whether a value marks a missing one: None, NaN, and those of pandas."""
    nothing = value is None or type(value).__name__ in ("NAType", "NaTType")
    return nothing or (isinstance(value, float) and isnan(value))


def _alike(a: AnyArray, b: AnyArray, *, name: str) -> tuple[AnyArray, AnyArray]:
    """Return both so that they are compared exactly; `b` is what `name` says."""
    if a.size and b.size and (a.dtype.kind == "U") != (b.dtype.kind == "U"):
        raise TypeError(f"{name} holds {b.dtype} ids and the ranking {a.dtype}: give both the same kind")
    if not (a.size and b.size):
        return (a, b.astype(a.dtype)) if a.size else (a.astype(b.dtype), b)
    mixed = {a.dtype.kind, b.dtype.kind}
    if "O" in mixed or (np.uint64 in (a.dtype, b.dtype) and mixed == {"i", "u"}):  # else compared as float64
        return a.astype(object), b.astype(object)
    return a, b


def unpad(row: AnyArray) -> AnyArray:
    """Leave the missing items out of a row.

    >>> unpad(np.array([3, -5, -1])).tolist()
    [3, -5]
    """
    # nothing is judged where this is asked, so that -1 is no name here
    kept: AnyArray = row[row != ("" if row.dtype.kind == "U" else _PAD)]
    return kept


def known_mean(values: ArrayLike) -> float:
    """Return the mean of what is not NaN; NaN where nothing is left.

    >>> known_mean([1.0, float("nan"), 0.5])
    0.75
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]  # trec_eval counts a query without relevant items as 0: a mean of what, then?
    return float(known.mean()) if known.size else float("nan")


def check_k(k: int, *, name: str = "k") -> None:
    """Raise for a cut above the first item."""
    if k < 1:
        raise ValueError(f"{name}={k} is below 1: count at least the first item")
