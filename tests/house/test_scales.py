"""Where the points lie, and in what unit: neighbours, choices and what is propagated do not depend on it.

Collections are moved by 1e6 (distances alone do not see it), and multiplied by 1e25 and 1e-25; the same answer comes
out, or a ValueError that names what cannot be held.
"""

from tempfile import TemporaryDirectory

import numpy as np
import pytest

import manifold as mf
from manifold import labels
from manifold.neighbors import find_neighbors, from_distances

METRICS = ("cosine", "euclidean")
SCALES = {"moved": (1.0, 1e6), "large": (1e25, 0.0), "small": (1e-25, 0.0)}
TIME = 1.7e9  # seconds since 1970: a spread of minutes is a millionth of it


def blobs():
    rng = np.random.default_rng(7)
    y = np.arange(90) % 3
    return 4 * np.eye(3)[y] @ rng.standard_normal((3, 5)) + 0.5 * rng.standard_normal((90, 5)), y


X, Y = blobs()
FEW = np.where(np.arange(90) < 9, Y, -1)


def moved(scale):
    factor, offset = SCALES[scale]
    return X * factor + offset


def neighbours(X, metric):
    return find_neighbors(X, 5, metric=metric).indices


def searched(X, metric):
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=5, metric=metric).fit(X[:80])
    search.add(X[80:85])
    return search.search(X[85:], 10).ids


def loaded(X, metric):
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=5, metric=metric).fit(X[:80])
    with TemporaryDirectory() as folder:
        again = mf.load(search.save(f"{folder}/search"))
        again.add(X[80:85])
        return again.search(X[85:], 10).ids


def model_loaded(X, metric):
    model = mf.LabelPropagation(n_neighbors=5, metric=metric).fit(X[:80], FEW[:80])
    with TemporaryDirectory() as folder:
        return mf.load(model.save(f"{folder}/model")).predict(X[80:])


def by_distances(X, metric):
    apart = np.sqrt(((X[:, None] - X) ** 2).sum(axis=-1))
    ids = np.argsort(apart, axis=1)[:, :6]
    return from_distances(np.take_along_axis(apart, ids, axis=1), ids, metric="euclidean").indices


def regional(X, metric):
    return mf.RegionalSearch(n_neighbors=5).fit(X[:80], images=np.arange(80) // 2).search(X[80:84], k=10).ids


def explained(X, metric):
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=5, metric=metric).fit(X[:80])
    return mf.ranking.explain(search, X[85], 3).seeds


def predicted(X, metric):
    model = mf.LabelPropagation(n_neighbors=5, metric=metric).fit(X[:80], FEW[:80])
    return np.concatenate([model.transduction_, model.predict(X[80:])])


def pseudo(X, metric):
    return labels.pseudo_labels(X, FEW, n_neighbors=5, metric=metric).labels


def cleaned(X, metric):
    return labels.clean_labels(X, Y, np.arange(90) < 30, relevance="diffusion", n_neighbors=5) > 0.5


def covered(X, metric):
    return labels.select(mf.build_graph(X, 5, metric=metric), [0, 1], 8, strategy="coreset", features=X)


def reached(X, metric):
    return labels.select(mf.build_graph(X, 5, metric=metric), [0, 1], 8)


def expanded(X, metric):
    return mf.reranking.expand_queries(X[:5], X[5:], n_expand=3).round(4)


def compared(X, metric):
    truth = mf.datasets.ground_truth("labels", (Y[:80], Y[80:]))
    found = mf.evaluation.compare(X[:80], truth, {}, queries=X[80:], metric=metric)
    return np.array(list(found["neighbours"].figures["all"].values())).round(9)


ANSWERS = (
    neighbours, searched, loaded, explained, regional, predicted, model_loaded, pseudo, cleaned, covered, reached,
    expanded, compared, by_distances,
)  # fmt: skip
COSINE = (regional, cleaned, expanded)  # directions: where the origin is counts
OUT_OF_RANGE = (
    r"features of norm \S+ (over|under)flow float32 .*: rescale them|distances .* leave float32: rescale them"
)


def cells():
    for answer in ANSWERS:
        for metric in ("cosine",) if answer in COSINE else ("euclidean",) if answer is by_distances else METRICS:
            for scale in ("large", "small") if metric == "cosine" else ("moved", "large", "small"):
                yield pytest.param(answer, metric, scale, id=f"{answer.__name__}-{metric}-{scale}")


@pytest.mark.parametrize(("answer", "metric", "scale"), list(cells()))
def test_an_answer_does_not_depend_on_the_origin_or_the_unit(answer, metric, scale):
    if metric == "euclidean" and scale != "moved":  # squares of 1e25 are beyond float32
        with pytest.raises(ValueError, match=OUT_OF_RANGE):
            answer(moved(scale), metric)
    else:
        np.testing.assert_array_equal(answer(moved(scale), metric), answer(X, metric))


@pytest.mark.parametrize("method", ["lgc", "harmonic"])
def test_time_stamps_keep_their_differences(method):
    values = np.where(np.arange(90) < 40, X[:, 0], np.nan)
    graph = mf.build_graph(X, 5, metric="euclidean", edges="sum")
    plain = mf.propagate(graph, values, kind="values", method=method).labels
    later = mf.propagate(graph, values + TIME, kind="values", method=method).labels
    spread = np.ptp(values[:40])
    np.testing.assert_allclose(later - TIME, plain, rtol=0, atol=1e-6 * spread)
