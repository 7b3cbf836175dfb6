"""Columns relaxed side by side, beside a dense solve: values, bounds, cost, groups, a workspace used again."""

import numpy as np
import pytest
from cases import rooted_graph
from scipy import sparse

from manifold.backends.column_relaxation import WIDTH, ColumnRelaxation, Entries
from manifold.backends.near_groups import near_groups


def spread(solve, rows, n):
    out = np.zeros((solve.q, n))
    out[:, solve.nodes] = rows
    return out


@pytest.mark.parametrize("a", [0.0, 0.5, 0.95, 0.99])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_are_within_what_is_judged_of_them(a, dtype):
    n = 300
    W, v, S = rooted_graph(n, seed=11, dtype=dtype, octaves=10)
    exact = (1 - a) * np.linalg.inv(np.eye(n) - a * S)
    solve = ColumnRelaxation(Entries.of(W, v, a=a, order=np.arange(n)[::-1]), a=a, w=1 - a)
    for nodes, eps in ((np.arange(16), 1e-4), (np.array([5]), 1e-9), (np.array([299, 5, 8]), 1e-9)):  # 5 is isolated
        solve.start(nodes)
        each = eps * np.linspace(0.1, 1, nodes.size)
        assert solve.relax(eps)
        assert solve.relax(each)
        residual = solve.judge()
        bound = residual[:, None] * v / (1 - a) * (1 + 1e-12)
        np.testing.assert_array_less(np.abs(spread(solve, solve.x, n) - exact[nodes]), bound + 1e-300)
        assert (residual <= each * (1 + 1e-6) + 1e-6 * (1 - a) / v[nodes]).all()


def test_a_budget_ends_early_and_bounds_hold():
    n = 300
    W, v, S = rooted_graph(n, seed=7)
    solve = ColumnRelaxation(Entries.of(W, v, a=0.99), a=0.99, w=0.01)
    solve.start(np.arange(16))
    assert not solve.relax(1e-9, budget=500)
    assert 500 < solve.edges < 530
    bound = solve.judge()
    exact = 0.01 * np.linalg.inv(np.eye(n) - 0.99 * S)[:16]
    assert (np.abs(exact - spread(solve, solve.x, n)) <= bound[:, None] * v / 0.01 * (1 + 1e-12)).all()
    assert solve.relax(1e-9)  # and on from there


def test_the_largest_entries_are_found_whatever_is_passed_over():
    n = 200
    W, v, S = rooted_graph(n, seed=3)
    labels = sparse.csgraph.connected_components(W)[1]
    nodes = np.array([0, 5, 9])
    exact = 0.1 * np.linalg.inv(np.eye(n) - 0.9 * S)[nodes]
    solve = ColumnRelaxation(Entries.of(W, v, a=0.9, order=np.roll(np.arange(n), 7)), a=0.9, w=0.1)
    solve.start(nodes)
    for eps in (1e-7, 1e-13):
        solve.relax(eps)
        solve.judge()
    for k in (1, 7, 200):
        for least in (0.0, 1e-4, 10.0):
            found = solve.largest(k, least=np.full(3, least), labels=labels)
            for row, values in enumerate(exact):
                ids = found.ids[row]
                assert np.unique(ids).size == k
                best = np.sort(values)[::-1]
                np.testing.assert_allclose(np.sort(found.values[row])[::-1], best[:k], atol=1e-11)
                np.testing.assert_allclose(found.values[row], values[ids], atol=1e-11)
                assert found.n_found[row] == min(k, (labels == labels[nodes[row]]).sum())
                if k < found.n_labelled[row]:
                    assert best[k] - 1e-11 <= found.beyond[row] <= max(best[k], least) + 1e-11


def test_what_is_met_beyond_the_first_places_finds_room():
    n = 20_000  # a star: one row of all nodes
    spokes = np.arange(1, n)
    W = sparse.csr_array((np.ones(n - 1), (np.zeros(n - 1, int), spokes)), shape=(n, n))
    W = sparse.csr_array(W + W.T)
    solve = ColumnRelaxation(Entries.of(W, np.sqrt(W.sum(axis=1)), a=0.5), a=0.5, w=1.0)
    found = []
    for _ in range(2):  # a workspace of too few places, and one of enough
        solve.start(np.array([7, 0]))
        for eps in (1e-6, 1e-10):
            assert solve.relax(eps)
            solve.judge()
        found.append(spread(solve, solve.x, n))
    x = found[0]
    assert found[1].tobytes() == x.tobytes()
    np.testing.assert_allclose(x[1, 0], 4 / 3, rtol=1e-6)  # hub: 1 / (1 - a^2); spokes: a / sqrt(n - 1) of it
    np.testing.assert_allclose(x[1, 1:], 2 / 3 / np.sqrt(n - 1), rtol=1e-5)
    np.testing.assert_allclose(x[0, 0], 2 / 3 / np.sqrt(n - 1), rtol=1e-5)


def test_groups_hold_every_node_once_and_near_ones_together():
    rng = np.random.default_rng(1)
    for n in (1, 15, 16, 17, 1000):
        side = int(np.ceil(np.sqrt(n)))
        grid = np.arange(side * side).reshape(side, side)
        pairs = np.concatenate(
            [np.stack([grid[:, 1:], grid[:, :-1]]).reshape(2, -1), np.stack([grid[1:], grid[:-1]]).reshape(2, -1)],
            axis=1,
        )
        pairs = pairs[:, (pairs < n).all(axis=0)]
        W = sparse.csr_array((np.ones(pairs.shape[1]), pairs), shape=(n, n))
        groups = near_groups(sparse.csr_array(W + W.T), rng.permutation(n))
        assert np.array_equal(np.sort(groups), np.arange(n))
    # a grid of 1,000: a compact group of 16 spans about 4 rows and 4 columns, one at random about 30
    spans = [np.ptp(groups[start : start + WIDTH] // side) for start in range(0, 992, WIDTH)]
    assert np.median(spans) <= 8
