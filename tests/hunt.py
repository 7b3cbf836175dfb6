"""A hunt for a wrong certificate: random graphs and settings; certified lists, and columns, against long double.

    python tests/hunt.py 100000            # so many certified lists, by hand; the suite looks at 2,000
    python tests/hunt.py 20000 0 local     # of one solver alone
    python tests/hunt.py 20000 0 pagerank  # of personalised PageRank

The graphs are those on which bounds are tempted: chains, many small components, stars, near ties, weights over many
orders of magnitude, near-bipartite ones; the settings those that strain them: loose tolerances, narrow columns,
float16, alpha near 1, degree exponents up to 2, columns that have followed a change of their graph.
"""

from __future__ import annotations

import sys
from collections import Counter
from itertools import count

import numpy as np
from scipy import sparse
from scipy.linalg import block_diag

from manifold import Diffusion, DiffusionIndex, RegularizedDiffusion, graph_from_affinity, personalized_pagerank
from manifold.backends import get_backend
from manifold.index import StoredColumns, _update, updated_columns
from manifold.ranking._ranker import Ranker, Task
from manifold.solvers import (
    Chebyshev,
    ConjugateGradient,
    Direct,
    FastSpectralRanking,
    Hybrid,
    Lanczos,
    Local,
    PowerIteration,
    proved,
)

ALPHAS = (0.3, 0.5, 0.9, 0.99, 0.999)
RTOLS = (1e-1, 1e-2, 1e-3, 1e-6, 1e-10)


def components(rng):
    """Blocks of a graph: some of one kind, or of all."""
    kinds = ["chain", "ring", "star", "clique", "random", "pair", "isolated", "bipartite", "barbell"]
    kind = str(rng.choice(["chain", *kinds, "mixed"]))
    blocks, size = [], int(rng.integers(2, 14))
    for _ in range(int(rng.integers(1, 6))):
        m = 3 + size if kind == "chain" else int(rng.integers(2, 14))
        shape = str(rng.choice(kinds)) if kind == "mixed" else kind
        A = np.zeros((m, m))
        if shape in ("chain", "ring"):
            A[np.arange(m - 1), np.arange(1, m)] = 1
            A[0, m - 1] = shape == "ring" and m > 2
        elif shape == "star":
            A[0, 1:] = 1
        elif shape == "clique":
            A = np.triu(np.ones((m, m)), 1)
        elif shape == "random":
            A = np.triu(rng.random((m, m)) < 0.3, 1).astype(float)
        elif shape == "bipartite":  # an eigenvalue near -1, where it is one or nearly so
            side = rng.random(m) < 0.5
            A = np.triu(side[:, None] != side, 1) + np.triu(side[:, None] == side, 1) * float(
                rng.choice([0, 1e-6, 1e-2])
            )
        elif shape == "barbell":  # two cliques and one edge
            A = np.triu(np.kron(np.eye(2), np.ones((m, m))), 1)
            A[m - 1, m] = float(rng.choice([1, 1e-3]))
        elif shape == "pair":
            A = np.array([[0.0, 1.0], [0.0, 0.0]])
        else:
            A = np.zeros((1, 1))
        blocks.append(A)
    return blocks


def random_graph(rng):
    """A graph of some blocks, weighted alike or not, in random order."""
    A = block_diag(*components(rng))
    weighting = max(rng.integers(-3, 4), 0)
    if weighting == 1:
        A = A * rng.uniform(0.5, 1.5, A.shape)
    elif weighting == 2:
        A = A * 10.0 ** rng.uniform(-6, 6, A.shape)
    elif weighting == 3:  # near ties
        A = A * (1 + 1e-6 * rng.standard_normal(A.shape))
    order = rng.permutation(len(A))
    A = A[order][:, order] if rng.random() < 0.5 else A
    graph = graph_from_affinity(A + A.T)
    return graph.astype(np.float64) if rng.random() < 0.3 else graph


def random_solver(rng, graph, only=None):
    """A solver with settings that are loose more often than not; an index often as wide as a component is large."""
    n, rtol = graph.n_nodes, float(rng.choice(RTOLS))
    if only == "local":
        return Local(rtol=rtol, max_passes=float(rng.choice([0.1, 3.0, 100.0])))
    if rng.random() < 0.5:
        sizes = np.bincount(graph.components)
        width = int(rng.choice(sizes) + rng.integers(2)) if rng.random() < 0.6 else int(rng.integers(1, n + 3))
        dtype, solver = str(rng.choice(["float16", "float32", "float64"])), str(rng.choice(["cg", "local"]))
        return DiffusionIndex(width, rtol=rtol, dtype=dtype, solver=solver)
    rank = int(rng.integers(1, min(n, 12) + 1))
    return [
        ConjugateGradient(rtol=rtol),
        PowerIteration(rtol=rtol),
        Chebyshev(rtol=rtol),
        Lanczos(rtol=rtol),
        Direct(),
        Hybrid(rank=rank, rtol=rtol),
        FastSpectralRanking(rank=rank),
        Local(rtol=rtol),
    ][int(rng.integers(8))]


