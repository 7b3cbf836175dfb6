"""Progress is shown where it is asked for, with and without tqdm, and nowhere else."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import manifold as mf
from manifold._progress import shown
from manifold.datasets import digits

JOBS = {
    "neighbours": lambda X, progress: mf.build_graph(X, 5, progress=progress),
    "neighbours of a search": lambda X, progress: mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=5).fit(
        X, progress=progress
    ),
    "settings": lambda X, progress: mf.ManifoldSearch(tune=True).fit(digits().features[:400], progress=progress),
    "columns": lambda X, progress: mf.DiffusionIndex(n_entries=4).build(mf.build_graph(X, 5), progress=progress),
}


@pytest.fixture
def X(rng):
    return rng.random((70, 6)).astype(np.float32)


@pytest.mark.parametrize("job", JOBS)
def test_nothing_is_printed_unless_asked(X, capfd, job):
    for silent in (None, False, lambda done, total: None):
        JOBS[job](X, silent)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("tqdm", [True, False])
@pytest.mark.parametrize("job", JOBS)
def test_a_bar_on_stderr_ends_at_the_end(X, capfd, monkeypatch, job, tqdm):
    if tqdm:
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    JOBS[job](X, True)
    out, err = capfd.readouterr()
    assert out == ""
    assert job.split()[0] in err
    assert "100%" in err
    assert err.endswith("\n")


def test_the_time_that_is_left_follows_from_the_rate(capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    clock = iter([0.0, 10.0, 10.1, 20.0, 40.0])
    monkeypatch.setattr("manifold._progress.time.monotonic", lambda: next(clock))
    with shown(True, "work") as report:
        for done in (1, 2, 3, 4):
            report(done, 4)
    lines = capfd.readouterr().err.replace("\x1b[K", "").strip().split("\r")
    assert lines == ["work: 1 of 4 (25%), 30 s left", "work: 3 of 4 (75%), 7 s left", "work: 4 of 4 (100%), 0 s left"]


def test_a_line_that_is_interrupted_is_closed(X, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)

    def interrupted():
        with shown(True, "work") as report:
            report(1, 2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert capfd.readouterr().err.endswith("\n")
    with pytest.raises(TypeError, match="progress must be True, False or callable"):
        mf.build_graph(X, 5, progress="yes")
