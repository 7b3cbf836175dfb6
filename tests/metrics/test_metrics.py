"""Metrics against hand values, a literal transcription, and trec_eval."""

import math
import uuid

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, normalized_mutual_info_score

import manifold as mf
from manifold import datasets, metrics
from manifold.metrics._figures import FIGURES


@pytest.mark.parametrize(
    ("ranks", "n_relevant", "trapezoid", "step"),
    [
        ([0, 3, 4, 5], 4, 0.65, (1 + 2 / 4 + 3 / 5 + 4 / 6) / 4),
        ([0, 1], 2, 1.0, 1.0),
        ([1], 1, 0.25, 0.5),
        ([2, 4], 3, 0.163888888888889, (1 / 3 + 2 / 5) / 3),
        ([9], 1, 0.05, 0.1),
        ([], 3, 0.0, 0.0),
    ],
)
def test_average_precision_hand_values(ranks, n_relevant, trapezoid, step):
    by_trapezoids = metrics.average_precision(ranks, n_relevant, interpolation="trapezoid")
    assert by_trapezoids == pytest.approx(trapezoid, abs=1e-12)
    assert metrics.average_precision(ranks, n_relevant) == pytest.approx(step, abs=1e-12)
    assert metrics.average_precision(ranks, n_relevant, interpolation="step") == pytest.approx(step, abs=1e-12)


def test_precision_denominator_shrinks_to_the_last_relevant_item():
    ranking, relevant = [[7, 1, 2, 8, 3, 4, 5, 6, 9, 10, 11]], [[7, 8]]
    values = [metrics.mean_precision_at_k(ranking, relevant, k=k) for k in (1, 5, 10)]
    assert values == [1.0, 0.5, 0.5]
    assert metrics.mean_precision_at_k([[1, 2]], [[7]], k=5) == 0.0


def test_hubness_and_mutual_information_hand_values():
    assert metrics.hubness([0, 0, 1, 1, 2, 6]) == pytest.approx(1.3746, abs=5e-5)
    assert metrics.hubness([3, 3, 3]) == 0.0
    lists = [[5, 4], [5, 4], [5, 2], [5, 3], [5, -1], [5, -1]]
    assert metrics.k_occurrences(lists, 6).tolist() == [0, 0, 1, 1, 2, 6]
    a, b = [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2]
    assert metrics.normalized_mutual_information(a, b) == pytest.approx(0.5158, abs=5e-5)
    assert metrics.normalized_mutual_information(a, b, average="geometric") == pytest.approx(0.5295, abs=5e-5)
    assert metrics.normalized_mutual_information(a, ["x", "x", "x", "y", "y", "y"]) == pytest.approx(1.0)


def test_hit_rate_is_not_recall():
    ranking, relevant = [[1, 2, 3], [4, 5, 6]], [[2, 3, 9, 10], [7]]
    assert [metrics.hit_rate_at_k(ranking, relevant, k=k) for k in (1, 2)] == [0.0, 0.5]
    assert metrics.recall_at_k(ranking, relevant, k=2) == 0.125


def test_bulls_eye_counts_the_query_itself():
    assert metrics.bulls_eye([[1, 7, 8, 9]], [[7, 8, 9]], m=4) == 0.75
    assert metrics.bulls_eye([[1, 7, 8, 9]], [[7, 8, 9]], m=1) == 0.25


def test_overlap_ignores_order_and_pads():
    assert metrics.overlap_at_k([[1, 2, 3]], [[3, 1, 2]]) == 1.0
    assert metrics.overlap_at_k([[1, 2, 3]], [[3, 1, 2]], k=1) == 0.0
    assert metrics.overlap_at_k([[1, 2, -1, -1], [5, 6, 7, 8]], [[1, 9, 8, -1], [5, 6, 1, 2]]) == pytest.approx(
        (1 / 3 + 1 / 2) / 2
    )


