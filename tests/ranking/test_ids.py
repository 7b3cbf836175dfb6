"""Ids of every kind come back as they were given: from a fit, a search, a shortlist,
a change, a file, a fusion, and figures."""

from __future__ import annotations

import os
import tracemalloc
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import manifold as mf
from manifold.errors import CorruptFileError
from manifold.ranking._collection import Ids, as_names
from manifold.storage import decode_names, encode_names

CASES = int(os.environ.get("IDS_CASES", "300"))  # 2,000 and more by hand
N = 6
X = np.random.default_rng(5).standard_normal((N + 2, 3)).astype(np.float32)

KINDS = {
    "int64": (st.integers(-(2**63), 2**63 - 1), np.int64),
    "uint64": (st.integers(0, 2**64 - 1), np.uint64),
    "int8": (st.integers(-128, 127), np.int8),
    "integers": (st.integers(-(2**80), 2**80), object),
    "beyond 2^53": (st.integers(2**60, 2**60 + 9), None),
    "strings": (st.text(min_size=1, max_size=6), None),
    "string objects": (st.text(min_size=1, max_size=6), object),
    "StringDType": (st.text(min_size=1, max_size=6), np.dtypes.StringDType()),
    "long strings": (st.text(min_size=1, max_size=4).map(lambda text: text * 200), None),
    "UUIDs": (st.uuids(), None),
}


def held(names, dtype):
    return names if dtype is None else np.array(names, dtype=dtype)


@pytest.fixture(scope="module")
def rows():
    """What is answered where the ids are rows: before the last two items join, and after the third has left."""
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2, solver="direct").fit(X[:N])
    lists = [ask(search, range(N)) for ask in ASKED]
    search.add(X[N:])
    search.remove([2])
    return [(ranking.ids.tolist(), ranking.scores.tobytes()) for ranking in [*lists, search.search(X[0], k=7)]]


ASKED = (
    lambda search, names: search.search(X[N], k=4),
    lambda search, names: search.similar(names[1], k=4),
    lambda search, names: search.rerank([names[3], names[0], names[5]], [0.9, 0.8, 0.1]),
)


@given(data=st.data(), name=st.sampled_from(sorted(KINDS)))
@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
def test_ids_round_trip_through_every_door(rows, monkeypatch, data, name):
    monkeypatch.setattr("manifold.storage._files.os.fsync", lambda file: None)  # disks are not what is tested
    some, dtype = KINDS[name]
    names = data.draw(st.lists(some.filter(lambda x: x != -1), min_size=N + 2, max_size=N + 2, unique=True))
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2, solver="direct").fit(
        X[:N], held(names[:N], dtype)
    )
    assert search.ids_.tolist() == names[:N]

    def assert_alike(ranking, expected):
        assert ranking.ids.tolist() == [names[row] for row in expected[0]]
        assert ranking.scores.tobytes() == expected[1]

    for ask, expected in zip(ASKED, rows, strict=False):
        assert_alike(ask(search, names), expected)
    assert search.add(X[N:], held(names[N:], dtype)).tolist() == names[N:]
    search.remove(held([names[2]], dtype))
    loaded = mf.load(search.save("s"))
    assert loaded.ids_.tolist() == search.ids_.tolist() == [*names[:2], *names[3:]]
    for changed in (search, loaded):
        assert_alike(changed.search(X[0], k=7), rows[-1])
    missing = None if name == "UUIDs" else "" if "tring" in name else -1
    assert loaded.rerank([names[3], missing], [0.5, 0.0]).ids.tolist() == [names[3], missing]
    if any(str(one).endswith("\0") for one in loaded.ids_.tolist()):
        with pytest.raises(ValueError, match="ids end with NUL"):
            mf.reranking.fuse_rankings([loaded.search(X[:2], k=7)] * 2)
        return
    ranking = loaded.search(X[:2], k=3)
    first = [[row[0]] for row in ranking.ids.tolist()]
    assert mf.metrics.hit_rate_at_k(ranking.ids, first, k=1) == 1
    found = [names[0] in row for row in ranking.ids.tolist()]
    assert mf.metrics.recall_at_k(ranking.ids, [{names[0]: 1}] * 2, k=3) == np.mean(found)
    fused, _ = mf.reranking.fuse_rankings([ranking, ranking], rule="reciprocal_rank", k=3)
    assert fused.tolist() == ranking.ids.tolist()


