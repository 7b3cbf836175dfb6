"""Points in two forms: bytes that propose, and the rows as they are, a map of a large file, say, that decide.

In: features. Out: a `PointSet` that holds both; and lists that were found among the bytes -> the best of them, by the
similarities of the rows as they are.

Bytes order neighbours nearly as float32 does: among a few more than k of them are the true k.
"""

from __future__ import annotations

import numpy as np

from manifold._typing import Facts, RandomState
from manifold.backends import Backend
from manifold.neighbors._base import Neighbors
from manifold.neighbors._recall import Sample
from manifold.neighbors._shortlists import NOBODY, Shortlists
from manifold.neighbors._stored_rows import bytes_by_row
from manifold.neighbors.points import PointSet, point_set

CURE = "raise the recall of the method, or give X without its bytes"  # of a recall that is low


def compact_points(X: object, rows: object = None, *, name: str = "X") -> PointSet:
    """Return points, by their cosine, whose candidates are found among bytes: approximate searches keep those at hand.

    Each row x becomes round(127 x / max |x|), which keeps its direction to about 1 part in 250. Candidates, some more
    than are asked for, are compared again by the rows of X, which are read for those alone, and their similarities
    are those of X, to the bit. Exact searches look at X itself.

    Reference: Jégou et al. (2011), section III, for neighbours by codes of few bits.

    Parameters
    ----------
    X : (n, d) array-like of numbers, or path of a file that `open_features` reads
        As `point_set` takes it; a map of a file is what this is for.
    rows : (n, d) int8, or path of a file of them, optional
        The bytes, where they were made before, at any scale of a row; by default they are made of X, once, in memory.

    Raises
    ------
    TypeError, ValueError
        As `point_set`; for rows of another dtype or shape.

    Notes
    -----
    Cost: one pass over X; n d bytes, a quarter of float32. What joins such points copies X into memory.

    Examples
    --------
    >>> points = compact_points([[0.5, -1.0], [2.0, 1.0]])
    >>> points.compact.X.tolist(), points.X.dtype
    ([[64, -127], [127, 64]], dtype('float32'))
    """
    points = point_set(X, name=name)
    made = PointSet(bytes_by_row(points.X), "cosine") if rows is None else point_set(rows, name="rows")
    if made.X.dtype != np.int8 or made.X.shape != points.X.shape:
        raise ValueError(
            f"rows must be those of {name} as int8 {points.X.shape}, got {made.X.dtype} {made.X.shape}: leave them out"
        )
    both = points._like(PointSet(points.X, "cosine"))  # points that were given stay as they are
    both.compact = made
    return both


def n_candidates(k: int, n: int) -> int:
    """Return how many are proposed, of n others, where k are asked for: half as many more, and five at least.

    >>> n_candidates(10, 1_000), n_candidates(50, 1_000), n_candidates(10, 12)
    (15, 75, 12)
    """
    return min(n, k + max(5, k // 2))


def decided(points: PointSet, found: Neighbors, k: int, *, backend: Backend, random_state: RandomState) -> Neighbors:
    """Return the first k of lists that the bytes proposed, by similarities of the points, and with the recall of those.

    Cost: of the rows of the candidates, cell by cell; and an exact search for 256 points, which are judged.
    """
    lists = Shortlists(points, found.n_neighbors, backend=backend)
    lists.ids = backend.asarray(np.where(found.indices < 0, np.int32(NOBODY), found.indices))
    cell = np.zeros(found.n_nodes, np.int32) if found.partition is None else found.partition.cell
    lists.rank(k, np.argsort(cell, kind="stable").astype(np.int32))
    ids, similarities = backend.to_host(lists.ids), backend.to_host(lists.scores)
    rng = np.random.default_rng(0 if random_state is None else random_state)
    recall = Sample.draw(points, k, rng=rng, backend=backend).recall(similarities, cure=CURE)
    facts = {**found.facts, "recall": recall, **rescored(points, points.proposing)}
    ids = np.where(ids == NOBODY, np.int32(-1), ids)
    return found._with_lists(ids, similarities, facts=facts, partition=found.partition)


def rescored(points: PointSet, proposing: PointSet) -> Facts:
    """Return what facts say of points in two forms: in which candidates were found, and in which compared.

    >>> points = compact_points([[0.5, -1.0]])
    >>> rescored(points, points.proposing)
    {'features': 'int8', 'rescored': 'float32'}
    """
    return {"features": str(proposing.X.dtype), "rescored": str(points.X.dtype)}
