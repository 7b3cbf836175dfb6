"""Retrieval: queries to seeds, scores to ranked lists, and the façade that joins them."""

from manifold.ranking._base import Ranking
from manifold.ranking.regions import pooling_weights
from manifold.ranking.search import PRESETS, ManifoldSearch
from manifold.ranking.seeds import query_seeds, regional_seeds, unit_seeds

__all__ = [
    "PRESETS",
    "ManifoldSearch",
    "Ranking",
    "pooling_weights",
    "query_seeds",
    "regional_seeds",
    "unit_seeds",
]
