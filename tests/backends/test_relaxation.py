"""Relaxation of residuals beside a dense solve: the invariant, the threshold, the cost, a workspace used again."""

import numpy as np
import pytest
from cases import rooted_graph
from scipy import sparse

from manifold.backends import relaxation
from manifold.backends.filled import Rows, descend, walked
from manifold.backends.relaxation import Relaxation


def spread(solve, values, n):
    out = np.zeros(n)
    out[solve.nodes] = values
    return out


@pytest.mark.parametrize("a", [0.0, 0.5, 0.95, 0.99, -0.9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_residuals_fall_below_the_threshold_and_x_is_the_solution(a, dtype):
    n = 300
    W, v, S = rooted_graph(n, seed=11, dtype=dtype, octaves=10)
    solve = Relaxation(W, v, a=a)
    for seeds in ([0], [5], [7, 8, 9], [3, 3, 250]):  # 5 has no neighbours; 3 is named twice
        b = np.zeros(n)
        np.add.at(b, seeds, 0.5)
        solve.start(np.array(seeds), np.full(len(seeds), 0.5))
        assert solve.relax(1e-10)
        x, r = spread(solve, solve.x, n), spread(solve, solve.r, n)
        assert (np.abs(r) <= 1e-10 * v).all()
        np.testing.assert_allclose(r, b - x + a * S @ x, atol=1e-13)
        np.testing.assert_array_less(np.abs(x - np.linalg.solve(np.eye(n) - a * S, b)), 1.001e-10 / (1 - abs(a)) * v)


def test_a_coarser_threshold_touches_less_and_goes_on_to_the_same():
    W = sparse.diags_array((np.ones(9_999), np.ones(9_999)), offsets=(-1, 1), format="csr")  # a path
    v = np.sqrt(W.sum(axis=1))
    solve, at_once = Relaxation(W, v, a=0.9), Relaxation(W, v, a=0.9)
    touched = []
    solve.start(np.array([5_000]), np.array([0.1]))
    for eps in (1e-3, 1e-6, 1e-9):
        assert solve.relax(eps)
        touched.append(solve.nodes.size)
    assert touched[0] < touched[1] < touched[2] < 200
    assert solve.edges < 20_000
    at_once.start(np.array([5_000]), np.array([0.1]))
    at_once.relax(1e-9)
    assert np.abs(spread(solve, solve.x, 10_000) - spread(at_once, at_once.x, 10_000)).max() < 2e-8


def test_rows_that_are_open_are_solved_more_exactly_without_touching_more():
    W, v, _ = rooted_graph(300, seed=7)
    solve = Relaxation(W, v, a=0.9)
    solve.start(np.array([0]), np.array([1.0]))
    solve.relax(1e-2)
    before = solve.opened.sum()
    assert solve.relax(1e-2, inner=1e-9)
    assert (np.abs(solve.r) <= np.where(solve.opened, 1e-9, 1e-2) * solve.v).all()
    assert before <= solve.opened.sum() < 295


def test_a_budget_ends_early_and_the_invariant_holds():
    W, v, S = rooted_graph(300, seed=7)
    solve = Relaxation(W, v, a=0.99)
    solve.start(np.array([0]), np.array([1.0]))
    assert not solve.relax(1e-9, budget=500)
    assert 500 < solve.edges < 530
    x, r = spread(solve, solve.x, 300), spread(solve, solve.r, 300)
    np.testing.assert_allclose(r, (np.arange(300) == 0) - x + 0.99 * S @ x, atol=1e-13)
    assert solve.relax(1e-9)  # and on from there


def test_what_is_met_beyond_the_first_places_finds_room():
    n = 20_000  # a star: one row of all nodes, and the queue holds them all
    spokes = np.arange(1, n)
    W = sparse.csr_array((np.ones(n - 1), (np.zeros(n - 1, int), spokes)), shape=(n, n))
    W = sparse.csr_array(W + W.T)
    v = np.sqrt(W.sum(axis=1))
    solve = Relaxation(W, v, a=0.5)
    solve.start(np.array([0]), np.array([1.0]))
    assert solve.relax(1e-9)
    assert solve.nodes.size == n
    x = spread(solve, solve.x, n)
    np.testing.assert_allclose(x[0], 4 / 3, rtol=1e-6)  # hub: 1 / (1 - a^2); spokes: a / sqrt(n - 1) of it
    np.testing.assert_allclose(x[1:], 2 / 3 / np.sqrt(n - 1), rtol=1e-6)


@pytest.mark.parametrize("seeds", [[0], [7, 8, 9]])
def test_an_answer_does_not_depend_on_what_the_workspace_has_solved_before(seeds, monkeypatch):
    """Places run out in the middle of a sweep, many times, or never: it goes on where it was."""
    W, v, _ = rooted_graph(300, seed=11)
    found = []
    for places in (4, 1 << 12):
        monkeypatch.setattr(relaxation, "_NODES", places)
        monkeypatch.setattr(relaxation, "_EDGES", places)
        solve = Relaxation(W, v, a=0.95)
        for _ in range(2):  # the second time there is room
            solve.start(np.array(seeds), np.full(len(seeds), 0.5))
            for eps in (1e-2, 1e-5, 1e-9):
                solve.relax(eps)
            found.append((solve.edges, solve.nodes.tolist(), solve.x.tobytes(), solve.r.tobytes()))
    assert found == [found[0]] * 4


def test_what_rounding_hides_is_counted():
    W, v, _ = rooted_graph(200, seed=3, octaves=20)
    solve = Relaxation(W, v, a=0.95)
    solve.start(np.array([0, 1]), np.array([1.0, 0.3]))
    solve.relax(1e-15, budget=10**6)
    hidden = solve.refresh()
    wide = np.longdouble
    exact = W.toarray().astype(wide)
    roots = np.sqrt(exact.sum(axis=1))
    roots[roots == 0] = 1
    x = spread(solve, solve.x, 200).astype(wide)
    b = np.zeros(200, wide)
    b[:2] = 1.0, 0.3
    r = b - x + wide(0.95) * (exact / np.outer(roots, roots)) @ x
    off = np.abs(r[solve.nodes] - solve.r)
    assert off.max() > 0
    assert (off <= hidden).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_passes_over_the_whole_graph_come_to_the_same(weighted):
    n, a = 200, 0.9
    W, v, S = rooted_graph(n, seed=11, dtype=np.float64, octaves=3)
    if not weighted:
        W.data[:] = 1
        v = np.sqrt(np.maximum(W.sum(axis=1), 1))
        S = W.toarray() / np.outer(v, v)
    rates = np.where(np.diff(W.indptr) > 0, a / v**2, 0)
    rows = Rows(W.indptr, W.indices, W.data if weighted else W.data[:0], rates, v**2)
    b = np.where(np.arange(n) < 3, 0.1, 0)
    u, r, q = np.zeros(n), b / v, np.empty(n)
    p, rr = r.copy(), float(b @ b)
    for _ in range(200):
        rr, *_ = descend(rows, u, r, p, q, rr)
    exact = np.linalg.solve(np.eye(n) - a * S, b) / v
    np.testing.assert_allclose(u, exact, rtol=0, atol=1e-12 * exact.max())
    rough = exact * 1.001
    up, down, _ = walked(rows, b / v, rough, r, q)
    assert (exact - rough <= up / (1 - a)).all()
    assert (rough - exact <= down / (1 - a)).all()
