"""Searches against a ground truth: the figures of lists made one by one, whoever made them."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from manifold import ManifoldSearch, datasets, metrics
from manifold.cli import _evaluate
from manifold.evaluation import Outcome, compare

FIGURES = ("mAP", "hit@1", "nDCG@10")


@pytest.fixture(scope="module")
def digits():
    X, y = datasets.digits()
    return X[:400], y[:400]


@pytest.fixture
def asked(digits):
    """The first 40 digits ask the other 360."""
    X, y = digits
    return X[40:], X[:40], datasets.ground_truth("labels", (y[40:], y[:40]))


def by_cosine(X, Q):
    X, Q = (rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True) for rows in (X, Q))
    return np.argsort(-(Q @ X.T), axis=1, kind="stable")


class Reversed:
    """A search of another house: the rows backwards, whatever is asked."""

    def __init__(self, n):
        self.n, self.threads = n, set()

    def search(self, Q, k):
        self.threads.add(threading.get_ident())
        return SimpleNamespace(ids=np.tile(np.arange(self.n)[::-1], (len(Q), 1))[:, :k])

    def similar(self, ids, k):
        return self.search(ids, k)


def test_figures_are_those_of_the_lists(asked):
    X, Q, truth = asked
    found = compare(X, truth, {"default": {}, "wide": {"n_neighbors": 20}}, queries=Q, figures=FIGURES)
    assert list(found) == ["neighbours", "default", "wide"]
    expected = metrics.evaluate(by_cosine(X, Q), truth, figures=FIGURES)
    assert found["neighbours"] == Outcome(expected)
    for name, settings in (("default", {}), ("wide", {"n_neighbors": 20})):
        ids = ManifoldSearch(**settings).fit(X).search(Q, k=len(X)).ids
        for figure, value in metrics.evaluate(ids, truth, figures=FIGURES)["all"].items():
            assert found[name].figures["all"][figure] == pytest.approx(value, abs=1e-12)
        assert found[name].converged == 1


def test_a_fitted_search_is_its_settings(asked):
    X, Q, truth = asked
    found = compare(
        X,
        truth,
        {
            "here": {"preset": "plain-diffusion", "alpha": 0.8},
            "there": ManifoldSearch(preset="plain-diffusion", alpha=0.8).fit(X),
        },
        queries=Q,
    )
    assert found["here"] == found["there"]


@pytest.mark.parametrize(
    "settings",
    [{}, {"degree_exponent": 0.5}, {"preset": "adaptive"}, {"alpha": 0.5, "n_neighbors": 2}, {"metric": "euclidean"}],
)
@pytest.mark.parametrize("figures", [("mAP",), ("hit@1", "hit@2")])
def test_items_query_each_other_as_similar_does(digits, settings, figures):
    """All settings count, for whole lists and for short ones."""
    X, y = (rows[:200] for rows in digits)
    truth = datasets.ground_truth("labels", y)
    found = compare(X, truth, {"one": settings}, figures=figures)["one"]
    ids = ManifoldSearch(**settings).fit(X).similar(np.arange(200), k=199).ids
    assert found.figures["all"] == pytest.approx(metrics.evaluate(ids, truth, figures=figures)["all"], abs=1e-12)


def test_a_search_of_another_house_is_asked_in_one_thread(asked):
    X, Q, truth = asked
    search = Reversed(len(X))
    many = np.repeat(Q, 8, axis=0)
    found = compare(X, truth.take(np.repeat(np.arange(40), 8)), {"other": search}, queries=many, figures=FIGURES)
    expected = metrics.evaluate(np.tile(np.arange(len(X))[::-1], (40, 1)), truth, figures=FIGURES)
    assert found["other"].figures["all"] == pytest.approx(expected["all"], abs=1e-12)
    assert found["other"].converged is None
    assert len(search.threads) == 1


def test_an_item_is_left_out_of_its_own_list(digits):
    X, y = (rows[:100] for rows in digits)
    found = compare(X, datasets.ground_truth("labels", y), {"other": Reversed(100)}, figures=["hit@1", "mAP"])
    lists = np.array([[j for j in range(99, -1, -1) if j != i] for i in range(100)])
    expected = metrics.evaluate(lists, datasets.ground_truth("labels", y), figures=["hit@1", "mAP"])
    assert found["other"].figures["all"] == pytest.approx(expected["all"], abs=1e-12)


def test_rows_beyond_the_judged_ones_are_distractors(asked):
    X, Q, truth = asked
    noise = np.random.default_rng(77).uniform(0, 16, size=(50, X.shape[1])).astype(np.float32)
    both = np.concatenate([X, noise])
    found = compare(both, truth, {}, queries=Q)
    figures = (*truth.figures, "MRR", "hit@1", "recall@100")
    assert found["neighbours"].figures == metrics.evaluate(by_cosine(both, Q), truth, figures=dict.fromkeys(figures))


def test_progress_counts_blocks(asked):
    X, Q, truth = asked
    seen = []
    compare(X, truth, {}, queries=Q, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 1)]


def test_what_the_command_prints_is_what_compare_says(capsys):
    """Its rows are made of these figures, for a set that needs no download."""
    data = datasets.digits()
    small = datasets.Dataset("digits", data.features[:200], relevant=data.truth.lists["relevant"][:200])
    figures = compare(small.features, small.truth, {"default": {"metric": "cosine"}}, figures=("mAP",))
    rows = _evaluate.rows_of({"set": "digits"}, figures)
    gain = figures.gain("default")
    assert rows[0] == {
        "set": "digits",
        "figure": "mAP",
        **dict.fromkeys(_evaluate.COLUMNS),
        "neighbours": figures["neighbours"].figures["all"]["mAP"],
        "default": figures["default"].figures["all"]["mAP"],
        "gains": {"default": [gain.mean, gain.low, gain.high]},
    }
    assert rows[1]["figure"] == "converged"
    assert rows[1]["default"] == 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"searches": {"neighbours": {}}}, ValueError, "is that of the nearest neighbours"),
        ({"searches": {"a": {"alpah": 0.9}}}, TypeError, "alpah"),
        (
            {"searches": {"a": ManifoldSearch(preset="plain-diffusion", n_neighbors=2).fit(np.eye(5) + 0.1)}},
            ValueError,
            r"'a'\] has ids of 5",
        ),
        ({"figures": ["P@5"]}, ValueError, "figures holds 'P@5'"),
        ({"queries": np.zeros((3, 2))}, ValueError, "queries must have the 64 features"),
        ({"queries": np.ones((3, 64))}, ValueError, "judges 40 queries and 360 items by rows, but there are 3 and 360"),
        ({"truth": datasets.GroundTruth("n", {"relevant": [["a"]] * 40})}, ValueError, r"by names, .*truth\.by_rows"),
        ({"metric": "manhattan"}, ValueError, "metric must be one of"),
    ],
)
def test_wrong_input_is_named(asked, change, error, message):
    X, Q, truth = asked
    given = {"truth": truth, "searches": {}, "queries": Q, **change}
    with pytest.raises(error, match=message):
        compare(X, given.pop("truth"), given.pop("searches"), **given)
