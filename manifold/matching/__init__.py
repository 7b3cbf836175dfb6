"""Local features: activations to vectors of regions, and similarities that another judge has verified."""

from manifold.matching.regions import pca_whitening, region_vectors, rmac_regions
from manifold.matching.verified import verified_seeds

__all__ = ["pca_whitening", "region_vectors", "rmac_regions", "verified_seeds"]
