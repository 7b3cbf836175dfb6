"""Graph-based manifold search: kNN graphs, diffusion with error bounds, reranking.

Every name is imported when first used, so that ``import manifold`` stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# public name -> room that holds it
_ROOMS = {
    "Chebyshev": "solvers",
    "ConjugateGradient": "solvers",
    "Diffusion": "filters",
    "Heat": "filters",
    "LowPass": "filters",
    "Polynomial": "filters",
    "RegularizedDiffusion": "filters",
    "DiffusionIndex": "index",
    "Direct": "solvers",
    "Explorer": "explorer",
    "FastSpectralRanking": "solvers",
    "Hybrid": "solvers",
    "LabelPropagation": "labels.estimator",
    "Lanczos": "solvers",
    "ManifoldSearch": "ranking",
    "PowerIteration": "solvers",
    "build_graph": "graph",
    "diffuse": "solvers",
    "graph_from_affinity": "graph",
    "graph_from_neighbors": "graph",
    "load": "_load",
    "propagate": "labels",
}
_MODULES = ("datasets", "graph", "labels", "metrics", "neighbors", "plotting", "ranking")

__all__ = [*_ROOMS, *_MODULES]  # noqa: PLE0604 -- both hold plain strings

if TYPE_CHECKING:
    from manifold import datasets as datasets
    from manifold import graph as graph
    from manifold import labels as labels
    from manifold import metrics as metrics
    from manifold import neighbors as neighbors
    from manifold import plotting as plotting
    from manifold import ranking as ranking
    from manifold._load import load
    from manifold.explorer import Explorer
    from manifold.filters import Diffusion, Heat, LowPass, Polynomial, RegularizedDiffusion
    from manifold.graph import build_graph, graph_from_affinity, graph_from_neighbors
    from manifold.index import DiffusionIndex
    from manifold.labels import propagate
    from manifold.labels.estimator import LabelPropagation
    from manifold.ranking import ManifoldSearch
    from manifold.solvers import (
        Chebyshev,
        ConjugateGradient,
        Direct,
        FastSpectralRanking,
        Hybrid,
        Lanczos,
        PowerIteration,
        diffuse,
    )


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"manifold.{name}")
    if name in _ROOMS:
        value = getattr(import_module(f"manifold.{_ROOMS[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'manifold' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
