"""Searches that ask local solves: the lists of the whole graph, proved, whatever is asked, and on what was changed."""

from __future__ import annotations

import numpy as np
import pytest
from hunt import exact_scores, random_graph
from hunt import seeds_of as some_seeds
from scipy import sparse
from threadpoolctl import threadpool_limits

from manifold import Diffusion, ManifoldSearch, RegularizedDiffusion, graph_from_affinity
from manifold.backends import get_backend
from manifold.ranking import RegionalSearch
from manifold.ranking._ranker import Ranker, Task
from manifold.solvers import ConjugateGradient, Direct, Local, Status
from manifold.solvers.measured import Groups, measured_passes, solver_of_lists


def clusters(n=3_000, seed=3):
    """Return a graph of near neighbours along a noisy circle, and seeds of some queries."""
    rng = np.random.default_rng(seed)
    i = np.repeat(np.arange(n), 4)
    j = (i + rng.integers(1, 12, i.size)) % n
    W = sparse.coo_array((rng.uniform(0.1, 1, i.size), (i, j)), shape=(n, n)).tocsr()
    return graph_from_affinity(W.maximum(W.T)), rng


def seeds_of(rng, n, q=12, each=5):
    at = (rng.integers(0, n, q)[:, None] + np.arange(each) * 3) % n
    entries = rng.uniform(0.1, 1, q * each), (at.ravel(), np.repeat(np.arange(q), each))
    return sparse.csc_array(entries, shape=(n, q))


def none(queries):
    return np.empty((queries.size, 0), dtype=np.int64)


def ranker(graph, solver, filter=None, exponent=0.0):
    filter = Diffusion(0.9) if filter is None else filter
    return Ranker(graph, filter, solver.prepare(graph, filter, get_backend()), get_backend(), exponent)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("filter", [Diffusion(0.9), Diffusion(0.99), RegularizedDiffusion(0.9)], ids=str)
def test_lists_are_those_of_an_exact_solve_and_nearly_all_are_certified(filter, exponent):
    graph, rng = clusters()
    Y = seeds_of(rng, graph.n_nodes)
    solver = Local(max_passes=100)  # a walk at 0.99 comes round in so small a graph
    rows, scores, slack, report = ranker(graph, solver, filter, exponent).rank(Y, Task(10, none))
    exact = ranker(graph.astype(np.float64), ConjugateGradient(1e-12), filter, exponent).rank(Y, Task(10, none))
    assert (slack == 0).mean() > 0.9
    assert [set(row) for row in rows] == [set(row) for row in exact[0]]
    np.testing.assert_allclose(scores, exact[1], rtol=0.02)
    assert (np.diff(scores, axis=1) <= 0).all()
    assert report.solver == "local"


def test_its_own_row_is_left_out_and_candidates_alone_are_listed():
    graph, rng = clusters()
    n = graph.n_nodes
    own = rng.integers(0, n, 12)
    Y = sparse.csc_array((np.ones(12), (own, np.arange(12))), shape=(n, 12))
    candidates = (own[:, None] + rng.permuted(np.tile(np.arange(-30, 30), (12, 1)), axis=1)) % n
    near, exact = ranker(graph, Local()), ranker(graph.astype(np.float64), ConjugateGradient(1e-12))
    for task in (Task(10, none, own=own), Task(10, none, candidates), Task(10, none, candidates[:, :10])):
        rows, _, slack, _ = near.rank(Y, task)
        expected, *_ = exact.rank(Y, task)
        assert (slack < 1e-9).all()
        assert [set(row) for row in rows] == [set(row) for row in expected]
    assert not (near.rank(Y, Task(10, none, own=own))[0] == own[:, None]).any()


