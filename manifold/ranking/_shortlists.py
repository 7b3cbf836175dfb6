"""What another search found, as it hands it in: ids with similarities, or distances, read and checked at the door.

cosine  s = 1 - d,     euclidean  s = -d^2,     with d the plain distance; inner products have none
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import lgamma, log

import numpy as np

from manifold._arrays import as_numbers
from manifold._typing import AnyArray, Floats, Ints, Mask
from manifold.ranking._allowed import Allowed
from manifold.ranking._base import Ranking
from manifold.ranking._collection import joined, refuse_unknown
from manifold.ranking._fitted import Fitted
from manifold.ranking._settings import check_choice

UNKNOWN = ("raise", "drop", "behind")

_CHANCE = log(1e5)  # to one that lists in no order are not refused for theirs
_BEYOND = 1e-3  # how far a cosine may be above 1, or below -1
_ROUNDING = 1e-6  # of the largest similarity: how far a negated squared distance may be above 0


@dataclass(frozen=True, eq=False)
class Shortlists:
    """Shortlists (q, m), best first: rows of the collection (-1 pads) and similarities (-inf beside -1).

    `single` says whether they were one, 1-D; `stale` holds the names that the collection does not know, as they were
    given, and where they stood.
    """

    rows: Ints
    similarities: AnyArray
    single: bool
    stale: tuple[AnyArray, Mask] | None = None
    listed: Mask | None = None  # (q, m) of the rows that may be listed, where not all of them may

    @classmethod
    def read(
        cls,
        fitted: Fitted,
        ids: object,
        similarities: object = None,
        *,
        distances: object = None,
        unknown: str = "raise",
    ) -> Shortlists:
        """Return shortlists once every part is known to be right; see `ManifoldSearch.rerank` for what it refuses.

        >>> from manifold import ManifoldSearch
        >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.0, 1.0]], ids=["a", "b"]).fitted_
        >>> Shortlists.read(fitted, [["b"], ["a", "b"]], distances=[[0.5], [0.75, 0.25]]).similarities.tolist()
        [[0.5, -inf], [0.75, 0.25]]
        """
        check_choice(unknown, "unknown", UNKNOWN)
        given, name = _only_one(similarities, distances)
        ids, given = _rectangular(ids, given, name)
        names, rows, strange = fitted.ids.look_up(ids)
        if unknown == "raise":
            refuse_unknown(names[strange])
        with np.errstate(over="ignore", under="ignore"):
            values = _numbers(given, name)
            if rows.shape != values.shape or rows.ndim not in (1, 2):
                raise ValueError(f"ids and {name} must share a shape (q, m), got {rows.shape} and {values.shape}")
            single = rows.ndim == 1
            rows, values, strange = np.atleast_2d(rows), np.atleast_2d(values), np.atleast_2d(strange)
            plain = values
            if name == "distances":
                values = _of_distances(values, rows, fitted)
            values = np.where(rows >= 0, values.astype(np.float32), np.float32(-np.inf))
        _check_similarities(values, fitted, name)
        _check_order(plain, (rows >= 0) | strange, name)
        stale = (np.atleast_2d(names), strange) if unknown == "behind" and strange.any() else None
        return cls(*_best_first(rows, values), single, stale)

    def among(self, allowed: Allowed) -> Shortlists:
        """Return the shortlists of which only what is allowed is listed: all of them are seeds.

        >>> from manifold import ManifoldSearch
        >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.0, 1.0]], ids=["a", "b"]).fitted_
        >>> lists = Shortlists.read(fitted, ["b", "a"], distances=[0.5, 0.75])
        >>> lists.among(Allowed.read(fitted.ids, ["a"])).listed.tolist()
        [[False, True]]
        """
        listed, stale = (self.rows >= 0) & allowed.mask[self.rows], self.stale
        if stale is not None:
            names, strange = stale[0], stale[1].copy()
            strange[strange] = allowed.strangers(names[strange])
            stale = names, strange
        return replace(self, listed=listed, stale=stale)

    def behind(self, ranking: Ranking, k: int) -> Ranking:
        """Return the ranking with names that the collection does not know behind the ranked ones, as far as k goes.

        >>> from manifold import ManifoldSearch
        >>> search = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.0, 1.0]], ids=["a", "b"])
        >>> lists = Shortlists.read(search.fitted_, ["gone", "b"], [0.9, 0.5], unknown="behind")
        >>> lists.behind(search.rerank(["b", ""], [0.5, 0.0]), 2).ids.tolist()
        ['b', 'gone']
        """
        if self.stale is None:
            return ranking
        names, strange = self.stale
        ranked = (self.rows >= 0 if self.listed is None else self.listed).sum(axis=1)
        every = joined(np.atleast_2d(ranking.ids).ravel(), names.ravel())
        ids, others = every[: -names.size].reshape(-1, k), every[-names.size :].reshape(names.shape)
        n_unknown = np.minimum(strange.sum(axis=1), k - np.minimum(ranked, k))
        for j in np.flatnonzero(n_unknown):
            ids[j, ranked[j] : ranked[j] + n_unknown[j]] = others[j][strange[j]][: n_unknown[j]]
        return replace(ranking, ids=ids[0] if self.single else ids, n_unknown=n_unknown)


def _only_one(similarities: object, distances: object) -> tuple[object, str]:
    if (similarities is None) == (distances is None):
        both = "both" if similarities is not None else "neither"
        raise ValueError(f"rerank takes similarities or distances, got {both}: higher is nearer, or lower is")
    return (similarities, "similarities") if distances is None else (distances, "distances")


def _rectangular(ids: object, values: object, name: str) -> tuple[object, object]:
    """Return lists of different lengths padded to the longest, and others as they are."""
    names, numbers = _as_lists(ids), _as_lists(values)
    if names is None and numbers is None:
        return ids, values
    if names is None or numbers is None:  # one side is a column of lists, the other a table
        names, numbers = _as_lists(ids, always=True), _as_lists(values, always=True)
    if names is None or numbers is None or list(map(len, names)) != list(map(len, numbers)):
        raise ValueError(f"ids and {name} must share a shape (q, m), or the length of each list where those differ")
    longest = max(map(len, names))
    return (
        [[*row, *[None] * (longest - len(row))] for row in names],
        [[*row, *[0.0] * (longest - len(row))] for row in numbers],
    )


def _as_lists(table: object, *, always: bool = False) -> list[list[object] | tuple[object, ...] | AnyArray] | None:
    """Return the rows of a column of lists, or of a table whose rows differ in length; None for any other."""
    if isinstance(table, np.ndarray) or hasattr(table, "to_numpy"):
        array = np.asarray(table)
        column = array.dtype.kind == "O" and array.ndim == 1
        always, table = always or column, array.tolist() if column or always else None
    if not isinstance(table, list | tuple) or not table:
        return None
    rows = [row for row in table if isinstance(row, list | tuple | np.ndarray)]
    return rows if len(rows) == len(table) and (always or len(set(map(len, rows))) > 1) else None


def _numbers(given: object, name: str) -> Floats:
    if isinstance(given, np.ma.MaskedArray):  # no number: refused beside an id, of no matter beside a missing one
        return np.where(np.ma.getmaskarray(given), np.nan, as_numbers(given.data, name))
    return as_numbers(given, name)


def _of_distances(distances: Floats, rows: Ints, fitted: Fitted) -> Floats:
    """Return the similarities of the graph's metric that plain distances mean."""
    metric, listed = fitted.settings.affinity.metric, distances[rows >= 0]
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"distances are not defined for metric={metric!r}: pass similarities=")
    if listed.min(initial=0) < -_BEYOND or (metric == "cosine" and listed.max(initial=0) > 2 + _BEYOND):
        least, most = listed.min(), listed.max()
        allowed = "at least 0" if metric == "euclidean" else "in [0, 2], as 1 - cosine"
        raise ValueError(f"distances must be {allowed}, got {least:.4g}..{most:.4g}: pass similarities=, if they are")
    return 1 - distances if metric == "cosine" else -distances * distances


