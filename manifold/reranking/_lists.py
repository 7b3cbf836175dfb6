"""Neighbour lists as sparse rows: what the re-rankers that compare neighbourhoods share.

In: `Neighbors` of a collection, and who asks. Out: memberships, distances, and the best k of sparse scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from manifold._arrays import as_integers, as_numbers
from manifold._checks import check_count
from manifold._typing import AnyArray, Floats, Ints
from manifold.neighbors import Neighbors
from manifold.reranking._sparse import sparse_rows

Lists: TypeAlias = tuple[Ints, Floats]


def check_lists(ids: object, similarities: object, n: int) -> Lists:
    """Return lists (q, m) as int64 and float64, best first, ``-inf`` beside -1; raise for what is no such lists.

    >>> check_lists([[1, -1]], [[0.5, 0.0]], 2)[1].tolist()
    [[0.5, -inf]]
    """
    rows, values = as_integers(ids, "ids"), as_numbers(similarities, "similarities")
    if rows.ndim != 2 or rows.shape != values.shape:
        raise ValueError(f"ids and similarities must share a shape (q, m), got {rows.shape} and {values.shape}")
    if rows.size and not (rows.min() >= -1 and rows.max() < n):
        raise ValueError(f"ids must lie in -1..{n - 1}, got {rows.min()}..{rows.max()}")
    values = np.where(rows >= 0, values, -np.inf)
    if not np.isfinite(values[rows >= 0]).all():
        raise ValueError("similarities hold NaN or infinity beside a valid id")
    if (values[:, 1:] > values[:, :-1]).any():
        raise ValueError("similarities must descend within each row (-1 last): sort the lists")
    return rows.astype(np.int64), values


def check_neighbors(neighbors: object, widths: Mapping[str, int]) -> None:
    """Raise TypeError for what is no `Neighbors`, ValueError for lists that are narrower than a setting needs."""
    if not isinstance(neighbors, Neighbors):
        kind = type(neighbors).__name__
        raise TypeError(f"neighbors must be Neighbors, got {kind}: manifold.neighbors.find_neighbors finds them")
    if max(widths.values(), default=0) > neighbors.n_neighbors:
        named = ", ".join(f"{name}={value}" for name, value in widths.items())
        raise ValueError(f"{named} but neighbors list {neighbors.n_neighbors}: find more, or lower what is larger")


def check_weight(weight: float) -> float:
    """Return a weight in [0, 1], or raise ValueError.

    >>> check_weight(1)
    1.0
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"weight must lie in [0, 1], got {weight!r}: 0.3 is the published one")
    return float(weight)


@dataclass(frozen=True, eq=False)
class Askers:
    """Who asks, r lists into a set of n points, and which of the points may be answers (the first `n_answers`).

    `own` holds their rows where they are points of the set, each of which then belongs to its own neighbourhood. The
    distance of a similarity s is (largest - s) / scale.
    """

    ids: AnyArray  # (r, m), -1 pads
    similarities: AnyArray  # (r, m), -inf beside -1
    own: Ints | None
    n_points: int
    n_answers: int
    largest: Floats | None = None  # (r,); both ones where None
    scale: Floats | None = None

    @property
    def n(self) -> int:
        """Number of lists."""
        return int(self.ids.shape[0])

    @property
    def distances(self) -> Floats:
        """Distances (r, m), inf beside -1; worked out anew each time, for some lists at a time.

        >>> Askers(np.array([[1, -1]]), np.array([[0.75, -np.inf]]), None, 2, 2).distances.tolist()
        [[0.25, inf]]
        """
        largest, scale = (1.0 if x is None else x[:, None] for x in (self.largest, self.scale))
        distances: Floats = np.maximum(largest - self.similarities.astype(np.float64), 0) / scale
        return distances

    def part(self, rows: slice | Ints) -> Askers:
        """Return some of the lists."""
        largest, scale = (None if x is None else x[rows] for x in (self.largest, self.scale))
        own = None if self.own is None else self.own[rows]
        ids, similarities = self.ids[rows], self.similarities[rows]
        return replace(self, ids=ids, similarities=similarities, own=own, largest=largest, scale=scale)

    def first(self, k: int) -> Askers:
        """Return the lists cut to their first k."""
        return replace(self, ids=self.ids[:, :k], similarities=self.similarities[:, :k])

    def members(self, k: int, *, with_own: bool) -> sparse.csr_array:
        """Return the 0/1 rows (r, n) of the first k listed, with the point itself if asked.

        >>> lists = Askers(np.array([[2, 1]]), np.array([[0.9, 0.8]]), np.array([0]), 3, 3)
        >>> lists.members(1, with_own=True).toarray().tolist()
        [[1.0, 0.0, 1.0]]
        """
        ids = self.ids[:, :k]
        if with_own and self.own is not None:
            ids = np.column_stack([self.own, ids])
        return sparse_rows(ids, np.ones(ids.shape), self.n_points)


