"""A graph of lists that lie on disk, made there: block of rows by block, in stages that can be stopped.

    scales    a block -> what its distances are measured by, where the kernel has scales
    bins      a block -> its listings, by the block that they lead to
    rows      a block -> its rows of W, of its lists and of the bins of all blocks that lead to it
    nodes     all rows -> components, and the order of the nodes

In: the folder of a search for neighbours. Out: a folder of a graph, of the bits that lists in memory give. Memory is
that of one block, and some 30 bytes a node at the end.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy import sparse

from manifold._typing import AnyArray, Facts, Floats, Ints
from manifold._weights import index_dtype
from manifold.graph._edges import list_weights
from manifold.graph._graph import Graph
from manifold.graph._order import order_of_cells
from manifold.graph._symmetric import Bins, Rule, bins_to
from manifold.graph.affinity import Affinity
from manifold.storage import is_saved, load_arrays, save_arrays
from manifold.storage.checkpoint import fingerprint
from manifold.storage.stages import Stages, Task, open_stages, unit_arrays

LISTINGS = 1 << 22  # of a block, about: some 100 bytes each while it is worked on
_MOST_ROWS = 1 << 18

Made = Mapping[str, AnyArray]


@dataclass(frozen=True, eq=False)
class Work:
    """What all tasks share: where the lists lie, how they are cut, and by what rule they become edges."""

    lists: Path
    n: int
    width: int
    kernel: Affinity
    rule: Rule

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return -(-self.n // self.width)

    def part(self, block: int) -> slice:
        """Return the rows of a block."""
        return slice(block * self.width, min(self.n, (block + 1) * self.width))

    def read(self, block: int) -> tuple[AnyArray, AnyArray]:
        """Return ids and similarities of a block, in memory."""
        arrays = load_arrays(self.lists, kind="neighbors", verify="lazy").arrays
        return np.array(arrays["indices"][self.part(block)]), np.array(arrays["similarities"][self.part(block)])

    def weigh(self, folder: Path, block: int) -> tuple[AnyArray, AnyArray, int]:
        """Return ids and weights of a block, and how many of these were not positive."""
        ids, similarities = self.read(block)
        scales, part = np.broadcast_to(1.0, self.n), self.part(block)
        if self.kernel.is_scaled:
            scales = np.concatenate([unit_arrays(folder, "scales", b)["scales"] for b in range(self.n_blocks)])
        weights, clipped = list_weights(ids, similarities, self.kernel, scales=scales, unit=1.0, rows=part)
        return ids, weights, clipped


@dataclass(frozen=True, eq=False)
class MeasureScales:
    """The scale of each row of a block."""

    work: Work
    block: int

    def __call__(self, folder: Path) -> Made:
        return {"scales": self.work.kernel.scales(self.work.read(self.block)[1])}


@dataclass(frozen=True, eq=False)
class PutIntoBins:
    """The listings of a block, by the block that they lead to."""

    work: Work
    block: int

    def __call__(self, folder: Path) -> Made:
        work, first = self.work, self.work.part(self.block).start
        ids, weights, clipped = work.weigh(folder, self.block)
        bins = work.rule.bins(ids, weights, first=first, width=work.width, n_blocks=work.n_blocks)
        return {**bins._asdict(), "clipped": np.array(clipped)}


@dataclass(frozen=True, eq=False)
class MakeRows:
    """The rows of W of a block."""

    work: Work
    block: int

    def __call__(self, folder: Path) -> Made:
        work, first = self.work, self.work.part(self.block).start
        ids, weights, _ = work.weigh(folder, self.block)
        units = (unit_arrays(folder, "bins", b) for b in range(work.n_blocks))
        bins = bins_to(self.block, [Bins(*(unit[name] for name in Bins._fields)) for unit in units])
        return work.rule.rows(ids, weights, first=first, bins=bins)._asdict()


@dataclass(frozen=True, eq=False)
class LookAtNodes:
    """The component of each node, and the nodes in the order of their cells."""

    work: Work

    def __call__(self, folder: Path) -> Made:
        from manifold.backends.symmetric_lists import join, label  # loads the compiler

        work = self.work
        parents, lengths = np.arange(work.n, dtype=np.int32), [np.zeros(1, np.int64)]
        for block in range(work.n_blocks):
            rows = unit_arrays(folder, "rows", block)
            join(rows["indptr"], rows["indices"], work.part(block).start, parents)
            lengths.append(np.diff(rows["indptr"]))
        labels = np.empty_like(parents)
        label(parents, labels)
        cell = load_arrays(work.lists, kind="neighbors", verify="lazy").arrays["cell"]
        order = order_of_cells(np.cumsum(np.concatenate(lengths)), np.asarray(cell))
        return {"components": labels, **({} if order is None else {"order": order})}


def graph_on_disk(
    lists: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    kernel: Affinity,
    rule: Rule,
    facts: Callable[[int], Facts],
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Graph:
    """Return the graph of lists that a search has saved, mapped from `folder`; what is there already is opened.

    `facts` are asked for how many weights were not positive.
    """
    folder = Path(folder)
    stored = load_arrays(lists, kind="neighbors", verify="lazy")
    n, k = stored.arrays["indices"].shape
    work = Work(Path(lists).resolve(), n, max(1, min(_MOST_ROWS, LISTINGS // max(1, k))), kernel, rule)
    mark = fingerprint(stored.digest, kernel, rule)
    build = folder.with_name(f"{folder.name}.edges")
    if not is_saved(folder, kind="graph"):
        with open_stages(build, fingerprint=mark) as stages:
            _run(stages, work, executor=executor, progress=progress)
            clipped = sum(int(stages.arrays("bins", b)["clipped"]) for b in range(work.n_blocks))
            arrays, parameters = _joined(stages, work, facts=facts(clipped))._described()
            save_arrays(folder, kind="graph", arrays=arrays, parameters={**parameters, "made_of": mark})
    shutil.rmtree(build, ignore_errors=True)
    stored = load_arrays(folder, kind="graph", verify="lazy")
    if stored.parameters.get("made_of") != mark:
        raise ValueError(f"folder={str(folder)!r} holds a graph of other lists or settings: choose another folder")
    return Graph._from_stored(stored)


def _run(stages: Stages, work: Work, *, executor: Executor | None, progress: Callable[[int, int], None] | None) -> None:
    of_blocks: dict[str, Callable[[Work, int], Task]] = {"bins": PutIntoBins, "rows": MakeRows}
    if work.kernel.is_scaled:
        of_blocks = {"scales": MeasureScales, **of_blocks}
    total = len(of_blocks) * work.n_blocks + 1
    for at, (stage, task) in enumerate(of_blocks.items()):
        tasks = [task(work, block) for block in range(work.n_blocks)]
        told = None if progress is None else partial(_told, progress, at * work.n_blocks, total)
        stages.run(stage, tasks, executor=executor, progress=told)
    stages.run("nodes", [LookAtNodes(work)], executor=executor)


def _told(progress: Callable[[int, int], None], before: int, total: int, done: int, _: int) -> None:
    progress(before + done, total)


def _joined(stages: Stages, work: Work, *, facts: Facts) -> Graph:
    """Return the graph of all blocks, its entries in files beside them: scratch, of which its folder is written."""
    units = [stages.arrays("rows", block) for block in range(work.n_blocks)]
    nnz = sum(unit["data"].size for unit in units)
    kind = index_dtype(work.n, nnz)
    indptr: Ints = np.zeros(work.n + 1, kind)
    degrees: Floats = np.empty(work.n)
    data, indices = (
        np.lib.format.open_memmap(stages.folder / f"{name}.npy", "w+", dtype, (nnz,))
        for name, dtype in (("data", np.float32), ("indices", kind))
    )
    at = 0
    for block, unit in enumerate(units):
        part, size = work.part(block), unit["data"].size
        data[at : at + size], indices[at : at + size] = unit["data"], unit["indices"]
        indptr[part.start + 1 : part.stop + 1] = unit["indptr"][1:] + at
        degrees[part] = unit["sums"]
        at += size
    nodes = stages.arrays("nodes", 0)
    W = sparse.csr_array((data, indices, indptr), shape=(work.n, work.n))
    return Graph._trusted(W, facts=facts, degrees=degrees, components=nodes["components"], order=nodes.get("order"))
