"""Embedded real data with its retrieval protocol, and synthetic manifolds whose answers are known.

`digits` and the synthetic manifolds need no files. `load` reads real sets from the folder named by the
environment variable ``MANIFOLD_DATA``, by default ``../shared/data`` beside the checkout; it never unpickles.
`ground_truth` says what each query should find, by the protocol of a benchmark or from your own judgements.
"""

from manifold.datasets._dataset import Dataset
from manifold.datasets._digits import digits
from manifold.datasets._ground_truth import GroundTruth
from manifold.datasets._load import data_folder, load
from manifold.datasets._protocols import ground_truth
from manifold.datasets._published import Published, published
from manifold.datasets._synthetic import rings, swiss_roll, two_moons, view_manifolds
from manifold.datasets.trec import read_qrels, read_run, write_qrels, write_run

__all__ = [
    "Dataset",
    "GroundTruth",
    "Published",
    "data_folder",
    "digits",
    "ground_truth",
    "load",
    "published",
    "read_qrels",
    "read_run",
    "rings",
    "swiss_roll",
    "two_moons",
    "view_manifolds",
    "write_qrels",
    "write_run",
]
