"""The nearest points of single queries by cells and walks, against the exact search: what is proved is the nearest."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse
from threadpoolctl import threadpool_limits

from manifold.backends import get_backend
from manifold.errors import ManifoldWarning
from manifold.neighbors import (
    Cells,
    InvertedFile,
    PointSet,
    SeedSearch,
    choose_seed_search,
    described_cells,
    exact_search,
    find_neighbors,
    listed,
    seed_search,
    stored_cells,
)
from manifold.neighbors._base import Partition
from manifold.neighbors._recall import certain
from manifold.storage import load_arrays, save_arrays

METRICS = ("cosine", "euclidean")


def gathered(rng, n=3000, d=12):
    """Points around 25 centres, far from the origin, some copies of others, one zero."""
    X = 5 + rng.normal(size=(25, d))[rng.integers(0, 25, n)] + 0.25 * rng.normal(size=(n, d))
    X[100:103], X[7] = X[0], 0
    return X.astype(np.float32)


@pytest.fixture(params=METRICS)
def points(request, rng):
    return PointSet(gathered(rng), request.param)


def lists_of(points, k=8, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ManifoldWarning)  # of the zero vector
        return find_neighbors(points, k, metric=points.metric, method=InvertedFile(**options))


def cells_of(points, given, lists=None, k=5):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "about .* of the .* nearest items", ManifoldWarning)
        return Cells.made(points, k, settings=given, neighbors=lists)


def exact(queries, points, k, rows=None):
    drop = queries is points
    return exact_search(queries, points, k=k, rows=rows, drop_self=drop, backend=get_backend())


def asked(points, rng, m=60):
    """Queries near points, between them, one of them, far away, and zero."""
    X = points.X[rng.integers(0, len(points.X), m)] + 0.2 * rng.normal(size=(m, points.X.shape[1]))
    X[0], X[1], X[2], X[3] = points.X[0], 0, -points.X[5], 100 * points.X[9]
    return PointSet(X.astype(np.float32), points.metric)


def assert_honest(found, ids, similarities):
    """What is proved is what the exact search finds, and what both found has the same bits."""
    for mine, near, n, true_ids, true in zip(
        found.ids, found.similarities, found.proved, ids, similarities, strict=True
    ):
        np.testing.assert_array_equal(mine[:n], true_ids[:n])
        np.testing.assert_array_equal(near[:n], true[:n])
        assert (near <= true).all()
        assert np.unique(mine).size == mine.size
        by_id = dict(zip(true_ids.tolist(), true.tolist(), strict=True))
        assert all(by_id[i] == s for i, s in zip(mine.tolist(), near.tolist(), strict=True) if i in by_id)


@pytest.mark.parametrize("given", [SeedSearch(n_probes=1), SeedSearch(), SeedSearch("walk"), SeedSearch(n_cells=400)])
def test_what_is_proved_is_the_nearest_to_the_bit(given, points, rng):
    lists = lists_of(points)
    cells = cells_of(points, given, lists)
    queries = asked(points, rng)
    found = cells.over(points, lists).nearest(queries, 5)
    assert_honest(found, *exact(queries, points, 5))
    recall = (found.similarities >= exact(queries, points, 5)[1][:, -1:]).mean()
    assert recall > (0.98 if given.n_probes is None else 0.5)


@pytest.mark.parametrize("n_probes", [1, 8, 40])
def test_points_outside_their_nearest_cell_make_no_proof_wrong(n_probes, points, rng, monkeypatch):
    """As a few are where cells of cells are searched in the nearest large ones alone."""
    lists = lists_of(points)
    strays = rng.random(len(points.X)) < 0.2
    cell = np.where(strays, rng.integers(0, len(lists.partition.centres), strays.size), lists.partition.cell)
    lists = replace(lists, partition=Partition(lists.partition.centres, cell.astype(np.int32)))
    monkeypatch.setattr("manifold.neighbors.cells.FLAT", 1)
    cells = cells_of(points, SeedSearch(n_probes=n_probes), lists)
    for k in (1, 5):
        queries = asked(points, rng)
        assert_honest(cells.over(points, lists).nearest(queries, k), *exact(queries, points, k))
    apart = PointSet(gathered(rng) + 1000 * rng.integers(0, 2, (3000, 1)).astype(np.float32), "euclidean")
    made = cells_of(apart, SeedSearch(n_probes=1), lists_of(apart))
    assert made.over(apart).nearest(asked(apart, rng), 1).proved.any()  # radii prove something


def test_all_cells_are_the_exact_search_and_prove_it(points, rng):
    cells = Cells.made(points, 5, settings=SeedSearch(n_probes=10**6))
    queries = PointSet(asked(points, rng).X[4:], points.metric)
    found = cells.over(points).nearest(queries, 5)
    ids, similarities = exact(queries, points, 5)
    assert (found.proved == 5).all()
    np.testing.assert_array_equal(found.similarities, similarities)
    np.testing.assert_array_equal(found.ids, ids)
    assert found.compared.mean() < len(points.X) / 4
    assert cells.facts["recall"] == 1


def test_held_out_points_are_left_out_and_what_is_measured_is_what_is_found(points):
    lists = lists_of(points)
    for way in ("cells", "walk"):
        cells = Cells.made(points, 5, settings=SeedSearch(way, recall=0.97), neighbors=lists)
        rows = np.arange(0, len(points.X), 3)
        found = cells.over(points, lists).nearest(points, 5, rows=rows)
        assert not (found.ids == rows[:, None]).any()
        ids, similarities = exact(points, points, 5, rows)
        assert_honest(found, ids, similarities)
        recall = (found.similarities >= similarities[:, -1:]).mean()
        assert cells.facts["recall"] >= cells.facts["least"] >= 0.97
        assert recall == pytest.approx(cells.facts["recall"], abs=0.03)
        assert found.proved.mean() == pytest.approx(cells.facts["proved"], abs=0.5)


def test_the_cells_of_the_lists_are_taken_over(points):
    lists = lists_of(points, n_cells=31)
    cells = Cells.made(points, 5, settings=SeedSearch(), neighbors=lists)
    np.testing.assert_array_equal(cells.centres, lists.partition.centres)
    rows, centres = points.centred(slice(None)).astype(np.float64), cells.centres.astype(np.float64)
    apart = ((rows[:, None] - centres[None]) ** 2).sum(axis=2)
    own = np.empty(len(rows), np.int64)
    own[cells.order] = np.repeat(np.arange(31), np.diff(cells.starts))
    assert (apart[np.arange(len(rows)), own] <= apart.min(axis=1) + cells.margin).all()
    np.testing.assert_allclose(cells.away, np.sqrt(apart[cells.order, own[cells.order]]), rtol=1e-5, atol=1e-6)
    assert lists.first(3).partition is lists.partition


def test_answers_are_those_of_one_thread_and_of_each_query_alone(points, rng):
    lists = lists_of(points)
    cells = Cells.made(points, 5, settings=SeedSearch("walk"), neighbors=lists)
    with threadpool_limits(1):
        again = Cells.made(points, 5, settings=SeedSearch("walk"), neighbors=lists)
    np.testing.assert_array_equal(cells.away, again.away)
    assert (cells.settings, cells.facts) == (again.settings, again.facts)
    entrance, queries = cells.over(points, lists), asked(points, rng)
    together = entrance.nearest(queries, 5)
    for i in range(len(queries.X)):
        alone = entrance.nearest(queries, 5, rows=np.array([i]))
        for one, all_ in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[0], all_[i])


def test_points_that_come_and_go_are_found_and_proved(points, rng):
    cells = cells_of(points, SeedSearch(n_probes=3))
    new = points.with_rows(gathered(rng, 200))
    rows = np.append(np.arange(3000), np.full(200, -1))
    more = cells.updated(new, rows)
    kept = np.sort(rng.choice(3200, 2000, replace=False))
    fewer = more.updated(new.only(kept), kept)
    for now, these in ((more, new), (fewer, new.only(kept))):
        queries = asked(these, rng)
        found = now.over(these).nearest(queries, 5)
        assert_honest(found, *exact(queries, these, 5))
        np.testing.assert_array_equal(np.sort(now.order), np.arange(len(these.X)))
    assert not fewer.outgrown()
    assert fewer.updated(new.only(kept[:100]), np.arange(100)).outgrown()
    assert replace(fewer, made_of=900).outgrown()


@given(data=st.data(), n=st.integers(2, 40), d=st.integers(1, 40), metric=st.sampled_from(METRICS))
@settings(max_examples=60, deadline=None)
def test_no_proof_is_wrong_among_ties_and_copies(data, n, d, metric):
    small = st.sampled_from([0.0, 1.0, -1.0, 0.5, 3.0, 1e-3])
    X = data.draw(hnp.arrays(np.float32, (n, d), elements=small))
    Q = data.draw(hnp.arrays(np.float32, (4, d), elements=small))
    points, queries = PointSet(X, metric), PointSet(Q, metric)
    k = data.draw(st.integers(1, n - 1))
    given_ = SeedSearch(n_cells=data.draw(st.integers(1, n)), n_probes=data.draw(st.integers(1, n)))
    cells = cells_of(points, given_, k=k)
    entrance = cells.over(points)
    found = entrance.nearest(queries, k)
    assert_honest(found, *exact(queries, points, k))
    rows = np.arange(n)
    assert_honest(entrance.nearest(points, k), *exact(points, points, k, rows))


def test_cells_are_saved_and_damage_is_refused(points, tmp_path):
    cells = cells_of(points, SeedSearch(n_probes=2))
    arrays, parameters = described_cells(cells)
    stored = load_arrays(save_arrays(tmp_path / "cells", kind="test", arrays=arrays, parameters=parameters))
    again = stored_cells(stored, cells.settings, points)
    assert str(again) == str(cells)
    for name in ("centres", "order", "starts", "away", "centre", "radii"):
        np.testing.assert_array_equal(getattr(again, name), getattr(cells, name))
    twice = np.array(cells.order)
    twice[0] = twice[1]
    broken = [("cell_order", twice), ("cell_away", -cells.away), ("cell_starts", cells.starts[:-1])]
    for name, value in [*broken, ("cell_centres", cells.centres.astype(np.float64))]:
        path = save_arrays(tmp_path / name, kind="test", arrays={**arrays, name: value}, parameters=parameters)
        with pytest.raises(ValueError, match="cells"):
            stored_cells(load_arrays(path), cells.settings, points)


def test_what_is_not_served_is_refused_by_name(rng):
    X = gathered(rng, 200)
    with pytest.raises(ValueError, match="needs a distance"):
        Cells.made(PointSet(X, "inner_product"), 5, settings=SeedSearch())
    with pytest.raises(ValueError, match="ascontiguousarray"):
        Cells.made(PointSet(X[:, ::2], "cosine"), 5, settings=SeedSearch())
    with pytest.raises(ValueError, match="lists of neighbours"):
        Cells.made(PointSet(X, "euclidean"), 5, settings=SeedSearch("walk"))
    for wrong in ({"way": "exact"}, {"recall": 0}, {"n_probes": 0}, {"breadth": 4}):
        with pytest.raises(ValueError, match=r"must|choose"):
            SeedSearch(**wrong)
    with pytest.raises(ValueError, match="seed_search must be"):
        choose_seed_search("hnsw", None)
    points = PointSet(X, "euclidean")
    with pytest.raises(ValueError, match="overflow"):
        Cells.made(points, 5, settings=SeedSearch()).over(points).nearest(PointSet(X * 1e20, "euclidean"), 5)


def test_edges_lead_to_points_that_no_list_names(rng):
    X = rng.normal(size=(3000, 6)).astype(np.float32)
    points = PointSet(X, "euclidean")
    lists = find_neighbors(points, 2, metric="euclidean")
    starts = sparse.csr_array(
        (np.ones(6000), (lists.indices.ravel(), np.repeat(np.arange(3000), 2))), shape=(3000, 3000)
    )
    settings = SeedSearch("walk", n_probes=1, breadth=16)
    cells = cells_of(points, settings, lists)
    ids, similarities = exact(points, points, 5, np.arange(3000))
    shares = []
    for edges in (None, starts):
        found = cells.over(points, lists, edges).nearest(points, 5)
        assert_honest(found, ids, similarities)
        shares.append((found.similarities >= similarities[:, -1:]).mean())
    assert shares[1] > shares[0] + 0.02
    alone = cells.over(points, None, starts).nearest(points, 5)
    assert_honest(alone, ids, similarities)


def test_edges_that_lead_out_of_a_damaged_graph_are_not_followed(rng):
    points = PointSet(gathered(rng, 400), "euclidean")
    edges = sparse.csr_array((400, 400))
    edges.indptr = rng.integers(-(2**30), 2**30, 401).astype(np.int32)
    edges.indices = rng.integers(-(2**30), 2**30, 900).astype(np.int32)
    cells = cells_of(points, SeedSearch(n_probes=2))
    found = cells.over(points, None, edges).nearest(points, 5, n_probes=1, breadth=32)
    assert_honest(found, *exact(points, points, 5, np.arange(400)))


def test_what_is_certain_of_few_is_less_than_what_was_found():
    assert certain(np.ones(10)) < certain(np.ones(1000)) < 1
    shares = np.random.default_rng(0).binomial(5, 0.97, (4000, 512)) / 5
    below = np.mean([certain(some) > 0.97 for some in shares])
    assert 0.01 < below < 0.1  # of ten samples one at most says more than is true


def test_few_probes_that_find_little_are_warned_of(rng):
    points = PointSet(rng.normal(size=(2000, 30)).astype(np.float32), "euclidean")
    with pytest.warns(ManifoldWarning, match="of the 5 nearest items of a query are found: raise n_probes=1"):
        Cells.made(points, 5, settings=SeedSearch(n_probes=1))


def test_auto_is_exact_where_that_is_quick_and_where_only_that_serves(monkeypatch, rng):
    monkeypatch.setattr(seed_search, "_FEW", 100)
    X = gathered(rng, 50)
    assert choose_seed_search("auto", PointSet(X, "cosine"))[0] == SeedSearch("walk")
    assert choose_seed_search("walk", PointSet(X, "cosine")) == (SeedSearch("walk"), "as named")
    for given_ in (None, PointSet(X, "inner_product"), PointSet(X[:, ::2], "cosine"), PointSet(X[:5], "cosine")):
        assert choose_seed_search("auto", given_)[0] is None


@pytest.mark.parametrize("metric", [*METRICS, "inner_product"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_rows_that_are_listed_are_compared_to_the_same_bits_in_machine_code(metric, dtype, monkeypatch, rng):
    X = (gathered(rng, 300) if dtype != "int8" else rng.integers(-9, 9, (300, 12))).astype(dtype)
    points, queries = PointSet(X, metric), PointSet(X[:40].astype(np.float32) + np.float32(0.01), metric)
    rows, own = rng.integers(-1, 300, (40, 7)), rng.integers(0, 300, 40)
    plain = [listed.similarities_to(queries, points, rows), listed.similarities_to(points, points, rows, own=own)]
    monkeypatch.setattr(listed, "_MANY", 0)
    compiled = [listed.similarities_to(queries, points, rows), listed.similarities_to(points, points, rows, own=own)]
    assert [part.tobytes() for part in compiled] == [part.tobytes() for part in plain]
    assert np.isneginf(plain[0][rows < 0]).all()
