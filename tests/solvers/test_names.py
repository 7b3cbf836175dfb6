"""The table of solvers: its names are those of solutions, errors and docs, and flags say what each solver is."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from cases import SOLVERS as CASES
from cases import make_graph

import manifold
from manifold import Diffusion, Heat, LowPass, diffuse
from manifold.backends import get_backend
from manifold.index import DiffusionIndex, PooledColumns, StoredColumns
from manifold.solvers import SOLVERS, ConjugateGradient, check_solver, get_solver

PACKAGE = Path(manifold.__file__).parent
RING = make_graph("ring")
FIRST = np.eye(RING.n_nodes)[:, 0]


def serves(name, filter):
    return {case.name: case.serves for case in CASES}[name](filter)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solution_is_signed_with_the_name_in_the_table(name):
    assert diffuse(RING, FIRST, solver=name, on_failure="ignore").solver == name


@pytest.mark.parametrize("name", SOLVERS)
def test_settings_are_public_by_their_own_name(name):
    kind = SOLVERS[name]
    assert getattr(manifold.solvers, kind.__name__) is kind
    assert kind.__name__ in manifold.solvers.__all__


def test_an_unknown_name_is_answered_with_all_that_are_served():
    with pytest.raises(ValueError, match="got 'gmres'") as met:
        check_solver("gmres")
    assert all(repr(name) in str(met.value) for name in ("auto", *SOLVERS))
    assert "'index'" not in str(met.value)
    with pytest.raises(ValueError, match="'index'"):
        check_solver("gmres", extra=("index",))
    with pytest.raises(ValueError, match="got 'index'"):
        check_solver("index")


@pytest.mark.parametrize("given", [None, 3, ConjugateGradient], ids=["None", "a number", "a class"])
def test_what_is_neither_name_nor_settings_is_refused_at_the_door(given):
    with pytest.raises(TypeError, match=r"solver must be a name or settings"):
        get_solver(given, RING, Diffusion())


@pytest.mark.parametrize("filter", [Heat(2.0), LowPass(0.5)], ids=["no pole", "a step"])
@pytest.mark.parametrize("name", SOLVERS)
def test_a_refused_filter_is_refused_in_the_name_of_the_table(name, filter):
    if not serves(name, filter):
        with pytest.raises(ValueError, match=f"solver '{name}' needs a .* filter, {re.escape(str(filter))}"):
            SOLVERS[name]().prepare(RING, filter, get_backend())


def test_the_docs_of_the_step_name_all_solvers_that_serve_it():
    assert set(re.findall(r'"(\w+)"', LowPass.__doc__)) == {name for name in SOLVERS if serves(name, LowPass(0.5))}


def test_cures_name_solvers_that_there_are():
    for path in PACKAGE.rglob("*.py"):
        named = re.findall(r"use (?:\S+, or )?solver='(\w+)'", path.read_text())
        assert set(named) <= {"auto", *SOLVERS}, path


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_is_neither_offline_nor_of_columns(name):
    prepared = SOLVERS[name]().prepare(RING, Diffusion(), get_backend())
    assert not any((SOLVERS[name].is_offline, prepared.holds_columns, prepared.is_pooled))


def test_an_index_is_offline_and_holds_columns():
    columns = DiffusionIndex().build(RING)
    assert DiffusionIndex.is_offline
    assert columns.is_offline
    assert columns.holds_columns
    assert not columns.is_pooled
    assert columns.shortlist(np.array([0]), np.ones(1), 1).rows.tolist() == [0]
    assert PooledColumns.is_offline
    assert PooledColumns.holds_columns
    assert PooledColumns.is_pooled
    assert not StoredColumns.is_pooled
