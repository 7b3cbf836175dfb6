"""Relevance against what it says: calibrated by held-out items, and by 50 judged queries, on the queries of the sets.

Of each list of a hundred, "edges off" is the expected calibration error of relevance by held-out items against the
edges that would join the query; "labels off" the same against what is relevant, which it does not claim to know;
"judged off" that of relevance by 50 judged queries (20 fewer than there are, where those are few) on the others, whose
Brier score stands beside that of the plain share. Nothing is chosen by the queries that judge.
"""

from __future__ import annotations

import numpy as np

import manifold as mf
from bench._report import Row
from bench.sets import Collection, Lists, collections
from manifold.ranking import calibrate

_LISTED, _SHOWN, _REST, _BINS = 100, 50, 20, 15
SETS = ("digits", "coil20", "fashion_mnist", "cranfield", "orl", "cisi", "words, inflected", "networkx, its text")


def run(*, quick: bool) -> list[Row]:
    rows: list[Row] = []
    for data in collections(quick=quick, names=None if quick else SETS):
        for purpose in (None, data.purpose):
            rows.append(measured(data, purpose))
            print(rows[-1], flush=True)
    return rows


def measured(data: Collection, purpose: str | None) -> Row:
    """Return how far relevance is off, by held-out items and by judged queries."""
    search = mf.ManifoldSearch(purpose=purpose, on_failure="ignore").fit(data.X)
    k, q = min(_LISTED, len(data.X)), len(data.Q)
    by_edges = calibrate(search).search(data.Q, k=k)
    relevant = np.take_along_axis(data.relevant, by_edges.ids, axis=1)
    seen, rest = np.split(np.random.default_rng(q).permutation(q), [min(_SHOWN, q - _REST)])
    judged = calibrate(search, data.Q[seen], [np.flatnonzero(row) for row in data.relevant[seen]])
    found, right = judged.search(data.Q[rest], k=k).relevance, relevant[rest]
    plain = np.full(right.shape, relevant[seen].mean())
    return {
        "set": data.name,
        "told": purpose or "",
        "relevant": float(relevant.mean()),
        "joined": float(joined(search, data.Q, by_edges.ids).mean()),
        "edges off": off(by_edges.relevance, joined(search, data.Q, by_edges.ids)),
        "labels off": off(by_edges.relevance, relevant),
        "judged off": off(found, right),
        "Brier": float(np.mean((found - right) ** 2)),
        "Brier of the share": float(np.mean((plain - right) ** 2)),
    }


def joined(search: mf.ManifoldSearch, Q: np.ndarray, ids: Lists) -> Lists:
    """Return which listed items (q, k) are among the nearest of the query, and have it among theirs."""
    fitted, k = search.fitted_, search.settings.n_neighbors
    assert fitted.points is not None  # of features
    assert fitted.reach is not None  # of lists
    near, similarities = fitted.nearest(fitted.points.asked(Q)[0], k)
    mutual = similarities >= fitted.reach.edge[near]
    return np.array([np.isin(row, some[kept]) for row, some, kept in zip(ids, near, mutual, strict=True)])


def off(p: np.ndarray, hits: np.ndarray) -> float:
    """Return the expected calibration error, over 15 bins of equal width.

    >>> off(np.array([[0.9, 0.9]]), np.array([[True, False]])).__round__(2)
    0.4
    """
    bins = np.minimum((p * _BINS).astype(np.int64), _BINS - 1).ravel()
    return float(abs(np.bincount(bins, (p - hits).ravel())).sum() / p.size)
