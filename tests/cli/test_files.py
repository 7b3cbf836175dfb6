"""What the command reads: tables by the names of their columns, labels by what they spell, texts as they are written.

Right values are worked out here, by NumPy on the arrays that the files were made of.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from manifold import ManifoldSearch, build_graph, propagate
from manifold.cli import main
from manifold.cli._files import read_features, read_names
from manifold.cli._labels import marker_of, read_labels
from manifold.errors import ManifoldWarning
from manifold.neighbors import point_set

RNG = np.random.default_rng(4021)
X = RNG.standard_normal((60, 5)).astype(np.float32)
Q = RNG.standard_normal((4, 5)).astype(np.float32)
Y = np.where(np.arange(60) < 20, np.arange(60) % 3, -1)
BOM = b"\xef\xbb\xbf"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", X)
    np.save("Q.npy", Q)
    np.save("y.npy", Y)


def columns(rows, order=None):
    return {f"f{i}": rows[:, i] for i in (range(rows.shape[1]) if order is None else order)}


def write(name, rows, *, order=None, **more):
    """Write a table of features, in another order of its columns where asked, with more columns before them."""
    parquet.write_table(pa.table({**more, **columns(rows, order)}), name)


def found(capsys, *args, queries="Q.parquet", features="X.parquet"):
    """Search, and return the ids and what was said on stderr."""
    argv = ["search", f"--features={features}", f"--queries={queries}", "--output=r.npz", "-k7", *args]
    assert main(argv) == 0
    with np.load("r.npz") as file:
        return {name: file[name] for name in file.files}, capsys.readouterr().err


def refused(capsys, argv):
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("manifold: error: ")
    return err


def search(features="X.parquet", queries="Q.parquet", *more):
    return ["search", f"--features={features}", f"--queries={queries}", "--output=r.npz", *more]


@pytest.fixture(scope="module")
def expected():
    return ManifoldSearch().fit(X).search(Q, k=7).ids


# Frames lose their names


def test_columns_in_another_order_are_put_in_order_by_name(capsys, expected):
    write("X.parquet", X)
    write("Q.parquet", Q, order=[3, 0, 4, 2, 1])
    answer, said = found(capsys)
    np.testing.assert_array_equal(answer["ids"], expected)
    assert said == ""


def test_further_columns_of_queries_are_left_out_aloud(capsys, expected):
    write("X.parquet", X)
    write("Q.parquet", Q, year=[2001, 2002, 2003, 2004], extra=[0.5] * 4)
    answer, said = found(capsys)
    np.testing.assert_array_equal(answer["ids"], expected)
    assert "Q.parquet: features are the 5 columns f0 .. f4; left out: year (integer), extra (floating)" in said


def test_columns_that_queries_lack_are_refused_by_name(capsys):
    write("X.parquet", X)
    parquet.write_table(pa.table({f"g{i}" if i == 2 else f"f{i}": Q[:, i] for i in range(5)}), "Q.parquet")
    assert "--queries Q.parquet lacks 1 of the 5 columns of --features (f2)" in refused(capsys, search())


def test_a_column_of_lists_is_the_features(capsys, expected):
    for name, rows in (("X", X), ("Q", Q)):
        table = {"id": [f"{name}{i}" for i in range(len(rows))], "label": np.arange(len(rows)), "embedding": list(rows)}
        parquet.write_table(pa.table(table), f"{name}.parquet")
    answer, said = found(capsys)
    np.testing.assert_array_equal(answer["ids"], np.char.add("X", expected.astype(str)))
    assert answer["queries"].tolist() == ["Q0", "Q1", "Q2", "Q3"]
    assert "--features X.parquet: features are column embedding; left out: label (integer)" in said


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 5), pa.large_list(pa.float64())])
def test_lists_of_every_kind(capsys, expected, kind):
    for name, rows in (("X", X), ("Q", Q)):
        parquet.write_table(pa.table({"embedding": pa.array(rows.tolist(), kind)}), f"{name}.parquet")
    np.testing.assert_array_equal(found(capsys)[0]["ids"], expected)


@pytest.mark.parametrize(("lists", "row"), [([[1.0, 2.0], [1.0]], 1), ([[1.0], None], 1), ([None, [1.0]], 0)])
def test_lists_of_other_lengths_are_refused(capsys, lists, row):
    parquet.write_table(pa.table({"v": pa.array(lists, pa.list_(pa.float64()))}), "X.parquet")
    assert f"column 'v': the list of row {row} is missing or of another length" in refused(capsys, search())


def test_several_columns_of_lists_are_a_choice(capsys, expected):
    for name, rows in (("X", X), ("Q", Q)):
        parquet.write_table(pa.table({"image": list(rows), "text": list(rows[:, ::-1])}), f"{name}.parquet")
    assert "holds 2 columns of lists: choose with --columns, of image, text" in refused(capsys, search())
    answer, said = found(capsys, "--columns", "image")
    np.testing.assert_array_equal(answer["ids"], expected)
    assert said == ""


def test_what_says_something_of_a_row_is_no_feature(capsys, expected):
    """Ids, labels and years are numbers, and no places."""
    more = {"id": np.arange(100, 160), "label": np.arange(60) % 3, "year": np.linspace(1990, 2020, 60)}
    write("X.parquet", X, **more)
    answer, said = found(capsys, queries="Q.npy")
    np.testing.assert_array_equal(answer["ids"], 100 + expected)
    assert "left out: label (integer), year (floating); --columns chooses" in said


def test_y_is_a_class_but_beside_x():
    plane = np.random.default_rng(9).random((20, 2))
    for names, width in ((("x", "y"), 2), (("f0", "y"), 1)):
        parquet.write_table(pa.table(dict(zip(names, plane.T, strict=True))), "P.parquet")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ManifoldWarning)
            rows = read_features(Path("P.parquet"), option="--features").rows
        np.testing.assert_array_equal(rows, plane[:, :width])


def test_integers_beside_floating_columns_are_left_out_aloud(capsys, expected):
    write("X.parquet", X, pages=np.arange(60))
    answer, said = found(capsys, queries="Q.npy")
    np.testing.assert_array_equal(answer["ids"], expected)
    assert "left out: pages (integer)" in said


def test_integers_alone_are_features_aloud(capsys):
    pixels = RNG.integers(0, 255, (60, 5)).astype(np.uint8)
    write("X.parquet", pixels, label=np.arange(60) % 3)
    answer, said = found(capsys, queries="X.parquet")
    with_ids = ManifoldSearch().fit(pixels).search(pixels, k=7)
    np.testing.assert_array_equal(answer["ids"], with_ids.ids)
    assert "the 5 columns f0 .. f4; left out: label (integer)" in said


def test_columns_chooses_by_pattern(capsys, expected):
    write("X.parquet", X, g=np.ones(60), flag=np.arange(60))
    answer, said = found(capsys, "--columns", "f?", queries="Q.npy")
    np.testing.assert_array_equal(answer["ids"], expected)
    assert said == ""
    argv = search("X.parquet", "Q.npy", "--columns", "h*")
    assert "--features X.parquet has no column 'h*' of --columns: it holds g, flag, f0, f1, f2" in refused(capsys, argv)
    argv = search("X.npy", "Q.npy", "--columns", "f*")
    assert "--columns chooses by name, but --features X.npy holds an array" in refused(capsys, argv)


def test_booleans_decimals_and_dates_are_said(capsys, expected):
    day = datetime.date(2020, 1, 2)
    more = {"ok": [True, False] * 30, "price": [decimal.Decimal("1.25")] * 60, "when": [day] * 60, "word": ["a"] * 60}
    write("X.parquet", X, **more)
    answer, said = found(capsys, queries="Q.npy")
    np.testing.assert_array_equal(answer["ids"], expected)
    assert "left out: ok (boolean), price (decimal), when (date32[day]), word (text)" in said
    chosen = read_features(Path("X.parquet"), option="--features", columns=["ok", "price"])
    np.testing.assert_array_equal(chosen.rows, [[1, 1.25], [0, 1.25]] * 30)
    argv = search("X.parquet", "Q.npy", "--columns", "f*", "when")
    assert "column 'when' holds date32[day], no numbers: leave it out" in refused(capsys, argv)


@pytest.mark.parametrize("column", ["qid", "id"])
def test_a_column_qid_or_id_is_the_names(capsys, column):
    write("X.parquet", X)
    write("Q.parquet", Q, **{column: ["a", "b", "c", "d"]})
    answer, said = found(capsys)
    assert answer["queries"].tolist() == ["a", "b", "c", "d"]
    assert said == ""


def test_dictionaries_are_texts(capsys):
    write("X.parquet", X)
    write("Q.parquet", Q, qid=pa.array(["a", "b", "c", "d"]).dictionary_encode())
    assert found(capsys)[0]["queries"].tolist() == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", None, "c", "d"], "column 'qid' is empty in row 1"),
        ([1.0, 2.0, 3.0, 4.0], "column 'qid' holds floating: names are integers or texts"),
    ],
)
def test_names_that_are_none(capsys, names, message):
    write("X.parquet", X)
    write("Q.parquet", Q, qid=names)
    assert message in refused(capsys, search())


def test_precision_is_that_of_the_file():
    far = 1e6 + RNG.random((4, 3))
    write("far.parquet", far)
    np.testing.assert_array_equal(read_features(Path("far.parquet"), option="--features").rows, far)


def test_evaluate_reads_by_name_too(capsys):
    write("X.parquet", X, year=np.arange(60))
    write("Q.parquet", Q, order=[4, 3, 2, 1, 0], qid=["0", "1", "2", "3"])
    Path("y.qrels").write_text("".join(f"{q} 0 {i} 1\n" for q in range(4) for i in range(10 * q, 10 * q + 10)))
    figures = []
    for features, queries in (("X.parquet", "Q.parquet"), ("X.npy", "Q.npy")):
        argv = ["evaluate", "--json", "--protocol=trec", "--truth=y.qrels", f"--features={features}"]
        assert main([*argv, f"--queries={queries}"]) == 0
        figures.append(json.loads(capsys.readouterr().out)["figures"])
    assert figures[0] == figures[1]


# csv


def text_of(rows, *, header=(), before=None):
    lines = [",".join([*(before[i : i + 1] if before else ()), *(repr(float(v)) for v in row)]) for i, row in
             enumerate(rows)]  # fmt: skip
    return "\n".join([",".join(header)] * bool(header) + lines) + "\n"


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("mark", [b"", BOM])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_with_and_without_header_mark_and_returns(capsys, expected, header, mark, end):
    for name, rows in (("X", X), ("Q", Q)):
        text = text_of(rows, header=[f"f{i}" for i in range(5)] if header else ())
        Path(f"{name}.csv").write_bytes(mark + text.replace("\n", end).encode())
    answer, said = found(capsys, features="X.csv", queries="Q.csv")
    np.testing.assert_array_equal(answer["ids"], expected)
    assert said == ""


def test_csv_keeps_quoted_names_and_leading_zeros(capsys, expected):
    names = ['"a, b"', "007", '"say ""x"""', *(f"{i:04}" for i in range(3, 60))]
    plain = ["a, b", "007", 'say "x"', *(f"{i:04}" for i in range(3, 60))]
    Path("X.csv").write_text(text_of(X, header=["id", *(f"f{i}" for i in range(5))], before=names))
    answer, said = found(capsys, features="X.csv", queries="Q.npy")
    assert answer["ids"].tolist() == np.array(plain)[expected].tolist()
    assert said == ""


