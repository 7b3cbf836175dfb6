"""Shortlists from elsewhere: similarities or distances, ragged, with ids that have gone, one convention for all."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import pandas as pd
import pytest

import manifold as mf
from manifold import datasets

LISTS = [["c", "a"], ["e", "b", "d"], [], ["a"]]


@pytest.fixture(scope="module")
def digits():
    X = datasets.digits().features.astype(np.float64)
    return X[:300], X[300:320]


@pytest.fixture(scope="module")
def small(digits):
    return mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=3).fit(digits[0][:5], ids=list("abcde"))


def everything(ranking):
    return ranking.ids.tolist(), ranking.scores.tobytes(), ranking.slack.tobytes()


def nearest(X, Q, metric, m=40):
    """Ids, plain distances and similarities of the m nearest, as dense arithmetic has them."""
    if metric == "cosine":
        unit_x, unit_q = (Z / np.linalg.norm(Z, axis=1, keepdims=True) for Z in (X, Q))
        distances = 1 - unit_q @ unit_x.T
    else:
        distances = np.sqrt(((Q[:, None] - X) ** 2).sum(axis=2))
    ids = np.argsort(distances, axis=1, kind="stable")[:, :m]
    distances = np.take_along_axis(distances, ids, axis=1)
    return ids, distances, 1 - distances if metric == "cosine" else -(distances**2)


# ---- distances taken for similarities


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_distances_are_turned_into_the_similarities_of_the_metric(metric, digits):
    X, Q = digits
    search = mf.ManifoldSearch(preset="plain-diffusion", metric=metric).fit(X)
    ids, distances, similarities = nearest(X, Q, metric)
    given = search.rerank(ids, similarities, k=10)
    assert everything(search.rerank(ids, distances=distances, k=10)) == everything(given)
    assert everything(search.rerank(ids[0], distances=distances[0])) == everything(
        search.rerank(ids[0], similarities[0])
    )
    assert np.mean(given.ids == search.search(Q, k=10).ids) > 0.8  # so that the case can fail


@pytest.mark.parametrize(
    ("metric", "take", "match"),
    [
        (
            "euclidean",
            lambda d, s: {"similarities": d},
            r"negated squared distances, at most 0, got up .* distances=",
        ),
        ("euclidean", lambda d, s: {"distances": s}, r"distances must be at least 0, got -.* similarities="),
        (
            "cosine",
            lambda d, s: {"distances": s * 3},
            r"distances must be in \[0, 2\], as 1 - cosine.* similarities=",
        ),
        ("cosine", lambda d, s: {"similarities": 40 * d}, r"cosines, in \[-1, 1\], got .* pass distances="),
        ("cosine", lambda d, s: {"similarities": -40 * d}, r"cosines, in \[-1, 1\], got -"),
        ("inner_product", lambda d, s: {"distances": d}, "not defined for metric='inner_product': pass similarities="),
        ("cosine", lambda d, s: {}, "similarities or distances, got neither"),
        ("cosine", lambda d, s: {"similarities": s, "distances": d}, "similarities or distances, got both"),
        ("cosine", lambda d, s: {"distances": d * np.nan}, "NaN or infinity in query 0"),
    ],
)
def test_distances_taken_for_similarities_are_refused_with_the_cure(metric, take, match, digits):
    X, Q = digits
    search = mf.ManifoldSearch(preset="plain-diffusion", metric=metric).fit(X)
    ids, distances, similarities = nearest(X, Q, metric if metric != "inner_product" else "euclidean")
    with pytest.raises(ValueError, match=match):
        search.rerank(ids, **take(distances, similarities))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("m", [5, 10, 40])
def test_lists_that_are_worst_first_all_along_are_refused(metric, m, digits):
    """In thirty of thirty: what is taken for the other kind runs the wrong way, whatever the store."""
    X, Q = digits
    search = mf.ManifoldSearch(preset="plain-diffusion", metric=metric).fit(X)
    ids, distances, similarities = nearest(X, Q, metric, m)
    for j in range(0, 20, 5):
        block = slice(j, j + 5)
        small = distances[block] / (1 + distances.max())  # in the range of either
        with pytest.raises(ValueError, match=r"similarities (rise all along every list: pass distances=|must be)"):
            search.rerank(ids[block], small)
        with pytest.raises(ValueError, match=r"distances (fall all along every list: pass similarities=|must be)"):
            search.rerank(ids[block], distances=similarities[block] + (0 if metric == "cosine" else 1e4))
    turned = np.roll(np.arange(m), 1)
    search.rerank(ids[:, turned], similarities[:, turned])  # any order will do
    search.rerank(ids[0, 3::-1], similarities[0, 3::-1])  # and four in a row may be chance


def test_rounding_is_no_distance(digits):
    X, _ = digits
    near = mf.ManifoldSearch(preset="plain-diffusion").fit(X).rerank([[0, 1]], [[1.0005, 0.5]])
    assert near.ids.tolist() == [[0, 1]]
    far = mf.ManifoldSearch(preset="plain-diffusion", metric="euclidean").fit(X)
    assert far.rerank([[0, 1]], [[1e-5, -900.0]]).ids.tolist() == [[0, 1]]  # as float32 products have it


def test_similarities_of_a_graph_made_elsewhere_are_what_they_are():
    ring = np.roll(np.eye(6), 1, axis=1) + np.roll(np.eye(6), -1, axis=1)
    search = mf.ManifoldSearch(preset="plain-diffusion").fit(graph=mf.graph_from_affinity(ring))
    assert search.rerank([[3, 0]], [[17.5, 2.5]]).ids.tolist() == [[3, 0]]  # BM25, say


# ---- raw errors of others


@pytest.mark.parametrize("candidates", ["shortlist", "subgraph", "all"])
def test_lists_of_different_lengths_are_padded(candidates, small):
    similarities = [[0.9, 0.5], [0.8, 0.7, 0.6], [], [0.3]]
    ragged = small.rerank(LISTS, similarities, candidates=candidates)
    padded = small.rerank(
        [[*row, *[""] * (3 - len(row))] for row in LISTS],
        [[*row, *[0.0] * (3 - len(row))] for row in similarities],
        candidates=candidates,
    )
    assert everything(ragged) == everything(padded)
    if candidates != "all":
        assert [set(row) - {""} for row in ragged.ids.tolist()] == [set(row) for row in LISTS]
    frame = pd.DataFrame({"ids": LISTS, "similarities": similarities}, index=[3, 1, 0, 2])  # by place
    assert everything(small.rerank(frame.ids, frame.similarities, candidates=candidates)) == everything(ragged)
    arrays = [np.array(row, dtype=str) for row in LISTS], [np.array(row) for row in similarities]
    assert everything(small.rerank(*arrays, candidates=candidates)) == everything(ragged)


@pytest.mark.parametrize(
    ("ids", "similarities", "error", "match"),
    [
        ([["a", "b"], ["c"]], [[0.9], [0.8, 0.7]], ValueError, "or the length of each list where those differ"),
        ([["a", "b"], ["c"]], [[0.9, 0.8], [0.7, 0.6]], ValueError, "or the length of each list where those differ"),
        ([["a", "b"]], [["x", "y"]], TypeError, "similarities must hold real numbers"),
        ("a", 0.5, ValueError, r"share a shape \(q, m\), got \(\) and \(\)"),
        ([[["a"]]], [[[0.5]]], ValueError, r"share a shape \(q, m\), got \(1, 1, 1\)"),
        ([["a", "a"], ["b"]], [[0.9, 0.8], [0.7]], ValueError, "shortlist of query 0 names an item twice"),
        ([["a", "b"], ["c"]], [[0.9, 0.8], [np.nan]], ValueError, "NaN or infinity in query 1"),
    ],
)
def test_wrong_shortlists_are_refused_in_our_words(ids, similarities, error, match, small):
    with pytest.raises(error, match=match):
        small.rerank(ids, similarities)


def test_what_is_masked_is_missing(small):
    listed = np.ma.array(LISTS[1], mask=[False, True, False])
    values = np.ma.array([0.8, 0.7, 0.6], mask=[False, True, False])
    expected = small.rerank(["e", "d", ""], [0.8, 0.6, 0.0])
    assert everything(small.rerank(listed, values)) == everything(expected)
    assert everything(small.rerank(listed, values.data)) == everything(expected)
    with pytest.raises(ValueError, match="NaN or infinity in query 0"):
        small.rerank(LISTS[1], values)


# ---- ids that have gone


def test_stale_ids_are_refused_dropped_or_put_behind(small):
    ids, similarities = [["x", "c", "y", "a"], ["b", "x", "d", ""]], [[0.95, 0.9, 0.1, 0.5], [0.9, 0.8, 0.7, 0.0]]
    with pytest.raises(ValueError, match="3 ids are not in the collection, first 'x'"):
        small.rerank(ids, similarities)
    alone = small.rerank([["c", "a"], ["b", "d"]], [[0.9, 0.5], [0.9, 0.7]])
    dropped = small.rerank(ids, similarities, unknown="drop")
    behind = small.rerank(ids, similarities, unknown="behind")
    assert dropped.ids.tolist() == [[*alone.ids[0], "", ""], [*alone.ids[1], "", ""]]
    assert behind.ids.tolist() == [[*alone.ids[0], "x", "y"], [*alone.ids[1], "x", ""]]
    assert behind.n_unknown.tolist() == [2, 1]
    for ranking in (dropped, behind):
        assert ranking.scores.tolist() == [[*row, 0.0, 0.0] for row in alone.scores.tolist()]
        assert ranking.slack.tolist() == alone.slack.tolist()
    assert dropped.n_unknown is None
    short = small.rerank(ids, similarities, k=3, unknown="behind")
    assert short.ids.tolist() == [row[:3] for row in behind.ids.tolist()]
    assert short.n_unknown.tolist() == [1, 1]
    few = small.rerank(ids[0], similarities[0], k=1, unknown="behind")
    assert (few.ids.tolist(), few.n_unknown.tolist()) == ([alone.ids[0][0]], [0])
    assert small.rerank([["x"]], [[0.5]], unknown="behind").ids.tolist() == [["x"]]
    assert small.rerank([["x"]], [[0.5]], unknown="drop").ids.tolist() == [[""]]
    assert small.rerank([["a"]], [[0.5]], unknown="behind").n_unknown is None


@pytest.mark.parametrize(
    ("names", "stale"),
    [
        (np.arange(5, dtype=np.int8), 2**70),
        (np.arange(5, dtype=np.uint64) + np.uint64(2**63), -7),
        (list("abcde"), "a text of another length"),
        ([UUID(int=i) for i in range(5)], UUID(int=9)),
    ],
    ids=str,
)
def test_a_stale_id_of_any_kind_stands_behind_exactly(names, stale, digits):
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=3).fit(digits[0][:5], names)
    given = list(search.ids_.tolist())
    ranking = search.rerank([stale, given[3], given[1]], [0.9, 0.8, 0.7], unknown="behind")
    assert ranking.ids.tolist() == [*search.rerank([given[3], given[1]], [0.8, 0.7]).ids.tolist(), stale]


def test_unknown_is_one_of_three_and_not_for_everything(small):
    with pytest.raises(ValueError, match=r"unknown must be one of \('raise', 'drop', 'behind'\), got 'skip'"):
        small.rerank([["a"]], [[0.5]], unknown="skip")
    with pytest.raises(ValueError, match="with candidates='all', choose 'drop'"):
        small.rerank([["a"]], [[0.5]], unknown="behind", candidates="all")
    everyone = small.rerank([["x", "a"]], [[0.9, 0.5]], unknown="drop", candidates="all")
    assert everyone.ids.tolist() == small.rerank([["a"]], [[0.5]], candidates="all").ids.tolist()
