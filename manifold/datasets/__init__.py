"""Embedded real data with its retrieval protocol, and synthetic manifolds whose answers are known.

`digits` and the synthetic manifolds need no files. `load` reads real sets from the folder named by the
environment variable ``MANIFOLD_DATA``, by default ``../shared/data`` beside the checkout; it never unpickles.
"""

from manifold.datasets._dataset import Dataset, RevisitedGroundTruth
from manifold.datasets._digits import digits
from manifold.datasets._load import data_folder, load
from manifold.datasets._synthetic import rings, swiss_roll, two_moons, view_manifolds

__all__ = [
    "Dataset",
    "RevisitedGroundTruth",
    "data_folder",
    "digits",
    "load",
    "rings",
    "swiss_roll",
    "two_moons",
    "view_manifolds",
]
