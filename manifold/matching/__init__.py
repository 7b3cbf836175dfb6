"""Local features: regions, match kernels, and geometry that says which similarities are true.

features, words -> bags -> match kernel -> Neighbors -> verified Neighbors -> graph, whose components are views
"""

from manifold.matching.activations import activation_features
from manifold.matching.correspondences import tentative_matches
from manifold.matching.expansion import verified_expansion
from manifold.matching.features import LocalFeatures, local_features, read_local_features
from manifold.matching.kernels import ASMK, KERNELS, VLAD, BagOfWords, Bags, HammingEmbedding, aggregate
from manifold.matching.regions import pca_whitening, region_vectors, rmac_regions
from manifold.matching.similarities import match_kernel
from manifold.matching.spatial import METHODS, FastSpatial, HoughPyramid, hough_strengths
from manifold.matching.verification import Agreement, Verification, agree, verify, verify_neighbors
from manifold.matching.verified import verified_seeds
from manifold.matching.words import Vocabulary, learn_vocabulary

__all__ = [
    "ASMK",
    "KERNELS",
    "METHODS",
    "VLAD",
    "Agreement",
    "BagOfWords",
    "Bags",
    "FastSpatial",
    "HammingEmbedding",
    "HoughPyramid",
    "LocalFeatures",
    "Verification",
    "Vocabulary",
    "activation_features",
    "aggregate",
    "agree",
    "hough_strengths",
    "learn_vocabulary",
    "local_features",
    "match_kernel",
    "pca_whitening",
    "read_local_features",
    "region_vectors",
    "rmac_regions",
    "tentative_matches",
    "verified_expansion",
    "verified_seeds",
    "verify",
    "verify_neighbors",
]
