"""CPU against GPU on the same graph in one run, beside what the device copies and multiplies at most.

Exact neighbours, products with S, conjugate gradients in batches, fast spectral ranking, the index, propagation, and
the certified lists of both. Points are Gaussian clusters, k = 50. What would take the CPU hours is timed there on a
part of its rows or columns (`cpu_part`), and counted for all. `error` is the largest difference of scores over the sum
of both bounds: at most 1. `share` is achieved over measured: the bytes that a product cannot avoid over those of a
copy, the operations of a search over those of a float32 matrix product.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import manifold as mf
from bench._report import Row
from manifold.backends import Backend, get_backend
from manifold.errors import BackendError
from manifold.neighbors import PointSet, exact_search
from manifold.solvers.system import NormalizedAffinity

K = 50
FILTER = mf.Diffusion(0.99)
SEARCHES = ((100_000, 128), (1_000_000, 128), (1_000_000, 768))
COLUMNS = (64, 256, 1024)
CLASSES = (10, 1000)
CPU_QUERIES = 4096  # of an exact search, answered by the CPU
QUERY_TILE, POINT_TILE = 2048, 8192  # in which the exact search multiplies


def run(*, quick: bool, device: Backend | None = None) -> list[Row]:
    try:
        device = device or get_backend("cupy")
    except BackendError as error:
        print(f"gpu is left out: {error}")
        return []
    ceilings = _ceilings(device, size=1 << 10 if quick else 1 << 13)
    searches = ((600, 16),) if quick else SEARCHES
    rows = [{"what": "ceilings", **ceilings}]
    rows += [_neighbours(device, n, d, ceilings=ceilings) for n, d in searches]
    X = _points(*((600, 16) if quick else (100_000, 128)))
    graph = mf.build_graph(X, 8 if quick else K, method="exact", backend=device)
    rows += [_product(device, graph, q, ceilings=ceilings) for q in (1, 32, 64, 256)]
    rows += [_batch(device, graph, q) for q in (COLUMNS[:1] if quick else COLUMNS)]
    rows += _spectral(device, graph, rank=5 if quick else 100)
    rows += [_index(device, mf.build_graph(X[: 600 if quick else 20_000], 8, method="exact", backend=device))]
    rows += [_labels(device, graph, c) for c in (CLASSES[:1] if quick else CLASSES)]
    rows += [_certified(device, X, graph, n_queries=8 if quick else 10_000)]
    return rows


def _points(n: int, d: int) -> Any:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((max(n // 200, 1), d), dtype=np.float32)
    points = 0.6 * rng.standard_normal((n, d), dtype=np.float32)
    points += centres[rng.integers(0, len(centres), n)]
    return points


def _timed(work: Callable[[], Any], backend: Backend, *, repeat: int = 1) -> tuple[float, Any]:
    """Return the wall seconds of one run in the mean of `repeat`, to the end of the device's work, and the answer."""
    start = time.perf_counter()
    for _ in range(repeat):
        answer = work()
    backend.to_host(backend.xp.zeros(1))  # waits for all that was asked of the device before
    return (time.perf_counter() - start) / repeat, answer


def _ceilings(device: Backend, *, size: int) -> Row:
    """Measure the copy and the float32 matrix product of the device."""
    x = device.asarray(np.ones((size, 4 * size), dtype=np.float32))
    square = device.asarray(np.ones((size, size), dtype=np.float32))
    rates = {}
    for name, work, amount in (
        ("copy_GB_s", x.copy, 8 * size * 4 * size / 1e9),
        ("gemm_TFLOP_s", lambda: square @ square, 2 * size**3 / 1e12),
    ):
        _timed(work, device)  # warms up
        rates[name] = amount / _timed(work, device, repeat=10)[0]
    return rates


