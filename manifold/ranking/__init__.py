"""Retrieval: queries to seeds, scores to ranked lists, and the façades that join them.

Each word has one meaning. *Parameters* are what a user gives a search (`get_params`); `SearchSettings` are what they
mean, with presets and names resolved (`search.settings`). A `Setting` is the part of them that decides a ranking, and
`Tuning` is what `tune` tried of those and chose. An `Adaptation` is what a query keeps of its plain ranking.
`Fitted` is all that a fit made, in one frozen state (`search.fitted_`).
"""

from manifold._moved import moved
from manifold.ranking._adaptation import Adaptation
from manifold.ranking._base import Ranking
from manifold.ranking._calibration import Calibration
from manifold.ranking._fitted import Fitted
from manifold.ranking._hits import hits
from manifold.ranking._settings import PRESETS, SearchSettings, Setting
from manifold.ranking.examples import by_examples
from manifold.ranking.explanation import Explanation, Path, explain
from manifold.ranking.fan_out import search_on
from manifold.ranking.graph_search import GraphSearch
from manifold.ranking.pooling import pooling_weights, region_match
from manifold.ranking.regional import RegionalSearch
from manifold.ranking.relevance import calibrate
from manifold.ranking.search import ManifoldSearch
from manifold.ranking.seeds import query_seeds, regional_seeds, unit_seeds
from manifold.ranking.tuning import Tuning, tune

__all__ = [
    "PRESETS",
    "Adaptation",
    "Calibration",
    "Explanation",
    "Fitted",
    "GraphSearch",
    "ManifoldSearch",
    "Path",
    "Ranking",
    "RegionalSearch",
    "SearchSettings",
    "Setting",
    "Tuning",
    "by_examples",
    "calibrate",
    "explain",
    "hits",
    "pooling_weights",
    "query_seeds",
    "region_match",
    "regional_seeds",
    "search_on",
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
