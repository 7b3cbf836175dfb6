"""A collection that changes: items join and leave a fitted search, which is then as if fitted to what is there.

In: a fitted state, and features that join, or ids that leave. Out: another state, of another collection.

The lists of neighbours are repaired where they are touched (`neighbors._update`), and all else is made of them as `fit`
makes it, which is quick beside a search for neighbours. The new state is made aside: what breaks off has changed
nothing, and a search that runs meanwhile goes on with the old state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from manifold._resources import require_memory
from manifold._typing import AnyArray, Ints
from manifold.backends import on_host
from manifold.graph import is_made_of
from manifold.index import DiffusionIndex, StoredColumns, of_images, of_nodes, updated_columns
from manifold.neighbors import Cells, Neighbors, PointSet, warn_of_awkward_points, with_points, without_points
from manifold.ranking._collection import Ids
from manifold.ranking._fit import Collection, of_lists, without_reserve
from manifold.ranking._fitted import Fitted
from manifold.ranking._inputs import same_place
from manifold.ranking.pooling import check_owners

_MEASURED_FROM = 1 << 15  # nodes from which on "auto" takes long to measure solvers


@dataclass(frozen=True, eq=False)
class _Parts:
    """What a state is made of: points, their names, lists and cells, the image of each, and what has changed."""

    points: PointSet
    names: Ids
    neighbors: Neighbors
    cells: Cells | None
    owners: Ints | None
    rows: Ints  # which row of before each had, ascending; then -1, of what is new
    touched: Ints  # rows whose lists are not what they were

    @classmethod
    def of(cls, fitted: Fitted) -> _Parts:
        """Take the parts of a fitted search, none of them changed yet."""
        points, neighbors = _changeable(fitted)
        owners = None if fitted.pooling is None else fitted.pooling.owners
        n, none = points.X.shape[0], np.empty(0, dtype=np.int64)
        return cls(points, fitted.ids, neighbors, fitted.cells, owners, np.arange(n), none)

    @property
    def nearby(self) -> Cells | None:
        """Where approximate lists are followed: exact ones look at everyone."""
        return self.cells if "recall" in self.neighbors.facts else None


def joined(fitted: Fitted, X: object, ids: object, *, images: object = None) -> tuple[Fitted, AnyArray]:
    """Return the state with new items, and their ids; of a search over regions, the images 0, 1, ... of new regions.

    >>> from manifold import ManifoldSearch
    >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
    >>> after, ids = joined(fitted, [[0.1, 0.9]], None)
    >>> len(after.ids), ids.tolist()
    (4, [3])
    """
    before = _Parts.of(fitted)
    after = _with(fitted, before, X, ids, images=images)
    changed = _made(fitted, after)
    return changed, after.names.values[len(before.names) :]


def left(fitted: Fitted, ids: object) -> Fitted:
    """Return the state without some items, or images with all their regions.

    >>> from manifold import ManifoldSearch
    >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
    >>> left(fitted, [1]).ids.values.tolist()
    [0, 2]
    """
    before = _Parts.of(fitted)
    return _made(fitted, _without(fitted, before, _leaving(fitted.ids, ids)))


def updated(fitted: Fitted, X: object, ids: object, *, gone: object) -> Fitted:
    """Return the state without items that are gone, and with features of others, new ones or in place of theirs.

    >>> from manifold import ManifoldSearch
    >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
    >>> updated(fitted, [[0.1, 0.9], [0.5, 0.5]], [1, 7], gone=[0]).ids.values.tolist()
    [2, 1, 7]
    """
    if (X is None) != (ids is None):
        raise ValueError("X and ids go together: ids name the items, new ones or changed, whose features X holds")
    after = _Parts.of(fitted)
    leaving = _leaving(fitted.ids, gone, name="gone")
    if ids is not None:
        rows = np.atleast_1d(fitted.ids.look_up(ids)[1])
        changing = rows[rows >= 0]
        both = np.intersect1d(changing, leaving)
        if both.size:
            first = fitted.ids.names(both[:1]).tolist()[0]
            raise ValueError(f"gone names {both.size} items that ids name too, first {first!r}: name them in one")
        leaving = np.union1d(leaving, changing)
    after = _without(fitted, after, leaving)
    if ids is not None:
        after = _with(fitted, after, X, ids)
    return _made(fitted, after)


def _leaving(names: Ids, ids: object, *, name: str = "ids") -> Ints:
    try:
        gone = np.atleast_1d(names.rows(ids))
    except (TypeError, ValueError) as error:
        if name == "ids":
            raise
        raise type(error)(f"{name} names items that leave: {error}") from None
    if (gone < 0).any() or np.unique(gone).size != gone.size:
        raise ValueError(f"{name} must name each item that leaves once, and not the missing marker")
    return gone


def _without(fitted: Fitted, before: _Parts, gone: Ints) -> _Parts:
    """Let items leave by their rows, or images with all their regions."""
    if not gone.size:
        return before
    stays = np.ones(len(before.names), dtype=bool)
    stays[gone] = False
    stay = np.flatnonzero(stays)
    kept, owners = stay, None
    if before.owners is not None:
        kept = np.flatnonzero(stays[before.owners])
        owners = np.searchsorted(stay, before.owners[kept])
    require_memory(2 * 4 * kept.size * before.points.X.shape[1], purpose=f"keeping {kept.size} points", cure="fit anew")
    rest = before.points.only(kept)
    cells = None if before.cells is None else before.cells.updated(rest, kept)
    after = replace(before, points=rest, names=before.names.only(stay), cells=cells, owners=owners)
    lists, touched = without_points(
        before.neighbors, kept, rest, k=fitted.settings.width, backend=fitted.backend, cells=after.nearby
    )
    return replace(after, neighbors=lists, rows=before.rows[kept], touched=touched)


def _with(fitted: Fitted, before: _Parts, X: object, ids: object, *, images: object = None) -> _Parts:
    """Let items join, behind those that are there."""
    points = before.points
    new = points.joining(on_host(same_place(X, fitted.home, "X"), fitted.backend)).X
    n, m = points.X.shape[0], new.shape[0]
    owners, m_named = None, m
    if before.owners is not None:
        added = check_owners(images, m, name="images")
        owners = np.concatenate([before.owners, len(before.names) + added])
        m_named = int(added.max(initial=-1)) + 1
    names = before.names.with_more([] if ids is None and not m else ids, m_named)
    if not m:
        return before
    require_memory(2 * 4 * (points.X.size + new.size), purpose=f"adding {m} points to {n}", cure="fit anew")
    together = points.with_rows(new)
    cells = before.cells
    if cells is not None:
        cells = cells.updated(together, np.append(np.arange(n), np.full(m, -1)))
    after = replace(before, points=together, names=names, cells=cells, owners=owners)
    lists, touched = with_points(
        before.neighbors, together, k=fitted.settings.width, backend=fitted.backend, cells=after.nearby
    )
    rows = np.append(before.rows, np.full(m, -1))
    changed = np.zeros(n + m, dtype=bool)
    changed[before.touched] = changed[touched] = True
    return replace(after, neighbors=lists, rows=rows, touched=np.flatnonzero(changed))


def _changeable(fitted: Fitted) -> tuple[PointSet, Neighbors]:
    """Return the points and lists of a collection that can change; raise ValueError for others."""
    if fitted.points is None or fitted.neighbors is None:
        missing = "without X" if fitted.points is None else "with graph=, whose neighbours are not known"
        raise ValueError(f"this search was fitted {missing}: only fit(X) makes a collection that can change")
    s = fitted.settings
    nearest = without_reserve(fitted.neighbors, s).first(s.n_neighbors)
    if not is_made_of(
        fitted.graph, nearest, affinity=s.affinity, edges=s.edges, bridge=s.bridge, one_sided=fitted.one_sided
    ):
        raise ValueError(
            f"this search was fitted with graph=, which another rule has made of the lists than that of {s.affinity}, "
            f"edges={s.edges!r}: a change would make it by this one; fit by the settings of the graph"
        )
    return fitted.points, fitted.neighbors


def _made(fitted: Fitted, parts: _Parts) -> Fitted:
    """Make all of the lists that `fit` makes of them; the same state where nothing came or left."""
    if parts.points is fitted.points:
        return fitted
    given = Collection(backend=fitted.backend, home=fitted.home, points=parts.points, images=parts.owners)
    s = fitted.settings
    before, cells = (fitted, parts.rows, parts.touched), parts.cells
    changed = of_lists(s, parts.neighbors, parts.names, given=given, tuning=fitted.tuning, cells=cells, before=before)
    changed = replace(_with_columns(changed, fitted, parts.rows), calibration=fitted.calibration)
    if _alike(fitted.graph.n_nodes, changed.graph.n_nodes):
        vars(changed)["solver"] = fitted.solver  # as it was measured
    _ = changed.ranker
    first = int((parts.rows >= 0).sum())
    if first < parts.rows.size:
        warn_of_awkward_points(parts.points, without_reserve(parts.neighbors, changed.settings), first=first)
    return changed


def _alike(n: int, m: int) -> bool:
    """Whether graphs of so many nodes are large, and within one power of two: what was measured on one holds."""
    return n >= _MEASURED_FROM and n.bit_length() == m.bit_length()


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
