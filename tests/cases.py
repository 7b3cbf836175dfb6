"""The tables of solvers x backends x awkward graphs, and of neighbour methods, that drive the contract tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from strict_backend import StrictBackend

from manifold import DiffusionIndex, build_graph, graph_from_affinity
from manifold.backends import Backend, get_backend
from manifold.errors import BackendError
from manifold.graph import Graph
from manifold.labels import (
    Auto,
    Harmonic,
    IterativeCleaning,
    LocalGlobalConsistency,
    Poisson,
    PoissonMBO,
    ResolventMBO,
)
from manifold.neighbors import METRICS, Exact, Faiss, InvertedFile, Method, NNDescent
from manifold.solvers import (
    Chebyshev,
    ConjugateGradient,
    Direct,
    FastSpectralRanking,
    Hybrid,
    Lanczos,
    Local,
    PowerIteration,
)


@dataclass(frozen=True)
class SolverCase:
    """A solver, set to be as exact as a dtype allows, or loosely so that its bound has something to cover."""

    name: str
    exact: Callable[[np.dtype], Any]
    loose: tuple[Any, ...]
    serves: Callable[[Any], bool]


def rational(filter: Any) -> bool:
    return filter.resolvents is not None


def smooth(filter: Any) -> bool:
    return filter.smooth


def single_resolvent(filter: Any) -> bool:
    return rational(filter) and len(filter.resolvents) == 1


def anything(filter: Any) -> bool:
    return True


def _cg(dtype: np.dtype) -> ConjugateGradient:
    return ConjugateGradient(rtol=1e-12 if dtype == np.float64 else 1e-5)


def _power(dtype: np.dtype) -> PowerIteration:
    # in float32 a walk stands still where its steps are below the rounding of x: at 1.4e-5 of b for alpha = 0.99
    return PowerIteration(rtol=1e-12 if dtype == np.float64 else 1.5e-5)


def _chebyshev(dtype: np.dtype) -> Chebyshev:
    return Chebyshev(rtol=1e-12 if dtype == np.float64 else 1e-5)


def _lanczos(dtype: np.dtype) -> Lanczos:
    return Lanczos(rtol=1e-12 if dtype == np.float64 else 1e-5)


def _hybrid(dtype: np.dtype) -> Hybrid:
    return Hybrid(3, rtol=1e-12 if dtype == np.float64 else 1e-5)


def _local(dtype: np.dtype) -> Local:
    return Local(rtol=1e-12 if dtype == np.float64 else 1e-6)  # in float64 in any case, then rounded


_LOOSE_FSR = (
    FastSpectralRanking(1),
    FastSpectralRanking(3, identity=False),
    FastSpectralRanking(2, n_steps=4),
    FastSpectralRanking(2, certify=False),
)
SOLVERS = [
    SolverCase("cg", _cg, tuple(ConjugateGradient(rtol=1e-9, max_iter=m) for m in (1, 3, 10)), rational),
    SolverCase(
        "index",
        lambda dtype: DiffusionIndex(n_entries=1000, dtype="float64", rtol=1e-12),
        (DiffusionIndex(n_entries=2), DiffusionIndex(n_entries=5, dtype="float16"), DiffusionIndex(5, rtol=1e-2)),
        single_resolvent,
    ),
    SolverCase("direct", lambda dtype: Direct(), (Direct(),), anything),
    SolverCase("fsr", lambda dtype: FastSpectralRanking(10_000), _LOOSE_FSR, anything),
    SolverCase("hybrid", _hybrid, tuple(Hybrid(2, rtol=1e-9, max_iter=m) for m in (1, 3, 10)), rational),
    SolverCase("chebyshev", _chebyshev, tuple(Chebyshev(rtol=1e-9, max_iter=m) for m in (1, 3, 10)), smooth),
    SolverCase("lanczos", _lanczos, tuple(Lanczos(rtol=1e-9, max_iter=m) for m in (1, 3, 10)), smooth),
    SolverCase("local", _local, (Local(rtol=1e-1), Local(rtol=1e-2), Local(rtol=1e-6, max_passes=0.1)), rational),
    SolverCase("power", _power, tuple(PowerIteration(rtol=1e-9, max_iter=m) for m in (1, 30)), rational),
]


@dataclass(frozen=True)
class NeighborCase:
    """A neighbour method at its most exact, what it says of itself, and the metrics it serves."""

    name: str
    settings: Method
    said: str
    metrics: tuple[str, ...] = METRICS


_DISTANCES = ("cosine", "euclidean")
NEIGHBORS = [
    NeighborCase("exact", Exact(), "exact"),
    NeighborCase("inverted_file", InvertedFile(recall=1.0, n_refinements=2), "inverted_file", _DISTANCES),
    NeighborCase("nn_descent", NNDescent(n_iters=20, max_candidates=60), "nn_descent", _DISTANCES),
    NeighborCase("faiss", Faiss(), "faiss Flat"),
]


def _cupy() -> Backend:
    try:
        return get_backend("cupy")
    except BackendError as error:
        pytest.skip(str(error))


BACKENDS: dict[str, Callable[[], Backend]] = {
    "scipy": lambda: get_backend("scipy"),
    "strict": StrictBackend,
    "cupy": _cupy,
}
DTYPES = {"float32": np.dtype(np.float32), "float64": np.dtype(np.float64)}
TOLERANCE = {np.dtype(np.float32): 3e-5, np.dtype(np.float64): 1e-8}


def adjacency(n: int, edges: list[tuple[int, int]], weights: Any = 1.0) -> np.ndarray:
    W = np.zeros((n, n))
    for (i, j), w in zip(edges, np.broadcast_to(weights, len(edges)), strict=True):
        W[i, j] = W[j, i] = w
    return W


def _duplicates() -> np.ndarray:
    X = np.random.default_rng(137).standard_normal((40, 5))
    X[:12] = X[0]
    X[20:23] = X[20]
    with pytest.warns(UserWarning, match="group of duplicates"):
        return build_graph(X, 4).affinity.toarray()


def _clusters() -> np.ndarray:
    rng = np.random.default_rng(31)
    X = rng.standard_normal((6, 8))[rng.integers(0, 6, 150)] + 0.4 * rng.standard_normal((150, 8))
    return build_graph(X, 6).affinity.toarray()


def _huge_range() -> np.ndarray:
    return adjacency(6, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)], 10.0 ** np.array([-12, 9, 0, -3, 12, 4]))


GRAPHS: dict[str, Callable[[], np.ndarray]] = {
    "empty": lambda: np.zeros((0, 0)),
    "one node": lambda: np.zeros((1, 1)),
    "two nodes": lambda: adjacency(2, [(0, 1)]),
    "ring": lambda: adjacency(8, [(i, (i + 1) % 8) for i in range(8)]),
    "path": lambda: adjacency(5, [(i, i + 1) for i in range(4)], [1, 5, 0.2, 3]),
    "star": lambda: adjacency(9, [(0, i) for i in range(1, 9)]),
    "complete": lambda: 1.0 - np.eye(6),
    "bipartite": lambda: adjacency(7, [(i, j) for i in range(3) for j in range(3, 7)]),
    "disconnected": lambda: np.kron(np.eye(3), adjacency(4, [(0, 1), (1, 2), (2, 0), (2, 3)])),
    "isolated nodes": lambda: adjacency(7, [(1, 2), (2, 5), (5, 1)]),
    "no edges": lambda: np.zeros((4, 4)),
    "duplicates": _duplicates,
    "huge weight range": _huge_range,
    "clusters": _clusters,
}


def all_graphs(rng: np.random.Generator, n: int) -> sparse.csr_array:
    """Every graph of the table, again and again until n nodes, in any order: components that no cut respects."""
    few = [sparse.csr_array(make()) for make in GRAPHS.values()]
    W = sparse.block_diag(few * -(-n // sum(part.shape[0] for part in few)), format="csr")
    order = rng.permutation(W.shape[0])
    return sparse.csr_array(W[order][:, order])


def _far_and_near(rng: np.random.Generator, n: int) -> sparse.csr_array:
    """Edges to the next rows and to rows far away, components over cuts, isolated nodes and runs of them."""
    i = rng.integers(0, n, 3 * n)
    j = (i + np.where(rng.random(3 * n) < 0.9, rng.integers(1, 60, 3 * n), rng.integers(0, n, 3 * n))) % n
    alone = np.zeros(n, dtype=bool)
    alone[rng.integers(0, n, 50)] = alone[3000:3400] = True
    kept = (i != j) & ~alone[i] & ~alone[j]
    W = sparse.csr_array((rng.uniform(0.1, 10, kept.sum()), (i[kept], j[kept])), shape=(n, n))
    return W + W.T


def _of_any_size(rng: np.random.Generator, n: int) -> sparse.csr_array:
    W = _far_and_near(rng, n)
    W.data = 10.0 ** np.random.default_rng(5).uniform(-12, 12, W.nnz)
    return W + W.T


def _rim(rng: np.random.Generator, n: int) -> sparse.csr_array:
    """One row that all others have an edge to: the halo of each shard holds it, and its own holds all of theirs."""
    W = sparse.csr_array((rng.uniform(1, 2, n - 1), (np.zeros(n - 1, int), np.arange(1, n))), shape=(n, n))
    return W + W.T


# of enough nodes to be cut into shards
LARGE: dict[str, Callable[[np.random.Generator, int], sparse.csr_array]] = {
    "all of the table": all_graphs,
    "far and near": _far_and_near,
    "path": lambda rng, n: sparse.diags_array([np.ones(n - 1)] * 2, offsets=(-1, 1), format="csr"),
    "star": _rim,
    "mirror": lambda rng, n: sparse.csr_array((np.ones(n), (np.arange(n), np.arange(n)[::-1]))),
    "no edges": lambda rng, n: sparse.csr_array((n, n)),
    "huge weight range": _of_any_size,
}


def make_graph(name: str, dtype: np.dtype = DTYPES["float64"]) -> Graph:
    return graph_from_affinity(GRAPHS[name]()).astype(dtype)


@np.errstate(under="ignore")
def dense_scores(graph: Graph, Y: np.ndarray, filter: Any) -> np.ndarray:
    """F = h(S) Y by the eigenvectors of a dense S, straight from the definition."""
    W = sparse.csr_array(graph.affinity).toarray().astype(np.float64)
    d = W.sum(axis=1)
    inverse = np.divide(1, np.sqrt(d), out=np.zeros_like(d), where=d > 0)
    eigenvalues, U = np.linalg.eigh(inverse[:, None] * W * inverse)
    return (U * filter(eigenvalues)) @ (U.T @ Y)


def some_seeds(n: int, q: int = 5, seed: int = 7) -> np.ndarray:
    """Sparse non-negative columns, among them a unit vector and a dense one."""
    rng = np.random.default_rng(seed)
    Y = rng.random((n, q)) * (rng.random((n, q)) < 0.3)
    if n:
        Y[:, 0] = 0
        Y[n // 2, 0] = 1
        Y[:, -1] = rng.random(n)
    return Y


# a label method, at its most exact: what it answers on two bridged cliques is known by symmetry
LABELS = {
    "auto": Auto(),
    "lgc": LocalGlobalConsistency(),
    "harmonic": Harmonic(),
    "poisson": Poisson(),
    "poisson_mbo": PoissonMBO(),
    "resolvent_mbo": ResolventMBO(),
    "ilpc": IterativeCleaning(),
}

# row of the table -> the figure of the list a b c d e, of which b and d are relevant, as is f, which is not listed
_DCG = 1 / np.log2(3) + 1 / np.log2(5)
_IDEAL = 1 + 1 / np.log2(3) + 1 / np.log2(4)
FIGURES = {
    "mAP": ("mAP", (1 / 2 + 2 / 4) / 3),
    "mP@k": ("mP@5", 2 / 4),
    "MRR": ("MRR", 1 / 2),
    "MRR@k": ("MRR@1", 0.0),
    "recall@k": ("recall@3", 1 / 3),
    "hit@k": ("hit@2", 1.0),
    "nDCG@k": ("nDCG@4", _DCG / _IDEAL),
    "binary nDCG@k": ("binary nDCG@4", _DCG / _IDEAL),
    "bull's-eye@k": ("bull's-eye@4", (1 + 1) / (1 + 3)),  # the query is the first of its own list, and relevant
    "1-NN accuracy": ("1-NN accuracy", 0.0),
    "1-NN error": ("1-NN error", 1.0),
}


def rooted_graph(n, *, seed, dtype=np.float64, octaves=0):
    """Return W of a random graph with one isolated node, its roots, and S in float64, dense."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((n, n)) < 6 / n, 1) * 2.0 ** rng.uniform(-octaves, octaves, (n, n))
    upper[:, 5] = upper[5] = 0
    W = (upper + upper.T).astype(dtype)
    degrees = W.astype(np.float64).sum(axis=1)
    roots = np.sqrt(np.where(degrees > 0, degrees, 1))
    return sparse.csr_array(W), roots, W / np.outer(roots, roots)
