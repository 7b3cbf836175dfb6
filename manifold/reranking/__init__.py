"""Lists to better lists, without a solve: what neighbours say of neighbours, and what several rankings say together."""

from manifold.reranking.cluster_aware import cluster_rerank, cluster_similarities
from manifold.reranking.cross_neighborhood import cross_neighborhood_rerank
from manifold.reranking.expansion import augment_database, expand_queries
from manifold.reranking.fusion import fuse_rankings
from manifold.reranking.hubs import hub_offsets, remove_hubs
from manifold.reranking.profiles import compare_profiles, score_profiles
from manifold.reranking.reciprocal import reciprocal_profiles, reciprocal_rerank

__all__ = [
    "augment_database",
    "cluster_rerank",
    "cluster_similarities",
    "compare_profiles",
    "cross_neighborhood_rerank",
    "expand_queries",
    "fuse_rankings",
    "hub_offsets",
    "reciprocal_profiles",
    "reciprocal_rerank",
    "remove_hubs",
    "score_profiles",
]
