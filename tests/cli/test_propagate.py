"""`manifold propagate`: what it prints and writes, and one line for everything that can be wrong."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from pyarrow import parquet

import manifold as mf
from manifold import datasets
from manifold.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with the features of 300 digits, and the labels of the first 30."""
    monkeypatch.chdir(tmp_path)
    X, y = datasets.digits()
    np.save("X.npy", X[:300])
    np.save("y.npy", np.where(np.arange(300) < 30, y[:300], -1))


def command(*args, **files):
    chosen = {"features": "X.npy", "labels": "y.npy", "output": "out.csv", **files}
    return ["propagate", *(f"--{name}={value}" for name, value in chosen.items()), *args]


def test_the_answer_is_that_of_propagate(capsys):
    assert main(command("--json", "--method=harmonic", "--balance=mass")) == 0
    facts = json.loads(capsys.readouterr().out)
    X, y = np.load("X.npy"), np.load("y.npy")
    graph = mf.build_graph(X, metric="euclidean", edges="sum")
    result = mf.propagate(graph, y, method="harmonic", balance="mass")
    with open("out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["label"]) for row in rows] == result.labels.tolist()
    np.testing.assert_allclose([float(row["omega"]) for row in rows], result.certainty)
    np.testing.assert_allclose([float(row["zeta"]) for row in rows], result.class_weights[result.columns])
    assert [row["labelled"] == "True" for row in rows] == result.labelled.tolist()
    assert facts["n_labelled"] == 30
    assert facts["n_unreached"] == 0
    assert [entry["points"] for entry in facts["classes"]] == np.bincount(result.labels).tolist()
    assert facts["convergence"]["n_converged"] == 10
    assert facts["graph"]["n_nodes"] == 300
    assert facts["memory_bytes"] > 0
    assert facts["warnings"] == []


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_other_files_and_texts(ending, capsys):
    names = np.where(np.load("y.npy") >= 0, np.char.add("digit ", np.load("y.npy").astype(str)), "?")
    with open("y.txt", "w") as file:
        file.write("\n".join(names))
    assert main(command("--unlabeled=?", labels="y.txt", output=f"out.{ending}")) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["graph", "labels", "chosen", "solver", "saved"]
    assert "30 of 300 points given, 0 not reached; 10 classes of" in lines[1]
    written = np.load("out.npz") if ending == "npz" else parquet.read_table("out.parquet").to_pydict()
    assert set(written["label"]) == {f"digit {d}" for d in range(10)}
    np.testing.assert_allclose(written["weight"], np.multiply(written["omega"], written["zeta"]))


def test_numbers_in_a_text_are_numbers():
    with open("y.txt", "w") as file:
        file.write("\n".join(map(str, np.load("y.npy"))))
    assert main(command(output="one.npz")) == main(command(labels="y.txt", output="two.npz")) == 0
    np.testing.assert_array_equal(np.load("one.npz")["label"], np.load("two.npz")["label"])


@pytest.mark.parametrize(
    ("files", "args", "message"),
    [
        ({"labels": "absent.npy"}, (), "--labels absent.npy is not a file"),
        ({"labels": "y.parquet"}, (), "--labels y.parquet must be npy, npz or txt"),
        ({"labels": "few.npy"}, (), "labels must have one row for each of the 300 nodes"),
        ({"labels": "none.npy"}, (), "labels hold no labelled point"),
        ({"output": "out.json"}, (), "--output out.json must end in .csv, .npz, .parquet"),
        ({}, ("--alpha=1.5",), "alpha must lie in"),
        ({}, ("--alpha=0.9", "--method=poisson"), "has a system of its own"),
        ({}, ("--n-neighbors=0",), "n_neighbors must be at least 1"),
    ],
)
def test_refused_in_one_line(files, args, message, capsys):
    np.save("few.npy", [0, 1])
    np.save("none.npy", np.full(300, -1))
    assert main(command(*args, **files)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("manifold: error: ")
    assert message in err
    assert err.count("\n") == 1


def test_what_is_not_reached_is_a_warning(capsys):
    X = np.load("X.npy")
    X[290:] = 0
    X[290:, :2] = [[1, 0]] * 10  # a piece of its own
    X[:290, :2] = 0
    np.save("X.npy", X)
    assert main(command("--n-neighbors=5")) == 0
    assert "manifold: warning: " in (err := capsys.readouterr().err)
    assert "10 of 300 points are not reached by any label (first: 290)" in err