def _check_similarities(values: AnyArray, fitted: Fitted, name: str) -> None:
    """Raise ValueError for NaN and infinity, and for what the metric of the collection cannot give: distances, say."""
    bad = np.flatnonzero((np.isnan(values) | (values == np.inf)).any(axis=1))
    if bad.size:
        raise ValueError(f"{name} hold NaN or infinity in query {bad[0]}")
    listed, metric = values[np.isfinite(values)], fitted.settings.affinity.metric
    known = fitted.points is not None or fitted.neighbors is not None or fitted.graph.facts.get("metric") == metric
    if not known or not listed.size:  # of a graph made elsewhere, similarities are what they are
        return
    least, most = listed.min(), listed.max()
    cure = "pass distances=, if they are"
    if metric == "cosine" and max(most, -least) > 1 + _BEYOND:
        raise ValueError(f"similarities must be cosines, in [-1, 1], got {least:.4g}..{most:.4g}: {cure}")
    if metric == "euclidean" and most > _ROUNDING * max(most, -least):
        raise ValueError(f"similarities must be negated squared distances, at most 0, got up to {most:.4g}: {cure}")


def _check_order(values: Floats, given: Mask, name: str) -> None:
    """Raise ValueError where every list is worst first, by steps that do not come about by chance.

    Lists may come in any order, but stores answer best first: similarities that rise all along are distances.
    """
    steps = np.where(given[:, 1:] & given[:, :-1], np.diff(values, axis=1), 0.0)
    steps = steps if name == "similarities" else -steps
    n_worse = (steps > 0).sum(axis=1)
    if (steps < 0).any() or sum(lgamma(n + 2) for n in n_worse) < _CHANCE:  # n + 1 in order by chance: 1 / (n + 1)!
        return
    other, rise = ("distances", "rise") if name == "similarities" else ("similarities", "fall")
    raise ValueError(f"{name} {rise} all along every list: pass {other}=, if they are, or the best first")


def _best_first(rows: Ints, values: AnyArray) -> tuple[Ints, AnyArray]:
    order = np.lexsort((rows, -values))
    rows, values = np.take_along_axis(rows, order, axis=1), np.take_along_axis(values, order, axis=1)
    together = np.sort(rows, axis=1)
    twice = ((together[:, 1:] == together[:, :-1]) & (together[:, 1:] >= 0)).any(axis=1)
    if twice.any():
        raise ValueError(f"the shortlist of query {np.flatnonzero(twice)[0]} names an item twice")
    return rows, values
