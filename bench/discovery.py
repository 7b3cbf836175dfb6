"""What is learned from a graph without labels: every mark of mining, whitening, clusters, covers, novelty and saliency.

One row a mark: what was measured, on what, the figure, the same without the graph (`beside`), and the figure that is to
hold (`mark`, with `holds`). Sets of the data folder that are missing have no rows. Times are CPU seconds of this
process, beside those of the plain exact search in the same run.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import manifold as mf
from bench._index import kept_graph
from bench._pairs import draws, leave_one_out, unit
from bench._report import Row
from bench.pipeline import collection
from bench.sets.texts import common_words
from manifold import discovery
from manifold.errors import DatasetNotFoundError
from manifold.ranking import by_examples

SEEDS = (1, 2, 3)


def run(*, quick: bool) -> list[Row]:
    rows: list[Row] = []
    for measure in (
        _negatives,
        _certified,
        _whitening,
        _clusters,
        _covers,
        _maps,
        _novelty,
        _unlabelled,
        _objects,
        _examples,
        _words,
        _large,
        _million,
    ):
        try:
            rows += list(measure(quick=quick))
        except DatasetNotFoundError:
            continue
    return rows


def _row(what: str, on: str, figure: float, *, mark: float, beside: float | None = None, at_most: bool = False) -> Row:
    holds = figure <= mark if at_most else figure >= mark
    return {"what": what, "on": on, "figure": figure, "beside": beside, "mark": mark, "holds": bool(holds)}


def _negatives(*, quick: bool) -> Iterator[Row]:
    data = mf.datasets.load("cranfield")
    X, Q = unit(data.features), unit(data.queries)
    cosines = Q @ X.T
    ranked, relevant = np.argsort(-cosines, axis=1), [set(map(int, one)) for one in data.relevant]
    known = [next(int(d) for d in ranked[i] if int(d) in relevant[i]) for i in range(len(Q))]
    search = mf.ManifoldSearch(
        preset="plain-diffusion", n_neighbors=10, edges="union", alpha=0.8, n_seeds=10, gamma=3
    ).fit(X)
    skipped = [[d for d in ranked[i] if d != known[i]][10:20] for i in range(len(Q))]

    def false(lists: Any) -> float:
        return float(np.mean([d in relevant[i] for i in range(len(Q)) for d in lists[i]]))

    def hardness(lists: Any) -> float:
        return float(np.mean([cosines[i, lists[i]].mean() for i in range(len(Q))]))

    for certify in (False, True):
        mined = discovery.mine_negatives(search, Q, known, n=10, exclude=10, certify=certify).negatives
        lists = [mined.of(i) for i in range(len(Q))]
        on = f"cranfield, exclude=10, certify={certify}"
        yield _row("false negatives", on, false(lists), mark=0.07, beside=false(skipped), at_most=True)
        yield _row("hardness (mean cosine)", on, hardness(lists), mark=0.495, beside=hardness(skipped))
        yield _row("certified", on, float(mined.certified.mean()), mark=0.98)


def _certified(*, quick: bool) -> Iterator[Row]:
    data = mf.datasets.load("grocery")
    X = data.features[:2640]
    near = mf.find_neighbors(X, 100)
    graph = mf.graph_from_neighbors(near.first(14))
    anchors = np.random.default_rng(5).choice(len(X), 64, replace=False)
    for alpha in (0.9, 0.99):
        F = mf.diffuse(
            graph.astype("float64"), np.eye(len(X))[:, anchors], filter=mf.Diffusion(alpha), solver="direct"
        ).scores
        F[anchors, np.arange(64)] = -1
        best = [set(np.argsort(-F[:, j], kind="stable")[:20].tolist()) for j in range(64)]
        for certify in (False, True):
            mined = discovery.mine(
                graph, near, anchors, n_positive=20, n_negative=20, filter=mf.Diffusion(alpha), certify=certify
            )
            on = f"grocery, k=20, alpha={alpha}, certify={certify}"
            for name, pool, inside in (("positives", mined.positives, True), ("negatives", mined.negatives, False)):
                lies = sum(
                    (x in best[j]) != inside
                    for j, x in zip(pool.owners[pool.certified], pool.ids[pool.certified], strict=True)
                )
                yield _row(f"certified {name}", on, float(pool.certified.mean()), mark=0.6)
                yield _row(f"certified {name} that are none", on, float(lies), mark=0.0, at_most=True)


def _whitening(*, quick: bool) -> Iterator[Row]:
    marks = {"mAP": 0.54, "gain": 0.05, "kept": -0.005}
    for what, on, figures in draws(quick):
        before, after = np.mean(figures, axis=0)
        name = "mAP, whitened by pairs" if what == "mAP" else "mAP gained by whitening by pairs"
        yield _row(name, on, float(after if what == "mAP" else after - before), mark=marks[what], beside=float(before))


def _clusters(*, quick: bool) -> Iterator[Row]:
    from sklearn.cluster import KMeans

    def nmi(y: Any, labels: Any) -> float:
        return float(mf.metrics.normalized_mutual_information(y, labels))

    digits = mf.datasets.digits()
    for name, X, y, k in (("digits", digits.features, digits.labels, 10), *_sets(quick)):
        found = discovery.cluster(mf.build_graph(X, k))
        means = KMeans(len(found), n_init=3, random_state=0).fit_predict(unit(X))
        beside = nmi(y, means)
        mark = 0.82 if name == "digits" else beside
        yield _row("NMI of clusters, beside k-means", f"{name}, {len(found)} found", nmi(y, found.labels), mark=mark,
                   beside=beside)  # fmt: skip
        inside = found.certified[found.labels >= 0]
        yield _row("certified labels", f"{name}, alpha=0.9", float(inside.mean()), mark=0.9)
        n = len(np.unique(y))
        asked = discovery.cluster(mf.build_graph(X, 10), n_clusters=n, filter=mf.Diffusion(0.99))
        means = KMeans(n, n_init=3, random_state=0).fit_predict(unit(X))
        beside = nmi(y, means)
        yield _row("NMI of as many as classes", f"{name}, {n}", nmi(y, asked.labels), mark=beside, beside=beside)


def _sets(quick: bool) -> Iterator[tuple[str, Any, Any, int]]:
    if quick:
        return
    coil, grocery = mf.datasets.load("coil20"), mf.datasets.load("grocery")
    yield "coil20", coil.features, coil.labels, 10
    yield "grocery, one visit", grocery.features[:2640], grocery.labels[:2640], 5


def _covers(*, quick: bool) -> Iterator[Row]:
    near = mf.find_neighbors(mf.datasets.load("grocery").features[:800], 799)
    for threshold in (0.7, 0.8):
        lp, greedy = (discovery.cover(near, threshold, method=method) for method in ("lp", "greedy"))
        on = f"grocery 800, cosine {threshold}"
        yield _row("centres over the bound, lp", on, len(lp) / lp.lower_bound, mark=1.05, at_most=True)
        yield _row("centres over the bound, greedy", on, len(greedy) / lp.lower_bound, mark=1.1, at_most=True)


def _maps(*, quick: bool) -> Iterator[Row]:
    """Groups searched in place of their members, beside all members; features alone, without a search's diffusion."""
    data, digits = mf.datasets.load("grocery"), mf.datasets.digits()
    order = np.random.default_rng(1).permutation(len(digits.labels))
    sets = (
        ("grocery, other visits ask the first", data, np.arange(2640), np.arange(2936, len(data.labels)), 5, 2),
        ("digits, 400 ask the others", digits, order[400:], order[:400], 10, 3),
    )
    for on, of, base, asked, k, hops in sets:
        X, y = unit(of.features), of.labels
        groups = discovery.cluster(mf.build_graph(X[base], k), hops=hops)
        maps = discovery.scene_maps(X[base], groups)
        cosines = X[asked] @ maps.vectors.T
        ranked = np.argsort(-cosines, axis=1)
        ids, _ = maps.expand((ranked, np.take_along_axis(cosines, ranked, axis=1)), k=base.size)
        right = [np.flatnonzero(y[base] == c) for c in y[asked]]
        kept = [i for i, one in enumerate(right) if one.size]
        found, plain = (
            float(mf.metrics.mean_average_precision(lists[kept], [right[i] for i in kept]))
            for lists in (ids, np.argsort(-(X[asked] @ X[base].T), axis=1))
        )
        yield _row("mAP by scene maps, beside all items", f"{on}, {len(maps)} maps", found, mark=plain, beside=plain)


