"""The inverted file in pieces: what each task of a search on disk does, from files to arrays.

    plan      the cells, and groups of cells of near numbers, which hold about as many points each
    assign    a block of rows -> the cells each probes, and whom each group has to gather
    compare   a group -> the best that its members and their visitors find there: partial lists
    rank      a group -> the union of the partial lists of its members, by their similarities
    expand    a group -> its lists, refined by the neighbours of neighbours
    collect   a block of rows -> their lists, in the order of the source

A point is met in one group or another, and the best of all partial lists are the best: the union is commutative, so
that lists have the bits of a search in memory for any number of groups, in any order. Ids within a task are places in
its gathered rows, which ascend: ties are broken as they are in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from manifold._typing import AnyArray, Ints
from manifold.backends import get_backend
from manifold.neighbors._exact import exact_search
from manifold.neighbors._inverted_file import SPARE, WIDTH, Plan, compare_cells
from manifold.neighbors._kmeans import KMeans
from manifold.neighbors._layout import Layout, Search, to_ids, to_places
from manifold.neighbors._recall import Sample
from manifold.neighbors._shortlists import NOBODY, Shortlists, join_lists
from manifold.storage.stages import unit_arrays

_BLOCK = 1 << 17  # rows that are assigned together, about
_WEIGHED = 8  # points a cell by which groups are made about equal

Made = Mapping[str, AnyArray]


@dataclass(frozen=True, eq=False)
class MakePlan:
    """Train the cells, choose the probes, and cut the cells into groups."""

    search: Search
    n_groups: int

    @np.errstate(under="ignore")
    def __call__(self, folder: Path) -> Made:
        search, backend = self.search, get_backend("scipy")
        points = search.points()
        n = points.X.shape[0]
        plan = Plan.made(points, search.k, settings=search.settings, backend=backend, random_state=search.seed)
        means, sample = plan.means, plan.sample
        some = np.arange(0, n, max(1, n // (_WEIGHED * means.n_cells)))
        sizes = np.bincount(means.nearest(some, 1)[:, 0], minlength=means.n_cells)
        shares = np.arange(1, self.n_groups) * some.size / self.n_groups
        cuts = np.unique(np.concatenate([[0], np.searchsorted(np.cumsum(sizes), shares), [means.n_cells]]))
        # whole ranges of those that look for their cells together, so that products have the shapes they have in memory
        width = means.step * -(-_BLOCK // means.step)
        return {
            "centres": means.centres,
            "supers": means.supers,
            "owner": means.owner,
            "cuts": cuts,
            "sizes": np.array([width, plan.n_probes, n]),
            "sample_rows": sample.rows,
            "sample_ids": sample.ids,
            "sample_similarities": sample.similarities,
        }


def read_sample(made: Made) -> Sample:
    """Return the sample that a plan was made with."""
    return Sample(*(np.array(made[f"sample_{name}"]) for name in ("rows", "ids", "similarities")))


@dataclass(frozen=True, eq=False)
class Assign:
    """The probes of a block of rows, and of each group whom it gathers of them: `visitors` from `starts` on."""

    search: Search
    block: int

    @np.errstate(under="ignore")
    def __call__(self, folder: Path) -> Made:
        layout, made = Layout.of(folder), unit_arrays(folder, "plan", 0)
        first = self.block * layout.width
        points = self.search.points(slice(first, min(layout.n, first + layout.width)))
        trained = (np.array(made[name]) for name in ("centres", "supers", "owner"))
        means = KMeans._of(points, *trained, backend=get_backend("scipy"))
        probes = means.nearest(None, layout.n_probes)
        groups = np.sort(layout.group_of(probes), axis=1)
        row, place = np.nonzero(np.diff(groups, axis=1, prepend=-1))
        group = groups[row, place]
        order = np.argsort(group, kind="stable")
        starts = np.searchsorted(group[order], np.arange(layout.n_groups + 1))
        narrow = np.uint16 if layout.n_cells <= 1 << 16 else np.int32
        return {"probes": probes.astype(narrow), "visitors": row[order].astype(np.int32), "starts": starts}


@dataclass(frozen=True, eq=False)
class Compare:
    """Partial lists of whoever probes a cell of a group, in order of the groups they belong to, then of their ids."""

    search: Search
    group: int

    @np.errstate(under="ignore")
    def __call__(self, folder: Path) -> Made:
        layout, g = Layout.of(folder), self.group
        gathered = [np.empty(0, np.int64)]
        for b in range(layout.n_blocks):
            unit = unit_arrays(folder, "assign", b)
            first, last = unit["starts"][g : g + 2]
            gathered.append(unit["visitors"][first:last].astype(np.int64) + b * layout.width)
        rows = np.concatenate(gathered)
        probes = layout.probes(folder, rows)
        lists = Shortlists(self.search.points(rows), self.search.k + SPARE, backend=get_backend("scipy"), probes=probes)
        compare_cells(lists, range(int(layout.cuts[g]), int(layout.cuts[g + 1])))
        groups = layout.group_of(lists.cell)
        order = np.argsort(groups, kind="stable")
        starts = np.searchsorted(groups[order], np.arange(layout.n_groups + 1))
        ids = to_ids(lists.ids[order], rows)
        return {"rows": rows[order].astype(np.int32), "starts": starts, "ids": ids, "scores": lists.scores[order]}


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
            join_lists(best, ids, np.searchsorted(rows, part["rows"]), more)
        everyone = np.union1d(rows, ids[ids != NOBODY])
        at = np.searchsorted(everyone, rows)
        lists = Shortlists(self.search.points(everyone), m, backend=get_backend("scipy"))
        lists.scores[at], lists.ids[at] = best, to_places(ids, everyone)
        lists.rank(self.search.k, at.astype(np.int32))
        return _of_group(rows, lists, at, everyone)


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
        near = np.union1d(rows, ids[ids != NOBODY])
        groups = layout.group_of(layout.probes(folder, near)[:, 0])
        second = layout.lists(folder, self.before, near, groups)
        seen = second[:, : min(WIDTH, k)]
        everyone = np.union1d(near, seen[seen != NOBODY])
        lists = Shortlists(
            self.search.points(everyone),
            k,
            backend=get_backend("scipy"),
            probes=layout.probes(folder, everyone),
        )
        at = np.searchsorted(everyone, rows)
        lists.ids[np.searchsorted(everyone, near)] = to_places(second, everyone)
        lists.scores[at] = unit["similarities"]
        lists.expand(WIDTH, at.astype(np.int32))
        return _of_group(rows, lists, at, everyone)


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
        how = partial(exact_search, k=self.search.k, rows=self.rows, drop_self=True, backend=get_backend("scipy"))
        ids, similarities = how(points, points)
        return {"rows": self.rows, "ids": ids.astype(np.int32), "similarities": similarities}


def _part(folder: Path, layout: Layout, *, group: int, owner: int) -> Made:
    """Return the partial lists that a group made of the members of another."""
    unit = unit_arrays(folder, "compare", group)
    own = slice(*unit["starts"][owner : owner + 2])
    return {name: unit[name][own] for name in ("rows", "scores", "ids")}


def _of_group(rows: Ints, lists: Shortlists, at: Ints, everyone: Ints) -> Made:
    return {
        "rows": rows.astype(np.int32),
        "ids": to_ids(lists.ids[at], everyone),
        "similarities": np.ascontiguousarray(lists.scores[at]),
    }
