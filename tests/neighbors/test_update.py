"""Lists that follow a collection: those of a search of the points that are there, and as valid as those of a user."""

from __future__ import annotations

import numpy as np
import pytest

from manifold.backends import get_backend
from manifold.neighbors import (
    METRICS,
    Cells,
    InvertedFile,
    Neighbors,
    SeedSearch,
    find_neighbors,
    point_set,
    with_points,
    without_points,
)

SCIPY = get_backend("scipy")


def assert_keeps_its_promises(lists: Neighbors) -> None:
    """The strict constructor finds nothing to refuse, and nothing to mend."""
    strict = Neighbors(**vars(lists))
    for name in ("indices", "similarities"):
        ours, theirs = getattr(lists, name), getattr(strict, name)
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
        assert not ours.flags.writeable


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 4, 11])
def test_points_leave_and_come_in_turn(metric, k, rng):
    X = rng.normal(size=(90, 5)).astype(np.float32)
    points = point_set(X, metric)
    lists = find_neighbors(points, k, metric=metric)
    for n_gone, n_new in ((1, 0), (10, 3), (0, 25), (40, 1), (30, 60)):
        kept = np.sort(rng.choice(len(points.X), len(points.X) - n_gone, replace=False))
        points = points.only(kept)
        lists = without_points(lists, kept, points, k=k, backend=SCIPY).lists
        assert_keeps_its_promises(lists)
        points = points.with_rows(rng.normal(size=(n_new, 5)).astype(np.float32))
        lists = with_points(lists, points, k=k, backend=SCIPY).lists
        assert_keeps_its_promises(lists)
        anew = find_neighbors(points.X, k, metric=metric)
        np.testing.assert_array_equal(lists.first(k).indices, anew.indices)
        np.testing.assert_array_equal(lists.first(k).similarities, anew.similarities)


def test_what_is_known_of_the_search_stays(rng):
    points = point_set(rng.normal(size=(30, 3)))
    lists = Neighbors(
        **vars(find_neighbors(points, 4)) | {"method": "by hand", "n_repaired": 2, "facts": {"recall": 0.5}}
    )
    kept = np.arange(3, 30)
    points = points.only(kept)
    lists = without_points(lists, kept, points, k=4, backend=SCIPY).lists
    lists = with_points(lists, points.with_rows(np.ones((2, 3), np.float32)), k=4, backend=SCIPY).lists
    assert (lists.method, lists.n_repaired, lists.facts) == ("by hand", 2, {"recall": 0.5})


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_what_was_found_by_cells_is_followed_by_cells(metric, rng):
    """Whoever comes is looked for in the cells around it, and found nearly always; with all cells, to the bit."""
    near = np.linspace(0, 2 * np.pi, 900, endpoint=False)
    X = np.stack([np.cos(near), np.sin(near), np.cos(3 * near)], axis=1).astype(np.float32)
    X = rng.permutation(np.hstack([X, rng.normal(scale=0.05, size=(900, 5))]).astype(np.float32))
    points = point_set(X[:700], metric)
    lists = find_neighbors(points, 6, metric=metric, method=InvertedFile(n_cells=30))
    cells = Cells.made(points, 6, settings=SeedSearch(), neighbors=lists)
    together = points.with_rows(points.joining(X[700:]).X)
    cells = cells.updated(together, np.append(np.arange(700), np.full(200, -1)))
    more, touched = with_points(lists, together, k=6, backend=SCIPY, cells=cells)
    kept = np.setdiff1d(np.arange(900), np.arange(0, 900, 9))
    rest = together.only(kept)
    fewer, _ = without_points(more, kept, rest, k=6, backend=SCIPY, cells=cells.updated(rest, kept))
    for now, of in ((more, together), (fewer, rest)):
        assert_keeps_its_promises(now)
        true = find_neighbors(of, 6, metric=metric, method="exact")
        assert (now.similarities[:, :6] >= true.similarities[:, -1:]).mean() > 0.97
        assert (now.indices[:, 5] >= 0).all()
    changed = (more.indices[:700, :6] != lists.indices).any(axis=1)
    assert np.isin(np.flatnonzero(changed), touched).all()
    assert touched[-200:].tolist() == list(range(700, 900))
    with pytest.MonkeyPatch().context() as patch:
        patch.setattr("manifold.neighbors._update.enough_cells", lambda *_: 30)
        exact = find_neighbors(points, 6, metric=metric, method="exact")
        everyone, _ = with_points(exact, together, k=6, backend=SCIPY, cells=cells)
    true = find_neighbors(together, 6, metric=metric, method="exact")
    np.testing.assert_array_equal(everyone.first(6).indices, true.indices)
    np.testing.assert_array_equal(everyone.first(6).similarities, true.similarities)
