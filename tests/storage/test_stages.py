"""Work in stages: what is finished stays, what is torn is done again, and what is not of this work is refused."""

from __future__ import annotations

import errno
import shutil
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from saves import Dead, break_os

from manifold.errors import CorruptFileError, ManifoldWarning
from manifold.storage import save_arrays
from manifold.storage.stages import open_stages, unit_arrays


@dataclass(frozen=True)
class Powers:
    """Powers of one number: a first stage."""

    base: int

    def __call__(self, folder):
        return {"x": float(self.base) ** np.arange(4), "base": np.array(self.base)}


@dataclass(frozen=True)
class Total:
    """The sum of what the first stage made, and one entry of each: a second stage, which reads files."""

    n: int
    at: int

    def __call__(self, folder):
        parts = [unit_arrays(folder, "powers", i)["x"] for i in range(self.n)]
        return {"sum": np.sum(parts, axis=0), "at": np.array([part[self.at] for part in parts])}


@dataclass(frozen=True)
class Fails:
    """A unit that cannot be made."""

    def __call__(self, folder):
        raise ZeroDivisionError("by hand")


N = 3


def work(folder, fingerprint="a", **how):
    with open_stages(folder, fingerprint=fingerprint) as stages:
        stages.run("powers", [Powers(base) for base in range(N)], **how)
        stages.run("totals", [Total(N, at) for at in range(2)], **how)
        stages.drop("powers")
        return [{name: array.tolist() for name, array in stages.arrays("totals", i).items()} for i in range(2)]


EXPECTED = [{"sum": [3.0, 3.0, 5.0, 9.0], "at": at} for at in ([1.0, 1.0, 1.0], [0.0, 1.0, 2.0])]


def count(calls):
    return lambda done, total: calls.append((done, total))


def test_all_units_are_made_once():
    calls = []
    assert work("w", progress=count(calls)) == EXPECTED
    assert calls == [(1, 3), (2, 3), (3, 3), (1, 2), (2, 2)]
    assert not Path("w/powers").exists()
    calls.clear()
    assert work("w", progress=count(calls)) == EXPECTED
    assert calls == [(2, 2)]


def test_a_crash_at_every_call_is_made_good(monkeypatch):
    """The process dies at the n-th call of the system, mid-write if it writes; the next one finishes."""
    for n in range(1, 600, 23):
        with monkeypatch.context() as patch:
            broken = break_os(patch, n)
            with suppress(Dead):
                work(f"w{n}")
            died = broken.calls >= n
        assert work(f"w{n}") == EXPECTED
        if not died:
            break
    assert not died


def test_a_full_disk_is_said_and_loses_nothing(monkeypatch):
    with open_stages("w", fingerprint="a") as stages:
        stages.run("powers", [Powers(0)])
    before = Path("w/powers/0/manifest.json").read_bytes()
    shutil.copytree("w", "v")
    with monkeypatch.context() as patch:
        break_os(patch, 40, fault=OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(OSError, match="No space left"), open_stages("v", fingerprint="a") as stages:
            stages.run("totals", [Total(1, 0), Total(1, 1), Total(1, 2)])
    assert Path("v/powers/0/manifest.json").read_bytes() == before
    with open_stages("v", fingerprint="a") as stages:
        stages.run("totals", [Total(1, 0), Total(1, 1), Total(1, 2)])


def torn(unit):
    file = next(unit.glob("x.*.npy"))
    file.write_bytes(file.read_bytes()[:-3])


def flipped(unit):
    file = next(unit.glob("x.*.npy"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def swapped_with_a_neighbour(unit):
    shutil.rmtree(unit)
    shutil.copytree(unit.with_name("0"), unit)


def of_another_build(unit):
    mark = {"fingerprint": "b", "stage": "powers", "unit": 1, "of": N}
    save_arrays(unit, kind="unit", arrays={"x": np.zeros(4)}, parameters=mark)


def without_its_manifest(unit):
    (unit / "manifest.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (torn, "cut or replaced"),
        (flipped, "fails its checksum"),
        (swapped_with_a_neighbour, "belongs to another build, or another unit"),
        (of_another_build, "belongs to another build, or another unit"),
        (without_its_manifest, "not of the format"),
    ],
)
def test_a_unit_that_is_not_what_was_written_is_done_again(damage, reason):
    tasks = [Powers(base) for base in range(N)]
    with open_stages("w", fingerprint="a") as stages:
        stages.run("powers", tasks)
    others = [(unit / "manifest.json").read_bytes() for unit in (Path("w/powers/0"), Path("w/powers/2"))]
    damage(Path("w/powers/1"))
    with open_stages("w", fingerprint="a") as stages:
        with pytest.warns(ManifoldWarning, match=f"unit 1 of stage 'powers' .*done again.*{reason}"):
            stages.run("powers", tasks)
        assert stages.arrays("powers", 1)["x"].tolist() == [1.0, 1.0, 1.0, 1.0]
    assert others == [(unit / "manifest.json").read_bytes() for unit in (Path("w/powers/0"), Path("w/powers/2"))]


def test_other_work_is_refused_by_name():
    work("w")
    with pytest.raises(ValueError, match=r"'.*w' belongs to another build"):
        work("w", fingerprint="b")
    Path("mine").mkdir()
    Path("mine/letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="not empty and holds no build"):
        work("mine")
    with open_stages("w", fingerprint="a") as stages, pytest.raises(ValueError, match=r"got '\.\./x'"):
        stages.run("../x", [])
    Path("w/totals/9").mkdir()
    with pytest.raises(CorruptFileError, match=r"no manifest\.json"):
        unit_arrays("w", "totals", 9)


def test_a_pool_of_processes_makes_the_same_units_and_an_error_leaves_them():
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert work("w", executor=pool) == EXPECTED
        with open_stages("v", fingerprint="a") as stages:
            with pytest.raises(ZeroDivisionError, match="by hand"):
                stages.run("powers", [Powers(2), Fails()], executor=pool)
            stages.run("powers", [Powers(2), Powers(3)])
            assert stages.arrays("powers", 1)["x"].tolist() == [1.0, 3.0, 9.0, 27.0]
