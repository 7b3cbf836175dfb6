"""The inverted file in pieces: what each task of a search on disk does, from files to arrays.

    plan      the cells, and groups of cells of near numbers, which hold about as many points each
    assign    a block of rows -> the cells each probes, and whom each group has to gather
    compare   a group -> the best that its members and their visitors find there: partial lists

What is made of the partial lists stands in `_merged`. Ids within a task are places in its gathered rows, which ascend:
ties are broken as they are in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manifold.backends import get_backend
from manifold.neighbors._inverted_file import SPARE, Plan, compare_cells
from manifold.neighbors._kmeans import KMeans
from manifold.neighbors._layout import NARROW_NOWHERE, Layout, Made, Search, to_ids
from manifold.neighbors._recall import Sample
from manifold.neighbors._shortlists import Shortlists
from manifold.storage.stages import unit_arrays

_BLOCK = 1 << 17  # rows that are assigned together, about
_WEIGHED = 2  # points a cell by which groups are made about equal


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
        if search.deciding is not None:  # recall is of what is compared in the end
            rng = np.random.default_rng(search.seed)
            sample = Sample.draw(search.deciders(), search.width, rng=rng, backend=backend)
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
            "reach": np.array([plan.reach]),
            "usual": np.array([plan.usual]),
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
        probes = means.nearest(None, layout.n_probes, float(made["reach"][0]))
        groups = np.sort(layout.group_of(probes), axis=1)
        row, place = np.nonzero(np.diff(groups, axis=1, prepend=-1))
        group = groups[row, place]
        order = np.argsort(group, kind="stable")
        starts = np.searchsorted(group[order], np.arange(layout.n_groups + 1))
        narrow = np.uint16 if layout.n_cells < NARROW_NOWHERE else np.int32
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
