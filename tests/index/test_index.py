"""The stored index and certified rankings: bounds that hold, certificates that are never wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from cases import dense_scores, make_graph
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse
from strict_backend import StrictBackend

from manifold import (
    Diffusion,
    DiffusionIndex,
    Heat,
    ManifoldSearch,
    RegularizedDiffusion,
    build_graph,
    datasets,
    diffuse,
    graph_from_affinity,
    load,
)
from manifold.errors import ConvergenceWarning, CorruptFileError, MemoryBudgetError
from manifold.index import Intervals, LeftOut, _refine
from manifold.index.entries import entry_bounds
from manifold.solvers import ConjugateGradient, Status

DTYPES = ("float16", "float32", "float64")


def exact_columns(graph, filter):
    return dense_scores(graph.astype(np.float64), np.eye(graph.n_nodes), filter)


@pytest.fixture(scope="module")
def manifolds():
    """A collection with views of objects, distractors, copies and queries held out."""
    X, _ = datasets.view_manifolds(12, 30, 60, dim=16, rng=7)
    X = np.concatenate([X, X[:5]])  # exact copies tie
    order = np.random.default_rng(3).permutation(len(X))
    return X[order[40:]], X[order[:40]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("alpha", [0.5, 0.99])
@pytest.mark.parametrize("name", ["clusters", "disconnected", "isolated nodes", "star", "huge weight range"])
def test_stored_entries_and_tails_hold_the_exact_columns(name, alpha, dtype):
    graph, filter = make_graph(name), Diffusion(alpha)
    columns = DiffusionIndex(n_entries=5, dtype=dtype).build(graph, filter=filter)
    K = exact_columns(graph, filter)
    u = 2 * np.finfo(dtype).eps
    for j in range(graph.n_nodes):
        stored = np.zeros(graph.n_nodes, dtype=bool)
        stored[columns.ids[j]] = True
        error = np.abs(K[columns.ids[j], j] - columns.values[j].astype(float))
        assert (error <= columns.error[j] + u * K[columns.ids[j], j] + 1e-14).all()
        assert K[~stored, j].max(initial=0) <= columns.tail[j] + 1e-14
        assert (np.diff(columns.ids[j].astype(int)) > 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["clusters", "disconnected", "isolated nodes", "star", "huge weight range"])
def test_each_step_around_the_candidates_narrows_the_bounds_of_their_entries(name, dtype):
    graph, filter = make_graph(name), Diffusion(0.9)
    index = DiffusionIndex(n_entries=5, dtype=dtype).build(graph, filter=filter)
    K = exact_columns(graph, filter)
    rng = np.random.default_rng(8)
    candidates, seeds = rng.integers(graph.n_nodes, size=12), rng.integers(graph.n_nodes, size=4)
    widths = []
    for steps in range(4):
        lower, upper = entry_bounds(index, candidates, seeds, steps=steps)
        assert (lower <= K[np.ix_(candidates, seeds)] + 1e-14).all()
        assert (upper >= K[np.ix_(candidates, seeds)] - 1e-14).all()
        widths.append((upper - lower).sum())
    assert (np.diff(widths) <= 1e-12).all()
    if name == "clusters":  # more nodes than a column holds
        assert widths[3] < 0.75 * widths[0]


def test_all_entries_give_the_conjugate_gradient_answer_and_fewer_never_exceed_it():
    graph, filter = make_graph("clusters"), Diffusion(0.99)
    Y = np.random.default_rng(2).random((150, 4))
    whole = DiffusionIndex(n_entries=150, dtype="float64").build(graph, filter=filter).solve(Y)
    exact = ConjugateGradient.preset("exact").prepare(graph, filter, DiffusionIndex().build(graph).backend).solve(Y)
    np.testing.assert_allclose(whole.scores, exact.scores, atol=1e-6)
    assert whole.converged
    cut = DiffusionIndex(n_entries=30, dtype="float64").build(graph, filter=filter).solve(Y)
    assert (cut.scores <= exact.scores + 1e-7).all()
    assert set(cut.status) == {Status.APPROXIMATE}
    assert (np.abs(cut.scores - exact.scores).max(axis=0) <= cut.error_bound).all()


@st.composite
def queries(draw):
    """A random graph, an index of any width and precision, seeds, a cut, and a degree exponent."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(2, 40))
    W = np.triu(rng.random((n, n)) * (rng.random((n, n)) < draw(st.floats(0.02, 0.5))), 1)
    if draw(st.booleans()):  # equal weights: many exact ties
        W = (W > 0).astype(float)
    width, dtype, rtol = (
        draw(s) for s in (st.integers(1, n + 3), st.sampled_from(DTYPES), st.sampled_from([1e-2, 1e-8]))
    )
    nodes = np.sort(rng.choice(n, size=draw(st.integers(1, min(n, 6))), replace=False))
    return (
        graph_from_affinity(W + W.T),
        DiffusionIndex(n_entries=width, dtype=dtype, rtol=rtol),
        Diffusion(draw(st.floats(0, 0.995))),
        nodes,
        rng.random(nodes.size) + 1e-3,
        draw(st.integers(1, n)),
        draw(st.sampled_from([0, 0.5])),
    )


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(queries())
def test_a_shortlist_never_lies(query):
    graph, index, filter, nodes, weights, k, exponent = query
    n = graph.n_nodes
    scale = np.where(graph.degrees > 0, graph.degrees, 1.0) ** -exponent
    y = np.zeros(n)
    y[nodes] = weights
    exact = scale * dense_scores(graph.astype(np.float64), y, filter)
    columns = index.build(graph, filter=filter)
    for look in (columns.shortlist, partial(_refine.refine, columns)):
        found = look(nodes, weights, k=k, scale=scale if exponent else None)
        others = np.setdiff1d(np.arange(n), found.rows)
        assert found.rows.size <= k
        assert exact[found.rows].min(initial=np.inf) >= found.lower * (1 - 1e-9) - 1e-12
        assert exact[others].max(initial=0) <= found.outside * (1 + 1e-9) + 1e-12
    # `found` is the refined one: whole, and undecided at most where the cut goes through a tie
    assert found.rows.size == k
    assert found.outside <= found.lower * (1 + 1e-6) + 1e-12


