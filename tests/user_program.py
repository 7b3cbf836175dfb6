"""What a user writes, as type checkers see it once installed: no error, and no `Any` where a type is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import assert_type

import numpy as np
from numpy.typing import NDArray

import manifold as mf
from manifold.errors import ConvergenceWarning, ManifoldWarning
from manifold.solvers import ConjugateGradient


def rerank(X: NDArray[np.float32], folder: Path) -> list[tuple[str, float]]:
    search = mf.ManifoldSearch(n_neighbors=10, alpha=0.9).fit(X, ids=[f"doc-{i}" for i in range(len(X))])
    assert_type(search, mf.ManifoldSearch)
    ranking = search.search(X[:2], k=5)
    assert_type(ranking, mf.Ranking)
    ids, scores = ranking
    reranked = search.rerank([["doc-1", "doc-2"]], [[0.9, 0.8]], k=2)
    assert_type(reranked, mf.Ranking)
    search.save(folder)
    again = mf.load(folder)
    if not isinstance(again, mf.ManifoldSearch):
        raise TypeError("another kind of save")
    assert_type(search.graph_, mf.Graph)
    assert_type(len(search), int)
    best: list[tuple[str, float]] = [(str(i), float(s)) for i, s in zip(ids[0], scores[0], strict=True)]
    return best


def propagate(X: NDArray[np.float32], y: NDArray[np.int64]) -> NDArray[np.int64]:
    graph = mf.build_graph(X, 5, edges="sum")
    assert_type(graph, mf.Graph)
    result = mf.propagate(graph, y, method="poisson")
    assert_type(result, mf.Propagation)
    model = mf.LabelPropagation(n_neighbors=5).fit(X, y)
    assert_type(model, mf.LabelPropagation)
    return np.asarray(result.labels, dtype=np.int64)


def diffuse(X: NDArray[np.float32]) -> float:
    graph = mf.build_graph(X)
    solution = mf.diffuse(
        graph, np.eye(len(X))[:, :2], filter=mf.Diffusion(alpha=0.5), solver=ConjugateGradient(rtol=1e-4)
    )
    assert_type(solution, mf.Solution)
    assert_type(solution.converged, bool)
    neighbors = mf.find_neighbors(X, 3)
    assert_type(neighbors, mf.Neighbors)
    assert_type(graph.n_nodes, int)
    facts: Mapping[str, object] = graph.facts
    return float(solution.error_bound.max()) + len(facts)


def main() -> None:
    X, y = mf.datasets.digits()
    print(rerank(X[:200], Path("saved-search"))[0])
    print(propagate(X[:200], np.where(np.arange(200) < 20, y[:200], -1)).shape, diffuse(X[:200]))
    print(issubclass(ConvergenceWarning, ManifoldWarning), mf.__version__)


if __name__ == "__main__":
    main()
