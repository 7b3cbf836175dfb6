"""How well a setting serves a collection, judged without labels by points that were held out of its graph.

    cohesion of q = mean over T and r of   sum_h x (x - 1) / ((r - 1) sum_h x),     x = |L_T(q) & N_r(h)|

where L_T(q) holds the best T of a held-out point q, and N_r(h) the r nearest neighbours of another held-out point h:
the chance that a list which holds one neighbour of an unseen point holds another one too. Neither q nor h is in the
graph, so that no setting is judged by its own edges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._checks import generator
from manifold.backends import Backend
from manifold.filters import Filter
from manifold.graph import Graph, one_sided_weight, soft_mutual_graph
from manifold.graph.affinity import Affinity
from manifold.neighbors import Neighbors
from manifold.ranking._adaptation import NeighborReach, reciprocal_seeds
from manifold.ranking._settings import Setting
from manifold.solvers import Lanczos

LENGTHS = (5, 10, 20, 40, 80, 160)  # T
_RADII = (2, 3, 5)  # r
_QUERIES, _COLUMNS = 128, 64  # held-out points that ask; that are solved for at a time

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A collection without some of its points, where those points would lie in it, and where outside queries do."""

    rest: Neighbors
    near: Rows  # (m, w) of the rest, -1 pads
    similarities: NDArray[np.float32]
    asked: tuple[Rows, NDArray[np.float32]] | None = None  # the same of queries from outside, where there are any

    @classmethod
    def draw(
        cls,
        neighbors: Neighbors,
        m: int,
        random_state: int,
        *,
        asked: tuple[Rows, NDArray[np.float32]] | None = None,
    ) -> HeldOut:
        """Take m points out, in random order; the lists of the others close up, and those of queries that ask.

        >>> ring = Neighbors([[1, 2], [2, 0], [0, 1]], np.ones((3, 2)), "cosine", "by hand")
        >>> held = HeldOut.draw(ring, 1, 0)
        >>> held.rest.n_nodes, held.near.shape
        (2, (1, 2))
        """
        held = generator(random_state).permutation(neighbors.n_nodes)[:m]
        rows = np.arange(neighbors.n_nodes)
        stays = ~np.isin(rows, held)
        renamed = np.where(stays, np.cumsum(stays) - 1, -1)
        ids, similarities = _closed_up(neighbors.indices.astype(np.int64), neighbors.similarities, renamed)
        lists = ids[stays].astype(np.int32), similarities[stays]
        rest = Neighbors._trusted(*lists, metric=neighbors.metric, method=neighbors.method)
        return cls(rest, ids[held], similarities[held], None if asked is None else _closed_up(*asked, renamed))

    def cohesion(self, lists: Rows, first: int = 0) -> Floats:
        """Return the cohesion (q, n_lengths) of lists (q, T), best first, of the held-out points from `first` on."""
        q, length = lists.shape
        rank = np.full((q, self.rest.n_nodes + 1), length, dtype=np.int32)  # the last column is what -1 points to
        np.put_along_axis(rank, lists, np.arange(length, dtype=np.int32)[None], axis=1)
        # where the neighbours of each held-out point stand in each list, by their rank: radius x (q, m)
        ends = [rank[:, column] for column in self.near[:, : max(_RADII)].T]
        own = np.arange(q), first + np.arange(q)
        for stand in ends if self.asked is None else ():
            stand[own] = length  # its own neighbours do not count
        values = []
        for longest in (T for T in LENGTHS if length >= T):
            value, x = np.zeros(q), np.zeros(ends[0].shape, dtype=np.int32)
            for r, stand in enumerate(ends, start=1):
                x += stand < longest
                if r in _RADII:
                    value += (x * (x - 1)).sum(axis=1) / np.maximum((r - 1) * x.sum(axis=1), 1)
            values.append(value / len(_RADII))
        return np.stack(values, axis=1)

    @property
    def n_queries(self) -> int:
        """How many of the held-out points ask, or how many queries from outside.

        >>> ring = Neighbors([[1, 2], [2, 0], [0, 1]], np.ones((3, 2)), "cosine", "by hand")
        >>> HeldOut.draw(ring, 1, 0).n_queries
        1
        """
        return min(_QUERIES, len(self.near)) if self.asked is None else len(self.asked[0])

    def judged(
        self, settings: Sequence[Setting], kernel: Affinity, backend: Backend
    ) -> Iterator[tuple[Setting, Floats]]:
        """Yield each setting with the cohesion (q, n_lengths) of its lists, graph by graph."""
        near, similarities = (self.near, self.similarities) if self.asked is None else self.asked
        by_graph = sorted(range(len(settings)), key=lambda i: (str(settings[i].graph), settings[i].n_seeds))
        for (k, gamma, given), group in groupby(by_graph, key=lambda i: settings[i].graph):
            lists, affinity = self.rest.first(k), replace(kernel, gamma=gamma)
            one_sided = one_sided_weight(lists) if given is None else given
            graph = soft_mutual_graph(lists, affinity=affinity, one_sided=one_sided)
            reach = NeighborReach.of(self.rest, k).edge
            scales = affinity.scales(lists.similarities)
            for n_seeds, same in groupby(group, key=lambda i: settings[i].n_seeds):
                seeds = reciprocal_seeds(
                    near[: self.n_queries, :n_seeds],
                    similarities[: self.n_queries, :n_seeds],
                    reach=reach,
                    affinity=affinity,
                    one_sided=one_sided,
                    node_scales=scales,
                )
                yield from self._lists(graph, seeds, [settings[i] for i in same], backend)

    def _lists(
        self, graph: Graph, seeds: sparse.csc_array, settings: Sequence[Setting], backend: Backend
    ) -> Iterator[tuple[Setting, Floats]]:
        """Rank by every filter from one Lanczos basis, grown for the one that takes longest."""
        hardest = max((setting.filter for setting in settings), key=_farthest)
        prepared = Lanczos(rtol=1e-2).prepare(graph, hardest, backend)
        length = min(LENGTHS[-1], graph.n_nodes // 2)
        found: dict[Setting, list[Floats]] = {setting: [] for setting in settings}
        for start in range(0, seeds.shape[1], _COLUMNS):
            solution = prepared.solve(backend.asarray(seeds[:, start : start + _COLUMNS].toarray()))
            for filter in dict.fromkeys(setting.filter for setting in settings):
                scores = solution.refilter(filter).scores.T
                for setting in settings:
                    if setting.filter == filter:
                        scale = backend.asarray(graph.scale(setting.degree_exponent).astype(graph.dtype))
                        with np.errstate(under="ignore"):
                            best, _ = backend.top_k(scores * scale, length)
                        found[setting].append(self.cohesion(backend.to_host(best).astype(np.int64), start))
        for setting, values in found.items():
            yield setting, np.concatenate(values)


def _closed_up(ids: Rows, similarities: NDArray[np.float32], renamed: Rows) -> tuple[Rows, NDArray[np.float32]]:
    """Return lists without those that are renamed to -1; what they leave open at the end is padded.

    >>> _closed_up(np.array([[0, 2, 1]]), np.array([[0.9, 0.8, 0.7]]), np.array([-1, 0, 1]))[0].tolist()
    [[1, 0, -1]]
    """
    new = np.where(ids >= 0, renamed[ids], -1)
    order = np.argsort(new < 0, axis=1, kind="stable")
    new, values = (np.take_along_axis(x, order, axis=1) for x in (new, similarities))
    return new, np.where(new >= 0, values, -np.inf)


def _farthest(filter: Filter) -> float:
    """Return the pole nearest to the spectrum, as the a of 1 / (1 - a x) that is largest in size."""
    return max((abs(a) for _, a in filter.resolvents or ()), default=0.0)