def test_integers_at_their_limits_are_found():
    ids = (2**60 + np.arange(5)).astype(np.uint64)
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2).fit(X[:5], ids)
    assert int(ids[3]) not in search.similar(int(ids[3]), k=4).ids
    assert search.add(X[5:7]).tolist() == [2**60 + 5, 2**60 + 6]
    assert search.ids_.dtype == np.uint64
    with pytest.raises(ValueError, match=f"first {2**60 + 9}"):
        search.similar(2**60 + 9)
    top = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=1).fit(
        X[:2], np.array([2**64 - 1, 2**63], dtype=np.uint64)
    )
    assert top.rerank([[2**63, -1]], [[0.5, 0.0]]).ids.tolist() == [[2**63, -1]]  # no pad is an id: 2^64 - 1 is none
    assert top.add(X[2:3]).tolist() == [2**64]
    small = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2).fit(
        X[:3], np.array([127, 3, -128], dtype=np.int8)
    )
    assert small.add(X[3:4]).tolist() == [128]
    assert small.ids_.tolist() == [127, 3, -128, 128]


def test_negative_ids_are_ids_but_for_the_marker():
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2).fit(X[:5], ids=-5 - np.arange(5))
    assert search.search(X[0], k=1).ids.tolist() == [-5]
    assert search.add(X[5:6]).tolist() == [0]
    search.remove([-7])
    assert -7 not in search.search(X[2], k=5).ids
    with pytest.raises(ValueError, match="ids must not be -1, which marks a missing item: choose other names"):
        mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2).fit(X[:3], ids=[0, -1, -2])


def test_uuids_are_answered_as_uuids():
    names = [UUID(int=2**100 + i) for i in range(5)]
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2).fit(X[:5], names)
    ranking = search.rerank([[names[1], names[4]], [names[2], None]], [[0.5, 0.4], [0.3, 0.0]])
    assert all(isinstance(name, UUID) for name in ranking.ids[0])
    assert ranking.ids[1].tolist() == [names[2], None]
    with pytest.raises(TypeError, match="ids must be UUIDs, got dtype <U36"):
        search.similar(str(names[0]))
    search.remove(names)
    emptied = mf.load(search.save("s"))
    assert emptied.add(X[:1], [names[0]]).tolist() == [names[0]]
    with pytest.raises(TypeError, match="UUIDs for names must be given"):
        emptied.add(X[:1])


@pytest.mark.parametrize("as_text", [False, True], ids=["UUIDs", "their texts"])
def test_integers_and_uuids_stand_beside_each_other(as_text):
    some = [UUID(int=2**90 + i) for i in range(3)]
    some = [str(name) for name in some] if as_text else some
    names = [5, some[0], 7, some[1], 2**70]
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2).fit(X[:5], names)
    rows = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2).fit(X[:5])
    assert search.search(X[5], k=5).ids.tolist() == [names[i] for i in rows.search(X[5], k=5).ids]
    loaded = mf.load(search.save("s"))
    assert list(map(type, loaded.ids_)) == [type(name) for name in names]
    listed = [names[3], some[2], 7, 9, None], [0.9, 0.8, 0.7, 0.6, 0.0]
    assert loaded.rerank(*listed, unknown="behind").ids.tolist()[2:] == [some[2], 9, None]
    with pytest.raises(TypeError, match="ids must be integers and UUIDs, got dtype <U1"):
        search.rerank(["7"], [0.5])
    assert search.similar(7, k=2).ids.shape == (2,)
    assert 7 not in search.similar(7, k=4).ids.tolist()
    plain = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2).fit(X[:4])
    assert plain.rerank([2, some[0]], [0.9, 0.8], unknown="behind").ids.tolist() == [2, some[0]]
    plain.update(X[4:6], [some[0], 2], gone=[0])
    assert plain.ids_.tolist() == [1, 3, some[0], 2]
    with pytest.raises(ValueError, match="occurs twice"):
        mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2).fit(X[:3], [some[0], 3, some[0]])


