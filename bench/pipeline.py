"""From features to answers at growing sizes: seconds, memory and what is right, beside tools put together instead.

Synthetic: n unit vectors on 100 curved surfaces of five dimensions in R^128, 1,000 more as queries. Three jobs: the
graph of 20 neighbours of `build_graph(edges="mutual")`; 1,000 queries, top 100, alpha = 0.99, from features to lists;
propagation of 50 labels to each of 10 classes (ten surfaces each) at alpha = 0.99, same neighbours, `edges="sum"`. A
size is one process a toolkit, so that peaks of memory are its own; the features, 512 bytes a point, are counted.
Beside ours, up to 200,000 points in the same run: FAISS's inverted lists for neighbours, SciPy's conjugate gradients
at their default tolerance (seconds of 1,000 queries from those of 8), scikit-learn's LabelSpreading at its default
tolerance on the same graph. `right` is the recall of 500 lists of neighbours, the overlap@100 of 8 lists with the exact
ones, the accuracy of the labels. `growth` is the exponent p of seconds ~ n^p since the size before. A million points
take ours alone.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from bench._report import Row

SIZES = (5_000, 20_000, 60_000, 200_000, 1_000_000)
PEERS_TO = 200_000
DIM, SURFACES, CLASSES, LABELS, QUERIES = 128, 100, 10, 50, 1_000
K, SEEDS, TOP, ALPHA = 20, 10, 100, 0.99
CHECKED, SAMPLED = 8, 500  # queries solved exactly, or by the peer; rows whose neighbours are searched exactly
_WITHIN = 10  # dimensions that the surfaces share, so that they pass close to one another
_CHUNK = 50_000


def run(*, quick: bool) -> list[Row]:
    rows: list[Row] = []
    before: dict[tuple[str, str], Row] = {}
    for n in (2_000,) if quick else SIZES:
        measured = [_in_own_process("ours", n)] + ([_in_own_process("peers", n)] if n <= PEERS_TO else [])
        slow = {row["job"]: row["s"] for row in measured[-1]} if len(measured) > 1 else {}
        for row in (row for part in measured for row in part):
            past = before.get((row["job"], row["by"]))
            growth = np.log(row["s"] / past["s"]) / np.log(n / past["n"]) if past else None
            before[row["job"], row["by"]] = row
            rows.append({**row, "ratio": row["s"] / slow[row["job"]] if slow else None, "growth": growth})
    return rows


def figure(rows: list[Row]) -> Any:
    """Draw seconds against points on logarithmic axes, one panel a job."""
    from matplotlib.figure import Figure

    jobs = list(dict.fromkeys(row["job"] for row in rows))
    drawn = Figure(figsize=(4 * len(jobs), 3.6), layout="constrained")
    for ax, job in zip(drawn.subplots(1, len(jobs), squeeze=False)[0], jobs, strict=True):
        of_job = [row for row in rows if row["job"] == job]
        for by, marker in zip(dict.fromkeys(row["by"] for row in of_job), "os", strict=False):
            some = [row for row in of_job if row["by"] == by]
            ax.loglog([row["n"] for row in some], [row["s"] for row in some], marker=marker, label=by)
        ax.set(title=job, xlabel="points", ylabel="seconds")
        ax.grid(alpha=0.3)
        ax.legend()
    return drawn


def _in_own_process(who: str, n: int) -> list[Row]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.pipeline", who, str(n)], stdout=subprocess.PIPE, text=True, check=True
    )
    rows: list[Row] = json.loads(done.stdout.splitlines()[-1])
    return rows


def collection(n: int) -> tuple[Any, Any, Any]:
    """Return features (n, 128), labels (n,) of the surfaces, and queries (1,000, 128)."""
    rng = np.random.default_rng(n)
    waves = 6
    centre = 0.5 * rng.standard_normal((SURFACES, _WITHIN))
    amplitude = rng.standard_normal((SURFACES, waves, _WITHIN)) / np.sqrt(waves)
    frequency = 1.5 * rng.standard_normal((SURFACES, 5, waves))
    basis = np.linalg.qr(rng.standard_normal((DIM, _WITHIN)))[0].T
    phase = rng.uniform(0, 2 * np.pi, (SURFACES, waves))
    surface = rng.integers(SURFACES, size=n + QUERIES)
    X = np.empty((n + QUERIES, DIM), dtype=np.float32)
    for start in range(0, n + QUERIES, _CHUNK):
        of = surface[start : start + _CHUNK]
        u = rng.uniform(size=(of.size, 5))
        cosines = np.cos(np.einsum("nf,nfw->nw", u, frequency[of]) + phase[of])
        part = centre[of] + np.einsum("nw,nwd->nd", cosines, amplitude[of], optimize=True)
        part = part @ basis + 0.02 * rng.standard_normal((of.size, DIM))
        X[start : start + of.size] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return X[:n], surface[:n], X[n:]


def ours(n: int) -> list[Row]:
    """Measure the three jobs by this package."""
    import manifold as mf
    from manifold.solvers import ConjugateGradient

    X, surface, Q = collection(n)
    search = mf.ManifoldSearch(n_neighbors=K, n_seeds=SEEDS, alpha=ALPHA, solver=ConjugateGradient(rtol=1e-2))
    taken, neighbors = _timed(lambda: mf.neighbors.find_neighbors(X, K))
    building, graph = _timed(lambda: mf.graph_from_neighbors(neighbors, edges="mutual", bridge=1))
    rows = [_row("graph", "build_graph", n, taken + building, _recall(X, neighbors.indices))]
    search.fit(X, graph=graph)
    taken, ranking = _timed(lambda: search.search(Q, TOP))
    rows.append(_row("1,000 queries", "ManifoldSearch", n, taken, _overlap(search, Q, ranking.ids)))
    labels, truth = _labels(surface)
    graph = mf.graph_from_neighbors(neighbors, edges="sum")
    taken, result = _timed(lambda: mf.propagate(graph, labels, filter=mf.Diffusion(ALPHA)))
    rows.append(_row("10 classes", "propagate", n, taken, float((result.labels == truth)[labels < 0].mean())))
    return rows


def peers(n: int) -> list[Row]:
    """Measure the three jobs by FAISS, SciPy and scikit-learn; the graph of the last two is ours."""
    import faiss
    from scipy import sparse
    from scipy.sparse.linalg import cg
    from sklearn.semi_supervised import LabelSpreading

    import manifold as mf

    X, surface, Q = collection(n)
    cells = int(4 * np.sqrt(n))

    def lists() -> Any:
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(DIM), DIM, cells, faiss.METRIC_INNER_PRODUCT)
        index.train(X[: 64 * cells])
        index.add(X)
        index.nprobe = 16
        return index.search(X, K + 1)[1][:, 1:]

    taken, found = _timed(lists)
    rows = [_row("graph", "FAISS IVF", n, taken, _recall(X, found))]
    neighbors = mf.neighbors.find_neighbors(X, K)
    graph = mf.graph_from_neighbors(neighbors, edges="mutual", bridge=1)
    search = mf.ManifoldSearch(n_neighbors=K, n_seeds=SEEDS, alpha=ALPHA).fit(X, graph=graph)
    half = sparse.diags_array(np.where(graph.degrees > 0, graph.degrees, 1.0) ** -0.5)
    A = sparse.csr_array(sparse.eye_array(n) - ALPHA * (half @ graph.affinity.astype(np.float64) @ half))
    seeds = _seeds(search, Q[:CHECKED]).toarray()
    taken, lists_ = _timed(lambda: [np.argsort(-cg(A, y)[0], kind="stable")[:TOP] for y in seeds.T])
    rows.append(_row("1,000 queries", "SciPy cg", n, taken * QUERIES / CHECKED, _overlap(search, Q, np.array(lists_))))
    labels, truth = _labels(surface)
    W = mf.graph_from_neighbors(neighbors, edges="sum").affinity.astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it divides by the sums of rows that no label reaches
        model = LabelSpreading(kernel=lambda *_: W, alpha=ALPHA, max_iter=10_000)
        taken, _ = _timed(lambda: model.fit(X, labels))
    right = float((model.transduction_ == truth)[labels < 0].mean())
    rows.append(_row("10 classes", "scikit-learn", n, taken, right))
    return rows


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def _row(job: str, by: str, n: int, seconds: float, right: float) -> Row:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"job": job, "n": n, "by": by, "s": seconds, "right": right, "peak_mib": peak}


def _labels(surface: Any) -> tuple[Any, Any]:
    """Return LABELS a class, -1 elsewhere, and the classes."""
    truth, rng = surface % CLASSES, np.random.default_rng(1)
    labels = np.full(truth.size, -1)
    known = np.concatenate([rng.choice(np.flatnonzero(truth == c), LABELS, replace=False) for c in range(CLASSES)])
    labels[known] = truth[known]
    return labels, truth


def _recall(X: Any, found: Any) -> float:
    from manifold.backends import get_backend
    from manifold.neighbors import PointSet, exact_search

    some = np.random.default_rng(2).choice(len(X), min(SAMPLED, len(X)), replace=False)
    points = PointSet(X, "cosine")
    exact, _ = exact_search(points, points, k=K, drop_self=True, rows=some, backend=get_backend("scipy"))
    return float(np.mean([np.isin(e, found[i]).mean() for i, e in zip(some, exact, strict=True)]))


def _seeds(search: Any, Q: Any) -> Any:
    from manifold.neighbors import PointSet

    return search.fitted_.seeds(*search.fitted_.nearest(PointSet(Q, "cosine"), SEEDS))


def _overlap(search: Any, Q: Any, lists: Any) -> float:
    import manifold as mf
    from manifold.metrics import overlap_at_k

    exact = mf.solvers.ConjugateGradient(rtol=1e-8, max_iter=2_000).prepare(
        search.graph_.astype(np.float64), search.filter, mf.backends.get_backend()
    )
    truth = np.argsort(-exact.solve(_seeds(search, Q[:CHECKED])).scores, axis=0, kind="stable").T
    return float(overlap_at_k(lists[:CHECKED], truth[:, :TOP]))


if __name__ == "__main__":
    print(json.dumps({"ours": ours, "peers": peers}[sys.argv[1]](int(sys.argv[2]))))
