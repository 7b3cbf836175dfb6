"""Mining: pools by hand, pools against dense arithmetic, and certificates that never claim what is not so."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import manifold as mf
from manifold import Diffusion, Heat, Neighbors, RegularizedDiffusion, discovery, find_neighbors, graph_from_affinity
from manifold.solvers import ConjugateGradient, Direct, PowerIteration

TWO_ROWS = np.array([[0.5 * i, 1.1 * j] for j in range(2) for i in range(6)])


def two_paths(dtype="float64"):
    steps = np.arange(11) != 5
    return graph_from_affinity(np.diag(steps, 1) + np.diag(steps, -1)).astype(dtype)


# ---- by hand


def test_two_rows_of_points():
    near = find_neighbors(TWO_ROWS, 11, metric="euclidean")
    assert near.first(4).indices[0].tolist() == [1, 2, 6, 7]
    mined = discovery.mine(two_paths(), near, [0], n_positive=4, n_negative=4, certify=True)
    assert mined.positives.of(0).tolist() == [3, 4]
    assert mined.negatives.of(0).tolist() == [6, 7]
    np.testing.assert_allclose(mined.positives.weights, [0.13526088, 0.13129549], rtol=1e-6)
    assert mined.negatives.weights.tolist() == [0, 0]
    assert mined.positives.certified.all()
    assert mined.negatives.certified.all()
    np.testing.assert_allclose(mined.positives.similarities, [-2.25, -4.0])


@pytest.mark.parametrize(
    ("alpha", "scores"),
    [
        (0.9, [0.23375035, 0.21016840, 0.13646797, 0.09309375, 0.07040704, 0.04480677]),
        (0.99, [0.11607263, 0.15152460, 0.14195881, 0.13526088, 0.13129549, 0.09191153]),
    ],
)
def test_the_scores_of_the_path(alpha, scores):
    """At alpha = .99 the anchor has not the largest score: it is left out by its id, not by its rank."""
    F = mf.diffuse(two_paths(), np.eye(12)[0], filter=Diffusion(alpha), solver="direct").scores
    np.testing.assert_allclose(F[:6], scores, atol=5e-9)
    assert not F[6:].any()
    near = find_neighbors(TWO_ROWS, 5, metric="euclidean")
    mined = discovery.mine(two_paths(), near, [0], n_positive=5, n_negative=5, filter=Diffusion(alpha), solver="direct")
    assert 0 not in mined.positives.ids


def test_of_a_small_component_no_unreached_node_is_a_positive():
    W = np.zeros((8, 8))
    W[0, 1] = W[1, 0] = W[2, 3] = W[3, 2] = 1
    near = find_neighbors(np.arange(8.0)[:, None], 7, metric="euclidean")
    mined = discovery.mine(graph_from_affinity(W), near, n_positive=1, n_negative=7, pool=9)
    assert mined.empty.tolist() == [0, 1, 3, 4, 5, 6, 7]
    assert mined.positives.ids.tolist() == [3]  # of node 2, which is as near to 1; others agree with E, or have none
    assert mined.negatives.of(0).tolist() == [2, 3, 4, 5, 6, 7]
    assert mined.negatives.of(7).tolist() == [6, 5, 4, 3, 2, 1, 0]
    assert mined.negatives.certified.all()


def test_a_star_an_isolated_anchor_and_duplicates():
    """The leaves of a star tie: none of them is certified to be first; who is isolated reaches nobody."""
    W = np.zeros((6, 6))
    W[0, 1:5] = W[1:5, 0] = 1
    X = np.array([[0.0], [1], [1], [2], [3], [9]])
    near = find_neighbors(X, 5, metric="euclidean")
    mined = discovery.mine(graph_from_affinity(W), near, n_positive=2, n_negative=5, certify=True, pool=9)
    assert not mined.positives.of(5).size
    assert mined.negatives.of(5).tolist() == [4, 3, 1, 2, 0]
    tied = mined.positives.owners == 0
    assert not mined.positives.certified[tied].any()
    assert 5 in mined.empty


# ---- against dense arithmetic


def random_case(rng):
    n = int(rng.integers(6, 40))
    X = rng.normal(size=(n, 3)).round(1)
    near = find_neighbors(X, n - 1, metric="euclidean")
    density = rng.uniform(0.05, 0.5)
    W = np.triu(rng.random((n, n)) < density, 1) * rng.choice([1.0, rng.uniform(0.1, 3)], size=(n, n))
    return near, W + W.T


def exact_members(F, a, k):
    order = [int(i) for i in np.lexsort((np.arange(F.size), -F)) if i != a and F[i] > 0]
    return order[:k]


def solver_of(rng):
    rtol = 10.0 ** -rng.integers(1, 9)
    return rng.choice(
        [ConjugateGradient(rtol=rtol), PowerIteration(rtol=rtol), ConjugateGradient(rtol=rtol, max_iter=2)]
    )


@pytest.mark.parametrize("seed", range(10))
def test_what_is_certified_is_so(seed):
    """600 random graphs, tolerances, precisions and lengths of lists against dense solves."""
    rng = np.random.default_rng([71, seed])
    n_certified = n_members = 0
    for _ in range(60):
        near, W = random_case(rng)
        n, alpha = len(near), float(rng.choice([0.5, 0.9, 0.99]))
        filter = [Diffusion(alpha), RegularizedDiffusion(alpha)][int(rng.random() < 0.15)]
        graph = graph_from_affinity(W).astype(str(rng.choice(["float32", "float64"])))
        k_plus, k_minus = (int(k) for k in rng.integers(1, n, size=2))
        anchors = rng.choice(n, size=min(n, 5), replace=False)
        np.testing.assert_array_equal(near.indices.shape, (n, n - 1))
        with np.errstate(under="ignore"):
            mined = discovery.mine(
                graph, near, anchors, n_positive=k_plus, n_negative=k_minus, filter=filter, solver=solver_of(rng),
                pool=n, certify=bool(rng.random() < 0.3), on_failure="ignore",
            )  # fmt: skip
        F = mf.diffuse(graph.astype("float64"), np.eye(n)[:, anchors], filter=filter, solver=Direct()).scores
        for i, a in enumerate(anchors):
            # ties are broken by rounding, here as there: what is above or below them counts
            gap = 1e-12
            order = np.sort(np.delete(F[:, i], a))[::-1]
            for pool, k, inside in ((mined.positives, k_plus, True), (mined.negatives, k_minus, False)):
                mine = slice(pool.indptr[i], pool.indptr[i + 1])
                E = near.indices[a, :k].tolist()
                for x, proved in zip(pool.ids[mine], pool.certified[mine], strict=True):
                    assert (x in E) is not inside
                    assert x != a
                    n_members += 1
                    n_certified += proved
                    if not proved:
                        continue
                    if inside:
                        assert F[x, i] >= order[min(k, n - 1) - 1] - gap
                        assert F[x, i] > 0
                    else:
                        assert F[x, i] <= max(order[min(k, n - 1) - 1], 0) + gap
                        assert np.count_nonzero(order > F[x, i] + gap) >= k or F[x, i] < 1e-300
    assert n_members > 1000
    assert n_certified > 0.3 * n_members


def test_pools_are_those_of_the_definition(rng):
    near, W = random_case(rng)
    n = len(near)
    graph = graph_from_affinity(W).astype("float64")
    mined = discovery.mine(graph, near, n_positive=5, n_negative=8, pool=3, solver="direct", filter=Diffusion(0.8))
    F = mf.diffuse(graph, np.eye(n), filter=Diffusion(0.8), solver="direct").scores
    for a in range(n):
        M, E = exact_members(F[:, a], a, 5), near.indices[a, :5].tolist()
        assert mined.positives.of(a).tolist() == [x for x in M if x not in E][:3]
        M, E = exact_members(F[:, a], a, 8), near.indices[a, :8].tolist()
        assert mined.negatives.of(a).tolist() == [x for x in E if x not in M][:3]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_more_is_certified_the_finer_the_solve(dtype):
    X, _ = mf.datasets.digits()
    near = find_neighbors(X[:400], 60)
    graph = mf.graph_from_neighbors(near.first(8)).astype(dtype)
    shares = []
    for rtol in (1e-2, 1e-3, 1e-4, 1e-5):
        mined = discovery.mine(
            graph, near, np.arange(50), n_positive=10, n_negative=60, solver=ConjugateGradient(rtol=rtol),
            filter=Diffusion(0.9),
        )  # fmt: skip
        shares.append(np.concatenate([mined.positives.certified, mined.negatives.certified]).mean())
    assert shares == sorted(shares)
    assert shares[-1] > 0.85 > shares[0]
    again = discovery.mine(
        graph, near, np.arange(50), n_positive=10, n_negative=60, filter=Diffusion(0.9), certify=True,
        solver=ConjugateGradient(rtol=1e-2),
    )  # fmt: skip
    assert again.positives.certified.mean() > 0.99 >= shares[-1] - 0.1
    assert np.median(again.diagnostics.error_bound) < 1e-7  # of those that were open


def test_batches_do_not_matter():
    X, _ = mf.datasets.digits()
    near = find_neighbors(X[:200], 40)
    graph = mf.graph_from_neighbors(near.first(8))
    every = discovery.mine(graph, near, n_positive=10, n_negative=40, filter=Diffusion(0.9))
    for a in (3, 63, 64, 199):
        alone = discovery.mine(graph, near, [a], n_positive=10, n_negative=40, filter=Diffusion(0.9))
        assert alone.positives.of(0).tolist() == every.positives.of(a).tolist()
        assert alone.negatives.of(0).tolist() == every.negatives.of(a).tolist()


def test_stored_columns_and_other_filters_serve():
    X, _ = mf.datasets.digits()
    near = find_neighbors(X[:300], 40)
    graph = mf.graph_from_neighbors(near.first(8))
    index = mf.DiffusionIndex(n_entries=300, dtype="float64").build(graph, filter=Diffusion(0.9))
    asked = {"n_positive": 10, "n_negative": 40, "certify": True}
    plain = discovery.mine(graph, near, range(20), filter=Diffusion(0.9), **asked)
    stored = discovery.mine(graph, near, range(20), filter=Diffusion(0.9), solver=index, **asked)
    assert stored.negatives.ids.tolist() == plain.negatives.ids.tolist()
    assert discovery.mine(graph, near, range(20), filter=Heat(3.0), solver="chebyshev", **asked).positives.ids.size


# ---- what trainers take


@pytest.fixture(scope="module")
def mined():
    X, _ = mf.datasets.digits()
    near = find_neighbors(X[:200], 60)
    graph = mf.graph_from_neighbors(near.first(6))
    return discovery.mine(graph, near, n_positive=15, n_negative=60, filter=Diffusion(0.9), pool=12)


def test_triplets_and_pairs_come_from_the_pools(mined):
    triplets = mined.triplets(3, rng=11)
    assert triplets.dtype == np.int64
    assert len(triplets) == 3 * (200 - mined.empty.size)
    for a, p, n in triplets:
        assert p in mined.positives.of(a)
        assert n in mined.negatives.of(a)
    assert np.array_equal(triplets, mined.triplets(3, rng=11))
    assert not np.array_equal(triplets, mined.triplets(3, rng=12))
    pairs = mined.pairs(4, rng=3)
    assert len(np.unique(pairs, axis=0)) == len(pairs) == np.minimum(mined.positives.sizes, 4).sum()


def test_columns_of_the_four_formats(mined):
    texts = [f"text {i}" for i in range(200)]
    triplet = mined.columns(texts, rng=3)
    assert list(triplet) == ["anchor", "positive", "negative"]
    assert len(triplet["negative"]) == mined.negatives.sizes[mined.positives.sizes > 0].sum()
    tuples = mined.columns(texts, format="n-tuple", n=4, rng=3)
    assert list(tuples) == ["anchor", "positive", *(f"negative_{j}" for j in range(1, 5))]
    pairs = mined.columns(texts, format="labeled-pair")
    assert sum(pairs["label"]) == mined.positives.ids.size
    lists = mined.columns(texts, format="labeled-list")
    assert [len(row) for row in lists["passages"]] == [len(row) for row in lists["labels"]]
    assert mined.columns(dict(enumerate(texts)), rng=3) == triplet
    named = mined.columns(texts, [f"query {i}" for i in range(200)], rng=3)
    assert named["anchor"][0].startswith("query")
    with pytest.raises(ValueError, match="format must be one of"):
        mined.columns(texts, format="quadruplet")


def test_only_what_is_certified(mined):
    sure = mined.certified()
    assert sure.positives.certified.all()
    assert sure.positives.ids.size == mined.positives.certified.sum()
    with pytest.raises(ValueError, match="one flag a member"):
        mined.positives.only(np.ones(3, dtype=bool))


# ---- what is refused


def test_lists_of_other_points_and_few_are_refused():
    near = find_neighbors(TWO_ROWS, 5, metric="euclidean")
    with pytest.raises(ValueError, match="hold 5 for each point, but"):
        discovery.mine(two_paths(), near)
    other = find_neighbors(TWO_ROWS[:6], 5, metric="euclidean")
    with pytest.raises(ValueError, match="lists of 6 points, the graph has 12"):
        discovery.mine(two_paths(), other, n_positive=4, n_negative=4)
    for anchors, words in (([0, 0], "distinct"), ([12], "must lie in 0..11"), ([0.5], "integers")):
        with pytest.raises((ValueError, TypeError), match=words):
            discovery.mine(two_paths(), near, anchors, n_positive=4, n_negative=4)


def test_padded_lists_are_read():
    """Rows that are short are padded with -1, which is nobody."""
    near = Neighbors([[1, -1], [0, 2], [1, -1]], [[0.9, 0], [0.9, 0.5], [0.5, 0]], "cosine", "by hand")
    path = graph_from_affinity(sparse.csr_array(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0.0]])))
    mined = discovery.mine(path, near, n_positive=2, n_negative=2)
    assert mined.positives.of(0).tolist() == [2]
    assert np.isnan(mined.positives.similarities[0])
    assert mined.negatives.ids.size == 0
