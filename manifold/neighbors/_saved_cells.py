"""Cells as a folder holds them: arrays and parameters, taken as they are where they are mapped.

In: `Cells`. Out: arrays and parameters; and back, for the same points.
"""

from __future__ import annotations

import numpy as np

from manifold._typing import AnyArray, Facts
from manifold.neighbors.cells import Cells, centre_or_none
from manifold.neighbors.points import PointSet
from manifold.neighbors.seed_search import SeedSearch
from manifold.storage import Stored

_ARRAYS = {"centres": "f4", "order": "i4", "starts": "i8", "away": "f4"}


def described_cells(cells: Cells) -> tuple[dict[str, AnyArray], Facts]:
    """Return arrays and parameters, from which `stored_cells` makes the same cells for the same points.

    Reference: guide *scale*, "Serve it".

    >>> points = PointSet(np.eye(3, dtype=np.float32), "cosine")
    >>> sorted(described_cells(Cells.made(points, 1, settings=SeedSearch()))[0])
    ['cell_away', 'cell_centres', 'cell_order', 'cell_radii', 'cell_starts']
    """
    arrays = {f"cell_{name}": getattr(cells, name) for name in (*_ARRAYS, "radii")}
    return arrays, {"cells": {"margin": cells.margin, "made_of": cells.made_of, "facts": dict(cells.facts)}}


def stored_cells(stored: Stored, settings: SeedSearch, points: PointSet) -> Cells:
    """Return the cells that `described_cells` took apart; raise ValueError for what it would not have made.

    Reference: guide *scale*, "Serve it".

    Of cells that are mapped the members are not looked through: who is no point is passed over when it is met.

    >>> points = PointSet(np.eye(3, dtype=np.float32), "cosine")
    >>> cells = Cells.made(points, 1, settings=SeedSearch())
    >>> stored_cells(Stored("search", *described_cells(cells)), cells.settings, points).order.size
    3
    """
    centres, order, starts, away = (np.asarray(stored.arrays[f"cell_{name}"]) for name in _ARRAYS)
    n, d = points.X.shape
    shapes = centres.shape[1:] == (d,) and order.shape == away.shape == (n,) and starts.shape == (len(centres) + 1,)
    kinds = [part.dtype.str[1:] for part in (centres, order, starts, away)]
    if not shapes or kinds != list(_ARRAYS.values()):
        raise ValueError(f"cells are of {order.shape} points and {centres.shape} centres, and should be of {n, d}")
    falls = (np.diff(starts) < 0).any() or starts[0] != 0 or starts[-1] != n
    if falls or not np.isfinite(centres).all():
        raise ValueError("cells must follow one another, with finite centres")
    if stored.verified:
        met = np.bincount(order[(order >= 0) & (order < n)], minlength=n)
        if not (met == 1).all() or not (away >= 0).all():
            raise ValueError("cells must hold each point once, with its distance to the centre")
    known = stored.parameters["cells"]
    if not isinstance(known, dict) or not isinstance(known["facts"], dict):
        raise ValueError(f"what is known of the cells is {known!r}, and should be names and values")
    cells = Cells(
        settings=settings,
        centres=centres,
        order=order,
        starts=starts,
        away=away,
        centre=centre_or_none(points),
        margin=float(known["margin"]),
        made_of=int(known["made_of"]),
        facts=known["facts"],
    )
    radii = stored.arrays.get("cell_radii")  # older saves have none: found anew
    if radii is not None and not stored.verified:
        if radii.shape != (len(centres),) or radii.dtype != np.float64 or not (radii >= 0).all():
            raise ValueError("cell_radii must be one distance for each cell")
        vars(cells)["radii"] = np.asarray(radii)
    return cells
