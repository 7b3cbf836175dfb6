"""What stores answer -- hits, rows, columns, frames -- as the lists of ids and numbers that `rerank` takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from manifold._arrays import is_frame

Part: TypeAlias = str | int  # the name of a field or a column, or the place in a row
Lists: TypeAlias = tuple[list[object], list[object]]


def hits(found: object, *, id: Part = "id", score: Part = "score") -> Lists:
    """Return the ids and scores of what a store found: for ``rerank(ids, scores)``, or ``distances=scores``.

    Reference: guide *rerank*, "From FAISS, or any index".

    Parameters
    ----------
    found : hits of one query, a list of them for several queries, or columns
        A hit is a mapping, an object with attributes (``ScoredPoint``, also where they stand in ``.points``), or a row
        (id, score). Columns are a frame or an Arrow table of one query, or a mapping such as
        ``{"ids": [[...]], "distances": [[...]]}``.
    id, score : str or int
        What they are called there, such as "_distance"; parts of parts with a dot, "metadata.distance"; or their place
        in a row.

    Returns
    -------
    ids, scores : lists
        As the store has them, in its order; lists of lists for several queries, of any lengths.

    Raises
    ------
    ValueError
        For a hit without such a part, naming those it has.

    Notes
    -----
    Cost: one pass.

    Examples
    --------
    >>> hits([{"id": 7, "score": 0.9}, {"id": 3, "score": 0.5}])
    ([7, 3], [0.9, 0.5])
    >>> hits([[("a", 0.1), ("b", 0.2)], [("c", 0.3)]])
    ([['a', 'b'], ['c']], [[0.1, 0.2], [0.3]])
    >>> hits({"ids": [["a", "b"]], "distances": [[0.1, 0.2]]}, id="ids", score="distances")
    ([['a', 'b']], [[0.1, 0.2]])
    """
    found = getattr(found, "points", found)
    if is_frame(found) or isinstance(found, Mapping):
        return _column(found, id), _column(found, score)
    if not hasattr(found, "__iter__"):
        raise ValueError(f"found must be hits or columns, got a {type(found).__name__}: pass what the store answered")
    rows = list(found)
    if rows and all(isinstance(row, list) or is_frame(row) or hasattr(row, "points") for row in rows):
        each = [hits(row, id=id, score=score) for row in rows]
        return [ids for ids, _ in each], [scores for _, scores in each]
    return [_part(row, id, 0) for row in rows], [_part(row, score, 1) for row in rows]


def _column(found: object, name: Part) -> list[object]:
    try:
        column = found[name]  # type: ignore[index]  # a mapping, or what a library calls a frame
    except KeyError as error:
        has = list(getattr(found, "columns", found))  # type: ignore[call-overload]
        raise ValueError(f"found has no column {name!r}, it has {has}: pass id= and score=") from error
    for read in ("to_pylist", "to_list", "tolist"):
        if hasattr(column, read):
            made: list[object] = getattr(column, read)()
            return made
    return list(column)


def _part(hit: object, name: Part, place: int) -> object:
    """Return a part of a hit by its name, or its place in a row."""
    if isinstance(hit, tuple) and not hasattr(hit, "_fields"):
        return hit[name if isinstance(name, int) else place]
    if isinstance(name, int):
        return hit[name]  # type: ignore[index]
    for part in [name] if _has(hit, name) else name.split("."):
        if not _has(hit, part):
            has = sorted(hit) if isinstance(hit, Mapping) else sorted(x for x in dir(hit) if not x.startswith("_"))
            raise ValueError(f"a hit has no {part!r}, it has {has}: pass id= and score=")
        hit = hit[part] if hasattr(hit, "keys") else getattr(hit, part)  # type: ignore[index]
    return hit


def _has(hit: object, name: str) -> bool:
    keys = getattr(hit, "keys", None)
    return name in keys() if keys is not None else hasattr(hit, name)
