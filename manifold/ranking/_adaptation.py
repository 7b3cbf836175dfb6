"""What a query keeps of its plain ranking: a query enters as a node would, and its reciprocal neighbours lead the list.

An item is *reciprocal* where the query is at least as near to it as its own k-th neighbour is. Then

    seeds   w(s_i) of the k_q nearest items, times `one_sided` where they are not reciprocal (the first excepted)
    order   f_i max(s_i, 0)^fusion, behind the first places, which reciprocal nearest items keep
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._checks import check_count
from manifold.graph.affinity import Affinity
from manifold.neighbors import Neighbors, PointSet
from manifold.ranking.seeds import query_seeds

DEPTH = 100  # the best so many by diffusion are put in order, even where fewer are asked for
_LEAD_REACH = 2  # an item keeps its place where the query is among its first 2 k

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Adaptation:
    """How much of a query's plain ranking stays.

    Parameters
    ----------
    one_sided : float in [0, 1], optional
        Weight of what is not reciprocal, edges of the graph and seeds alike: 0 leaves them out, 1 counts them whole. By
        default `one_sided_weight` of the graph's neighbours.
    fusion : float >= 0
        Power of the similarity that scores are multiplied by before they are put in order; of no effect on
        Euclidean similarities, which have no scale of their own.
    lead : int
        Places, at most, that nearest items keep: from the first on, as long as they are reciprocal.
    """

    one_sided: float | None = None
    fusion: float = 0.25
    lead: int = 3

    def __post_init__(self) -> None:
        if self.one_sided is not None and not 0 <= self.one_sided <= 1:
            raise ValueError(f"one_sided must lie in [0, 1], got {self.one_sided!r}: leave it out")
        if not (np.isfinite(self.fusion) and self.fusion >= 0):
            raise ValueError(f"fusion must be a finite number >= 0, got {self.fusion!r}")
        check_count(self.lead, "lead", minimum=0)

    def explain(self, one_sided: float) -> str:
        """Return what is done, for people, to stand behind ``scores   F``.

        >>> print("scores   F" + Adaptation(fusion=0.0, lead=1).explain(0.5))
        scores   F
        edges    and seeds that are not listed back count 0.5
        kept     the first 1 nearest items at most, while they list the query back (Ranking.kept)
        """
        fused = f" x similarity^{self.fusion:g}" if self.fusion else ""
        return (
            f"{fused}\nedges    and seeds that are not listed back count {one_sided:.2g}"
            f"\nkept     the first {self.lead} nearest items at most, while they list the query back (Ranking.kept)"
        )

    def in_order(
        self, rows: Rows, scores: NDArray[np.float64], asked: Asked, *, reach: NeighborReach
    ) -> tuple[Rows, NDArray[np.float64], NDArray[np.float64], Rows]:
        """Put lists (q, k) in order: the run of reciprocal nearest items, then the others by score x closeness^fusion.

        Returns the rows; scores that fall along each list, what keeps its place being worth no less than what follows
        it; the scores of the diffusion; and the length (q,) of the run.

        >>> reach = NeighborReach(np.zeros(3, dtype=np.float32), np.zeros(3, dtype=np.float32))
        >>> asked = Asked(np.array([[0]]), np.array([[0.9]], dtype=np.float32), lambda rows: np.ones(rows.shape))
        >>> rows, scores = np.array([[2, 1, 0]]), np.array([[4.0, 2.0, 1.0]])
        >>> [part.tolist() for part in Adaptation(lead=1).in_order(rows, scores, asked, reach=reach)]
        [[[0, 2, 1]], [[4.0, 4.0, 2.0]], [[1.0, 4.0, 2.0]], [1]]
        """
        near, similarities = asked.near[:, : self.lead], asked.similarities[:, : self.lead]
        run = np.logical_and.accumulate(is_reciprocal(near, similarities, reach.lead), axis=1)
        place = np.full(rows.shape, near.shape[1])
        for j in range(near.shape[1]):
            place[(rows == near[:, j : j + 1]) & run[:, j : j + 1]] = j
        led = place < near.shape[1]
        worth = scores * np.maximum(asked.closeness(rows), 0.0) ** self.fusion if self.fusion else scores
        # stable: items worth the same, such as those that were not reached, stay in the order they came in
        order = np.lexsort((-np.where(led, 0.0, worth), place, rows < 0), axis=1)
        scores, worth = (np.take_along_axis(x, order, axis=1) for x in (scores, worth))
        falling = np.maximum.accumulate(worth[:, ::-1], axis=1)[:, ::-1]
        return np.take_along_axis(rows, order, axis=1), falling, scores, led.sum(axis=1)


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


def similarities_to(queries: PointSet, points: PointSet, rows: Rows, *, own: Rows | None = None) -> Floats:
    """Return the similarities (q, k) of the items at `rows` to the queries, or to those of them named by `own`.

    >>> rows = np.array([[0.0, 2.0], [3.0, 0.0]], dtype=np.float32)
    >>> points = PointSet(rows, "cosine")
    >>> similarities_to(points, points, np.array([[1, 0]]), own=np.array([1])).tolist()
    [[1.0, 0.0]]
    """
    found = np.empty(rows.shape, dtype=np.float32)
    for j, items in enumerate(rows):
        asking = queries.rows(np.array([j if own is None else own[j]]))
        found[j] = points.compare(points.rows(np.maximum(items, 0))[None], asking)[0]
    return found


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
