"""`fit --store` and `sync`: addresses of real stores in, saved searches that are in step with them out."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from real_stores import DIMENSION, KINDS, postgres

import manifold as mf
from manifold.cli import main

RNG = np.random.default_rng(97)
X = RNG.normal(size=(40, DIMENSION)).astype(np.float32)
NAMES = [f"item-{i}" for i in range(40)]


def pgvector(folder):
    live = KINDS["pgvector"].start(folder)
    return f"{postgres()[0]}#{live.store.table}", live.put, live.drop


def lance(folder):
    live = KINDS["lancedb"].start(folder)
    at = next(folder.glob("lance_*"))
    return f"lancedb:{at}#items", live.put, live.drop


def chroma(folder):
    chromadb = pytest.importorskip("chromadb", reason="pip install 'manifold-search[stores]'")
    from chromadb.config import Settings

    client = chromadb.PersistentClient(path=str(folder / "chroma"), settings=Settings(anonymized_telemetry=False))
    held = client.create_collection("items", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None)
    put: Any = lambda ids, rows, _: held.upsert(ids=list(ids), embeddings=np.asarray(rows))  # noqa: E731
    return f"chroma:{folder / 'chroma'}#items", put, lambda ids: held.delete(ids=list(ids))


def said(capsys, *argv):
    assert main([*argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("start", [pgvector, lance, chroma])
def test_a_saved_search_follows_its_store(tmp_path, capsys, start):
    address, put, drop = start(tmp_path)
    put(NAMES, X, range(40))
    saved = f"--output={tmp_path / 'saved'}"
    facts = said(capsys, "fit", f"--store={address}", saved, "--preset=plain-diffusion", "--n-neighbors=4")
    assert facts["n_items"] == 40
    index = f"--index={tmp_path / 'saved'}"
    assert said(capsys, "sync", index, f"--store={address}")["changes"] == {"new": 0, "changed": 0, "gone": 0}
    drop(NAMES[:3])
    put(["new", NAMES[7]], X[[0, 1]] + 1, [0, 1])
    facts = said(capsys, "sync", index, f"--store={address}")
    assert facts["changes"] == {"new": 1, "changed": 1, "gone": 3}
    assert facts["n_items"] == 38

    now = dict(zip(NAMES[3:], X[3:], strict=True)) | {NAMES[7]: X[1] + 1, "new": X[0] + 1}
    search = mf.load(tmp_path / "saved")
    assert set(search.ids_.tolist()) == set(now)
    again = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=4).fit(
        np.array([now[name] for name in search.ids_.tolist()]), ids=search.ids_
    )
    found, expected = (one.search(X[:5], k=6, slack=0) for one in (search, again))
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)


def test_what_is_of_a_file_is_refused_for_a_store(tmp_path, capsys):
    argv = ["fit", "--store=postgresql://nowhere/db#items", f"--output={tmp_path / 'saved'}"]
    assert main([*argv, "--columns", "f*"]) == 2
    assert "--columns is of a file" in capsys.readouterr().err


def test_a_store_that_is_away_leaves_the_saved_search(tmp_path, capsys):
    np.save(tmp_path / "X.npy", X)
    said(capsys, "fit", f"--features={tmp_path / 'X.npy'}", f"--output={tmp_path / 'saved'}")
    before = mf.load(tmp_path / "saved").search(X[:4], k=3)
    pytest.importorskip("psycopg", reason="pip install 'manifold-search[stores]'")
    away = "postgresql://nobody@127.0.0.1:9/db?connect_timeout=2#items"
    assert main(["sync", f"--index={tmp_path / 'saved'}", f"--store={away}"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("manifold: error: the store does not answer (OperationalError: ")
    assert err.count("\n") == 1
    assert "nobody@" not in err
    np.testing.assert_array_equal(mf.load(tmp_path / "saved").search(X[:4], k=3).ids, before.ids)
