"""`manifold mine`: what it writes is what `mine_negatives` finds, and what it refuses it names."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import manifold as mf
from manifold import discovery
from manifold.cli import main


@pytest.fixture
def files():
    X, _ = mf.datasets.digits()
    np.save("X.npy", X[:300])
    np.save("Q.npy", X[1700:1712])
    positives = mf.find_neighbors(np.concatenate([X[:300], X[1700:1712]]), 12).indices[300:]
    positives = np.array([next(int(i) for i in row if i < 300) for row in positives])
    np.save("p.npy", positives)
    return X[:300], X[1700:1712], positives


ARGS = ["mine", "--features", "X.npy", "--queries", "Q.npy", "--positives", "p.npy", "-n", "4", "--exclude", "8"]


def test_a_row_a_negative(files, capsys):
    X, Q, positives = files
    assert main([*ARGS, "--certify", "--json", "--output", "mined.csv"]) == 0
    facts = json.loads(capsys.readouterr().out)
    search = mf.ManifoldSearch(
        preset="plain-diffusion", n_neighbors=10, n_seeds=10, alpha=0.8, gamma=3, edges="union"
    ).fit(X)
    mined = discovery.mine_negatives(search, Q, positives, n=4, exclude=8, certify=True)
    with open("mined.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["query", "positive", "negative", "similarity", "score", "certified"]
    assert [int(row["negative"]) for row in rows] == mined.negatives.ids.tolist()
    assert [int(row["query"]) for row in rows] == mined.negatives.owners.tolist()
    assert [int(row["positive"]) for row in rows] == np.repeat(positives, 4).tolist()
    np.testing.assert_allclose([float(row["similarity"]) for row in rows], mined.negatives.similarities)
    assert facts["n_negatives"] == len(rows) == 48
    assert facts["certified"] == mined.negatives.certified.mean()
    assert facts["warnings"] == []


def test_names_and_parquet(files, capsys):
    parquet = pytest.importorskip("pyarrow.parquet")
    _, _, positives = files
    with open("ids.txt", "w") as file:
        file.write("\n".join(f"d{i}" for i in range(300)))
    with open("p.txt", "w") as file:
        file.write("\n".join(f"d{i}" for i in positives))
    args = ["p.txt" if one == "p.npy" else one for one in ARGS]
    assert main([*args, "--ids", "ids.txt", "--of", "positive", "--output", "mined.parquet"]) == 0
    table = parquet.read_table("mined.parquet").to_pydict()
    assert table["positive"][:4] == [f"d{positives[0]}"] * 4
    assert all(name.startswith("d") for name in table["negative"])
    assert "48 negatives of 12 queries" in capsys.readouterr().out


def test_integers_in_a_text_file_name_rows(files):
    with open("p.txt", "w") as file:
        file.write("\n".join(map(str, files[2])))
    args = ["p.txt" if one == "p.npy" else one for one in ARGS]
    assert main([*args, "--output", "a.csv"]) == main([*ARGS, "--output", "b.csv"]) == 0
    with open("a.csv") as a, open("b.csv") as b:
        assert a.read() == b.read()


def test_what_is_refused(files, capsys):
    np.save("few.npy", files[2][:3])
    with open("names.txt", "w") as file:
        file.write("\n".join(["a"] * 12))
    for change, words in (
        ({"p.npy": "few.npy"}, "one for each of 12 queries"),
        ({"p.npy": "names.txt"}, "items are named by integers"),
        ({"4": "0"}, "-n must be at least 1"),
        ({"X.npy": "absent.npy"}, "absent.npy"),
    ):
        assert main([*(change.get(one, one) for one in ARGS), "--output", "out.csv"]) == 2
        assert words in capsys.readouterr().err
    assert main([*ARGS, "--output", "out.txt"]) == 2
