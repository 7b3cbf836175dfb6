"""What every door says of the same wrong argument: one table of doors, which lacks none of the public ones."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from importlib import import_module
from pkgutil import walk_packages

import numpy as np
import pytest
import torch

import manifold as mf
from manifold import backends, datasets, discovery, evaluation, explorer, labels, matching, neighbors, ranking, stores
from manifold.labels import averaging
from manifold.solvers import SOLVERS

FORMS = {
    "progress": (3, r"progress must be True, False or callable\(done, total\), got 3"),
    "callback": (3, r"callback must be callable\(Snapshot\) or None, got 3"),
    "random_state": ("a", r"(random_state|rng) must be an integer.*got 'a'"),
    "rng": ("a", r"rng must be an integer.*got 'a'"),
}
# what a door of the same row hands on to; protocols; and settings, which are judged where they are used
ELSEWHERE = {
    "Method.search",
    "Exact.search",
    "Faiss.search",
    "InvertedFile.search",
    "NNDescent.search",
    "Cells.made",
    "SearchSettings",
    "Prepared.solve",
    "solve_in_blocks",
    "Stages.run",
}


def public_doors(parameter: str) -> set[str]:
    """Names of public functions, classes and methods that take a parameter."""
    found = set()
    for module in walk_packages(mf.__path__, "manifold."):
        if any(part.startswith("_") for part in module.name.split(".")) or ".backends" in module.name:
            continue
        room = import_module(module.name)
        for name in getattr(room, "__all__", ()):
            made = getattr(room, name)
            if not (callable(made) and getattr(made, "__module__", "").startswith("manifold")):
                continue
            methods = inspect.getmembers(made, callable) if inspect.isclass(made) else ()
            for door in (made, *(method for part, method in methods if not part.startswith("_"))):
                try:
                    takes = parameter in inspect.signature(door).parameters
                except (TypeError, ValueError):
                    continue
                found |= {door.__qualname__} if takes else set()
    return found


@cache
def made():
    """What the doors are asked with."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(40, 5)).astype(np.float32)
    frames = np.column_stack([X[:, :2], np.ones(40), np.zeros(40)])
    features = matching.LocalFeatures(frames, X, np.arange(0, 41, 4), np.arange(40) % 4)
    labels_of = [i % 3 if i % 4 == 0 else None for i in range(40)]
    truth = datasets.GroundTruth("two", {"relevant": [[1], [2]], "junk": [[], []]})
    return X, mf.build_graph(X, 4), mf.find_neighbors(X, 4), labels_of, features, truth