@pytest.mark.parametrize("alpha", [2.3e-309, 1e-300, 0.0])
def test_entries_too_small_for_normal_numbers_are_bounded_too(alpha):
    graph = make_graph("path")
    index, everyone = DiffusionIndex(n_entries=1).build(graph, filter=Diffusion(alpha)), np.arange(graph.n_nodes)
    for steps in range(4):
        lower, upper = entry_bounds(index, everyone, everyone, steps=steps)
        assert (lower <= exact_columns(graph, Diffusion(alpha)) + 1e-15).all()
        assert (upper >= (everyone[:, None] == everyone) - 1e-15).all()
        between = upper[0, 1]  # K_01 = alpha S_01 to the first order
        assert alpha * 0.4 <= between <= (1e-7 if steps == 0 else 2 * alpha + 1e-300 * (alpha > 0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 6, 40, 500])  # the last holds all entries: what is left is rounding
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("name", ["clusters", "disconnected", "isolated nodes", "star", "huge weight range"])
def test_what_a_residual_says_of_scores_holds_for_any_scores(name, alpha, width, dtype):
    """Whatever is added to the scores, by fresh and by updated residuals, each bound covers the exact score."""
    graph, filter = make_graph(name), Diffusion(alpha)
    rtol = 1e-4 if width < graph.n_nodes else 1e-13
    columns = DiffusionIndex(n_entries=width, dtype=dtype, rtol=rtol).build(graph, filter=filter)
    rng = np.random.default_rng(4)
    everyone = np.arange(graph.n_nodes)
    nodes, weights = np.sort(rng.choice(graph.n_nodes, 5, replace=False)), rng.random(5)
    exact = exact_columns(graph, filter)[:, nodes] @ weights
    query = _refine._Query(columns, nodes, weights, scale=None, left_out=None)
    places = query.system.places(everyone)
    for length in (np.inf, 0.0, np.inf, np.inf):  # the residual is updated, then computed afresh
        off = (query.x + query.r)[places] - exact
        assert (np.abs(off) <= query._bound(places) * (1 + 1e-9) + 1e-14).all()
        lower, upper = query._by_own_columns(everyone)
        assert (lower <= exact * (1 + 1e-9) + 1e-14).all()
        assert (exact <= upper * (1 + 1e-9) + 1e-14).all()
        wrong = np.zeros(graph.n_nodes)  # within the components of the seeds, as every correction is
        wrong[places] = query.reached[places] * rng.standard_normal(graph.n_nodes) * exact.max()
        query.add(wrong.astype(np.float32).astype(np.float64), length=length)


