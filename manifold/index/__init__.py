"""The stored index: a solver whose answers are kept, one truncated column of h(S) per node.

In: a graph and a filter with h(S) >= 0, offline; seeds of a few nodes, online. Out: intervals around the scores of
every node, from a few hundred numbers per seed (offline diffusion, Yang et al., AAAI 2019, with bounds).

    F_i = sum_j y_j K_ij,   K = h(S) symmetric and >= 0;   K_ij = stored +- error_j, or in [0, tail_j] where not stored
"""

from manifold.index._build import DiffusionIndex
from manifold.index._intervals import Intervals, LeftOut, Shortlist
from manifold.index._kinds import of_images, of_nodes
from manifold.index._refine import refine
from manifold.index._update import updated_columns
from manifold.index.lazy import LazyColumns
from manifold.index.pooled import PooledColumns
from manifold.index.stored import StoredColumns

__all__ = [
    "DiffusionIndex",
    "Intervals",
    "LazyColumns",
    "LeftOut",
    "PooledColumns",
    "Shortlist",
    "StoredColumns",
    "of_images",
    "of_nodes",
    "refine",
    "updated_columns",
]
