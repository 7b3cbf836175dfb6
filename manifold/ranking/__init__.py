"""Retrieval: queries to seeds, scores to ranked lists, and the façades that join them."""

from manifold._moved import moved
from manifold.ranking._adaptation import Adaptation
from manifold.ranking._base import Ranking
from manifold.ranking._settings import PRESETS, Setting
from manifold.ranking.explanation import Explanation, Path, explain
from manifold.ranking.pooling import pooling_weights, region_match
from manifold.ranking.regional import RegionalSearch
from manifold.ranking.search import ManifoldSearch
from manifold.ranking.seeds import query_seeds, regional_seeds, unit_seeds
from manifold.ranking.tuning import Tuning, tune

__all__ = [
    "PRESETS",
    "Adaptation",
    "Explanation",
    "ManifoldSearch",
    "Path",
    "Ranking",
    "RegionalSearch",
    "Setting",
    "Tuning",
    "explain",
    "pooling_weights",
    "query_seeds",
    "region_match",
    "regional_seeds",
    "tune",
    "unit_seeds",
]

_RERANKING = (
    *("augment_database", "cluster_rerank", "cluster_similarities", "compare_profiles", "cross_neighborhood_rerank"),
    *("expand_queries", "fuse_rankings", "hub_offsets", "reciprocal_profiles", "reciprocal_rerank", "remove_hubs"),
    "score_profiles",
)
_MATCHING = ("pca_whitening", "region_vectors", "rmac_regions", "verified_seeds")

__getattr__ = moved(
    __name__, dict.fromkeys(_RERANKING, "manifold.reranking") | dict.fromkeys(_MATCHING, "manifold.matching")
)
