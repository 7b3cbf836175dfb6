"""Comparisons: intervals against SciPy's bootstrap and their own meaning, advice for worlds whose answer is known."""

from __future__ import annotations

import csv
import io

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap

from manifold import ManifoldSearch, datasets, metrics
from manifold.evaluation import Comparison, Outcome, compare, standard
from manifold.reranking.fusion import fuse_rankings


def made(figures: dict[str, dict[str, np.ndarray]], **options) -> Comparison:
    """Return a comparison of searches, figures (q,) by search and name."""
    return Comparison({name: Outcome.of({"all": of}) for name, of in figures.items()}, **options)


def world(shift: float, *, q: int = 120, seed: int = 71) -> Comparison:
    """A search that changes each query by shift and a noise of .2."""
    rng = np.random.default_rng(seed)
    plain = rng.uniform(size=q)
    other = plain + shift + 0.2 * rng.normal(size=q)
    return made({"neighbours": {"mAP": plain, "MRR": plain}, "other": {"mAP": other, "MRR": plain - 0.1}})


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_intervals_are_those_of_scipy(confidence):
    rng = np.random.default_rng(5)
    plain = rng.uniform(size=60)
    other = plain + rng.exponential(0.2, size=60) - 0.1  # skewed: the interval is not symmetric
    found = made({"neighbours": {"mAP": plain}, "other": {"mAP": other}}, confidence=confidence, n_resamples=20_000)
    expected = bootstrap(
        (other - plain,), np.mean, n_resamples=20_000, method="percentile", confidence_level=confidence, rng=3
    ).confidence_interval
    gain = found.gain("other")
    assert gain.mean == pytest.approx((other - plain).mean(), abs=1e-12)
    assert (gain.low, gain.high) == pytest.approx(tuple(expected), abs=2e-3)
    assert gain.n_queries == 60


def test_an_interval_holds_the_truth_as_often_as_it_says():
    """400 worlds of a known mean: the share is within three standard errors of 95 %."""
    held = 0
    for seed in range(400):
        gain = world(0.05, q=50, seed=seed).gain("other")
        held += gain.low <= 0.05 <= gain.high
    assert abs(held / 400 - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 400)


def test_gains_are_paired_and_opposite():
    """What all queries share cancels; over another search the interval turns round, over itself it is nothing."""
    rng = np.random.default_rng(9)
    plain = rng.uniform(size=80) * 100
    found = made({"neighbours": {"mAP": plain}, "one more": {"mAP": plain + 1}})
    gain, back = found.gain("one more"), found.gain("neighbours", over="one more")
    assert (gain.mean, gain.low, gain.high) == pytest.approx((1, 1, 1), abs=1e-9)
    assert (back.low, back.high) == pytest.approx((-gain.high, -gain.low))
    assert found.gain("neighbours").verdict == "undecided"


def test_queries_without_a_figure_count_for_nothing():
    rng = np.random.default_rng(13)
    plain, other = rng.uniform(size=(2, 40))
    some = np.r_[plain, np.full(500, np.nan)], np.r_[other, np.full(500, np.nan)]
    whole = made({"neighbours": {"mAP": plain}, "other": {"mAP": other}})
    padded = made({"neighbours": {"mAP": some[0]}, "other": {"mAP": some[1]}})
    assert padded.gain("other") == whole.gain("other")
    nothing = made({"neighbours": {"mAP": some[0][40:]}, "other": {"mAP": some[1][40:]}}).gain("other")
    assert np.isnan(nothing.mean)
    assert nothing.n_queries == 0


@pytest.mark.parametrize(
    ("shift", "begins", "holds"),
    [
        (0.3, "Use ManifoldSearch(): mAP", "it costs MRR by -0.100"),
        (0.0, "Leave the lists as they are: nothing is certain to gain in mAP", "120 queries"),
        (-0.3, "Leave the lists as they are: nothing gains in mAP", "the best, other, changes it by -0.3"),
    ],
)
def test_advice_goes_by_the_interval(shift, begins, holds):
    found = world(shift)
    found.how["other"] = "ManifoldSearch()"
    assert found.advice().startswith(begins)
    assert holds in found.advice()
    assert found.advice() in repr(found)


def test_advice_prefers_the_first_of_equals_and_not_the_first_of_all():
    rng = np.random.default_rng(3)
    plain, noise = rng.uniform(size=300), 0.05 * rng.normal(size=300)
    rows = {"neighbours": plain, "a little": plain + 0.05, "much": plain + 0.2, "as much": plain + 0.2 + noise}
    found = made({name: {"mAP": of} for name, of in rows.items()})
    assert found.advice().startswith("Use much")
    assert found.advice(among=["as much", "a little"]).startswith("Use as much")