def _novelty(*, quick: bool) -> Iterator[Row]:
    from sklearn.metrics import roc_auc_score

    digits = mf.datasets.digits()
    graph, y = mf.build_graph(digits.features, edges="sum"), digits.labels
    found, sure = [], []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        known, labels = rng.permutation(10)[:5], np.full(y.size, -1)
        for c in known:
            labels[rng.permutation(np.flatnonzero(y == c))[:5]] = c
        asked = labels < 0
        new = ~np.isin(y, known)[asked]
        found.append(roc_auc_score(new, discovery.novelty(graph, labels)[asked]))
        sure.append(roc_auc_score(new, -mf.propagate(graph, labels).certainty[asked]))
    yield _row("AUC of novelty, beside certainty", "digits, half the classes by 5 labels", float(np.mean(found)),
               mark=0.95, beside=float(np.mean(sure)))  # fmt: skip
    for share in (0.05, 0.2):
        rng = np.random.default_rng(17)
        flipped = rng.random(y.size) < share
        wrong = np.where(flipped, (y + rng.integers(1, 10, size=y.size)) % 10, y)
        figure = roc_auc_score(flipped, -discovery.support(graph, wrong))
        yield _row("AUC of suspects", f"digits, {share:.0%} of the labels flipped", float(figure), mark=0.99)
    data = mf.datasets.load("grocery")
    X, y = data.features[:2640], data.labels[:2640]
    graph, found = mf.build_graph(X), []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        hidden = rng.permutation(np.unique(y))[:3]
        labels = np.where(np.isin(y, hidden) | (rng.random(y.size) < 0.5), -1, y)
        asked = labels < 0
        found.append(roc_auc_score(np.isin(y, hidden)[asked], discovery.novelty(graph, labels)[asked]))
    yield _row("AUC of novelty", "grocery of one visit, three classes hidden", float(np.mean(found)), mark=0.94)


