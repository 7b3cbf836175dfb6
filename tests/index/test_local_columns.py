"""An index of columns that were solved where they touch the graph: as certain as one of columns solved on all of it."""

import numpy as np
import pytest
from cases import dense_scores, make_graph
from scipy import sparse

from manifold import Diffusion, DiffusionIndex, Heat, ManifoldSearch, datasets, graph_from_affinity, load
from manifold.errors import MemoryBudgetError
from manifold.index import updated_columns

GRAPHS = ["clusters", "disconnected", "isolated nodes", "star", "huge weight range"]


def surfaces(n=1500):
    X, _ = datasets.view_manifolds(12, n // 15, n // 5, dim=16, rng=7)
    return X


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("width", [1, 5, 1000])
@pytest.mark.parametrize("name", GRAPHS)
def test_stored_entries_and_tails_hold_the_exact_columns(name, width, alpha, dtype):
    graph, filter = make_graph(name), Diffusion(alpha)
    columns = DiffusionIndex(width, dtype=dtype, solver="local").build(graph, filter=filter)
    n = graph.n_nodes
    K = dense_scores(graph.astype(np.float64), np.eye(n), filter)
    ids = columns.ids.astype(np.int64)
    stored = np.take_along_axis(K, ids, axis=1)
    assert (np.diff(ids, axis=1) > 0).all()
    doubt = columns.error[:, None] + 2 * np.finfo(dtype).eps * stored + 1e-14
    assert (np.abs(columns.values.astype(np.float64) - stored) <= doubt).all()
    left = K.copy()
    np.put_along_axis(left, ids, 0.0, axis=1)
    assert (left.max(axis=1) <= columns.tail + 1e-14).all()
    if name != "huge weight range":  # where rounding sets the errors: else far below the least entry kept, or rtol
        least = np.min(columns.values, axis=1, initial=np.inf, where=columns.values > 0).astype(np.float64)
        worth = np.maximum(least / 2000, 1e-8 * (1 - alpha)) + 1e-11 + float(np.finfo(dtype).smallest_subnormal)
        assert (columns.error <= worth).all()
    if width >= n:
        assert (columns.tail == 0).all()


def test_it_certifies_what_an_index_of_whole_solves_certifies():
    X = surfaces()
    certified = {}
    for solver in ("cg", "local"):
        search = ManifoldSearch(preset="plain-diffusion", n_neighbors=10, solver=DiffusionIndex(40, solver=solver)).fit(
            X[:-200]
        )
        ranking = search.search(X[-200:], k=10)
        certified[solver] = ranking.certified.mean()
        exact = (
            ManifoldSearch(preset="plain-diffusion", n_neighbors=10, solver="direct")
            .fit(X[:-200], graph=search.graph_)
            .search(X[-200:], k=10)
        )
        for j in np.flatnonzero(ranking.certified & exact.certified):
            assert set(ranking.ids[j]) == set(exact.ids[j])
        assert search.search(X[-200:], k=10, slack=0).certified.mean() > 0.95
    assert certified["cg"] - 0.03 <= certified["local"] > 0.3


def test_threads_change_no_bit_and_neither_does_company():
    graph = ManifoldSearch(preset="plain-diffusion", n_neighbors=8, solver="cg").fit(surfaces()).graph_
    settings = DiffusionIndex(30, solver="local")
    one, two = (settings.build(graph, n_jobs=n_jobs) for n_jobs in (1, 3))
    for name in ("ids", "values", "tail", "error"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()


def test_work_follows_what_columns_touch_not_the_graph():
    from manifold.index._local_columns import LocalColumns

    edges = []
    for n in (2_000, 20_000):
        ring = sparse.diags_array((np.ones(n - 1), np.ones(n - 1)), offsets=(-1, 1), format="csr")
        solver = LocalColumns(graph_from_affinity(ring), Diffusion(0.9), n_entries=20, rtol=1e-8)
        solver.solve(np.arange(1_000, 1_016), dtype="float32")
        edges.append(solver._free.get().edges)
    assert edges[0] == edges[1] < 20_000


def test_it_is_saved_with_a_search_and_follows_it(tmp_path):
    X = surfaces()
    search = ManifoldSearch(preset="plain-diffusion", n_neighbors=8, solver=DiffusionIndex(40, solver="local")).fit(
        X[:500]
    )
    search.add(X[500:550])
    search.remove([3, 4])
    again = load(search.save(tmp_path / "search"))
    assert again.fitted_.settings.solver == DiffusionIndex(40, solver="local")
    kept = np.delete(np.arange(550), [3, 4])
    exact = (
        ManifoldSearch(preset="plain-diffusion", n_neighbors=8, solver="direct")
        .fit(X[kept], ids=kept)
        .search(X[550:650], k=10, slack=0)
    )
    for asked in (search, again):
        ranking = asked.search(X[550:650], k=10, slack=0)
        assert (ranking.certified & exact.certified).mean() > 0.9
        for j in np.flatnonzero(ranking.certified & exact.certified):
            assert set(ranking.ids[j]) == set(exact.ids[j])


def test_progress_and_refusals(tmp_path, monkeypatch):
    graph, settings = make_graph("clusters"), DiffusionIndex(5, solver="local")
    seen = []
    settings.build(graph, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (graph.n_nodes,) * 2
    with pytest.raises(ValueError, match="one resolvent"):
        settings.build(graph, filter=Heat(2.0))
    with pytest.raises(ValueError, match="leave backend and checkpoint"):
        settings.build(graph, checkpoint=tmp_path / "x")
    with pytest.raises(ValueError, match="solver must be 'auto', 'cg' or 'local', got 'global'"):
        DiffusionIndex(solver="global")
    with pytest.raises(ValueError, match=r"columns of images .*leave both out"):
        settings.build_pooled(graph, sparse.eye_array(graph.n_nodes, format="csr"))
    monkeypatch.setattr("manifold._resources.available_memory", lambda: 1000)
    with pytest.raises(MemoryBudgetError, match=r"an index of \d+ nodes.*lower n_entries or n_jobs"):
        settings.build(graph)


def test_columns_follow_a_change_without_a_solve_of_the_whole_graph(monkeypatch):
    n = 400
    ring = sparse.diags_array((np.ones(n - 1), np.ones(n - 1)), offsets=(-1, 1), format="lil")
    before, filter = graph_from_affinity(ring.tocsr()), Diffusion(0.5)
    index = DiffusionIndex(12, solver="local", dtype="float64").build(before, filter=filter)
    ring[0, n - 1] = ring[n - 1, 0] = 2.0
    graph = graph_from_affinity(ring.tocsr())
    monkeypatch.setattr("manifold.index._column_solver.ColumnSolver.solve", None)
    changed = updated_columns(index, graph, np.arange(n))
    worn = np.flatnonzero(changed.stale)
    assert 4 < worn.size < 60
    changed.renew(worn)
    K = dense_scores(graph.astype(np.float64), np.eye(n), filter)
    ids, values, tail, error = changed.held(np.arange(n))
    stored = np.take_along_axis(K, ids.astype(np.int64), axis=1)
    assert (np.abs(values - stored) <= error[:, None] + 1e-14).all()
    assert error[worn].max() < 1e-3 * values.min()
    np.put_along_axis(K, ids.astype(np.int64), 0.0, axis=1)
    assert (K.max(axis=1) <= tail + 1e-14).all()
