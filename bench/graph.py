"""Seconds, memory and recall of kNN graphs: exact search and inverted file beside FAISS and pynndescent.

Fashion-MNIST, cosine, k = 50; `n` images of unit length in a file, so that none divides what another takes divided. One
process a row. `s` is the search after a warm-up on 3,000 points, from features to lists without self; FAISS trains and
fills its index in that time. `extra_mb` is the peak of memory above what stood before the search: features, libraries,
and what the warm-up left. Recall is of 1,000 points against FAISS's flat search. FAISS's inverted file takes the fewest
probes that reach a recall on those points, found before the clock starts, with two numbers of cells. `ratio` is to the
fastest peer that reaches the recall of the row's goal; `cold_s` is the same search in a new process, imports included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench._report import Row
from bench.cases import NEIGHBORS
from manifold.datasets import load

K, CHECKED, WARM_UP = 50, 1_000, 3_000
GOALS = (0.985, 0.998)
# who, settings, goal of recall
PEERS: tuple[tuple[str, Row, float], ...] = (
    ("faiss flat", {}, 1.0),
    *(("faiss IVF", {"n_cells": cells, "goal": goal}, goal) for goal in GOALS for cells in (245, 980)),
    ("pynndescent", {"max_candidates": 20, "n_iters": 5}, GOALS[0]),
    ("pynndescent", {}, GOALS[1]),
)
OURS = tuple((name, settings, goal) for name, rows in NEIGHBORS.items() for settings, goal in rows)
SLOW = ("pynndescent", "nn_descent")  # to compile
COLD = ("inverted_file", "pynndescent")  # at their defaults
Search = Callable[[Any], Any]  # features (n, d) -> ids (n, k) without self


def run(*, quick: bool, n: int = 60_000) -> list[Row]:
    X = np.ascontiguousarray(load("fashion_mnist").features[: 4_000 if quick else n], dtype=np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    peers, ours = (_first_of_each(rows) if quick else list(rows) for rows in (PEERS, OURS))
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/X.npy", X)
        sample = np.random.default_rng(0).choice(len(X), min(len(X), CHECKED), replace=False)
        np.savez(f"{folder}/truth.npz", sample=sample, ids=_flat(X, X[sample], sample))
        rows = []
        for by, settings, goal in (*peers, *ours):
            row = {"goal": goal, **_in_own_process(folder, by, settings, warm=True)}
            cold = by in COLD and not settings and not quick
            row["cold_s"] = _in_own_process(folder, by, settings, warm=False)["s"] if cold else None
            rows.append({"n": len(X), "k": K, **row})
    for row in rows:
        able = [peer["s"] for peer in rows[: len(peers)] if peer["recall"] >= row["goal"] - 5e-4]
        row["ratio"] = row["s"] / min(able)
    return rows


def _first_of_each(rows: tuple[tuple[str, Row, float], ...]) -> list[tuple[str, Row, float]]:
    """Return one row of each method that has nothing to compile."""
    return list({row[0]: row for row in reversed(rows) if row[0] not in SLOW}.values())


def figure(rows: list[Row]) -> Any:
    """Draw seconds against what is missed."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(5, 3.6), layout="constrained")
    ax = drawn.subplots()
    for by in dict.fromkeys(row["by"] for row in rows):
        points = sorted((max(1 - row["recall"], 1e-4), row["s"]) for row in rows if row["by"] == by)
        ax.plot(*zip(*points, strict=True), "o-", label=by)
    ax.set(xscale="log", yscale="log", xlabel="1 - recall@50", ylabel="seconds")
    ax.legend()
    return drawn


def _flat(X: Any, Q: Any, own: Any) -> Any:
    import faiss

    index = faiss.IndexFlatIP(X.shape[1])
    index.add(X)
    return _others(index.search(Q, K + 1)[1], own)


def _others(found: Any, own: Any) -> Any:
    """Return the first k ids of each row that are not its own."""
    order = np.argsort(found == own[:, None], axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)[:, :K]


def _in_own_process(folder: str, name: str, settings: Row, *, warm: bool) -> Row:
    task = json.dumps([folder, name, settings, warm])
    out = subprocess.run([sys.executable, "-m", "bench.graph", task], capture_output=True, text=True, check=True)
    row: Row = json.loads(out.stdout.splitlines()[-1])
    return row


def _measure(folder: str, name: str, settings: Row, warm: bool) -> Row:
    X, truth = np.load(f"{folder}/X.npy"), np.load(f"{folder}/truth.npz")
    begun = time.perf_counter()
    search, said = _search(name, settings, X, truth)
    if warm:
        search(X[:WARM_UP])
        Path("/proc/self/clear_refs").write_text("5")  # the peak of memory starts anew
        begun = time.perf_counter()
    before, worked = _memory("VmRSS"), time.process_time()
    ids = search(X)
    taken = time.perf_counter() - begun
    row = {"by": name, **said, "s": taken, "cpu_s": time.process_time() - worked}
    row["extra_mb"] = (_memory("VmHWM") - before) / 1e6 if warm else None
    return {**row, "recall": _recall(ids[truth["sample"]], truth["ids"])}


def _search(name: str, settings: Row, X: Any, truth: Any) -> tuple[Search, Row]:
    """Return what is timed, and the settings as a row says them."""
    said = {"settings": ", ".join(f"{key}={value}" for key, value in settings.items())}
    if name == "faiss flat":
        return lambda X: _flat(X, X, np.arange(len(X))), said
    if name == "faiss IVF":
        n_probes = _probes(X, truth, **settings)
        said = {"settings": f"nlist={settings['n_cells']}, nprobe={n_probes}"}
        return lambda X: _ivf(X, X, np.arange(len(X)), n_cells=settings["n_cells"], n_probes=n_probes), said
    if name == "pynndescent":
        return lambda X: _nn_descent(X, settings), said
    return lambda X: _ours(X, name, settings), said


def _ours(X: Any, name: str, settings: Row) -> Any:
    from manifold.neighbors import METHODS, find_neighbors

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return find_neighbors(X, K, method=METHODS[name](**settings), random_state=0).indices


def _nn_descent(X: Any, settings: Row) -> Any:
    from pynndescent import NNDescent

    index = NNDescent(X, metric="cosine", n_neighbors=K + 1, random_state=0, **settings)
    return _others(index.neighbor_graph[0], np.arange(len(X)))


def _ivf_index(X: Any, n_cells: int) -> Any:
    import faiss

    index = faiss.index_factory(X.shape[1], f"IVF{n_cells},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(X)
    index.add(X)
    return index


def _ivf(X: Any, Q: Any, own: Any, *, n_cells: int, n_probes: int) -> Any:
    index = _ivf_index(X, n_cells)
    index.nprobe = n_probes
    return _others(index.search(Q, K + 1)[1], own)


def _probes(X: Any, truth: Any, *, n_cells: int, goal: float) -> int:
    index, sample = _ivf_index(X, n_cells), truth["sample"]
    for n_probes in range(1, n_cells):
        index.nprobe = n_probes
        if _recall(_others(index.search(X[sample], K + 1)[1], sample), truth["ids"]) >= goal:
            return n_probes
    return n_cells


def _recall(found: Any, truth: Any) -> float:
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(truth, found, strict=True)]))


def _memory(what: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


if __name__ == "__main__":
    print(json.dumps(_measure(*json.loads(sys.argv[1]))))