def test_csv_of_pandas_with_its_index(capsys, expected):
    pandas = pytest.importorskip("pandas")
    for name, rows in (("X", X), ("Q", Q)):
        pandas.DataFrame(columns(rows.astype(float))).to_csv(f"{name}.csv")
    answer, said = found(capsys, features="X.csv", queries="Q.csv")
    np.testing.assert_array_equal(answer["ids"], expected)
    assert "left out: '' (integer)" in said
    pandas.DataFrame(X).to_csv("X.csv", index=False)
    argv = search("X.csv", "Q.npy")
    assert "is its first line, 0 to 4, a header or a point?" in refused(capsys, argv)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n\n3,4\n", "--features X.csv line 3 has 1 fields, not 2"),
        ("a,a\n1,2\n", "names a column 'a' twice"),
        ("1,2\n3,x\n", "field 2 is a number in its first line and a text below"),
        ('a,b\n1,"2\n', "is not csv"),
        ("", "--features X.csv is empty"),
        ("word\nx\n", "has no numeric column that is a feature by its name, of word"),
        ("a,b\n1_0,2\n", "left out: a (text)"),
        ("a,b\n1,\n2,3\n", "holds NaN or infinity in 1 of 2 rows, first in row 0"),
    ],
)
def test_csv_that_is_none(capsys, text, message):
    Path("X.csv").write_text(text)
    np.save("one.npy", [[2.0]])
    assert main(search("X.csv", "one.npy")) in (0, 2)
    assert message in capsys.readouterr().err


