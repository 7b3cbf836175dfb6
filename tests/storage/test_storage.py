"""Saved folders: what goes in comes back to the bit, and nothing else in the way is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from saves import VERSIONS, file_of, rewrite, save, version_of
from scipy import sparse

import manifold as mf
from manifold.errors import CorruptFileError
from manifold.storage import _manifest, load_arrays, save_arrays

# ---- round trips


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("verify", ["full", "lazy"])
def test_arrays_come_back_to_the_bit(rng, mmap, verify):
    arrays = {}
    for i, dtype in enumerate(_manifest.DTYPES):
        for j, shape in enumerate([(), (0,), (0, 3), (7,), (3, 5), (2, 3, 4)]):
            bits = rng.integers(0, 256, (*shape, np.dtype(dtype).itemsize), dtype=np.uint8)
            bits = bits & 1 if dtype == "|b1" else bits  # every other pattern counts, NaNs with payload too
            arrays[f"a{i}_{j}"] = np.ascontiguousarray(bits).view(dtype).reshape(shape)
    parameters = {"k": 3, "f": 0.1, "s": "é\n", "none": None, "nested": {"list": [1, [2.5, True]]}, "one": np.int64(1)}
    path = save_arrays("x", kind="bits", arrays=arrays, parameters=parameters)
    stored = load_arrays(path, verify=verify, mmap=mmap)
    assert stored.kind == "bits"
    assert stored.parameters == parameters
    assert list(stored.arrays) == list(arrays)
    for name, array in arrays.items():
        got = stored.arrays[name]
        assert (got.dtype, got.shape, got.tobytes()) == (array.dtype, array.shape, array.tobytes())
        assert isinstance(got, np.memmap) is mmap
        assert got.flags.writeable is not mmap


def test_files_are_plain_npy():
    save("x", 0)
    for name, array in VERSIONS[0].items():
        loaded = np.load(file_of(Path("x"), name), mmap_mode="r", allow_pickle=False)
        assert loaded.dtype == array.dtype
        assert np.array_equal(loaded, array)
        assert loaded.offset % 64 == 0


def test_any_memory_layout_is_stored_little_endian_in_c_order():
    array = np.arange(24.0).reshape(4, 6)
    arrays = {"fortran": np.asfortranarray(array), "strided": array[::2, ::-1], "big": array.astype(">f4"), "list": [1]}
    stored = load_arrays(save_arrays("x", kind="test", arrays=arrays, parameters={}))
    for name, expected in arrays.items():
        assert np.array_equal(stored.arrays[name], expected)
    assert stored.arrays["big"].dtype == np.dtype("<f4")


def test_many_chunks(monkeypatch, rng):
    monkeypatch.setattr(_manifest, "_CHUNK", 1000)
    array = rng.random(12345)
    assert np.array_equal(
        load_arrays(save_arrays("x", kind="a", arrays={"a": array}, parameters={})).arrays["a"], array
    )


@pytest.mark.parametrize(
    "path", ["with space", "zażółć-图-🗺", "x/../y", "quote'\"$(x)", b"caf\xe9".decode("utf-8", "surrogateescape")]
)
@pytest.mark.parametrize("kind", [str, Path])
def test_row_72_any_path(path, kind):
    Path("x").mkdir()
    assert isinstance(save_arrays(kind(path), kind="test", arrays=VERSIONS[0], parameters={"version": 0}), Path)
    assert version_of(kind(path)) == 0
    assert version_of(os.path.abspath(path)) == 0


def test_row_73_the_same_input_gives_the_same_manifest_but_for_its_files():
    texts = []
    for seed in ("0", "1"):
        code = (
            "import numpy as np; from manifold.storage import save_arrays;"
            "save_arrays('h', kind='k', arrays={x: np.arange(3) for x in 'dbca'}, parameters={'b': 1, 'a': 2})"
        )
        subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONHASHSEED": seed})
        manifest = json.loads(Path("h/manifest.json").read_text())
        del manifest["sha256"]
        for entry in manifest["arrays"].values():
            del entry["file"]
        texts.append(json.dumps(manifest))
    assert texts[0] == texts[1]


# ---- what cannot be stored is refused before the disk is touched


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"arrays": {"a": np.array([{}, None])}}, TypeError),
        ({"arrays": {"a": np.array(["text"])}}, TypeError),
        ({"arrays": {"a": np.array([1j])}}, TypeError),
        ({"arrays": {"a": np.array([1], "M8[s]")}}, TypeError),
        ({"arrays": {"a": np.zeros(2, [("x", "f4")])}}, TypeError),
        ({"arrays": {"a": np.zeros(2, np.longdouble)}}, TypeError),
        ({"arrays": {"a": np.zeros((1,) * 33)}}, TypeError),
        ({"arrays": {"manifest.json": np.zeros(2)}}, ValueError),
        ({"arrays": {"../x": np.zeros(2)}}, ValueError),
        ({"arrays": {"/tmp/x": np.zeros(2)}}, ValueError),
        ({"arrays": {"": np.zeros(2)}}, ValueError),
        ({"arrays": {"A": np.zeros(2)}}, ValueError),
        ({"arrays": {"a\n": np.zeros(2)}}, ValueError),
        ({"arrays": {3: np.zeros(2)}}, ValueError),
        ({"arrays": {f"a{i}": np.zeros(1) for i in range(257)}}, ValueError),
        ({"parameters": {"x": float("nan")}}, TypeError),
        ({"parameters": {"x": (1, 2)}}, TypeError),
        ({"parameters": {1: 2}}, TypeError),
        ({"parameters": {"x": np.zeros(3)}}, TypeError),
        ({"parameters": {"x": {1, 2}}}, TypeError),
        ({"parameters": {"x": "y" * 300_000}}, ValueError),
        ({"kind": "no kind"}, ValueError),
    ],
)
def test_what_cannot_be_stored(change, error):
    with pytest.raises(error):
        save_arrays("x", **{"kind": "test", "arrays": {}, "parameters": {}, **change})
    assert not os.path.exists("x")


@pytest.mark.parametrize("content", ["file", "folder", "foreign manifest", "newer", "damaged", "dangling link"])
def test_what_is_not_such_a_save_is_never_replaced(content):
    path = Path("x")
    if content == "file":
        path.write_text("precious")
    elif content == "dangling link":
        path.symlink_to("nowhere")
    else:
        path.mkdir()
        (path / "precious.manifold-0123.npy").write_text("precious")
    if content in ("newer", "damaged"):
        (path / "precious.manifold-0123.npy").unlink()
        save(path, 0)
        rewrite(path, lambda m: m.update(version=3))
    if content == "damaged":
        (path / "manifest.json").write_text('{"format": "mani')
    if content == "foreign manifest":
        (path / "manifest.json").write_text('{"name": "my web page"}')
    before = sorted(os.listdir(path)) if path.is_dir() else None
    with pytest.raises(FileExistsError, match="x"):
        save(path, 1)
    assert before == (sorted(os.listdir(path)) if path.is_dir() else None)


def test_files_of_others_in_a_saved_folder_stay():
    save("x", 0)
    Path("x/notes.txt").write_text("mine")
    save("x", 1)
    assert Path("x/notes.txt").read_text() == "mine"
    assert version_of("x") == 1


def test_a_parent_that_does_not_exist():
    with pytest.raises(FileNotFoundError):
        save("no/such/folder", 0)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_arrays("no/such/folder")


def test_a_link_to_a_saved_folder_is_followed():
    save("x", 0)
    os.symlink("x", "link")
    save("link", 1)
    assert version_of("x") == version_of("link") == 1
    assert os.path.islink("link")


# ---- damage


def test_another_kind_and_no_folder():
    save("x", 0)
    with pytest.raises(CorruptFileError, match="holds a 'test', not a 'graph'"):
        load_arrays("x", kind="graph")
    with pytest.raises(ValueError, match="verify"):
        load_arrays("x", verify="header")
    Path("file").write_text("")
    Path("empty").mkdir()
    for path in ("file", "empty"):
        with pytest.raises(CorruptFileError, match=f"{path} holds no manifest"):
            load_arrays(path)


# ---- graphs


@pytest.fixture
def graph(rng):
    return mf.build_graph(rng.random((60, 5)).astype(np.float32), 4)


@pytest.mark.parametrize("verify", ["full", "lazy"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_graph_comes_back(graph, dtype, verify):
    graph = graph.astype(dtype)
    loaded = mf.load(graph.save("g"), verify=verify)
    assert type(loaded) is type(graph)
    assert loaded.dtype == dtype
    assert loaded.facts == graph.facts
    for name in ("data", "indices", "indptr"):
        ours, theirs = getattr(loaded.affinity, name), getattr(graph.affinity, name)
        assert ours.dtype == theirs.dtype
        assert ours.tobytes() == theirs.tobytes()
        assert not isinstance(ours, np.memmap)
    assert np.array_equal(loaded.degrees, graph.degrees)
    assert np.array_equal(loaded.components, graph.components)
    assert repr(loaded) == repr(graph)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_graphs_without_edges_and_with_loops(n):
    empty = mf.graph_from_affinity(np.zeros((n, n)))
    assert mf.load(empty.save("empty")).n_nodes == n
    loops = mf.graph_from_affinity(np.eye(n), self_loops="keep")
    loaded = mf.load(loops.save("loops"))
    assert loaded.self_loops
    assert loaded.n_edges == n


@pytest.mark.parametrize(
    "change",
    [
        {"indices": np.array([1, 7], np.int32)},
        {"indices": np.array([1, -1], np.int32)},
        {"indices": np.array([1.0, 0.0])},
        {"indices": np.array([0, 0], np.int32)},
        {"indptr": np.array([0, 1, 9], np.int32)},
        {"indptr": np.array([0, 2, 1], np.int32)},
        {"indptr": np.array([], np.int32)},
        {"indptr": np.array(3, np.int32)},
        {"data": np.array([1, np.nan], np.float32)},
        {"data": np.array([1, -1], np.float32)},
        {"data": np.array([1, 2], np.float32)},
        {"data": np.array([1, 1], np.float16)},
        {"data": np.ones((2, 2), np.float32)},
        {"data": None},
    ],
)
def test_arrays_that_are_no_graph_are_refused_before_a_product_could_crash(change):
    W = sparse.csr_array(np.array([[0, 1], [1, 0]], np.float32))
    arrays = {"data": W.data, "indices": W.indices, "indptr": W.indptr, **change}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    save_arrays("g", kind="graph", arrays=arrays, parameters={"facts": {}, "self_loops": False})
    with pytest.raises(CorruptFileError, match="g holds no valid graph"):
        mf.load("g")


@pytest.mark.parametrize("parameters", [{}, {"facts": 3, "self_loops": False}, {"facts": {}}])
def test_parameters_that_are_no_graph(graph, parameters):
    W = graph.affinity
    arrays = {"data": W.data, "indices": W.indices, "indptr": W.indptr}
    save_arrays("g", kind="graph", arrays=arrays, parameters=parameters)
    with pytest.raises(CorruptFileError, match="g holds no valid graph"):
        mf.load("g")


def test_a_kind_that_is_not_known():
    save("x", 0)
    with pytest.raises(CorruptFileError, match="holds a 'test'; known are graph"):
        mf.load("x")


def test_facts_that_no_file_could_give_back(graph):
    W = type(graph)(graph.affinity, {"made_by": object()})
    with pytest.raises(TypeError, match="parameters"):
        W.save("g")
    assert not os.path.exists("g")
