"""Bounds on single entries of K = h(S): sought in the columns of the seeds, of the candidates, of their neighbours.

In: an index (`StoredColumns`), candidates and seeds. Out: lower and upper bounds on K[candidates, seeds]. No solve:
look-ups, and the equation K = (1 - alpha) I + alpha S K that ties a candidate's entries to those of its neighbours.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from manifold._typing import AnyArray, Floats, Ints, Mask
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.index._intervals import SUMS
from manifold.solvers.system import NormalizedAffinity

TINY = float(np.finfo(np.float64).tiny)  # more than the rounding of numbers that are not normal


class HeldColumns(Protocol):
    """What bounds on entries ask of columns (`StoredColumns`): what is known of each, and the equation of all."""

    @property
    def graph(self) -> Graph:
        """The graph of n nodes they belong to."""

    @property
    def filter(self) -> Filter:
        """h, a single resolvent."""

    @property
    def system(self) -> NormalizedAffinity:
        """S in float64."""

    @property
    def ids(self) -> NDArray[np.uint32]:
        """Nodes (n, T) of the stored entries of each column, ascending."""

    @property
    def values(self) -> AnyArray:
        """Their entries (n, T) of h(S)."""

    @property
    def tail(self) -> Floats:
        """Bounds (n,) on the entries that are not stored."""

    @property
    def error(self) -> Floats:
        """Bounds (n,) on the error of those that are, beside the rounding of their dtype."""

    def held(self, nodes: Ints) -> tuple[AnyArray, AnyArray, Floats, Floats]:
        """Return ids, values, tails and errors of some columns, as good as they are known by now."""

    def own(self, nodes: Ints) -> tuple[AnyArray, AnyArray, Floats, Floats]:
        """Return ids, values, tails and errors of some columns, as they were built."""

    def rounded(self, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
        """Widen bounds by the rounding of stored values and of their sums."""


def entry_bounds(index: HeldColumns, candidates: Ints, seeds: Ints, *, steps: int = 0) -> tuple[Floats, Floats]:
    """Return bounds (c, m) on K[candidates, seeds], narrower with every step away from the candidates.

    Without steps, an entry that stands in neither column lies between 0 and the smaller of the two tails. With them,
    bounds L <= K <= U of the neighbours' entries give, since alpha S >= 0,

        (1 - alpha) I + alpha S L  <=  K  <=  (1 - alpha) I + alpha S U

    for the candidates that miss entries, and these bounds are intersected with their own.

    Notes
    -----
    Cost: c m T without steps; each step takes in the neighbours, some ten times as many nodes.

    Examples
    --------
    >>> from manifold import Diffusion, graph_from_affinity
    >>> from manifold.index import DiffusionIndex
    >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
    >>> index = DiffusionIndex(n_entries=1, dtype="float64").build(path, filter=Diffusion(0.5))
    >>> two, first = np.array([0, 1]), np.array([0])
    >>> [bound.round(6).ravel().tolist() for bound in entry_bounds(index, two, first)]  # K_10 is not stored
    [[0.583333, 0.0], [0.583333, 0.235702]]
    >>> [bound.round(6).ravel().tolist() for bound in entry_bounds(index, two, first, steps=1)]  # 0.206... < K_10
    [[0.583333, 0.206239], [0.583333, 0.235702]]
    """
    lower, upper = _stored_bounds(index, candidates, seeds)
    # an entry known from below is stored: only rows that miss one are worth a step
    open_ = np.flatnonzero((lower <= 0).any(axis=1))
    if not steps or not open_.size:
        return lower, upper
    ((w, a),) = index.filter.resolvents or ()
    S = index.system.host
    around = S[candidates[open_]]
    near = np.unique(around.indices).astype(np.int64)
    around = around[:, near]
    own = w * (candidates[open_, None] == seeds)
    below, above = entry_bounds(index, near, seeds, steps=steps - 1)
    with np.errstate(under="ignore"):  # `TINY` counts it
        least, most = a * (around @ below), a * (around @ above)
        hidden = TINY * ((a > 0) & (around @ (above > 0) > 0))  # what is exactly 0 stays so
        lower[open_] = np.maximum(lower[open_], (own + least) * (1 - SUMS) - hidden)
        upper[open_] = np.minimum(upper[open_], (own + most) * (1 + SUMS) + hidden)
    return lower, upper


def _stored_bounds(index: HeldColumns, candidates: Ints, seeds: Ints) -> tuple[Floats, Floats]:
    """Seek each entry in the seed's column, then in the candidate's own (K is symmetric), then ask their tails."""
    own, here, own_tail, own_error = _own_entries(index, candidates, seeds)
    ids, values, tail, error_of = index.held(seeds)
    lower, upper = np.zeros((2, candidates.size, seeds.size))
    for j in range(seeds.size):
        at = np.minimum(np.searchsorted(ids[j], candidates), ids.shape[1] - 1)
        stored = ids[j][at] == candidates
        value = np.where(stored, values[j][at], own[:, j]).astype(np.float64)
        error = np.where(stored, error_of[j], own_error)
        low, high = index.rounded(value - error, value + error)
        missing = ~stored & ~here[:, j]  # in neither column: both tails hold, for K is symmetric
        high = np.where(missing, own_tail, high)
        lower[:, j] = np.where(missing, 0.0, np.maximum(low, 0))
        upper[:, j] = np.where(stored, high, np.minimum(high, tail[j]))
    return lower, upper


def _own_entries(index: HeldColumns, candidates: Ints, seeds: Ints) -> tuple[Floats, Mask, Floats, Floats]:
    """Return entries (c, m) of candidates' columns at the seeds, whether they are stored, and tails and errors (c,)."""
    distinct, place = np.unique(seeds, return_inverse=True)
    is_seed = np.zeros(index.graph.n_nodes, dtype=bool)
    is_seed[distinct] = True
    ids, entries, tail, error = index.own(candidates)
    rows, at = np.nonzero(is_seed[ids])
    which = np.searchsorted(distinct, ids[rows, at])
    values, here = np.zeros((candidates.size, distinct.size)), np.zeros((candidates.size, distinct.size), dtype=bool)
    values[rows, which], here[rows, which] = entries[rows, at], True
    return values[:, place], here[:, place], tail, error