def _unlabelled(*, quick: bool) -> Iterator[Row]:
    """Three of ten digits hidden: how many of them come into new classes, and how many of the others."""
    X, y = mf.datasets.digits()
    graph = mf.build_graph(X)
    for n_labels in (20, 5):
        found = []
        for seed in range(1, 7):
            rng = np.random.default_rng(seed)
            known, labels = rng.permutation(10)[:7], np.full(y.size, -1)
            for c in known:
                labels[rng.permutation(np.flatnonzero(y == c))[:n_labels]] = c
            asked, hidden = labels < 0, ~np.isin(y, known)
            made = discovery.new_classes(graph, labels)
            new = np.isin(mf.propagate(graph, made.labels, priors=made.priors).labels, made.names)
            found.append((new[asked & hidden].mean(), new[asked & ~hidden].mean()))
        inside, lost = np.mean(found, axis=0)
        on = f"digits, 3 hidden, {n_labels} labels of each other"
        yield _row("hidden points in new classes", on, float(inside), mark=0.9)
        yield _row("known points in new classes", on, float(lost), mark=0.06, at_most=True)


def _objects(*, quick: bool) -> Iterator[Row]:
    for name in ("planted", "grocery"):
        path = mf.datasets.data_folder() / "discovery" / f"{name}_activations.npz"
        if not path.exists():
            raise DatasetNotFoundError(f"{path} is not on this machine")
        with np.load(path, allow_pickle=False) as file:
            data = dict(file)
        maps = data["activations"]
        height, width = maps.shape[1:3]
        found = discovery.discover(maps)
        whole = np.concatenate([mf.matching.region_vectors(x, [[0, 0, height, width]], descriptor="gem") for x in maps])
        vectors = np.stack([found.describe(x, i) for i, x in enumerate(maps)])
        if name == "planted":
            hit = []
            for i, x in enumerate(maps):
                saliency = found.saliency(x, i) * found.feature_saliency(x)
                at = (np.array(np.unravel_index(saliency.argmax(), saliency.shape)) + 0.5) / (height, width)
                hit.append((data["boxes"][i][:2] <= at).all() and (at <= data["boxes"][i][2:]).all())
            yield _row("pointing, beside chance", "60 photos, 20 planted objects", float(np.mean(hit)), mark=0.75,
                       beside=0.154)  # fmt: skip
            figures = [leave_one_out(v, data["object"]) for v in (vectors, whole)]
            yield _row("mAP, beside GeM", "60 photos, 20 planted objects", figures[0], mark=0.51, beside=figures[1])
        else:
            iconic = data["split"] == 3
            right = [np.flatnonzero(data["fine"][~iconic] == c) for c in data["fine"][iconic]]
            figures = [
                float(mf.metrics.mean_average_precision(np.argsort(-(v[iconic] @ v[~iconic].T), axis=1), right))
                for v in (vectors, whole)
            ]
            yield _row("mAP, beside GeM", "groceries that fill the photo", figures[0], mark=0.395, beside=figures[1])


