"""Lists that local solves certify, hunted for a wrong one: every bound of every list against solutions in long double.

Small graphs of awkward kinds, in float32 and float64, are asked for lists in every way: weights over twelve orders of
magnitude, stars, barbells, nearly bipartite graphs, scores that nearly tie; collections that have grown and shrunk, by
`ManifoldSearch`; PageRank. Alphas from .5 to .999, one resolvent or two, degree exponents 0, 1/2 and 1, slack none, 0
and .1. Of each kind: `lists`; those `certified`; `wrong` ones of these, in whose place another node belongs; `bounds`
that do not hold, certified or not; and `unequal` lists, whose bits are not those of a solver that has answered nothing
before. A solution is refined until its residual, in long double, bounds it, and only what is beyond that bound counts.
Workspaces begin with places for four nodes, so that they grow in the middle of most lists.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import lu_factor, lu_solve

import manifold as mf
from bench._report import Row
from manifold.backends import get_backend, relaxation
from manifold.neighbors import point_set
from manifold.solvers import Local

ALPHAS, EXPONENTS, SLACKS = (0.5, 0.9, 0.95, 0.99, 0.999), (0.0, 0.5, 1.0), (None, 0.0, 0.1)
WORLDS, LISTS = 200, 25  # graphs of a kind, and lists of each
Exact = Any  # array of long doubles
Facts = dict[str, int]


def run(*, quick: bool) -> list[Row]:
    rows, places = [], (relaxation._NODES, relaxation._EDGES)
    relaxation._NODES, relaxation._EDGES = 4, 8
    try:
        for name, hunt in (*((name, _lists) for name in KINDS), ("add, remove", _changed), ("PageRank", _pagerank)):
            found: Counter[str] = Counter(lists=0, certified=0, wrong=0, bounds=0, unequal=0)
            for world in range(5 if quick else WORLDS):
                with warnings.catch_warnings():  # of copies, and of lists that stay undecided, which are meant
                    warnings.simplefilter("ignore", mf.errors.ManifoldWarning)
                    for facts in hunt(np.random.default_rng([17, world, len(name)]), KINDS.get(name)):
                        found.update(facts)
            rows.append({"kind": name, **found})
    finally:
        relaxation._NODES, relaxation._EDGES = places
    return rows


def _lists(rng: np.random.Generator, make: Any) -> Iterator[Facts]:
    """Ask one solver for many lists, and one that is new for each."""
    graph, alpha = _graph(make(rng), rng), float(rng.choice(ALPHAS))
    h = mf.RegularizedDiffusion(alpha) if rng.random() < 0.2 else mf.Diffusion(alpha)
    n, scale, asked = graph.n_nodes, graph.scale(float(rng.choice(EXPONENTS))), []
    for _ in range(LISTS):
        nodes = rng.permutation(n)[: rng.integers(1, min(8, n))]
        weights = 10 ** rng.uniform(-3, 0, nodes.size) if rng.random() < 0.7 else np.ones(nodes.size)
        among = rng.permutation(n)[: rng.integers(1, n)] if rng.random() < 0.3 else None
        left_out = nodes[:1] if rng.random() < 0.3 else None
        ways = {"slack": SLACKS[rng.integers(3)], "among": among, "left_out": left_out}
        asked.append(((nodes, weights, int(rng.integers(1, 20))), ways))

    def lists() -> Any:
        return Local().prepare(graph, h, get_backend("scipy")).lists(scale)

    one, Y = lists(), np.zeros((n, LISTS))
    for j, ((nodes, weights, _), _) in enumerate(asked):
        Y[nodes, j] = weights
    F, doubt = _exact(graph.affinity, Y, h)
    for j, (what, ways) in enumerate(asked):
        found = one.best(*what, **ways)
        x = np.zeros(n)
        x[found.nodes] = found.x
        may = np.ones(n, dtype=bool) if ways["among"] is None else np.isin(np.arange(n), ways["among"])
        may[[] if ways["left_out"] is None else ways["left_out"]] = False
        facts = _judged(scale * F[:, j], scale * doubt[:, j], found.rows, may, lower=found.lower, outside=found.outside)
        facts["bounds"] |= bool((np.abs(F[:, j] - x) - doubt[:, j]).max() > found.error_bound)
        new = (lists().best(*what, **ways), one.best(*what, **ways))
        yield facts | {"unequal": any(not _same(found, other) for other in new)}


def _changed(rng: np.random.Generator, _: Any) -> Iterator[Facts]:
    """Ask a search whose collection has grown and shrunk, in a batch; and singly one that is fitted to what is left."""
    n, p, alpha = int(rng.integers(30, 150)), float(rng.choice(EXPONENTS)), float(rng.choice(ALPHAS))
    X = rng.standard_normal((n, 6)) * 2.0 ** -rng.integers(0, 3, 6)
    X[rng.integers(0, n, n // 10)] = X[0]  # copies tie
    k, n_neighbors, slack = int(rng.integers(1, 20)), int(rng.integers(3, 9)), SLACKS[rng.integers(2)]

    def search() -> mf.ManifoldSearch:
        settings = {"n_neighbors": n_neighbors, "alpha": alpha, "degree_exponent": p}
        return mf.ManifoldSearch(preset="plain-diffusion", solver=Local(), **settings)

    one, Q = search().fit(X[: n // 2]), rng.standard_normal((LISTS, 6))
    one.search(Q, k=k)
    one.add(X[n // 2 :])
    one.remove(one.ids_[rng.permutation(n)[: n // 4]])
    ids, graph = np.asarray(one.ids_), one.graph_
    Y = one.fitted_.seeds(*one.fitted_.nearest(point_set(Q, "cosine"), one.n_seeds))
    F, doubt = _exact(graph.affinity, Y.toarray(), mf.Diffusion(alpha))
    ranking, new = one.search(Q, k=k, slack=slack), search().fit(X[ids], ids=ids)
    scale = graph.scale(p)
    for j in range(LISTS):
        alone = new.search(Q[j], k=k, slack=slack)
        rows = np.searchsorted(ids, ranking.ids[j])
        facts = _ranked(scale * F[:, j], scale * doubt[:, j], rows, float(ranking.slack[j]))
        yield facts | {"unequal": not _same(tuple(alone), (ranking.ids[j], ranking.scores[j]))}


def _pagerank(rng: np.random.Generator, _: Any) -> Iterator[Facts]:
    """Ask for personalised PageRank, many seeds in a call, and one by one on a copy of the graph."""
    W, alpha = list(KINDS.values())[rng.integers(len(KINDS))](rng), float(rng.choice(ALPHAS))
    graph, k = _graph(W, rng), int(rng.integers(1, 20))
    places = np.flatnonzero(graph.degrees)
    seeds = [rng.choice(places, rng.integers(1, 6)) for _ in range(LISTS)]
    seeds = [dict(zip(some.tolist(), (10 ** rng.uniform(-3, 0, some.size)).tolist(), strict=True)) for some in seeds]
    Y = np.zeros((graph.n_nodes, LISTS), dtype=np.longdouble)
    for j, some in enumerate(seeds):
        Y[list(some), j] = np.array(list(some.values()), dtype=np.longdouble)
    v = _roots(graph.affinity)[:, None]
    F, doubt = _exact(graph.affinity, Y / Y.sum(axis=0) / v, mf.Diffusion(alpha))  # p = D^1/2 x of D^-1/2 y
    ranking = mf.personalized_pagerank(graph, seeds, damping=alpha, k=k)
    for j, some in enumerate(seeds):
        alone = mf.personalized_pagerank(_graph(W, rng, graph.dtype), some, damping=alpha, k=k)
        facts = _ranked((v * F)[:, j], (v * doubt)[:, j], ranking.ids[j], float(ranking.slack[j]))
        yield facts | {"unequal": not _same(tuple(alone), (ranking.ids[j], ranking.scores[j]))}


def _exact(W: Any, Y: Any, filter: mf.Filter) -> tuple[Exact, Exact]:
    """Return F = h(S) Y, in long double, and how wrong each score may be (n, q).

    Of (I - a S) x = b a residual with |r| <= rho v bounds the error by rho v / (1 - |a|), v = sqrt(degree); the sums of
    a residual are of n products, each rounded once.
    """
    v, one = _roots(W), np.longdouble(1)
    S = W.toarray().astype(np.longdouble) / v[:, None] / v
    F, doubt = np.zeros(Y.shape, dtype=np.longdouble), np.zeros(Y.shape, dtype=np.longdouble)
    for w, a in filter.resolvents or ():
        A, B, X = np.eye(v.size) - one * a * S, one * w * Y, np.zeros_like(F)
        rough = lu_factor((A * v).astype(np.float64))  # columns by v: a row outweighs what is beside its diagonal
        for _ in range(5):
            X += v[:, None] * lu_solve(rough, (B - A @ X).astype(np.float64))
        hidden = 4 * v.size * np.finfo(np.longdouble).eps * (np.abs(B) + np.abs(A) @ np.abs(X))
        rho = ((np.abs(B - A @ X) + hidden) / v[:, None]).max(axis=0)
        F, doubt = F + X, doubt + rho * v[:, None] / (1 - abs(one * a))
    return F, doubt


def _roots(W: Any) -> Exact:
    degrees = W.astype(np.longdouble).sum(axis=1)
    return np.sqrt(np.where(degrees > 0, degrees, 1))


def _judged(t: Exact, e: Exact, rows: Any, may: Any, *, lower: float, outside: float) -> Facts:
    """Judge one list: exact scores t (n,), each known to e, of nodes that may be listed.

    Of a certified list what is outside may be above its bound where it is alike the last that is listed.
    """
    others = may.copy()
    others[rows] = False
    least, most = (t + e)[rows].min(initial=np.inf), (t - e)[others].max(initial=0.0)
    certified = outside <= lower
    broken = least < lower or most > (max(outside, least) if certified else outside) or not may[rows].all()
    return {"lists": 1, "certified": certified, "wrong": bool(certified and most > least), "bounds": bool(broken)}


def _ranked(t: Exact, e: Exact, rows: Any, slack: float) -> Facts:
    """Judge a list by its slack: nothing that is left out is above (1 + slack) times what is listed."""
    others = np.ones(t.size, dtype=bool)
    others[rows] = False
    least, most = (t + e)[rows].min(initial=np.inf), (t - e)[others].max(initial=0.0)
    above = bool(most > least * (1 + slack) * (1 + 2.0**-50))
    return {"lists": 1, "certified": slack == 0, "wrong": slack == 0 and above, "bounds": above}


def _same(one: Any, other: Any) -> bool:
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(one, other, strict=True))


def _graph(W: Any, rng: np.random.Generator, dtype: Any = None) -> mf.Graph:
    """Return a graph of half of the weights and their mirror image."""
    half = sparse.triu(sparse.csr_array(W), 1)
    return mf.graph_from_affinity(half + half.T, dtype=str(dtype or rng.choice(["float32", "float64"])))


def _weights(rng: np.random.Generator) -> Any:
    n = int(rng.integers(8, 160))
    W = sparse.random_array((n, n), density=min(1.0, 5 / n), rng=rng)
    W.data[:] = 10 ** rng.uniform(-6, 6, W.nnz)
    return W


def _stars(rng: np.random.Generator) -> Any:
    hubs, leaves = int(rng.integers(1, 5)), int(rng.integers(5, 120))
    W = np.zeros((hubs + leaves, hubs + leaves))
    W[rng.integers(0, hubs, leaves), hubs + np.arange(leaves)] = rng.choice([1.0, 1 + 1e-7, 2.0, 1e-3], leaves)
    W[np.arange(hubs - 1), np.arange(1, hubs)] = rng.choice([1.0, 1e-6])
    return W


def _barbells(rng: np.random.Generator) -> Any:
    a, path, b = (int(m) for m in rng.integers(3, 40, 3))
    W = np.zeros((a + path + b, a + path + b))
    W[:a, :a] = W[-b:, -b:] = 1
    W[np.arange(a - 1, a + path), np.arange(a, a + path + 1)] = 10 ** rng.uniform(-6, 2)
    return W


def _bipartite(rng: np.random.Generator) -> Any:
    a, b = (int(m) for m in rng.integers(4, 70, 2))
    W = 1e-9 * (rng.random((a + b, a + b)) < 0.02)
    W[:a, a:] = rng.random((a, b)) * (rng.random((a, b)) < 4 / min(a, b))
    return W


def _ties(rng: np.random.Generator) -> Any:
    n, step = int(rng.integers(10, 160)), int(rng.integers(2, 5))
    at, W = np.arange(n), np.zeros((n, n))
    for chord in (1, step):
        W[np.minimum(at, (at + chord) % n), np.maximum(at, (at + chord) % n)] = 1 + rng.choice(
            [0, 1e-14, 1e-9, 1e-7], n
        )
    return W


KINDS: dict[str, Any] = {
    "weights": _weights,
    "stars": _stars,
    "barbells": _barbells,
    "nearly bipartite": _bipartite,
    "near ties": _ties,
}
