"""Tuning without labels: settings tried on a collection, and one of them chosen by its held-out points.

In: features, or their neighbours; a log of queries, where there is one. Out: the setting to search with, and the table
of all that was tried.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manifold._checks import check_random_state
from manifold._progress import Progress, check_progress, shown
from manifold._typing import Facts, Floats, Ints
from manifold.backends import Backend, get_backend
from manifold.graph.affinity import Affinity
from manifold.neighbors import Neighbors, PointSet, exact_search, find_neighbors, point_set
from manifold.ranking._adaptation import NeighborReach, returned_share
from manifold.ranking._held_out import HeldOut
from manifold.ranking._settings import Setting, grid

WIDTH = 40  # neighbours searched for: without the held-out points a list still holds 2 k for the largest k
_HELD_OUT, _SHARE, _FEWEST = 1000, 6, 240  # points held out at most; one of so many; below which nothing is held out
_ASKED = 512  # queries of a log that ask
_STANDARD_ERRORS = 3.0
# how much edges and seeds count that one side lists: by the neighbours, or more where held-out items clearly say so; at
# two standard errors they say so on five of 15 sets of classes, and are wrong on one
_WEIGHTS = (None, 0.3, 1.0)
# a list longer than a class begins to hold strangers, who do not list it back: on seven of 16 sets of classes lists of
# 40 are returned as often as lists of 7, or less (1.02 times at most), on the others 1.09 times as often at least
_LENGTHS, _GROWS = (7, 10, 14, 20, 28, WIDTH), 1.05


@dataclass(frozen=True, eq=False, repr=False)
class Tuning:
    """What was tried, and what was chosen.

    Reference: Breiman et al. (1984), section 3.4.3.

    Attributes
    ----------
    setting : Setting
        The chosen one.
    table : tuple of dict
        A row a setting, best first: "setting", its "cohesion", by how much it falls "short" of the best with the
        standard "error" of that, and whether it was "chosen".
    reason : str
        Why it was chosen.
    n_held_out : int
        Points that were held out.
    seconds : float
        Time taken, the search for neighbours included.

    Examples
    --------
    >>> Tuning(Setting(), (), reason="nothing to choose from", n_held_out=0, seconds=0.0).reason
    'nothing to choose from'
    """

    setting: Setting
    table: tuple[Facts, ...]
    reason: str
    n_held_out: int
    seconds: float

    @property
    def evidence(self) -> str:
        """The reason in a line, with the held-out figures where there are any.

        >>> Tuning(Setting(), (), reason="nothing to choose from", n_held_out=0, seconds=0.0).evidence
        'nothing to choose from, of 0 settings'
        """
        said = f"{self.reason}, of {len(self.table)} settings"
        of = next((row for row in self.table if row["chosen"]), None)
        if of is None:
            return said
        short = f"{of['short']:.3f} +- {of['error']:.3f} short of the best"
        return f"{said}: cohesion {of['cohesion']:.3f} of {self.n_held_out} held-out items, {short}"

    def __repr__(self) -> str:
        lines = [f"Tuning: {self.setting}\n  {self.reason} ({len(self.table)} settings in {self.seconds:.1f} s)"]
        for row in self.table[:10]:
            mark = "*" if row["chosen"] else " "
            lines.append(f"{mark} {row['cohesion']:.4f}  -{row['short']:.4f} +- {row['error']:.4f}  {row['setting']}")
        return "\n".join(lines)


def tune(
    X: ArrayLike | Neighbors,
    *,
    queries: ArrayLike | None = None,
    settings: Sequence[Setting] | None = None,
    metric: str = "cosine",
    affinity: str = "auto",
    method: str = "auto",
    backend: str | Backend = "auto",
    random_state: int = 0,
    progress: Progress | bool | None = None,
) -> Tuning:
    """Choose a setting for a collection without labels: k, gamma, filter and k_q, or whatever `settings` differ in.

    Reference: Breiman et al. (1984), section 3.4.3, for the rule; guide *notation*, "Own methods".

    Parameters
    ----------
    X : (n, d) array-like, or Neighbors
        The collection, or its neighbours: three times as many as the largest k to be tried, and 40 at least.
    queries : (q, d) array-like, optional
        What was asked of the collection, without judgements: they ask in place of held-out points, which are found as
        items are and not as queries. Of more than 512, those at even steps. X must be features then.
    settings : sequence of Setting, optional
        What to try, in the order of preference; by default `grid()`, of one weight of what one side lists, or of 20
        mutual neighbours, if lists as long as that are still returned.
    metric, affinity, method, backend
        See `manifold.build_graph`.
    random_state : int
        Decides which points are held out.
    progress : bool or callable(done, total), optional
        Called after each setting, and in the search for neighbours; see `manifold.neighbors.find_neighbors`.

    Returns
    -------
    Tuning

    Raises
    ------
    TypeError, ValueError, MemoryBudgetError
        As `manifold.neighbors.find_neighbors`; for no settings, and for queries beside neighbours.

    Notes
    -----
    The first setting in the order of preference is chosen whose cohesion falls short of the best by no more than three
    standard errors of the difference, over the queries: the rule of Breiman et al., made
    stricter, since the queries share the points that judge them. What one side lists is weighed before: all settings of
    the grid have the weight that the same rule chooses of three. Where the share of listings that are returned grows
    with the lists, from 7 to 40 by a twentieth and beyond chance, classes seem larger than those, and the graph is of
    20 neighbours: cohesion does not see that it is better, for it asks of a few neighbours of a point.
    Cost: one search for neighbours; for each graph and k_q one Lanczos basis, which serves every filter.

    Examples
    --------
    >>> from manifold import datasets
    >>> published = Setting(n_neighbors=50, gamma=3.0, one_sided=0.0, n_seeds=10, degree_exponent=0.0)
    >>> tune(datasets.digits().features, settings=[published, Setting()]).setting.n_neighbors
    7
    """
    check_progress(progress)
    check_random_state(random_state)
    start = time.perf_counter()
    tried = grid() if settings is None else list(dict.fromkeys(settings))
    if not tried:
        raise ValueError("settings must hold a Setting at least: leave it out for the grid")
    width, asked, wide = max(WIDTH, 3 * max(setting.n_neighbors for setting in tried)), None, ""
    if isinstance(X, Neighbors):
        neighbors, points = X, None
    else:
        points = X if metric == "precomputed" else point_set(X, metric)
        width = max(1, min(width, (len(points.X) if isinstance(points, PointSet) else np.shape(points)[0]) - 1))
        neighbors = find_neighbors(
            points, width, metric=metric, method=method, backend=backend, random_state=random_state, progress=progress
        )
    if queries is not None:
        asked = _asked(queries, points)
    n = neighbors.n_nodes
    if n < _FEWEST:
        reason = f"preferred, as {n} points are too few to hold any out"
        return Tuning(tried[0], (), reason, 0, time.perf_counter() - start)
    held = HeldOut.draw(neighbors, min(_HELD_OUT, n // _SHARE), random_state, asked=asked)
    found: dict[Setting, Floats] = {}
    kernel, where = Affinity(affinity, metric=neighbors.metric), get_backend(backend)
    if settings is None and (wide := _wide(neighbors)):
        tried = grid(wide=True)
    weighted = [Setting(one_sided=weight) for weight in _WEIGHTS] if settings is None and not wide else []
    n_all = len({*tried, *weighted})
    with shown(progress, "settings") as report:

        def judge(some: Sequence[Setting]) -> Floats:
            for setting, values in held.judged([one for one in some if one not in found], kernel, where):
                found[setting] = values.mean(axis=1)
                if report is not None:
                    report(len(found), n_all)
            return np.stack([found[setting] for setting in some])

        if weighted:
            weight = _choose(weighted, judge(weighted))[0].one_sided
            tried = [replace(setting, one_sided=weight) for setting in tried]
            tried += [setting for setting in weighted if setting not in tried]
        cohesion = judge(tried)
    setting, reason, table = _choose(tried, cohesion)
    return Tuning(setting, table, reason + wide, held.near.shape[0], time.perf_counter() - start)


def _wide(neighbors: Neighbors) -> str:
    """Return why the graph should be wide, or nothing: the longer the lists, the more of what they hold lists back.

    Of two lists of k among n points one holds the other by chance in a share k / n, which is taken out.

    >>> ring = np.arange(240)
    >>> lists = np.stack([(ring + step) % 240 for d in range(1, 21) for step in (d, -d)], axis=1)
    >>> _wide(Neighbors(lists, np.tile(-np.repeat(np.arange(20.0), 2), (240, 1)), "euclidean", "by hand"))
    ''
    """
    if neighbors.n_neighbors < WIDTH:
        return ""
    lists = [neighbors.first(k) for k in _LENGTHS]
    shares = np.array([returned_share(some, NeighborReach.of(some, some.n_neighbors)) for some in lists])
    chance = np.array(_LENGTHS) / max(neighbors.n_nodes, WIDTH + 1)
    beyond = (shares - chance) / (1 - chance)
    if (np.diff(beyond) < 0).any() or beyond[-1] <= _GROWS * beyond[0]:
        return ""
    return f"; wide, as {shares[-1]:.0%} of {WIDTH} neighbours are returned, and {shares[0]:.0%} of {_LENGTHS[0]}"


def _asked(queries: ArrayLike, points: object) -> tuple[Ints, NDArray[np.float32]]:
    """Return the nearest points (q, 30) of some of the queries, and their similarities."""
    if not isinstance(points, PointSet):
        raise ValueError("queries are compared with features: give X as features, not as neighbours or similarities")
    log = points.asked(queries, "queries")[0]
    some = np.unique(np.linspace(0, len(log.X) - 1, min(len(log.X), _ASKED)).astype(np.int64))
    return exact_search(log, points, k=min(WIDTH, len(points.X)), rows=some, backend=get_backend("scipy"))


def _choose(settings: Sequence[Setting], cohesion: Floats) -> tuple[Setting, str, tuple[Facts, ...]]:
    """Return the first setting that is not clearly short of the best, why, and the table."""
    means, q = cohesion.mean(axis=1), cohesion.shape[1]
    best = int(means.argmax())
    short = cohesion[best] - cohesion
    error = short.std(axis=1, ddof=1) / np.sqrt(q)
    chosen = int(np.flatnonzero(short.mean(axis=1) <= _STANDARD_ERRORS * error)[0])
    rows = zip(settings, means, short.mean(axis=1), error, strict=True)
    table = [
        {"setting": setting, "cohesion": float(v), "short": float(s), "error": float(e), "chosen": i == chosen}
        for i, (setting, v, s, e) in enumerate(rows)
    ]
    reason = "the best" if chosen == best else f"the first within {_STANDARD_ERRORS:g} standard errors of the best"
    return settings[chosen], reason, tuple(sorted(table, key=lambda row: -row["cohesion"]))
