"""Lists of neighbours made symmetric block by block: each block of rows by itself, in memory or out of core.

In: lists (m, k) of a block of rows. Out: their `Bins`, listings by the block they lead to; and with the bins of all
blocks, in order, the `Rows` of W. W has the bits of `joined_lists` for any number of blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._typing import Floats, Ints
from manifold._weights import MOST_SMALL, index_dtype
from manifold.backends.threads import in_threads, thread_count
from manifold.graph._edges import list_weights, symmetric_affinity, unit_of
from manifold.graph.affinity import Affinity
from manifold.neighbors import Neighbors

BLOCK = 1 << 16  # rows: what is written to in no order stays in the nearer caches
_BLOCKS_FROM = 8192  # points
Weights: TypeAlias = NDArray[np.float32]
Listings: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int32], Weights]  # sources, targets, values


class Bins(NamedTuple):
    """Listings of a block of rows by the block that they lead to: bin t from starts[t] to starts[t + 1]."""

    starts: Ints
    sources: NDArray[np.int32]
    targets: NDArray[np.int32]
    values: Weights  # negative of bridges


class Rows(NamedTuple):
    """Rows of W, and their sums."""

    indptr: Ints  # (m + 1,)
    indices: NDArray[np.int32]
    data: Weights
    sums: Floats


@dataclass(frozen=True)
class Rule:
    """How two listings become an edge, see `joined_lists`."""

    edges: str
    bridge: int
    one_sided: float

    @property
    def bridges(self) -> int:
        """How many of a list are kept by the rule whether they are returned or not."""
        return self.bridge if self.edges == "mutual" else 0

    def bins(self, ids: NDArray[np.int32], weights: Weights, *, first: int, width: int, n_blocks: int) -> Bins:
        """Return the listings of a block whose first row is `first`; weights are 0 where there is none.

        >>> Rule("sum", 0, 0.0).bins(np.array([[3], [0]], np.int32), np.ones((2, 1), np.float32), first=0, width=2,
        ...     n_blocks=2).targets.tolist()
        [0, 3]
        """
        from manifold.backends.symmetric_lists import scatter, scatter_sizes  # loads the compiler

        ids = np.array(ids, np.int32)  # one's own, in order: kernels are compiled for no others
        starts = np.zeros(n_blocks + 1, np.int64)
        scatter_sizes(ids, weights, width, starts[1:])
        np.cumsum(starts, out=starts)
        sources, targets = np.empty((2, int(starts[-1])), np.int32)
        values = np.empty(sources.size, np.float32)
        scatter(ids, weights, first, self.bridges, width, starts[:-1].copy(), sources, targets, values)
        return Bins(starts, sources, targets, values)

    def rows(self, ids: NDArray[np.int32], weights: Weights, *, first: int, bins: Iterable[Listings]) -> Rows:
        """Return the rows of W of a block, from its lists and what leads to it: (sources, targets, values), in order.

        >>> ids, weights = np.array([[1], [0]], np.int32), np.ones((2, 1), np.float32)
        >>> Rule("sum", 0, 0.0).rows(ids, weights, first=0, bins=[]).data.tolist()
        [1.0, 1.0]
        """
        from manifold.backends.symmetric_lists import RULES, merge, turn, turn_sizes

        ids, m, bins = np.array(ids, np.int32), len(ids), list(bins)
        starts = np.zeros(m + 1, np.int64)
        for _, targets, _ in bins:
            turn_sizes(targets, first, starts[1:])
        np.cumsum(starts, out=starts)
        listed = np.empty(int(starts[-1]), np.int32), np.empty(int(starts[-1]), np.float32)
        ends = starts[:-1].copy()
        for sources, targets, values in bins:
            turn(sources, targets, values, first, ends, *listed)
        most = listed[0].size + int(np.count_nonzero(weights))
        out = Rows(np.empty(m + 1, np.int64), np.empty(most, np.int32), np.empty(most, np.float32), np.empty(m))
        size = merge((ids, weights), (starts, *listed), RULES[self.edges], self.bridges, self.one_sided, tuple(out))
        return out._replace(indices=out.indices[:size].copy(), data=out.data[:size].copy())


def in_blocks(n: int) -> bool:
    """Whether loading the compiler, half a second once in a process, pays for a graph of n points.

    >>> in_blocks(100)
    False
    """
    return n >= _BLOCKS_FROM and find_spec("numba") is not None


def blocks_forecast(n: int, k: int, *, mutual_alone: bool, bridge: int) -> int:
    """Return the bytes, at most, that `symmetric_blocks` takes, with W.

    >>> blocks_forecast(1_000_000, 10, mutual_alone=True, bridge=1) / 2**20 < 400
    True
    """
    each = 24 * k + 16 * min(bridge, k) if mutual_alone else 32 * k  # weights and bins beside rows; or rows, twice
    wide = 12 / 8 if 2 * n * k > MOST_SMALL else 1
    at_work = min(n, thread_count() * BLOCK) * k * 48  # weights of a block in float64; its lists, turned
    return int(n * (each * wide + 40)) + at_work


def symmetric(neighbors: Neighbors, kernel: Affinity, rule: Rule) -> tuple[sparse.csr_array, Floats | None, int]:
    """Return W, its degrees where they are known, and how many weights were not positive.

    >>> lists = Neighbors([[1], [0], [0]], [[1.0], [1.0], [0.5]], metric="cosine", method="by hand")
    >>> symmetric(lists, Affinity(gamma=1.0), Rule("mutual", 0, 0.0))[0].toarray().tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    if in_blocks(neighbors.n_nodes):
        return symmetric_blocks(neighbors, kernel, rule)
    W, n_clipped = symmetric_affinity(neighbors, kernel, edges=rule.edges, bridge=rule.bridge, one_sided=rule.one_sided)
    return W, None, n_clipped


