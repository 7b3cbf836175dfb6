"""Settings as JSON: what comes back is equal, and a file names no class but those of its reader's table."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

import manifold as mf
from manifold.solvers import SOLVERS
from manifold.storage.settings import by_name, from_json, to_json


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5


@dataclass(frozen=True)
class Outer:
    inner: Inner | None = None
    steps: tuple[int, ...] = (1, 2)


CLASSES = by_name(Inner, Outer)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -(2**70),
        0.1,
        "żółć",
        (1, (2.5, "a"), ()),
        {"a": {"b": None}},
        Outer(),
        Outer(Inner(1e-300), ()),
        {"solver": Inner(), "more": (Outer(Inner()),)},
    ],
    ids=lambda value: type(value).__name__,
)
def test_settings_come_back_equal_through_json(value):
    text = json.dumps(to_json(value, CLASSES))
    assert from_json(json.loads(text), CLASSES) == value


@pytest.mark.parametrize(
    "number", [np.int64(3), np.float32(0.5), np.bool_(True), np.str_("a")], ids=lambda number: type(number).__name__
)
def test_numbers_of_numpy_come_back_as_those_of_python(number):
    plain = to_json(number, {})
    assert plain == number
    assert type(plain) is type(number.item())


def test_all_solvers_and_a_filter():
    classes = by_name(*SOLVERS.values(), mf.Diffusion)
    for made in (*(solver() for solver in SOLVERS.values()), mf.Diffusion(0.9)):
        assert from_json(to_json(made, classes), classes) == made


@pytest.mark.parametrize(
    "value",
    [object(), np.zeros(2), {1: 2}, {"is": "Inner"}, {1, 2}, Inner, (Inner(), b"a")],
    ids=lambda value: type(value).__name__,
)
def test_what_could_not_be_made_again_is_refused(value):
    with pytest.raises(TypeError, match=r"no setting that a save can hold|names of settings must be texts"):
        to_json(value, CLASSES)


def test_a_class_outside_the_table_is_neither_written_nor_made():
    class Inner:
        """Of the same name, and another."""

    with pytest.raises(TypeError, match="a Inner is no setting"):
        to_json(Inner(), CLASSES)
    for name in ("Path", "os.system", 3, None, ["Inner"], {"is": "Inner"}):
        with pytest.raises(KeyError, match="names none of the settings Inner, Outer"):
            from_json({"is": name}, CLASSES)
    with pytest.raises(TypeError, match="unexpected keyword"):
        from_json({"is": "Inner", "other": 1}, CLASSES)
    with pytest.raises(ValueError, match="must differ in their names"):
        by_name(Inner, CLASSES["Inner"])
