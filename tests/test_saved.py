"""What comes back from disk: graphs, spectra, indexes, searches and propagations, whole or refused by name."""

from __future__ import annotations

import json
import os
import random
import shutil
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import manifold as mf
from manifold import datasets
from manifold._errors import CorruptFileError
from manifold._load import KINDS
from manifold.backends import get_backend
from manifold.index import refine
from manifold.ranking import Adaptation
from manifold.ranking._saved import from_json, to_json
from manifold.storage import (
    _manifest,
    decode_names,
    encode_names,
    export_file,
    import_file,
    load_arrays,
    save_arrays,
)

SETTINGS = {
    "default": {},
    "index": {"solver": mf.DiffusionIndex(n_entries=12, dtype="float16")},
    "adaptive": {"preset": "adaptive", "adaptation": Adaptation(lead=2)},
    "euclidean": {"metric": "euclidean", "degree_exponent": 0.5},
    "fsr": {"solver": mf.FastSpectralRanking(rank=8)},
    "tuned": {"tune": True},
}


@pytest.fixture(scope="module")
def collection():
    X, y = datasets.digits()
    return X[:250], X[900:920], y[:250]


def answers(ranking):
    """Everything a ranking says, as bytes."""
    parts = (ranking.ids, ranking.scores, ranking.slack, ranking.diagnostics.error_bound)
    return tuple(np.asarray(part).tobytes() for part in parts)


IDS = (None, [f"é {i}" for i in range(250)], np.arange(250, dtype=np.int32) * 7)


@pytest.mark.parametrize(("options", "names"), list(zip(SETTINGS.values(), 2 * IDS, strict=True)), ids=SETTINGS)
def test_a_search_comes_back_with_the_same_answers(collection, options, names):
    X, Q, _ = collection
    search = mf.ManifoldSearch(**options).fit(np.asfortranarray(X), names)
    loaded = mf.load(search.save("s"))
    assert type(loaded) is mf.ManifoldSearch
    assert loaded.ids_.dtype == search.ids_.dtype
    assert np.array_equal(loaded.ids_, search.ids_)
    assert isinstance(loaded._points.X.base, np.memmap)
    assert repr(loaded) == repr(search)
    assert loaded.explain() == search.explain()
    listed, similar = search.ids_[:30], np.linspace(1, 0.5, 30)
    for ask in (
        lambda s: s.search(Q, k=20),
        lambda s: s.search(Q[:4], k=20, slack=0.0),
        lambda s: s.similar(search.ids_[:5], k=20),
        lambda s: s.rerank(listed, similar, k=20),
        lambda s: s.rerank(listed, similar, k=20, candidates="all"),
        lambda s: s.rerank(listed, similar, k=20, candidates="subgraph"),
    ):
        assert answers(ask(loaded)) == answers(ask(search))
    again = mf.load(loaded.save("s"))  # what is mapped from a save may be saved over it
    assert answers(again.search(Q, k=20)) == answers(search.search(Q, k=20))
    if not options.get("tune"):  # it can be fitted again
        assert answers(loaded.fit(X, names).search(Q)) == answers(search.fit(X, names).search(Q))


def test_a_search_without_features(collection):
    X, Q, _ = collection
    search = mf.ManifoldSearch().fit(X)
    loaded = mf.load(search.save("s", features=False), verify="lazy")
    assert not list(Path("s").glob("features*"))
    with pytest.raises(ValueError, match="fitted without X"):
        loaded.search(Q)
    shortlist = np.arange(40), np.linspace(1, 0.2, 40)
    assert answers(loaded.rerank(*shortlist)) == answers(search.rerank(*shortlist))
    of_graph = mf.ManifoldSearch().fit(graph=search.graph_)
    assert answers(mf.load(of_graph.save("g")).similar(3)) == answers(of_graph.similar(3))


def test_a_search_that_stands_on_a_loaded_index(collection):
    X, Q, _ = collection
    graph = mf.build_graph(X, 6)
    mf.DiffusionIndex(n_entries=9).build(graph).save("index")
    index = mf.load("index")
    search = mf.ManifoldSearch(solver=index).fit(X, graph=index.graph)
    loaded = mf.load(search.save("s"))
    assert answers(loaded.search(Q)) == answers(search.search(Q))
    assert isinstance(loaded.solver.values, np.memmap)


