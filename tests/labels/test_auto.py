"""Labels that check themselves: left out exactly, chosen with evidence, calibrated; weights and sizes of classes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import manifold as mf
from manifold import datasets
from manifold.backends import get_backend
from manifold.errors import ManifoldWarning
from manifold.labels import METHODS, Auto, Choice, _diagonals, calibration_error, pseudo_labels, select
from manifold.labels._diagonals import diagonals
from manifold.labels._left_out import MOST, left_out, said_without, sample
from manifold.labels._mixture import stacked
from manifold.labels._rival import NearestLabelled
from manifold.labels.calibration import fitted_bias, fitted_power, log_losses
from manifold.labels.candidates import label_graphs
from manifold.neighbors import point_set


def drawn(y, count, seed=5):
    rng = np.random.default_rng(seed)
    labels = np.full(y.size, -1)
    for j in np.unique(y):
        labels[rng.choice(np.flatnonzero(y == j), count, replace=False)] = j
    return labels


@pytest.fixture(scope="module")
def digits():
    X, y = datasets.digits()
    return X[:700], y[:700].astype(int)


def dense(graph, alpha):
    W = graph.affinity.toarray().astype(np.float64)
    root = np.where(W.sum(axis=1) > 0, W.sum(axis=1), 1) ** -0.5
    return (1 - alpha) * np.linalg.inv(np.eye(len(W)) - alpha * root[:, None] * W * root)


@pytest.mark.parametrize("least", [1, 8192], ids=["walks", "products"])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.95, 0.999])
def test_the_diagonal_is_that_of_the_dense_inverse(digits, alpha, least, monkeypatch):
    monkeypatch.setattr(_diagonals, "_LOCAL_FROM", least)
    graph = mf.build_graph(digits[0][:150], edges="sum")
    nodes = np.arange(0, 150, 2)
    found = diagonals(graph, nodes, [0.3, alpha], backend=get_backend("scipy"))[1]
    np.testing.assert_allclose(found, np.diag(dense(graph, alpha))[nodes], rtol=1e-5)


def test_leaving_a_label_out_is_a_propagation_without_it(digits):
    X, y = digits
    graph, labels = mf.build_graph(X, edges="sum").astype("float64"), drawn(y, 3)
    known = np.flatnonzero(labels >= 0)
    Y = sparse.csr_array(np.equal.outer(labels[known], np.arange(10)) * 1.0)
    whole = mf.propagate(graph, labels, method="lgc", solver=mf.solvers.ConjugateGradient(1e-10))
    # every class has three labels: seeds of sum 1/10 each, times 30
    own = diagonals(graph, known, [0.95], backend=get_backend("scipy"))[0]
    out = left_out(whole.scores[known], own, Y, sums=np.full(10, 3.0), given=Y.toarray())
    for i in (0, 11, 29):
        fewer = labels.copy()
        fewer[known[i]] = -1
        told = mf.propagate(graph, fewer, method="lgc", priors="uniform", solver=mf.solvers.ConjugateGradient(1e-10))
        np.testing.assert_allclose(out[i], told.distributions[known[i]], atol=1e-6)


def test_leaving_a_label_out_of_a_harmonic_function_is_one_without_it(digits):
    X, y = digits
    graph, labels = mf.build_graph(X[:300], edges="sum").astype("float64"), drawn(y[:300], 4)
    auto = mf.propagate(graph, labels)
    known = np.flatnonzero(labels >= 0)
    refits = []
    for i in known:
        fewer = labels.copy()
        fewer[i] = -1
        P = mf.propagate(graph, fewer, method="harmonic").distributions[i]
        P[labels[i]] *= 4 / 3  # its class has one label less than the others
        refits.append(P / P.sum())
    # weights of classes are near even here: the share that is right is that of refits
    assert auto.choice.names == ("the graph, alpha = 0.95", "the graph, harmonic")
    assert auto.choice.accuracy[1] == pytest.approx(np.mean(np.argmax(refits, axis=1) == labels[known]), abs=0.03)
    logits = np.log(np.maximum(refits, 1e-6))
    power = fitted_power(logits, labels[known], np.full(known.size, 1 / known.size))
    assert auto.choice.loss[1] == pytest.approx(log_losses(power * logits, labels[known]).mean(), rel=0.1)


def test_classes_that_are_short_of_a_label_are_not_held_against_whole_ones():
    """On a complete graph all labels are alike: without one of them, no class is likelier."""
    W = np.ones((12, 12)) - np.eye(12)
    labels = np.where(np.arange(12) < 6, np.arange(12) % 2, -1)
    auto = mf.propagate(mf.graph_from_affinity(W).astype("float64"), labels)
    np.testing.assert_allclose(auto.choice.loss, np.log(2), rtol=1e-2)


def test_a_sample_of_many_labels_is_left_out_together(monkeypatch):
    """What is said without them is said by a propagation that never had them, classes as heavy as with them."""
    rng = np.random.default_rng(11)
    y = np.repeat([0, 1, 2], [300, 300, 150])
    X = rng.normal(size=(750, 2)) + 3.0 * np.column_stack([y, y == 1])
    # the first two points, of which one is labelled and in every sample, are joined to no others
    W = mf.build_graph(X, 5, metric="euclidean", edges="sum").affinity
    graph = mf.graph_from_affinity(sparse.block_diag([[[0, 1], [1, 0]], W], format="csr"), dtype="float64")
    labels = np.concatenate([[0, -1], np.where(rng.random(750) < 0.9, y, -1)])
    asked = []

    def heard(scores, problem, fewer):
        asked.append((said_without(scores, problem, fewer), problem.priors, fewer.labelled))
        return asked[-1][0]

    monkeypatch.setattr("manifold.labels.auto.said_without", heard)
    choice = mf.propagate(graph, labels, solver=mf.solvers.ConjugateGradient(1e-10)).choice
    assert len(asked) == len(choice.names) == 2
    out, priors, kept = asked[0]
    with pytest.warns(ManifoldWarning, match="not reached"):
        told = mf.propagate(
            graph, np.where(kept, labels, -1), method="lgc", priors=priors, solver=mf.solvers.ConjugateGradient(1e-10)
        )
    rows = np.flatnonzero((labels >= 0) & ~kept)
    assert rows.size == MOST
    assert rows[0] == 0
    assert not out[0].any()
    reached = told.reached[rows]
    np.testing.assert_allclose(out[reached], told.distributions[rows][reached], atol=1e-7)
    assert not out[~reached].any()


def test_a_sample_has_every_class_in_its_share():
    classes = np.repeat([0, 1, 2], [2000, 500, 500])
    rows = sample(np.arange(3000), classes)
    assert rows.size == MOST
    assert abs(np.bincount(classes[rows]) / MOST - [2 / 3, 1 / 6, 1 / 6]).max() < 0.01


@pytest.mark.parametrize(("size", "left_out"), [(128, 128), (479, 128), (480, 96), (639, 127), (640, 128), (9000, 128)])
def test_a_sample_is_of_a_fifth_where_that_can_be_left_out_together(size, left_out):
    assert sample(np.arange(size), np.arange(size) % 7).size == left_out


def test_a_harmonic_function_of_few_labels_is_left_out_and_that_is_said(digits):
    X, y = digits
    graph = mf.build_graph(X, edges="sum")
    for count, names in ((6, ["alpha = 0.95"]), (7, ["alpha = 0.95", "harmonic"])):  # of 700 points
        labels = np.full(y.size, -1)
        labels[:count] = y[:count] % 2
        choice = mf.propagate(graph, labels).choice
        assert [name.split(", ")[1] for name in choice.names] == names
        said = f"'harmonic' was left out: {count} labels of 700 points are fewer than one in 100" in choice.reason
        assert said == (len(names) == 1)


def test_the_nearest_label_is_that_of_a_search(digits):
    X, y = digits
    labels = drawn(y, 4)
    known = np.flatnonzero(labels >= 0)
    D = ((X[:, None] - X[known]) ** 2).sum(axis=2)
    rival = NearestLabelled(point_set(X, "euclidean"), labels, 10)
    np.testing.assert_array_equal(rival.everywhere().argmax(axis=1), labels[known][D.argmin(axis=1)])
    among = D[known].astype(float)
    np.fill_diagonal(among, np.inf)
    # each class is short of one label: the point's own, or, on average, any
    short = np.empty((known.size, 10))
    for j in range(10):
        of = np.sort(among[:, labels[known] == j], axis=1)
        short[:, j] = np.where(labels[known] == j, of[:, 0], 0.75 * of[:, 0] + 0.25 * of[:, 1])
    logits = rival.left_out(known)
    lead = (logits[:, :1] - logits[:, 1:]) / (short[:, 1:] - short[:, :1])
    np.testing.assert_allclose(lead, lead[0, 0], rtol=1e-4)


def test_a_fitted_power_is_the_best_of_a_line():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(400, 4))
    truth = np.array([rng.choice(4, p=row / row.sum()) for row in np.exp(3 * logits)])
    power = fitted_power(logits, truth, np.ones(400))
    line = np.linspace(0.5, 8, 400)
    best = line[np.argmin([log_losses(b * logits, truth).mean() for b in line])]
    assert power == pytest.approx(best, rel=0.16)  # the step of the grid is 15 %
    assert power == pytest.approx(3, rel=0.35)


def test_a_few_labels_that_are_all_right_do_not_ask_for_certainty():
    """Of 20 labels all are right; a quarter of one more is of either class: the odds are 20.125 to .125."""
    power = fitted_power(np.tile([1.0, 0.0], (20, 1)), np.zeros(20, dtype=int), np.full(20, 0.05))
    surely = 1 / (1 + np.exp(-power))
    assert surely == pytest.approx((20 + 0.125) / 20.25, abs=1e-3)


def test_a_fitted_bias_gives_classes_what_was_kept_from_them():
    """Logits that are short of a known bias get it back, up to a constant; a class without labels moves nothing."""
    rng, bias = np.random.default_rng(7), np.array([0.8, 0.0, -0.8])
    logits = rng.normal(size=(4000, 3))
    truth = np.array([rng.choice(3, p=row / row.sum()) for row in np.exp(logits + bias)])
    weights = np.full(truth.size, 1 / truth.size)
    found = fitted_bias(logits, truth, weights)
    np.testing.assert_allclose(found[:2] - found[1:], 0.8, atol=0.1)
    assert not fitted_bias(logits, np.minimum(truth, 1), weights).any()


def test_calibration_error_by_hand():
    P = [[0.95, 0.05], [0.95, 0.05], [0.55, 0.45]]
    assert calibration_error(P, [0, 0, 1]) == pytest.approx((2 * 0.05 + 0.55) / 3)
    with pytest.raises(ValueError, match=r"truth must lie in 0\.\.1, got 0\.\.2"):
        calibration_error(P, [0, 0, 2])
    with pytest.raises(ValueError, match="must fit"):
        calibration_error(P, [0, 0])


def test_with_few_labels_it_is_the_default_and_says_so(digits):
    X, y = digits
    labels, (graphs, points) = drawn(y, 2), label_graphs(X)
    auto = mf.propagate(graphs, labels, points=points)
    told = mf.propagate(graphs["k = 10"], labels, method="lgc")
    np.testing.assert_array_equal(auto.distributions, told.distributions)
    assert "20 labels of 10 classes are fewer than 3 a class" in auto.choice.reason
    assert "not compared with nearest neighbours" in auto.choice.reason
    assert told.choice is None


def test_a_graph_that_misleads_is_left_for_a_better_one_or_for_the_nearest_label(digits):
    """A graph of random edges knows nothing; a true one beside it does, and so do the points themselves."""
    X, y = digits
    ends = np.random.default_rng(4).integers(0, y.size, size=(2, 3500))
    W = sparse.coo_array((np.ones(3500), tuple(ends)), shape=(y.size, y.size)).toarray()
    np.fill_diagonal(W, 0)
    noise, true = mf.graph_from_affinity(np.minimum(W + W.T, 1)), mf.build_graph(X, metric="euclidean", edges="sum")
    labels, points = drawn(y, 6), point_set(X, "euclidean")
    free = labels < 0
    nearest = (NearestLabelled(points, labels, 10).everywhere().argmax(axis=1) == y)[free].mean()
    alone = mf.propagate(noise, labels)
    assert (alone.labels == y)[free].mean() < 0.3
    for graphs, options, least in (
        ({"noise": noise, "true": true}, {}, 0.9),
        (noise, {"points": points}, nearest - 0.02),
    ):
        result = mf.propagate(graphs, labels, **options)
        assert (result.labels == y)[free].mean() >= least > 0.75
        assert result.choice.weights[0] < 0.03
        assert "a mixture gains" in result.choice.reason


def test_probabilities_mean_what_they_say(digits):
    X, y = digits
    errors = {"auto": [], "lgc": []}
    for seed in range(4):
        labels = drawn(y, 5, seed)
        for method, of in errors.items():
            result = mf.LabelPropagation(method=method).fit(X, labels)
            free = labels < 0
            of.append(calibration_error(result.label_distributions_[free], y[free]))
    assert np.mean(errors["auto"]) < 0.07
    assert np.mean(errors["lgc"]) > 0.15


def test_shares_are_those_of_the_largest_posterior():
    """Where the likelihood and the prior are largest, all their derivatives by the shares are the same."""
    rng = np.random.default_rng(8)
    likelihoods, weights = rng.uniform(0.05, 1, size=(4, 30)), rng.uniform(0.5, 1.5, size=30)
    weights *= 30 / weights.sum()
    shares = stacked(likelihoods, weights)
    slopes = (weights * likelihoods / (shares @ likelihoods)).sum(axis=1) + 1 / shares
    np.testing.assert_allclose(slopes, 34, rtol=2e-2)
    assert shares.sum() == pytest.approx(1)


def test_labels_that_tell_nothing_leave_the_prior(digits):
    X, y = digits
    graph = mf.build_graph(X, metric="euclidean", edges="sum")
    labels, once = drawn(y, 5), drawn(y, 5)
    choice = mf.propagate({"a": graph, "b": graph}, labels, method=Auto(), filter=mf.Diffusion(0.9)).choice
    np.testing.assert_allclose(choice.weights, [1 / 2, 1 / 2])
    auto, told = (
        mf.propagate({"a": graph, "b": graph}, once, filter=mf.Diffusion(0.9)),
        mf.propagate(graph, once, method="lgc", filter=mf.Diffusion(0.9)),
    )
    free = (once < 0)[:, None] & (auto.distributions > 1e-3) & (told.distributions > 1e-3)
    (row, j), first = np.nonzero(free), np.repeat(told.labels, free.sum(axis=1))  # what lgc says first of each row
    power = [np.log(P[row, j].astype(float) / P[row, first]) for P in (auto.distributions, told.distributions)]
    unknowns = np.column_stack([power[1], np.eye(10)[j] - np.eye(10)[first]])  # a power, and a bias of each class
    np.testing.assert_allclose(unknowns @ np.linalg.lstsq(unknowns, power[0])[0], power[0], atol=2e-3)
    assert (auto.labels == y).mean() > (told.labels == y).mean()
    assert auto.certainty[once < 0].mean() > told.certainty[once < 0].mean() + 0.2


def test_a_choice_is_saved_and_printed(digits, tmp_path):
    X, y = digits
    model = mf.LabelPropagation().fit(X, drawn(y, 5))
    again = mf.load(model.save(tmp_path / "model"))
    assert again.choice_ == model.choice_
    assert isinstance(again.choice_, Choice)
    assert len(model.choice_.names) == 3 * 2 + 1
    assert sum(model.choice_.weights) == pytest.approx(1)
    assert "nearest labelled point" in str(model.choice_)
    assert any(model.graph_ is not None and name.startswith("k = ") for name in model.choice_.names)


def test_every_door_chooses_alike(digits):
    X, y = digits
    labels, (graphs, points) = drawn(y, 6), label_graphs(X)
    told = mf.propagate(graphs, labels, points=points)
    model, pseudo = mf.LabelPropagation().fit(X, labels), pseudo_labels(X, labels).propagation
    for P, choice in ((model.label_distributions_, model.choice_), (pseudo.distributions, pseudo.choice)):
        np.testing.assert_array_equal(P, told.distributions)
        assert choice == told.choice


def test_a_number_of_neighbours_or_a_filter_that_is_given_is_kept(digits):
    X, y = digits
    labels = drawn(y, 5)
    assert mf.LabelPropagation(n_neighbors=7, alpha=0.7).fit(X, labels).choice_.names == (
        "k = 7, alpha = 0.7",
        "nearest labelled point",
    )
    heat = mf.propagate(mf.build_graph(X, edges="sum"), labels, filter=mf.Heat(3.0))
    assert "no Diffusion" in heat.choice.reason


def test_even_classes_take_methods_that_hold_sizes(digits):
    X, y = digits
    graph = mf.build_graph(X, metric="euclidean", edges="sum")
    gains = []
    for seed in range(6):
        labels = drawn(y, 1, seed)
        free = labels < 0
        told, plain = mf.propagate(graph, labels, classes="even"), mf.propagate(graph, labels)
        gains.append((told.labels == y)[free].mean() - (plain.labels == y)[free].mean())
    assert np.mean(gains) > 0
    assert told.choice.names == tuple(f"the graph, {name}" for name in ("sinkhorn", "ilpc", "resolvent_mbo"))
    for options, message in (
        ({"classes": "equal"}, "classes must be None or 'even'"),
        ({"classes": "even", "priors": np.ones(10)}, "say two things"),
    ):
        with pytest.raises(ValueError, match=message):
            mf.propagate(graph, labels, **options)


@pytest.mark.parametrize("method", ["ilpc", "resolvent_mbo"])
def test_sizes_that_are_propagated_save_uneven_classes(digits, method):
    X, y = digits
    kept = np.random.default_rng(2).random(y.size) < 0.8**y
    X, y = X[kept], np.unique(y[kept], return_inverse=True)[1]
    graph, labels = mf.build_graph(X, metric="euclidean", edges="sum"), drawn(y, 3)
    free = labels < 0
    even, own = (
        (mf.propagate(graph, labels, method=method, priors=priors).labels == y)[free].mean()
        for priors in ("estimated", "propagated")
    )
    assert own > even + 0.01


def test_graphs_and_points_that_do_not_fit_are_refused(digits):
    X, y = digits
    graphs, points = label_graphs(X)
    small, labels = mf.build_graph(X[:50], edges="sum"), drawn(y, 3)
    for graph, options, message in (
        ({**graphs, "small": small}, {}, r"of the same points, got \[50, 700\]"),
        (graphs, {"method": "lgc"}, "chooses among graphs, got 3"),
        (small, {"points": points}, "of the same points"),
    ):
        with pytest.raises(ValueError, match=message):
            mf.propagate(graph, labels, **options)
    with pytest.raises(TypeError, match="graph must be a Graph, got int"):
        mf.propagate({"a": 3}, labels)


# weights


@pytest.mark.parametrize("method", [name for name in METHODS if name != "harmonic"])
def test_weights_of_one_size_change_nothing_and_0_is_no_label(digits, method):
    X, y = digits
    graph, labels = mf.build_graph(X, edges="sum"), drawn(y, 3)
    plain, same = (mf.propagate(graph, labels, method=method, sample_weight=w) for w in (None, np.full(y.size, 7.0)))
    np.testing.assert_array_equal(same.labels, plain.labels)
    np.testing.assert_allclose(same.distributions, plain.distributions, atol=1e-4)
    out = np.flatnonzero(labels >= 0)[::9]
    weights = np.ones(y.size)
    weights[out] = 0
    fewer = labels.copy()
    fewer[out] = -1
    weighed, dropped = (
        mf.propagate(graph, labels, method=method, sample_weight=weights),
        mf.propagate(graph, fewer, method=method),
    )
    np.testing.assert_array_equal(weighed.distributions, dropped.distributions)


def test_a_weight_is_so_many_labels():
    """A star whose hub hears two leaves of one class, or one leaf of weight 2."""
    W = np.zeros((5, 5))
    W[0, 1:] = W[1:, 0] = 1
    graph = mf.graph_from_affinity(W).astype("float64")
    options = {"method": "lgc", "normalize_seeds": False}
    two = mf.propagate(graph, [-1, 0, 0, 1, -1], **options)
    one = mf.propagate(graph, [-1, 0, -1, 1, -1], sample_weight=[9, 2, 9, 1, 9], **options)
    np.testing.assert_allclose(one.distributions[[0, 4]], two.distributions[[0, 4]], atol=1e-5)


def test_weights_that_are_none_are_refused(digits):
    X, y = digits
    graph, labels = mf.build_graph(X, edges="sum"), drawn(y, 3)
    for weights, message in (
        (np.ones(3), "sample_weight must be 700 finite numbers"),
        (np.full(y.size, -1.0), "sample_weight must be"),
        (np.full(y.size, np.nan), "sample_weight must be"),
        (np.zeros(y.size), "at least one non-zero"),
    ):
        with pytest.raises(ValueError, match=message):
            mf.propagate(graph, labels, sample_weight=weights)
    with pytest.raises(ValueError, match="'harmonic' holds labels fixed"):
        mf.propagate(graph, labels, method="harmonic", sample_weight=np.ones(y.size))


def test_ilpc_lets_a_wrong_label_be_outvoted(digits):
    X, y = digits
    graph, labels = mf.build_graph(X, metric="euclidean", edges="sum"), drawn(y, 15)
    known = np.flatnonzero(labels >= 0)
    wrong = known[::12]
    labels[wrong] = (labels[wrong] + 1) % 10
    held, free = (mf.propagate(graph, labels, method="ilpc", clamp=clamp) for clamp in (True, False))
    assert (held.labels[wrong] == labels[wrong]).all()
    assert (free.labels[wrong] == y[wrong]).mean() > 0.5
    np.testing.assert_array_equal(held.labels[labels < 0], free.labels[labels < 0])


# selection


def test_the_margin_is_the_default_where_distributions_are_given(digits):
    X, y = digits
    graph, labels = mf.build_graph(X, edges="sum"), drawn(y, 3)
    P = mf.propagate(graph, labels).distributions
    chosen = select(graph, labels >= 0, 12, distributions=P)
    ends = np.sort(P, axis=1)
    margin = np.where(labels >= 0, np.inf, ends[:, -1] - ends[:, -2])
    assert sorted(margin[chosen]) == sorted(np.sort(margin)[:12])
    np.testing.assert_array_equal(chosen, select(graph, labels >= 0, 12, strategy="margin", distributions=P))
    np.testing.assert_array_equal(select(graph, labels >= 0, 3), select(graph, labels >= 0, 3, strategy="jlp"))
    with pytest.raises(ValueError, match="of two or more"):
        select(graph, labels >= 0, 2, distributions=P[:, :1])