def symmetric_blocks(
    neighbors: Neighbors, kernel: Affinity, rule: Rule, *, width: int = BLOCK
) -> tuple[sparse.csr_array, Floats, int]:
    """Return W, its degrees, and how many weights were not positive; blocks are shared out to threads.

    >>> lists = Neighbors([[1], [0], [0]], [[1.0], [1.0], [0.5]], metric="cosine", method="by hand")
    >>> symmetric_blocks(lists, Affinity(gamma=1.0), Rule("sum", 0, 0.0))[0].toarray().tolist()
    [[0.0, 2.0, 0.5], [2.0, 0.0, 0.0], [0.5, 0.0, 0.0]]
    """
    n, starts = neighbors.n_nodes, range(0, neighbors.n_nodes, width)
    unit, scales = unit_of(neighbors), kernel.scales(neighbors.similarities)
    clipped, weights = [0] * len(starts), [np.empty((0, 0), np.float32)] * len(starts)
    bins, rows = [_NO_BINS] * len(starts), [_NO_ROWS] * len(starts)

    def put_into_bins(first: int, last: int) -> None:
        block, part = first // width, slice(first, last)
        ids, similarities = neighbors.indices[part], neighbors.similarities[part]
        weights[block], clipped[block] = list_weights(ids, similarities, kernel, scales=scales, unit=unit, rows=part)
        bins[block] = rule.bins(ids, weights[block], first=first, width=width, n_blocks=len(starts))

    def merge(first: int, last: int) -> None:
        block, part = first // width, slice(first, last)
        rows[block] = rule.rows(neighbors.indices[part], weights[block], first=first, bins=bins_to(block, bins))

    in_threads(put_into_bins, n, step=width)
    in_threads(merge, n, step=width)
    bins.clear()  # rows are put together where they were
    weights.clear()
    sums = np.concatenate([part.sums for part in rows]) if rows else np.empty(0)
    return _stacked(rows, n), sums, sum(clipped)


def bins_to(block: int, bins: Sequence[Bins]) -> list[Listings]:
    """Return what leads to a block, of all blocks in order.

    >>> one = Rule("sum", 0, 0.0).bins(np.array([[1], [0]], np.int32), np.ones((2, 1), np.float32), first=0, width=1,
    ...     n_blocks=2)
    >>> bins_to(1, [one])[0][0].tolist()  # node 0 lists node 1
    [0]
    """
    parts = []
    for b in bins:
        part = slice(int(b.starts[block]), int(b.starts[block + 1]))
        # copies, in memory: kernels are compiled for no maps
        parts.append((np.array(b.sources[part]), np.array(b.targets[part]), np.array(b.values[part])))
    return parts


def _stacked(rows: list[Rows], n: int) -> sparse.csr_array:
    """Put blocks of rows together, one after the other, and let go of each."""
    sizes = np.concatenate([[0], *(np.diff(part.indptr) for part in rows)])
    nnz = int(sizes.sum())
    kind = index_dtype(n, nnz)
    indices, data, at = np.empty(nnz, kind), np.empty(nnz, np.float32), 0
    for block, part in enumerate(rows):
        indices[at : at + part.data.size], data[at : at + part.data.size] = part.indices, part.data
        at += part.data.size
        rows[block] = _NO_ROWS
    return sparse.csr_array((data, indices, np.cumsum(sizes, dtype=kind)), shape=(n, n))


_NO_BINS = Bins(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))
_NO_ROWS = Rows(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0))
