"""Modes: by hand, and against their definition."""

from __future__ import annotations

import numpy as np
import pytest

from manifold import discovery, graph_from_affinity


def edges(n, *weighted):
    W = np.zeros((n, n))
    for i, j, w in weighted:
        W[i, j] = W[j, i] = w
    return graph_from_affinity(W)


def test_ties_of_the_smaller_id():
    """Degrees 3, 1, 1, 3, 2.5, .5: 0 and 3 tie, so that neither is strictly the largest."""
    plateau = edges(6, (0, 1, 1), (0, 2, 1), (0, 3, 1), (3, 4, 2), (4, 5, 0.5))
    assert plateau.degrees.tolist() == [3, 1, 1, 3, 2.5, 0.5]
    assert discovery.graph_modes(plateau, hops=1, strict=True).tolist() == []
    assert discovery.graph_modes(plateau, hops=1).tolist() == [0]
    higher = edges(6, (0, 1, 1.5), (0, 2, 1), (0, 3, 1), (3, 4, 2), (4, 5, 0.5))
    for strict in (False, True):
        assert discovery.graph_modes(higher, hops=1, strict=strict).tolist() == [0]


@pytest.mark.parametrize("hops", [1, 2, 4])
@pytest.mark.parametrize("strict", [False, True])
def test_modes_are_those_of_the_definition(hops, strict, rng):
    for _ in range(20):
        n = int(rng.integers(3, 40))
        W = np.triu((rng.random((n, n)) < 0.1) * rng.integers(1, 4, size=(n, n)), 1)
        graph = graph_from_affinity(W + W.T)
        d = graph.degrees
        near = np.linalg.matrix_power(np.eye(n) + (graph.affinity.toarray() > 0), hops) > 0
        found = [
            i
            for i in range(n)
            if d[i] > 0
            and all(d[j] < d[i] or (not strict and d[j] == d[i] and j > i) for j in np.flatnonzero(near[i]) if j != i)
        ]
        assert discovery.graph_modes(graph, hops=hops, strict=strict).tolist() == sorted(
            found, key=lambda i: (-d[i], i)
        )


def test_no_edge_has_no_mode():
    assert discovery.graph_modes(graph_from_affinity(np.zeros((3, 3)))).size == 0
    assert discovery.graph_modes(graph_from_affinity(np.zeros((0, 0)))).size == 0
