"""`fit`, `search --index` and `rerank`: what the command answers is what Python answers, to the bit, in every form."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import manifold as mf
from manifold.cli import main
from manifold.datasets import read_run

RNG = np.random.default_rng(4127)
X, Q = RNG.standard_normal((80, 6)).astype(np.float32), RNG.standard_normal((5, 6)).astype(np.float32)
IDS = np.array([f"item-{i}" for i in range(80)])


@pytest.fixture
def folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", X)
    np.save("Q.npy", Q)
    np.save("ids.npy", IDS)
    assert main(["fit", "--features=X.npy", "--ids=ids.npy", "--output=saved"]) == 0
    capsys.readouterr()
    return tmp_path


@pytest.fixture(scope="module")
def search():
    return mf.ManifoldSearch(random_state=0).fit(X, ids=IDS)


def said(capsys, *argv):
    """Run a command that succeeds, and return what it printed."""
    assert main([*argv]) == 0
    return capsys.readouterr().out


def refused(capsys, *argv):
    assert main([*argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err


def table(text):
    """Return the ids and scores of a printed csv, a list a query."""
    rows = list(csv.DictReader(text.splitlines()))
    queries = dict.fromkeys(row["query"] for row in rows)
    return [[(row["id"], float(row["score"])) for row in rows if row["query"] == query] for query in queries]


def pairs(ranking):
    pads = (-1, "", None)
    return [
        [(name, score) for name, score in zip(*row, strict=True) if name not in pads]
        for row in zip(ranking.ids.tolist(), ranking.scores.tolist(), strict=True)
    ]


def test_a_saved_search_answers_as_one_made_of_features(folder, capsys, search):
    expected = search.search(Q, k=7)
    saved = said(capsys, "search", "--index=saved", "--queries=Q.npy", "-k7")
    made = said(capsys, "search", "--features=X.npy", "--ids=ids.npy", "--queries=Q.npy", "-k7")
    assert saved == made
    assert table(saved) == pairs(expected)
    np.testing.assert_array_equal(mf.load("saved").search(Q, k=7).ids, expected.ids)


def test_json_has_the_results_where_no_file_has_them(folder, capsys, search):
    expected = search.search(Q, k=4)
    answer = json.loads(said(capsys, "search", "--index=saved", "--queries=Q.npy", "-k4", "--json"))
    assert answer["ranking"]["ids"] == expected.ids.tolist()
    assert answer["ranking"]["scores"] == expected.scores.tolist()
    assert answer["ranking"]["certified"] == expected.certified.tolist()
    assert answer["ranking"]["queries"] == [0, 1, 2, 3, 4]
    written = json.loads(said(capsys, "search", "--index=saved", "--queries=Q.npy", "--json", "--output=r.npz"))
    assert "ranking" not in written


def test_a_run_is_printed_and_read_back(folder, capsys, search):
    printed = said(capsys, "search", "--index=saved", "--queries=Q.npy", "-k6", "--format=run")
    Path("printed.run").write_text(printed)
    run = read_run("printed.run")
    assert run.queries == ("0", "1", "2", "3", "4")
    assert [set(row) for row in run.ids.tolist()] == [set(row) for row in search.search(Q, k=6).ids.tolist()]


def lists_found():
    """What another search found: cosines, lists of different lengths."""
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (Q, X)]
    cosines = unit[0] @ unit[1].T
    ids = np.argsort(-cosines, axis=1)[:, :12]
    similarities = np.take_along_axis(cosines, ids, axis=1)
    lengths = [12, 9, 12, 5, 12]
    return (
        [IDS[row[:m]].tolist() for row, m in zip(ids, lengths, strict=True)],
        [row[:m].astype(float).tolist() for row, m in zip(similarities, lengths, strict=True)],
    )


def quoted(names):
    """Return a list as JSON, as a field of a csv holds it."""
    return json.dumps(names).replace('"', '""')


def write_lists(path, ids, scores):
    long = [(f"q{i}", name, s) for i, row in enumerate(ids) for name, s in zip(row, scores[i], strict=True)]
    if path.endswith((".run", ".txt")):
        lines = [f"{query} Q0 {name} {rank} {score!r} other\n" for rank, (query, name, score) in enumerate(long)]
        Path(path).write_text("".join(lines))
    elif path == "lists.csv":
        rows = [
            f'q{i},"{quoted(row)}",{json.dumps(json.dumps(s))}\n'
            for i, (row, s) in enumerate(zip(ids, scores, strict=True))
        ]
        Path(path).write_text("query,ids,scores\n" + "".join(rows))
    elif path.endswith(".csv"):
        Path(path).write_text("query,id,score\n" + "".join(f"{q},{name},{score!r}\n" for q, name, score in long))
    elif path == "rows.parquet":
        columns = zip(("query", "id", "score"), zip(*long, strict=True), strict=True)
        parquet.write_table(pa.table({name: list(column) for name, column in columns}), path)
    else:
        columns = {"query": [f"q{i}" for i in range(len(ids))], "ids": ids, "scores": scores}
        parquet.write_table(pa.table(columns), path)


@pytest.mark.parametrize("path", ["lists.run", "lists.txt", "rows.csv", "lists.csv", "rows.parquet", "lists.parquet"])
@pytest.mark.parametrize("candidates", ["shortlist", "all"])
def test_lists_are_reranked_as_python_does(folder, capsys, search, path, candidates):
    ids, scores = lists_found()
    write_lists(path, ids, scores)
    expected = search.rerank(ids, scores, 8, candidates=candidates)
    printed = said(capsys, "rerank", "--index=saved", f"--run={path}", "-k8", f"--candidates={candidates}")
    assert table(printed) == pairs(expected)
    assert next(iter(csv.DictReader(printed.splitlines())))["query"] == "q0"


def test_distances_and_stale_ids(folder, capsys, search):
    ids, scores = lists_found()
    ids[1][3] = "gone"
    distances = [[1 - s for s in row] for row in scores]
    write_lists("lists.parquet", ids, distances)
    argv = ["rerank", "--index=saved", "--run=lists.parquet", "-k20", "--distances"]
    assert "gone" in refused(capsys, *argv)
    expected = search.rerank(ids, k=20, distances=distances, unknown="behind")
    answer = json.loads(said(capsys, *argv, "--unknown=behind", "--json"))
    assert answer["n_unknown"] == 1
    assert answer["ranking"]["ids"] == expected.ids.tolist()


def test_what_is_written_as_parquet_can_be_reranked(folder, capsys):
    said(capsys, "search", "--index=saved", "--queries=Q.npy", "-k9", "--output=r.parquet")
    found = parquet.read_table("r.parquet").to_pydict()
    assert found["ids"] == mf.load("saved").search(Q, k=9).ids.tolist()
    assert len(table(said(capsys, "rerank", "--index=saved", "--run=r.parquet", "-k3"))) == 5


def test_integers_are_named_as_texts_of_a_run_spell_them(folder, capsys):
    said(capsys, "fit", "--features=X.npy", "--output=numbers")
    write_lists("lists.run", [["3", "17"]], [[0.9, 0.8]])
    expected = mf.load("numbers").rerank([[3, 17]], [[0.9, 0.8]], 2)
    assert table(said(capsys, "rerank", "--index=numbers", "--run=lists.run", "-k2")) == [
        [(str(name), score) for name, score in pairs(expected)[0]]
    ]
    write_lists("lists.run", [["3", "x17"]], [[0.9, 0.8]])
    assert "--run holds 'x17', but items are named by integers" in refused(
        capsys, "rerank", "--index=numbers", "--run=lists.run"
    )


def test_vectors_may_stand_in_one_column_of_a_csv(folder, capsys, search):
    for name, rows in (("X", X), ("Q", Q)):
        lines = [f'{i},"{json.dumps(row.astype(float).tolist())}"\n' for i, row in enumerate(rows)]
        Path(f"{name}.csv").write_text("id,vector\n" + "".join(lines))
    expected = mf.ManifoldSearch(random_state=0).fit(X).search(Q, k=4)
    printed = said(capsys, "search", "--features=X.csv", "--queries=Q.csv", "-k4")
    assert table(printed) == [[(str(name), score) for name, score in row] for row in pairs(expected)]
    Path("Q.csv").write_text('vector\n"[1, 2, 3, 4, 5, 6]"\n"[1, 2]"\n')
    assert "the list of row 1 is of another length" in refused(capsys, "search", "--features=X.csv", "--queries=Q.csv")


def test_columns_of_a_saved_search_are_those_of_its_features(folder, capsys):
    for name, rows, order in (("X", X, range(6)), ("Q", Q, [5, 3, 4, 0, 1, 2])):
        columns = {f"f{i}": rows[:, i] for i in order}
        parquet.write_table(pa.table({"note": ["a"] * len(rows), **columns}), f"{name}.parquet")
    said(capsys, "fit", "--features=X.parquet", "--columns", "f*", "--output=named")
    expected = mf.load("named").search(Q, k=5)
    assert table(said(capsys, "search", "--index=named", "--queries=Q.parquet", "-k5")) == [
        [(str(name), score) for name, score in row] for row in pairs(expected)
    ]


def test_settings_of_a_fit_are_kept_and_those_of_a_query_may_change(folder, capsys, search):
    for option in ("--alpha=0.5", "--purpose=item", "--tune", "--ids=ids.npy", "--metric=cosine", "--seed=3"):
        err = refused(capsys, "search", "--index=saved", "--queries=Q.npy", option)
        assert f"{option.split('=')[0]} is settled by the fit of --index saved" in err
    printed = said(capsys, "search", "--index=saved", "--queries=Q.npy", "-k5", "--n-seeds=3", "--solver=chebyshev")
    assert table(printed) == pairs(search.with_settings(n_seeds=3, solver="chebyshev").search(Q, k=5))


def test_fit_chooses_by_held_out_points_and_says_so(folder, capsys):
    facts = json.loads(said(capsys, "fit", "--features=X.npy", "--tune", "--output=tuned", "--json"))
    assert any(line.startswith("tuning ") for line in facts["explanation"])
    assert facts["n_items"] == 80
    assert mf.load("tuned").fitted_.settings.tune
    topic = said(capsys, "fit", "--features=X.npy", "--purpose=topic", "--output=topic")
    assert "saved   topic" in topic
    assert mf.load("topic").settings.purpose == "topic"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["fit", "--features=X.npy", "--output=X.npy"], "--output X.npy is a file: name a folder"),
        (["fit", "--features=X.npy", "--output=no/saved"], "the folder no does not exist"),
        (["fit", "--features=no.npy", "--output=new"], "--features no.npy is not a file"),
        (["search", "--index=nowhere", "--queries=Q.npy"], "nowhere"),
        (["search", "--index=graph", "--queries=Q.npy"], "--index graph holds a Graph"),
        (["search", "--index=saved", "--queries=ids.npy"], "--queries"),
        (["rerank", "--index=saved", "--run=X.npy"], "--run X.npy must end in .run, .txt, .csv, .parquet"),
        (["rerank", "--index=saved", "--run=no.run"], "--run no.run is not a file"),
        (["rerank", "--index=saved", "--run=empty.run"], "empty.run"),
        (["rerank", "--index=saved", "--run=bm25.csv"], "similarities must be cosines, in [-1, 1], got 17.5"),
        (["rerank", "--index=saved", "--run=odd.parquet"], "row 0 has 2 ids and 1 scores"),
        (["rerank", "--index=saved", "--run=other.csv"], "has no column score"),
    ],
)
def test_bad_input_is_one_line(folder, capsys, argv, message):
    mf.graph_from_affinity([[0, 1], [1, 0]]).save("graph")
    Path("empty.run").touch()
    Path("bm25.csv").write_text("query,id,score\nq,item-1,17.5\n")
    Path("other.csv").write_text("query,id,weight\nq,item-1,0.5\n")
    parquet.write_table(pa.table({"ids": [["item-1", "item-2"]], "scores": [[0.5]]}), "odd.parquet")
    err = refused(capsys, *argv)
    assert message in err
    assert err.count("\n") == 1
    assert not Path("new").exists()


def test_a_reader_that_goes_away_is_no_error(folder):
    command = f"{sys.executable} -m manifold search --index saved --queries Q.npy | true"
    shell = ["bash", "-o", "pipefail", "-c"]
    ran = subprocess.run([*shell, command], check=False, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stderr) == (0, "")
