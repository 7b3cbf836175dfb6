"""The graph against a dense brute-force reference, NetworkX, and the identities every affinity obeys."""

from __future__ import annotations

import copy
import html
import pickle
import tracemalloc
import warnings

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.neighbors import kneighbors_graph

import manifold as mf
from manifold import _resources, neighbors
from manifold.errors import ManifoldWarning, MemoryBudgetError
from manifold.graph import EDGE_RULES, Graph, _graph, memory_forecast
from manifold.graph.affinity import Affinity
from manifold.neighbors import Neighbors, find_neighbors, from_faiss


def awkward_points(n=200, d=12, seed=91):
    """Clustered vectors with 5 exact duplicates and a zero vector."""
    rng = np.random.default_rng(seed)
    X = (rng.normal(size=(8, d))[rng.integers(0, 8, n)] + 0.6 * rng.normal(size=(n, d))).astype(np.float32)
    X[n - 5 :] = X[:5]
    X[n // 2] = 0
    return X


def dense_reference(X, k, *, metric, kernel, gamma, edges, bridge):
    """O(n^2) in float64, a plain loop over points: neighbours by (-similarity, id), kernel, edge rule."""
    X = np.float64(X)
    n = len(X)
    if metric == "euclidean":
        similarities = -((X[:, None] - X[None]) ** 2).sum(axis=2)
        squares = -similarities
    else:
        lengths = np.linalg.norm(X, axis=1, keepdims=True)
        U = X / np.where(lengths > 0, lengths, 1)
        similarities = np.round(U @ U.T, 12)  # copies tie, as they do in exact arithmetic
        squares = np.maximum(2 - 2 * similarities, 0)
    listed, first, sigma, ranks = np.zeros((n, n), bool), np.zeros((n, n), bool), np.ones(n), np.ones((n, n))
    for i in range(n):
        order = sorted((j for j in range(n) if j != i), key=lambda j, i=i: (-similarities[i, j], j))[:k]
        listed[i, order] = True
        first[i, order[:bridge]] = True
        ranks[i] = 1 + (np.delete(similarities[i], i)[None] > similarities[i][:, None]).sum(axis=1)
        distances = np.sqrt(squares[i, order])
        positive = distances[distances > 1e-7]
        sigma[i] = distances[min(7, k) - 1]
        if sigma[i] <= 1e-7:
            sigma[i] = positive.min() if positive.size else 1.0
    if kernel == "power" or (kernel == "ranked" and metric == "cosine"):
        weights = np.maximum(similarities, 0) ** gamma
    else:
        weights = np.exp(-squares / np.outer(sigma, sigma))
        if metric == "cosine":
            weights[similarities <= 0] = 0
    A = np.where(listed, weights / ranks if kernel == "ranked" else weights, 0)
    if edges == "sum":
        return A + A.T
    if edges == "union":
        return np.maximum(A, A.T)
    bridges = np.where(first, A, 0)
    return np.maximum(np.minimum(A, A.T), np.maximum(bridges, bridges.T))


RULES = [("mutual", b) for b in range(4)] + [("union", 1), ("sum", 1)]


@pytest.mark.parametrize(
    ("metric", "kernel", "gamma"),
    [
        ("cosine", "power", 3.0),
        ("cosine", "power", 0.5),
        ("cosine", "self_tuning", 3.0),
        ("euclidean", "self_tuning", 3.0),
        ("cosine", "ranked", 6.0),
        ("euclidean", "ranked", 3.0),
    ],
)
@pytest.mark.parametrize(("edges", "bridge"), RULES)
@pytest.mark.parametrize("k", [3, 10])
@pytest.mark.filterwarnings("ignore:.*zero vectors")
def test_builder_equals_the_dense_reference(metric, kernel, gamma, edges, bridge, k):
    X = awkward_points()
    graph = mf.build_graph(X, k, metric=metric, affinity=kernel, gamma=gamma, edges=edges, bridge=bridge)
    W = graph.affinity.toarray()
    expected = dense_reference(X, k, metric=metric, kernel=kernel, gamma=gamma, edges=edges, bridge=bridge)
    np.testing.assert_array_equal(W > 0, expected > 0)
    np.testing.assert_allclose(W, expected, rtol=2e-4, atol=1e-6)
    np.testing.assert_array_equal(W, W.T)
    assert not W.diagonal().any()
    if metric == "cosine":
        assert 100 in graph.isolated
    # duplicates are joined by the strongest edge of their rows
    strongest = W.max() if kernel == "power" and edges != "sum" else None
    if strongest and k >= 3:
        np.testing.assert_allclose([W[i, 195 + i] for i in range(5)], 1, rtol=1e-6)


def test_precomputed_similarities_are_weights_as_they_are():
    """Up to one factor, to which S is blind: a graph of such similarities divides its weights by the largest."""
    inliers = np.array([[0, 40, 3], [40, 0, 12], [3, 12, 0]])
    by_matrix = mf.build_graph(inliers, 2, metric="precomputed")
    np.testing.assert_allclose(by_matrix.affinity.toarray(), inliers / 40, rtol=1e-6)
    lists = find_neighbors(np.eye(3) + 0.5, 2).with_similarities([[40, 3], [40, 12], [3, 12]])
    np.testing.assert_array_equal(mf.graph_from_neighbors(lists).affinity.toarray(), by_matrix.affinity.toarray())
    cubed = mf.build_graph(inliers, 2, metric="precomputed", gamma=3)
    np.testing.assert_allclose(cubed.affinity.toarray(), (inliers / 40) ** 3, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*zero vectors")
@pytest.mark.parametrize("k", [4, 9])
class TestAgreement:
    @pytest.fixture
    def graph(self, k):
        return mf.build_graph(awkward_points(), k, bridge=0)

    def test_components_and_degrees_agree_with_networkx(self, graph):
        theirs = nx.from_scipy_sparse_array(graph.affinity)
        assert graph.n_edges == theirs.number_of_edges()
        assert graph.n_components == nx.number_connected_components(theirs)
        ours = {frozenset(np.flatnonzero(graph.components == c).tolist()) for c in range(graph.n_components)}
        assert ours == {frozenset(part) for part in nx.connected_components(theirs)}
        degrees = [d for _, d in theirs.degree(weight="weight")]
        np.testing.assert_allclose(graph.degrees, degrees, rtol=1e-12)
        assert set(graph.isolated) == set(nx.isolates(theirs))

    def test_edge_rules_contain_each_other(self, graph, k):
        X = awkward_points()
        mutual = graph.affinity.toarray()
        bridged = [mf.build_graph(X, k, bridge=b).affinity.toarray() for b in (1, 2, k)]
        union = mf.build_graph(X, k, edges="union").affinity.toarray()
        total = mf.build_graph(X, k, edges="sum").affinity.toarray()
        for smaller, larger in zip([mutual, *bridged[:2]], bridged, strict=True):
            assert ((smaller > 0) <= (larger > 0)).all()
        np.testing.assert_array_equal(bridged[2], union)  # all k neighbours bridged
        np.testing.assert_array_equal(total > 0, union > 0)
        np.testing.assert_array_equal(total, mutual + union)  # A + A' = min(A, A') + max(A, A')

    def test_spectrum(self, graph):
        graph = graph.astype(np.float64)
        d = np.where(graph.degrees > 0, graph.degrees, 1)
        S = graph.affinity.toarray() / np.sqrt(np.outer(d, d))
        eigenvalues = np.linalg.eigvalsh(S)
        assert abs(eigenvalues).max() <= 1 + 1e-12
        with_edges = graph.n_components - graph.isolated.size
        assert (eigenvalues > 1 - 1e-10).sum() == with_edges
        assert graph.isolated.size
        assert not S[graph.isolated].any()

    def test_subgraph(self, graph):
        nodes = np.array([7, 3, 150, 0, 195, 42])
        part = graph.subgraph(nodes)
        np.testing.assert_array_equal(part.affinity.toarray(), graph.affinity.toarray()[np.ix_(nodes, nodes)])
        np.testing.assert_allclose(part.degrees, part.affinity.toarray().sum(axis=1))
        assert part.facts["subgraph_of"] == 200
        whole = graph.subgraph(np.arange(200))
        np.testing.assert_array_equal(whole.affinity.toarray(), graph.affinity.toarray())
        assert graph.subgraph(np.empty(0, dtype=int)).n_nodes == 0
        for bad, message in (([0, 0], "distinct"), ([200], r"0\.\.199"), ([-1], "199")):
            with pytest.raises(ValueError, match=message):
                graph.subgraph(bad)
        with pytest.raises(TypeError, match="nodes must hold integers"):
            graph.subgraph([0.5])

    def test_astype(self, graph):
        double = graph.astype(np.float64)
        assert (graph.dtype, double.dtype) == (np.float32, np.float64)
        np.testing.assert_array_equal(double.affinity.toarray(), graph.affinity.toarray())
        np.testing.assert_array_equal(double.astype("float32").affinity.toarray(), graph.affinity.toarray())
        assert double.facts == graph.facts
        with pytest.raises(ValueError, match="float32 or float64"):
            graph.astype(np.int32)


def test_five_points_on_a_line():
    # 0 . 1 .. 2 ... 3 .... 4: the nearest other of each is 1, 0, 1, 2, 3
    X = np.array([0.0, 1.0, 2.5, 4.6, 7.7])[:, None]

    def edges_of(rule, bridge=0):
        graph = mf.build_graph(X, 1, metric="euclidean", edges=rule, bridge=bridge)
        return {(int(i), int(j)) for i, j in zip(*graph.affinity.nonzero(), strict=True) if i < j}

    assert edges_of("mutual") == {(0, 1)}
    assert edges_of("mutual", 1) == edges_of("union") == edges_of("sum") == {(0, 1), (1, 2), (2, 3), (3, 4)}


def test_sum_and_mean_of_directions_are_one_graph_to_diffusion(rng):
    X = rng.normal(size=(60, 5))
    total = mf.build_graph(X, 4, edges="sum").astype(np.float64)
    mean = Graph(total.affinity / 2)
    scores = [mf.diffuse(g, np.eye(60), solver="direct").scores for g in (total, mean)]
    np.testing.assert_allclose(*scores, rtol=1e-12)


@pytest.mark.parametrize("gamma", [2, 3])
def test_antipodal_vectors_have_no_edge(gamma):
    graph = mf.build_graph([[1.0, 0.0], [-1.0, 0.0]], 1, gamma=gamma)
    assert graph.affinity.nnz == 0
    assert graph.facts["clipped"] == 2


@pytest.mark.parametrize("metric", ["inner_product", "precomputed"])
@pytest.mark.parametrize("gamma", [3.0, 40.0])
def test_similarities_of_any_scale(metric, gamma, rng):
    X = rng.uniform(0.9, 1.1, size=(50, 6))
    small, large = (
        mf.build_graph(
            scale * X @ X.T if metric == "precomputed" else np.sqrt(scale) * X, 6, metric=metric, gamma=gamma
        )
        for scale in (1.0, 2.0**40)
    )
    assert small.n_edges > 50
    np.testing.assert_allclose(small.affinity.toarray(), large.affinity.toarray(), rtol=1e-4)
    assert large.affinity.data.max() == 1


def test_given_neighbours_build_the_same_graph(rng):
    X = rng.normal(size=(150, 8)).astype(np.float32)
    built = mf.build_graph(X, 6)
    found = find_neighbors(X, 6)
    for graph in (
        mf.graph_from_neighbors(found),
        mf.graph_from_neighbors(found.similarities, found.indices),
        mf.graph_from_neighbors(kneighbors_graph(X, 6, mode="distance", metric="cosine"), metric="cosine"),
    ):
        np.testing.assert_array_equal(graph.affinity.toarray() > 0, built.affinity.toarray() > 0)
        np.testing.assert_allclose(graph.affinity.toarray(), built.affinity.toarray(), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="leave it out"):
        mf.graph_from_neighbors(found, metric="euclidean")
    with pytest.raises(TypeError, match="ndarray and no I"):
        mf.graph_from_neighbors(found.similarities)


def test_lists_that_disagree_by_rounding_still_give_a_symmetric_graph(rng):
    X = rng.normal(size=(80, 5)).astype(np.float32)
    found = find_neighbors(X, 6)
    noisy = found.similarities + 1e-6 * rng.normal(size=found.similarities.shape)
    for edges in EDGE_RULES:
        graph = mf.graph_from_neighbors(noisy, found.indices, edges=edges)
        W = graph.affinity.toarray()
        np.testing.assert_array_equal(W, W.T)


class TestAffinityKernel:
    def test_unknown_and_unfit_kernels(self):
        for arguments, message in (
            (("cosine_power",), "'power', 'self_tuning', 'ranked'"),
            (("power", 0.0), "gamma must be a positive"),
            (("power", np.nan), "gamma must be a positive"),
            (("power", "3"), "gamma must be a positive"),
            (("power", 3.0, "euclidean"), "use 'self_tuning'"),
            (("self_tuning", 3.0, "inner_product"), "use 'power'"),
        ):
            with pytest.raises(ValueError, match=message):
                Affinity(*arguments)

    def test_scale_is_the_seventh_distance(self):
        distances = np.arange(1.0, 11.0)
        kernel = Affinity(metric="euclidean")
        assert kernel.scales(-(distances[None] ** 2)).tolist() == [7.0]
        assert kernel.scales(-(distances[None, :3] ** 2)).tolist() == [3.0]
        short = np.where(distances > 4, -np.inf, -(distances**2))
        assert kernel.scales(short[None]).tolist() == [4.0]

    def test_copies_do_not_divide_by_zero(self):
        kernel = Affinity(metric="euclidean")
        s = -np.array([[0.0] * 7 + [4.0, 9.0], [0.0] * 9])
        assert kernel.scales(s).tolist() == [2.0, 1.0]
        assert kernel.weights(s[1:], 1.0, 1.0).tolist() == [[1.0] * 9]

    def test_a_missing_neighbour_weighs_nothing(self):
        for kernel in (Affinity(), Affinity("self_tuning"), Affinity(metric="euclidean"), Affinity("ranked")):
            assert kernel.weights(np.array([-np.inf])).tolist() == [0.0]


class TestImmutable:
    def test_arrays_are_read_only(self, rng):
        graph = mf.build_graph(rng.normal(size=(20, 3)), 3)
        W = graph.affinity
        for array in (W.data, W.indices, W.indptr, graph.degrees, graph.components):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
        with pytest.raises(AttributeError):
            graph.affinity = W
        with pytest.raises(TypeError):
            graph.facts["metric"] = "other"

    def test_callers_arrays_are_not_changed(self, rng):
        X = rng.normal(size=(30, 4))
        W = sparse.csr_array(np.array([[0, 2.0, 0], [1, 0, 1], [0, 3, 5]]))
        W.data[0] = 0  # an explicit zero
        before = X.copy(), W.data.copy(), W.indices.copy(), W.indptr.copy()
        mf.build_graph(X, 4)
        mf.graph_from_affinity(W, edges="mutual")
        for now, then in zip((X, W.data, W.indices, W.indptr), before, strict=True):
            np.testing.assert_array_equal(now, then)

    def test_a_graph_outlives_the_arrays_it_came_from(self):
        W = sparse.csr_array(np.array([[0, 1.0], [1, 0]]))
        graph = Graph(W)
        W.data[:] = 7
        assert graph.affinity.data.tolist() == [1, 1]


class TestTrusted:
    """What the house makes is taken as it is; what comes from outside is looked through, once."""

    @pytest.fixture
    def looks(self, monkeypatch):
        calls = []
        check = _graph.check_affinity
        monkeypatch.setattr(_graph, "check_affinity", lambda W, **how: calls.append(W) or check(W, **how))
        return calls

    def test_no_graph_of_the_house_is_looked_through(self, looks, rng):
        X = rng.normal(size=(60, 5))
        graph = mf.build_graph(X, 5, one_sided=None)
        mf.graph_from_affinity(graph.affinity)
        graph.astype(np.float64).subgraph(np.arange(9)).summary()
        pickle.loads(pickle.dumps(graph))
        search = mf.ManifoldSearch(tune=True).fit(np.concatenate([X, X + 0.01, X - 0.01]))
        search.search(X[:3], k=4)
        assert search.tuning_ is not None
        assert not looks
        Graph(graph.affinity)
        assert len(looks) == 1

    def test_it_keeps_the_arrays_it_is_given(self):
        W = sparse.csr_array(np.array([[0, 1.0], [1, 0]], dtype=np.float32))
        degrees, components = np.array([7.0, 7.0]), np.array([3, 3], dtype=np.int32)
        graph = Graph._trusted(W, facts={"a": 1}, degrees=degrees, components=components)
        assert graph.affinity is W
        assert graph.degrees is degrees
        assert graph.components is components
        assert not degrees.flags.writeable
        assert Graph._trusted(W, facts={}).degrees.tolist() == [1, 1]

    def test_what_it_makes_would_pass_every_check(self, rng):
        X = awkward_points()
        found = find_neighbors(np.delete(X, 100, axis=0), 6)
        graphs = [mf.graph_from_neighbors(found, edges=edges) for edges in EDGE_RULES]
        graphs += [mf.graph_from_neighbors(found, bridge=b, one_sided=0.2) for b in range(3)]
        graphs += [g.subgraph(rng.permutation(199)[:80]) for g in graphs]
        graphs += [g.astype(np.float64) for g in graphs]
        graphs += [mf.graph_from_affinity(g.affinity, self_loops="keep") for g in graphs]
        for graph in graphs:
            strict = Graph(sparse.csr_array(graph.affinity.toarray()))
            for name in ("data", "indices", "indptr"):
                np.testing.assert_array_equal(getattr(graph.affinity, name), getattr(strict.affinity, name))
            np.testing.assert_array_equal(graph.degrees, strict.degrees)
            np.testing.assert_array_equal(graph.components, strict.components)

    def test_a_pickle_keeps_what_is_known(self, rng, monkeypatch):
        graph = mf.build_graph(rng.normal(size=(30, 3)), 4)
        fresh = pickle.loads(pickle.dumps(graph))  # nothing known, nothing kept
        assert graph.n_components
        assert graph.degrees.sum()
        for copied in (pickle.loads(pickle.dumps(graph)), copy.copy(graph), copy.deepcopy(graph)):
            with monkeypatch.context() as m:
                m.setattr(_graph, "row_sums", None)
                m.setattr(_graph, "component_labels", None)
                np.testing.assert_array_equal(copied.degrees, graph.degrees)
                np.testing.assert_array_equal(copied.components, graph.components)
            assert copied.facts == graph.facts
            assert not copied.affinity.data.flags.writeable
            assert not copied.degrees.flags.writeable
        np.testing.assert_array_equal(fresh.degrees, graph.degrees)
        np.testing.assert_array_equal(fresh.components, graph.components)


class TestHabits:
    def test_length_identity_and_matrices(self, rng):
        graph = mf.build_graph(rng.normal(size=(20, 3)), 3)
        assert len(graph) == graph.n_nodes == 20
        same = Graph(graph.affinity, graph.facts)
        assert graph != same
        assert len({graph, same}) == 2
        W = graph.to_scipy()
        W.data[:] = 9  # the caller's own
        assert graph.affinity.data.max() <= 1

    def test_it_has_no_other_attributes(self):
        graph = mf.graph_from_affinity([[0, 1], [1, 0]])
        for name in ("affinity", "degrees", "components", "facts", "self_loops", "mine"):
            with pytest.raises(AttributeError):
                setattr(graph, name, 1)

    def test_astype_refuses_what_float32_does_not_hold(self):
        W = sparse.csr_array(np.array([[0, 1e300, 0], [1e300, 0, 1], [0, 1, 0]]))
        with pytest.raises(ValueError, match=r"weights up to 1\.0e\+300, beyond float32: rescale"):
            Graph(W).astype(np.float32)
        tiny = Graph(sparse.csr_array(np.array([[0, 1e-300, 0], [1e-300, 0, 1], [0, 1, 0]])))
        assert tiny.n_components == 1
        assert tiny.astype(np.float32).affinity.nnz == 2
        assert tiny.astype(np.float32).n_components == 2
        assert tiny.degrees.tolist() == [1e-300, 1, 1]
        assert tiny.astype(np.float32).degrees.tolist() == [0, 1, 1]
        assert tiny.astype("float64") is tiny


class TestRepr:
    def test_says_what_matters(self, rng):
        graph = mf.build_graph(rng.normal(size=(1200, 3)), 3)
        text = repr(graph)
        for part in ("1,200 nodes", f"{graph.n_edges:,} edges", "components", "isolated", "KiB", "bridge=1"):
            assert part in text
        assert graph.summary()["n_edges"] == graph.n_edges
        assert graph.nbytes == sum(
            a.nbytes
            for a in (
                graph.affinity.data,
                graph.affinity.indices,
                graph.affinity.indptr,
                graph.degrees,
                graph.components,
            )
        )

    def test_html_escapes_facts(self):
        graph = Graph(sparse.csr_array((2, 2)), {"note": "<script>alert(1)</script>"})
        assert "<script>" not in graph._repr_html_()
        assert html.escape("<script>") in graph._repr_html_()
        assert graph._repr_html_().count("<tr>") == len(graph.summary())


class TestMemory:
    @pytest.mark.parametrize(
        ("edges", "bridge", "one_sided"),
        [
            ("mutual", 0, 0.0),
            ("mutual", 3, 0.0),
            ("mutual", 1, 0.1),
            ("mutual", 1, None),
            ("union", 0, 0.0),
            ("sum", 0, 0.0),
        ],
    )
    @pytest.mark.parametrize("k", [3, 10, 40])
    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    def test_forecast_of_the_graph_bounds_the_peak(self, edges, bridge, one_sided, k, metric, rng):
        X = rng.normal(size=(4000, 8)).astype(np.float32)
        found = find_neighbors(X, k, metric=metric)
        tracemalloc.start()
        try:
            mf.graph_from_neighbors(found, edges=edges, bridge=bridge, one_sided=one_sided)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        forecast = memory_forecast(4000, k, edges=edges, bridge=bridge, one_sided=one_sided)
        assert peak <= forecast <= 2 * peak

    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    @pytest.mark.parametrize(("d", "k"), [(16, 10), (16, 200), (512, 30)])
    def test_forecast_of_the_search_bounds_the_peak(self, metric, d, k, rng):
        X = rng.normal(size=(9000, d)).astype(np.float32)
        tracemalloc.start()
        try:
            find_neighbors(X, k, metric=metric)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        forecast = neighbors.memory_forecast(9000, d, k)
        assert peak <= forecast <= 3 * peak

    def test_refused_before_anything_is_allocated(self, rng, monkeypatch):
        X = rng.normal(size=(5000, 8)).astype(np.float32)
        found = find_neighbors(X[:2000], 40)
        monkeypatch.setattr(_resources, "available_memory", lambda: 1 << 20)
        tracemalloc.start()
        try:
            with pytest.raises(MemoryBudgetError, match=r"5000 points needs about .* MiB.*lower n_neighbors"):
                mf.build_graph(X, 50)
            with pytest.raises(MemoryBudgetError, match="graph of 2000 nodes"):
                mf.graph_from_neighbors(found)
            with pytest.raises(MemoryBudgetError, match="float32 copy of X"):
                mf.build_graph(np.broadcast_to(np.float64(1), (50_000, 8)), 5)
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()

    def test_available_memory_is_plausible(self):
        assert 1 << 20 < _resources.available_memory() < 1 << 50

    @pytest.mark.parametrize(
        ("limit", "used", "expected"), [("max", "5", None), ("1000000", "400000", 600_000), ("100", "200", 0)]
    )
    def test_the_limit_of_a_control_group_counts(self, limit, used, expected, tmp_path, monkeypatch):
        for name, text in (("limit", limit), ("used", used)):
            (tmp_path / name).write_text(text + "\n")
        monkeypatch.setattr(_resources, "_CGROUP_LIMITS", (str(tmp_path / "none"), str(tmp_path / "limit")))
        monkeypatch.setattr(_resources, "_CGROUP_USAGES", (str(tmp_path / "used"),))
        free = _resources.available_memory()
        assert free == expected if expected is not None else free > 1 << 20


@st.composite
def weight_matrices(draw):
    n = draw(st.integers(0, 9))
    entries = st.one_of(st.just(0.0), st.floats(1e-3, 1e3))
    return np.array([[draw(entries) for _ in range(n)] for _ in range(n)]).reshape(n, n)


class TestGraphFromAffinity:
    @settings(max_examples=80, deadline=None)
    @given(W=weight_matrices(), edges=st.sampled_from(list(EDGE_RULES)), keep=st.booleans())
    def test_any_weights_become_a_valid_graph(self, W, edges, keep):
        graph = mf.graph_from_affinity(W, edges=edges, self_loops="keep" if keep else "remove")
        rule = {"mutual": np.minimum, "union": np.maximum, "sum": np.add}[edges]
        expected = rule(W, W.T)
        if not keep:
            np.fill_diagonal(expected, 0)
        got = graph.affinity.toarray()
        np.testing.assert_array_equal(got, got.T)
        np.testing.assert_allclose(got, expected, rtol=1e-6)
        assert graph.affinity.nnz == np.count_nonzero(expected)
        np.testing.assert_allclose(graph.degrees, got.sum(axis=1, dtype=float), rtol=1e-12)

    def test_formats_agree(self, rng):
        W = rng.uniform(size=(12, 12)) * (rng.uniform(size=(12, 12)) < 0.3)
        W = W + W.T
        expected = mf.graph_from_affinity(W).affinity.toarray()
        for kind in ("csr", "csc", "coo", "bsr", "lil", "dok", "dia"):
            for base in (sparse.csr_array, sparse.csr_matrix):
                got = mf.graph_from_affinity(base(W).asformat(kind)).affinity.toarray()
                np.testing.assert_array_equal(got, expected)

    def test_unknown_rules(self):
        for options in ({"edges": "max"}, {"negative": "abs"}, {"self_loops": "maybe"}):
            with pytest.raises(ValueError, match=f"{next(iter(options))} must be one of"):
                mf.graph_from_affinity(np.eye(2), **options)

    @pytest.mark.parametrize(("low", "high"), [(1e-300, 1e-280), (1e-44, 1e-40), (1e20, 1e300)])
    def test_weights_outside_float32_are_scaled(self, low, high):
        W = np.array([[0, low, high], [low, 0, 0], [high, 0, 0]])
        if high / low > 1e30:
            with pytest.warns(ManifoldWarning, match="float64"):
                graph = mf.graph_from_affinity(W)
            assert graph.dtype == np.float64
        else:
            graph = mf.graph_from_affinity(W)
            assert graph.dtype == np.float32
        ratio = graph.affinity[0, 1] / graph.affinity[0, 2]
        np.testing.assert_allclose(ratio, low / high, rtol=1e-6)

    def test_degrees_beyond_float64_are_refused(self):
        W = np.full((4, 4), 1e308)
        np.fill_diagonal(W, 0)
        W[0, 1] = W[1, 0] = 1.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ManifoldWarning)
            with pytest.raises(ValueError, match="rescale"):
                mf.graph_from_affinity(W)


class TestGraphChecks:
    @pytest.mark.parametrize(
        ("W", "message"),
        [
            ([[0, 1.0], [2, 0]], "not symmetric"),
            ([[0, -1.0], [-1, 0]], "non-negative"),
            ([[0, np.nan], [np.nan, 0]], "finite"),
            ([[1.0, 0], [0, 0]], "self_loops=True"),
            ([[0, 1.0]], "square"),
        ],
    )
    def test_broken_promises_are_refused(self, W, message):
        with pytest.raises(ValueError, match=message):
            Graph(sparse.csr_array(np.array(W)))

    def test_one_ulp_of_asymmetry_is_refused(self):
        W = np.array([[0, 1.0], [np.nextafter(1, 2), 0]])
        with pytest.raises(ValueError, match="not symmetric"):
            Graph(sparse.csr_array(W))

    def test_self_loops_count_as_one_edge(self):
        graph = Graph(sparse.csr_array(np.array([[2.0, 1], [1, 0]])), self_loops=True)
        assert graph.n_edges == 2
        assert graph.degrees.tolist() == [3, 1]

    def test_unknown_edge_rules_are_refused_before_the_search(self):
        X = np.full((3, 2), np.nan)  # the search would complain of this
        for options, message in (
            ({"edges": "both"}, "edges must be one of"),
            ({"bridge": -1}, "bridge must be at least 0"),
            ({"gamma": -1}, "gamma must be"),
        ):
            with pytest.raises(ValueError, match=message):
                mf.build_graph(X, 1, **options)
        with pytest.raises(TypeError, match="bridge must be an integer"):
            mf.build_graph(X, 1, bridge=1.0)


def test_short_rows_of_an_approximate_search():
    D, I = np.array([[0.9, 0.5], [0.9, -3.4e38], [0.5, -3.4e38]]), np.array([[1, 2], [0, -1], [0, -1]])  # noqa: E741
    assert isinstance(from_faiss(D, I), Neighbors)
    W = mf.graph_from_neighbors(D, I, gamma=1.0).affinity.toarray()
    np.testing.assert_allclose(W, [[0, 0.9, 0.5], [0.9, 0, 0], [0.5, 0, 0]], rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 30),
    k=st.integers(1, 8),
    edges=st.sampled_from(list(EDGE_RULES)),
    bridge=st.integers(0, 3),
)
def test_a_permutation_of_the_points_permutes_the_graph(seed, n, k, edges, bridge):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))  # in general position: no ties, which ids would settle
    order = rng.permutation(n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ManifoldWarning)  # k may exceed n - 1
        a = mf.build_graph(X, k, edges=edges, bridge=bridge).affinity.toarray()
        b = mf.build_graph(X[order], k, edges=edges, bridge=bridge).affinity.toarray()
    np.testing.assert_array_equal(a[np.ix_(order, order)], b)