def test_where_fewer_are_reached_the_baseline_follows():
    pair = np.array([[0.0, 1.0], [1.0, 0.0]])
    graph = graph_from_affinity(np.kron(np.eye(4), pair))
    Y = sparse.csc_array(([1.0, 1.0], ([2, 4], [0, 1])), shape=(8, 3))
    nearest = np.array([[7, 2, 0, 3], [5, 4, 6, 1], [6, 5, 4, 3]])
    asked = [ranker(graph, solver).rank(Y, Task(4, lambda q: nearest[q])) for solver in (Local(), Direct())]
    for rows, scores, slack, _ in asked:
        assert rows.tolist() == [[2, 3, 7, 0], [4, 5, 6, 1], [6, 5, 4, 3]]
        assert (scores[:2, 2:] == 0).all()
        assert slack.tolist() == [0, 0, np.inf]
    long = ranker(graph, Local()).rank(Y[:, :1], Task(8, lambda q: nearest[q]))[0]
    assert sorted(long[0]) == list(range(8))
    without = ranker(graph, Local()).rank(Y[:, :1], Task(7, lambda q: nearest[q], own=np.array([3])))[0]
    assert sorted(without[0]) == [0, 1, 2, 4, 5, 6, 7]


def test_what_a_local_solve_leaves_undecided_is_solved_on():
    rng = np.random.default_rng(5)
    upper = sparse.random_array((1_500, 1_500), density=0.1, rng=rng)  # walks fill it
    graph = graph_from_affinity(sparse.csr_array(upper + upper.T))
    Y = seeds_of(rng, 1_500, q=4)
    solver, filter = Local(max_passes=1e-3), Diffusion(0.99)
    _, _, slack, report = ranker(graph, solver, filter).rank(Y, Task(20, none))
    assert set(report.status) <= {Status.CONVERGED, Status.APPROXIMATE}
    rows, _, proved, finer = ranker(graph, solver, filter).rank(Y, Task(20, none, slack=0.0))
    exact = ranker(graph.astype(np.float64), ConjugateGradient(1e-12), filter).rank(Y, Task(20, none))[0]
    assert slack.max() > 0
    assert proved.max() < 1e-9
    assert finer.error_bound.max() < report.error_bound.min() / 10
    assert [set(row) for row in rows] == [set(row) for row in exact]


@pytest.mark.parametrize("size", [1e-280, 1e-170, 1e170, 1e290])
def test_seeds_of_any_size_give_the_same_lists(size):
    graph, rng = clusters(300)
    Y = seeds_of(rng, 300)
    near = ranker(graph, Local())
    rows, scores, slack, _ = near.rank(Y * size, Task(5, none))
    expected = near.rank(Y, Task(5, none))
    assert [set(row) for row in rows] == [set(row) for row in expected[0]]
    np.testing.assert_allclose(scores, expected[1] * size, rtol=0.02)
    assert (slack < 0.1).all()  # by a solve of the whole graph, where bounds might leave float64


def test_threads_and_company_change_no_bit():
    graph, rng = clusters()
    Y = seeds_of(rng, graph.n_nodes, q=40)
    near = ranker(graph, Local())
    answers = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            answers.append(near.rank(Y, Task(10, none)))
    alone = [near.rank(Y[:, [j]], Task(10, none)) for j in range(40)]
    for part in range(3):
        np.testing.assert_array_equal(answers[0][part], answers[1][part])
        np.testing.assert_array_equal(answers[0][part], np.concatenate([answer[part] for answer in alone]))


