"""Lists that follow a collection: those of a search of the points that are there, and as valid as those of a user."""

from __future__ import annotations

import numpy as np
import pytest

from manifold.backends import get_backend
from manifold.neighbors import METRICS, Neighbors, find_neighbors, point_set, with_points, without_points

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
        lists = without_points(lists, kept, points, k=k, backend=SCIPY)
        assert_keeps_its_promises(lists)
        points = points.with_rows(rng.normal(size=(n_new, 5)).astype(np.float32))
        lists = with_points(lists, points, k=k, backend=SCIPY)
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
    lists = without_points(lists, kept, points, k=4, backend=SCIPY)
    lists = with_points(lists, points.with_rows(np.ones((2, 3), np.float32)), k=4, backend=SCIPY)
    assert (lists.method, lists.n_repaired, lists.facts) == ("by hand", 2, {"recall": 0.5})