def literal_average_precision(row, relevant, junk):
    """Walk down the list one item at a time, as the Oxford program does."""
    area, old_recall, old_precision, found, seen = 0.0, 0.0, 1.0, 0, 0
    for item in row:
        if item in junk or item < 0:
            continue
        found += item in relevant
        seen += 1
        recall, precision = found / len(relevant), found / seen
        area += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision = recall, precision
    return area


@st.composite
def judged_rankings(draw):
    n = draw(st.integers(2, 25))
    order = draw(st.permutations(range(n)))
    kinds = draw(st.lists(st.sampled_from("rjn"), min_size=n, max_size=n))
    relevant = [i for i in range(n) if kinds[i] == "r"]
    junk = [i for i in range(n) if kinds[i] == "j"]
    return order, relevant or [n], junk


@given(judged_rankings(), st.integers(0, 5))
def test_matches_the_literal_transcription(case, n_pads):
    order, relevant, junk = case
    row = [*order, *[-1] * n_pads]
    value = metrics.mean_average_precision([row], [relevant], junk=[junk], interpolation="trapezoid")
    assert value == pytest.approx(literal_average_precision(order, relevant, junk), abs=1e-12)


@given(judged_rankings(), st.randoms(use_true_random=False))
def test_junk_moved_anywhere_changes_nothing(case, random):
    order, relevant, junk = case
    moved = [i for i in order if i not in junk]
    for item in junk:
        moved.insert(random.randint(0, len(moved)), item)
    shuffled = random.sample(relevant, len(relevant))
    for metric in (
        metrics.mean_average_precision,
        metrics.mean_precision_at_k,
        metrics.recall_at_k,
        metrics.ndcg_at_k,
    ):
        before = metric([order], [relevant], junk=[junk])
        assert metric([moved], [set(shuffled)], junk=[tuple(junk)]) == before
        names = np.array([[f"id{i}" for i in moved]])
        as_text = metric(names, [[f"id{i}" for i in relevant]], junk=[[f"id{i}" for i in junk]])
        assert as_text == before


@given(st.integers(1, 8), st.integers(0, 20), st.sampled_from(["trapezoid", "step"]))
def test_all_relevant_first_is_perfect(n_relevant, n_others, interpolation):
    ranking, relevant = [list(range(n_relevant + n_others))], [range(n_relevant)]
    assert metrics.mean_average_precision(ranking, relevant, interpolation=interpolation) == pytest.approx(1)
    assert metrics.ndcg_at_k(ranking, relevant, k=5) == pytest.approx(1)
    assert metrics.mean_precision_at_k(ranking, relevant, k=5) == 1


@given(st.permutations(range(6)))
def test_order_of_queries_does_not_matter(order):
    rng = np.random.default_rng(7)
    ranking = np.array([rng.permutation(12) for _ in range(6)])
    relevant = [rng.choice(12, size=q, replace=False) for q in range(6)]  # the first has none
    values = metrics.average_precisions(ranking, relevant)
    again = metrics.average_precisions(ranking[list(order)], [relevant[q] for q in order])
    np.testing.assert_array_equal(again, values[list(order)])
    assert metrics.mean_average_precision(ranking, relevant) == pytest.approx(np.mean(values[1:]), abs=1e-15)
    assert math.isnan(values[0])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_agrees_with_trec_eval(seed):
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="needs pytrec-eval-terrier")
    rng = np.random.default_rng(seed)
    ranking = np.array([rng.permutation(60)[:40] for _ in range(4)])
    gains = [
        {int(i): int(g) for i, g in zip(rng.permutation(60)[:9], rng.integers(-1, 5, 9), strict=True)} for _ in range(4)
    ]
    for of in gains:
        of[next(iter(of))] = 3  # trec_eval counts a query without relevant items as 0, we leave it out
    qrel = {f"q{q}": {f"d{i}": g for i, g in gains[q].items()} for q in range(4)}
    run = {f"q{q}": {f"d{i}": float(-rank) for rank, i in enumerate(ranking[q])} for q in range(4)}
    official = pytrec_eval.RelevanceEvaluator(qrel, {"map", "ndcg_cut.5,10", "recall.5,10", "recip_rank"}).evaluate(run)
    for q in range(4):
        one, wanted, expected = ranking[q : q + 1], gains[q : q + 1], official[f"q{q}"]
        ours = {"map": metrics.mean_average_precision(one, wanted)}
        ours["recip_rank"] = metrics.reciprocal_rank(one, wanted)
        for k in (5, 10):
            ours[f"ndcg_cut_{k}"] = metrics.ndcg_at_k(one, wanted, k=k)
            ours[f"recall_{k}"] = metrics.recall_at_k(one, wanted, k=k)
        assert ours == pytest.approx(expected, abs=1e-9)