def test_auto_measures_lists_where_there_are_many_nodes_and_says_what_it_saw():
    backend, walk = get_backend(), Diffusion(0.9)
    graph, _ = clusters(20_000)
    solver, why = solver_of_lists(graph, walk, backend)
    assert isinstance(solver, Local)
    assert why.startswith("local, because lists of 10 at 16 of 16 sampled nodes are proved")
    np.testing.assert_array_equal(*(measured_passes(graph, walk, backend) for _ in range(2)))
    pairs = Groups(np.arange(20_000) // 2, np.ones(20_000), maximum=False, n_largest=20)
    solver, why = solver_of_lists(graph, walk, backend, groups=pairs)
    assert isinstance(solver, Local)
    assert why.startswith("local, because lists of 10 groups at 16 of 16 sampled nodes are proved")
    rng = np.random.default_rng(2)
    upper = sparse.random_array((20_000, 20_000), density=5e-4, rng=rng)
    filled = graph_from_affinity(sparse.csr_array(upper + upper.T))
    solver, why = solver_of_lists(filled, Diffusion(0.99), backend)
    assert isinstance(solver, ConjugateGradient)
    assert "not local, because lists of 10 at 0 of 16 sampled nodes" in why
    assert isinstance(solver_of_lists(clusters(19_000)[0], walk, backend)[0], ConjugateGradient)


@pytest.mark.parametrize("how", ["sum", "signed", "maximum"])
def test_groups_are_proved_as_long_double_says(how):
    decided = 0
    for seed in range(150):
        rng = np.random.default_rng([seed, len(how)])
        graph, alpha = random_graph(rng), float(rng.choice([0.3, 0.9, 0.99]))
        n = graph.n_nodes
        owners = np.unique(rng.integers(0, max(n // 2, 1), n), return_inverse=True)[1]
        w = rng.uniform(-0.5, 1, n) if how == "signed" else rng.uniform(0.1, 1, n)
        y = some_seeds(rng, n, 1)[:, 0]
        F = exact_scores(graph, alpha, y[:, None])[:, 0]
        n_groups = int(owners.max()) + 1
        exact = np.zeros(n_groups, np.longdouble)
        (np.maximum if how == "maximum" else np.add).at(exact, owners, w * F)
        exact = np.maximum(exact, 0)
        prepared = Local(rtol=float(rng.choice([0.1, 1e-6]))).prepare(graph, Diffusion(alpha), get_backend())
        k, nodes = int(rng.integers(1, n_groups + 1)), np.flatnonzero(y)
        among = rng.permutation(n_groups)[: int(rng.integers(1, n_groups + 1))] if rng.random() < 0.3 else None
        out = rng.permutation(n_groups)[:1] if rng.random() < 0.3 else None
        groups = prepared.groups(owners, w, maximum=how == "maximum")
        found = groups.best(nodes, y[nodes], k, among=among, left_out=out)
        may = np.isin(np.arange(n_groups), np.arange(n_groups) if among is None else among)
        may[[] if out is None else out] = False
        others = np.setdiff1d(np.flatnonzero(may), found.rows)
        assert may[found.rows].all()
        assert exact[found.rows].min(initial=np.inf) >= found.lower * (1 - 1e-15)
        assert exact[others].max(initial=0) <= found.outside * (1 + 1e-15)
        decided += found.rows.size == min(k, may.sum()) and found.outside <= found.lower
    assert decided > 40


@pytest.mark.parametrize("pooling", ["sum", "max", "generalized_max"])
def test_a_search_over_regions_lists_images_locally(pooling):
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(60, 8))
    X = (centres[rng.integers(0, 60, 1_200)] + 0.3 * rng.normal(size=(1_200, 8))).astype(np.float32)
    images, Q = np.repeat(np.arange(400), 3), X[:6] + 0.01
    near, exact = (
        RegionalSearch(n_neighbors=6, alpha=0.9, pooling=pooling, solver=solver).fit(X, images=images)
        for solver in (Local(max_passes=100), ConjugateGradient(1e-6))
    )
    found, expected = (s.search(Q, [0, 0, 1, 1, 2, 2], k=8, slack=0) for s in (near, exact))
    assert found.diagnostics.solver == "local"
    assert [set(row) for row in found.ids] == [set(row) for row in expected.ids]
    assert found.certified.mean() > 0.8
    alike = near.similar([3, 5], k=8)
    assert [set(row) for row in alike.ids] == [set(row) for row in exact.similar([3, 5], k=8, slack=0).ids]


def test_a_search_that_was_changed_answers_as_one_that_is_fitted_anew():
    rng = np.random.default_rng(11)
    X = (rng.normal(size=(40, 6))[rng.integers(0, 40, 500)] + 0.3 * rng.normal(size=(500, 6))).astype(np.float32)
    settings = {"preset": "plain-diffusion", "alpha": 0.9, "solver": Local(max_passes=100)}
    changed = ManifoldSearch(**settings).fit(X[:480], ids=np.arange(480))
    changed.search(X[:3], k=5)
    changed.add(X[480:], ids=np.arange(480, 500))
    changed.remove(np.arange(10))
    anew = ManifoldSearch(**settings).fit(X[10:], ids=np.arange(10, 500))
    exact = ManifoldSearch(**{**settings, "solver": Direct()}).fit(X[10:], ids=np.arange(10, 500))
    ours, theirs, truth = (search.search(X[:40], k=10) for search in (changed, anew, exact))
    np.testing.assert_array_equal(ours.ids, theirs.ids)
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    assert ours.certified.mean() > 0.9
    assert all(set(a) == set(b) for a, b in zip(ours.ids[ours.certified], truth.ids[ours.certified], strict=True))
