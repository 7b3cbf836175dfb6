"""How queries enter a collection: the cells that their nearest points are looked for in, made, followed and explained.

In: settings, points, lists of neighbours, a graph. Out: `Cells`, or None where all points are compared.
"""

from __future__ import annotations

from manifold.graph import Graph
from manifold.neighbors import Cells, Neighbors, PointSet, choose_seed_search
from manifold.ranking._settings import SearchSettings


def seed_cells(
    settings: SearchSettings,
    points: PointSet | None,
    lists: Neighbors | None,
    *,
    graph: Graph,
    before: Cells | None = None,
) -> Cells | None:
    """Return the cells that the settings ask for: those of `before`, which hold these points, until they are outgrown.

    >>> from manifold import graph_from_affinity
    >>> from manifold.neighbors import point_set
    >>> from manifold.ranking._settings import search_settings
    >>> pair = graph_from_affinity([[0, 1], [1, 0]])
    >>> seed_cells(search_settings({}), point_set([[1, 0], [0, 1]]), None, graph=pair) is None
    True
    """
    asked, _ = choose_seed_search(settings.seed_search, points)
    if asked is None or points is None or points.X.shape[0] < 2:
        return None
    if before is not None and not before.outgrown():
        return before
    return Cells.made(
        points,
        settings.n_seeds,
        settings=asked,
        neighbors=lists,
        edges=graph.unverified_affinity,
        random_state=settings.random_state,
    )


def explained(settings: SearchSettings, points: PointSet | None, cells: Cells | None) -> str:
    """Return how seeds are found and why so, for people.

    >>> from manifold.ranking._settings import search_settings
    >>> explained(search_settings({"seed_search": "exact"}), None, None)
    'found exactly, as named'
    """
    asked, why = choose_seed_search(settings.seed_search, points)
    if cells is not None:
        return f"found in cells, {_because(why)}: {cells}"
    return f"found exactly, {_because(why)}" if asked is None else "found exactly: no cells were made"


def _because(why: str) -> str:
    return why if why in ("as given", "as named") else f"because {why}"