def followed(rng, graph, settings, filter):
    """Stored columns of a graph that was otherwise: nodes have come and gone, edges have changed; they follow it."""
    n, W = graph.n_nodes, graph.affinity.toarray()
    gone = int(rng.integers(0, 3))
    before = np.zeros((n + gone, n + gone))
    places = np.sort(rng.permutation(n + gone)[:n])
    before[np.ix_(places, places)] = W
    some = W.max(initial=0) or 1.0
    for i in np.setdiff1d(np.arange(n + gone), places):  # nodes that leave, with edges to some of those that stay
        before[i, places[rng.random(n) < 0.1]] = some
    before = np.triu(np.maximum(before, before.T))
    i, j = np.nonzero(before)
    changed = np.flatnonzero(rng.random(i.size) < rng.choice([0, 0.05, 0.2]))
    before[i[changed], j[changed]] *= rng.choice([0, 0.5, 3.0], changed.size)
    known = np.ones(n + gone, dtype=bool)
    known[rng.permutation(n + gone)[: int(rng.integers(0, 3))]] = False  # nodes that come
    if not known.any():
        known[0] = True
    old = np.flatnonzero(known)
    rows = np.where(known[places], np.cumsum(known)[places] - 1, -1)
    earlier = graph_from_affinity((before + before.T)[np.ix_(old, old)]).astype(graph.dtype)
    columns = settings.build(earlier, filter=filter)
    share = _update._MOST_TOUCHED
    _update._MOST_TOUCHED = 1.0  # so that small graphs are followed, not built anew
    try:
        return updated_columns(columns, graph, rows, settings=settings)
    finally:
        _update._MOST_TOUCHED = share


def exact_scores(graph, alpha, Y, *, squared=False):
    """(1 - alpha)(I - alpha S)^-1 Y by Gauss-Jordan elimination in long double, of the weights as they are stored.

    Of even walks alone, (1 - alpha)(I - alpha S^2)^-1 Y, where `squared`.
    """
    W = graph.affinity.toarray().astype(np.longdouble)
    degrees = W.sum(axis=1)
    root = np.sqrt(np.where(degrees > 0, degrees, 1))
    a = np.longdouble(alpha)
    n = len(W)
    S = W / root / root[:, None]
    system = np.concatenate([np.eye(n, dtype=np.longdouble) - a * (S @ S if squared else S), (1 - a) * Y], axis=1)
    for i in range(n):  # positive definite: the diagonal serves as pivots
        system[i] /= system[i, i]
        factors = system[:, i].copy()
        factors[i] = 0
        system -= factors[:, None] * system[i]
    return system[:, n:]


def seeds_of(rng, n, q):
    """A few seeds a query, of weights alike or far apart."""
    Y = np.zeros((n, q))
    for j in range(q):
        at = rng.choice(n, min(n, int(rng.integers(1, 6))), replace=False)
        Y[at, j] = 10.0 ** rng.uniform(-8, 0, at.size) if rng.random() < 0.3 else rng.uniform(0.1, 1, at.size)
    return Y


def false_columns(columns, alpha):
    """Return the stored columns that claim more than is true: of an entry they hold, or of one they do not."""
    graph = columns.graph
    n = graph.n_nodes
    K = exact_scores(graph, alpha, np.eye(n))
    held = np.zeros((n, n), dtype=bool)  # a row a column: K is symmetric
    np.put_along_axis(held, columns.ids.astype(np.int64), True, axis=1)
    stored = np.zeros((n, n))
    np.put_along_axis(stored, columns.ids.astype(np.int64), columns.values.astype(np.float64), axis=1)
    doubt = columns.error[:, None] + K * (2 * np.finfo(columns.values.dtype).eps + 1e-15)
    wrong = np.where(held, np.abs(K - stored) > doubt, columns.tail[:, None] * (1 + 1e-15) < K)
    return np.flatnonzero(wrong.any(axis=1))


