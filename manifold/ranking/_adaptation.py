"""What a query keeps of its plain ranking: closeness weighs in, first places stay, and few of the first 100 change.

An item is *reciprocal* where the query is at least as near to it as its own k-th neighbour is. Then

    seeds   w(s_i) of the k_q nearest items, times `one_sided` where they are not reciprocal (the first excepted)
    order   f_i exp(fusion s_i / spread), behind the first places, which nearest items keep
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._checks import check_count
from manifold.graph.affinity import Affinity
from manifold.neighbors import Neighbors, PointSet
from manifold.ranking.seeds import query_seeds

FIRST = 100  # places of which only `exchanged` go to items that are not among as many nearest ones
_DEPTH, _DEEPER = 100, 200  # the best so many by diffusion are put in order, even where fewer are asked for
_LEAST = 1e-9  # of the largest score: what a nearest item is taken to have that diffusion does not reach
_LEAD_REACH = 2  # an item keeps its place where the query is among its first 2 k

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]


class Fused(NamedTuple):
    """Lists (q, m) in order: rows, falling scores, those of the diffusion, similarities; places (q,) that were kept."""

    rows: Rows
    scores: NDArray[np.float64]
    diffusion: NDArray[np.float64]
    similarities: Floats
    kept: Rows


@dataclass(frozen=True)
class Adaptation:
    """How much of a query's plain ranking stays.

    Reference: guide *notation*, "Own methods"; guide *certificates*, "What is not proved".

    Parameters
    ----------
    one_sided : float in [0, 1], optional
        Weight of what is not reciprocal, edges of the graph and seeds alike: 0 leaves them out, 1 counts them whole. By
        default `one_sided_weight` of the graph's neighbours.
    fusion : float >= 0
        c of f exp(c s / spread), by which lists are ordered: 0 is the diffusion alone, 4 nearly the similarity s. The
        spread is the standard deviation of the similarities of one item to all, so that c means the same everywhere.
    lead : int
        Places, at most, that nearest items keep.
    reciprocal : bool
        Whether they keep them only from the first on, as long as they are reciprocal.
    exchanged : int, optional
        How many of the first 100 places may go to items that are not among the 100 nearest; the nearest 100 less so
        many are all listed there. By default any number.

    Examples
    --------
    >>> Adaptation(lead=5, exchanged=10).n_nearest
    100
    """

    one_sided: float | None = None
    fusion: float = 0.25
    lead: int = 3
    reciprocal: bool = True
    exchanged: int | None = None

    def __post_init__(self) -> None:
        if self.one_sided is not None and not 0 <= self.one_sided <= 1:
            raise ValueError(f"one_sided must lie in [0, 1], got {self.one_sided!r}: leave it out")
        if not (np.isfinite(self.fusion) and self.fusion >= 0):
            raise ValueError(f"fusion must be a finite number >= 0, got {self.fusion!r}")
        check_count(self.lead, "lead", minimum=0)
        if self.exchanged is not None:
            check_count(self.exchanged, "exchanged", minimum=0)

    @property
    def depth(self) -> int:
        """How many of the best by diffusion are put in order at least.

        >>> Adaptation().depth, Adaptation(exchanged=10).depth
        (100, 200)
        """
        return _DEPTH if self.exchanged is None else _DEEPER

    @property
    def n_nearest(self) -> int:
        """How many nearest items of a query are looked at.

        >>> Adaptation().n_nearest, Adaptation(exchanged=10).n_nearest
        (3, 100)
        """
        return self.lead if self.exchanged is None else max(self.lead, FIRST)

    def explain(self, one_sided: float, evidence: str = "") -> str:
        """Return what is done, for people, to stand behind ``scores   F``; see `evidence_of`.

        >>> print("scores   F" + Adaptation(fusion=0.0, lead=1).explain(0.5))
        scores   F
        edges    and seeds that are not listed back count 0.5
        kept     the first 1 nearest items at most, while they list the query back (Ranking.kept)
        """
        fused = f" x exp({self.fusion:g} similarity / spread)" if self.fusion else ""
        places = f"the first {self.lead} nearest items"
        kept = f"{places} at most, while they list the query back" if self.reciprocal else f"{places}, in their order"
        lines = [fused, f"edges    and seeds that are not listed back count {one_sided:.2g}{evidence}"]
        lines += [f"kept     {kept} (Ranking.kept)"]
        if self.exchanged is not None:
            lines += [f"tail     of the first {FIRST} places at most {self.exchanged} go to items that are not so near"]
        return "\n".join(lines)

    def in_order(
        self, rows: Rows, scores: NDArray[np.float64], asked: Asked, *, reach: NeighborReach | None, spread: float = 1.0
    ) -> Fused:
        """Put the best (q, m) by diffusion in order, and with `exchanged` the nearest items among them.

        Scores fall along each list: what keeps its place is worth no less than what follows it. Where an item is listed
        for its similarity, and is not among the best by diffusion, its diffusion score is NaN: at most the last of
        those.

        >>> reach = NeighborReach(np.zeros(3, dtype=np.float32), np.zeros(3, dtype=np.float32))
        >>> asked = Asked(np.array([[0]]), np.array([[0.9]], dtype=np.float32), lambda rows: np.ones(rows.shape))
        >>> rows, scores = np.array([[2, 1, 0]]), np.array([[4.0, 2.0, 1.0]])
        >>> fused = Adaptation(lead=1).in_order(rows, scores, asked, reach=reach)
        >>> fused.rows.tolist(), fused.scores.tolist(), fused.diffusion.tolist()
        ([[0, 2, 1]], [[4.0, 4.0, 2.0]], [[1.0, 4.0, 2.0]])
        """
        m, near = rows.shape[1], asked.near[:, : self.n_nearest]
        n_first = near.shape[1] if self.exchanged is not None else 0
        if n_first:
            rows = np.hstack([rows, np.where(_places(near, rows, m)[1], -1, near)])
            scores = np.hstack([scores, np.full(near.shape, np.nan)])
        place, known = _places(rows, near, near.shape[1])
        similarities = asked.closeness(np.where(known, -1, rows))
        if near.shape[1]:  # those of the nearest are known
            at = np.minimum(place, near.shape[1] - 1)
            similarities = np.where(known, np.take_along_axis(asked.similarities, at, axis=1), similarities)
        similarities = np.where(rows >= 0, similarities, -np.inf)
        worth, pooled = self._worth(scores, place, similarities, m=m, spread=spread), place < n_first
        pooled[:, : min(m, self.depth)] = True
        worth[rows < 0] = -np.inf
        tier = np.where(rows < 0, 3, np.where(pooled, 1, 2)) if n_first else np.where(rows < 0, 3, 1)
        run = self._run(asked, reach)
        # stable: items worth the same, such as those that were not reached, stay in the order they came in
        by_worth = np.lexsort((place, -worth, tier))
        if self.exchanged is not None and n_first:
            others = (np.take_along_axis(place, by_worth, axis=1) >= n_first - self.exchanged).cumsum(axis=1)
            behind = np.empty(tier.shape, dtype=bool)
            np.put_along_axis(behind, by_worth, others > self.exchanged, axis=1)
            tier = np.where((tier == 1) & behind & (place >= n_first - self.exchanged), 2, tier)
        led = place < run[:, None]
        order = np.lexsort((place, np.where(led, 0.0, -worth), np.where(led, 0, tier)))[:, :m]
        rows, led = np.take_along_axis(rows, order, axis=1), np.take_along_axis(led, order, axis=1)
        worth, scores = np.take_along_axis(worth, order, axis=1), np.take_along_axis(scores, order, axis=1)
        similarities = np.take_along_axis(similarities, order, axis=1)
        falling = np.maximum.accumulate(np.maximum(worth, 0)[:, ::-1], axis=1)[:, ::-1]
        return Fused(rows, falling, scores, similarities, led.sum(axis=1))

    def _worth(
        self, scores: NDArray[np.float64], place: Rows, similarities: Floats, *, m: int, spread: float
    ) -> NDArray[np.float64]:
        """Return scores x exp(c (s - s_1) / spread), s_1 the largest of a list; nearest items have the last score."""
        if self.exchanged is not None and m:
            listed = scores[:, :m]
            last = listed[:, min(m, self.depth) - 1 : min(m, self.depth)]
            last = np.maximum(last, _LEAST * listed.max(axis=1, keepdims=True))
            near = place < FIRST
            near[:, : min(m, self.depth)] |= listed[:, : self.depth] <= last
            scores = np.where(near, np.fmax(scores, last), np.nan_to_num(scores))
        if not (self.fusion and similarities.size):
            return scores.copy()
        top = similarities.max(axis=1, keepdims=True)
        if not spread:  # of a collection without features, of which nothing else is known
            known = np.ma.masked_invalid(similarities)
            width = np.ma.filled(known.std(axis=1), 0.0)[:, None]
        else:
            width = np.full_like(top, spread, dtype=np.float64)
        with np.errstate(under="ignore", invalid="ignore"):
            power = self.fusion * (similarities - top) / np.where(width > 0, width, 1.0)
            closeness = np.exp(np.nan_to_num(power, nan=0.0, neginf=-np.inf))
            worth: NDArray[np.float64] = scores * closeness
        return worth

    def _run(self, asked: Asked, reach: NeighborReach | None) -> Rows:
        """Return how many nearest items (q,) keep their places."""
        near, similarities = asked.near[:, : self.lead], asked.similarities[:, : self.lead]
        if not self.reciprocal:
            return np.asarray((near >= 0).sum(axis=1))
        if reach is None:
            return np.zeros(len(near), dtype=np.int64)
        return np.asarray(np.logical_and.accumulate(is_reciprocal(near, similarities, reach.lead), axis=1).sum(axis=1))


@dataclass(frozen=True, eq=False)
class Asked:
    """What is known of the queries: their nearest items, best first (q, m), and how near any others are."""

    near: Rows
    similarities: Floats
    closeness: Callable[[Rows], Floats]


@dataclass(frozen=True, eq=False)
class NeighborReach:
    """How near a query must be to each item to be among its neighbours: of the first k, and of the first 2 k."""

    edge: Floats  # (n,)
    lead: Floats  # (n,)

    def __post_init__(self) -> None:
        for name in ("edge", "lead"):
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    def __reduce__(self) -> tuple[object, ...]:  # a pickle forgets that arrays are read-only
        return NeighborReach, (self.edge, self.lead)

    @classmethod
    def of(cls, neighbors: Neighbors, k: int) -> NeighborReach:
        """Return the similarities at ranks k and 2 k of each list; -inf where a list is shorter.

        >>> pair = Neighbors([[1], [0]], [[0.5], [0.5]], "cosine", "by hand")
        >>> NeighborReach.of(pair, 1).edge.tolist()
        [0.5, 0.5]
        """

        def at(rank: int) -> Floats:
            n, width = neighbors.similarities.shape
            return neighbors.similarities[:, rank - 1] if 0 < rank <= width else np.full(n, -np.inf, dtype=np.float32)

        width = neighbors.n_neighbors
        return cls(at(min(k, width)), at(min(_LEAD_REACH * k, width)))


def reciprocal_seeds(
    near: Rows,
    similarities: Floats,
    *,
    reach: Floats,
    affinity: Affinity,
    one_sided: float,
    node_scales: NDArray[np.float64] | None = None,
) -> sparse.csc_array:
    """Return Y (n, q) in which a query enters by the rule of the graph's edges."""
    n = reach.size
    all_of_them = query_seeds(near, similarities, n_nodes=n, affinity=affinity, node_scales=node_scales)
    if one_sided == 1:
        return all_of_them
    whole = is_reciprocal(near, similarities, reach)
    whole[:, :1] = True
    mutual = query_seeds(np.where(whole, near, -1), similarities, n_nodes=n, affinity=affinity, node_scales=node_scales)
    Y = sparse.csc_array((1 - one_sided) * mutual + one_sided * all_of_them)
    Y.eliminate_zeros()
    return Y


