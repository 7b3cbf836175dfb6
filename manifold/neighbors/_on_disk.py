"""A search for neighbours whose lists, and all that they are made through, lie on disk.

In: points, mapped or held, and a folder. Out: `Neighbors` that are maps of the folder's files. The work is done in
stages of tasks (`_groups`) beside the folder, in ``<folder>.build``, which goes once the lists are saved; whatever
stops it, the next call goes on, to the same bits. Memory is that of the largest group, and some 20 bytes a point.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

import numpy as np

from manifold._checks import check_can, check_count
from manifold._progress import Progress
from manifold._resources import available_memory, format_bytes
from manifold._typing import RandomState
from manifold.errors import MemoryBudgetError
from manifold.neighbors._base import KIND, Neighbors
from manifold.neighbors._groups import Assign, Compare, MakePlan, read_sample
from manifold.neighbors._inverted_file import InvertedFile, form_of
from manifold.neighbors._layout import Layout, Search
from manifold.neighbors._merged import Collect, Decide, Expand, Rank, Repair
from manifold.neighbors._shortlists import NOBODY
from manifold.neighbors.compact import n_candidates, rescored
from manifold.neighbors.points import PointSet
from manifold.neighbors.sources import Held, Mapped, open_features, source_of, write_features
from manifold.storage import is_saved, load_arrays, save_arrays
from manifold.storage.checkpoint import fingerprint
from manifold.storage.stages import Stages, Task, open_stages

_LOG = logging.getLogger(__name__)
_GATHERED = 8  # rows that a group gathers for each of its members, at most; 3 to 4 are usual
_WORKSPACE = 200 << 20  # bytes of products, tiles and compiled code, whatever a group holds
_EACH = 24  # bytes a point that the plan looks at: norms, and the numbers of its cells
_GROUP = 1 << 18  # points of a group, at most: larger ones save nothing
_FILES = ("features", "bytes")  # of points that were in memory
_LOOKED = 4096  # rows by which points are known again
_WEIGHTS = {
    "plan": 2,
    "assign": 12,
    "compare": 40,
    "rank": 6,
    "expand": 14,
    "decide": 6,
    "collect": 1,
}  # shares of the time, about


def on_disk_rows(X: object, folder: str | os.PathLike[str]) -> object:
    """Return the rows of a file, or of batches, mapped: written beside the folder where they cannot be as they are."""
    is_saved(folder, kind=KIND)  # what is in the way is said before batches are written
    copy = Path(folder).with_name(f"{Path(folder).name}.features.npy")
    if isinstance(X, str | os.PathLike):
        return open_features(X, copy=copy)
    return write_features(X, copy) if isinstance(X, Iterator) else X


def search_on_disk(
    points: PointSet,
    k: int,
    *,
    settings: object,
    folder: str | os.PathLike[str],
    memory: int | None = None,
    executor: Executor | None = None,
    random_state: RandomState = None,
    progress: Progress | None = None,
) -> Neighbors:
    """Return the lists that `settings` finds in memory, to the bit, as maps of the files of a folder."""
    if not isinstance(settings, InvertedFile):
        raise ValueError(f"method={settings!r} cannot search on disk: with folder= use InvertedFile(...)")
    if points.metric == "inner_product":
        raise ValueError("metric='inner_product' cannot be searched on disk: an inverted file needs a distance")
    if len(points.X) < 2:
        raise ValueError("X holds one point, which has no neighbours to search for on disk: leave folder= out")
    if executor is not None:
        check_can(executor, "submit", name="executor", a="a concurrent.futures.Executor")
    folder, seed = Path(folder), _seed(random_state)
    forms = [points] if points.compact is None else [points, points.compact]
    looked = [np.ascontiguousarray(form.X[:: -(-len(form.X) // _LOOKED)]) for form in forms]
    mark = fingerprint(points.X.shape, points.X.dtype.str, *looked, points.metric, k, settings, seed)
    build = folder.with_name(f"{folder.name}.build")
    if not is_saved(folder, kind=KIND):
        points.check_range(points)
        sources = [source_of(form.X) for form in forms]
        if executor is not None:  # workers map what would be copied to each with each task
            sources = [_written(source, folder, name) for source, name in zip(sources, _FILES, strict=False)]
        wide = k if points.compact is None else n_candidates(k, len(points.X) - 1)
        n_groups = _groups(points.proposing, wide, memory)
        search = Search(sources[-1], points.metric, points.centre, wide, settings, seed)
        if points.compact is not None:
            search = replace(search, deciding=sources[0], n_kept=k)
        with open_stages(build, fingerprint=mark) as stages:
            _run(stages, search, n_groups, executor=executor, progress=progress)
            _save(stages, search, folder, mark)
    shutil.rmtree(build, ignore_errors=True)
    return open_lists(folder, mark=mark)


def _written(source: Mapped | Held, folder: Path, name: str) -> Mapped | Held:
    """Return rows that were in memory as a map of a file beside the folder, and others as they are."""
    if not isinstance(source, Held):
        return source
    return source_of(write_features([source.array], folder.with_name(f"{folder.name}.{name}.npy")))


def _run(
    stages: Stages, search: Search, n_groups: int, *, executor: Executor | None, progress: Progress | None
) -> None:
    """Do all stages, each once what it reads is there; what nobody reads any more goes."""
    n, rounds = len(search.source.open()), search.settings.n_refinements
    total, done = sum(_WEIGHTS.values()) + (rounds - 1) * _WEIGHTS["expand"], 0
    total -= _WEIGHTS["decide"] if search.deciding is None else 0

    def run(stage: str, tasks: Sequence[Task]) -> None:
        nonlocal done
        weight = _WEIGHTS[stage.partition("_")[0]]
        stages.run(stage, tasks, executor=executor, progress=_share(progress, n, done, weight, total))
        done += weight

    run("plan", [MakePlan(search, n_groups)])
    layout = Layout.of(stages.folder)
    groups = range(layout.n_groups)
    run("assign", [Assign(search, b) for b in range(layout.n_blocks)])
    run("compare", [Compare(search, g) for g in groups])
    run("rank", [Rank(search, g) for g in groups])
    stages.drop("compare")
    before = "rank"
    for number in range(rounds):
        stage = f"expand_{number}"
        run(stage, [Expand(search, g, before) for g in groups])
        stages.drop(before)
        before = stage
    if search.deciding is not None:
        run("decide", [Decide(search, g, before) for g in groups])
        stages.drop(before)
        before = "decide"
    run("collect", [Collect(b, before) for b in range(layout.n_blocks)])


def _save(stages: Stages, search: Search, folder: Path, mark: str) -> None:
    """Join the blocks, search anew for whom they are short, and save all as one folder."""
    layout, plan = Layout.of(stages.folder), stages.arrays("plan", 0)
    shapes = {"indices": (layout.n, search.width), "similarities": (layout.n, search.width), "cell": (layout.n,)}
    # scratch on disk: what is joined is of the size of the collection
    joined = {
        name: np.lib.format.open_memmap(
            stages.folder / f"{name}.npy", "w+", np.float32 if name == "similarities" else np.int32, shape
        )
        for name, shape in shapes.items()
    }
    short = [np.empty(0, np.int64)]
    for b in range(layout.n_blocks):
        made, first = stages.arrays("collect", b), b * layout.width
        own = slice(first, first + len(made["cell"]))
        for name, part in zip(joined, ("ids", "similarities", "cell"), strict=True):
            joined[name][own] = made[part]
        short.append(first + np.flatnonzero(made["ids"][:, -1] == NOBODY))
    rows = np.concatenate(short)
    n_repaired = int(rows.size)
    if search.deciding is not None:
        n_repaired = sum(stages.arrays("decide", g)["repaired"].size for g in range(layout.n_groups))
    if rows.size:
        stages.run("repair", [Repair(search, rows)])
        mended = stages.arrays("repair", 0)
        joined["indices"][rows], joined["similarities"][rows] = mended["ids"], mended["similarities"]
    usual = int(plan["usual"][0])
    recall = read_sample(plan).recall(
        joined["similarities"], cure=f"raise n_probes={usual}, or recall= of the settings"
    )
    facts = {"n_cells": layout.n_cells, "n_probes": usual, "recall": recall}
    facts |= form_of(search.points()) if search.deciding is None else rescored(search.deciders(), search.points())
    parameters = {
        "fingerprint": mark,
        "metric": search.metric,
        "method": "inverted_file",
        "n_repaired": n_repaired,
        "facts": facts,
    }
    save_arrays(folder, kind=KIND, arrays={**joined, "centres": plan["centres"]}, parameters=parameters)


def open_lists(folder: str | os.PathLike[str], *, mark: str | None = None) -> Neighbors:
    """Return the lists that a folder holds, mapped and looked through; raise ValueError where their mark is another.

    Reference: guide *scale*, "More than memory holds".

    >>> from tempfile import TemporaryDirectory
    >>> from manifold.neighbors import find_neighbors
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> with TemporaryDirectory() as folder:
    ...     made = find_neighbors(X, 5, method="inverted_file", folder=f"{folder}/lists")
    ...     open_lists(f"{folder}/lists").indices.shape
    (500, 5)
    """
    stored = load_arrays(folder, kind=KIND, verify="lazy")
    if mark not in (None, stored.parameters.get("fingerprint")):
        raise ValueError(f"folder={str(folder)!r} holds neighbours of other points or settings: choose another folder")
    return Neighbors._from_stored(stored)


def _groups(points: PointSet, k: int, memory: int | None) -> int:
    """Return into how many groups the points go so that one fits; raise `MemoryBudgetError` where none does."""
    n, d = (int(size) for size in points.X.shape)
    free = available_memory()
    given = free // 2 if memory is None else memory
    each = _GATHERED * (d * points.X.dtype.itemsize + 40 * (k + 2) + 256)
    size = int(min(_GROUP, max(0, given - _WORKSPACE - _EACH * n) // each))
    least = _WORKSPACE + _EACH * n + each * min(n, 4096)
    if given < least or least > free:
        raise MemoryBudgetError(
            f"finding {k} neighbours of {n} points on disk needs {format_bytes(least)} of memory at least, but "
            f"{format_bytes(min(given, free))} are given: raise memory="
        )
    _LOG.info("%d points by groups of %d: about %s", n, size, format_bytes(_WORKSPACE + _EACH * n + each * size))
    return -(-n // size)


def _share(
    progress: Progress | None, n: int, before: int, weight: int, total: int
) -> Callable[[int, int], None] | None:
    """Return the callback of one stage: points of all, as if all stages took the time that they usually take."""
    if progress is None:
        return None
    return lambda done, tasks: progress(round(n * (before + weight * done / max(1, tasks)) / total), n)


def _seed(random_state: RandomState) -> int:
    if random_state is None:
        return 0
    if isinstance(random_state, np.random.Generator):
        raise TypeError("random_state must be an integer where folder= is given: what is resumed begins with it again")
    return check_count(random_state, "random_state", minimum=0)