@pytest.mark.parametrize(
    ("ids", "error", "match"),
    [
        ([True, False, True], TypeError, "got dtype bool"),
        ([0.0, 1.0, 2.0], TypeError, "got dtype float64"),
        (["a", 1, "b"], TypeError, "got int and str"),
        ([None, None, None], ValueError, "must not be -1"),
        (["a", None, "b"], ValueError, "must not be ''"),
        ([2**70, -1, 3], ValueError, "must not be -1"),
        ([UUID(int=1), None, UUID(int=2)], ValueError, "must not be None"),
        ([2**70, 2**70, 3], ValueError, f"{2**70} occurs twice"),
        (["a\0", "a\0", "a"], ValueError, r"'a\\x00' occurs twice"),
        (np.array(["2020", "2021", "2022"], dtype="M8[Y]"), TypeError, "datetime64"),
        ([[1, 2, 3]], ValueError, r"got shape \(1, 3\)"),
    ],
    ids=str,
)
def test_what_names_nothing_is_refused_by_name(ids, error, match):
    with pytest.raises(error, match=match):
        mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2).fit(X[:3], ids=ids)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pd.Series([5, 7], index=[1, 0]), [5, 7]),
        (pd.Series([5, None], dtype="Int64"), [5, -1]),
        (pd.Series(["a", None]), ["a", ""]),
        (np.array(["a", np.nan], dtype=np.dtypes.StringDType(na_object=np.nan)), ["a", ""]),
        ([np.int32(5), 2**63], [5, 2**63]),
        ([np.str_("a"), "b"], ["a", "b"]),
        (np.array([3, 4], dtype=">i8"), [3, 4]),
        ((5, 6), [5, 6]),
        (7, 7),
    ],
    ids=str,
)
def test_ids_are_read_by_place_whatever_holds_them(given, expected):
    assert as_names(given)[0].tolist() == expected


def test_a_long_id_widens_no_other():
    names = [f"item {i}" for i in range(4999)] + ["x" * 20_000]
    tracemalloc.start()
    ids = Ids(names, 5000)
    assert ids.rows(names[::-1])[0] == 4999
    assert ids.names(np.arange(5000)).tolist() == names
    array, how = encode_names(ids.values)
    assert decode_names(array, how).tolist() == names
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20  # 400 MB as an array of fixed width
    wide = Ids(np.array(names[-20:]), 20)
    assert wide.values.dtype == object
    assert wide.rows([names[-1], names[-2]]).tolist() == [19, 18]
    narrow = Ids(["a", "b"], 2)
    with pytest.raises(ValueError, match="not in the collection"):
        narrow.rows(["a", "x" * 20_000])


def test_names_that_are_read_late_are_refused_when_first_used(tmp_path):
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2).fit(X[:5], ids=list("abcde"))
    lazy = mf.load(search.save("s"), verify="lazy")
    assert callable(lazy.fitted_.ids._held)
    assert lazy.similar("a", k=2).ids.tolist() == search.similar("a", k=2).ids.tolist()
    path = next((tmp_path / "s").glob("names.manifold-*.npy"))
    data = bytearray(path.read_bytes())
    data[-1] = 0xFF  # no UTF-8
    path.write_bytes(data)
    damaged = mf.load("s", verify="lazy")
    with pytest.raises(CorruptFileError, match=r"s: 'utf-8' codec can't decode byte 0xff"):
        damaged.similar("a")
