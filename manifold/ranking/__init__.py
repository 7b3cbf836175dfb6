"""Retrieval: queries to seeds, scores to ranked lists, and the façade that joins them."""

from manifold.ranking._adaptation import Adaptation
from manifold.ranking._base import Ranking
from manifold.ranking._settings import PRESETS, Setting
from manifold.ranking.clusters import cluster_rerank, cluster_similarities
from manifold.ranking.cross_neighborhood import cross_neighborhood_rerank
from manifold.ranking.expansion import augment_database, expand_queries
from manifold.ranking.explanation import Explanation, Path, explain
from manifold.ranking.fusion import fuse_rankings
from manifold.ranking.hubs import hub_offsets, remove_hubs
from manifold.ranking.pooling import pooling_weights, region_match
from manifold.ranking.profiles import compare_profiles, score_profiles
from manifold.ranking.reciprocal import reciprocal_profiles, reciprocal_rerank
from manifold.ranking.regional import RegionalSearch
from manifold.ranking.regions import pca_whitening, region_vectors, rmac_regions
from manifold.ranking.search import ManifoldSearch
from manifold.ranking.seeds import query_seeds, regional_seeds, unit_seeds
from manifold.ranking.tuning import Tuning, tune
from manifold.ranking.verified import verified_seeds

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
    "augment_database",
    "cluster_rerank",
    "cluster_similarities",
    "compare_profiles",
    "cross_neighborhood_rerank",
    "expand_queries",
    "explain",
    "fuse_rankings",
    "hub_offsets",
    "pca_whitening",
    "pooling_weights",
    "query_seeds",
    "reciprocal_profiles",
    "reciprocal_rerank",
    "region_match",
    "region_vectors",
    "regional_seeds",
    "remove_hubs",
    "rmac_regions",
    "score_profiles",
    "tune",
    "unit_seeds",
    "verified_seeds",
]
