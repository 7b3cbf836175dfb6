"""The public names: each is found by a fresh process, and each that has moved warns and is the same object."""

from __future__ import annotations

import subprocess
import sys

import pytest

import manifold
from manifold.errors import ManifoldDeprecationWarning

MOVED = manifold._MOVED


@pytest.fixture(scope="module")
def found():
    """What a process answers that has imported nothing before a name: the type of each, in order."""
    code = """
import subprocess, sys
import manifold as mf
for name in sys.argv[1:]:
    for loaded in [part for part in sys.modules if part.startswith("manifold.")]:
        del sys.modules[loaded]
        vars(mf).pop(loaded.split(".")[1], None)
    vars(mf).pop(name, None)
    print(name, type(getattr(mf, name)).__name__)
"""
    out = subprocess.run([sys.executable, "-c", code, *manifold.__all__], capture_output=True, text=True, check=True)
    return dict(line.split() for line in out.stdout.splitlines())


@pytest.mark.parametrize("name", manifold.__all__)
def test_a_name_is_found_first_thing(found, name):
    assert found[name] == type(getattr(manifold, name)).__name__


@pytest.mark.parametrize("room", ["solvers", "index", "errors", "reranking"])
def test_a_room_is_there_in_a_fresh_process(room):
    code = f"import manifold as mf; print(mf.{room}.__name__)"
    out = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == f"manifold.{room}"


@pytest.mark.parametrize("name", MOVED)
def test_a_name_that_has_moved_warns_and_is_the_same(name):
    room = MOVED[name].removeprefix("manifold.")
    with pytest.warns(ManifoldDeprecationWarning, match=f"manifold.{name} is {MOVED[name]}.{name} now") as met:
        old = getattr(manifold, name)
    assert old is getattr(getattr(manifold, room), name)
    assert met[0].filename == __file__
    assert name not in manifold.__all__
    assert name not in dir(manifold)


def test_solvers_have_moved_to_their_room():
    since = {"Local"}  # has never been anywhere else
    assert {kind.__name__ for kind in manifold.solvers.SOLVERS.values()} - since <= set(MOVED)


def test_an_unknown_name_is_none():
    with pytest.raises(AttributeError, match="module 'manifold' has no attribute 'Gmres'"):
        _ = manifold.Gmres


def test_dir_lists_the_public_names():
    assert set(manifold.__all__) <= set(dir(manifold))
    assert len(set(manifold.__all__)) == len(manifold.__all__)