def test_what_cannot_be_saved_says_so(collection):
    X, _, _ = collection
    with pytest.raises(ValueError, match="not fitted"):
        mf.ManifoldSearch().save("s")
    fsr = mf.FastSpectralRanking(rank=4)
    spectrum = fsr.prepare(mf.build_graph(X, 5), mf.Diffusion(), get_backend()).spectrum
    search = mf.ManifoldSearch(solver=mf.FastSpectralRanking(rank=4, spectrum=spectrum), n_neighbors=5).fit(X)
    with pytest.raises(TypeError, match="a Spectrum is no setting that a saved search can hold: save it by itself"):
        search.save("s")
    assert not Path("s").exists()
    with pytest.raises(KeyError):
        from_json({"is": "Path", "a": 1})


LABELS = {
    "numbers": (lambda y: np.where(np.arange(250) % 5, -1, y), {}),
    "texts": (lambda y: [None if i % 5 else f"klasse ß {c}" for i, c in enumerate(y)], {}),
    "objects": (lambda y: [None if i % 5 else bool(c % 2) for i, c in enumerate(y)], {"unlabeled": None}),
    "floats": (lambda y: np.where(np.arange(250) % 5, np.nan, y), {}),
    "soft": (lambda y: np.eye(10)[y] * (np.arange(250) % 5 == 0)[:, None], {}),
    "multilabel": (lambda y: np.where((np.arange(250) % 5 == 0)[:, None], np.eye(10)[y], -1), {"kind": "multilabel"}),
    "values": (lambda y: np.where(np.arange(250) % 5, np.nan, y), {"kind": "values"}),
}


@pytest.mark.parametrize("name", LABELS)
def test_a_propagation_comes_back(collection, name):
    X, _, y = collection
    make, options = LABELS[name]
    graph = mf.build_graph(X, 8, edges="sum")
    result = mf.propagate(graph, make(y), **options)
    loaded = mf.load(result.save("p"))
    assert type(loaded) is type(result)
    assert repr(loaded) == repr(result)
    for field in ("labels", "distributions", "certainty", "reached", "labelled", "classes", "scores"):
        ours, theirs = np.asarray(getattr(result, field)), np.asarray(getattr(loaded, field))
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert ours.tolist() == theirs.tolist() if ours.dtype.kind == "O" else ours.tobytes() == theirs.tobytes()
    assert loaded.solution.status == result.solution.status
    assert loaded.solution.explain() == result.solution.explain()
    np.testing.assert_array_equal(loaded.solution.error_bound, result.solution.error_bound)


@pytest.mark.parametrize(
    "names",
    [
        np.array(["a", "żółć", "", "🗺", "x" * 40]),
        np.array([], dtype="U5"),
        np.array([True, 1, 1.0, None, "1", -(2**70), False], dtype=object),
        np.array([3, -1]),
        np.array([0.5, np.nan]),
        np.array(["swapped"]).astype(">U9"),
    ],
    ids=str,
)
def test_names_come_back(names):
    arrays, how = encode_names(names)
    stored = load_arrays(save_arrays("n", kind="names", arrays={"n": arrays}, parameters={"how": how}))
    back = decode_names(stored.arrays["n"], stored.parameters["how"])
    assert back.dtype.kind == names.dtype.kind
    assert [type(x) for x in back.tolist()] == [type(x) for x in names.tolist()]
    np.testing.assert_array_equal(back, names)


@pytest.mark.parametrize("names", [np.array([{}], dtype=object), np.array([np.nan], dtype=object), np.array([b"x"])])
def test_names_that_no_file_could_give_back(names):
    with pytest.raises(TypeError, match=r"names must be|no file gives back"):
        encode_names(names)


def test_settings_come_back():
    for value in (mf.Diffusion(0.9), mf.ConjugateGradient(rtol=1e-5, max_iter=7), Adaptation(0.5), (1, (2.5, None))):
        assert from_json(json.loads(json.dumps(to_json(value)))) == value


# ---- damage and forgery, of every kind of save


def _graph():
    X, _ = datasets.digits()
    return mf.build_graph(X[:60], 4)


def _spectrum():
    return mf.FastSpectralRanking(rank=3).prepare(_graph(), mf.Diffusion(), get_backend()).spectrum


def _pooled():
    pooling = sparse.csr_array(np.kron(np.eye(20), np.ones((1, 3))))
    return mf.DiffusionIndex(n_entries=6).build_pooled(_graph(), pooling)


