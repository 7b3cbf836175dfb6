"""Laplacian systems beside dense solves: nodes held at values, and sources that add up to nothing."""

from __future__ import annotations

import numpy as np
import pytest
from cases import GRAPHS, make_graph
from strict_backend import StrictBackend

from manifold.backends import get_backend
from manifold.solvers import ConjugateGradient, Status
from manifold.solvers.laplacian import Laplacian

SETTINGS = ConjugateGradient(rtol=1e-12, max_iter=1000)
# with weights from 1e-12 to 1e12 a dense solve is no reference either
NAMES = [name for name in GRAPHS if name not in ("empty", "one node", "no edges", "duplicates", "huge weight range")]


def dense(graph):
    W = graph.affinity.toarray().astype(np.float64)
    return np.diag(W.sum(axis=1)) - W


@pytest.fixture(params=[get_backend, StrictBackend], ids=["scipy", "strict"])
def backend(request):
    return request.param()


@pytest.mark.parametrize("name", NAMES)
def test_values_of_kept_nodes_solve_their_part_of_the_laplacian(name, backend):
    graph = make_graph(name)
    L, kept = dense(graph), np.zeros(graph.n_nodes, dtype=bool)
    # half of each component is held, so that what is left is regular; isolated nodes have no equation
    for component in range(graph.n_components):
        members = np.flatnonzero(graph.components == component)
        kept[members[: members.size // 2]] = True
    sources = np.random.default_rng(29).standard_normal((graph.n_nodes, 3)) * kept[:, None]
    laplacian = Laplacian.of(graph, backend, kept=kept, settings=SETTINGS)
    solution = laplacian.solve(sources / laplacian.roots)
    u = solution.scores / laplacian.roots
    expected = np.zeros_like(u)
    expected[kept] = np.linalg.solve(L[kept][:, kept], sources[kept])
    scale = np.abs(expected).max()
    np.testing.assert_allclose(u / scale, expected / scale, rtol=0, atol=1e-8)
    assert set(solution.status) == {Status.CONVERGED}


@pytest.mark.parametrize("name", NAMES)
def test_sources_that_add_up_to_nothing_are_met_on_all_nodes(name, backend):
    graph = make_graph(name)
    sources = np.random.default_rng(31).standard_normal((graph.n_nodes, 2))
    for component in range(graph.n_components):
        members = graph.components == component
        sources[members] -= sources[members].mean(axis=0)
    everyone = np.ones(graph.n_nodes, dtype=bool)
    laplacian = Laplacian.of(graph, backend, kept=everyone, settings=SETTINGS)
    u = laplacian.solve(sources / laplacian.roots).scores / laplacian.roots
    np.testing.assert_allclose(dense(graph) @ u, sources, rtol=0, atol=1e-8)


def test_a_column_of_zeros_is_exact_and_of_others_no_bound_is_known():
    graph = make_graph("ring")
    laplacian = Laplacian.of(graph, get_backend(), kept=np.arange(8) > 0, settings=SETTINGS)
    solution = laplacian.solve(np.eye(8)[:, [3, 0]] * [1.0, 0.0])
    assert solution.error_bound.tolist() == [np.inf, 0]
    assert solution.n_iter[1] == 0
    assert not solution.scores[:, 1].any()


def test_without_a_limit_of_iterations_it_is_refused():
    with pytest.raises(ValueError, match=r"settings must have a max_iter, got ConjugateGradient\(rtol=0.001"):
        Laplacian.of(make_graph("ring"), get_backend(), kept=np.ones(8, bool), settings=ConjugateGradient())