@pytest.mark.parametrize(
    ("alpha", "width", "dtype"), [(0.8, 12, "float16"), (0.9, 12, "float32"), (0.99, 40, "float32")]
)
def test_a_refinement_is_exact(alpha, width, dtype):
    rng = np.random.default_rng(5)
    graph = build_graph(np.cumsum(rng.standard_normal((1500, 6)), axis=0), 8, metric="euclidean", edges="union")
    columns = DiffusionIndex(n_entries=width, dtype=dtype).build(graph, filter=Diffusion(alpha), n_jobs=2)
    Y = np.zeros((1500, 10))
    for y in Y.T:
        y[rng.choice(1500, 5, replace=False)] = rng.random(5)
    exact = diffuse(graph.astype(np.float64), Y, filter=Diffusion(alpha), solver="direct").scores
    for y, f in zip(Y.T, exact.T, strict=True):
        nodes = np.flatnonzero(y)
        found = _refine.refine(columns, nodes, y[nodes], k=50, left_out=LeftOut(nodes[:1]))
        f[nodes[0]] = -1
        assert found.outside <= found.lower
        assert set(found.rows) == set(np.argsort(-f)[:50])
        allowed, off = rng.random(1500) < 0.05, rng.choice([0.0, 1e-4, 0.1]) * rng.standard_normal(1500)
        start = (np.maximum(f, 0) + off).astype(np.float32)  # of some other solve, and as exact
        some = _refine.refine(columns, nodes, y[nodes], k=9, left_out=LeftOut(nodes[:1], allowed), start=start)
        assert some.outside <= some.lower
        assert set(some.rows) == set(np.argsort(np.where(allowed, -f, np.inf))[:9])


def test_columns_built_on_a_device_are_refined_on_the_host():
    graph, rng = make_graph("clusters"), np.random.default_rng(6)
    ours, theirs = (DiffusionIndex(n_entries=6).build(graph, backend=b) for b in ("scipy", StrictBackend()))
    for _ in range(5):
        nodes, weights = np.sort(rng.choice(graph.n_nodes, 4, replace=False)), rng.random(4)
        a, b = (_refine.refine(columns, nodes, weights, k=20) for columns in (ours, theirs))
        assert a.outside <= a.lower
        assert set(a.rows) == set(b.rows)


@pytest.mark.parametrize("alpha", [0.9, 0.99])
@pytest.mark.parametrize("solver", ["cg", "index", DiffusionIndex(n_entries=20, dtype="float16")])
@pytest.mark.parametrize("exponent", [0.0, 0.5])
@pytest.mark.parametrize("k", [1, 10, 60, 10_000])
def test_slack_zero_certifies_every_ranking_and_it_is_the_direct_one(manifolds, solver, alpha, exponent, k):
    X, Q = manifolds
    options = {"preset": "plain-diffusion", "alpha": alpha, "degree_exponent": exponent}
    exact = ManifoldSearch(solver="direct", **options).fit(X.astype(np.float64))
    ranking = ManifoldSearch(solver=solver, **options).fit(X).search(Q, k, slack=0.0)
    assert (ranking.certified | ranking.tied).all()
    reference = exact.search(Q, k)
    for j in range(len(Q)):
        if ranking.certified[j]:
            assert set(ranking.ids[j]) == set(reference.ids[j])
        else:  # the same scores, whichever of the equal items were taken
            np.testing.assert_allclose(np.sort(ranking.scores[j]), np.sort(reference.scores[j]), rtol=1e-5)


def test_a_tie_at_the_cut_is_reported_as_one():
    ring = np.roll(np.eye(12), 1, axis=0)
    search = ManifoldSearch(preset="plain-diffusion", n_seeds=1).fit(graph=graph_from_affinity(ring + ring.T))
    ranking = search.similar(0, k=3, slack=0.0)  # neighbours at distance 1, 1, and one of two at distance 2
    assert not ranking.certified[0]
    assert ranking.tied[0]
    assert search.similar(0, k=4, slack=0.0).certified[0]


