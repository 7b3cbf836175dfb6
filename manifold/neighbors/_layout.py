"""What the tasks of a search on disk share: whose neighbours are searched, how the work is cut, and where it lies.

In: files of earlier tasks. Out: the points, probes and lists of those whom a task asks for, by ascending ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from manifold._typing import AnyArray, Ints
from manifold.neighbors._inverted_file import InvertedFile
from manifold.neighbors._large_cells import NOWHERE
from manifold.neighbors._shortlists import NOBODY
from manifold.neighbors.points import Floats, PointSet
from manifold.neighbors.sources import Source
from manifold.storage.stages import unit_arrays

Made = Mapping[str, AnyArray]
NARROW_NOWHERE = 2**16 - 1  # as `NOWHERE` is stored in two bytes


@dataclass(frozen=True, eq=False)
class Search:
    """What all tasks share: whose neighbours are searched, how many, and how."""

    source: Source
    metric: str
    centre: Floats | None
    k: int
    settings: InvertedFile
    seed: int
    deciding: Source | None = None  # rows by which candidates of `source` are compared again
    n_kept: int = 0  # how many of them stay

    @property
    def width(self) -> int:
        """Neighbours in a list, in the end."""
        return self.k if self.deciding is None else self.n_kept

    def deciders(self, which: slice | Ints = slice(None)) -> PointSet:
        """Return some of the points, gathered, as they are compared in the end; or all, left where they are."""
        return self.points(which) if self.deciding is None else self._of(self.deciding, which)

    def points(self, which: slice | Ints = slice(None)) -> PointSet:
        """Return some of the points, gathered; or all, left where they are."""
        return self._of(self.source, which)

    def _of(self, source: Source, which: slice | Ints) -> PointSet:
        X = source.open()
        if not (isinstance(which, slice) and which == slice(None)):
            X = np.asarray(X[which])
        return PointSet._trusted(X, self.metric, centre=self.centre)


class Layout(NamedTuple):
    """How the work is cut: groups at `cuts` of the cells, blocks of `width` rows."""

    cuts: Ints
    width: int
    n_probes: int
    n_cells: int
    n: int

    @classmethod
    def of(cls, folder: Path) -> Layout:
        """Return that of a plan that is made."""
        made = unit_arrays(folder, "plan", 0)
        width, n_probes, n = (int(x) for x in made["sizes"])
        return cls(np.array(made["cuts"]), width, n_probes, len(made["centres"]), n)

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return self.cuts.size - 1

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return -(-self.n // self.width)

    def group_of(self, cells: AnyArray) -> Ints:
        """Return in which group cells are."""
        return np.searchsorted(self.cuts, cells, side="right") - 1

    def probes(self, folder: Path, ids: Ints) -> NDArray[np.int32]:
        """Return the cells that points probe, of ids that ascend."""
        parts = [np.empty((0, self.n_probes), np.int32)]
        for b, some in _by_block(ids, self.width):
            stored = unit_arrays(folder, "assign", b)["probes"][some]
            parts.append(stored.astype(np.int32))
            if stored.dtype == np.uint16:
                parts[-1][stored == NARROW_NOWHERE] = NOWHERE
        return np.concatenate(parts)

    def lists(self, folder: Path, stage: str, ids: Ints, *, groups: Ints) -> NDArray[np.int32]:
        """Return the lists that a stage made of points (m, k), who belong to these groups."""
        width = unit_arrays(folder, stage, 0)["ids"].shape[1]
        found = np.empty((ids.size, width), np.int32)
        for g in np.unique(groups):
            at, unit = np.flatnonzero(groups == g), unit_arrays(folder, stage, int(g))
            found[at] = unit["ids"][np.searchsorted(unit["rows"], ids[at])]
        return found


def gathered(n: int, *ids: AnyArray) -> Ints:
    """Return the different ones of ids below n, ascending, `NOBODY` left out.

    >>> gathered(9, np.array([[7, NOBODY], [2, 7]])).tolist()
    [2, 7]
    """
    seen = np.zeros(n, bool)  # a byte a point: sooner than a sort of lists, of which most name the same points
    for some in ids:
        seen[some[some != NOBODY]] = True
    return np.flatnonzero(seen)


def to_places(n: int, ids: NDArray[np.int32], everyone: Ints) -> NDArray[np.int32]:
    """Return the places of ids among those that ascend, `NOBODY` for who is not there."""
    table, there = np.full(n, NOBODY, np.int32), ids != NOBODY
    table[everyone] = np.arange(everyone.size, dtype=np.int32)
    places = np.full(ids.shape, NOBODY, np.int32)
    places[there] = table[ids[there]]
    return places


def to_ids(places: NDArray[np.int32], everyone: Ints) -> NDArray[np.int32]:
    """Return the ids at places among those that ascend; of `NOBODY`, itself."""
    there = places != NOBODY
    ids = np.full(places.shape, NOBODY, np.int32)
    ids[there] = everyone[places[there]]
    return ids


def _by_block(ids: Ints, width: int) -> list[tuple[int, Ints]]:
    """Return the blocks in which ascending ids lie, and their places there."""
    if not ids.size:
        return []
    blocks = np.arange(ids[0] // width, ids[-1] // width + 2)
    ends = np.searchsorted(ids, blocks * width)
    return [
        (int(b), ids[first:last] - b * width)
        for b, first, last in zip(blocks[:-1], ends[:-1], ends[1:], strict=True)
        if last > first
    ]
