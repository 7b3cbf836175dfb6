"""What a graph knows of a collection: hard pairs to learn from, how many things there are, which of them are new.

All of it is F = h(S) Y with other seeds: one node a column for mining, one mode a column for clusters, all labels for
novelty. Where an answer is a set, error bounds say of which members it is proved.
"""

from manifold.discovery._mined import Mined
from manifold.discovery._novelty import novelty, support
from manifold.discovery._places import cover_places
from manifold.discovery._pool import Pool
from manifold.discovery._scene_maps import SceneMaps, scene_maps
from manifold.discovery._unseen import NewClasses, new_classes
from manifold.discovery.clusters import Clusters, cluster
from manifold.discovery.covering import Cover, cover
from manifold.discovery.mining import mine
from manifold.discovery.negatives import mine_negatives
from manifold.discovery.objects import Discovery, centrality, discover
from manifold.discovery.saliency import Regions, channel_weights, feature_saliency, regions_of, token_saliency
from manifold.discovery.whitening import PairWhitening
from manifold.graph.modes import graph_modes

__all__ = [
    "Clusters",
    "Cover",
    "Discovery",
    "Mined",
    "NewClasses",
    "PairWhitening",
    "Pool",
    "Regions",
    "SceneMaps",
    "centrality",
    "channel_weights",
    "cluster",
    "cover",
    "cover_places",
    "discover",
    "feature_saliency",
    "graph_modes",
    "mine",
    "mine_negatives",
    "new_classes",
    "novelty",
    "regions_of",
    "scene_maps",
    "support",
    "token_saliency",
]