def _neighbours(device: Backend, n: int, d: int, *, ceilings: Row) -> Row:
    """Time the exact search of all points, of the matrix products in it alone, and of a part of it on the CPU."""
    points, k = PointSet(_points(n, d), "cosine"), min(K, n // 8)

    def search(backend: Backend, rows: Any = None) -> Any:
        return exact_search(points, points, k=k, drop_self=True, backend=backend, rows=rows)

    some = np.arange(min(n, CPU_QUERIES))
    search(device, some[: QUERY_TILE // 8])  # compiles
    taken, (ids, similarities) = _timed(lambda: search(device), device)
    cpu, (cpu_ids, cpu_similarities) = _timed(lambda: search(get_backend("scipy"), some), get_backend("scipy"))
    queries, tile = (device.asarray(points.rows(slice(width))) for width in (QUERY_TILE, POINT_TILE))
    repeat = 20
    product = _timed(lambda: queries @ tile.T, device, repeat=repeat)[0]
    flops = 2 * queries.shape[0] * tile.shape[0] * d / product / 1e12
    same = np.mean([np.intersect1d(a, b).size / k for a, b in zip(ids[: some.size], cpu_ids, strict=True)])
    return {
        "what": "exact neighbours",
        "n": n,
        "d": d,
        "gpu_s": taken,
        "cpu_s": cpu * n / some.size,
        "cpu_part": some.size / n,
        "speedup": cpu * n / some.size / taken,
        "TFLOP_s": 2 * n * n * d / taken / 1e12,
        "share": 2 * n * n * d / taken / 1e12 / ceilings["gemm_TFLOP_s"],
        "share_of_products": flops / ceilings["gemm_TFLOP_s"],
        "same_neighbours": float(same),
        "largest_difference": float(np.abs(similarities[: some.size] - cpu_similarities).max()),
    }


def _product(device: Backend, graph: mf.Graph, q: int, *, ceilings: Row) -> Row:
    """Time S times a block of q columns, by the bytes that it cannot avoid."""
    n, nnz = graph.n_nodes, graph.affinity.nnz
    times = {}
    for name, backend in (("cpu_s", get_backend("scipy")), ("gpu_s", device)):
        S = NormalizedAffinity(graph, backend)
        block = backend.asarray(np.random.default_rng(1).random((n, q), dtype=np.float32))
        _timed(lambda S=S, block=block: S @ block, backend)
        times[name] = _timed(lambda S=S, block=block: S @ block, backend, repeat=10)[0]
    rate = (8 * nnz + 4 * (n + 1) + 8 * n * q) / times["gpu_s"] / 1e9
    shares = {"GB_s": rate, "share": rate / ceilings["copy_GB_s"]}
    return {"what": "product with S", "n": n, "columns": q, **times, "speedup": _ratio(times), **shares}


def _ratio(times: Row) -> float:
    return float(times["cpu_s"] / times["gpu_s"])


def _batch(device: Backend, graph: mf.Graph, q: int) -> Row:
    """Time conjugate gradients on q columns; the CPU solves 64 of them."""
    Y = np.zeros((graph.n_nodes, q), dtype=np.float32)
    Y[np.random.default_rng(2).choice(graph.n_nodes, q, replace=q > graph.n_nodes), np.arange(q)] = 1
    some = min(q, 64)
    solver = mf.solvers.ConjugateGradient(rtol=1e-3)
    here = solver.prepare(graph, FILTER, get_backend("scipy"))
    there = solver.prepare(graph, FILTER, device)
    seeds = device.asarray(Y)
    there.solve(seeds[:, :some])
    cpu_s, expected = _timed(lambda: here.solve(Y[:, :some]), get_backend("scipy"))
    gpu_s, found = _timed(lambda: there.solve(seeds), device)
    times = {"gpu_s": gpu_s, "cpu_s": cpu_s * q / some}
    return {
        "what": "conjugate gradients",
        "n": graph.n_nodes,
        "columns": q,
        **times,
        "cpu_part": some / q,
        "speedup": _ratio(times),
        "iterations": int(found.n_iter.max()),
        "error": _error(device, found, expected),
    }


def _error(device: Backend, found: Any, expected: Any) -> float:
    """Return the largest difference of two solutions over the sum of their bounds, on the columns both have."""
    q = expected.scores.shape[1]
    gap = np.abs(device.to_host(found.scores)[:, :q] - expected.scores).max(axis=0)
    return float((gap / (found.error_bound[:q] + expected.error_bound)).max())


def _spectral(device: Backend, graph: mf.Graph, *, rank: int) -> list[Row]:
    """Time fast spectral ranking: its eigenvectors, and 64 queries by them."""
    solver = mf.solvers.FastSpectralRanking(rank=rank, n_steps=5, certify=False)
    Y = np.eye(graph.n_nodes, 64, dtype=np.float32)
    offline, online = {}, {}
    for side, backend in (("gpu_s", device), ("cpu_s", get_backend("scipy"))):
        offline[side], prepared = _timed(lambda backend=backend: solver.prepare(graph, FILTER, backend), backend)
        seeds = backend.asarray(Y)
        prepared.solve(seeds)
        online[side], _ = _timed(lambda prepared=prepared, seeds=seeds: prepared.solve(seeds), backend, repeat=5)
    facts = {"n": graph.n_nodes, "rank": rank}
    return [
        {"what": f"spectral ranking, {name}", **facts, **times, "speedup": _ratio(times)}
        for name, times in (("eigenvectors", offline), ("64 queries", online))
    ]


def _index(device: Backend, graph: mf.Graph) -> Row:
    """Time the build of an index, whole on both."""
    times, built = {}, []
    for side, backend in (("gpu_s", device), ("cpu_s", get_backend("scipy"))):
        times[side], columns = _timed(
            lambda backend=backend: mf.DiffusionIndex(256).build(graph, filter=FILTER, backend=backend), backend
        )
        built.append(columns)
    facts = {"largest_difference_of_tails": float(np.abs(built[0].tail - built[1].tail).max())}
    return {"what": "index", "n": graph.n_nodes, **times, "speedup": _ratio(times), **facts}


def _labels(device: Backend, graph: mf.Graph, c: int) -> Row:
    """Time propagation with five labels a class."""
    rng = np.random.default_rng(3)
    labels = np.full(graph.n_nodes, -1)
    known = rng.choice(graph.n_nodes, min(5 * c, graph.n_nodes), replace=False)
    labels[known] = np.arange(known.size) % c
    times, said = {}, []
    for side, backend in (("gpu_s", device), ("cpu_s", get_backend("scipy"))):
        times[side], result = _timed(
            lambda backend=backend: mf.propagate(graph, labels, filter=FILTER, backend=backend, on_failure="ignore"),
            backend,
        )
        said.append(result.labels)
    same = {"same_labels": float(np.mean(said[0] == said[1]))}
    return {"what": "propagation", "n": graph.n_nodes, "classes": c, **times, "speedup": _ratio(times), **same}


def _certified(device: Backend, X: Any, graph: mf.Graph, *, n_queries: int) -> Row:
    """Certify the ten best of each query on both, and compare the sets that both have proved."""
    rng = np.random.default_rng(4)
    Q = X[rng.choice(len(X), n_queries, replace=n_queries > len(X))] + 0.1 * rng.standard_normal(
        (n_queries, X.shape[1]), dtype=np.float32
    )
    times, lists = {}, []
    for side, backend in (("gpu_s", device), ("cpu_s", get_backend("scipy"))):
        search = mf.ManifoldSearch(backend=backend, on_failure="ignore").fit(X, graph=graph)
        times[side], ranking = _timed(lambda search=search: search.search(Q, k=10, slack=0), backend)
        lists.append(ranking)
    both = np.flatnonzero(lists[0].certified & lists[1].certified)
    same = [set(lists[0].ids[i]) == set(lists[1].ids[i]) for i in both]
    return {
        "what": "certified lists",
        "n": graph.n_nodes,
        "queries": n_queries,
        **times,
        "speedup": _ratio(times),
        "certified_by_both": int(both.size),
        "same_sets": int(sum(same)),
    }
