"""What the tests of saved files share: small saves of every kind, ways to break a disk, and ways to forge a file."""

from __future__ import annotations

import json
import os
import random
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

import manifold as mf
from manifold import datasets, discovery, matching, storage
from manifold.backends import get_backend
from manifold.index import refine
from manifold.labels.averaging import LabelPropagationRegressor, MultiLabelPropagation
from manifold.ranking import GraphSearch, RegionalSearch
from manifold.storage import _files, _manifest, load_arrays, save_arrays

SEEN = ("mkdir", "open", "write", "fsync", "replace", "unlink", "rmdir", "close", "listdir")  # where a crash can fall


VERSIONS = (
    {"a": np.arange(12, dtype=np.int32).reshape(3, 4), "b": np.linspace(0, 1, 9, dtype=np.float32)},
    {"a": np.arange(20, dtype=np.int32).reshape(5, 4), "c": np.array([True, False])},
)


class Dead(BaseException):
    """The process is gone: nothing it would still do is done."""


class BrokenOS:
    """`os`, until its n-th call that matters: a fault there, or a process that dies there, mid-write if it writes."""

    def __init__(self, n: int, *, fault: OSError | None = None, killed: bool = False) -> None:
        self.n, self.fault, self.killed, self.calls, self.trace = n, fault, killed, 0, []

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in SEEN:
            return real

        def call(*args, **kwargs):
            self.calls += 1
            self.trace.append((name, args[0]))
            if self.calls == self.n and self.fault is not None and name != "close":
                raise self.fault
            if self.calls >= self.n and self.fault is None:
                if name == "close":
                    return real(*args)  # the system closes the files of the dead, and drops their locks
                if self.calls == self.n and name == "write":
                    real(args[0], args[1][: len(args[1]) // 2])
                if self.killed:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise Dead
            return real(*args, **kwargs)

        return call


def break_os(monkeypatch, n, **how) -> BrokenOS:
    broken = BrokenOS(n, **how)
    monkeypatch.setattr(storage, "os", broken)
    monkeypatch.setattr(_files, "os", broken)
    return broken


def save(path, version: int) -> None:
    save_arrays(path, kind="test", arrays=VERSIONS[version], parameters={"version": version})


def version_of(path, **how) -> int:
    """The version that loads; fails unless it is exactly one of the two."""
    stored = load_arrays(path, kind="test", **how)
    version = stored.parameters["version"]
    assert list(stored.arrays) == list(VERSIONS[version])
    for name, array in VERSIONS[version].items():
        assert stored.arrays[name].dtype == array.dtype
        assert np.array_equal(stored.arrays[name], array)
    return version


def only_the_version_in_use(path) -> bool:
    return len(os.listdir(path)) == 1 + len(VERSIONS[version_of(path)])


def rewrite(path: Path, change) -> None:
    """Forge the manifest, with a checksum that fits."""
    manifest = json.loads((path / "manifest.json").read_text())
    manifest = change(manifest) or manifest
    manifest["sha256"] = _manifest._digest(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))


def file_of(path: Path, name: str) -> Path:
    return next(path.glob(f"{name}.manifold-*.npy"))


def _graph():
    X, _ = datasets.digits()
    return mf.build_graph(X[:60], 4)


def _neighbors():
    X, _ = datasets.digits()
    return mf.find_neighbors(X[:60], 4, method="inverted_file")


def _spectrum():
    return mf.solvers.FastSpectralRanking(rank=3).prepare(_graph(), mf.Diffusion(), get_backend()).spectrum


def _lazy():
    columns = mf.DiffusionIndex(n_entries=6, solver="local", lazy=True).build(_graph())
    columns.held(np.arange(4))  # some are kept
    return columns


def _pooled():
    pooling = sparse.csr_array(np.kron(np.eye(20), np.ones((1, 3))))
    return mf.DiffusionIndex(n_entries=6).build_pooled(_graph(), pooling)


def _search():
    X, _ = datasets.digits()
    return mf.ManifoldSearch(preset="adaptive", solver=mf.DiffusionIndex(n_entries=6)).fit(
        X[:60], list(map(str, X[:60]))
    )


def _regional_search():
    X, _ = datasets.digits()
    settings = {"n_neighbors": 5, "pooling": "sum", "solver": mf.DiffusionIndex(n_entries=6)}
    return RegionalSearch(**settings).fit(X[:60], np.arange(60) // 3, ids=[f"image {i}" for i in range(20)])


def _graph_search():
    X, _ = datasets.digits()
    names = [f"node {i}" for i in range(60)]
    return GraphSearch(damping=0.6, n_seeds=3).fit(_graph(), X[:40], nodes=names, ids=names[:40])


def _propagation():
    return mf.propagate(_graph(), [None if i % 3 else "abc"[i % 5 % 3] for i in range(60)])


def _label_propagation():
    X, y = datasets.digits()
    labels = [None if i % 3 else "abc"[y[i] % 3] for i in range(60)]
    return mf.LabelPropagation(n_neighbors=4, solver=mf.solvers.ConjugateGradient(1e-4)).fit(X[:60], labels)


def _regressor():
    X, y = datasets.digits()
    few = np.where(np.arange(60) % 3 == 0, y[:60], np.nan)
    return LabelPropagationRegressor(n_neighbors=4, solver=mf.solvers.ConjugateGradient(1e-4)).fit(X[:60], few)


def _several():
    X, y = datasets.digits()
    few = np.where((np.arange(60) % 3 == 0)[:, None], np.c_[y % 2 == 0, y > 4][:60], -1)
    return MultiLabelPropagation(n_neighbors=4, solver=mf.solvers.ConjugateGradient(1e-4)).fit(X[:60], few)


def _pair_whitening():
    X, _ = datasets.digits()
    pairs = mf.find_neighbors(X[:60], 3)
    pairs = np.column_stack([np.repeat(np.arange(60), 3), pairs.indices.ravel()])
    return discovery.PairWhitening(8).fit(X[:60], pairs)


def _local_features():
    X, _ = datasets.digits()
    frames = np.column_stack([X[:60, 20:22], X[:60, 30] + 1, X[:60, 40]])
    return matching.LocalFeatures(frames, X[:60], np.arange(0, 61, 6), np.arange(60) % 4)


def _vocabulary():
    X, _ = datasets.digits()
    return matching.learn_vocabulary(X[:60], 4).with_signatures(X[:60], n_bits=5)


MADE = {
    "graph": _graph,
    "neighbors": _neighbors,
    "spectrum": _spectrum,
    "index": lambda: mf.DiffusionIndex(n_entries=6).build(_graph()),
    "lazy_index": _lazy,
    "pooled_index": _pooled,
    "regional_search": _regional_search,
    "search": _search,
    "graph_search": _graph_search,
    "propagation": _propagation,
    "label_propagation": _label_propagation,
    "label_propagation_regressor": _regressor,
    "multi_label_propagation": _several,
    "pair_whitening": _pair_whitening,
    "local_features": _local_features,
    "vocabulary": _vocabulary,
}


NODES, WEIGHTS = np.array([3, 17]), np.array([1.0, 0.5])


USES = {
    "graph": lambda graph: mf.diffuse(graph, np.eye(60)[:, :2], on_failure="ignore").scores,
    "neighbors": lambda lists: mf.graph_from_neighbors(lists).affinity.data,
    "spectrum": lambda spectrum: spectrum.add(spectrum.project(np.eye(60, 2)), np.zeros((60, 2))),
    "index": lambda index: [index.shortlist(NODES, WEIGHTS, 5).scores, refine(index, NODES, WEIGHTS, k=5).scores],
    "lazy_index": lambda index: index.shortlist(NODES, WEIGHTS, 5).scores,
    "pooled_index": lambda index: index.shortlist(NODES, WEIGHTS, 5).scores,
    "regional_search": lambda search: search.search(np.eye(64)[:2] + 1, k=5).scores,
    "search": lambda search: search.search(np.eye(64)[:2] + 1, k=5, slack=0.0).scores,
    "graph_search": lambda search: search.search(np.eye(64)[:2] + 1, k=5, seeds={"node 50": 0.3}).scores,
    "propagation": lambda result: (repr(result), result.columns, result.class_weights),
    "pair_whitening": lambda made: (made.transform(np.eye(64)[:2] + 1), repr(made)),
    "local_features": lambda made: (made.geometry, made.descriptors, made.indptr, made.words, repr(made)),
    "vocabulary": lambda made: (made.words(np.eye(64)[:9]), made.projection, made.medians),
    "label_propagation": lambda model: (model.predict(np.eye(64)[:2] + 1), model.predict_proba(np.eye(64)[:2] + 1)),
    "label_propagation_regressor": lambda model: model.predict(np.eye(64)[:2] + 1),
    "multi_label_propagation": lambda model: model.predict_proba(np.eye(64)[:2] + 1),
}


def mutate(value: Any, chance: random.Random) -> Any:
    """Change one thing somewhere in a JSON value."""
    odd = [None, True, -1, 0, 1, 2**31, 2**63, 2**64, 10**400, 0.5, 1e308, "", "../x", "/etc/passwd", "\0", "\ud800"]
    odd += [
        [],
        {},
        [[]],
        [-1],
        [2**62, 4],
        [0, 2**70],
        {"a": 1},
        "|O",
        "<f8",
        "<i4",
        ">f4",
        "O",
        "V8",
        "manifest.json",
        {"is": "Graph"},
    ]
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(sorted(value))
        what = chance.random()
        if what < 0.1:
            return {k: v for k, v in value.items() if k != key}
        if what < 0.2:
            return {**value, str(chance.choice(odd)): value[key]}
        return {**value, key: mutate(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.7:
        at = chance.randrange(len(value))
        return [*value[:at], mutate(value[at], chance), *value[at + 1 :]]
    return chance.choice(odd)


def forge(folder: Path, chance: random.Random) -> None:
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


@contextmanager
def memory_for(n_bytes: int) -> Iterator[None]:
    """Let this process write to at most `n_bytes` more than it has, where the system counts them (Linux)."""
    try:
        import resource

        taken = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
    except (ImportError, OSError, StopIteration):
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (1024 * int(taken.split()[1]) + n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
