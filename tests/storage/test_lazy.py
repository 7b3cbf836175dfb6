"""Opening a saved graph or index without reading it: it costs nothing that grows, and hostile arrays stay harmless."""

from __future__ import annotations

import gc
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from saves import MADE, NODES, WEIGHTS, file_of, rewrite
from scipy import sparse

import manifold as mf
from manifold import storage
from manifold.errors import CorruptFileError
from manifold.graph import _saved
from manifold.storage import _manifest, load_arrays, save_arrays


def forge_array(folder: Path, name: str, change) -> None:
    """Write another array in place of one of a save, with checksums that fit."""
    file = file_of(folder, name)
    array = change(np.load(file))
    file.unlink()
    rewrite(folder, lambda manifest: manifest["arrays"].update({name: _manifest.write_array(file, array)}))


def with_entry(place, value):
    def change(array):
        array[place] = value
        return array

    return change


def anonymous_bytes() -> int:
    """Memory of this process that no file stands behind."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    except OSError:
        pytest.skip("this system does not say how much memory is mapped from files")
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


def ring_lattice(n: int, reach: int) -> sparse.csr_array:
    """Each node joined to the next `reach` on either side, weights 1."""
    columns = (np.arange(n)[:, None] + np.r_[-reach:0, 1 : reach + 1]) % n
    indptr = np.arange(0, 2 * reach * n + 1, 2 * reach)
    return sparse.csr_array((np.ones(columns.size, np.float32), columns.ravel(), indptr), shape=(n, n))


def test_opening_a_million_nodes_costs_nothing_that_grows():
    n = 1_000_000
    made = mf.graph_from_affinity(ring_lattice(n, 3))
    folder, nbytes, data = made.save("ring"), made.nbytes, made.affinity.indices.copy()
    mf.load(mf.graph_from_affinity([[0, 1], [1, 0]]).save("pair"), verify="lazy")  # imports
    gc.collect()
    memory, start = anonymous_bytes(), time.process_time()
    graph = mf.load(folder, verify="lazy")
    spent, taken = time.process_time() - start, anonymous_bytes() - memory
    assert spent <= 0.010
    assert taken <= 2 << 20
    assert (len(graph), graph.dtype, graph.nbytes) == (n, np.float32, nbytes)
    memory = anonymous_bytes()
    assert graph.affinity.nnz == 6 * n  # looked through, where it lies
    assert (graph.n_components, graph.degrees.max()) == (1, 6)
    assert anonymous_bytes() - memory <= 4 << 20
    np.testing.assert_array_equal(graph.affinity.indices, data)
    scores = mf.diffuse(graph, np.eye(n, 1, -5)[:, 0], solver=mf.solvers.ConjugateGradient(rtol=1e-5)).scores
    np.testing.assert_allclose(scores.sum(dtype=float), 1, rtol=1e-4)  # conserved: all degrees are 6
    np.testing.assert_allclose(scores[5 - 3 : 5][::-1], scores[6:9], rtol=1e-4)
    assert scores.argmax() == 5


@pytest.mark.parametrize("verify", ["full", "lazy"])
def test_arrays_are_used_where_they_lie(verify):
    graph = mf.load(MADE["graph"]().save("g"), verify=verify)
    for array in (graph.degrees, graph.components, graph.affinity.data, graph.affinity.indices, graph.affinity.indptr):
        below = array
        while not isinstance(below, np.memmap):
            assert below.base is not None, "a copy"
            below = below.base
    assert graph.affinity.has_canonical_format


@pytest.mark.parametrize("verify", ["full", "lazy"])
def test_saved_degrees_and_components_are_not_computed_again(verify, monkeypatch):
    made = MADE["graph"]()
    folder = made.save("g")
    calls = []
    monkeypatch.setattr(_saved, "component_labels", lambda W, own=_saved.component_labels: calls.append(W) or own(W))
    monkeypatch.setattr("manifold.graph._graph.component_labels", _saved.component_labels)
    graph = mf.load(folder, verify=verify)
    again = pickle.loads(pickle.dumps(graph))
    for other in (graph, again):
        np.testing.assert_array_equal(other.degrees, made.degrees)
        np.testing.assert_array_equal(other.components, made.components)
        assert not other.degrees.flags.writeable
    assert len(calls) == (verify == "full")  # compared with, once


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("indices", with_entry(3, 60)),
        ("indices", with_entry(3, 2**31 - 1)),
        ("indices", with_entry(3, -1)),
        ("indices", with_entry(3, -(2**31))),
        ("indices", lambda indices: indices[::-1]),
        ("indptr", with_entry(7, 2**30)),
        ("indptr", with_entry(7, -5)),
        ("components", with_entry(5, 60)),
        ("components", with_entry(5, -1)),
        ("degrees", with_entry(5, np.nan)),
        ("degrees", with_entry(5, np.inf)),
        ("degrees", with_entry(5, -1.0)),
    ],
)
@pytest.mark.parametrize(
    "use",
    [
        lambda graph: graph.affinity,
        lambda graph: (graph.degrees, graph.affinity),
        lambda graph: (graph.components, graph.affinity),
        lambda graph: mf.diffuse(graph, np.eye(60)[:, 0]),
        repr,
        pickle.dumps,
    ],
)
def test_a_hostile_graph_is_refused_by_name_when_it_is_first_used(name, change, use):
    folder = MADE["graph"]().save("hostile")
    forge_array(folder, name, change)
    with pytest.raises(CorruptFileError, match="hostile holds no valid graph"):
        mf.load(folder)
    graph = mf.load(folder, verify="lazy")
    assert len(graph) == 60
    for _ in range(2):  # and again
        with pytest.raises(CorruptFileError, match="hostile holds no valid graph"):
            use(graph)


@pytest.mark.parametrize(
    "change", [with_entry(0, 1), with_entry(-1, 2**30), with_entry(-1, 3), lambda indptr: indptr[:-1]]
)
def test_what_the_ends_of_a_hostile_graph_tell_is_known_at_once(change):
    folder = MADE["graph"]().save("hostile")
    forge_array(folder, "indptr", change)
    for verify in ("full", "lazy"):
        with pytest.raises(CorruptFileError, match="hostile holds no valid graph"):
            mf.load(folder, verify=verify)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("degrees", lambda degrees: degrees * (1 + 1e-9), "degrees are not the row sums"),
        ("components", np.zeros_like, "components are not those"),
        ("components", lambda labels: np.arange(labels.size, dtype=labels.dtype), "components are not those"),
        ("components", with_entry(5, -1), "components are not those"),
        ("degrees", lambda degrees: degrees[:-1], "degrees must be float64"),
        ("degrees", lambda degrees: degrees.astype(np.float32), "degrees must be float64"),
        ("components", lambda labels: labels.astype(np.int64), "components must be int32"),
    ],
)
def test_derived_arrays_that_are_not_those_of_the_affinity(name, change, message):
    folder = mf.graph_from_affinity(sparse.block_diag([ring_lattice(9, 2), ring_lattice(7, 1)])).save("g")
    forge_array(folder, name, change)
    with pytest.raises(CorruptFileError, match=message):
        mf.load(folder)


def test_components_by_other_labels_are_the_same_components():
    folder = mf.graph_from_affinity(sparse.block_diag([ring_lattice(9, 2), ring_lattice(7, 1)])).save("g")
    forge_array(folder, "components", lambda labels: 1 - labels)
    assert mf.load(folder).components.tolist() == [1] * 9 + [0] * 7


@pytest.mark.parametrize("kind", ["index", "pooled_index"])
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ids", with_entry((3, -1), 60)),
        ("ids", with_entry((3, 0), 2**32 - 1)),
        ("values", with_entry((3, 1), np.nan)),
        ("values", with_entry((3, 1), np.inf)),
        ("tail", with_entry(3, np.nan)),
        ("tail", with_entry(3, -1.0)),
        ("error", with_entry(3, np.inf)),
    ],
)
def test_columns_of_a_hostile_index_are_refused_as_they_are_used(kind, name, change):
    folder = MADE[kind]().save("hostile")
    forge_array(folder, name, change)
    with pytest.raises(CorruptFileError, match=f"hostile holds no valid {kind}"):
        mf.load(folder)
    index = mf.load(folder, verify="lazy")
    good = mf.load(MADE[kind]().save("good")).shortlist(np.array([17]), WEIGHTS[:1], 3)
    np.testing.assert_array_equal(index.shortlist(np.array([17]), WEIGHTS[:1], 3).rows, good.rows)
    for use in (lambda: index.shortlist(NODES, WEIGHTS, 5), lambda: index.solve(np.eye(60)[:, :2])):
        with pytest.raises(CorruptFileError, match="hostile holds no valid index"):
            use()


def test_every_way_to_read_says_what_was_read():
    folder = save_arrays("x", kind="test", arrays={"a": [1]}, parameters={})
    assert load_arrays(folder).verified
    lazy = load_arrays(folder, verify="lazy")
    assert (lazy.verified, lazy.path) == (False, "x")
    assert storage.Stored("test", {}, {}).path == ""
