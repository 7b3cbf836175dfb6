"""Personalised PageRank beside networkx, igraph and a dense solve: names, weights, dangling nodes, proofs, refusals."""

import gc
import weakref

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import manifold as mf

KINDS = (
    lambda seed: nx.gnm_random_graph(60, 120, seed=seed),
    lambda seed: nx.barabasi_albert_graph(80, 2, seed=seed),
    lambda seed: nx.star_graph(30),
    lambda seed: nx.barbell_graph(8, 5),
    lambda seed: nx.gnm_random_graph(50, 30, seed=seed),  # many nodes without edges
)


def weighted(seed):
    """Return a networkx graph, weighted and named or not, seeds with weights, and a damping."""
    rng = np.random.default_rng(seed)
    G = KINDS[seed % len(KINDS)](seed)
    if seed % 2:
        for u, v in G.edges:
            G[u][v]["weight"] = float(10 ** rng.uniform(-3, 3))
    if seed % 4 == 1:
        G.add_edge(0, 0, weight=2.0)
    if seed % 3 == 0:
        G = nx.relabel_nodes(G, {i: f"node {i}" for i in G})
    nodes = list(G)
    seeds = {nodes[i]: float(rng.uniform(0.1, 2)) for i in rng.choice(len(nodes), 3, replace=False)}
    return G, seeds, float(rng.choice([0.3, 0.5, 0.85, 0.95]))


@pytest.mark.parametrize("seed", range(50))
def test_it_is_that_of_networkx(seed):
    G, seeds, damping = weighted(seed)
    expected = nx.pagerank(G, alpha=damping, personalization=seeds, tol=1e-14, max_iter=5_000)
    ranking = mf.personalized_pagerank(G, seeds, damping=damping)
    found = dict(zip(*(part.tolist() for part in ranking), strict=True))
    assert found.keys() == expected.keys()
    assert max(abs(found[node] - expected[node]) for node in G) <= min(1e-9, 1e-12 + ranking.diagnostics.error_bound[0])
    best = mf.personalized_pagerank(G, seeds, damping=damping, k=5)
    largest = sorted(expected.values(), reverse=True)
    assert (best.certified | best.tied).all()
    assert sum(expected[node] for node in best.ids.tolist()) == pytest.approx(sum(largest[:5]), rel=1e-8)


def test_it_is_that_of_igraph():
    igraph = pytest.importorskip("igraph")
    for seed in range(3):
        rng = np.random.default_rng(seed)
        G = nx.barabasi_albert_graph(300, 3, seed=seed)
        weights = rng.uniform(0.1, 3, G.number_of_edges())
        other = igraph.Graph(edges=list(G.edges), directed=False)
        for (u, v), weight in zip(G.edges, weights, strict=True):
            G[u][v]["weight"] = float(weight)
        at = rng.choice(300, 4, replace=False).tolist()
        expected = other.personalized_pagerank(
            damping=0.85, reset_vertices=at, weights=weights.tolist(), implementation="prpack"
        )
        ids, scores = mf.personalized_pagerank(G, at)
        np.testing.assert_allclose(scores, np.array(expected)[ids], rtol=0, atol=1e-9)


@settings(deadline=None)  # the first call loads the compiler
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 0.85, 0.99]))
def test_what_is_proved_is_true_of_a_dense_solve(seed, damping):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 30))
    W = np.triu(rng.random((n, n)) < 3 / n, 1) * 10.0 ** rng.uniform(-4, 4, (n, n)) * rng.choice([1, 0.5])
    W += W.T
    degrees = W.sum(axis=0)
    P = W / np.where(degrees > 0, degrees, 1)
    y = np.zeros(n)
    some = rng.choice(n, min(n, 3), replace=False)
    y[some] = rng.uniform(0.1, 1, some.size)
    y /= y.sum()
    P[:, degrees == 0] = y[:, None]
    p = (1 - damping) * np.linalg.solve(np.eye(n) - damping * P, y)
    k = int(rng.integers(1, n + 1))
    ranking = mf.personalized_pagerank(W, dict(zip(some.tolist(), y[some].tolist(), strict=True)), damping=damping, k=k)
    inside = np.isin(np.arange(n), ranking.ids)
    assert inside.sum() == k
    if ranking.certified[0]:
        assert p[~inside].max(initial=0) <= p[inside].min() * (1 + 1e-12) + 1e-300
    np.testing.assert_allclose(ranking.scores, p[ranking.ids], rtol=0, atol=ranking.diagnostics.error_bound[0] + 1e-14)


