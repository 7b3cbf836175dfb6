"""An index that is filled by what is asked: the answers of one that was built, whatever was asked before."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cases import dense_scores, make_graph

from manifold import Diffusion, DiffusionIndex, ManifoldSearch, datasets, graph_from_affinity, load
from manifold.errors import CorruptFileError
from manifold.solvers import Status

LAZY = DiffusionIndex(40, solver="local", lazy=True)


@pytest.fixture(scope="module")
def surfaces():
    X, _ = datasets.view_manifolds(12, 100, 300, dim=16, rng=7)
    return X[np.random.default_rng(3).permutation(len(X))]


def same(a, b):
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


def test_columns_are_those_of_a_built_index_to_the_bit(surfaces):
    graph = ManifoldSearch(preset="plain-diffusion", n_neighbors=8, solver="cg").fit(surfaces).graph_
    built = DiffusionIndex(40, solver="local").build(graph)
    lazy = LAZY.build(graph)
    some = np.random.default_rng(5).permutation(graph.n_nodes)[:100]
    assert same(lazy.held(some), built.held(some))
    assert 100 <= lazy.n_solved < graph.n_nodes
    assert same(lazy.held(some[::-1]), built.held(some[::-1]))
    assert lazy.first(10).held(some)[2].tobytes() == LAZY.build(graph).first(10).held(some)[2].tobytes()


def test_it_certifies_what_a_built_index_certifies_and_is_proved_by_local_solves(surfaces):
    X, Q = surfaces[200:], surfaces[:200]
    rankings = {}
    for lazy in (False, True):
        search = ManifoldSearch(
            preset="plain-diffusion", n_neighbors=8, solver=DiffusionIndex(40, solver="local", lazy=lazy)
        ).fit(X)
        rankings[lazy] = search.search(Q, k=10), search.search(Q, k=10, slack=0)
    exact = ManifoldSearch(preset="plain-diffusion", n_neighbors=8, solver="direct").fit(X).search(Q, k=10, slack=0)
    (built, _), (found, proved) = rankings[False], rankings[True]
    assert found.certified.mean() >= built.certified.mean() - 0.1
    assert (proved.certified | proved.tied).all()
    for ranking in (found, proved):
        for j in np.flatnonzero(ranking.certified & exact.certified):
            assert set(ranking.ids[j]) == set(exact.ids[j])


def test_few_columns_are_kept_and_nothing_depends_on_which(surfaces):
    X, Q = surfaces[200:], surfaces[:60]
    whole = ManifoldSearch(preset="plain-diffusion", n_neighbors=8, solver=LAZY).fit(X)
    few = ManifoldSearch(
        preset="plain-diffusion", n_neighbors=8, solver=DiffusionIndex(40, solver="local", lazy=True, n_kept=48)
    ).fit(X)
    expected = whole.search(Q, k=10)
    for order in (np.arange(60), np.arange(60)[::-1]):
        ranking = few.search(Q[order], k=10)
        assert ranking.scores.tobytes() == expected.scores[order].tobytes()
        assert ranking.slack.tobytes() == expected.slack[order].tobytes()
        assert few.fitted_.ranker.prepared.n_solved <= 48
    with ThreadPoolExecutor(4) as pool:
        for j, ranking in enumerate(pool.map(lambda q: few.search(q, k=10), Q)):
            assert ranking.scores.tobytes() == expected.scores[j].tobytes()


def test_it_is_saved_with_what_was_solved_and_follows_a_change(surfaces, tmp_path):
    X, Q = surfaces[300:], surfaces[:50]
    search = ManifoldSearch(preset="plain-diffusion", n_neighbors=8, solver=LAZY).fit(X)
    before = search.search(Q, k=10)
    again = load(search.save(tmp_path / "search"))
    kept = again.fitted_.ranker.prepared
    assert kept.n_solved == search.fitted_.ranker.prepared.n_solved > 0
    assert again.search(Q, k=10).scores.tobytes() == before.scores.tobytes()
    assert pickle.loads(pickle.dumps(kept)).n_solved == kept.n_solved
    for asked in (search, again):
        asked.add(surfaces[200:300], ids=np.arange(5_000, 5_100))
        assert asked.fitted_.ranker.prepared.n_solved == 0
    grown = ManifoldSearch(preset="plain-diffusion", n_neighbors=8, solver=LAZY).fit(
        np.concatenate([X, surfaces[200:300]])
    )
    assert search.search(Q, k=10).scores.tobytes() == grown.search(Q, k=10).scores.tobytes()
    assert again.search(Q, k=10).scores.tobytes() == grown.search(Q, k=10).scores.tobytes()
    index = kept.save(tmp_path / "index")
    assert same(load(index).held(np.arange(9)), kept.held(np.arange(9)))


@pytest.mark.parametrize("name", ["clusters", "disconnected", "isolated nodes", "star"])
def test_a_solution_is_within_its_bounds(name):
    graph = make_graph(name)
    Y = np.zeros((graph.n_nodes, 3))
    Y[0, 0] = Y[-1, 1] = 1.0
    solution = LAZY.prepare(graph, Diffusion(0.9), DiffusionIndex().build(graph).backend).solve(Y)
    exact = dense_scores(graph.astype(np.float64), Y, Diffusion(0.9))
    assert (np.abs(solution.scores - exact).max(axis=0) <= solution.error_bound + 1e-6).all()
    assert solution.status[2] is Status.CONVERGED


def test_refusals(tmp_path):
    assert DiffusionIndex(40, lazy=True) == LAZY
    assert DiffusionIndex() == DiffusionIndex(solver="cg")
    with pytest.raises(ValueError, match="got solver='cg': leave it out"):
        DiffusionIndex(lazy=True, solver="cg")
    with pytest.raises(ValueError, match="n_kept"):
        DiffusionIndex(lazy=True, solver="local", n_kept=0)
    pair = graph_from_affinity([[0, 1], [1, 0]])
    index = LAZY.build(pair)
    index.held(np.array([0]))
    other = LAZY.build(graph_from_affinity([[0, 2], [2, 0]]))
    with pytest.raises(ValueError, match="another graph"):
        index.prepare(other.graph.subgraph(np.array([0])), Diffusion(), index.backend)
    folder = index.save(tmp_path / "index")
    for file in folder.glob("order*.npy"):
        raw = bytearray(file.read_bytes())
        raw[-8] ^= 1
        file.write_bytes(bytes(raw))
    with pytest.raises(CorruptFileError):
        load(folder)