def test_evaluate_agrees_with_each_figure_alone():
    rng = np.random.default_rng(11)
    ranking = np.array([rng.permutation(30) for _ in range(6)])
    gains = [
        {int(i): int(g) for i, g in zip(rng.permutation(30)[:q], rng.integers(1, 4, q), strict=True)} for q in range(6)
    ]
    junk = [[i for i in rng.permutation(30)[:5] if i not in some] for some in gains]
    truth = datasets.GroundTruth("six", {"relevant": gains, "junk": junk}, interpolation="step")
    alone = {
        "mAP": metrics.mean_average_precision(ranking, gains, junk=junk, interpolation="step"),
        "mP@5": metrics.mean_precision_at_k(ranking, gains, junk=junk, k=5),
        "recall@7": metrics.recall_at_k(ranking, gains, junk=junk, k=7),
        "hit@3": metrics.hit_rate_at_k(ranking, gains, junk=junk, k=3),
        "nDCG@10": metrics.ndcg_at_k(ranking, gains, junk=junk, k=10),
        "binary nDCG@10": metrics.ndcg_at_k(ranking, [list(some) for some in gains], junk=junk, k=10),
        "1-NN error": 1 - metrics.hit_rate_at_k(ranking, gains, junk=junk, k=1),
        "MRR": metrics.reciprocal_rank(ranking, gains, junk=junk),
        "MRR@2": metrics.reciprocal_rank(ranking, gains, junk=junk, k=2),
    }
    assert metrics.evaluate(ranking, truth, figures=list(alone))["all"] == pytest.approx(alone, abs=1e-15)
    by_query = metrics.evaluate_queries(ranking, truth, figures=["mAP", "hit@3"])["all"]
    assert {name: values.shape for name, values in by_query.items()} == {"mAP": (6,), "hit@3": (6,)}
    assert math.isnan(by_query["hit@3"][0])  # it has nothing to find
    tail = metrics.evaluate(ranking[3:], truth.take([3, 4, 5]), figures=["mAP"])["all"]["mAP"]
    assert tail == pytest.approx(by_query["mAP"][3:].mean(), abs=1e-15)


def test_every_row_of_the_table_is_a_figure_of_the_docstring_and_of_the_error():
    truth = datasets.GroundTruth("one", {"relevant": [{1: 2, 3: 1}]})
    for name in FIGURES:
        asked = name.replace("@k", "@2")
        found = metrics.evaluate([[1, 2, 3]], truth, figures=[asked])["all"]
        assert 0 <= found[asked] <= 1, name
        assert name in metrics.evaluate.__doc__
        with pytest.raises(ValueError, match=name):
            metrics.evaluate([[1]], truth, figures=["unknown"])
        cut = metrics.list_depth([asked])
        assert cut in (None, 1, 2)
        if cut:  # no deeper than it says
            head, rest = [2, 3, 1][:cut], [2, 3, 1][cut:]
            one, other = (metrics.evaluate([head + tail], truth, figures=[asked]) for tail in (rest, [-1] * len(rest)))
            assert one == other, name
    assert metrics.evaluate([[1]], truth, figures="MRR") == {"all": {"MRR": 1.0}}  # a text is one name


