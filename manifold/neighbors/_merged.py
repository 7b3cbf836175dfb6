"""Partial lists of the groups of a search on disk, and the lists that become of them.

    rank      a group -> the union of the partial lists of its members, by their similarities
    expand    a group -> its lists, refined by the neighbours of neighbours
    decide    a group -> the best of its lists, by the rows that decide
    collect   a block of rows -> their lists, in the order of the source
    repair    rows that met too few -> their lists, by a look at all points

A pair is met in one group or another, and the best of all partial lists are the best: the union is commutative, so
that lists have the bits of a search in memory for any number of groups, in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from manifold._typing import Ints
from manifold.backends import get_backend
from manifold.neighbors._exact import exact_search
from manifold.neighbors._inverted_file import SPARE, WIDTH
from manifold.neighbors._layout import Layout, Made, Search, gathered, to_ids, to_places
from manifold.neighbors._shortlists import NOBODY, Shortlists, join_lists
from manifold.neighbors.points import PointSet
from manifold.storage.stages import unit_arrays


@dataclass(frozen=True, eq=False)
class Rank:
    """The lists of a group by their similarities, of what all groups found for its members."""

    search: Search
    group: int

    @np.errstate(under="ignore")
    def __call__(self, folder: Path) -> Made:
        layout, g, m = Layout.of(folder), self.group, self.search.k + SPARE
        parts = [_part(folder, layout, group=other, owner=g) for other in range(layout.n_groups)]
        rows = np.array(parts[g]["rows"], np.int64)
        best, ids = np.full((rows.size, m), -np.inf, np.float32), np.full((rows.size, m), NOBODY, np.int32)
        for part in parts:
            more = np.array(part["scores"]), np.array(part["ids"])
            join_lists(best, ids, np.searchsorted(rows, part["rows"]), more=more)
        return _ranked(rows, ids, self.search.points, n=layout.n, k=self.search.k)


@dataclass(frozen=True, eq=False)
class Expand:
    """The lists of a group, after a look at the neighbours of their neighbours in the stage before."""

    search: Search
    group: int
    before: str

    @np.errstate(under="ignore")
    def __call__(self, folder: Path) -> Made:
        layout, k = Layout.of(folder), self.search.k
        unit = unit_arrays(folder, self.before, self.group)
        rows, ids = np.array(unit["rows"], np.int64), np.array(unit["ids"])
        near = gathered(layout.n, rows, ids)
        groups = layout.group_of(layout.probes(folder, near)[:, 0])
        second = layout.lists(folder, self.before, near, groups=groups)
        everyone = gathered(layout.n, near, second[:, :WIDTH])
        lists = Shortlists(
            self.search.points(everyone),
            k,
            backend=get_backend("scipy"),
            probes=layout.probes(folder, everyone),
        )
        at = np.searchsorted(everyone, rows)
        lists.ids[np.searchsorted(everyone, near)] = to_places(layout.n, second, everyone)
        lists.scores[at] = unit["similarities"]
        lists.expand(WIDTH, at.astype(np.int32))
        return _of_group(rows, lists, at, everyone)


@dataclass(frozen=True, eq=False)
class Decide:
    """The best of the lists of a group, compared by the rows that decide; those that met too few look at all before."""

    search: Search
    group: int
    before: str

    @np.errstate(under="ignore")
    def __call__(self, folder: Path) -> Made:
        layout, search = Layout.of(folder), self.search
        unit = unit_arrays(folder, self.before, self.group)
        rows, ids = np.array(unit["rows"], np.int64), np.array(unit["ids"])
        short = np.flatnonzero(ids[:, -1] == NOBODY)
        if short.size:
            ids[short] = Repair(search, rows[short])(folder)["ids"]
        made = _ranked(rows, ids, search.deciders, n=layout.n, k=search.width)
        return {**made, "repaired": rows[short]}


@dataclass(frozen=True, eq=False)
class Collect:
    """The lists of a block of rows in their order, and the cell of each."""

    block: int
    before: str

    def __call__(self, folder: Path) -> Made:
        layout = Layout.of(folder)
        first = self.block * layout.width
        rows = np.arange(first, min(layout.n, first + layout.width))
        units = [unit_arrays(folder, self.before, g) for g in range(layout.n_groups)]
        ids = np.empty((rows.size, units[0]["ids"].shape[1]), np.int32)
        similarities = np.empty(ids.shape, np.float32)
        for unit in units:
            own = slice(*np.searchsorted(unit["rows"], [first, first + layout.width]))
            at = unit["rows"][own] - first
            ids[at], similarities[at] = unit["ids"][own], unit["similarities"][own]
        cell = unit_arrays(folder, "assign", self.block)["probes"][:, 0].astype(np.int32)
        return {"ids": ids, "similarities": similarities, "cell": cell}


@dataclass(frozen=True, eq=False)
class Repair:
    """The lists of rows that met too few, by a look at all points."""

    search: Search
    rows: Ints

    @np.errstate(under="ignore")
    def __call__(self, folder: Path) -> Made:
        points = self.search.points()
        ids, similarities = exact_search(
            points, points, k=self.search.k, rows=self.rows, drop_self=True, backend=get_backend("scipy")
        )
        return {"rows": self.rows, "ids": ids.astype(np.int32), "similarities": similarities}


def _part(folder: Path, layout: Layout, *, group: int, owner: int) -> Made:
    """Return the partial lists that a group made of the members of another."""
    unit = unit_arrays(folder, "compare", group)
    own = slice(*unit["starts"][owner : owner + 2])
    return {name: unit[name][own] for name in ("rows", "scores", "ids")}


def _ranked(rows: Ints, ids: NDArray[np.int32], points: Callable[[Ints], PointSet], *, n: int, k: int) -> Made:
    """Return the first k of the candidates of some rows, by the similarities of points that are gathered."""
    everyone = gathered(n, rows, ids)
    at = np.searchsorted(everyone, rows)
    lists = Shortlists(points(everyone), ids.shape[1], backend=get_backend("scipy"))
    lists.ids[at] = to_places(n, ids, everyone)
    lists.rank(k, at.astype(np.int32))
    return _of_group(rows, lists, at, everyone)


def _of_group(rows: Ints, lists: Shortlists, at: Ints, everyone: Ints) -> Made:
    return {
        "rows": rows.astype(np.int32),
        "ids": to_ids(lists.ids[at], everyone),
        "similarities": np.ascontiguousarray(lists.scores[at]),
    }