def test_a_csv_in_another_code_is_refused(capsys):
    Path("X.csv").write_bytes("f0\n1\né\n".encode("latin-1"))
    assert "--features X.csv is not a text in UTF-8" in refused(capsys, search("X.csv"))


# Encodings, and texts as they are written


@pytest.mark.parametrize("ending", ["txt", "csv"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_mark_and_returns_join_no_name(ending, end):
    names = ["007", "im 1", "x\u2028y", "é"]
    Path(f"ids.{ending}").write_bytes(BOM + (end.join(names) + end).encode())
    assert read_names(Path(f"ids.{ending}"), option="--ids").tolist() == names


def test_a_column_of_names_by_its_header():
    Path("one.csv").write_text("id\n007\n8\n")
    Path("two.csv").write_text('label,id\n1,"a,b"\n2,08\n')
    parquet.write_table(pa.table({"f": [1.0, 2.0], "id": ["007", "8"]}), "three.parquet")
    parquet.write_table(pa.table({"name": ["007", "8"]}), "four.parquet")
    for name, expected in (("one.csv", ["007", "8"]), ("two.csv", ["a,b", "08"])):
        assert read_names(Path(name), option="--ids").tolist() == expected
    for name in ("three.parquet", "four.parquet"):
        assert read_names(Path(name), option="--ids").tolist() == ["007", "8"]
    Path("bad.csv").write_text("a,b\nx,y\n")
    with pytest.raises(ValueError, match=r"--ids bad\.csv has 2 columns and none named id or qid"):
        read_names(Path("bad.csv"), option="--ids")


@pytest.mark.parametrize("ending", ["txt", "csv"])
def test_an_empty_name_is_refused_by_its_line(capsys, ending):
    Path(f"ids.{ending}").write_text("a\nb\n\nd\n")
    argv = search("X.npy", "Q.npy", f"--ids=ids.{ending}")
    assert f"--ids ids.{ending} line 3 is empty: name every row" in refused(capsys, argv)


def test_a_mark_before_judgements(capsys):
    lines = "".join(f"{q} 0 {i} 1\n" for q in range(4) for i in range(10 * q, 10 * q + 10))
    figures = []
    for mark in (b"", BOM):
        Path("y.qrels").write_bytes(mark + lines.replace("\n", "\r\n").encode())
        argv = ["evaluate", "--json", "--protocol=trec", "--truth=y.qrels", "--features=X.npy", "--queries=Q.npy"]
        assert main(argv) == 0
        out, err = capsys.readouterr()
        figures.append(json.loads(out)["figures"])
        assert err == ""
    assert figures[0] == figures[1]


# Numbers as text, text as numbers


def propagated(capsys, *args):
    argv = [
        "propagate",
        "--json",
        "--features=X.npy",
        "--output=out.csv",
        "--n-neighbors=5",
        "--metric=euclidean",
        *args,
    ]
    assert main([*argv, "--on-failure=ignore"]) == 0
    facts = json.loads(capsys.readouterr().out)
    with open("out.csv", newline="") as file:
        return facts, [row["label"] for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def right():
    graph = build_graph(X, 5, edges="sum", metric="euclidean")
    return propagate(graph, Y, on_failure="ignore", points=point_set(X, "euclidean")).labels


@pytest.mark.parametrize("form", ["%.18e", "%d", "%.1f", "%+.3e"])
def test_labels_written_by_savetxt(capsys, right, form):
    """-1.000000000000000000e+00 is the marker, and 1.000e+00 the class 1."""
    np.savetxt("y.txt", Y, fmt=form)
    facts, labels = propagated(capsys, "--labels=y.txt")
    assert [entry["class"] for entry in facts["classes"]] == [0, 1, 2]
    assert facts["n_labelled"] == 20
    assert [int(label) for label in labels] == right.tolist()


@pytest.mark.parametrize("empty", ["", "nan", "NaN", "-1", " ", "-1.0", "<NA>"])
@pytest.mark.parametrize("ending", ["txt", "csv"])
@pytest.mark.parametrize("texts", [True, False])
def test_what_is_missing_is_no_class(capsys, right, empty, ending, texts):
    words = [f"k{label}" if texts else str(label) for label in Y]
    Path(f"y.{ending}").write_bytes(BOM + "".join(f"{word if label >= 0 else empty}\r\n" for word, label in zip(
        words, Y, strict=True)).encode())  # fmt: skip
    facts, labels = propagated(capsys, f"--labels=y.{ending}")
    assert facts["n_labelled"] == 20
    assert [entry["class"] for entry in facts["classes"]] == (["k0", "k1", "k2"] if texts else [0, 1, 2])
    assert labels == [f"k{label}" if texts else str(label) for label in right]


@pytest.mark.parametrize("header", [True, False])
def test_labels_of_a_csv(capsys, right, header):
    Path("y.csv").write_text("label\n" * header + "".join(f"{label}\n" for label in Y))
    assert [int(label) for label in propagated(capsys, "--labels=y.csv")[1]] == right.tolist()
    Path("y.csv").write_text("id,label\n" + "".join(f"{i},{label}\n" for i, label in enumerate(Y)))
    assert [int(label) for label in propagated(capsys, "--labels=y.csv")[1]] == right.tolist()


def test_another_marker_in_another_spelling(capsys):
    np.savetxt("y.txt", np.where(Y < 0, 99, Y))
    assert propagated(capsys, "--labels=y.txt", "--unlabeled=99")[0]["n_labelled"] == 20
    assert (marker_of("9.9e1"), marker_of("?"), marker_of("007")) == (99, "?", "007")


@pytest.mark.parametrize(
    ("lines", "labels"),
    [
        (["007", "8", "-1"], ["007", "8", None]),  # codes stay texts, and so does what stands beside them
        (["1_0", "2"], ["1_0", "2"]),
        (["1.5", "x"], ["1.5", "x"]),
        (["1152921504606846977", "1152921504606846979"], [2**60 + 1, 2**60 + 3]),
        (["1e3", "+2"], [1000, 2]),
        (["٣", "2"], ["٣", "2"]),
    ],
)
def test_texts_and_numbers_come_back_as_they_are(lines, labels):
    Path("y.txt").write_text("".join(f"{line}\n" for line in lines))
    found = read_labels(Path("y.txt"), option="--labels").tolist()
    assert found == labels
    assert [type(label) for label in found] == [type(label) for label in labels]


@pytest.mark.parametrize("line", ["0.5", "1e-3", "99999999999999999999"])
def test_numbers_that_are_no_classes_are_refused_by_their_line(capsys, line):
    Path("y.txt").write_text(f"1\n2\n{line}\n" + "-1\n" * 57)
    argv = ["propagate", "--features=X.npy", "--labels=y.txt", "--output=out.csv"]
    assert f"--labels y.txt line 3 holds {line}" in refused(capsys, argv)


@pytest.mark.parametrize("marker", ["-1", "-1.000e+00", ""])
@pytest.mark.parametrize("texts", [True, False])
def test_a_marker_of_a_truth_is_no_class(capsys, marker, texts):
    """Rows without a class are found by nobody's judgement: by hand, on both sides or one."""
    y = np.arange(60) % 4
    y[::5] = -1
    words = [marker if label < 0 else f"k{label}" if texts else str(label) for label in y]
    Path("y.txt").write_text("".join(f"{word}\n" for word in words))
    argv = ["evaluate", "--json", "--protocol=labels", "--truth=y.txt", "--features=X.npy", "--figures", "hit@1"]
    assert main(argv) == 0
    unit = X / np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
    near = unit @ unit.T
    np.fill_diagonal(near, -np.inf)
    hits = (y[near.argmax(axis=1)] == y)[y >= 0]
    figures = json.loads(capsys.readouterr().out)["figures"]["neighbours"]["all"]
    assert figures["hit@1"] == pytest.approx(hits.mean(), abs=1e-12)
    Path("yq.txt").write_text("".join(f"{'k' if texts else ''}{label}\n" for label in (3, 1, 0, 2)))
    argv = ["evaluate", "--json", "--protocol=labels", "--truth", "y.txt", "yq.txt", "--features=X.npy"]
    assert main([*argv, "--queries=Q.npy", "--figures", "hit@1"]) == 0
    nearest = (Q / np.linalg.norm(Q.astype(np.float64), axis=1, keepdims=True) @ unit.T).argmax(axis=1)
    figures = json.loads(capsys.readouterr().out)["figures"]["neighbours"]["all"]
    assert figures["hit@1"] == pytest.approx((y[nearest] == [3, 1, 0, 2]).mean(), abs=1e-12)


def test_a_truth_of_two_kinds_is_refused(capsys):
    Path("y.txt").write_text("a\n" * 60)
    np.save("yq.npy", np.arange(4))
    argv = ["evaluate", "--protocol=labels", "--truth", "y.txt", "yq.npy", "--features=X.npy", "--queries=Q.npy"]
    assert "give both sides the same kind" in refused(capsys, argv)