@pytest.mark.parametrize("figure", ["AP", "mP", "recall@", "recall@-1", "hit@ten", "hit@0", "hit@²"])
def test_evaluate_refuses_what_is_no_figure(figure):
    truth = datasets.GroundTruth("one", {"relevant": [[1]]})
    with pytest.raises(ValueError, match=r"figures holds|below 1"):
        metrics.evaluate([[1, 2]], truth, figures=[figure])


@pytest.mark.parametrize(
    ("ranking", "relevant", "junk", "error", "message"),
    [
        ([1, 2], [[1]], None, TypeError, r"\(q, m\) integer or string ids"),
        ([[1.0, 2.0]], [[1]], None, TypeError, "float64"),
        ([[1, 2]], [["a"]], None, TypeError, "same kind"),
        ([[1, 2]], [[1], [2]], None, ValueError, "2 collections for 1 queries"),
        ([[1, 2]], [[1]], [[1]], ValueError, "both in relevant and in junk"),
        ([[1, 1]], [[1]], None, ValueError, "repeats a relevant id"),
    ],
)
def test_bad_input_is_named(ranking, relevant, junk, error, message):
    with pytest.raises(error, match=message):
        metrics.mean_average_precision(ranking, relevant, junk=junk)


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="interpolation='linear'"):
        metrics.average_precision([0], 1, interpolation="linear")
    with pytest.raises(ValueError, match="distinct ranks"):
        metrics.average_precision([0, 0], 2)
    with pytest.raises(ValueError, match="k=0"):
        metrics.recall_at_k([[1]], [[1]], k=0)
    with pytest.raises(ValueError, match="gain"):
        metrics.ndcg_at_k([[1]], [{1: np.inf}])
    with pytest.raises(TypeError, match="gain"):
        metrics.ndcg_at_k([[1]], [{1: "high"}])
    with pytest.raises(ValueError, match="n_items=2"):
        metrics.k_occurrences([[2]], 2)
    with pytest.raises(ValueError, match="same queries"):
        metrics.overlap_at_k([[1]], [[1], [2]])


def test_a_mean_over_no_query_is_nan():
    assert math.isnan(metrics.mean_average_precision([[1, 2]], [[]]))
    assert math.isnan(metrics.ndcg_at_k([[1, 2]], [[]]))