def everyone(neighbors: Neighbors, *, scale: ArrayLike | None = None) -> Askers:
    """Return the points of a collection as those who ask."""
    n = neighbors.n_nodes
    measure = _measure(neighbors, neighbors.similarities, scale)
    return Askers(neighbors.indices, neighbors.similarities, np.arange(n), n, n, *measure)


def askers(
    neighbors: Neighbors,
    ids: ArrayLike | None,
    similarities: ArrayLike | None,
    *,
    n_queries: int = 0,
    scale: ArrayLike | None = None,
) -> Askers:
    """Return queries outside the collection, by their lists; or its last `n_queries` rows; or, failing both, all."""
    n, n_queries = neighbors.n_nodes, check_count(n_queries, "n_queries", minimum=0)
    if (ids is None) != (similarities is None):
        raise ValueError("ids and similarities go together: give both, or neither")
    if ids is None or similarities is None:
        if n_queries >= n:
            raise ValueError(f"n_queries={n_queries} of {n} points leave nothing to rank")
        points = everyone(neighbors, scale=scale)
        return replace(points.part(slice(n - n_queries, None)), n_answers=n - n_queries) if n_queries else points
    if n_queries:
        raise ValueError("n_queries says that the last rows of neighbors are the queries: leave out ids or n_queries")
    if scale is not None and np.ndim(scale):
        raise ValueError("scale must be one number where queries are outside the collection: it holds for both")
    rows, values = check_lists(ids, similarities, n)
    return Askers(rows, values, None, n, n, *_measure(neighbors, values, scale))


def _measure(
    neighbors: Neighbors, similarities: AnyArray, scale: ArrayLike | None
) -> tuple[Floats | None, Floats | None]:
    """Return what the distances of lists (r, m) count down from and are divided by; None stands for ones.

    Distances are 1 - s for cosine, |x - z|^2 for euclidean, the largest similarity less s for others; the first as they
    are, the others over the largest of them that the neighbours have.
    """
    if neighbors.metric == "cosine" and scale is None:
        return None, None
    r, known = similarities.shape[0], neighbors.similarities[neighbors.indices >= 0]
    top = {"cosine": 1.0, "euclidean": 0.0}.get(neighbors.metric, float(known.max(initial=0)))
    divisor = as_numbers((top - known.min(initial=top)) or 1.0 if scale is None else scale, "scale")
    if divisor.shape not in ((), (r,)) or not ((divisor > 0) & np.isfinite(divisor)).all():
        raise ValueError(f"scale must be positive, one number or one a list ({r}), got {scale!r}")
    # a query outside may be more similar than any two points are; its own largest then has distance 0
    return similarities.max(axis=1, initial=top).astype(np.float64), np.broadcast_to(divisor, (r,))


def best_of_rows(similar: sparse.csr_array, asking: Askers, *, weight: float, k: int) -> Lists:
    """Return the k best answers of each row by (1 - weight) similarity - weight distance, -1 pads.

    Candidates are all that are listed or similar. An answer that is not listed counts as far as the last that is;
    scores are counted from there, so that what is neither listed nor similar has 0. Equal scores keep the order of the
    list, then ids ascend.
    """
    distances = asking.distances
    known = np.where(np.isfinite(distances), distances, 0)
    margins = sparse_rows(asking.ids, known.max(axis=1, initial=0)[:, None] - known, asking.n_points)
    pattern = _ones(_ones(similar) + _ones(margins))
    # a row number of two bytes sorts in linear time; rows come in blocks of some thousand
    rows = np.repeat(np.arange(asking.n, dtype=np.min_scalar_type(asking.n)), np.diff(pattern.indptr))
    near, alike = ((pattern + part).data - 1 for part in (margins, similar))  # both on the pattern of the two
    kept = pattern.indices < asking.n_answers
    if asking.own is not None:
        kept &= pattern.indices != asking.own[rows]
    rows, columns, near = rows[kept], pattern.indices[kept], near[kept]
    score = (1 - weight) * alike[kept] + weight * near
    order = np.lexsort((-score, rows) if weight else (-near, -score, rows))  # stable: equal ones stay by id
    rank = np.arange(rows.size) - np.searchsorted(rows, np.arange(asking.n, dtype=rows.dtype))[rows]
    first = rank < k
    ids, scores = np.full((asking.n, k), -1, dtype=np.int64), np.zeros((asking.n, k))
    ids[rows[first], rank[first]] = columns[order[first]]
    scores[rows[first], rank[first]] = score[order[first]]
    return ids, scores


def _ones(matrix: sparse.csr_array) -> sparse.csr_array:
    return sparse.csr_array((np.ones(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)
