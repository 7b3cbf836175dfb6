"""How each search ranks for a block of queries: by itself, by nearest neighbours, or fused from the lists of others.

In: queries, points, and searches by name. Out: lists of rows of the collection, and how the solves went.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from manifold._typing import AnyArray, Ints
from manifold.backends import get_backend
from manifold.neighbors import PointSet, exact_search
from manifold.ranking import ManifoldSearch, Ranking, unit_seeds
from manifold.reranking.fusion import fuse_rankings
from manifold.solvers import ConjugateGradient, Status, diffuse

BASELINE = "neighbours"
FUSED = 1_000  # items of each list that are fused, however deep the figures look: no figure changes another
Sides: TypeAlias = tuple[PointSet, PointSet]  # queries and points; the same object where items query each other
Ranked: TypeAlias = tuple[AnyArray, tuple[Status, ...]]


class Listed(Protocol):
    """What a search answers: lists of rows of the collection."""

    @property
    def ids(self) -> AnyArray:
        """Rows (q, k), best first; -1 pads."""


class Searcher(Protocol):
    """A fitted search, such as `manifold.ManifoldSearch`, whose ids are the rows of the collection.

    Reference: guide *judge*, "Hold searches against nearest neighbours".

    >>> from manifold import ManifoldSearch
    >>> fitted: Searcher = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> fitted.search(np.array([[1.0, 0.1]], dtype=np.float32), k=1).ids.tolist()
    [[1]]
    """

    def search(self, Q: NDArray[np.float32], k: int) -> Listed:
        """Rank for queries (q, d)."""

    def similar(self, ids: Ints, k: int) -> Listed:
        """Rank for items (q,) of the collection; asked only where these are the queries."""


def ranked(
    sides: Sides, block: Ints, searches: Mapping[str, Searcher | Sequence[str]], *, depth: int | None
) -> dict[str, Ranked]:
    """Return the lists of a block of queries by nearest neighbours, and by each search.

    >>> points = PointSet(np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float32), "cosine")
    >>> ranked((points, points), np.array([1]), {}, depth=None)["neighbours"][0].tolist()
    [[2, 0]]
    """
    near = _near(sides, block, depth)
    lists: dict[str, Ranked] = {BASELINE: (near, ())}
    for name, search in searches.items():
        if isinstance(search, Sequence):
            lists[name] = _fused([lists[of][0] for of in search], depth=depth), ()
        elif depth is None and sides[0] is sides[1] and _is_plain(search):
            lists[name] = _diffuse(search, sides[1], block, near=near)
        else:
            lists[name] = _rank(search, sides, block, depth=depth)
    return lists


def _fused(lists: Sequence[AnyArray], *, depth: int | None) -> AnyArray:
    """Fuse lists by reciprocal ranks; what none of them has among its first follows in the order of the first list."""
    heads = [of[:, :FUSED] for of in lists]
    k = sum(of.shape[1] for of in heads)
    ids, _ = fuse_rankings([(of, _falling(of)) for of in heads], rule="reciprocal_rank", k=k)
    whole = lists[0].shape[1] if depth is None else depth
    rows = np.full((len(ids), whole), -1, dtype=np.int64)
    for row, fused, first in zip(rows, ids, lists[0], strict=True):
        listed = fused[fused >= 0]
        rest = first[~np.isin(first, listed)]
        joined = np.concatenate([listed, rest])[:whole]
        row[: joined.size] = joined
    return rows


def _falling(ids: AnyArray) -> AnyArray:
    return np.broadcast_to(-np.arange(ids.shape[1], dtype=np.float64), ids.shape)


def _near(sides: Sides, block: Ints, depth: int | None) -> Ints:
    """Return the nearest neighbours of a block of queries; where they are items, themselves left out by their ids."""
    queries, points = sides
    inside = queries is points
    if depth is not None:
        k = min(depth, len(points.X) - inside)
        return exact_search(queries, points, k=k, rows=block, drop_self=inside, backend=get_backend("scipy"))[0]
    near, _ = nearest(queries, points, rows=block)
    return near[near != block[:, None]].reshape(block.size, -1) if inside else near


def _rank(search: Searcher, sides: Sides, block: Ints, *, depth: int | None) -> Ranked:
    """Rank for a block of queries; where they are items, themselves are left out by their rows."""
    queries, points = sides
    k = len(points.X) if depth is None else min(depth, len(points.X))
    found = search.similar(block, k) if queries is points else search.search(queries.X[block], k)
    ids = np.asarray(found.ids)
    if queries is points and (own := ids == block[:, None]).any():
        ids = np.where(own, -1, ids)
        ids = np.take_along_axis(ids, np.argsort(own, axis=1, kind="stable"), axis=1)
    return ids, found.diagnostics.status if isinstance(found, Ranking) else ()


def _is_plain(search: Searcher) -> TypeGuard[ManifoldSearch]:
    """Tell whether a search ranks by the scores of conjugate gradients alone."""
    if not isinstance(search, ManifoldSearch):
        return False
    s = search.settings
    iterates = s.solver in ("auto", "cg") or isinstance(s.solver, ConjugateGradient)
    return iterates and not s.degree_exponent and s.adaptation is None


def _diffuse(search: ManifoldSearch, points: PointSet, block: Ints, *, near: Ints) -> tuple[Ints, tuple[Status, ...]]:
    """Rank all others for a block of items: what `similar` does, but nearest first by plain scores where it is tied.

    `similar` measures all pairs once more, in one order of summation, which changes nothing in whole lists.
    """
    s, seeds = search.settings, unit_seeds(block, search.graph_.n_nodes)
    if s.affinity.metric != points.metric:
        own = PointSet(points.X, s.affinity.metric)
        near = _near((own, own), block, None)
    solution = diffuse(search.graph_, seeds, filter=s.filter, solver=s.solver, on_failure="ignore")
    scores = np.take_along_axis(np.maximum(solution.scores.T, 0), near, axis=1)
    return np.take_along_axis(near, np.argsort(-scores, axis=1, kind="stable"), axis=1), solution.status


def nearest(queries: PointSet, points: PointSet, *, rows: Ints) -> tuple[Ints, NDArray[np.float32]]:
    """Return all points, the nearest of each query first (equal ones by id), and scores (q, n) that order them.

    Reference: guide *judge*, "Hold searches against nearest neighbours".

    Examples
    --------
    >>> points = PointSet(np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float32), "cosine")
    >>> nearest(points, points, rows=np.array([1]))[0].tolist()
    [[1, 2, 0]]
    """
    backend, asked = get_backend("scipy"), queries.rows(rows)
    parts = [points.propose(asked, part, backend) for part in points.parts(len(points.X))]
    scores = np.concatenate(parts, axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")
    return order, np.take_along_axis(scores, order, axis=1)
