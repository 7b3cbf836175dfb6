"""Every public object, however it is copied, kept or sent to another process, gives the same answers."""

from __future__ import annotations

import copy
import importlib
import inspect
import io
import multiprocessing
import pickle
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from functools import cache, partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from cases import LABELS, NEIGHBORS, SOLVERS
from saves import MADE, USES
from scipy import sparse
from thread_ranks import ThreadRanks

import manifold as mf
from manifold import (
    datasets,
    discovery,
    errors,
    evaluation,
    explorer,
    labels,
    matching,
    neighbors,
    plotting,
    ranking,
    solvers,
    storage,
    stores,
)
from manifold.backends import get_backend
from manifold.explorer._shared_basis import SharedBasis
from manifold.labels.few_shot import sample_episodes
from manifold.ranking import Adaptation, SearchSettings, Setting

FILTERS = {
    "diffusion": mf.Diffusion(0.9),
    "regularized": mf.RegularizedDiffusion(0.9),
    "heat": mf.Heat(3.0),
    "polynomial": mf.Polynomial((0.25, 0.75)),
    "low pass": mf.LowPass(),
}


@cache
def points() -> np.ndarray:
    return datasets.digits().features[:60]


@cache
def classes() -> np.ndarray:
    y = datasets.digits().labels[:60].astype(int)
    y[-5:] = -1
    return y


@cache
def graph(dtype: str = "float64") -> mf.Graph:
    return mf.build_graph(points(), 4).astype(dtype)


def path(n: int) -> mf.Graph:
    one = np.ones(n - 1)
    return mf.graph_from_affinity(sparse.diags_array((one, one), offsets=(-1, 1)))


def itself(made: Any) -> Any:
    return made


def solved(prepared: Any) -> Any:
    solution = prepared.solve(np.eye(prepared.system.n_nodes, 3))
    return {part.name: getattr(solution, part.name) for part in fields(solvers.Solution)}


def searched(search: Any) -> Any:
    found = search.search(points()[:3] + 1, k=5)
    return found.ids, found.scores, found.slack, search.get_params(), repr(search)


def told(made: Any) -> Any:
    """All that a result holds, by name."""
    return {name: value for name, value in vars(made).items() if not name.startswith("_")}


def predicted(model: Any) -> Any:
    return model.predict(points()[:3] + 1), model.predict_proba(points()[:3] + 1), model.get_params()


def listed(found: Any) -> Any:
    return told(found), found.n_nodes, found.to_scipy() if hasattr(found, "to_scipy") else None


def opened(kind: str) -> Any:
    """A save of that kind, mapped from its folder, which is gone when this returns."""
    with tempfile.TemporaryDirectory() as folder:
        MADE[kind]().save(f"{folder}/saved")
        return mf.load(f"{folder}/saved")


def fitted(**settings: Any) -> mf.ManifoldSearch:
    return mf.ManifoldSearch(**{"n_neighbors": 5, "n_seeds": 3, "on_failure": "ignore", **settings}).fit(
        points(), [f"p{i}" for i in range(60)]
    )


def cells() -> neighbors.Cells:
    return neighbors.Cells.made(neighbors.point_set(points()), 3, settings=neighbors.SeedSearch())


def prepared(case: Any, filter: mf.Diffusion, dtype: str) -> Any:
    solver = case.exact(np.dtype(dtype))
    return solver.prepare(graph(dtype), filter, get_backend())


@dataclass(frozen=True)
class Case:
    """How an object is made, and what it is asked."""

    make: Callable[[], Any]
    ask: Callable[[Any], Any] = itself


