"""Lists of neighbours that stay exact while points come and go: only the rows that are touched are worked on.

In: lists over the points as they were, and the points as they are. Out: the lists a search of these would find.

A row holds the first of all neighbours, as many as it has entries: k at least, or everyone. Where entries leave, the
others stay the first. Where points come, those nearer than a row's last entry enter it, and it holds the first again;
one as near as the last does not, since an older point that is not listed may be as near. A row that falls below k is
searched again, and then gets some neighbours in reserve, so that the next that leave cost nothing.

Lists that were found approximately are followed so, too: what joins, and what is searched again, then looks at the
cells around it, which hold nearly all of what is listed elsewhere, and not at everyone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from manifold._typing import Ints
from manifold.backends import Backend
from manifold.neighbors._base import Neighbors, sort_rows
from manifold.neighbors._doubt import doubt
from manifold.neighbors._exact import POINT_TILE, exact_search
from manifold.neighbors._near_cells import enough_cells, met_in_cells
from manifold.neighbors.cells import Cells
from manifold.neighbors.points import GATHER, Floats, PointSet, slices

_RESERVE = 8  # neighbours beyond k of a row that is searched again
_NEW_TILE = 256  # of which each pair with a tile of points may turn out to be near


class Followed(NamedTuple):
    """Lists after a change, and the rows (t,) that are not what they were: ascending, new ones among them."""

    lists: Neighbors
    touched: Ints


def without_points(
    neighbors: Neighbors, kept: Ints, points: PointSet, *, k: int, backend: Backend, cells: Cells | None = None
) -> Followed:
    """Return the lists of the points that are kept.

    Reference: guide *scale*, "A collection that changes".

    Parameters
    ----------
    neighbors : Neighbors
        Over n points, k entries or everyone in a row.
    kept : (m,) int
        Rows that stay, ascending; they are 0..m-1 in the new lists.
    points : PointSet
        The m points.
    k : int
        Entries that every row has to hold, or everyone.
    cells : Cells, optional
        Of the m points, for lists that were found approximately: rows are searched again in the cells around them.

    Notes
    -----
    Cost: one pass over the lists, and a search for the rows that fall below k.

    Examples
    --------
    >>> from manifold.backends import get_backend
    >>> lists = Neighbors([[1, 2], [0, 2], [1, 0]], [[-1, -9], [-1, -4], [-4, -9]], "euclidean", "exact")
    >>> points = PointSet(np.array([[0], [3]], np.float32), "euclidean")
    >>> rest = without_points(lists, np.array([0, 2]), points, k=1, backend=get_backend())
    >>> rest.lists.similarities.tolist(), rest.touched.tolist()
    ([[-9.0, -inf], [-9.0, -inf]], [0, 1])
    """
    number = np.full(neighbors.n_nodes + 1, -1, dtype=np.int32)  # the last one for -1, which stays
    number[kept] = np.arange(kept.size)
    before = neighbors.indices[kept]
    ids, similarities = number[before], neighbors.similarities[kept]
    touched = np.flatnonzero(((ids < 0) != (before < 0)).any(axis=1))
    order = np.argsort(ids[touched] < 0, axis=1, kind="stable")
    ids[touched] = np.take_along_axis(ids[touched], order, axis=1)
    similarities[touched] = np.take_along_axis(similarities[touched], order, axis=1)
    similarities[touched] = np.where(ids[touched] < 0, np.float32(-np.inf), similarities[touched])
    rest = Followed(neighbors._with_lists(ids, similarities), touched)
    return _completed(rest, points, k=k, backend=backend, cells=cells)


@np.errstate(under="ignore")
def with_points(
    neighbors: Neighbors, points: PointSet, *, k: int, backend: Backend, cells: Cells | None = None
) -> Followed:
    """Return the lists over all points, of which the first n are those of `neighbors` and the others are new.

    Reference: guide *scale*, "A collection that changes".

    Parameters
    ----------
    cells : Cells, optional
        Of all points, for lists that were found approximately: what is new looks at the cells around it alone.

    Raises
    ------
    ValueError
        Where a similarity would overflow float32.

    Notes
    -----
    Cost: two products of the new points with all, or with the members of cells; and one pass over the lists.

    Examples
    --------
    >>> from manifold.backends import get_backend
    >>> lists = Neighbors([[1], [0]], [[-9], [-9]], "euclidean", "exact")
    >>> points = PointSet(np.array([[0], [3], [1]], np.float32), "euclidean")
    >>> with_points(lists, points, k=1, backend=get_backend()).lists.first(1).similarities.tolist()
    [[-1.0], [-4.0], [-1.0]]
    """
    points.check_range(points)
    n, n_all = neighbors.n_nodes, points.X.shape[0]
    width = max(neighbors.n_neighbors, min(k, n_all - 1))
    ids, similarities = _widened(neighbors, n_all, width)
    if cells is None or not n:
        rows, entering, values = _entering(neighbors, points, backend)
    else:
        last = np.append(_last(neighbors), np.full(n_all - n, np.inf, np.float32))
        at_least, found_of = enough_cells(neighbors, points, cells), min(width, n_all - 1)
        met = met_in_cells(points, cells, np.arange(n, n_all), k=found_of, n_cells=at_least, last=last, lists=neighbors)
        ids[n:, :found_of], similarities[n:, :found_of] = met.ids, met.similarities
        i, e = np.nonzero(met.ids >= n)  # one of two new points may look at a cell of which the other does not think
        back = met.ids[i, e], n + i, met.similarities[i, e]
        rows, entering, values = (np.concatenate([one, other]) for one, other in zip(met.entering, back, strict=True))
    order = np.lexsort((entering, -values, rows))
    rows, entering = rows[order], entering[order]
    once = (np.diff(rows, prepend=-1) != 0) | (np.diff(entering, prepend=-1) != 0)  # some pairs are met in two ways
    rows, entering, values = rows[once], entering[once], values[order[once]]
    starts = np.flatnonzero(np.diff(rows, prepend=-1))  # they ascend
    touched, counts = rows[starts], np.diff(starts, append=rows.size)
    place = np.arange(rows.size) - np.repeat(starts, counts)
    kept = place < width
    at = np.searchsorted(touched, rows[kept]), width + place[kept]
    shape = touched.size, width + min(int(counts.max(initial=0)), width)
    both_ids, both = np.full(shape, -1), np.full(shape, -np.inf, dtype=np.float32)
    both_ids[:, :width], both[:, :width] = ids[touched], similarities[touched]
    both_ids[at], both[at] = entering[kept], values[kept]
    merged = sort_rows(both_ids, both, drop_self=False)
    ids[touched], similarities[touched] = (part[:, :width] for part in merged)
    touched = np.append(touched[touched < n], np.arange(n, n_all))
    after = Followed(neighbors._with_lists(ids, similarities), touched)
    return _completed(after, points, k=k, backend=backend, cells=cells)


def _completed(after: Followed, points: PointSet, *, k: int, backend: Backend, cells: Cells | None) -> Followed:
    """Search the rows again that hold fewer than k neighbours and not everyone."""
    neighbors, n = after.lists, after.lists.n_nodes
    least, width = min(k, n - 1), min(k + _RESERVE, n - 1)
    if least <= 0:
        return after
    narrow = neighbors.n_neighbors < least
    short = np.arange(n) if narrow else np.flatnonzero(neighbors.indices[:, least - 1] < 0)
    if not short.size:
        return after
    ids, similarities = _widened(neighbors, n, max(neighbors.n_neighbors, width))
    if cells is not None:
        n_cells = enough_cells(neighbors, points, cells)
        none = np.empty(0, np.float32)  # who was there has met them
        met = met_in_cells(points, cells, short, k=width, n_cells=n_cells, last=none, lists=neighbors)
        both = np.hstack([ids[short], met.ids]), np.hstack([similarities[short], met.similarities])
        ids[short], similarities[short] = (part[:, : ids.shape[1]] for part in sort_rows(*both, drop_self=False))
        again = short[ids[short, least - 1] < 0]  # near cells with few members
    else:
        again = short
    if again.size:
        found = exact_search(points, points, k=width, drop_self=True, rows=again, backend=backend)
        ids[again], similarities[again] = -1, -np.inf
        ids[again, :width], similarities[again, :width] = found
    touched = np.zeros(n, dtype=bool)
    touched[after.touched] = touched[short] = True
    return Followed(neighbors._with_lists(ids, similarities), np.flatnonzero(touched))


def _widened(neighbors: Neighbors, n: int, width: int) -> tuple[NDArray[np.int32], Floats]:
    """Return copies of the lists with room for n rows of `width` entries."""
    ids, similarities = np.empty((n, width), dtype=np.int32), np.empty((n, width), dtype=np.float32)
    m, k = neighbors.indices.shape
    ids[:m, :k], similarities[:m, :k] = neighbors.indices, neighbors.similarities
    for part in ((slice(m), slice(k, None)), (slice(m, None), slice(None))):
        ids[part], similarities[part] = -1, -np.inf
    return ids, similarities


def _last(neighbors: Neighbors) -> Floats:
    """Return the similarity (n,) that a new point has to exceed to enter each list."""
    n_listed, n = (neighbors.indices >= 0).sum(axis=1), neighbors.n_nodes
    last = np.full(n, -np.inf, dtype=np.float32)  # of a row that lists everyone, which all may enter
    some = np.flatnonzero((n_listed > 0) & (n_listed < n - 1))
    last[some] = neighbors.similarities[some, n_listed[some] - 1]
    return last


def _entering(neighbors: Neighbors, points: PointSet, backend: Backend) -> tuple[Ints, Ints, Floats]:
    """Return the old rows that new points enter, those points, and the similarity of each such pair."""
    n, last = neighbors.n_nodes, _last(neighbors)
    none = np.empty(0, dtype=np.int64)
    found: list[tuple[Ints, Ints, Floats]] = [(none, none, np.empty(0, dtype=np.float32))]
    for new in slices(points.X.shape[0] - n, _NEW_TILE):
        numbers = np.arange(n + new.start, n + new.stop)
        for old in slices(n, POINT_TILE):
            j, i = _perhaps_entering(points, numbers, old, last=last[old], backend=backend)
            for part in slices(j.size, max(1, GATHER // points.X.shape[1])):
                pair = i[part] + old.start, numbers[j[part]]
                values = _similarities(points, *pair, backend=backend)
                enters = values > last[pair[0]]
                found.append((pair[0][enters], pair[1][enters], values[enters]))
    rows, entering, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return rows, entering, values


def _perhaps_entering(points: PointSet, new: Ints, old: slice, *, last: Floats, backend: Backend) -> tuple[Ints, Ints]:
    """Return the pairs of new and old points that a product finds as near as the last neighbour, up to rounding."""
    queries = points.rows(new)
    own = points.norms[new] ** 2 if points.metric == "euclidean" else 0.0  # what a score lacks of a similarity
    least = last + (own - 2 * doubt(points, queries))[:, None]
    scores = points.propose(backend.asarray(queries), old, backend)
    near = scores >= backend.asarray(least.astype(np.float32))
    j, i = backend.xp.nonzero(near)
    return backend.to_host(j), backend.to_host(i)


def _similarities(points: PointSet, i: Ints, j: Ints, *, backend: Backend) -> Floats:
    """Return the similarities (p,) of pairs of points, each by the sum that every search takes."""
    one, other = (backend.asarray(points.rows(rows)) for rows in (i, j))
    found: Floats = backend.to_host(points.compare(one[:, None, :], other, backend))[:, 0]
    return found
