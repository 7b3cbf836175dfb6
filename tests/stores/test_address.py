"""Addresses of stores: what they open is what the client of the store opens, and others are refused by name."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from real_stores import DIMENSION, KINDS

from manifold.stores import open_store


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("items.db", "with what it holds after '#'"),
        ("lancedb:folder", "with what it holds after '#'"),
        ("lancedb:folder#", "with what it holds after '#'"),
        ("mysql://host/db#items", "a store is postgresql:, "),
        ("chroma:folder#items", "id of a chroma store is its own: leave id='key' out"),
        ("qdrant+http://host:6333#items", "id of a qdrant store is its own"),
    ],
)
def test_an_address_that_is_none_is_refused_by_name(address, message):
    with pytest.raises(ValueError, match=message):
        open_store(address, id="key")


def test_an_address_opens_what_the_client_does(tmp_path, rng):
    live = KINDS["lancedb"].start(tmp_path, "euclidean")
    live.put(["a", "b"], rng.normal(size=(2, DIMENSION)), [0, 1])
    store = open_store(f"lancedb:{next(tmp_path.glob('lance_*'))}#items", metric="euclidean")
    (ids, rows), (expected, X) = (next(iter(one.batches())) for one in (store, live.store))
    assert (store.metric, list(ids)) == ("euclidean", list(expected))
    np.testing.assert_array_equal(rows, X)


@pytest.mark.parametrize("kind", ["lancedb", "chroma"])
def test_a_folder_that_is_not_there_is_not_made(kind, tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"no folder '.*none', as the address '{kind}:.*none' says"):
        open_store(f"{kind}:{tmp_path / 'none'}#items")
    assert not list(tmp_path.iterdir())


def test_a_client_that_is_missing_names_the_line_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(ImportError, match=r"pip install 'manifold-search\[stores\]'"):
        open_store("lancedb:folder#items")
