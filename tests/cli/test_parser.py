"""The parser: names from the tables of the rooms, looked up late, and refusals that name them."""

from __future__ import annotations

import subprocess
import sys

import pytest

import manifold.graph
import manifold.labels
import manifold.labels.balance
import manifold.neighbors
import manifold.ranking
import manifold.solvers
from manifold.cli import _fit, main

TABLES = {
    ("search", "--preset"): (manifold.ranking, "PRESETS"),
    ("search", "--edges"): (manifold.graph, "EDGE_RULES"),
    ("search", "--metric"): (manifold.neighbors, "METRICS"),
    ("search", "--method"): (manifold.neighbors, "METHODS"),
    ("search", "--solver"): (manifold.solvers, "SOLVERS"),
    ("fit", "--preset"): (manifold.ranking, "PRESETS"),
    ("propagate", "--method"): (manifold.labels, "METHODS"),
    ("propagate", "--metric"): (manifold.neighbors, "METRICS"),
    ("propagate", "--balance"): (manifold.labels.balance, "BALANCES"),
}


def ended(capsys, *argv):
    """Run a command that argparse ends, and return its exit code and what it printed."""
    with pytest.raises(SystemExit) as end:
        main([*argv])
    return end.value.code, capsys.readouterr()


@pytest.mark.parametrize(("command", "option"), TABLES)
def test_a_row_of_a_table_is_a_choice_of_the_parser(command, option, capsys, monkeypatch):
    room, name = TABLES[command, option]
    table = getattr(room, name)
    longer = (*table, "planted") if isinstance(table, tuple) else {**table, "planted": None}
    monkeypatch.setattr(room, name, longer)
    code, printed = ended(capsys, command, "--help")
    assert code == 0
    shown = printed.out[printed.out.index(f"[{option} ") :].split("]")[0]
    assert all(known in shown for known in (*table, "planted"))
    files = {"search": ["--queries=Q.npy"], "propagate": ["--labels=Q.npy"], "fit": []}[command]
    argv = [command, "--features=X.npy", *files, "--output=r.csv", option, "planted"]
    assert main(argv) == 2  # the parser took it: it would have ended otherwise
    assert capsys.readouterr().err.startswith("manifold: error: ")


@pytest.mark.parametrize(("command", "option"), [pair for pair in TABLES if pair[1] != "--solver"])
def test_what_no_table_holds_is_refused_by_the_names_it_holds(command, option, capsys):
    room, name = TABLES[command, option]
    code, printed = ended(capsys, command, option, "nowhere")
    assert code == 2
    assert all(repr(known) in printed.err for known in getattr(room, name))


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["search"], ["evaluate", "--seed"], ["fly"]])
def test_help_and_usage_errors_import_nothing_that_is_slow(argv):
    code = (
        "import sys; from manifold.cli import main\n"
        f"try: main({argv})\n"
        "except SystemExit: print('loaded', [m for m in ('numpy', 'scipy', 'sklearn') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.endswith("loaded []\n")


def test_the_degree_exponent_left_out_is_that_of_the_preset(capsys, monkeypatch, tmp_path):
    seen = {}

    class Search:
        def __init__(self, **options):
            seen.update(options)
            raise ValueError("seen")

    monkeypatch.setattr(_fit, "ManifoldSearch", Search)
    argv = ["search", "--features=X.npy", "--queries=Q.npy", "--output=r.csv", "--preset=adaptive"]
    assert main(argv) == 2
    assert seen == {"preset": "adaptive", "random_state": 0}


def test_protocols_and_sets_of_the_help_are_those_there_are(capsys):
    from manifold.cli._evaluate import NAMES
    from manifold.datasets._protocols import PROTOCOLS

    _, printed = ended(capsys, "evaluate", "--help")
    assert all(name in printed.out for name in (*NAMES, *PROTOCOLS))


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_shell_is_told_every_command_and_every_name(shell, capsys):
    pytest.importorskip("shtab", reason="completion is written by shtab")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for said in ("rerank", "degree-exponent", *manifold.ranking.PRESETS, *manifold.solvers.SOLVERS):
        assert said in script


def test_bash_completes_as_the_script_says(capsys, tmp_path):
    pytest.importorskip("shtab", reason="completion is written by shtab")
    assert main(["completion", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    asked = "COMP_WORDS=(manifold search --preset pl); COMP_CWORD=3; _shtab_manifold; echo ${COMPREPLY[@]}"
    ran = subprocess.run(
        ["bash", "-c", f"source {tmp_path / 'script'}; {asked}"], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.split() == ["plain-diffusion"]


def test_completion_without_its_package_names_the_line_to_type(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert "pip install 'manifold-search[completion]'" in capsys.readouterr().err