def test_slack_asked_for_is_slack_proved(manifolds):
    X, Q = manifolds
    search = ManifoldSearch(preset="plain-diffusion", alpha=0.99, solver=DiffusionIndex(n_entries=48)).fit(X)
    loose = search.search(Q, 30)
    assert loose.slack.max() > 0.05
    ranking = search.search(Q, 30, slack=0.05)
    assert ranking.slack.max() <= 0.05
    enough = loose.slack <= 0.05
    assert 0 < enough.sum() < len(Q)
    np.testing.assert_array_equal(ranking.scores[enough], loose.scores[enough])  # only the others were solved on
    rescued = np.flatnonzero(ranking.diagnostics.n_iter)
    assert np.isfinite(ranking.diagnostics.residual[rescued]).all()
    with pytest.raises(ValueError, match="slack must be at least 0"):
        search.search(Q, 30, slack=-1.0)


@pytest.mark.parametrize("solver", ["cg", "index"])
def test_rerank_and_similar_certify_too(manifolds, solver):
    X, Q = manifolds
    search = ManifoldSearch(preset="plain-diffusion", solver=solver).fit(X)
    exact = ManifoldSearch(preset="plain-diffusion", solver="direct").fit(X)
    similarities = (Q / np.linalg.norm(Q, axis=1)[:, None]) @ (X / np.linalg.norm(X, axis=1)[:, None]).T
    shortlist = np.argsort(-similarities, axis=1)[:, :50]
    values = np.take_along_axis(similarities, shortlist, axis=1)
    for candidates in ("shortlist", "all"):
        ours = search.rerank(shortlist, values, 10, candidates=candidates, slack=0.0)
        reference = exact.rerank(shortlist, values, 10, candidates=candidates)
        assert (ours.certified | ours.tied).all()
        for j in np.flatnonzero(ours.certified):
            assert set(ours.ids[j]) == set(reference.ids[j])
    items = np.arange(0, len(X), 7)
    ours, reference = search.similar(items, 10, slack=0.0), exact.similar(items, 10)
    assert not (ours.ids == items[:, None]).any()
    for j in np.flatnonzero(ours.certified):
        assert set(ours.ids[j]) == set(reference.ids[j])


def test_an_index_and_a_solve_rank_alike_where_both_are_exact(manifolds):
    X, Q = manifolds
    by_solve, by_index = (ManifoldSearch(preset="plain-diffusion", solver=solver).fit(X) for solver in ("cg", "index"))
    a, b = (search.search(Q, 20, slack=0.0) for search in (by_solve, by_index))
    both = a.certified & b.certified
    assert both.mean() > 0.9
    for j in np.flatnonzero(both):
        assert set(a.ids[j]) == set(b.ids[j])
    np.testing.assert_allclose(a.scores[both], b.scores[both], rtol=0.05)


def test_memory_is_forecast_and_refused_before_the_work(monkeypatch):
    graph = make_graph("clusters")
    for dtype in DTYPES:
        index = DiffusionIndex(n_entries=32, dtype=dtype)
        assert index.build(graph).nbytes == index.memory_forecast(150)
    monkeypatch.setattr("manifold._resources.available_memory", lambda: 1000)
    with pytest.raises(MemoryBudgetError, match=r"an index of 150 nodes needs about .* lower n_entries"):
        DiffusionIndex().build(graph)


def test_progress_and_refusals():
    graph, seen = make_graph("clusters"), []
    DiffusionIndex(n_entries=4).build(graph, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(min(done, 150), 150) for done in range(16, 160 + 1, 16)]
    for filter in (Heat(3.0), RegularizedDiffusion(0.9)):
        with pytest.raises(ValueError, match=f"{type(filter).__name__}.* is not"):
            DiffusionIndex().build(graph, filter=filter)
    with pytest.raises(ValueError, match="dtype must be one of"):
        DiffusionIndex(dtype="int8")
    with pytest.raises(ValueError, match="n_entries must be at least 1"):
        DiffusionIndex(n_entries=0)