def _examples(*, quick: bool) -> Iterator[Row]:
    digits = mf.datasets.digits()
    sets = [("digits", digits.features, digits.labels, 0.96)]
    if not quick:
        data = mf.datasets.load("grocery")
        sets.append(("grocery, one visit", data.features[:2640], data.labels[:2640], 0.7))
    for name, X, y, mark in sets:
        search = mf.ManifoldSearch(preset="adaptive", n_neighbors=5, gamma=3, alpha=0.99, degree_exponent=0.0).fit(X)
        classes = np.unique(y)
        centres = unit(np.stack([X[y == c].mean(axis=0, dtype=np.float64) for c in classes]))
        other = classes[np.argsort(-(centres @ centres.T), axis=1)[:, 1]]
        led, plain = [], []
        for seed in range(1, 2 if quick else 6 if name == "digits" else 3):
            rng = np.random.default_rng(seed)
            for c in rng.permutation(classes)[:10]:
                like, avoid = (
                    rng.permutation(np.flatnonzero(y == one))[:3] for one in (c, other[np.searchsorted(classes, c)])
                )
                right = [np.setdiff1d(np.flatnonzero(y == c), like)]
                for figures, away in ((led, avoid), (plain, None)):
                    ids = by_examples(search, like, away, k=len(X)).ids
                    figures.append(mf.metrics.mean_average_precision([ids], right))
        yield _row("mAP of 3 examples and 3 to avoid, beside the 3", name, float(np.mean(led)), mark=mark,
                   beside=float(np.mean(plain)))  # fmt: skip


def _large(*, quick: bool) -> Iterator[Row]:
    """Negatives for 10,000 pairs of 100,000 documents, synthetic, 384 numbers each as of texts."""
    n, q = (5_000, 300) if quick else (100_000, 10_000)
    X, _, _ = collection(n)
    rng = np.random.default_rng(3)
    X = np.concatenate([X, 0.1 * rng.normal(size=(len(X), 256)).astype(np.float32)], axis=1)
    Q = X[rng.permutation(n)[:q]] + 0.02 * rng.normal(size=(q, X.shape[1])).astype(np.float32)
    yield _beside_search(X, Q, f"{n:,} synthetic documents")


def _words(*, quick: bool) -> Iterator[Row]:
    """The same for real vectors of words, GloVe in 50 numbers: the search beside it is that much cheaper."""
    n, q = (5_000, 300) if quick else (100_000, 10_000)
    try:
        _, X = common_words(n)
    except ImportError:
        return
    asked = np.random.default_rng(5).permutation(n)[:q]
    yield _beside_search(unit(X), unit(X)[asked], f"{n:,} words of GloVe")


def _beside_search(X: Any, Q: Any, on: str) -> Row:
    """Return the CPU time of mining in multiples of the plain search of the same queries, in the same run."""
    search = mf.ManifoldSearch(
        preset="plain-diffusion", n_neighbors=10, edges="union", alpha=0.8, n_seeds=10, gamma=3, degree_exponent=0
    ).fit(X)
    queries, _ = search.fitted_.points.asked(Q)
    search.fitted_.nearest(search.fitted_.points.asked(Q[:8])[0], 50)
    discovery.mine_negatives(search, Q[:8], np.arange(8), exclude=10)  # compiles
    plain, (near, _) = _cpu(lambda: search.fitted_.nearest(queries, 50))
    taken, mined = _cpu(lambda: discovery.mine_negatives(search, Q, near[:, 0], exclude=10))
    told = f"{on}, {len(Q):,} pairs: {taken:.1f} s of CPU, {mined.negatives.certified.mean():.1%} certified"
    return _row("time over that of the plain search", told, taken / plain, mark=3.0, beside=1.0, at_most=True)


def _million(*, quick: bool) -> Iterator[Row]:
    """Clusters of a million points, the surfaces of `bench pipeline`."""
    n = 20_000 if quick else 1_000_000
    graph = kept_graph(f"surfaces-{n}.graph", lambda: collection(n)[0])
    taken, found = _cpu(lambda: discovery.cluster(graph))
    on = f"{n:,} points, {len(found):,} found"
    yield _row("minutes of CPU for clusters", on, taken / 60, mark=5.0, at_most=True)
    yield _row("certified labels", f"{on}, alpha=0.9", float(found.certified.mean()), mark=0.9)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    yield _row("GiB at most, the graph and the clusters", on, peak, mark=4.0, at_most=True)


def _cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    made = work()
    return time.process_time() - start, made