CASES: dict[str, Case] = {
    "neighbours": Case(lambda: mf.find_neighbors(points(), 4), listed),
    "points": Case(lambda: neighbors.point_set(points()), lambda made: (made.X, made.norms, made.rows(slice(3)))),
    "points, far": Case(
        lambda: neighbors.point_set(points() + 1e9, "euclidean"),
        lambda made: (made.X, made.norms, made.asked(points()[0] + 1e9)[0].X),
    ),
    "seed search": Case(lambda: neighbors.SeedSearch("walk", breadth=16)),
    "cells": Case(cells, lambda made: (made.order, made.away, made.centres, str(made))),
    "entrance": Case(
        lambda: cells().over(neighbors.point_set(points())), lambda made: made.nearest(made.points, 3)._asdict()
    ),
    "graph": Case(graph, lambda made: (made.affinity, made.degrees, made.components, dict(made.facts), repr(made))),
    "graph, float32": Case(partial(graph, "float32"), lambda made: (made.affinity, made.degrees, made.components)),
    "affinity": Case(lambda: mf.graph.Affinity("power", 3.0, "cosine")),
    "change": Case(lambda: mf.graph.Change(mf.find_neighbors(points(), 4), np.arange(60), np.array([3]))),
    "backend": Case(get_backend, lambda made: made.name),
    "snapshot": Case(lambda: solvers.Snapshot(np.arange(2), 3, np.ones(2)), told),
    "status": Case(lambda: solvers.Status.MAX_ITER),
    "solution": Case(lambda: mf.diffuse(graph(), np.eye(60, 2)), told),
    "checkpointed": Case(lambda: solvers.Checkpointed(solvers.ConjugateGradient(), "kept")),
    "on a cluster": Case(lambda: solvers.OnCluster(solvers.ConjugateGradient(), ThreadRanks)),
    "solution of a path": Case(lambda: mf.diffuse(path(2500), np.eye(2500, 2), solver="direct"), told),
    "bases": Case(
        lambda: mf.diffuse(graph(), np.eye(60, 2), solver="lanczos"),
        lambda made: [vars(made.refilter(mf.Heat(2.0), certify=yes))["scores"] for yes in (False, True)],
    ),
    "spectrum": Case(MADE["spectrum"], USES["spectrum"]),
    "stored columns": Case(MADE["index"], USES["index"]),
    "pooled columns": Case(MADE["pooled_index"], USES["pooled_index"]),
    "lazy columns": Case(
        lambda: mf.DiffusionIndex(9, solver="local", lazy=True).build(graph(), filter=mf.Diffusion(0.9)),
        lambda made: made.held(np.arange(20)),
    ),
    "intervals": Case(lambda: MADE["index"]()._merged(np.array([3, 17]), np.array([1.0, 0.5])), told),
    "left out": Case(lambda: mf.index.LeftOut(np.array([3]), np.ones(60, dtype=bool)), told),
    "shortlist": Case(lambda: MADE["index"]().shortlist(np.array([3]), np.ones(1), 5), told),
    "adaptive search on stored columns": Case(MADE["search"], USES["search"]),
    "regional search on stored columns": Case(MADE["regional_search"], USES["regional_search"]),
    "regional search": Case(
        lambda: mf.RegionalSearch(n_neighbors=5).fit(points(), np.arange(60) // 3),
        lambda made: told(made.search(points()[:4], [0, 0, 1, 1], k=5)),
    ),
    "tuned search": Case(partial(fitted, n_neighbors=3), searched),
    "search of a graph": Case(
        lambda: mf.ManifoldSearch(n_neighbors=None).fit(graph=graph()),
        lambda made: told(made.rerank([[1, 2]], [[0.9, 0.8]], k=4)),
    ),
    "search, not fitted": Case(lambda: mf.ManifoldSearch(alpha=0.5), lambda made: (made.get_params(), repr(made))),
    "settings of a search": Case(
        lambda: SearchSettings(
            n_neighbors=7, n_seeds=3, filter=mf.Diffusion(0.9), affinity=mf.graph.Affinity("power", 3.0, "cosine")
        )
    ),
    "fitted state": Case(lambda: fitted().fitted_, lambda made: (made.explain(), made.points.X, made.graph.affinity)),
    "ranking": Case(lambda: fitted().search(points()[:3], k=4), told),
    "store": Case(lambda: stores.Arrays(range(60), points()), lambda made: made.search(points()[:2], 5)),
    "store search": Case(
        lambda: stores.StoreSearch(stores.Arrays(range(60), points())).fit(),
        lambda made: (told(made.search(points()[:2], 5)), made.sync(), made.snapshot),
    ),
    "store ranking": Case(
        lambda: stores.StoreSearch(stores.Arrays(range(60), points())).fit().search(points()[0], 5), told
    ),
    "changes of a store": Case(lambda: stores.Changes(new=3)),
    "snapshot of a store": Case(lambda: stores.Snapshot(number=1, digest="5f", n_items=3)),
    "pgvector": Case(lambda: stores.PgVector("dbname=shop", "items"), repr),
    "qdrant": Case(lambda: stores.Qdrant("a client", "items"), repr),
    "qdrant edge": Case(lambda: stores.QdrantEdge("a shard"), repr),
    "lancedb": Case(lambda: stores.LanceDB("a table"), repr),
    "chroma": Case(lambda: stores.Chroma("a collection"), repr),
    "explanation": Case(lambda: ranking.explain(fitted(), points()[0], "p0"), told),
    "walk": Case(lambda: ranking.explain(fitted(), points()[0], "p0").paths[0]),
    "tuning judged": Case(lambda: evaluation.tune_judged(points(), points()[:10], [[i] for i in range(10)]), repr),
    "tuning": Case(lambda: ranking.tune(points(), settings=[Setting(3), Setting(5)]), told),
    "setting": Case(lambda: Setting(3)),
    "calibration": Case(lambda: ranking.Calibration(0.0, 2.0, 1.0, 1e-9, "edge", n_queries=9, share=0.5, error=0.1)),
    "adaptation": Case(Adaptation),
    "mined": Case(
        lambda: discovery.mine(graph(), mf.find_neighbors(points(), 20), n_positive=9, n_negative=20, certify=True),
        lambda made: (told(made), told(made.positives)),
    ),
    "clusters": Case(lambda: discovery.cluster(graph(), hops=1), told),
    "pair whitening": Case(MADE["pair_whitening"], USES["pair_whitening"]),
    "cover": Case(lambda: discovery.cover(mf.find_neighbors(points(), 9), 0.9), told),
    "scene maps": Case(
        lambda: discovery.scene_maps(points(), discovery.cover(mf.find_neighbors(points(), 9), 0.9)), told
    ),
    "new classes": Case(lambda: discovery.new_classes(graph(), np.where(classes() < 8, classes(), -1), hops=1), told),
    "regions": Case(lambda: discovery.regions_of(points()[0].reshape(8, 8)), told),
    "discovery": Case(
        lambda: discovery.discover(points()[:20].reshape(20, 4, 4, 4), n_neighbors=5),
        lambda made: (made.boxes, made.vectors, made.centrality, made.saliency(points()[30].reshape(4, 4, 4))),
    ),
    "pool": Case(
        lambda: discovery.mine(graph(), mf.find_neighbors(points(), 20), n_positive=9, n_negative=20).negatives, told
    ),
    "propagation": Case(lambda: mf.propagate(graph(), classes()), told),
    "propagation of texts": Case(MADE["propagation"], USES["propagation"]),
    "model": Case(MADE["label_propagation"], USES["label_propagation"]),
    "model of classes": Case(lambda: mf.LabelPropagation(n_neighbors=4).fit(points(), classes()), predicted),
    "model of values": Case(MADE["label_propagation_regressor"], USES["label_propagation_regressor"]),
    "model of several labels": Case(MADE["multi_label_propagation"], USES["multi_label_propagation"]),
    "choice": Case(lambda: mf.propagate(graph(), classes()).choice),
    "model, not fitted": Case(lambda: mf.LabelPropagation(alpha=0.5), lambda made: made.get_params()),
    "pseudo-labels": Case(lambda: labels.pseudo_labels(points(), classes()), told),
    "episodes": Case(lambda: sample_episodes(datasets.digits().labels, 3, n_way=2, n_queries=2, random_state=3), told),
    "data set": Case(
        datasets.digits, lambda made: (told(made), [list(map(int, made.relevant[0]))[:5]], made.truth.n_queries)
    ),
    "data set, made": Case(lambda: datasets.two_moons(60), lambda made: (made.features, made.labels)),
    "ground truth": Case(lambda: datasets.GroundTruth("one", {"relevant": [["a"], ["b"]]}), told),
    "published": Case(lambda: datasets.published("instre")[0]),
    "explorer": Case(
        lambda: mf.Explorer(mf.ManifoldSearch(n_neighbors=5).fit(points()), points(), labels=classes(), k=3),
        lambda made: (made.answer().ranking.ids, made.answer().ranking.scores, made.label(0)),
    ),
    "exploration": Case(
        lambda: explorer.Exploration(mf.ManifoldSearch(n_neighbors=5).fit(points()), points(), k=3),
        lambda made: (made.answer(made.first).ranking.ids, made.answer(made.first).ranking.scores),
    ),
    "settings shown": Case(lambda: explorer.Settings(query=3)),
    "answer": Case(
        lambda: explorer.Exploration(mf.ManifoldSearch(n_neighbors=5).fit(points()), points(), k=3).answer(
            explorer.Settings(query=3)
        ),
        lambda made: (made.ranking.ids, made.ranking.scores, made.nearest),
    ),
    "trace": Case(
        lambda: plotting.trace_convergence(graph(), np.eye(60, 1), solvers={"cg": solvers.ConjugateGradient()}, k=5)[0],
        told,
    ),
    "outcome": Case(lambda: evaluation.Outcome({"all": {"mAP": 0.5}}, 1.0)),
    "gain": Case(lambda: evaluation.Gain(0.25, 0.2, 0.3, 100)),
    "comparison": Case(
        lambda: evaluation.Comparison({"neighbours": evaluation.Outcome.of({"all": {"mAP": np.arange(4.0)}})}),
        lambda found: (found.gain("neighbours"), found.advice(), found.per_query()),
    ),
    "shared basis": Case(
        SharedBasis,
        lambda made: vars(made.prepare(graph(), mf.Heat(2.0), get_backend()).solve(sparse.csc_array(np.eye(60, 2))))[
            "scores"
        ],
    ),
    "graph search": Case(
        lambda: ranking.GraphSearch().fit(graph(), points(), nodes=np.arange(60)),
        lambda made: made.search(points()[:2] + 1, 5, seeds=[3]).scores,
    ),
    "local features": Case(MADE["local_features"], USES["local_features"]),
    "vocabulary": Case(MADE["vocabulary"], USES["vocabulary"]),
    "match kernels": Case(matching.ASMK),
    "match kernel, VLAD": Case(matching.VLAD),
    "match kernel, HE": Case(matching.HammingEmbedding),
    "match kernel, BoW": Case(matching.BagOfWords),
    "bags": Case(
        lambda: matching.aggregate(MADE["local_features"](), MADE["vocabulary"]()),
        lambda made: matching.match_kernel(made).toarray(),
    ),
    "fast spatial matching": Case(matching.FastSpatial),
    "hough pyramid matching": Case(matching.HoughPyramid),
    "verification": Case(lambda: matching.verify([[0, 1], [2, 1]], MADE["local_features"]()), told),
    "agreement": Case(lambda: matching.agree(MADE["local_features"](), 0, 1), told),
    "zero shot": Case(lambda: labels.zero_shot(points(), points()[:3]), told),
    "stored": Case(lambda: storage.Stored("ranks", {"r": np.arange(3)}, {"k": 3}), told),
    **{f"opened {kind}": Case(partial(opened, kind), USES[kind]) for kind in MADE},
    **{f"filter {name}": Case(partial(itself, filter)) for name, filter in FILTERS.items()},
    **{f"settings {case.name}": Case(partial(case.exact, np.dtype(np.float64))) for case in SOLVERS},
    **{
        f"prepared {case.name}, {name}, {dtype}": Case(partial(prepared, case, filter, dtype), solved)
        for case in SOLVERS
        for name, filter in FILTERS.items()
        for dtype in ("float64", "float32")
        if case.serves(filter)
    },
    "prepared direct, of many nodes": Case(
        lambda: solvers.Direct().prepare(path(2500), mf.Diffusion(), get_backend()), solved
    ),
    "prepared cg, in an order of its own": Case(
        lambda: solvers.ConjugateGradient().prepare(path(9000), mf.Diffusion(), get_backend()), solved
    ),
    **{
        f"search by {name}": Case(partial(fitted, solver=name), searched)
        for name in ("auto", "index", *solvers.SOLVERS)
    },
    **{f"search, preset {name}": Case(partial(fitted, preset=name), searched) for name in ranking.PRESETS},
    **{f"neighbour method {case.name}": Case(partial(itself, case.settings)) for case in NEIGHBORS},
    **{f"label method {name}": Case(partial(itself, method)) for name, method in LABELS.items()},
}


def pickled(made: Any) -> Any:
    return pickle.loads(pickle.dumps(made))


def kept(made: Any) -> Any:
    file = io.BytesIO()
    joblib.dump(made, file)
    file.seek(0)
    return joblib.load(file)


ERRORS = [name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)]
COPIES = {"pickle": pickled, "joblib": kept, "copy": copy.copy, "deepcopy": copy.deepcopy}