class TestJudgements:
    """What people hand in as relevant: gains, texts, numbers of every kind, frames of pandas."""

    def test_gains_of_0_and_less_are_not_relevant(self):
        for least in (0, -1, -2.5):
            judged = [{"a": least, "b": 1}]
            assert metrics.mean_average_precision([["a", "b"]], judged) == 0.5
            assert metrics.recall_at_k([["a", "b"]], judged, k=1) == 0
            assert metrics.reciprocal_rank([["a", "b"]], judged) == 0.5
            assert metrics.ndcg_at_k([["a", "b"]], judged) == pytest.approx(1 / math.log2(3), abs=1e-15)
            assert math.isnan(metrics.hit_rate_at_k([["a", "b"]], [{"a": least}]))

    def test_a_text_or_a_number_is_one_id(self):
        assert metrics.mean_average_precision([["doc1"], ["doc2"]], ["doc1", "doc2"]) == 1
        assert metrics.mean_average_precision([["doc1"], ["doc2"]], ["doc2", "doc1"]) == 0
        assert metrics.hit_rate_at_k([[3], [4]], [3, 5]) == 0.5
        assert metrics.hit_rate_at_k([[3], [4]], np.array([3, 4])) == 1
        assert metrics.recall_at_k([["b", "ab"]], [["ab"]], junk=["b"], k=1) == 1

    def test_series_are_read_by_place(self):
        relevant = pd.Series([[1], [3]], index=[7, 3])
        assert metrics.mean_average_precision([[1], [3]], relevant) == 1
        assert metrics.mean_average_precision([[3], [1]], relevant[::-1]) == 1
        assert metrics.recall_at_k([[1], [3]], [pd.Series([1, 5], index=[9, 8]), pd.Series([3])], k=1) == 0.75
        texts = pd.Series(["a", "b"], index=[1, 0])
        assert metrics.hit_rate_at_k(pd.DataFrame([["a"], ["b"]], index=[1, 0]), texts) == 1

    @pytest.mark.parametrize("value", ["doc1", {"doc1": 1}, {0: ["doc1"]}, 3, iter([[1]])])
    def test_what_is_not_one_collection_a_query_is_refused(self, value):
        with pytest.raises(TypeError, match=r"relevant is a .* one collection of ids a query"):
            metrics.mean_average_precision([["doc1"]], value)

    def test_step_is_the_default_and_agrees_with_scikit_learn(self):
        rng = np.random.default_rng(17)
        for _ in range(20):
            order = rng.permutation(30)
            right = rng.random(30) < 0.3
            right[3] = True
            expected = average_precision_score(right[order], -np.arange(30.0))
            found = metrics.mean_average_precision([order], [np.flatnonzero(right)])
            assert found == pytest.approx(expected, abs=1e-12)

    def test_reciprocal_rank_by_hand(self):
        ranking, relevant = [[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[2, 3], [9], []]
        assert metrics.reciprocal_rank(ranking, relevant) == 0.25  # 1/2 and 0; the third has nothing to find
        assert metrics.reciprocal_rank(ranking, relevant, junk=[[1], [], []]) == 0.5
        assert metrics.reciprocal_rank(ranking, relevant, k=1) == 0
        with pytest.raises(ValueError, match="k=0"):
            metrics.reciprocal_rank(ranking, relevant, k=0)


NAMES = {
    "negative": (-5 - np.arange(20)).tolist(),
    "int8": np.arange(-120, -100, dtype=np.int8),
    "uint64": (2**64 - 25 + np.arange(20, dtype=np.uint64)),
    "python's": [2**70 + i for i in range(20)],
    "around 2**53": [2**53 + i for i in range(20)],
    "mixed signs": [-5, *(2**63 + i for i in range(19))],
    "texts": [f"d{i}" for i in range(20)],
    "StringDType": np.array([f"d{i}" for i in range(20)], dtype=np.dtypes.StringDType(na_object=np.nan)),
    "objects": np.array([f"d{i}" for i in range(20)], dtype=object),
    "pandas": pd.Series([f"d{i}" for i in range(20)], index=np.arange(20)[::-1]),
    "UUID": [uuid.UUID(int=5 * i) for i in range(20)],
}


class TestIds:
    """Ids of every kind give the figures that row numbers give."""

    @pytest.mark.parametrize("kind", NAMES)
    def test_names_of_every_kind_are_the_same_items(self, kind):
        rng = np.random.default_rng(23)
        names = list(NAMES[kind])
        ranking = np.array([rng.permutation(20)[:15] for _ in range(5)])
        gains = [dict(zip(rng.permutation(20)[:8].tolist(), range(-1, 7), strict=True)) for _ in ranking]
        junk = [[i for i in range(20) if i not in some][:3] for some in gains]
        rename = lambda ids: [names[i] for i in ids]  # noqa: E731
        rows = NAMES[kind][ranking] if isinstance(NAMES[kind], np.ndarray) else [rename(row) for row in ranking]
        graded = [dict(zip(rename(some), some.values(), strict=True)) for some in gains]
        skipped = [rename(some) for some in junk]
        for metric in (metrics.mean_average_precision, metrics.ndcg_at_k, metrics.recall_at_k, metrics.reciprocal_rank):
            assert metric(rows, graded, junk=skipped) == metric(ranking, gains, junk=junk), metric.__name__
        assert metrics.overlap_at_k(rows, rows) == 1
        with pytest.raises(TypeError, match="same kind"):
            metrics.hit_rate_at_k(rows, [[3] if isinstance(names[0], str | uuid.UUID) else ["d3"]] * 5)

    def test_a_search_with_negative_ids_finds_itself(self):
        X = np.random.default_rng(0).standard_normal((20, 4))
        search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=4, n_seeds=1).fit(X, ids=-5 - np.arange(20))
        assert metrics.hit_rate_at_k(search.search(X, k=1).ids, [[i] for i in -5 - np.arange(20)]) == 1

    def test_minus_one_pads_unless_it_is_the_name_of_an_item_that_is_judged(self):
        row = [[7, -1, 8, -3]]
        assert metrics.mean_average_precision(row, [[8]]) == 0.5  # -1 is no item, -3 is one
        assert metrics.mean_average_precision(row, [[-3]]) == pytest.approx(1 / 3)
        assert metrics.mean_average_precision(row, [[-1, -3]]) == 0.5
        assert metrics.recall_at_k(row, [[8]], junk=[[-1]], k=2) == 1
        assert metrics.mean_average_precision([["", "a", None]], [["a"]]) == 1

    @pytest.mark.parametrize(
        ("ranking", "message"),
        [
            ([[1, "a"]], "ids, or UUIDs"),
            ([[True, False]], "bool"),
            ([[b"a"]], "S1"),
            ([[(1, 2)]], r"shape \(1, 1, 2\)"),
            ([["a"], ["b", "c"]], "rows of different lengths: pad the short ones"),
            (np.array([["2020-01-01"]], dtype="M8[D]"), "datetime64"),
        ],
    )
    def test_what_is_no_id_is_refused_by_name(self, ranking, message):
        with pytest.raises(TypeError, match="ranking .*" + message):
            metrics.recall_at_k(ranking, [[1]] * len(ranking))


