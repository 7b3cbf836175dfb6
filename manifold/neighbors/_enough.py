"""How many cells are scanned, and how broad a walk is: the least by which held-out points find what is promised.

In: cells, and points whose nearest are known. Out: settings, and what was found by them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from manifold._typing import Facts, Floats, Ints
from manifold.errors import warn
from manifold.neighbors._recall import LOW, Sample, certain
from manifold.neighbors.seed_search import SeedSearch

JUDGED = 512  # held-out points
_EACH = 8  # of so many of them one is asked first, and the others where it may be enough
_EVERY = 32  # of so many one is compared with all that could be nearer: few tell whether that is dear
_BREADTH = 64  # from here on a walk that finds too little begins in more cells
_OF_CELL, _BROADEST = 16, 256  # points that it keeps for each of them, and at most


class Found(NamedTuple):
    """The nearest points of each query, by (-similarity, id), and how many of the first are proved to be that."""

    ids: Ints
    similarities: NDArray[np.float32]
    proved: Ints
    compared: Ints


class Ask(Protocol):
    """What finds the nearest others of some points."""

    def __call__(self, k: int, *, rows: Ints, n_probes: int, breadth: int) -> Found: ...


def enough(settings: SeedSearch, sample: Sample, ask: Ask, *, n_cells: int) -> tuple[SeedSearch, Facts]:
    """Return the settings that are certain to find what is promised, and what held-out points found by them.

    Reference: guide *scale*, "The search for neighbours".

    >>> from manifold.neighbors import Cells, PointSet
    >>> points = PointSet(np.random.default_rng(3).normal(size=(400, 4)).astype(np.float32), "euclidean")
    >>> facts = Cells.made(points, 5, settings=SeedSearch(recall=0.9)).facts
    >>> facts["recall"] >= facts["least"] >= 0.9
    True
    """
    c, k = n_cells, sample.ids.shape[1]
    if not (sample.ids.size and c):
        return replace(settings, n_probes=1), {"sample": 0}
    *steps, last = _steps(settings, c)
    for step in steps:
        few, _ = _right(ask, sample, step, every=_EACH)
        if 1 - certain(1 - few) < settings.recall:
            continue
        right, found = _right(ask, sample, step)
        if certain(right) >= settings.recall:
            break
    else:
        step = last
        right, found = _right(ask, sample, step)
    if settings.n_probes is None and step[0] < c:
        _, all_ = _right(ask, sample, (c, 0), every=_EVERY)
        if all_.compared.sum() <= 2 * found.compared[::_EVERY].sum():
            step = c, 0
            right, found = _right(ask, sample, step)
    recall, (n_probes, breadth) = float(right.mean()), step
    if recall < LOW:
        warn(f"about {recall:.0%} of the {k} nearest items of a query are found: raise n_probes={n_probes}")
    facts = {"sample": right.size, "recall": round(recall, 4), "least": round(certain(right), 4), "k": k}
    facts |= {"proved": round(float(found.proved.mean()), 2), "compared": round(float(found.compared.mean()))}
    return replace(settings, n_probes=n_probes, breadth=breadth or None), facts


def _right(ask: Ask, sample: Sample, step: tuple[int, int], *, every: int = 1) -> tuple[Floats, Found]:
    """Return the share of its nearest that each held-out point finds, and what it finds."""
    rows: Ints = sample.rows[::every]
    k, (n_probes, breadth) = sample.ids.shape[1], step
    found = ask(k, rows=rows, n_probes=n_probes, breadth=breadth)
    return (found.similarities >= sample.similarities[::every, -1:]).mean(axis=1), found


def _steps(settings: SeedSearch, c: int) -> Iterator[tuple[int, int]]:
    """Yield numbers of cells and breadths to try, the cheapest first, those that are given kept."""
    n_probes, walks = settings.n_probes or 1, settings.way == "walk"
    breadth = (settings.breadth or 8) if walks else 0
    while True:
        yield min(n_probes, c), breadth
        broader = walks and settings.breadth is None
        if broader and breadth < _BREADTH:
            breadth *= 2
        elif settings.n_probes is None and n_probes < c:
            power = n_probes & (n_probes - 1) == 0
            n_probes = max(2, n_probes * 3 // 2) if power else n_probes * 4 // 3  # 1, 2, 3, 4, 6, 8, 12, ...
            breadth = max(_BREADTH, min(_OF_CELL * n_probes, _BROADEST)) if broader else breadth
        else:
            return
