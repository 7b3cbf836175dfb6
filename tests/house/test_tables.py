"""Each table has a row for everything that belongs in it: in the package, in the tests, in the bench."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from dataclasses import is_dataclass
from pathlib import Path

import numpy as np
import pytest
from cases import FIGURES as FIGURE_CASES
from cases import LABELS as LABEL_CASES
from cases import NEIGHBORS as NEIGHBOR_CASES
from cases import SOLVERS as SOLVER_CASES

import manifold as mf
from manifold import index, labels, metrics, neighbors, solvers
from manifold.labels import METHODS as LABEL_METHODS
from manifold.metrics._figures import FIGURES
from manifold.neighbors import METHODS as NEIGHBOR_METHODS
from manifold.solvers import SOLVERS

ROOT = Path(mf.__file__).parents[1]


def classes_with(room, *members):
    """Settings in the files of a room: frozen dataclasses with all of these methods, protocols left out."""
    found = {}
    for path in sorted(Path(room.__file__).parent.glob("*.py")):
        module = importlib.import_module(f"{room.__name__}.{path.stem}" if path.stem != "__init__" else room.__name__)
        for name, made in inspect.getmembers(module, inspect.isclass):
            own = made.__module__ == module.__name__ and is_dataclass(made) and made.__dataclass_params__.frozen
            if own and not name.startswith("_") and all(member in dir(made) for member in members):
                found[name] = made
    return found


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    yield importlib.import_module("bench.cases")
    sys.modules.pop("bench.cases", None)


def test_every_solver_has_a_name_tests_and_a_row_of_the_bench(bench):
    made = classes_with(solvers, "prepare")
    assert set(SOLVERS.values()) == set(made.values()) - {solvers.OnCluster, solvers.Checkpointed}  # which run another
    assert {case.name for case in SOLVER_CASES} == {*SOLVERS, "index"}
    for case in SOLVER_CASES:
        settings = case.exact(np.dtype(np.float64))
        assert type(settings) is SOLVERS.get(case.name, index.DiffusionIndex)
        assert case.loose
    assert {type(settings) for settings, _ in bench.SOLVERS.values()} == {*SOLVERS.values(), index.DiffusionIndex}
    assert set(made) <= set(solvers.__all__)


def test_every_neighbour_method_has_a_name_tests_and_a_row_of_the_bench(bench):
    made = classes_with(neighbors, "search", "memory_forecast")
    assert set(NEIGHBOR_METHODS.values()) == set(made.values())
    assert [case.name for case in NEIGHBOR_CASES] == list(NEIGHBOR_METHODS) == list(bench.NEIGHBORS)
    assert all(type(case.settings) is NEIGHBOR_METHODS[case.name] for case in NEIGHBOR_CASES)


def test_every_label_method_has_a_name_and_a_case():
    made = classes_with(labels, "solve")
    assert set(LABEL_METHODS.values()) == set(made.values())
    assert set(LABEL_CASES) == set(LABEL_METHODS)


@pytest.mark.parametrize("name", LABEL_CASES)
def test_label_methods_on_two_bridged_cliques(name):
    """Two cliques of five, one edge between them, one label in each: everyone has that of the own clique."""
    W = np.kron(np.eye(2), np.ones((5, 5)))
    W[4, 5] = W[5, 4] = 1
    graph = mf.graph_from_affinity(W)
    given = np.full(10, -1)
    given[[0, 9]] = [3, 7]
    result = mf.propagate(graph, given, method=LABEL_CASES[name])
    assert result.labels.tolist() == [3] * 5 + [7] * 5
    assert np.allclose(result.distributions, result.distributions[::-1, ::-1], atol=1e-4)  # the mirror image
    assert result.reached.all()


def test_every_figure_has_a_value_computed_by_hand():
    assert set(FIGURE_CASES) == set(FIGURES)


@pytest.mark.parametrize("row", FIGURE_CASES)
def test_figures_of_one_list(row):
    """The list a b c d e, of which b and d are relevant, as is f, which is not listed."""
    name, value = FIGURE_CASES[row]
    truth = mf.datasets.GroundTruth("one", {"relevant": [["b", "d", "f"]]})
    assert metrics.evaluate([list("abcde")], truth, figures=[name])["all"][name] == pytest.approx(value, abs=1e-12)


def test_every_fault_that_strangers_met_has_tests():
    folder = Path(__file__).parents[1]
    table = (folder / "README.md").read_text().split("## Faults that strangers met")[1]
    rows = re.findall(r"^\| ([a-z].*) \| (`.*`) \|$", table, re.MULTILINE)
    assert len(rows) >= 30
    assert len(rows) == table.count("\n| ") - 2  # all but the head of the table
    assert len({kind for kind, _ in rows}) == len(rows)
    for kind, named in rows:
        pairs = re.findall(r"`(\w+/test_\w+\.py)` `(test_\w+)`", named)
        assert len(pairs) == named.count(", ") + 1, kind
        for file, prefix in pairs:
            assert re.search(rf"^ *def {prefix}", (folder / file).read_text(), re.MULTILINE), (kind, file, prefix)


@pytest.mark.parametrize("name", ["digits", "digits copies", "wine"])
def test_a_set_of_the_bench_is_the_same_whatever_was_made_before(bench, name):
    """Its queries are none of its items, each has something to find, and a harness finds what evaluation finds."""
    sets, grid = (importlib.import_module(f"bench.{part}") for part in ("sets", "grid"))
    made = [*sets.collections(names=[name]), *sets.collections(names=["tumours", name])]
    data, again = (one for one in made if one.name == name)
    for part in ("X", "Q", "relevant"):
        assert np.array_equal(getattr(data, part), getattr(again, part))
    assert data.relevant.any(axis=1).all()
    assert data.purpose == ("item" if data.relevant.sum(axis=1).max() <= 3 else "topic")
    assert not (data.Q[:, None] == data.X[:200]).all(axis=2).any()
    near, _ = grid.nearest(data)
    hits = np.take_along_axis(data.relevant, near, axis=1)
    assert grid.figure_of(hits, data.figure) == pytest.approx(data.quality(near), abs=1e-12)