def _search():
    X, _ = datasets.digits()
    return mf.ManifoldSearch(preset="adaptive", solver=mf.DiffusionIndex(n_entries=6)).fit(
        X[:60], list(map(str, X[:60]))
    )


def _propagation():
    return mf.propagate(_graph(), [None if i % 3 else "abc"[i % 5 % 3] for i in range(60)])


MADE = {
    "graph": _graph,
    "spectrum": _spectrum,
    "index": lambda: mf.DiffusionIndex(n_entries=6).build(_graph()),
    "pooled_index": _pooled,
    "search": _search,
    "propagation": _propagation,
}
NODES, WEIGHTS = np.array([3, 17]), np.array([1.0, 0.5])
USES = {
    "graph": lambda graph: mf.diffuse(graph, np.eye(60)[:, :2], on_failure="ignore").scores,
    "spectrum": lambda spectrum: spectrum.add(spectrum.project(np.eye(60, 2)), np.zeros((60, 2))),
    "index": lambda index: [index.shortlist(NODES, WEIGHTS, 5).scores, refine(index, NODES, WEIGHTS, k=5).scores],
    "pooled_index": lambda index: index.shortlist(NODES, WEIGHTS, 5).scores,
    "search": lambda search: search.search(np.eye(64)[:2] + 1, k=5, slack=0.0).scores,
    "propagation": lambda result: (repr(result), result.columns, result.class_weights),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_refused_when_damaged_at_400_places(kind):
    folder = MADE[kind]().save("x")
    files, chance = sorted(folder.iterdir()), random.Random(kind)
    for trial in range(400):
        file = files[trial % len(files)]  # each as often as the others, small ones too
        data = file.read_bytes()
        at = chance.randrange(len(data))
        if trial // len(files) % 3 == 0:
            file.write_bytes(data[:at])
        else:
            file.write_bytes(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
        with pytest.raises(CorruptFileError, match=rf"x.*{file.name.split('.')[0]}"):
            mf.load(folder)
        file.write_bytes(data)
    USES[kind](mf.load(folder))


def mutate(value, chance):
    """Change one thing somewhere in a JSON value."""
    odd = [
        None,
        True,
        -1,
        0,
        7,
        2**31,
        2**64,
        0.5,
        1e308,
        "",
        "../x",
        "\0",
        [],
        {},
        [[]],
        {"is": "Graph"},
        "text",
        "<f8",
    ]
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(sorted(value))
        if chance.random() < 0.15:
            return {name: part for name, part in value.items() if name != key}
        return {**value, key: mutate(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        return [*value[:at], mutate(value[at], chance), *value[at + 1 :]]
    return chance.choice(odd)


def forge(folder, chance):
    """Change a manifest, or the entries or the shape of an array, and sign it as its own."""
    manifest = json.loads((folder / "manifest.json").read_text())
    if chance.random() < 0.5:
        part = chance.choice(["parameters", "arrays"])
        manifest[part] = mutate(manifest[part], chance)
    else:
        name = chance.choice(sorted(manifest["arrays"]))
        entry = manifest["arrays"][name]
        file = folder / entry["file"]
        array = np.load(file)
        if array.size and chance.random() < 0.7:
            odd = [0, 1, -1, 59, 60, 2**31 - 1, -(2**31), 2**32 - 1, np.nan, np.inf, 1e30, 1e-40]
            with np.errstate(all="ignore"):
                flat = array.reshape(-1)
                flat[chance.randrange(flat.size)] = np.array(chance.choice(odd)).astype(array.dtype)
        else:
            dtype = np.dtype(chance.choice(_manifest.DTYPES))
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                array = chance.choice([array[:-1], array[None], array.astype(dtype), array.ravel()[::-1].copy()])
        file.unlink()
        manifest["arrays"][name] = _manifest.write_array(file, array)
    manifest["sha256"] = _manifest._digest(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_forgeries_of_every_kind_are_refused_or_harmless(kind, monkeypatch):
    """What carries a checksum that fits may be believed, but it neither crashes nor takes memory that it claims."""
    folder, chance, refused = MADE[kind]().save("x"), random.Random(kind), 0
    good = {file: file.read_bytes() for file in folder.iterdir()}
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    resource = pytest.importorskip("resource")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for trial in range(335):
        forge(folder, chance)
        try:
            loaded = mf.load(folder, verify=("full", "full", "lazy")[trial % 3])
        except CorruptFileError as error:
            refused += str(error).startswith("x")
        else:
            with suppress(ValueError, *[IndexError] * (trial % 3 == 2)), np.errstate(all="ignore"):
                USES[kind](loaded)
        for file, data in good.items():
            if file.read_bytes() != data:
                file.write_bytes(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most < 1 << 18  # KiB
    assert refused > 100


def test_a_search_killed_at_any_write_of_its_save_leaves_the_old_one(monkeypatch):
    from test_storage import Dead, break_os

    old, new = (mf.ManifoldSearch(n_neighbors=3, alpha=alpha).fit(np.eye(9) + 0.1) for alpha in (0.5, 0.9))
    alphas = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # the process dies, not the machine
    for n in range(1, 1000):
        old.save("s")
        with monkeypatch.context() as patch:
            broken = break_os(patch, n)
            with suppress(Dead):
                new.save("s")
        alphas.append(mf.load("s").filter.alpha)
        if broken.calls < n:
            break
    assert n > 40
    assert alphas == sorted(alphas)
    assert set(alphas) == {0.5, 0.9}


# ---- one file to send


@pytest.mark.parametrize("kind", KINDS)
def test_a_save_travels_as_one_file(kind):
    made = MADE[kind]()
    sent = export_file(made.save("x"), "sent.zip")
    back = import_file(sent, "y")
    assert sorted(os.listdir("x")) == sorted(os.listdir(back))
    assert type(mf.load(back)) is type(made)
    with pytest.raises(FileExistsError, match="y is in the way"):
        import_file(sent, "y")
    made.save("x")  # the export is its own: another version of the folder changes nothing
    assert export_file("x", "sent.zip") == sent
    assert mf.load(import_file(sent, "z")).__class__ is type(made)


def repacked(change, compression=zipfile.ZIP_STORED):
    """The export of a graph, each member (info, data) changed, as a file."""
    export_file(_graph().save("x"), "good.zip")
    with zipfile.ZipFile("good.zip") as good, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile("bad.zip", "w", compression) as bad:
            for info in good.infolist():
                for name, data, mode in change(info.filename, good.read(info)):
                    changed = zipfile.ZipInfo(name)
                    changed.external_attr, changed.compress_type = mode << 16, compression
                    bad.writestr(changed, data)
    return "bad.zip"


@pytest.mark.parametrize(
    ("change", "compression", "message"),
    [
        (lambda name, data: [(name, data, 0), ("../out", b"x", 0)], zipfile.ZIP_STORED, "no save makes"),
        (lambda name, data: [(name, data, 0), ("/tmp/out", b"x", 0)], zipfile.ZIP_STORED, "no save makes"),
        (lambda name, data: [(name, data, 0), ("a/../../out", b"", 0)], zipfile.ZIP_STORED, "no save makes"),
        (lambda name, data: [(name, data, 0), ("notes.txt", b"", 0)], zipfile.ZIP_STORED, "no save makes"),
        (lambda name, data: [(name, b"/etc/passwd", 0o120777)], zipfile.ZIP_STORED, "link or a device"),
        (lambda name, data: [(name, bytes(1 << 24), 0)], zipfile.ZIP_DEFLATED, "compressed"),
        (lambda name, data: [(name, data, 0)] * 2, zipfile.ZIP_STORED, "some of one name"),
        (lambda name, data: [(name, data, 0)] * (name != "manifest.json"), zipfile.ZIP_STORED, "no manifest"),
    ],
)
def test_hostile_archives(change, compression, message):
    with pytest.raises(CorruptFileError, match=message):
        import_file(repacked(change, compression), "y")
    assert sorted(os.listdir()) == ["bad.zip", "good.zip", "x"]


def test_damaged_archives():
    """Cut or flipped anywhere, the file is refused, or what it gives is refused, or is what was sent."""
    graph, chance = _graph(), random.Random(9)
    data = export_file(graph.save("x"), "sent.zip").read_bytes()
    refused = 0
    for trial in range(200):
        at = chance.randrange(len(data))
        damaged = data[:at] if trial % 3 == 0 else data[:at] + bytes([data[at] ^ 1 << trial % 8]) + data[at + 1 :]
        Path("bad.zip").write_bytes(damaged)
        try:
            loaded = mf.load(import_file("bad.zip", "y"))
        except CorruptFileError:
            refused += 1
        else:
            assert (loaded.affinity != graph.affinity).nnz == 0
        shutil.rmtree("y", ignore_errors=True)
    assert refused > 150
    assert not [name for name in os.listdir() if name.endswith(".tmp")]