def test_a_path_by_hand_and_the_restart_alone():
    path = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    ids, scores = mf.personalized_pagerank(path, 0, damping=0.5)
    np.testing.assert_allclose(scores[np.argsort(ids)], np.array([7, 4, 1]) / 12, atol=1e-12)
    ids, scores = mf.personalized_pagerank(path, {0: 1, 2: 3}, damping=0.0)
    assert ids.tolist() == [2, 0, 1]
    np.testing.assert_allclose(scores, [0.75, 0.25, 0])


def test_seeds_as_people_have_them():
    G = nx.relabel_nodes(nx.path_graph(5), dict(enumerate("abcde")))
    one = mf.personalized_pagerank(G, "b", k=2)
    for same in (["b"], ("b",), {"b"}, {"b": 7.0}, np.array(["b"]), ["b", "b"]):
        ids, scores = mf.personalized_pagerank(G, same, k=2)
        assert ids.tolist() == one.ids.tolist()
        np.testing.assert_allclose(scores, one.scores)
    several = mf.personalized_pagerank(G, [["b"], {"e": 2.0, "d": 1.0}, "a"], k=2)
    assert several.ids.shape == (3, 2)
    assert several.ids[0].tolist() == one.ids.tolist()
    assert mf.personalized_pagerank(G, [[0, 1]], k=1, ids=range(5)).ids.shape == (1, 1)
    graph = mf.graph_from_affinity(G)
    assert mf.personalized_pagerank(graph, "b", k=2, ids=list("abcde")).ids.tolist() == one.ids.tolist()
    assert mf.personalized_pagerank(graph, 1, k=2).ids.tolist() == [1, 2]


def test_a_graph_that_is_asked_again_is_not_kept_alive():
    W = sparse.random_array((50, 50), density=0.1, rng=np.random.default_rng(5))
    graph = mf.graph_from_affinity(W + W.T)
    first = mf.personalized_pagerank(graph, 3, k=9)
    again = mf.personalized_pagerank(graph, 3, k=9)
    assert first.scores.tobytes() == again.scores.tobytes()
    gone = weakref.ref(graph)
    del graph
    gc.collect()
    assert gone() is None


def test_what_is_refused_is_named():
    path = np.array([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])
    for seeds, problem in (
        ([], "seeds must be names"),
        ({}, "seeds must be names"),
        ([0, 7], "not in the collection, first 7"),
        ({0: -1.0}, r"finite and >= 0.*\[-1.0\]"),
        ({0: np.nan}, "finite"),
        ({0: 0.0}, "some of them larger"),
        ([-1], "missing marker"),
    ):
        with pytest.raises(ValueError, match=problem):
            mf.personalized_pagerank(path, seeds)
    with pytest.raises(TypeError, match="ids must be integers"):
        mf.personalized_pagerank(path, "a")
    with pytest.raises(ValueError, match="damping"):
        mf.personalized_pagerank(path, 0, damping=1.0)
    with pytest.raises(ValueError, match="k must be"):
        mf.personalized_pagerank(path, 0, k=0)
    directed = nx.DiGraph([(0, 1), (1, 2)])
    with pytest.raises(ValueError, match=r"not symmetric.*edges="):
        mf.personalized_pagerank(directed, 0)
    undirected = mf.personalized_pagerank(directed, 0, edges="union")
    np.testing.assert_allclose(undirected.scores, mf.personalized_pagerank(path, 0).scores)
    with pytest.raises(ValueError, match="a Graph is undirected"):
        mf.personalized_pagerank(mf.graph_from_affinity(path), 0, edges="union")