def doors():
    X, graph, lists, few, features, truth = made()
    search, index = mf.ManifoldSearch(n_neighbors=4).fit(X), mf.DiffusionIndex(4)
    words, owners, y = matching.learn_vocabulary(X, 4), np.arange(40) // 2, np.arange(40) % 3
    mined = discovery.mine(graph, lists, n_positive=1, n_negative=1)
    clean, two = np.arange(40) % 4 == 0, np.eye(40)[:, :2]
    prepare = {name: made().prepare(graph, mf.Diffusion(), backends.get_backend()) for name, made in SOLVERS.items()}
    pooled = index.build_pooled(graph, np.kron(np.eye(20), np.ones((1, 2))))
    progress = {
        "exact_search": lambda p: neighbors.exact_search(
            neighbors.point_set(X), neighbors.point_set(X), k=3, backend=backends.get_backend(), progress=p
        ),
        "find_neighbors": lambda p: mf.find_neighbors(X, 4, progress=p),
        "find_neighbors, no neighbours": lambda p: mf.find_neighbors(X[:1], 4, progress=p),
        "build_graph": lambda p: mf.build_graph(X, 4, progress=p),
        "cluster": lambda p: discovery.cluster(graph, progress=p),
        "mine": lambda p: discovery.mine(graph, lists, n_positive=1, n_negative=1, progress=p),
        "mine_negatives": lambda p: discovery.mine_negatives(search, X[:2], [1, 2], n=1, progress=p),
        "compare": lambda p: evaluation.compare(X, truth, {"a": search}, queries=X[:2], progress=p),
        "DiffusionIndex.build": lambda p: index.build(graph, progress=p),
        "DiffusionIndex.build, lazy": lambda p: mf.DiffusionIndex(4, lazy=True).build(graph, progress=p),
        "DiffusionIndex.build_pooled": lambda p: index.build_pooled(graph, np.eye(40), progress=p),
        "match_kernel": lambda p: matching.match_kernel(matching.aggregate(features, words), progress=p),
        "verify": lambda p: matching.verify([[0, 1]], features, progress=p),
        "verify_neighbors": lambda p: matching.verify_neighbors(
            mf.find_neighbors(X[:10], 3), features, threshold=1, progress=p
        ),
        "learn_vocabulary": lambda p: matching.learn_vocabulary(X, 4, progress=p),
        "ManifoldSearch.fit": lambda p: mf.ManifoldSearch(n_neighbors=4).fit(X, progress=p),
        "ManifoldSearch.fit, lists": lambda p: mf.ManifoldSearch(n_neighbors=4).fit(neighbors=lists, progress=p),
        "ManifoldSearch.fit, graph": lambda p: mf.ManifoldSearch(n_neighbors=4).fit(X, graph=graph, progress=p),
        "RegionalSearch.fit": lambda p: mf.RegionalSearch(n_neighbors=4).fit(X, owners, progress=p),
        "tune": lambda p: ranking.tune(lists, progress=p),
        "StoreSearch.fit": lambda p: stores.StoreSearch(stores.Arrays(range(40), X)).fit(progress=p),
        "label_graphs": lambda p: labels.candidates.label_graphs(X, progress=p),
    }
    callback = {
        "diffuse": lambda c: mf.diffuse(graph, two, callback=c),
        "diffuse, nothing to solve": lambda c: mf.diffuse(graph, 0 * two, solver="direct", callback=c),
        "propagate": lambda c: mf.propagate(graph, few, callback=c),
        "StoredColumns.solve": lambda c: index.build(graph).solve(two, callback=c),
        "LazyColumns.solve": lambda c: mf.DiffusionIndex(4, lazy=True).build(graph).solve(two, callback=c),
        "PooledColumns.solve": lambda c: pooled.solve(two, callback=c),
        **{
            f"{type(made).__name__}.solve": lambda c, made=made: made.solve(two, callback=c)
            for made in prepare.values()
        },
    }
    random = {
        "find_neighbors": lambda r: mf.find_neighbors(X, 4, random_state=r),
        "find_neighbors, precomputed": lambda r: mf.find_neighbors(X @ X.T, 4, metric="precomputed", random_state=r),
        "build_graph": lambda r: mf.build_graph(X, 4, random_state=r),
        "LabelPropagation": lambda r: mf.LabelPropagation(random_state=r).fit(X, few),
        "LabelPropagationRegressor": lambda r: averaging.LabelPropagationRegressor(random_state=r).fit(
            X, np.where(clean, 1.0, np.nan)
        ),
        "MultiLabelPropagation": lambda r: averaging.MultiLabelPropagation(random_state=r).fit(X, np.c_[y == 0, y > 1]),
        "label_graphs": lambda r: labels.candidates.label_graphs(X, random_state=r),
        "clean_labels": lambda r: labels.clean_labels(X, y, clean, n_neighbors=4, random_state=r),
        "gcn_relevance": lambda r: labels.cleaning.gcn_relevance(graph, X, clean, random_state=r),
        "sample_episodes": lambda r: labels.few_shot.sample_episodes(y, 2, n_way=2, random_state=r),
        "select": lambda r: labels.select(graph, clean, 2, random_state=r),
        "pca_whitening": lambda r: matching.pca_whitening(3, random_state=r),
        "learn_vocabulary": lambda r: matching.learn_vocabulary(X, 4, random_state=r),
        "Vocabulary.with_signatures": lambda r: words.with_signatures(X, n_bits=3, random_state=r),
        "ManifoldSearch": lambda r: mf.ManifoldSearch(random_state=r),
        "RegionalSearch": lambda r: mf.RegionalSearch(random_state=r),
        "calibrate": lambda r: ranking.calibrate(search, random_state=r),
        "tune": lambda r: ranking.tune(X, random_state=r),
        "compare": lambda r: evaluation.compare(X, truth, {"a": search}, queries=X[:2], random_state=r),
        "Comparison": lambda r: evaluation.Comparison({}, random_state=r),
    }
    rng = {
        "Mined.pairs": lambda r: mined.pairs(2, rng=r),
        "Mined.triplets": lambda r: mined.triplets(2, rng=r),
        "Mined.columns": lambda r: mined.columns([str(i) for i in range(40)], rng=r),
    }
    return {"progress": progress, "callback": callback, "random_state": random, "rng": rng}


