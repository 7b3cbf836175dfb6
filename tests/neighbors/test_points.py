"""Points are looked at once: features checked at the door, norms measured when they are first used, and passed on."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import manifold.graph
from manifold import _checks
from manifold.backends import get_backend
from manifold.neighbors import METRICS, Neighbors, PointSet, exact_search, find_neighbors, point_set, points


@pytest.fixture
def X(rng):
    return (rng.normal(size=(400, 24)) + 3).astype(np.float32)


@pytest.fixture
def counted(monkeypatch):
    """Count the rows whose features are checked and measured, and the lists that are validated."""
    counts = {"checked": 0, "measured": 0, "validated": 0}
    finite, norms, validate = _checks._finite_float32, vars(PointSet)["norms"], Neighbors.__post_init__
    measured = norms.func

    def check(rows, name, *, offset=None):
        counts["checked"] += len(rows)
        return finite(rows, name, offset=offset)

    def measure(self):
        counts["measured"] += len(self.X)
        return measured(self)

    def look(self):
        counts["validated"] += 1
        validate(self)

    monkeypatch.setattr(_checks, "_finite_float32", check)
    monkeypatch.setattr(norms, "func", measure)
    monkeypatch.setattr(Neighbors, "__post_init__", look)
    return counts


WORK = {
    "find_neighbors": lambda X, metric: find_neighbors(X, 5, metric=metric),
    "build_graph": lambda X, metric: manifold.graph.build_graph(X, 5, metric=metric),
}


class TestOneLook:
    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("work", WORK)
    def test_a_search_checks_and_measures_each_point_once_and_validates_no_lists(self, work, metric, X, counted):
        WORK[work](X, metric)
        assert counted == {"checked": 400, "measured": 400, "validated": 0}

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("work", WORK)
    def test_points_are_not_looked_at_again(self, work, metric, X, counted):
        given = point_set(X, metric)
        assert counted == {"checked": 400, "measured": 0, "validated": 0}
        given.norms  # noqa: B018 -- measures
        for _ in range(2):
            WORK[work](given, metric)
        assert counted == {"checked": 400, "measured": 400, "validated": 0}

    @pytest.mark.parametrize("method", ["inverted_file", "faiss"])
    def test_nor_by_other_methods(self, method, X, counted):
        find_neighbors(X, 5, metric="euclidean", method=method)
        assert counted == {"checked": 400, "measured": 400, "validated": 0}

    def test_lists_that_are_cut_or_weighted_anew_are_not_validated(self, X, counted):
        found = find_neighbors(X, 5)
        found.first(3).with_similarities(np.ones((400, 3)))
        assert counted["validated"] == 0
        Neighbors(found.indices, found.similarities, metric="cosine", method="by hand")
        assert counted["validated"] == 1


class TestDoor:
    @pytest.mark.parametrize("metric", METRICS)
    def test_points_are_searched_as_their_features_are(self, metric, X):
        given, plain = (find_neighbors(x, 6, metric=metric) for x in (point_set(X, metric), X))
        np.testing.assert_array_equal(given.indices, plain.indices)
        np.testing.assert_array_equal(given.similarities, plain.similarities)

    def test_points_for_another_metric_are_refused(self, X):
        given = point_set(X, "euclidean")
        for metric in ("cosine", "precomputed"):
            with pytest.raises(ValueError, match=f"X holds points for metric='euclidean', got metric='{metric}'"):
                find_neighbors(given, 3, metric=metric)
        with pytest.raises(ValueError, match=r"^rows holds points for metric='euclidean', got metric='cosine'"):
            point_set(given, name="rows")

    def test_what_are_no_features_is_refused_by_name(self):
        with pytest.raises(ValueError, match=r"metric must be one of .*got 'l2'"):
            point_set([[1.0]], "l2")
        with pytest.raises(ValueError, match=r"^rows holds NaN or infinity in 1 of 2 rows, first in row 1"):
            point_set([[1.0], [np.nan]], name="rows")

    def test_features_are_taken_as_they_are(self, X):
        assert point_set(X).X is X
        assert repr(point_set(X)) == "PointSet(400 points of 24 features, metric='cosine')"

    @pytest.mark.parametrize("given", [[[1.0]], np.ones((2, 2)), np.ones(3, np.float32), np.ones((2, 2), ">f4")])
    def test_the_constructor_takes_nothing_but_rows(self, given):
        with pytest.raises(
            TypeError, match=r"X must be \(n, d\) float32, float16, int8 or uint8, got .*: point_set\(X\) reads others"
        ):
            PointSet(given, "cosine")


class TestLaziness:
    @pytest.mark.parametrize("metric", METRICS)
    def test_making_a_set_reads_no_row(self, metric, X):
        class Unread(np.ndarray):
            def __getitem__(self, which):
                raise AssertionError("a row was read")

            def mean(self, *args, **kwargs):
                raise AssertionError("all rows were read")

        made = PointSet(X.view(Unread), metric)
        with pytest.raises(AssertionError, match=r"(a row was|all rows were) read"):
            made.rows(slice(3)) if metric != "euclidean" else made.centre
        known = point_set(X, metric)
        again = PointSet._trusted(X.view(Unread), metric, norms=known.norms, centre=known.centre)
        np.testing.assert_array_equal(again.norms, known.norms)
        again.check_range(again)
        assert not again.has_extremes

    def test_norms_from_a_centre_need_it(self, X):
        norms = point_set(X, "euclidean").norms
        with pytest.raises(ValueError, match="give centre too"):
            PointSet._trusted(X, "euclidean", norms=norms)

    @pytest.mark.parametrize("metric", METRICS)
    def test_given_norms_change_no_bit(self, metric, X):
        known = point_set(X, metric)
        given = PointSet._trusted(X, metric, norms=known.norms, centre=known.centre)
        for one, other in zip(
            *(vars(find_neighbors(x, 7, metric=metric)).values() for x in (known, given)), strict=True
        ):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("metric", METRICS)
    def test_a_pickle_keeps_what_is_known(self, metric, X):
        known = point_set(X, metric)
        norms = known.norms
        again = pickle.loads(pickle.dumps(known))
        np.testing.assert_array_equal(vars(again)["norms"], norms)
        np.testing.assert_array_equal(
            find_neighbors(again, 4, metric=metric).indices, find_neighbors(X, 4, metric=metric).indices
        )


def lists(given, metric):
    return exact_search(given, given, k=9, drop_self=True, backend=get_backend("scipy"))


class TestChange:
    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("first", [0, 1, 130, 399])
    @pytest.mark.parametrize("measured", [False, True])
    def test_more_points_are_searched_as_a_set_made_anew(self, metric, first, measured, X, monkeypatch):
        monkeypatch.setattr(points, "GATHER", 24 * 7)  # other parts, the same sums
        before, whole = point_set(X, metric), PointSet(X[:first], metric)
        if measured:
            whole.norms  # noqa: B018 -- measures
        whole = whole.with_rows(X[first:])
        assert ("norms" in vars(whole)) == (measured and first > 0)
        np.testing.assert_array_equal(whole.X, X)
        if metric != "euclidean":  # whose norms are from the centre of the first
            np.testing.assert_array_equal(whole.norms, before.norms)
        for one, other in zip(lists(whole, metric), lists(before, metric), strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("measured", [False, True])
    def test_fewer_points_are_searched_as_a_set_made_anew(self, metric, measured, X):
        given, kept = point_set(X, metric), np.arange(5, 400, 3)
        if measured:
            given.norms  # noqa: B018 -- measures
        fewer, anew = given.only(kept), point_set(X[kept], metric)
        assert ("norms" in vars(fewer)) == measured
        if metric != "euclidean":
            np.testing.assert_array_equal(fewer.norms, anew.norms)
        for one, other in zip(lists(fewer, metric), lists(anew, metric), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_nobody_may_stay_and_others_come(self, X):
        nobody = point_set(X, "euclidean").only(np.arange(0))
        assert nobody.norms.shape == (0,)
        some = nobody.with_rows(X)
        for one, other in zip(lists(some, "euclidean"), lists(point_set(X, "euclidean"), "euclidean"), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_other_features_are_refused(self, X):
        with pytest.raises(ValueError, match="X has 3 features, but the points have 24"):
            point_set(X).with_rows(np.ones((2, 3), np.float32))


def test_rows_that_join_are_written_once_and_two_that_join_at_once_do_not_meet(rng):
    X = rng.normal(size=(400, 3)).astype(np.float32)
    once = point_set(X[:300]).with_rows(X[300:310])
    one, other = once.with_rows(X[310:320]), once.with_rows(X[320:330])
    assert np.shares_memory(once.X, one.X)
    assert not np.shares_memory(once.X, other.X)
    assert not one.X.flags.writeable
    for found, rows in ((once, X[:310]), (one, X[:320]), (other, np.delete(X[:330], np.s_[310:320], axis=0))):
        np.testing.assert_array_equal(found.X, rows)
        assert found.norms.tobytes() == point_set(rows).norms.tobytes()
    copied = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(copied.with_rows(X[320:]).X, X)