def test_intervals_decide_only_what_they_prove():
    bounds = Intervals(np.array([4, 2, 9]), np.array([0.2, 0.5, 0.1]), np.array([0.3, 0.6, 0.25]), unseen=0.15)
    cut = bounds.cut(2)
    assert cut.rows.tolist() == [2, 4]
    assert (cut.lower, cut.outside) == (0.2, 0.25)
    assert bounds.contested(cut).tolist() == [0, 2]
    narrower = bounds.narrowed(np.array([2]), np.array([0.0]), np.array([0.18])).cut(2)
    assert narrower.outside == 0.18 < narrower.lower
    assert bounds.without(LeftOut(np.array([2]))).cut(1).rows.tolist() == [4]
    assert bounds.cut(7).rows.size == 3


def test_refinement_that_cannot_help_says_so():
    """A float32 graph's columns are exact in float64, so rankings reach slack 0 though a float32 solve breaks down."""
    X, _ = datasets.digits()
    search = ManifoldSearch(preset="plain-diffusion", solver=ConjugateGradient(rtol=1e-12)).fit(X[:300])
    assert search.graph_.dtype == np.float32
    with pytest.warns(ConvergenceWarning, match="BREAKDOWN"):
        first = search.search(X[300:340], 100)
    assert not first.certified.all()
    search = search.with_settings(on_failure="ignore")
    assert search.search(X[300:340], 100, slack=0.0).certified.all()


def equal_columns(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("ids", "values", "tail", "error"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["clusters", "disconnected", "star"])
def test_a_narrower_index_is_cut_from_a_wider_one(name, dtype):
    graph = make_graph(name)
    wide = DiffusionIndex(n_entries=30, dtype=dtype).build(graph)
    narrow, built = wide.first(4), DiffusionIndex(n_entries=4, dtype=dtype).build(graph)
    np.testing.assert_array_equal(np.sort(narrow.values, axis=1), np.sort(built.values, axis=1))
    np.testing.assert_allclose(narrow.tail, built.tail, rtol=2e-3, atol=1e-7)
    K = exact_columns(graph, Diffusion())
    for j in range(graph.n_nodes):
        assert np.delete(K[:, j], narrow.ids[j]).max(initial=0) <= narrow.tail[j] + 1e-14
    assert wide.first(64) is wide


def test_threads_change_no_bit():
    graph = make_graph("clusters")
    one, three = (DiffusionIndex(n_entries=16).build(graph, n_jobs=jobs) for jobs in (1, 3))
    assert equal_columns(one, three)


def test_a_build_that_was_stopped_goes_on_with_the_same_result(tmp_path):
    graph, index = make_graph("clusters"), DiffusionIndex(n_entries=16)
    whole = index.build(graph)

    def stop(done, total):
        if done >= 96:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.build(graph, checkpoint=tmp_path / "state", progress=stop)
    blocks = []
    resumed = index.build(graph, checkpoint=tmp_path / "state", progress=lambda done, total: blocks.append(done))
    assert blocks == [112, 128, 144, 150]
    assert equal_columns(whole, resumed)
    assert isinstance(resumed.values, np.memmap)
    again = index.build(graph, checkpoint=tmp_path / "state", progress=lambda *_: pytest.fail("all was done"))
    assert equal_columns(whole, again)
    shortlists = [columns.shortlist(np.array([3, 70]), np.array([1.0, 0.5]), 5) for columns in (whole, again)]
    assert shortlists[0].rows.tolist() == shortlists[1].rows.tolist()


def test_a_checkpoint_of_another_build_is_refused(tmp_path):
    graph = make_graph("clusters")
    DiffusionIndex(n_entries=8).build(graph, checkpoint=tmp_path / "state")
    for other in (
        lambda: DiffusionIndex(n_entries=9).build(graph, checkpoint=tmp_path / "state"),
        lambda: DiffusionIndex(n_entries=8).build(graph, filter=Diffusion(0.5), checkpoint=tmp_path / "state"),
        lambda: DiffusionIndex(n_entries=8).build(make_graph("ring"), checkpoint=tmp_path / "state"),
    ):
        with pytest.raises(ValueError, match="belongs to another build"):
            other()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match="is not empty and holds no build"):
        DiffusionIndex(n_entries=8).build(graph, checkpoint=tmp_path / "full")
    assert (tmp_path / "full" / "thesis.txt").read_text() == "precious"


