"""The README runs: its Python, as one session, and its two commands, as far as they can be checked from within."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import manifold

ROOT = Path(manifold.__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_python_blocks_run_one_after_the_other(capsys):
    session: dict[str, object] = {}
    python = blocks("python")
    assert len(python) == 5
    assert README.count("\n") <= 150
    for block in python:
        exec(compile(block, "README.md", "exec"), session)
    printed = capsys.readouterr().out
    promised = re.search(r"# (0\.\d+) of the top ten", README)
    assert promised
    assert abs(float(printed.split()[0]) - float(promised[1])) < 0.01
    promised = re.search(r"# (0\.\d+) right", README)
    assert promised
    assert abs(session["model"].score(session["X"][50:], session["y"][50:]) - float(promised[1])) < 0.02
    assert "Graph: 1,797 nodes" in printed
    assert "converged" in printed


def test_the_two_commands_are_what_the_gate_runs():
    commands = blocks("sh")[0].splitlines()
    assert len(commands) == 2
    assert commands[0].endswith("manifold demo")
    assert commands[1].endswith("pytest")
    gate = (ROOT / ".ci" / "run").read_text()
    assert "README.md" in gate


def test_the_promised_output_is_that_of_the_demo(capsys):
    from manifold.cli import main

    assert main(["demo"]) == 0
    steady = re.compile(r"\s+\d+\.\d+ s$", flags=re.MULTILINE)  # all but the seconds
    promised = steady.sub("", blocks("text")[0]).strip()
    assert steady.sub("", capsys.readouterr().out).strip() == promised


def test_the_page_of_the_package_has_nothing_that_only_a_checkout_has(monkeypatch):
    setuptools = pytest.importorskip("setuptools", reason="the package is built by setuptools")
    said: dict[str, str] = {}
    monkeypatch.setattr(setuptools, "setup", said.update)
    runpy.run_path(str(ROOT / "setup.py"))
    page = said["long_description"]
    assert re.findall(r"\]\((?!http)", page) == []
    assert "-e ." not in page
    assert "pip install manifold-search && .venv/bin/manifold demo" in page
    assert re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) == blocks("python")
    assert "Rerank a shortlist |" in page


def test_the_gallery_is_shown():
    guide = (ROOT / "manifold" / "guide" / "explore.md").read_text()
    shown = re.findall(r"notebooks/gallery/([\w-]+)\.png", guide)
    assert sorted(shown) == sorted(path.stem for path in (ROOT / "notebooks" / "gallery").glob("*.png"))


def test_the_records_it_cites_exist():
    records = ROOT / "bench" / "results"
    cited = set(re.findall(r"\d{4}-\d\d-\d\d-\w+\.json", (records / "README.md").read_text()))
    assert len(cited) >= 8
    for name in cited:
        assert (records / name).exists(), name
