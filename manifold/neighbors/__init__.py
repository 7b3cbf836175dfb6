"""Who is near whom: one door to every method of finding neighbours, one object out of all of them."""

from __future__ import annotations

from manifold._progress import Progress
from manifold.neighbors._adapters import from_distances, from_faiss, from_precomputed, from_sklearn
from manifold.neighbors._all_pairs import Exact
from manifold.neighbors._base import METRICS, Neighbors
from manifold.neighbors._exact import exact_search
from manifold.neighbors._faiss import Faiss
from manifold.neighbors._find import find_neighbors, warn_of_awkward_points
from manifold.neighbors._inverted_file import InvertedFile
from manifold.neighbors._methods import METHODS, Method, choose_method, memory_forecast
from manifold.neighbors._nn_descent import NNDescent
from manifold.neighbors._on_disk import open_lists
from manifold.neighbors._saved_cells import described_cells, stored_cells
from manifold.neighbors._saved_points import described_points, stored_points
from manifold.neighbors._update import with_points, without_points
from manifold.neighbors.cells import Cells, Entrance
from manifold.neighbors.compact import compact_points
from manifold.neighbors.points import PointSet, point_set
from manifold.neighbors.seed_search import SeedSearch, choose_seed_search
from manifold.neighbors.sources import names_in

__all__ = [
    "METHODS",
    "METRICS",
    "Cells",
    "Entrance",
    "Exact",
    "Faiss",
    "InvertedFile",
    "Method",
    "NNDescent",
    "Neighbors",
    "PointSet",
    "Progress",
    "SeedSearch",
    "choose_method",
    "choose_seed_search",
    "compact_points",
    "described_cells",
    "described_points",
    "exact_search",
    "find_neighbors",
    "from_distances",
    "from_faiss",
    "from_precomputed",
    "from_sklearn",
    "memory_forecast",
    "names_in",
    "open_lists",
    "point_set",
    "stored_cells",
    "stored_points",
    "warn_of_awkward_points",
    "with_points",
    "without_points",
]
