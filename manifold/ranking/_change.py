"""A collection that changes: items join and leave a fitted search, which is then as if fitted to what is there.

In: a fitted state, and features that join, or ids that leave. Out: another state, of another collection.

The lists of neighbours are repaired where they are touched (`neighbors._update`), and all else is made of them as `fit`
makes it, which is quick beside a search for neighbours. The new state is made aside: what breaks off has changed
nothing, and a search that runs meanwhile goes on with the old state.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from manifold._resources import require_memory
from manifold._typing import AnyArray, Ints
from manifold.backends import on_host
from manifold.index import DiffusionIndex, StoredColumns, of_images, of_nodes, updated_columns
from manifold.neighbors import Neighbors, PointSet, warn_of_awkward_points, with_points, without_points
from manifold.ranking._collection import Ids
from manifold.ranking._entrance import seed_cells
from manifold.ranking._fit import Collection, of_lists, without_reserve
from manifold.ranking._fitted import Fitted
from manifold.ranking._inputs import same_place
from manifold.ranking.pooling import check_owners


def joined(fitted: Fitted, X: object, ids: object, *, images: object = None) -> tuple[Fitted, AnyArray]:
    """Return the state with new items, and their ids; of a search over regions, the images 0, 1, ... of new regions.

    >>> from manifold import ManifoldSearch
    >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
    >>> after, ids = joined(fitted, [[0.1, 0.9]], None)
    >>> len(after.ids), ids.tolist()
    (4, [3])
    """
    points, neighbors = _changeable(fitted)
    new = points.joining(on_host(same_place(X, fitted.home, "X"), fitted.backend)).X
    old, n, m = points.X, points.X.shape[0], new.shape[0]
    owners = None
    if fitted.pooling is not None:
        added = check_owners(images, m, name="images")
        owners = np.concatenate([fitted.pooling.owners, fitted.pooling.n_images + added])
        m_named = int(added.max(initial=-1)) + 1
    else:
        m_named = m
    n_named = len(fitted.ids)
    names = fitted.ids.with_more(ids, m_named)
    require_memory(2 * 4 * (old.size + new.size), purpose=f"adding {m} points to {n}", cure="fit anew")
    together = points.with_rows(new)
    lists = with_points(neighbors, together, k=fitted.settings.width, backend=fitted.backend)
    rows = np.append(np.arange(n), np.full(m, -1))
    changed = _of_collection(fitted, together, names, lists, rows=rows, images=owners)
    warn_of_awkward_points(together, without_reserve(lists, changed.settings), first=n)
    return changed, names.values[n_named:]


def left(fitted: Fitted, ids: object) -> Fitted:
    """Return the state without some items, or images with all their regions.

    >>> from manifold import ManifoldSearch
    >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
    >>> left(fitted, [1]).ids.values.tolist()
    [0, 2]
    """
    points, neighbors = _changeable(fitted)
    gone = np.atleast_1d(fitted.ids.rows(ids))
    if (gone < 0).any() or np.unique(gone).size != gone.size:
        raise ValueError("ids must name each item that leaves once, and not the missing marker")
    stay = np.setdiff1d(np.arange(len(fitted.ids)), gone)
    kept, owners = stay, None
    if fitted.pooling is not None:
        remaining = np.isin(fitted.pooling.owners, gone, invert=True)
        kept = np.flatnonzero(remaining)
        owners = np.searchsorted(stay, fitted.pooling.owners[kept])
    require_memory(2 * 4 * kept.size * points.X.shape[1], purpose=f"keeping {kept.size} points", cure="fit anew")
    rest = points.only(kept)
    lists = without_points(neighbors, kept, rest, k=fitted.settings.width, backend=fitted.backend)
    return _of_collection(fitted, rest, fitted.ids.only(stay), lists, rows=kept, images=owners)


def _changeable(fitted: Fitted) -> tuple[PointSet, Neighbors]:
    """Return the points and lists of a collection that can change; raise ValueError for others."""
    if fitted.points is None or fitted.neighbors is None:
        missing = "without X" if fitted.points is None else "with graph=, whose neighbours are not known"
        raise ValueError(f"this search was fitted {missing}: only fit(X) makes a collection that can change")
    return fitted.points, fitted.neighbors


def _of_collection(
    fitted: Fitted, points: PointSet, names: Ids, neighbors: Neighbors, *, rows: Ints, images: Ints | None
) -> Fitted:
    """Make all of the lists that `fit` makes of them; `rows` says which row of before each point had, or -1."""
    given = Collection(backend=fitted.backend, home=fitted.home, points=points, images=images)
    s = fitted.settings
    cells = seed_cells(s, points, neighbors, before=fitted.cells, rows=rows)
    changed = of_lists(s, neighbors, names, given=given, tuning=fitted.tuning, cells=cells)
    changed = _with_columns(changed, fitted, rows)
    _ = changed.ranker
    return changed


def _with_columns(changed: Fitted, before: Fitted, rows: Ints) -> Fitted:
    """Take over stored columns: those of nodes follow the graph, those of images are solved again."""
    columns, solver = before.ranker.prepared, before.settings.solver
    after: StoredColumns | DiffusionIndex
    if of_nodes(columns):
        settings = solver if isinstance(solver, DiffusionIndex) else None
        after = updated_columns(columns, changed.graph, rows, settings=settings)
        changed = replace(changed, prepared=after)
    elif of_images(solver):  # P h(S) is no symmetric matrix: its columns cannot follow
        after = DiffusionIndex(n_entries=max(solver.ids.shape[1], 1), dtype=str(solver.values.dtype))
    else:
        return changed
    if of_nodes(solver) or of_images(solver):  # it was given, already built
        changed = replace(changed, settings=replace(changed.settings, solver=after))
    return changed