def is_reciprocal(near: Rows, similarities: Floats, reach: Floats) -> NDArray[np.bool_]:
    """Whether a query is at least as near to each of its nearest items (q, k) as their own k-th neighbours are.

    >>> near, similarities = np.array([[1, 0]]), np.array([[1.0, 0.5]], dtype=np.float32)
    >>> reach = np.array([0.75, 0.0], dtype=np.float32)
    >>> is_reciprocal(near, similarities, reach).tolist()
    [[True, False]]
    """
    reciprocal: NDArray[np.bool_] = np.logical_and(near >= 0, similarities >= reach[np.maximum(near, 0)])
    return reciprocal


def evidence_of(lists: Neighbors, reach: NeighborReach) -> str:
    """Return what lists say of a collection: which share of them is listed back, and how skewed it is who is listed.

    Hubness is the skewness of how often an item is listed (Radovanović et al., 2010, section 2).

    >>> lists = Neighbors([[1], [0], [0]], [[0.5], [0.5], [0.25]], "cosine", "by hand")
    >>> evidence_of(lists, NeighborReach.of(lists, 1))
    ' (67% are; hubness 0.0)'
    """
    back = returned_share(lists, reach)
    away = np.bincount(lists.indices[lists.indices >= 0], minlength=lists.n_nodes).astype(np.float64)
    away -= away.mean()
    spread = away.std()
    return f" ({back:.0%} are; hubness {(away**3).mean() / spread**3 if spread else 0.0:.1f})"


