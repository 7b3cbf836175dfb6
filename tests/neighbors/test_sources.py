"""Features of files and batches: what is mapped, what is written once, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import manifold as mf
from manifold.errors import ManifoldWarning
from manifold.neighbors import find_neighbors, point_set
from manifold.neighbors.sources import Held, Mapped, open_features, source_of, write_features
from manifold.ranking import GraphSearch


@pytest.fixture
def X(rng):
    return rng.normal(size=(60, 5)).astype(np.float32)


def safetensors(path, **arrays):
    names = {"f4": "F32", "f2": "F16", "i1": "I8", "u1": "U8", "u2": "BF16", "f8": "F64"}
    header, at = {"__metadata__": {"by": "hand"}}, 0
    for name, array in arrays.items():
        told = {"dtype": names[array.dtype.str[1:]], "shape": list(array.shape)}
        header[name] = {**told, "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    data = b"".join(array.tobytes() for array in arrays.values())
    Path(path).write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8"])
@pytest.mark.parametrize("suffix", ["npy", "safetensors"])
def test_files_are_mapped_where_they_lie(suffix, dtype, X):
    X = np.abs(9 * X).astype(dtype)
    if suffix == "npy":
        np.save("X.npy", X)
    else:
        safetensors("X.safetensors", more=X[0], rows=X)
    rows = open_features(f"X.{suffix}")
    assert isinstance(rows, np.memmap)
    assert rows.dtype == dtype
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(point_set(f"X.{suffix}").X, X)


def test_safetensors_as_its_own_package_writes_them(X):
    package = pytest.importorskip("safetensors.numpy")
    package.save_file({"rows": X}, "X.safetensors")
    np.testing.assert_array_equal(open_features("X.safetensors"), X)


@pytest.mark.parametrize("kind", ["f8", "bf16"])
def test_other_numbers_are_written_once_as_float32(kind, X):
    if kind == "f8":
        np.save("X.npy", X.astype(np.float64))
        path, expected = "X.npy", X
    else:
        upper = (X.view(np.uint32) >> 16).astype(np.uint16)
        safetensors("X.safetensors", rows=upper)
        path, expected = "X.safetensors", (upper.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(open_features(path), expected)
    rows = open_features(path, copy="copy.npy")
    assert isinstance(rows, np.memmap)
    np.testing.assert_array_equal(np.load("copy.npy"), expected)


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "feather"])
@pytest.mark.parametrize("lists", ["list", "fixed", "columns"])
def test_tables_are_read_by_batches(suffix, lists, X):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import ipc, parquet

    if lists == "columns":
        table = pa.table({f"x{i}": X[:, i] for i in range(X.shape[1])})
    else:
        kind = pa.list_(pa.float32(), *([X.shape[1]] if lists == "fixed" else []))
        table = pa.table({"vector": pa.array(X.tolist(), kind)})
    if suffix == "parquet":
        parquet.write_table(table, "X.parquet", row_group_size=25)
    else:
        with ipc.new_file(f"X.{suffix}", table.schema) as file:
            file.write_table(table, max_chunksize=25)
    np.testing.assert_array_equal(open_features(f"X.{suffix}", copy="copy.npy"), X)
    np.testing.assert_array_equal(open_features(f"X.{suffix}"), X)


def written(table, path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import ipc, parquet

    made = pa.table(table)
    if path.endswith(".parquet"):
        parquet.write_table(made, path)
    else:
        with ipc.new_file(path, made.schema) as file:
            file.write_table(made, max_chunksize=25)
    return path


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_items_are_named_by_a_column_of_their_file(suffix, X):
    names, titles = [f"item {i}" for i in range(60)], ["a title"] * 60
    columns = {f"x{i}": X[:, i] for i in range(X.shape[1])}
    expected = mf.ManifoldSearch(n_neighbors=4).fit(X, names)
    ask = expected.search(X[:5], k=3)
    path = written({"id": names, "vector": X.tolist(), "title": titles}, f"lists.{suffix}")
    with pytest.warns(ManifoldWarning, match=r"column of lists 'vector'; left out: title \(string\); ids='NAME'"):
        found = mf.ManifoldSearch(n_neighbors=4).fit(path, ids="id")
    np.testing.assert_array_equal(found.search(X[:5], k=3).ids, ask.ids)
    named = mf.ManifoldSearch(n_neighbors=4).fit(written({**columns, "id": names}, f"numbers.{suffix}"), ids="id")
    assert named.ids_.tolist() == names
    backwards = pytest.importorskip("pandas").DataFrame(X[:5], columns=list(columns)).iloc[:, ::-1]
    np.testing.assert_array_equal(named.search(backwards, k=3).ids, ask.ids)  # columns go by name, as those of a frame
    numbers = written({"id": range(60), **columns}, f"integers.{suffix}")
    assert mf.ManifoldSearch(n_neighbors=4).fit(numbers, ids="id").fitted_.points.X.shape == X.shape
    walks = GraphSearch().fit(expected.graph_, numbers, ids="id").search(X[0], k=1)
    assert walks.ids.tolist() == [0]


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_what_a_table_leaves_open_is_asked(suffix, X):
    path = written({"a": X.tolist(), "b": X.tolist()}, f"two.{suffix}")
    with pytest.raises(ValueError, match=r"2 columns of lists, \['a', 'b'\]: pass pyarrow\..*\['a'\]"):
        point_set(path)
    path = written({"title": ["x"] * 60, "x0": X[:, 0], "x1": X[:, 1]}, f"texts.{suffix}")
    with pytest.raises(TypeError, match=r"'title' \(string\): name items by one, .*ids='title', or .*\['x0', 'x1'\]"):
        point_set(path)
    with pytest.raises(ValueError, match=r"ids='key' is no column of .*, which has \['title', 'x0', 'x1'\]"):
        mf.ManifoldSearch().fit(path, ids="key")
    np.save("X.npy", X)
    with pytest.raises(ValueError, match="ids='key' would name a column"):
        mf.ManifoldSearch().fit("X.npy", ids="key")


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_points_far_away_keep_their_distances_in_files_too(suffix, X):
    far = X.astype(np.float64) + 1e9
    np.save("far.npy", far)
    path = "far.npy" if suffix == "npy" else written({"v": far.tolist()}, "far.parquet")
    expected = find_neighbors(far, 4, metric="euclidean")
    np.testing.assert_array_equal(find_neighbors(path, 4, metric="euclidean").indices, expected.indices)


def test_batches_are_written_once_and_searched(X):
    found = find_neighbors((X[i : i + 7] for i in range(0, 60, 7)), 4, folder="lists", method="inverted_file")
    memory = find_neighbors(X, 4, method="inverted_file")
    np.testing.assert_array_equal(found.indices, memory.indices)
    np.testing.assert_array_equal(np.load("lists.features.npy"), X)


def test_where_rows_are(X):
    np.save("X.npy", X)
    rows = np.load("X.npy", mmap_mode="r")
    for part in (rows, rows[7:], point_set(rows).X, np.asarray(rows[3:40])):
        source = source_of(part)
        assert isinstance(source, Mapped)
        np.testing.assert_array_equal(source.open(), part)
    for part in (X, rows[:, 1:], rows[::2], np.array(rows), rows + 1):
        source = source_of(part)
        assert isinstance(source, Held)
        np.testing.assert_array_equal(source.open(), part)


def forged(path, header):
    text = json.dumps(header).encode()
    Path(path).write_bytes(len(text).to_bytes(8, "little") + text + bytes(40))


def test_what_is_refused(X):
    np.save("cube.npy", X.reshape(3, 4, 25))
    np.save("texts.npy", np.array([["a"]]))
    np.save("whole.npy", X)
    Path("cut.npy").write_bytes(Path("whole.npy").read_bytes()[:300])
    Path("empty.npy").write_bytes(b"")
    np.save("objects.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    Path("X.txt").write_text("1 2")
    Path("short.safetensors").write_bytes(b"12")
    safetensors("two.safetensors", a=X, b=X)
    forged("bomb.safetensors", {"x": {"dtype": "F32", "shape": [10**9, 9], "data_offsets": [0, 36 * 10**9]}})
    forged("odd.safetensors", {"x": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 12]}})
    forged("kind.safetensors", {"x": {"dtype": "I64", "shape": [2, 2], "data_offsets": [0, 32]}})
    for path, error, message in (
        ("none.npy", FileNotFoundError, "is no file"),
        ("X.txt", ValueError, "must end in .npy"),
        ("cube.npy", ValueError, "must hold rows"),
        ("texts.npy", TypeError, "texts.npy|batch|X"),
        ("cut.npy", ValueError, r"X='cut\.npy' cannot be read"),
        ("empty.npy", ValueError, r"X='empty\.npy' cannot be read"),
        ("objects.npy", ValueError, r"X='objects\.npy' cannot be read"),
        ("short.safetensors", ValueError, "no file of safetensors"),
        ("two.safetensors", ValueError, r"one tensor of rows, has \['a', 'b'\]"),
        ("bomb.safetensors", ValueError, "damaged"),
        ("odd.safetensors", ValueError, "damaged"),
        ("kind.safetensors", TypeError, "holds I64"),
    ):
        with pytest.raises(error, match=message):
            open_features(path)
    for batches, message in (
        ([], "no batches"),
        ([X, X[:, :3]], "batch 1 is float32 with 3 features"),
        ([X, X.astype(np.int8)], "batch 1 is int8"),
        ([X, X * np.float32(np.nan)], "batch 1 holds NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            write_features(batches, "X.npy")
        assert not Path("X.npy").exists()