class TestMutualInformation:
    @pytest.mark.parametrize("average", ["arithmetic", "geometric"])
    @pytest.mark.parametrize("n", [1, 3, 7, 49])  # 49 times 1/49 is not 1
    def test_constant_labellings_by_definition(self, average, n):
        constant, other = [0] * n, ["x"] * n
        assert metrics.normalized_mutual_information(constant, other, average=average) == 1
        if n > 1:
            for pair in ((constant, range(n)), (range(n), constant)):
                assert metrics.normalized_mutual_information(*map(list, pair), average=average) == 0

    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
    def test_agrees_with_scikit_learn(self, pairs):
        a, b = zip(*pairs, strict=True)
        for average in ("arithmetic", "geometric"):
            value = metrics.normalized_mutual_information(a, b, average=average)
            assert isinstance(value, float)
            assert 0 <= value <= 1
            expected = normalized_mutual_info_score(a, b, average_method=average)
            assert value == pytest.approx(expected, abs=1e-9)

    def test_labels_of_two_kinds_are_named(self):
        with pytest.raises(TypeError, match="b holds labels of several kinds"):
            metrics.normalized_mutual_information([1, 2], ["a", None])


def test_a_run_is_judged_by_the_names_of_its_queries():
    """Lists by place would be judged by what other queries should find."""
    truth = datasets.GroundTruth("two", {"relevant": [["b"], ["c"]]}, queries=("q1", "q2"))
    run = datasets.trec.Run(("q2", "q1"), np.array([["c", "b"], ["a", "b"]]), np.array([[2.0, 1.0], [2.0, 1.0]]))
    assert metrics.evaluate_queries(run, truth, figures=["mAP"])["all"]["mAP"].tolist() == [0.5, 1.0]
    assert metrics.evaluate(run, truth, figures=["hit@1"]) == {"all": {"hit@1": 0.5}}
    unnamed = datasets.GroundTruth("two", {"relevant": [["b"], ["c"]]})
    assert metrics.evaluate_queries(run, unnamed, figures=["mAP"])["all"]["mAP"].tolist() == [0.5, 0.0]
    other = datasets.trec.Run(("q1", "q3"), run.ids, run.scores)
    with pytest.raises(ValueError, match=r"the run lacks 1 of the queries, first 'q2': evaluate those that both have"):
        metrics.evaluate(other, truth)
    more = datasets.trec.Run(("q1", "q2", "q3"), np.array([["a"], ["b"], ["c"]]), np.ones((3, 1)))
    with pytest.raises(ValueError, match=r"the run has, and the truth does not, 1 of the queries, first 'q3'"):
        metrics.evaluate(more, truth)