@pytest.mark.filterwarnings("ignore::manifold.errors.ManifoldWarning")
@pytest.mark.parametrize("parameter", FORMS)
def test_every_door_names_the_argument_and_the_cure(parameter):
    table, (wrong, message) = doors()[parameter], FORMS[parameter]
    for name, door in table.items():
        with pytest.raises(TypeError, match=message):
            pytest.fail(f"{name} took {parameter}={wrong!r} and returned {door(wrong)!r}")
    asked = {name.partition(",")[0] for name in table} | ELSEWHERE
    if parameter != "rng":
        assert public_doors(parameter) <= asked


@pytest.mark.parametrize("wrong", [-1, 1.5, [0.5]], ids=str)
def test_what_seeds_no_generator(wrong):
    with pytest.raises((TypeError, ValueError), match="random_state must be an integer >= 0"):
        mf.find_neighbors(made()[0], 3, random_state=wrong)


def test_tensors_that_hold_no_numbers():
    X, graph, _, _, _, _ = made()
    search, empty = mf.ManifoldSearch(n_neighbors=4).fit(X), torch.empty((40, 5), device="meta")
    for door in (
        lambda: mf.ManifoldSearch().fit(empty),
        lambda: mf.build_graph(empty, 4),
        lambda: search.search(empty),
        lambda: search.rerank(empty, empty),
        lambda: mf.diffuse(graph, empty),
        lambda: mf.propagate(graph, empty[:, 0]),
        lambda: mf.graph_from_neighbors(empty, empty),
        lambda: mf.graph_from_affinity(empty),
        lambda: mf.LabelPropagation().fit(empty, [0, 1] * 20),
    ):
        with pytest.raises(TypeError, match="tensor of the meta device, which holds no numbers: load its values"):
            door()


