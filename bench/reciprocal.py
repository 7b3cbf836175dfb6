"""What re-ranking by neighbourhoods costs on sparse rows, beside the matrix of all pairs that the published code holds.

Each row is one process: about n points of 32 dimensions, a tenth of them distractors and the others views of objects
(`datasets.view_manifolds`); their 60 neighbours from an inverted file of FAISS; then every point asks for its 100 best
(`ask` "all"), or 100 queries outside the collection do, for whom what can be kept of the collection is kept ("queries":
the time is theirs alone). `seconds` is the wall's time, `cpu_s` the process's, which a busy machine does not stretch.
`extra_gib` is the peak resident set of the process less what it held before, neighbours and libraries included;
`dense_gib` is one float32 matrix of all pairs, of which the published codes hold several.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import manifold as mf
from bench._report import Row
from manifold import reranking

SIZES = (20_000, 200_000)
METHODS = ("k-reciprocal", "ecn", "cas")


def run(*, quick: bool) -> list[Row]:
    rows = []
    for n in SIZES[:1] if quick else SIZES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "neighbors.npz"
            np.savez(path, **_neighbors(n))
            for method in METHODS[:1] if quick else METHODS:
                for ask in ("queries",) if quick else ("all", "queries"):
                    command = [sys.executable, "-W", "error", "-m", "bench.reciprocal", str(path), method, ask]
                    done = subprocess.run(command, check=True, capture_output=True, text=True)
                    rows.append({"method": method, "ask": ask, **json.loads(done.stdout)})
    return rows


def measure(path: str, method: str, ask: str) -> Row:
    """Load the neighbours, rerank, and say how long it took and what the peak was."""
    from manifold.neighbors import Neighbors

    stored = np.load(path)
    neighbors = Neighbors(stored["ids"], stored["similarities"], metric="cosine", method="inverted file")
    queries: tuple[Any, ...] = () if ask == "all" else (stored["query_ids"], stored["query_similarities"])
    rerank: Any = {
        "k-reciprocal": reranking.reciprocal_rerank,
        "ecn": reranking.cross_neighborhood_rerank,
        "cas": reranking.cluster_rerank,
    }[method]
    kept: dict[str, Any] = {}
    before = _resident()
    if queries and method == "k-reciprocal":
        kept = {"profiles": reranking.reciprocal_profiles(neighbors)}
    if queries and method == "cas":
        kept = {"diffused": reranking.cluster_similarities(neighbors)}
    start, worked = time.perf_counter(), time.process_time()
    ids, _ = rerank(neighbors, *queries, k=100, **kept)
    taken, worked = time.perf_counter() - start, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "n": neighbors.n_nodes,
        "seconds": taken,
        "cpu_s": worked,
        "cpu_ms_per_list": 1e3 * worked / len(ids),
        "extra_gib": (peak - before) / 2**30,
        "dense_gib": 4 * neighbors.n_nodes**2 / 2**30,
    }


def _neighbors(n: int) -> dict[str, Any]:
    import faiss

    objects = n // 65
    views = int(0.47 * n / objects**0.5)  # sizes fall as o^-1/2: nine tenths of n, and some more, in all
    data = mf.datasets.view_manifolds(objects, views, n // 10, dim=32, rng=90210)
    X, Q = (np.ascontiguousarray(x, dtype=np.float32) for x in (data.features, data.queries[:: objects // 100][:100]))
    n = len(X)
    index = faiss.index_factory(X.shape[1], f"IVF{int(np.sqrt(n))},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(X)
    index.add(X)
    index.nprobe = 16
    similarities, ids = index.search(X, 61)
    own = ids == np.arange(n)[:, None]
    own[~own.any(axis=1), -1] = True  # not found by itself: the last one goes
    found = {"ids": ids[~own].reshape(n, 60), "similarities": similarities[~own].reshape(n, 60)}
    found["query_similarities"], found["query_ids"] = index.search(Q, 60)
    return found


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