def test_killed_builds_resume(tmp_path):
    """The process dies at once, without a word, after its second block."""
    code = (
        "import os, sys, numpy as np; from manifold import *;"
        "X = np.load(sys.argv[1]); graph = build_graph(X, 5);"
        "die = lambda done, total: os.kill(os.getpid(), 9) if done >= 32 else None;"
        "DiffusionIndex(n_entries=8).build(graph, checkpoint=sys.argv[2], progress=die)"
    )
    X = np.random.default_rng(4).standard_normal((120, 6)).astype(np.float32)
    np.save(tmp_path / "X.npy", X)
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "X.npy"), str(tmp_path / "state")], check=False)
    assert killed.returncode == -signal.SIGKILL
    graph, done = build_graph(X, 5), []
    index = DiffusionIndex(n_entries=8)
    resumed = index.build(graph, checkpoint=tmp_path / "state", progress=lambda *p: done.append(p))
    assert done[0][0] == 48
    assert equal_columns(index.build(graph), resumed)


def test_a_saved_index_comes_back_mapped_and_answers_alike(tmp_path, manifolds):
    X, Q = manifolds
    search = ManifoldSearch(preset="plain-diffusion", solver=DiffusionIndex(n_entries=40, dtype="float16")).fit(X)
    columns = search.fitted_.ranker.prepared
    columns.save(tmp_path / "index")
    again = load(tmp_path / "index")
    assert equal_columns(columns, again)
    assert again.filter == columns.filter
    assert isinstance(again.values.base, np.memmap) or isinstance(again.values, np.memmap)
    for item in (0, 5, 40):
        one, two = (c.shortlist(np.array([item]), np.ones(1), 7) for c in (columns, again))
        np.testing.assert_array_equal(one.rows, two.rows)
        assert (one.lower, one.outside) == (two.lower, two.outside)
    loaded = ManifoldSearch(preset="plain-diffusion", solver=again).fit(X, graph=again.graph)
    np.testing.assert_array_equal(loaded.search(Q, 5).ids, search.search(Q, 5).ids)


def test_an_index_of_another_graph_is_refused(manifolds):
    X, _ = manifolds
    columns = DiffusionIndex(n_entries=4).build(build_graph(X[:50]))
    with pytest.raises(ValueError, match="index was built for another graph"):
        ManifoldSearch(preset="plain-diffusion", solver=columns).fit(X)


def test_a_damaged_index_is_refused(tmp_path):
    columns = DiffusionIndex(n_entries=4).build(make_graph("clusters"))
    replace(columns, tail=columns.tail[:7]).save(tmp_path / "short")
    replace(columns, error=-columns.error).save(tmp_path / "negative")
    for name in ("short", "negative"):
        with pytest.raises(CorruptFileError, match="holds no valid index"):
            load(tmp_path / name)


def test_a_pooled_solution_keeps_the_contract_of_columns():
    """Zeros give zeros, NaN spoils its own column alone, one column comes as one, and seeds are left as they were."""
    graph, pooling = make_graph("ring"), sparse.csr_array(np.kron(np.eye(4), [[0.5, 0.5]]))
    index = DiffusionIndex(n_entries=2).build_pooled(graph, pooling)
    seeds = np.zeros((8, 3))
    seeds[0, :2] = 1, np.nan
    kept = seeds.copy()
    solution = index.solve(seeds)
    np.testing.assert_array_equal(seeds, kept)
    assert [status.name for status in solution.status] == ["APPROXIMATE", "NONFINITE", "CONVERGED"]
    assert np.isnan(solution.scores[:, 1]).all()
    assert not solution.scores[:, 2].any()
    assert solution.error_bound[1:].tolist() == [np.inf, 0]
    exact = pooling @ diffuse(graph, seeds[:, 0], solver="direct").scores
    assert (np.abs(solution.scores[:, 0] - exact) <= solution.error_bound[0]).all()
    alone = index.solve(seeds[:, 0])
    assert alone.scores.shape == (4,)
    np.testing.assert_array_equal(alone.scores, solution.scores[:, 0])