def test_the_explorer_names_what_it_was_given():
    X, graph, _, _, _, _ = made()
    search = mf.ManifoldSearch(n_neighbors=4).fit(X)
    regional = mf.RegionalSearch(n_neighbors=4).fit(X, np.arange(40) // 2)
    for wrong in (mf.ManifoldSearch, explorer.Explorer, X, graph, ranking.GraphSearch().fit(graph), regional):
        with pytest.raises(TypeError, match="search must be a fitted ManifoldSearch, got"):
            explorer.Explorer(wrong, X)
    for name, wrong in {"items": 3, "labels": 3, "mined": 3}.items():
        with pytest.raises(TypeError, match=f"{name} must be"):
            explorer.Explorer(search, X, **{name: wrong})


def files():
    """Files that hold no features, and what is said of each."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    X = made()[0]
    for name, array in {"complex": X + 1j, "texts": np.array([["a", "b"]]), "none": X[:0], "row": X[0]}.items():
        np.save(f"{name}.npy", array)
    vectors = {"gaps": [[1.0, 2.0], None], "ragged": [[1.0, 2.0], [1.0]], "words": [["a", "b"], ["c", "d"]]}
    for name, rows in vectors.items():
        parquet.write_table(pa.table({"v": rows}), f"{name}.parquet")
    parquet.write_table(pa.table({"v": pa.array([], pa.list_(pa.float32()))}), "empty.parquet")
    header = b"\x10\0\0\0\0\0\0\0"
    for name, text in {"junk": b"{not json       ", "list": b"[1, 2, 3]       ", "keys": b'{"a": {"b": 1}} '}.items():
        with open(f"{name}.safetensors", "wb") as file:
            file.write(header + text)
    return {
        "complex.npy": "real numbers, got dtype complex64",
        "texts.npy": "real numbers, got dtype <U1",
        "none.npy": "holds no points",
        "row.npy": r"must hold rows \(points, features\), got shape \(5,\)",
        "gaps.parquet": "lacks the vectors of 1 rows, first of row 1: drop them",
        "ragged.parquet": "rows of different lengths",
        "words.parquet": "real numbers, got dtype object",
        "empty.parquet": "holds no points",
        "junk.safetensors": "is no file of safetensors, by its header",
        "list.safetensors": "is no file of safetensors, by its header",
        "keys.safetensors": "is no file of safetensors, by its header",
    }


def test_files_that_hold_no_features():
    for path, message in files().items():
        with pytest.raises((TypeError, ValueError), match=f"X.*{message}"):
            neighbors.point_set(path)


def test_objects_at_doors_that_came_later(tmp_path):
    X, graph, lists, _, features, truth = made()
    search, words = mf.ManifoldSearch(n_neighbors=4).fit(X), matching.learn_vocabulary(X, 4)
    np.save("X.npy", X)
    saved = {"graph": str(graph.save("graph")), "search": str(search.save("search"))}
    compare = partial(evaluation.compare, X, truth, queries=X[:2])
    with ThreadPoolExecutor(1) as pool:
        doors = {
            "graph must be a Graph, got csr_array": lambda: mf.ManifoldSearch().fit("X.npy", graph=graph.affinity),
            "graph must be a Graph, got str": lambda: mf.ManifoldSearch().fit(X, graph="graph"),
            "searches must be a mapping": lambda: compare([search]),
            r"searches\['a'\] must be a search, .* the class ManifoldSearch": lambda: compare({"a": mf.ManifoldSearch}),
            r"searches\['a'\] must be a search, .*NoneType": lambda: compare({"a": None}),
            "confidence must be a number, got '95'": lambda: compare({"a": search}, confidence="95"),
            "features must be LocalFeatures, got ndarray": lambda: matching.verify([[0, 1]], X),
            "features must be LocalFeatures, got list": lambda: matching.verify_neighbors(lists, [], threshold=1),
            "features must be LocalFeatures, got int": lambda: matching.agree(3, 0, 1),
            "features must be LocalFeatures, got Graph": lambda: matching.aggregate(graph, words),
            "neighbors must be Neighbors": lambda: matching.verify_neighbors(X, features, threshold=1),
            "vocabulary must be a Vocabulary": lambda: matching.aggregate(features, X),
            "bags must be bags": lambda: matching.match_kernel(X),
            "threshold must be a number, got 'a'": lambda: discovery.cover(lists, "a"),
            "radius must be a number, got 'a'": lambda: discovery.cover_places([[1.0, 2.0]], radius="a"),
            "activations must be a sequence of maps": lambda: discovery.discover(None),
            "gamma must be a number, got None": lambda: ranking.GraphSearch(gamma=None),
            "weights of seeds must hold real numbers": lambda: mf.personalized_pagerank(graph, {0: "a"}),
            "path must be that of a saved search, got Manifold": lambda: ranking.search_on(pool, search, X),
            "holds a 'graph', where a saved search": lambda: ranking.search_on(pool, saved["graph"], X),
            "address must be a text such as": lambda: stores.open_store(3),
        }
        for message, door in doors.items():
            with pytest.raises((TypeError, ValueError), match=message):
                door()
        assert ranking.search_on(pool, saved["search"], X[:2], k=3).ids.shape == (2, 3)