def returned_share(lists: Neighbors, reach: NeighborReach) -> float:
    """Return which share of what is listed lists back.

    >>> lists = Neighbors([[1], [0], [0]], [[0.5], [0.5], [0.25]], "cosine", "by hand")
    >>> round(returned_share(lists, NeighborReach.of(lists, 1)), 2)
    0.67
    """
    back = is_reciprocal(lists.indices.astype(np.int64), lists.similarities, reach.edge)
    return float(back.sum() / max((lists.indices >= 0).sum(), 1))


def _places(rows: Rows, near: Rows, missing: int) -> tuple[Rows, NDArray[np.bool_]]:
    """Return the place of each row (q, m) in the lists `near` (q, w), and whether it is there.

    >>> _places(np.array([[7, 3, -1]]), np.array([[3, 5]]), 9)[0].tolist()
    [[9, 0, 9]]
    """
    place = np.full(rows.shape, missing, dtype=np.int64)
    if near.shape[1]:
        for j, (listed, asked) in enumerate(zip(near, rows, strict=True)):
            by_id = np.argsort(listed)
            at = by_id[np.minimum(np.searchsorted(listed[by_id], asked), listed.size - 1)]
            place[j] = np.where((listed[at] == asked) & (asked >= 0), at, missing)
    return place, place != missing


