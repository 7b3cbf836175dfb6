"""What judged queries choose among, and what each candidate reaches.

In: points, queries, their relevant rows, parameters of searches. Out: average precisions (m, q).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from manifold._arrays import as_integers
from manifold._typing import Facts, Floats, Ints
from manifold.metrics import average_precisions
from manifold.neighbors import PointSet, find_neighbors
from manifold.ranking import Adaptation, ManifoldSearch

FEWEST = 10  # judged queries: of fewer no interval is believed
_MUTUAL, _EITHER = Adaptation(one_sided=0.0, fusion=0.0), Adaptation(one_sided=1.0, lead=0)
_SOFT, _SOFT_NEAR = Adaptation(one_sided=0.3, fusion=0.0, lead=0), Adaptation(one_sided=0.3, lead=0)
# nearest neighbours as they are, both purposes, and graphs for classes: no signal without labels says where these are
# best (held-out points prefer others), and judgements do. What one side lists, counted .3, gains 3 to 5 % on five of 16
# sets of classes, and loses 4 to 13 % where classes are no larger than lists, or lie far apart.
CANDIDATES: tuple[Facts, ...] = (
    {},
    {"purpose": "item"},
    {"purpose": "topic"},
    {"preset": "plain-diffusion", "alpha": 0.0},
    {"purpose": "topic", "n_neighbors": 20, "n_seeds": 5, "adaptation": _MUTUAL},
    {"purpose": "topic", "n_neighbors": 50, "n_seeds": 5, "gamma": 3.0, "adaptation": _MUTUAL},
    {"purpose": "topic", "n_neighbors": 10, "gamma": 3.0, "adaptation": _EITHER},
    {"purpose": "topic", "adaptation": _SOFT},
    {"purpose": "topic", "alpha": 0.9, "adaptation": _SOFT_NEAR},
)


def judgements(relevant: Sequence[ArrayLike], *, n: int, q: int) -> list[Ints]:
    """Return the relevant rows of each query; raise ValueError for too few queries, and for rows that are none.

    >>> [rows.tolist() for rows in judgements([[3, 1, 3]] * 10, n=4, q=10)][:2]
    [[1, 3], [1, 3]]
    """
    rows = [np.unique(as_integers(one, "relevant")) for one in relevant]
    if q < FEWEST or len(rows) != q:
        raise ValueError(f"queries must be {FEWEST} at least, with judgements of each, got {q} and {len(rows)}")
    if any(one.size == 0 or one[0] < 0 or one[-1] >= n for one in rows):
        raise ValueError(f"relevant must name rows 0..{n - 1} of X, one at least for each query")
    return rows


def precisions(points: PointSet, asked: PointSet, relevant: Sequence[Ints], *, tried: Sequence[Facts]) -> Floats:
    """Return the average precision (m, q) of each query by each search; neighbours are searched for once.

    >>> X = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], dtype=np.float32)
    >>> one_way, other_way = PointSet(X, "cosine"), PointSet(X[:1], "cosine")
    >>> precisions(one_way, other_way, [np.array([1])], tried=[{"n_neighbors": 1}]).tolist()
    [[0.5]]
    """
    searches = [ManifoldSearch(**{"metric": points.metric, "on_failure": "ignore", **given}) for given in tried]
    n = len(points.X)
    neighbors = find_neighbors(points, max(1, min(n - 1, max(search.settings.width for search in searches))))
    lists = (search.fit(points, neighbors=neighbors).search(asked.X, k=n).ids for search in searches)
    return np.stack([average_precisions(ids, relevant) for ids in lists])
