"""What a `StoreSearch` answers: a ranking of a snapshot, and behind it what was written since."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

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
    counts = np.array([len(names) for names, _ in new], dtype=np.int64)
    if not counts.any():
        return found
    missing, single = fitted.ids.missing, ranking.ids.ndim == 1
    table = np.atleast_2d(ranking.ids)
    ids: list[list[object]] = [[name for name in row if name != missing] for row in table.tolist()]
    ranked = np.array([len(row) for row in ids])
    width = int((ranked + counts).max())

    def wider(part: AnyArray | None, fill: float) -> AnyArray | None:
        if part is None:
            return None
        part = np.atleast_2d(part)
        more = np.full((len(part), max(width - part.shape[1], 0)), fill, dtype=part.dtype)
        return np.concatenate([part, more], axis=1)[:, :width]

    scores, diffusion = wider(ranking.scores, 0.0), wider(ranking.diffusion, np.nan)
    similarities = wider(ranking.similarities, -np.inf)
    for i, (names, values) in enumerate(new):
        ids[i] += [*names, *[missing] * (width - len(ids[i]) - len(names))]
        if similarities is not None:
            similarities[i, ranked[i] : ranked[i] + len(names)] = values
    names = np.array(ids, dtype=object)
    if table.dtype.kind in "iuU" and {type(name) for row in ids for name in row} <= {int, str}:
        names = np.array(ids)
    parts = {"ids": names, "scores": scores, "diffusion": diffusion, "similarities": similarities}
    if single:
        parts = {name: None if part is None else part[0] for name, part in parts.items()}
    return replace(found, n_unknown=counts, **parts)


def _unknown(fitted: Fitted, names: list[object], similarities: list[float]) -> tuple[list[object], list[float]]:
    """Return what a list names that a search does not hold."""
    if not names:
        return [], []
    _, _, strange = fitted.ids.look_up(names)
    at = np.flatnonzero(strange).tolist()
    return [names[i] for i in at], [similarities[i] for i in at]
