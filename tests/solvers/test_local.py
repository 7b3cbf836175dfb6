"""Local solves: lists that are proved, beside dense solves; what they touch; what they hand over."""

from __future__ import annotations

import numpy as np
import pytest
from cases import GRAPHS, adjacency, dense_scores, make_graph
from scipy import sparse

from manifold import Diffusion, Heat, RegularizedDiffusion, diffuse, graph_from_affinity
from manifold.backends import get_backend
from manifold.solvers import ConjugateGradient, Local, Status

FILTERS = (Diffusion(0.0), Diffusion(0.5), Diffusion(0.99), RegularizedDiffusion(0.9))


def lists(graph, filter, scale=None, **settings):
    return Local(**settings).prepare(graph, filter, get_backend()).lists(scale)


def long_path(n=20_000):
    return graph_from_affinity(sparse.diags_array((np.ones(n - 1), np.ones(n - 1)), offsets=(-1, 1)))


@pytest.mark.parametrize("filter", FILTERS, ids=str)
@pytest.mark.parametrize("name", [name for name in GRAPHS if name != "empty"])
def test_lists_are_those_of_the_dense_definition(name, filter):
    graph = make_graph(name)
    n, rng = graph.n_nodes, np.random.default_rng(5)
    scale = graph.scale(0.5)
    for k in {1, 2, n // 2 or 1, n}:
        for factors in (None, scale):
            nodes = rng.choice(n, min(n, 3), replace=False)
            weights = rng.uniform(0.1, 1, nodes.size)
            found = lists(graph, filter, factors).best(nodes, weights, k)
            Y = np.zeros((n, 1))
            Y[nodes, 0] = weights
            exact = dense_scores(graph, Y, filter)[:, 0] * (1 if factors is None else factors)
            others = np.delete(exact, found.rows)
            assert found.decided
            assert found.rows.size >= min(k, (exact > 1e-12 * exact.max()).sum())  # rounding hides the others
            assert exact[found.rows].min(initial=np.inf) >= found.lower - 1e-12
            assert others.max(initial=0) <= found.outside + 1e-12
            assert (np.diff(found.scores) <= 0).all()


def test_a_list_costs_the_same_on_a_graph_a_hundred_times_as_large():
    short, long = (lists(long_path(n), Diffusion(0.9)).best([n // 2], [1.0], 10) for n in (2_000, 200_000))
    assert short.decided
    assert long.n_edges == short.n_edges
    assert long.n_touched == short.n_touched < 200


def test_nodes_that_are_left_out_are_not_listed_and_do_not_hide_the_cut():
    of = lists(long_path(), Diffusion(0.9))
    found = of.best([10_000], [1.0], 4, left_out=np.array([10_000, 0]))
    assert sorted(found.rows) == [9_998, 9_999, 10_001, 10_002]
    assert found.outside <= found.lower


def test_ties_are_listed_by_id_and_not_looked_into_for_ever():
    of = lists(long_path(), Diffusion(0.9))
    found = of.best([10_000], [1.0], 2)  # both neighbours score alike
    assert found.rows.tolist() == [10_000, 9_999]
    assert found.decided
    assert 0 < found.outside / found.lower - 1 < 1e-9
    assert found.n_edges < 20_000
    exactly = of.best([10_000], [1.0], 2, slack=0.0)
    assert exactly.decided
    assert exactly.outside - exactly.lower <= found.outside - found.lower


def test_a_slack_that_is_allowed_touches_less():
    of = lists(long_path(), Diffusion(0.99))
    exact, near = of.best([10_000], [1.0], 10), of.best([10_000], [1.0], 10, slack=0.5)  # a tie at the cut
    assert near.outside <= 1.5 * near.lower
    assert near.n_edges < exact.n_edges


def test_a_budget_ends_a_walk_that_fills_the_graph_and_the_bounds_hold():
    rng = np.random.default_rng(3)
    n = 3_000
    upper = sparse.random_array((n, n), density=0.02, rng=rng)
    graph = graph_from_affinity(sparse.csr_array(upper + upper.T))
    found = lists(graph, Diffusion(0.99), max_passes=1e-3).best([0, 1], [1.0, 0.5], 50)
    Y = np.zeros((n, 1))
    Y[:2, 0] = 1, 0.5
    exact = diffuse(graph.astype(np.float64), Y, filter=Diffusion(0.99), solver=ConjugateGradient(1e-12)).scores[:, 0]
    assert not found.decided
    assert exact[found.rows].min() >= found.lower
    assert np.delete(exact, found.rows).max() <= found.outside
    x = np.zeros(n)
    x[found.nodes] = found.x
    assert np.abs(x - exact).max() <= found.error_bound


@pytest.mark.parametrize("filter", [Diffusion(0.99), RegularizedDiffusion(0.99)], ids=str)
def test_what_fills_the_graph_is_handed_to_conjugate_gradients(filter):
    rng = np.random.default_rng(3)
    upper = sparse.random_array((2_000, 2_000), density=0.05, rng=rng)
    graph = graph_from_affinity(sparse.csr_array(upper + upper.T)).astype(np.float64)
    Y = np.eye(2_000)[:, :3]
    handed = diffuse(graph, Y, filter=filter, solver=Local(rtol=1e-8, max_passes=0.01))
    alone = diffuse(graph, Y, filter=filter, solver=Local(rtol=1e-8, max_passes=1e9))
    assert handed.converged
    assert alone.converged
    np.testing.assert_allclose(handed.scores, alone.scores, atol=1e-8)
    assert (handed.n_iter < ConjugateGradient(1e-8).iterations(0.995)).all()


def test_a_start_that_is_the_answer_is_left_as_it_is():
    graph = make_graph("clusters")
    Y = np.eye(graph.n_nodes)[:, :4]
    first = diffuse(graph, Y, solver=Local(rtol=1e-6))
    again = diffuse(graph, Y, solver=Local(rtol=1e-5), x0=first.scores)
    np.testing.assert_array_equal(again.scores, first.scores)
    assert (again.n_iter <= 1).all()  # a pass that looks at it
    with pytest.raises(ValueError, match="x0 needs a filter of one resolvent"):
        diffuse(graph, Y, solver="local", filter=RegularizedDiffusion(), x0=first.scores)


def test_a_callback_sees_residuals_fall_and_ends_the_solve():
    graph, seen = make_graph("clusters"), []
    diffuse(graph, np.eye(150)[:, :2], solver=Local(rtol=1e-6), callback=seen.append)
    of_first = [float(snapshot.residual[0]) for snapshot in seen if snapshot.columns[0] == 0]
    assert of_first[-1] <= 1e-6 < of_first[0]

    def stop(snapshot):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        diffuse(graph, np.eye(150)[:, :2], solver="local", callback=stop)


@pytest.mark.parametrize("settings", [{"rtol": 0}, {"rtol": 1}, {"max_passes": 0}, {"max_passes": np.inf}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match=r"rtol must lie|max_passes must be"):
        Local(**settings)


def test_filters_that_are_no_resolvent_are_refused():
    class Three:
        resolvents = ((0.2, 0.5), (0.2, -0.5), (0.3, 0.4))
        smooth = True

    for filter in (Heat(1.0), Three()):
        with pytest.raises(ValueError, match="solver 'local' needs a"):
            Local().prepare(make_graph("ring"), filter, get_backend())


def test_zero_seeds_and_a_tight_tolerance_in_single_precision():
    graph = graph_from_affinity(adjacency(4, [(0, 1), (1, 2)]))
    solution = diffuse(graph, np.zeros((4, 1)), solver="local")
    assert solution.status == (Status.CONVERGED,)
    assert diffuse(graph, [1.0, 0, 0, 0], solver=Local(rtol=1e-12)).converged  # residuals are of float64