def equal(a: Any, b: Any) -> bool:
    """Whether two answers are the same to the last bit, types and dtypes included."""
    if type(a) is not type(b):
        return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and equal(np.asarray(a), np.asarray(b))  # a map
    if isinstance(a, np.ndarray):
        same = a.dtype == b.dtype and a.shape == b.shape
        return same and (a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes())
    if isinstance(a, Mapping):
        return list(a) == list(b) and all(equal(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    if sparse.issparse(a) or (type(a).__eq__ is object.__eq__ and hasattr(a, "__dict__") and not isinstance(a, Enum)):
        return equal(vars(a), vars(b))
    return a is b or bool(a == b) or repr(a) == repr(b) == "nan"


def arrays(made: Any, where: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """Every array that an object holds, with the way to it."""
    seen = set() if seen is None else seen
    if id(made) in seen or isinstance(made, str | bytes | type | types.FunctionType | types.ModuleType | np.dtype):
        return
    seen.add(id(made))
    if isinstance(made, np.ndarray):
        yield where, made
    elif isinstance(made, Mapping):
        for name, value in made.items():
            yield from arrays(value, f"{where}[{name!r}]", seen)
    elif isinstance(made, list | tuple):
        for i, value in enumerate(made):
            yield from arrays(value, f"{where}[{i}]", seen)
    elif hasattr(made, "__dict__"):
        for name, value in vars(made).items():
            yield from arrays(value, f"{where}.{name}", seen)


def is_mapped(array: Any) -> bool:
    """Whether an array shows a file: then it is the file that may not be written to, not a promise of its owner."""
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        array = array.base
    return isinstance(array, np.memmap)


@cache
def original(name: str) -> tuple[Any, Any]:
    made = CASES[name].make()
    return made, CASES[name].ask(made)


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("name", CASES)
def test_a_copy_answers_as_the_original(name, copied):
    made, answer = original(name)
    again = COPIES[copied](made)
    assert type(again) is type(made)
    assert equal(CASES[name].ask(again), answer)


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("name", CASES)
def test_what_is_read_only_stays_so(name, copied):
    made, _ = original(name)
    held = dict(arrays(COPIES[copied](made)))
    promised = [where for where, array in arrays(made) if not (array.flags.writeable or is_mapped(array))]
    assert [where for where in promised if where in held and held[where].flags.writeable] == []


def ask(name: str, made: Any) -> Any:
    return CASES[name].ask(made)


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    """What another process answers, which has imported nothing of this one's, for every object sent to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2]))  # by which the other process finds this module
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            waiting = {name: pool.apply_async(ask, (name, original(name)[0])) for name in CASES}
            return {name: given.get(timeout=600) for name, given in waiting.items()}


@pytest.mark.parametrize("name", CASES)
def test_another_process_answers_as_this_one(answers, name):
    assert equal(answers[name], original(name)[1])


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_sent_with_what_they_say(name):
    error = getattr(errors, name)("a cause, and its cure")
    for again in (pickled(error), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)


def public_classes() -> dict[str, type]:
    """Every class that a public name is, in the package and in its rooms; what cannot be made is left out."""
    rooms = [mf, *(importlib.import_module(f"manifold.{room}") for room in mf._ROOMS)]
    found = {}
    for room in rooms:
        for name in room.__all__ if hasattr(room, "__all__") else [n for n in vars(room) if not n.startswith("_")]:
            made = getattr(room, name)
            if (
                inspect.isclass(made)
                and made.__module__.startswith("manifold")
                and not getattr(made, "_is_protocol", False)
            ):
                found[f"{made.__module__}.{made.__name__}"] = made
    return found


@pytest.mark.parametrize("name", public_classes())
def test_every_public_class_is_in_the_table(name):
    made = public_classes()[name]
    if issubclass(made, Exception):
        assert made.__name__ in ERRORS
    else:
        assert any(type(original(case)[0]) is made for case in CASES)
