"""What a `StoreSearch` answers: a ranking of a snapshot, and behind it what was written since."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from manifold._typing import AnyArray
from manifold.ranking import Fitted, Ranking
from manifold.stores._base import Lists
from manifold.stores._sync import Snapshot


@dataclass(frozen=True, eq=False, repr=False)
class StoreRanking(Ranking):
    """A `Ranking` of what a store holds, and of which content.

    Reference: guide *stores*, "A store and a search as one".

    Attributes
    ----------
    snapshot : Snapshot
        Of which everything is proved that is proved: the slack speaks of the items of the snapshot that the store still
        holds, and that satisfy the filter. What was written since comes behind them, see `n_unknown`.

    Examples
    --------
    >>> from manifold import ManifoldSearch
    >>> from manifold.stores import Arrays, StoreSearch
    >>> store = Arrays(["a", "b", "c"], [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> StoreSearch(store, ManifoldSearch(n_neighbors=1)).fit().search([1.0, 0.0], k=2).snapshot.n_items
    3
    """

    snapshot: Snapshot = field(kw_only=True)


def behind(ranking: Ranking, fresh: Lists, fitted: Fitted, *, snapshot: Snapshot) -> StoreRanking:
    """Return a ranking of a snapshot with ids behind it that the store lists and the snapshot does not hold.

    >>> from manifold import ManifoldSearch
    >>> search = ManifoldSearch(n_neighbors=1).fit(np.eye(3), ids=["a", "b", "c"])
    >>> ranking = search.search([1.0, 0.0, 0.0], k=1)
    >>> behind(ranking, ([["a", "new"]], [[1.0, 0.5]]), search.fitted_, snapshot=Snapshot(0, "", 3)).ids.tolist()
    ['a', 'new']
    """
    found = StoreRanking(**{part.name: getattr(ranking, part.name) for part in fields(Ranking)}, snapshot=snapshot)
    new = [_unknown(fitted, *one) for one in zip(*fresh, strict=True)]
    n_unknown = np.array([len(names) for names, _ in new], dtype=np.int64)
    if not n_unknown.any():
        return found
    table, missing = np.atleast_2d(ranking.ids), fitted.ids.missing
    lists = [[name for name in row if name != missing] for row in table.tolist()]
    ranked = [len(row) for row in lists]
    width = int((ranked + n_unknown).max())
    for row, (names, _) in zip(lists, new, strict=True):
        row += [*names, *[missing] * (width - len(row) - len(names))]
    # names of one kind stay in an array of it; UUIDs, and integers beside texts, are objects
    alike = table.dtype.kind in "iuU" and len({type(name) for row in lists for name in row}) == 1
    similarities = _wider(ranking.similarities, width, -np.inf)
    for i, (names, values) in enumerate(new if similarities is not None else ()):
        similarities[i, ranked[i] : ranked[i] + len(names)] = values
    found = replace(
        found,
        ids=np.array(lists, dtype=None if alike else object),
        scores=_wider(ranking.scores, width, 0.0),
        diffusion=_wider(ranking.diffusion, width, np.nan),
        similarities=similarities,
        n_unknown=n_unknown,
    )
    return _first(found) if ranking.ids.ndim == 1 else found


def _wider(part: AnyArray | None, width: int, fill: float) -> Any:
    """Return lists (q, width) that end with what stands beside no ranked item; None as it is."""
    if part is None:
        return None
    lists = np.full((np.atleast_2d(part).shape[0], width), fill, dtype=part.dtype)
    lists[:, : part.shape[-1]] = np.atleast_2d(part)[:, :width]
    return lists


def _first(found: StoreRanking) -> StoreRanking:
    """Return the lists of one query as they are returned to who asked one."""
    parts: dict[str, Any] = {name: getattr(found, name) for name in ("ids", "scores", "diffusion", "similarities")}
    parts = {name: part[0] for name, part in parts.items() if part is not None}
    return replace(found, **parts)


def _unknown(fitted: Fitted, names: list[object], similarities: list[float]) -> tuple[list[object], list[float]]:
    """Return what a list names that a search does not hold."""
    if not names:
        return [], []
    _, _, strange = fitted.ids.look_up(names)
    at = np.flatnonzero(strange).tolist()
    return [names[i] for i in at], [similarities[i] for i in at]