def test_leaving_the_lists_says_what_the_tail_would_gain():
    plain = np.random.default_rng(3).uniform(size=100)
    rows = {"neighbours": {"MRR": plain, "recall@100": plain}, "other": {"MRR": plain, "recall@100": plain + 0.25}}
    assert made(rows).advice().endswith("100 queries), and recall@100 by +0.250.")


def test_an_error_gains_by_falling():
    plain = np.linspace(0.2, 0.8, 50)
    found = made({"neighbours": {"1-NN error": plain}, "other": {"1-NN error": plain - 0.125}})
    assert found.gain("other").mean == pytest.approx(0.125)
    assert found.advice().startswith("Use other: 1-NN error 0.375 against 0.500")


def test_settings_have_intervals_of_their_own():
    plain, hard = np.zeros(30), np.random.default_rng(1).uniform(size=30)
    values = {"easy": {"mAP": plain}, "hard": {"mAP": plain}}, {"easy": {"mAP": plain}, "hard": {"mAP": hard}}
    found = Comparison({"neighbours": Outcome.of(values[0]), "other": Outcome.of(values[1])})
    assert found.gain("other").verdict == "undecided"
    assert found.gain("other", setting="hard").verdict == "gains"
    assert "mAP (hard)" in found.advice(setting="hard")
    assert "mAP (easy)" in found.advice()


def test_the_table_of_queries_has_the_figures_it_was_averaged_from():
    X, y = (rows[:200] for rows in datasets.digits())
    truth = datasets.ground_truth("labels", (y[40:], y[:40]))
    found = compare(X[40:], truth, {"default": {}}, queries=X[:40], figures=["mAP", "MRR"])
    table = pd.DataFrame(found.per_query())
    assert table["query"].tolist() == list(range(40))
    for name, outcome in found.items():
        for figure, mean in outcome.figures["all"].items():
            assert table[f"{name} {figure}"].mean() == pytest.approx(mean, abs=1e-12)
    text = io.StringIO()
    table.to_csv(text, index=False)
    rows = list(csv.DictReader(io.StringIO(text.getvalue())))
    assert float(rows[7]["default MRR"]) == found["default"].queries["all"]["MRR"][7]


def test_the_standard_rows_and_their_fusion():
    """Fused lists are those of two searches put together by hand, whatever other figures are asked."""
    X, y = (rows[:300] for rows in datasets.digits())
    truth = datasets.ground_truth("labels", (y[60:], y[:60]))
    found = compare(X[60:], truth, queries=X[:60])
    assert list(found) == ["neighbours", *standard()]
    lists = []
    for settings in ({"alpha": 0.5}, {"alpha": 0.99}):
        search = ManifoldSearch(**settings).fit(X[60:])
        ids = search.search(X[:60], k=240).ids
        lists.append((ids, np.broadcast_to(-np.arange(240.0), ids.shape)))
    by_hand, _ = fuse_rankings(lists, rule="reciprocal_rank", k=240)
    searches = {"near": {"alpha": 0.5}, "far": {"alpha": 0.99}, "both": ("near", "far")}
    for figures in (["mAP", "hit@1"], ["hit@1", "MRR@5"]):
        both = compare(X[60:], truth, searches, queries=X[:60], figures=figures)["both"]
        assert both.figures == metrics.evaluate(by_hand, truth, figures=figures)


def test_fused_lists_of_items_that_ask_leave_the_item_out():
    X, y = (rows[:120] for rows in datasets.digits())
    truth = datasets.ground_truth("labels", y)
    found = compare(X, truth, {"default": {}, "fused": ("neighbours", "default")}, figures=["mAP", "hit@1"])
    alone = compare(X, truth, {"same": ("neighbours", "neighbours")}, figures=["mAP", "hit@1"])
    assert alone["same"] == alone["neighbours"]
    assert found["neighbours"].figures["all"]["mAP"] < found["fused"].figures["all"]["mAP"]


@pytest.mark.parametrize(
    ("searches", "message"),
    [
        ({"fused": ("neighbours", "later"), "later": {}}, r"'fused'\] fuses .* of \('neighbours',\)"),
        ({"fused": ()}, r"'fused'\] fuses \(\)"),
        ({"fused": "neighbours"}, "fuses 'neighbours': give names of rows"),
    ],
)
def test_a_fusion_of_rows_that_are_not_there_is_refused(searches, message):
    X, y = (rows[:50] for rows in datasets.digits())
    with pytest.raises(ValueError, match=message):
        compare(X, datasets.ground_truth("labels", y), searches)


@pytest.mark.parametrize(
    ("option", "message"), [({"confidence": 95}, "confidence"), ({"n_resamples": 0}, "at least 1")]
)
def test_wrong_options_are_named(option, message):
    with pytest.raises(ValueError, match=message):
        made({"neighbours": {"mAP": np.ones(3)}}, **option)
