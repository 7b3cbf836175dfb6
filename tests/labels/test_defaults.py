"""One set of defaults: the same labels at every door, and a name of a method is its class."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import manifold as mf
from manifold import datasets
from manifold.labels import METHODS, pseudo_labels
from manifold.labels._methods import get_method
from manifold.labels.candidates import label_graphs


@pytest.fixture(scope="module")
def digits():
    X, y = datasets.digits()
    rng = np.random.default_rng(31)
    known = np.concatenate([rng.choice(np.flatnonzero(y == c), 10, replace=False) for c in range(10)])
    few = np.full(y.size, -1)
    few[known] = y[known]
    return X, few, y


@pytest.mark.parametrize("name", METHODS)
def test_a_name_means_the_defaults_of_its_class_at_every_door(name, digits):
    X, few, y = digits
    graphs, points = label_graphs(X, method=name)
    assert (graphs["k = 10"].affinity != mf.build_graph(X, metric="euclidean", edges="sum").affinity).nnz == 0
    told = mf.propagate(graphs, few, method=name, points=points)
    for method in (name, METHODS[name]()):
        model = mf.LabelPropagation(method=method).fit(X, few)
        pseudo = pseudo_labels(X, few, method=method).propagation
        for labels, P in ((model.transduction_, model.label_distributions_), (pseudo.labels, pseudo.distributions)):
            np.testing.assert_array_equal(labels, told.labels)
            np.testing.assert_array_equal(P, told.distributions)
    assert (told.labels == y)[few < 0].mean() > 0.93


def test_doors_share_what_they_default_to():
    doors = [inspect.signature(door).parameters for door in (mf.LabelPropagation, pseudo_labels, mf.propagate)]
    shared = [name for name in doors[0] if any(name in other for other in doors[1:])]
    assert {"n_neighbors", "metric", "alpha", "gamma", "method", "solver", "unlabeled", "priors"} <= set(shared)
    for name in shared:
        assert len({str(door[name].default) for door in doors if name in door}) == 1, name


@pytest.mark.parametrize("name", METHODS)
def test_the_table_of_methods_names_frozen_settings(name):
    made = get_method(name)
    assert type(made) is METHODS[name]
    assert made == METHODS[name]()
    assert hash(made) == hash(METHODS[name]())
    assert METHODS[name].__doc__
    assert ">>>" in METHODS[name].__doc__


def test_an_unknown_method_is_answered_with_the_table():
    with pytest.raises(ValueError, match=", ".join(repr(name) for name in METHODS)):
        get_method("knn")
