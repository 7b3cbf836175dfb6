"""Certificates are never wrong: the hunt, as far as the gate has time for it."""

from __future__ import annotations

import numpy as np
import pytest
from hunt import false_columns, hunt

from manifold import Diffusion, DiffusionIndex, graph_from_affinity


@pytest.mark.filterwarnings("ignore")  # loose solves say that they are
def test_no_certified_list_and_no_column_claims_more_than_long_double_says():
    met, wrong, by = hunt(2000)
    assert met >= 2000
    assert len(by) == 9  # every solver certifies some
    assert not wrong


@pytest.mark.filterwarnings("ignore")
def test_no_list_that_a_local_solve_certifies_claims_more():
    met, wrong, _ = hunt(1000, seed=1, only="local")
    assert met >= 1000
    assert not wrong


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("width", [9, 10, 11, 19])
def test_an_entry_that_a_loose_solve_loses_to_another_component_is_not_denied(width, dtype):
    two_paths = sum(np.kron(np.eye(2), np.diag(np.ones(9), j)) for j in (1, -1))
    graph = graph_from_affinity(two_paths)
    columns = DiffusionIndex(width, rtol=0.1, dtype=dtype).build(graph, filter=Diffusion(0.5))
    assert not false_columns(columns, 0.5).size
    assert not false_columns(columns.first(8), 0.5).size
    held = (columns.values > 0).sum(axis=1)
    assert (columns.tail[held < min(width, 10)] > 0).all()  # of ten entries, what the solve has lost is not denied
