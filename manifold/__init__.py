"""Graph-based manifold search: kNN graphs, diffusion with error bounds, reranking, label propagation.

Every name is imported when first used, so that ``import manifold`` stays quick. Rooms are modules of it:
``manifold.solvers``, ``manifold.metrics`` and so on.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

# public name -> room that holds it
_NAMES = {
    "Diffusion": "filters",
    "DiffusionIndex": "index",
    "Explorer": "explorer",
    "Graph": "graph",
    "Heat": "filters",
    "LabelPropagation": "labels.estimator",
    "LowPass": "filters",
    "ManifoldSearch": "ranking",
    "Neighbors": "neighbors",
    "Polynomial": "filters",
    "Propagation": "labels",
    "Ranking": "ranking",
    "RegionalSearch": "ranking",
    "RegularizedDiffusion": "filters",
    "Solution": "solvers",
    "build_graph": "graph",
    "diffuse": "solvers",
    "find_neighbors": "neighbors",
    "graph_from_affinity": "graph",
    "graph_from_neighbors": "graph",
    "load": "_load",
    "personalized_pagerank": "ranking.pagerank",
    "propagate": "labels",
    "show_versions": "_versions",
}
_ROOMS = (
    "backends",
    "datasets",
    "discovery",
    "distributed",
    "errors",
    "evaluation",
    "explorer",
    "filters",
    "glossary",
    "graph",
    "index",
    "labels",
    "matching",
    "metrics",
    "neighbors",
    "plotting",
    "ranking",
    "reranking",
    "solvers",
    "storage",
    "stores",
)
_MOVED = dict.fromkeys(
    (
        *("Chebyshev", "ConjugateGradient", "Direct", "FastSpectralRanking", "Hybrid", "Lanczos"),
        "PowerIteration",
    ),
    "manifold.solvers",
)

__all__ = [*_NAMES, *_ROOMS]  # noqa: PLE0604 -- both hold plain strings

if TYPE_CHECKING:
    from manifold import backends as backends
    from manifold import datasets as datasets
    from manifold import discovery as discovery
    from manifold import distributed as distributed
    from manifold import errors as errors
    from manifold import evaluation as evaluation
    from manifold import explorer as explorer
    from manifold import filters as filters
    from manifold import glossary as glossary
    from manifold import graph as graph
    from manifold import index as index
    from manifold import labels as labels
    from manifold import matching as matching
    from manifold import metrics as metrics
    from manifold import neighbors as neighbors
    from manifold import plotting as plotting
    from manifold import ranking as ranking
    from manifold import reranking as reranking
    from manifold import solvers as solvers
    from manifold import storage as storage
    from manifold import stores as stores
    from manifold._load import load as load
    from manifold._versions import show_versions as show_versions
    from manifold.explorer import Explorer as Explorer
    from manifold.filters import Diffusion as Diffusion
    from manifold.filters import Heat as Heat
    from manifold.filters import LowPass as LowPass
    from manifold.filters import Polynomial as Polynomial
    from manifold.filters import RegularizedDiffusion as RegularizedDiffusion
    from manifold.graph import Graph as Graph
    from manifold.graph import build_graph as build_graph
    from manifold.graph import graph_from_affinity as graph_from_affinity
    from manifold.graph import graph_from_neighbors as graph_from_neighbors
    from manifold.index import DiffusionIndex as DiffusionIndex
    from manifold.labels import Propagation as Propagation
    from manifold.labels import propagate as propagate
    from manifold.labels.estimator import LabelPropagation as LabelPropagation
    from manifold.neighbors import Neighbors as Neighbors
    from manifold.neighbors import find_neighbors as find_neighbors
    from manifold.ranking import ManifoldSearch as ManifoldSearch
    from manifold.ranking import Ranking as Ranking
    from manifold.ranking import RegionalSearch as RegionalSearch
    from manifold.ranking.pagerank import personalized_pagerank as personalized_pagerank
    from manifold.solvers import Solution as Solution
    from manifold.solvers import diffuse as diffuse


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"manifold.{name}")
    if name in _NAMES:
        value = getattr(import_module(f"manifold.{_NAMES[name]}"), name)
        globals()[name] = value
        return value
    from manifold._moved import moved

    return moved("manifold", _MOVED)(name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