def certified_lists(rng, *, queries=8, only=None):
    """Rank some queries on one random graph; yield of each certified list its settings and whether it is right."""
    graph, alpha = random_graph(rng), float(rng.choice(ALPHAS, p=[0.3, 0.3, 0.2, 0.1, 0.1]))
    n = graph.n_nodes
    solver, filter, backend = random_solver(rng, graph, only), Diffusion(alpha), get_backend("scipy")
    even = isinstance(solver, Local) and rng.random() < 0.2
    filter = RegularizedDiffusion(alpha) if even else filter
    exponent = float(rng.choice([0.0, 0.5, 1.0, 1.5, 2.0]))
    slack = 0.0 if rng.random() < 0.3 else None
    Y = seeds_of(rng, n, queries)
    follows = isinstance(solver, DiffusionIndex) and rng.random() < 0.4
    prepared = followed(rng, graph, solver, filter) if follows else solver.prepare(graph, filter, backend)
    ranker = Ranker(graph, filter, prepared, backend, exponent)
    k = int(rng.integers(1, n + 1)) if rng.random() < 0.5 else int(rng.integers(n // 2, n + 1)) or 1
    none = np.empty((0, k), dtype=np.int64)
    among = None
    if only == "local" and rng.random() < 0.2:  # some nodes alone may be listed
        some = rng.permuted(np.tile(np.arange(n), (queries, 1)), axis=1)
        among = some[:, : int(rng.integers(k, n + 1))]
    task = Task(k, lambda some: np.tile(np.arange(k), (some.size, 1)) if some.size else none, among, slack=slack)
    rows, _, slacks, _ = ranker.rank(sparse.csc_array(Y), task)
    exact = exact_scores(graph, alpha, Y, squared=even)
    if exponent:
        exact = exact * graph.scale(exponent)[:, None].astype(np.longdouble)
    what = f"{graph!r} {solver} {filter} follows={follows} p={exponent} k={k} slack={slack} among={among is not None}"
    if isinstance(prepared, StoredColumns):
        false = false_columns(prepared, alpha)
        if false.size:
            yield False, f"{what}: columns {false} claim too much"
    for j in np.flatnonzero(slacks == 0):
        inside = np.zeros(n, dtype=bool)
        inside[rows[j]] = True
        beside = ~inside
        if among is not None:
            beside[np.setdiff1d(np.arange(n), among[j])] = False
        worst, best = exact[inside, j].min(), exact[beside, j].max(initial=0)
        right = inside.sum() == k and best <= worst * (1 + np.longdouble(1e-15))
        yield right, f"{what}: {worst:.10e} {best:.10e}"


def exact_pagerank(graph, damping, Y):
    """p = damping W D^-1 p + (1 - damping) y in long double; walks return from nodes without edges at once."""
    W = graph.affinity.toarray().astype(np.longdouble)
    degrees = W.sum(axis=0)
    n, a = len(W), np.longdouble(damping)
    exact = np.empty_like(Y, dtype=np.longdouble)
    for j in range(Y.shape[1]):
        y = Y[:, j].astype(np.longdouble) / Y[:, j].astype(np.longdouble).sum()
        P = W / np.where(degrees > 0, degrees, 1)
        P[:, degrees == 0] = y[:, None]
        system = np.concatenate([np.eye(n, dtype=np.longdouble) - a * P, (1 - a) * y[:, None]], axis=1)
        for i in range(n):  # columns are dominated by their diagonal: it serves as pivots
            system[i] /= system[i, i]
            factors = system[:, i].copy()
            factors[i] = 0
            system -= factors[:, None] * system[i]
        exact[:, j] = system[:, n]
    return exact


def pagerank_lists(rng, *, queries=4):
    """The same of personalised PageRank; in half of the graphs passes over the whole graph are called for at once."""
    graph, damping = random_graph(rng), float(rng.choice([0.5, 0.85, 0.99]))
    n, most = graph.n_nodes, proved._MOST_MET
    Y, k = seeds_of(rng, n, queries), int(rng.integers(1, n + 1))
    seeds = [{i: Y[i, j] for i in np.flatnonzero(Y[:, j]).tolist()} for j in range(queries)]
    proved._MOST_MET = float(rng.choice([0.0, most]))
    try:
        ranking = personalized_pagerank(graph, seeds, damping=damping, k=k)
    finally:
        proved._MOST_MET = most
    exact = exact_pagerank(graph, damping, Y)
    for j in np.flatnonzero(ranking.slack == 0):
        inside = np.isin(np.arange(n), ranking.ids[j])
        worst, best = exact[inside, j].min(), exact[~inside, j].max(initial=0)
        right = inside.sum() == k and best <= worst * (1 + np.longdouble(1e-15))
        yield right, f"{graph!r} PageRank(damping={damping}) k={k}: {worst:.10e} {best:.10e}"


def hunt(n_lists, seed=0, only=None):
    """Return how many certified lists were met, the wrong ones, and the kinds of solvers that made them."""
    met, wrong, by, problems = 0, [], Counter(), count()
    with np.errstate(all="ignore"):
        while met < n_lists:
            problem = next(problems)
            rng = np.random.default_rng([seed, problem])
            for right, what in pagerank_lists(rng) if only == "pagerank" else certified_lists(rng, only=only):
                met += 1
                by[what.split(") ")[1].split("(")[0]] += 1
                if not right:
                    wrong.append(f"{problem}: {what}")
    return met, wrong, by


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    count_, *more = sys.argv[1:]
    met, wrong, by = hunt(int(count_), seed=int(more[0]) if more else 0, only=more[1] if len(more) > 1 else None)
    sys.stdout.write("\n".join([*wrong[:20], f"{met:,} certified lists, {len(wrong)} wrong; {dict(by)}\n"]))
