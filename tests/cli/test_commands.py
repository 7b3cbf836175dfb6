"""The command: what it prints and writes, its exit codes, and one line for everything that can be wrong."""

import csv
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from manifold import ManifoldSearch, datasets
from manifold.cli import _evaluate, _written, main

RNG = np.random.default_rng(20231)
X = RNG.standard_normal((60, 5)).astype(np.float32)
Q = RNG.standard_normal((4, 5)).astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", X)
    np.save("Q.npy", Q)
    return tmp_path


def command(*args, **files):
    chosen = {"features": "X.npy", "queries": "Q.npy", "output": "r.npz", **files}
    return ["search", *(f"--{name}={value}" for name, value in chosen.items()), *args]


def refused(argv, capsys, code=2):
    """Run a command that must fail, and return its one line."""
    assert main(argv) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("manifold: error: ")
    assert err.count("\n") == 1
    return err


# demo


def test_demo_shows_the_gain_within_its_budget(tmp_path):
    """The first command a user runs: 10 CPU-seconds with its imports, nothing compiled, a picture at the end."""
    code = (
        "import sys, manifold.cli; code = manifold.cli.main(['demo', '--json']);"
        "assert not {'numba', 'pynndescent', 'cupy', 'matplotlib.pyplot'} & set(sys.modules); sys.exit(code)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    facts = json.loads(ran.stdout)
    assert 0.62 <= facts["map_neighbours"] <= 0.68
    assert facts["map_diffusion"] >= 0.84
    assert facts["gain"] == pytest.approx(facts["map_diffusion"] - facts["map_neighbours"])
    assert facts["graph"]["n_nodes"] == 1697
    assert facts["convergence"]["n_converged"] == facts["n_queries"] == 100
    assert (tmp_path / "manifold-demo.png").stat().st_size > 20_000
    assert (tmp_path / "manifold-demo.png").read_bytes().startswith(b"\x89PNG")
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= 10


def test_demo_as_text_and_another_file(tmp_path, capsys):
    assert main(["demo", f"--output={tmp_path / 'p.png'}", "--seed=3"]) == 0
    out = capsys.readouterr().out
    for part in (
        "digits  1,797",
        "graph   exact cosine kNN, k=10",
        "nearest neighbours",
        "(+0.",
        "100 of 100",
        "p.png",
    ):
        assert part in out
    assert (tmp_path / "p.png").is_file()


def test_demo_refuses_a_picture_of_another_kind(capsys):
    assert "must end in .png" in refused(["demo", "--output=p.gif"], capsys)


# search


@pytest.fixture(scope="module")
def expected():
    return ManifoldSearch().fit(X).search(Q, k=7)


@pytest.mark.parametrize("kind", ["npy", "npz", "parquet"])
def test_search_reads_every_kind_of_file(folder, capsys, expected, kind):
    if kind == "npz":
        np.savez("X.npz", X)
        np.savez("Q.npz", X=X, Q=Q)
    if kind == "parquet":
        for name, rows in (("X", X), ("Q", Q)):
            parquet.write_table(pa.table({f"f{i}": c for i, c in enumerate(rows.T)}), f"{name}.parquet")
    more = ["--key=Q"] if kind == "npz" else []
    if more:  # one key serves all files that hold several arrays
        assert "holds no array 'Q'" in refused(command("--key=Q", features="X.npz", queries="Q.npz"), capsys)
        np.savez("X.npz", Q=X)
    assert main(command("-k", "7", *more, features=f"X.{kind}", queries=f"Q.{kind}")) == 0
    with np.load("r.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["ids"], expected.ids)
        np.testing.assert_array_equal(found["scores"], expected.scores)
        np.testing.assert_array_equal(found["slack"], expected.slack)
        np.testing.assert_array_equal(found["certified"], expected.certified)
    out = capsys.readouterr().out
    assert "60 nodes" in out
    assert "4 of 4 columns converged" in out


def test_search_writes_csv_and_json_with_the_names_given(folder, expected):
    names = np.array([f"item-{i}" for i in range(60)])
    np.save("ids.npy", names)
    columns = {"id": ["qa", "qb", "qc", "qd"], **{f"f{i}": c for i, c in enumerate(Q.T)}}
    parquet.write_table(pa.table(columns), "Q.parquet")
    for output in ("r.csv", "r.json"):
        assert main(command("-k7", "--ids=ids.npy", queries="Q.parquet", output=output)) == 0
    rows = list(csv.DictReader(Path("r.csv").read_text().splitlines()))
    assert [row["id"] for row in rows] == names[expected.ids].ravel().tolist()
    assert [row["query"] for row in rows[::7]] == columns["id"]
    assert [int(row["rank"]) for row in rows[:7]] == list(range(1, 8))
    np.testing.assert_array_equal([float(row["score"]) for row in rows], expected.scores.ravel())
    answer = json.loads(Path("r.json").read_text())
    assert answer["ids"] == names[expected.ids].tolist()
    assert answer["queries"] == columns["id"]
    assert answer["certified"] == expected.certified.tolist()


def test_search_takes_ids_of_a_parquet_column_and_other_settings(folder):
    columns = {"id": np.arange(100, 160), **{f"f{i}": c for i, c in enumerate(X.T)}}
    parquet.write_table(pa.table(columns), "X.parquet")
    argv = command(
        "-k3", "--preset=paper", "--n-neighbors=6", "--alpha=0.8", "--metric=euclidean", features="X.parquet"
    )
    assert main([*argv, "--on-failure=ignore"]) == 0
    made = ManifoldSearch(preset="paper", n_neighbors=6, alpha=0.8, metric="euclidean", on_failure="ignore")
    with np.load("r.npz") as found:
        np.testing.assert_array_equal(found["ids"], made.fit(X, ids=columns["id"]).search(Q, k=3).ids)


def test_search_json_is_one_object_and_warnings_stay_on_stderr(folder, capsys):
    argv = command("--json", "--preset=paper", "--alpha=0.9999")
    assert main(argv) == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert facts["graph"]["n_nodes"] == 60
    assert facts["convergence"]["n_columns"] == facts["n_queries"] == 4
    assert len(facts["warnings"]) == err.count("manifold: warning: ")


def test_work_that_fails_is_exit_code_1(folder, capsys):
    argv = command("--preset=paper", "--n-neighbors=3", "--bridge=3", "--on-failure=raise")
    assert "raise max_iter" in refused(argv, capsys, code=1)
    assert not Path("r.npz").exists()


def test_an_interrupted_write_leaves_the_old_file(folder, monkeypatch, capsys):
    Path("r.npz").write_bytes(b"old")

    def interrupt(file, *args):
        file.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(_written, "_write_npz", interrupt)
    assert "interrupted" in refused(command(), capsys, code=1)
    assert Path("r.npz").read_bytes() == b"old"
    assert sorted(os.listdir()) == ["Q.npy", "X.npy", "r.npz"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": "absent.npy"}, "--features absent.npy is not a file"),
        ({"features": "X.txt"}, "must end in .npy, .npz, .parquet"),
        ({"output": "r.pickle"}, "must end in .npz, .csv, .json"),
        ({"output": "nowhere/r.csv"}, "folder nowhere does not exist"),
        ({"features": "pickled.npy"}, "pickled objects are never loaded"),
        ({"features": "pickled.npz"}, "pickled objects are never loaded"),
        ({"features": "empty.npy"}, "--features empty.npy cannot be read"),
        ({"features": "text.npz"}, "--features text.npz cannot be read"),
        ({"features": "text.parquet"}, "is not a parquet file"),
        ({"features": "words.parquet"}, "has no numeric column"),
        ({"features": "two.npz"}, "holds 2 arrays: choose with --key, one of A, B"),
        ({"features": "nan.npy"}, "--features nan.npy holds NaN or infinity in 1 of 3 rows"),
        ({"features": "cube.npy"}, "must have 2 dimensions"),
        ({"queries": "wide.npy"}, r"--queries wide.npy must have the 5 features"),
        ({"ids": "wide.npy"}, "ids must name each of the 60 items"),
        ({"alpha": "1.5"}, "alpha must lie in [0, 1), got 1.5"),
        ({"n-neighbors": "0"}, "n_neighbors must be at least 1, got 0"),
        ({"solver": "magic"}, "solver must be"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder, capsys, change, message):
    np.save("pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez("pickled.npz", np.array([{}], dtype=object))
    Path("empty.npy").touch()
    for name in ("text.npz", "text.parquet", "X.txt"):
        Path(name).write_text("no array")
    parquet.write_table(pa.table({"word": ["a"]}), "words.parquet")
    np.savez("two.npz", A=X, B=X)
    np.save("nan.npy", np.array([[1.0, 2], [np.nan, 1], [0, 1]]))
    np.save("cube.npy", np.zeros((2, 2, 2)))
    np.save("wide.npy", np.zeros((3, 6)))
    assert message in refused(command(**change), capsys)


def test_parquet_without_pyarrow_names_the_line_to_type(folder, capsys, monkeypatch):
    Path("X.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'manifold-search[parquet]'" in refused(command(features="X.parquet"), capsys)


def test_usage_errors_are_exit_code_2(capsys):
    for argv in ([], ["search"], ["fly"], ["demo", "--seed=x"]):
        with pytest.raises(SystemExit) as ended:
            main(argv)
        assert ended.value.code == 2
    assert main(["evaluate"]) == 2
    assert main(["evaluate", "imagenet"]) == 2
    assert "NAME must be of cranfield, grocery, coil20, orl, usps, got imagenet" in capsys.readouterr().err


# evaluate

FIGURES = {  # nearest neighbours to three digits; diffusion as measured when these settings were published
    "cranfield": {
        "mAP": (0.422, 0.379, 0.452),
        "binary nDCG@10": (0.509,),
        "nDCG@10": (0.427,),
        "recall@100": (0.791,),
    },
    "coil20": {"mAP": (0.653, None, 0.870), "bull's-eye@72": (0.625,), "1-NN accuracy": (1.000,)},
    "orl": {"bull's-eye@15": (0.6265, None, 0.727), "mAP": (0.579, None, 0.679)},
}


@pytest.mark.parametrize("name", FIGURES)
def test_evaluate_reproduces_the_known_figures(name, capsys, monkeypatch):
    if not (datasets.data_folder() / name).is_dir():
        pytest.skip(f"{name} is not in {datasets.data_folder()}")
    if name == "coil20":  # whole adaptive lists of all its items take half a minute
        monkeypatch.setattr(_evaluate, "standard", lambda metric="cosine": {"default": {"metric": metric}})
    assert main(["evaluate", name, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    rows = {row["figure"]: row for row in answer["rows"]}
    for figure, known in FIGURES[name].items():
        for column, value in zip(("neighbours", "published", "hand-set"), known, strict=False):
            assert value is None or rows[figure][column] == pytest.approx(value, abs=6e-4), column
        mean, low, high = rows[figure]["gains"]["published"]
        assert mean == pytest.approx(rows[figure]["published"] - rows[figure]["neighbours"])
        assert low <= mean <= high
    assert rows["converged"]["published"] < 0.5  # 20 iterations are not enough for it, and the table says so
    assert rows["converged"]["default"] == 1
    assert all(advice.startswith("Use ") for advice in answer["advice"].values())


def test_evaluate_prints_a_table_and_writes_a_row_a_query(capsys, tmp_path):
    if not (datasets.data_folder() / "orl").is_dir():
        pytest.skip(f"orl is not in {datasets.data_folder()}")
    assert main(["evaluate", "orl", f"--per-query={tmp_path / 'q.csv'}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["set", "protocol", "figure", *_evaluate.COLUMNS]
    assert lines[1].split()[:4] == ["orl", "leave-one-out", "bull's-eye@15", "0.6265"]
    assert lines[1].split()[4][-1] == "-"  # the published setting loses on faces, and is marked
    assert any(line.startswith("orl leave-one-out: Use ManifoldSearch(") for line in lines)
    with open(tmp_path / "q.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 400
    assert np.mean([float(row["neighbours bull's-eye@15"]) for row in rows]) == pytest.approx(0.6265, abs=5e-4)
    assert {row["set"] for row in rows} == {"orl"}


def test_a_table_of_queries_that_cannot_be_written_is_refused_before_the_work(capsys, tmp_path):
    for path, message in (("q.txt", "--per-query q.txt must end in .csv"), ("no/q.csv", "--per-query no/q.csv: the f")):
        assert message in refused(["evaluate", "orl", "--per-query", path], capsys)
        assert message in refused(["evaluate", "--protocol=labels", "--truth=y.npy", "--per-query", path], capsys)


def test_evaluate_without_the_data_says_where_it_looked(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MANIFOLD_DATA", str(tmp_path))
    line = refused(["evaluate", "orl"], capsys)
    assert str(tmp_path) in line
    assert "set MANIFOLD_DATA" in line


# info


def test_info_names_versions_and_what_a_gpu_needs(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("MANIFOLD_DATA", str(tmp_path / "absent"))
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    for part in (f"numpy         {np.__version__}", "BLAS", "GPU", "cores", "set MANIFOLD_DATA"):
        assert part in text
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["versions"]["numpy"] == np.__version__
    assert facts["gpu"]["usable"] or "pip install" in facts["gpu"]["state"] or "driver" in facts["gpu"]["state"]
    assert facts["data"]["sets"] == []
    assert facts["blas"]


def test_info_without_threadpoolctl_still_names_the_library(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    assert main(["info", "--json"]) == 0
    assert "pip install threadpoolctl" in json.loads(capsys.readouterr().out)["blas"][0]


def test_python_m_manifold_is_the_command():
    ran = subprocess.run(
        [sys.executable, "-m", "manifold", "--version"], check=False, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0
    assert ran.stdout.startswith("manifold 0.")