def spread_of(points: PointSet) -> float:
    """Return the standard deviation of the similarities of one point to the others, mean over some points.

    Points at even steps of the rows, 128 that ask and 1,024 that answer: the same for the same collection.

    >>> spread_of(PointSet(np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32), "cosine"))
    0.5
    """
    n = len(points.X)
    asks, answers = (np.unique(np.linspace(0, max(n - 1, 0), min(n, m)).astype(np.int64)) for m in (128, 1024))
    if not n:
        return 0.0
    each = points.rows(answers)
    found = [points.compare(each[None], points.rows(np.array([row])))[0].std(dtype=np.float64) for row in asks]
    return float(np.mean(found))


def similarities_listed(listed: Rows, similarities: Floats, rows: Rows) -> Floats:
    """Return the similarities (q, k) of the items at `rows` from those listed; any other counts as the last of them.

    >>> similarities_listed(np.array([[3, 1]]), np.array([[0.5, 0.25]], dtype=np.float32), np.array([[3, 7]])).tolist()
    [[0.5, 0.25]]
    """
    found = np.empty(rows.shape, dtype=np.float32)
    for j, items in enumerate(rows):
        known = listed[j] >= 0
        by_id = np.argsort(listed[j][known])
        ids, values = listed[j][known][by_id], similarities[j][known][by_id]
        at = np.minimum(np.searchsorted(ids, items), max(ids.size - 1, 0))
        found[j] = np.where(ids[at] == items, values[at], values.min()) if ids.size else 0
    return found
