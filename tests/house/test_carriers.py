"""What people hold, through every door: each carrier of the same numbers gives the plain array's answer, or our words.

A cell of the table is one argument of one public function, handed in by one carrier. Its answer is that of the plain
ndarray to the bit, or a TypeError or ValueError whose message begins with the name of the argument.
"""

import re
import warnings
from importlib.util import find_spec
from tempfile import TemporaryFile

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import manifold as mf
from manifold import datasets, discovery, evaluation, labels, matching, metrics, neighbors, plotting, ranking, reranking
from manifold.errors import ManifoldWarning
from manifold.labels import few_shot
from manifold.labels.cleaning import weighted_prototypes

DTYPES = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", ">i4", ">f8", "g")


class Tensor:
    """What a tensor of PyTorch on the CPU is to us: NumPy takes none that has a gradient, and knows no bfloat16."""

    def __init__(self, values, dtype, requires_grad=False):
        self.values, self.dtype, self.requires_grad = np.asarray(values), f"torch.{dtype}", requires_grad
        self.device, self.layout, self.shape, self.ndim = "cpu", "torch.strided", self.values.shape, self.values.ndim

    def size(self):
        return self.shape

    def detach(self):
        return Tensor(self.values, self.dtype.removeprefix("torch."))

    def float(self):
        return Tensor(self.values.astype(np.float32), "float32", self.requires_grad)

    def numpy(self):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if self.dtype == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.values

    def __array__(self, dtype=None, copy=None):
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def __len__(self):
        return len(self.values)

    def __dlpack_device__(self):
        return 1, 0


Tensor.__module__ = "torch"


def of_dtype(values, dtype):
    out = values.astype(dtype)
    return out if np.array_equal(out, values) else None


def backwards(values):
    return values[::-1].copy()[::-1]


def read_only(values):
    values = values.copy()
    values.flags.writeable = False
    return values


def mapped(values):
    with TemporaryFile() as file:
        held = np.memmap(file, dtype=values.dtype, mode="w+", shape=values.shape)
    held[...] = values
    return held


def masked(values):
    """Entries masked: what is beneath is no number that anybody meant."""
    return np.ma.masked_array(values, mask=np.arange(values.size).reshape(values.shape) == 1)


def columns(values):
    return {f"c{j}": values[:, j] for j in range(values.shape[1])}


def by_pandas(values, convert=lambda x: x, index=None):
    if values.ndim > 2:
        return None
    made = pd.Series(values, index=index) if values.ndim == 1 else pd.DataFrame(columns(values), index=index)
    return convert(made)


def arrow_backed(made):
    names = {np.dtype("i8"): "int64[pyarrow]", np.dtype("f8"): "double[pyarrow]", np.dtype("?"): "bool[pyarrow]"}
    kinds = [made.dtype] if made.ndim == 1 else list(made.dtypes)
    return made.astype(names.get(kinds[0], "string[pyarrow]"))


def by_polars(values):
    return pl.Series(values) if values.ndim == 1 else pl.DataFrame(columns(values)) if values.ndim == 2 else None


def by_arrow(values):
    if values.ndim == 1:
        half = len(values) // 2
        return pa.chunked_array([pa.array(values[:half]), pa.array(values[half:])])
    return pa.table(columns(values)) if values.ndim == 2 else None


def tensor(values, dtype, requires_grad=False):
    if values.dtype.kind not in "iuf" or (requires_grad and values.dtype.kind != "f"):
        return None
    if dtype == "bfloat16" and not np.array_equal(values.astype(np.float32).view(np.uint32) & 0xFFFF, values * 0):
        return None  # more digits than it keeps
    made = values.astype("f4" if dtype == "bfloat16" else dtype)
    return Tensor(made, dtype, requires_grad) if np.array_equal(made, values) else None


def real_tensor(values, dtype, requires_grad=False):
    if tensor(values, dtype, requires_grad) is None:
        return None
    import torch

    return torch.tensor(values).to(getattr(torch, dtype)).requires_grad_(requires_grad)


CARRIERS = {
    "list": lambda x: x.tolist(),
    "tuple": lambda x: tuple(x.tolist()),
    **{f"dtype {d}": lambda x, d=d: of_dtype(x, d) if x.dtype.kind in "iuf" else None for d in DTYPES},
    "object": lambda x: x.astype(object),
    "fortran": np.asfortranarray,
    "read-only": read_only,
    "negative strides": backwards,
    "strided": lambda x: np.repeat(x, 2, axis=0)[::2],
    "memmap": mapped,
    "masked": masked,
    "masked, nothing masked": np.ma.masked_array,
    "pandas": by_pandas,
    "pandas nullable": lambda x: by_pandas(x, lambda made: made.convert_dtypes()),
    "pandas arrow": lambda x: by_pandas(x, arrow_backed),
    "pandas shuffled": lambda x: by_pandas(x, index=np.random.default_rng(3).permutation(len(x)) + 5),
    "pandas of lists": lambda x: pd.Series(x.tolist()) if x.ndim == 2 else None,
    "polars": by_polars,
    "polars of lists": lambda x: pl.Series(x.tolist()) if x.ndim == 2 else None,
    "arrow": by_arrow,
    "arrow of lists": lambda x: pa.chunked_array([pa.array(x.tolist())]) if x.ndim == 2 else None,
    "tensor f4": lambda x: tensor(x, "float32"),
    "tensor f8": lambda x: tensor(x, "float64"),
    "tensor i8": lambda x: tensor(x, "int64"),
    "tensor bf16": lambda x: tensor(x, "bfloat16"),
    "tensor grad": lambda x: tensor(x, "float32", requires_grad=True),
}
if find_spec("torch"):  # no dependency of the tests: where it is there, the real ones are driven too
    CARRIERS |= {
        "torch f4": lambda x: real_tensor(x, "float32"),
        "torch f8": lambda x: real_tensor(x, "float64"),
        "torch i8": lambda x: real_tensor(x, "int64"),
        "torch bf16": lambda x: real_tensor(x, "bfloat16"),
        "torch grad": lambda x: real_tensor(x, "float32", requires_grad=True),
    }

N, K = 16, 3
X = np.random.default_rng(11).integers(0, 64, (N, 4)).astype(np.float64)  # exact in every dtype
Y = np.tile([0, 1, -1, -1], N // 4)
NAMES = np.arange(100, 100 + N)
TEXTS = np.array([f"item{i}" for i in range(N)])
LISTS = neighbors.find_neighbors(X, K)
GRAPH = mf.graph_from_neighbors(LISTS)
SEARCH = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=K).fit(X, NAMES)
TEXT_SEARCH = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=K).fit(X, TEXTS)
REGIONAL = mf.RegionalSearch(n_neighbors=K).fit(X, images=np.arange(N) // 2, ids=NAMES[: N // 2])
SEEDS = np.eye(N)[:, :2]
D = np.column_stack([np.ones(N), LISTS.similarities.astype(np.float64)])
I = np.column_stack([np.arange(N), LISTS.indices])  # noqa: E741 -- FAISS's own name
SHORT = NAMES[LISTS.indices[:4]]
CLOSE = LISTS.similarities[:4].astype(np.float64)
MODEL = mf.LabelPropagation(n_neighbors=K).fit(X, Y)
RELEVANT = [[2, 0], [1], [3, 2], [0]]
RANKED = np.array([[0, 1, 2], [1, 2, 0], [2, 3, 1], [1, 0, 3]])
DESCENDING = np.array([[3, 2, 1.0]] * 4)
TRUTH = np.arange(N) % 2
CLEAN = np.arange(N) < 8
W = GRAPH.affinity.toarray().astype(np.float64)
CELLS = np.arange(48.0).reshape(4, 4, 3)
DISTRIBUTIONS = MODEL.label_distributions_.astype(np.float64)
FRAMES = X + np.array([0, 0, 1, 0])
WORDS = np.arange(N) % 4
FEATURES = matching.LocalFeatures(FRAMES, None, [0, 6, 11, N], WORDS)
VIEWS = neighbors.Neighbors([[1, 2], [0, 2], [0, 1]], [[3, 1], [3, 2], [2, 1]], "precomputed", "by hand")
VOCABULARY = matching.learn_vocabulary(X, 3)
TRANSFORMS = np.array([[0.0, 0, 1, 0], [0, 1, 1, 0], [1, 0, 2, 1], [0, 0, 1, 0]])
PAIRS = np.array([[0, 1], [2, 5], [3, 9], [4, 8], [6, 7]])
WALKS = ranking.GraphSearch().fit(GRAPH, X, nodes=NAMES)


def arrays(found):
    return found if isinstance(found, tuple) else (found,)


def ranked(found):
    return found.ids, found.scores, found.slack


def listed(found):
    return found.indices, found.similarities


def weighed(graph):
    return graph.affinity.toarray(), graph.degrees


def grown(x=None, ids=None):
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=K).fit(X, NAMES)
    new = search.add(X[:2] if x is None else x, np.array([7, 9]) if ids is None else ids)
    return (new, *ranked(search.search(X[:3], 5)))


def updated(x=None, ids=None, gone=()):
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=K).fit(X, NAMES)
    search.update(X[4:6] if x is None else x, np.array([101, 7]) if ids is None else ids, gone=gone)
    return (search.ids_, *ranked(search.search(X[:3], 5)))


def without(ids):
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=K).fit(X, NAMES)
    search.remove(ids)
    return ranked(search.search(X[:3], 5))


def explained(query):
    found = ranking.explain(SEARCH, query, 104)
    return found.seeds, np.array([found.score])


def propagated(found):
    return found.labels, found.distributions, found.certainty


def estimated(x=X, y=Y):
    model = mf.LabelPropagation(n_neighbors=K).fit(x, y)
    return model.transduction_, model.label_distributions_, model.predict(x), model.predict_proba(x)


def pseudo(found):
    return found.labels, found.weights


def figures(found):
    return np.array([found])


def verified(ids=RANKED, similarities=RANKED * 0.25, scores=RANKED * 2):
    return matching.verified_seeds(ids, similarities, scores, n_nodes=4).toarray()


def compared(x=X, queries=X[:4]):
    truth = datasets.GroundTruth("by hand", {"relevant": RELEVANT}, n_items=N)
    found = evaluation.compare(x, truth, {"search": {"n_neighbors": K}}, queries=queries)
    return tuple(figures(outcome.figures["all"]["mAP"]) for outcome in found.values())


def judged(labels):
    truth = datasets.ground_truth("labels", labels)
    return tuple(np.sort(np.array(list(items))) for items in truth.judgements(next(iter(truth.settings)))[0])


def shown(x=X, Q=None, labels=TRUTH):
    explorer = mf.Explorer(SEARCH, x, Q=Q, labels=labels, query_labels=None if Q is None else TRUTH[:3], k=3)
    answer = explorer.answer()
    return (answer.nearest[0], *ranked(answer.ranking))


def lines(ids=RANKED, scores=DESCENDING):
    return np.array(list(datasets.trec.run_lines(ids, scores, queries=["a", "b", "c", "d"])))


def local_arrays(features):
    return tuple(x for x in (features.geometry, features.descriptors, features.indptr, features.words) if x is not None)


def local(**given):
    held = {"geometry": FRAMES, "descriptors": None, "indptr": [0, 6, N], "words": None, **given}
    return local_arrays(matching.LocalFeatures(**held))


def mined(found):
    return found.positives.ids, found.negatives.ids


def whitened(x=X, pairs=None):
    return (discovery.PairWhitening().fit(x, PAIRS if pairs is None else pairs).projection_,)


#        argument, plain values, call of the carried
DOORS = {
    "find_neighbors": ("X", X, lambda x: listed(neighbors.find_neighbors(x, K))),
    "find_neighbors euclidean": ("X", X, lambda x: listed(neighbors.find_neighbors(x, K, metric="euclidean"))),
    "find_neighbors inverted file": (
        "X",
        X,
        lambda x: listed(neighbors.find_neighbors(x, K, method="inverted_file", random_state=1)),
    ),
    "build_graph": ("X", X, lambda x: weighed(mf.build_graph(x, K))),
    "build_graph precomputed": ("X", W, lambda x: weighed(mf.build_graph(x, K, metric="precomputed"))),
    "from_precomputed": ("similarities", W, lambda x: listed(neighbors.from_precomputed(x, K))),
    "graph_from_affinity": ("W", W, lambda x: weighed(mf.graph_from_affinity(x))),
    "graph_from_neighbors D": ("D", D, lambda x: weighed(mf.graph_from_neighbors(x, I))),
    "graph_from_neighbors I": ("I", I, lambda x: weighed(mf.graph_from_neighbors(D, x))),
    "Neighbors indices": (
        "indices",
        LISTS.indices.astype(np.int64),
        lambda x: listed(neighbors.Neighbors(x, LISTS.similarities, "cosine", "by hand")),
    ),
    "Neighbors similarities": (
        "similarities",
        LISTS.similarities.astype(np.float64),
        lambda x: listed(neighbors.Neighbors(LISTS.indices, x, "cosine", "by hand")),
    ),
    "with_similarities": (
        "similarities",
        LISTS.similarities.astype(np.float64),
        lambda x: listed(LISTS.with_similarities(x)),
    ),
    "subgraph": ("nodes", np.array([1, 3, 4, 5, 8]), lambda x: weighed(GRAPH.subgraph(x))),
    "diffuse seeds": ("seeds", SEEDS, lambda x: (mf.diffuse(GRAPH, x).scores,)),
    "diffuse one seed": ("seeds", SEEDS[:, 0].copy(), lambda x: (mf.diffuse(GRAPH, x).scores,)),
    "diffuse x0": ("x0", SEEDS / 2, lambda x: (mf.diffuse(GRAPH, SEEDS, x0=x).scores,)),
    "diffuse one x0": ("x0", SEEDS[:, 0] / 2, lambda x: (mf.diffuse(GRAPH, SEEDS[:, 0], x0=x).scores,)),
    **{
        f"diffuse {name}": ("seeds", SEEDS, lambda x, name=name: (mf.diffuse(GRAPH, x, solver=name).scores,))
        for name in ("direct", "power", "chebyshev", "lanczos", "fsr", "hybrid")
    },
    "fit X": (
        "X",
        X,
        lambda x: ranked(mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=K).fit(x).search(X[:3], 5)),
    ),
    "fit ids": (
        "ids",
        NAMES,
        lambda x: ranked(mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=K).fit(X, x).search(X[:3], 5)),
    ),
    "fit text ids": (
        "ids",
        TEXTS,
        lambda x: ranked(mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=K).fit(X, x).search(X[:3], 5)),
    ),
    "search Q": ("Q", X[:3], lambda x: ranked(SEARCH.search(x, 5))),
    "search one Q": ("Q", X[0], lambda x: ranked(SEARCH.search(x, 5))),
    "search Q skip": ("Q", X[:3], lambda x: ranked(SEARCH.search(x, 5, on_bad="skip"))),
    "rerank ids": ("ids", SHORT, lambda x: ranked(SEARCH.rerank(x, CLOSE, 3))),
    "rerank one list of ids": ("ids", SHORT[0], lambda x: ranked(SEARCH.rerank(x, CLOSE[0], 3))),
    "rerank text ids": ("ids", TEXTS[LISTS.indices[:4]], lambda x: ranked(TEXT_SEARCH.rerank(x, CLOSE, 3))),
    "rerank similarities": ("similarities", CLOSE, lambda x: ranked(SEARCH.rerank(SHORT, x, 3))),
    "rerank distances": ("distances", 1 - CLOSE, lambda x: ranked(SEARCH.rerank(SHORT, distances=x, k=3))),
    "similar": ("ids", NAMES[:4], lambda x: ranked(SEARCH.similar(x, 5))),
    "similar texts": ("ids", TEXTS[:4], lambda x: ranked(TEXT_SEARCH.similar(x, 5))),
    "add X": ("X", X[:2], grown),
    "add ids": ("ids", np.array([7, 9]), lambda x: grown(ids=x)),
    "remove": ("ids", NAMES[:3], without),
    "update X": ("X", X[:2], updated),
    "update ids": ("ids", np.array([101, 9]), lambda x: updated(ids=x)),
    "update gone": ("gone", NAMES[3:6], lambda x: updated(gone=x)),
    "search allowed": ("allowed", NAMES[2:9], lambda x: ranked(SEARCH.search(X[:3], 5, allowed=x))),
    "search allowed texts": ("allowed", TEXTS[2:9], lambda x: ranked(TEXT_SEARCH.search(X[:3], 5, allowed=x))),
    "search allowed mask": ("allowed", TRUTH == 1, lambda x: ranked(SEARCH.search(X[:3], 5, allowed=x))),
    "rerank allowed": ("allowed", NAMES[2:9], lambda x: ranked(SEARCH.rerank(SHORT, CLOSE, 3, allowed=x))),
    "similar allowed": ("allowed", TRUTH == 1, lambda x: ranked(SEARCH.similar(NAMES[:4], 5, allowed=x))),
    "regional allowed": ("allowed", NAMES[2:6], lambda x: ranked(REGIONAL.search(X[:4], k=2, allowed=x))),
    "explain": ("query", X[2], explained),
    "tune": ("X", X, lambda x: (np.array([ranking.tune(x).setting.n_neighbors]),)),
    "regional X": (
        "X",
        X,
        lambda x: ranked(mf.RegionalSearch(n_neighbors=K).fit(x, images=np.arange(N) // 2).search(X[:2], k=5)),
    ),
    "regional images": (
        "images",
        np.arange(N) // 2,
        lambda x: ranked(mf.RegionalSearch(n_neighbors=K).fit(X, images=x).search(X[:2], k=5)),
    ),
    "regional Q": ("Q", X[:4], lambda x: ranked(REGIONAL.search(x, k=5))),
    "regional queries": ("queries", np.array([0, 0, 1, 1]), lambda x: ranked(REGIONAL.search(X[:4], x, k=5))),
    "regional similar": ("ids", NAMES[:3], lambda x: ranked(REGIONAL.similar(x, k=5))),
    "LabelPropagation X": ("X", X, estimated),
    "LabelPropagation y": ("labels", Y, lambda y: estimated(y=y)),
    "propagate labels": ("labels", Y, lambda y: propagated(mf.propagate(GRAPH, y))),
    "propagate texts": (
        "labels",
        np.where(Y < 0, "", np.array(["cat", "dog"])[np.maximum(Y, 0)]),
        lambda y: propagated(mf.propagate(GRAPH, y)),
    ),
    "propagate soft": (
        "labels",
        (Y[:, None] == [0, 1]) * 0.5,
        lambda y: propagated(mf.propagate(GRAPH, y, kind="soft")),
    ),
    "propagate values": ("labels", np.arange(N) / 4, lambda y: propagated(mf.propagate(GRAPH, y, kind="values"))),
    "propagate x0": ("x0", SEEDS / 2, lambda x: propagated(mf.propagate(GRAPH, Y, x0=x))),
    "propagate priors": ("priors", np.array([1.0, 3.0]), lambda p: propagated(mf.propagate(GRAPH, Y, priors=p))),
    "pseudo_labels features": ("features", X, lambda x: pseudo(labels.pseudo_labels(x, Y, n_neighbors=K))),
    "pseudo_labels labels": ("labels", Y, lambda y: pseudo(labels.pseudo_labels(X, y, n_neighbors=K))),
    "clean_labels features": ("features", X, lambda x: (labels.clean_labels(x, TRUTH, CLEAN, random_state=0),)),
    "clean_labels labels": ("labels", TRUTH, lambda y: (labels.clean_labels(X, y, CLEAN, random_state=0),)),
    "clean_labels clean": ("clean", CLEAN, lambda c: (labels.clean_labels(X, TRUTH, c, random_state=0),)),
    "select labelled": ("labelled", np.array([0, 5]), lambda x: (labels.select(GRAPH, x, 3),)),
    "select features": (
        "features",
        X,
        lambda x: (labels.select(GRAPH, [0, 5], 3, strategy="coreset", features=x),),
    ),
    "select distributions": (
        "distributions",
        DISTRIBUTIONS,
        lambda x: (labels.select(GRAPH, [0, 5], 3, strategy="entropy", distributions=x),),
    ),
    "sample_episodes": (
        "labels",
        TRUTH,
        lambda y: (few_shot.sample_episodes(y, 3, n_way=2, n_queries=2, random_state=0).support,),
    ),
    "overlap": ("a", RANKED, lambda x: figures(metrics.overlap_at_k(x, RANKED[:, ::-1], k=2))),
    "map ranking": ("ranking", RANKED, lambda x: figures(metrics.mean_average_precision(x, RELEVANT))),
    "recall ranking": ("ranking", RANKED, lambda x: figures(metrics.recall_at_k(x, RELEVANT, k=2))),
    "map relevant": (
        "relevant",
        np.array([2, 0]),
        lambda x: figures(metrics.mean_average_precision(RANKED, [x, [1], [3, 2], [0]])),
    ),
    "k_occurrences": ("neighbors", RANKED, lambda x: (metrics.k_occurrences(x, 4),)),
    "hubness": ("counts", np.array([3, 1, 0, 5]), lambda x: figures(metrics.hubness(x))),
    "nmi": ("a", TRUTH, lambda x: figures(metrics.normalized_mutual_information(x, Y))),
    "reciprocal ids": (
        "ids",
        LISTS.indices[:4].astype(np.int64),
        lambda x: reranking.reciprocal_rerank(LISTS, x, CLOSE, k1=3, k2=2),
    ),
    "reciprocal similarities": (
        "similarities",
        CLOSE,
        lambda x: reranking.reciprocal_rerank(LISTS, LISTS.indices[:4], x, k1=3, k2=2),
    ),
    "fuse ids": ("ids", RANKED, lambda x: reranking.fuse_rankings([(x, RANKED * 0.5), (RANKED, RANKED)])),
    "fuse texts": ("ids", TEXTS[RANKED], lambda x: reranking.fuse_rankings([(x, RANKED * 0.5)])),
    "fuse scores": ("scores", RANKED * 0.5, lambda x: reranking.fuse_rankings([(RANKED, x)])),
    "fuse weights": (
        "weights",
        np.array([1.0, 2.0]),
        lambda w: reranking.fuse_rankings([(RANKED, RANKED), (RANKED[::-1], RANKED)], weights=w),
    ),
    "hub_offsets": ("ids", RANKED, lambda x: (reranking.hub_offsets(x, DESCENDING, n_items=4),)),
    "hub_offsets similarities": (
        "similarities",
        DESCENDING,
        lambda x: (reranking.hub_offsets(RANKED, x, n_items=4),),
    ),
    "remove_hubs offsets": (
        "offsets",
        np.array([0.5, 0.25, 0.0, 1.0]),
        lambda o: reranking.remove_hubs(RANKED, DESCENDING, offsets=o),
    ),
    "expand_queries Q": ("Q", X[:4], lambda x: (reranking.expand_queries(x, X, n_expand=2),)),
    "expand_queries X": ("X", X, lambda x: (reranking.expand_queries(X[:4], x, n_expand=2),)),
    "expand_queries ids": (
        "ids",
        LISTS.indices[:4].astype(np.int64),
        lambda x: (reranking.expand_queries(X[:4], X, n_expand=2, ids=x, similarities=CLOSE),),
    ),
    "augment_database": ("X", X, lambda x: (reranking.augment_database(x, LISTS),)),
    "score_profiles": ("scores", DISTRIBUTIONS, lambda x: (reranking.score_profiles(x).toarray(),)),
    "query_seeds ids": (
        "ids",
        RANKED,
        lambda x: (ranking.query_seeds(x, RANKED * 0.25, n_nodes=4).toarray(),),
    ),
    "query_seeds similarities": (
        "similarities",
        RANKED * 0.25,
        lambda x: (ranking.query_seeds(RANKED, x, n_nodes=4).toarray(),),
    ),
    "unit_seeds": ("nodes", np.array([3, 1]), lambda x: (ranking.unit_seeds(x, 4).toarray(),)),
    "pooling_weights": ("regions", X[:3], lambda x: (ranking.pooling_weights(x),)),
    "certainty": ("distributions", DISTRIBUTIONS, lambda x: (labels.certainty(x),)),
    "class_weights": ("columns", TRUTH, lambda x: (labels.class_weights(x, 2),)),
    "estimated_priors": ("label_counts", np.array([30, 10]), lambda x: (labels.estimated_priors(x),)),
    "sinkhorn": ("P", DISTRIBUTIONS, lambda x: (labels.sinkhorn(x, [1, 1]),)),
    "verified ids": ("ids", RANKED, lambda x: (verified(x),)),
    "verified similarities": ("similarities", RANKED * 0.25, lambda x: (verified(similarities=x),)),
    "verified scores": ("verification", RANKED * 2, lambda x: (verified(scores=x),)),
    "weighted_prototypes": ("relevance", CLEAN * 0.5, lambda r: (weighted_prototypes(X, TRUTH, r),)),
    "region_vectors": ("activations", CELLS, lambda x: (matching.region_vectors(x, [[0, 0, 2, 2]]),)),
    "region_vectors boxes": (
        "boxes",
        np.array([[0, 0, 2, 2], [1, 1, 4, 4]]),
        lambda x: (matching.region_vectors(CELLS, x),),
    ),
    "ground_truth labels": ("labels", TRUTH, judged),
    "reliability": ("certainty", DISTRIBUTIONS[:, 0], lambda x: plotting.reliability(x, CLEAN)),
    "reliability correct": ("correct", CLEAN, lambda x: plotting.reliability(DISTRIBUTIONS[:, 0], x)),
    "confusion": ("truth", TRUTH, lambda x: plotting.confusion_counts(x, TRUTH[::-1])),
    "confusion texts": ("predicted", TEXTS, lambda x: plotting.confusion_counts(TEXTS[::-1], x)),
    "diffusion_steps": ("seeds", SEEDS[:, 0] / 2, lambda x: (plotting.diffusion_steps(GRAPH, x),)),
    "Explorer X": ("X", X, shown),
    "Explorer Q": ("Q", X[:3] + 1, lambda x: shown(Q=x)),
    "Explorer labels": ("labels", TRUTH, lambda x: shown(labels=x)),
    "compare X": ("X", X, compared),
    "compare queries": ("queries", X[:4], lambda x: compared(queries=x)),
    "run_lines ids": ("ids", RANKED, lambda x: (lines(x),)),
    "run_lines text ids": ("ids", TEXTS[RANKED], lambda x: (lines(x),)),
    "run_lines scores": ("scores", DESCENDING, lambda x: (lines(scores=x),)),
    "LocalFeatures geometry": ("geometry", FRAMES, lambda x: local(geometry=x)),
    "LocalFeatures places": ("geometry", FRAMES[:, :2].copy(), lambda x: local(geometry=x)),
    "LocalFeatures descriptors": ("descriptors", X, lambda x: local(descriptors=x)),
    "LocalFeatures indptr": ("indptr", np.array([0, 5, 11, N]), lambda x: local(indptr=x)),
    "LocalFeatures words": ("words", WORDS, lambda x: local(words=x)),
    "learn_vocabulary": ("descriptors", X, lambda x: (matching.learn_vocabulary(x, 3).centroids,)),
    "Vocabulary words": ("descriptors", X, lambda x: (VOCABULARY.words(x),)),
    "tentative first": ("first", X[:8], lambda x: (matching.tentative_matches(x, X + 1, ratio=1.0),)),
    "tentative second": ("second", X[:8], lambda x: (matching.tentative_matches(X + 1, x, ratio=1.0),)),
    "verify": ("pairs", np.array([[0, 1], [2, 0]]), lambda x: (matching.verify(x, FEATURES, method="hpm").scores,)),
    "hough transforms": ("transforms", TRANSFORMS, lambda x: (matching.hough_strengths(x, WORDS[:4]),)),
    "hough labels": ("labels", np.array([3, 0, 3, 1]), lambda x: (matching.hough_strengths(TRANSFORMS, x),)),
    "verified_expansion": (
        "start",
        np.array([1, 0]),
        lambda x: matching.verified_expansion(x, VIEWS, FEATURES, threshold=1),
    ),
    "activation_features": ("activations", CELLS, lambda x: local_arrays(matching.activation_features([x]))),
    "novelty": ("labels", Y, lambda y: (discovery.novelty(GRAPH, y),)),
    "support": ("labels", Y, lambda y: (discovery.support(GRAPH, y),)),
    "new_classes": ("labels", Y, lambda y: (discovery.new_classes(GRAPH, y).labels,)),
    "cluster modes": ("modes", np.array([1, 6]), lambda x: (discovery.cluster(GRAPH, x).labels,)),
    "cover": ("similarities", W, lambda x: (discovery.cover(x, 0.5).centres,)),
    "cover_places": ("coordinates", X[:, :2].copy(), lambda x: (discovery.cover_places(x, 900.0).centres,)),
    "feature_saliency": ("activations", CELLS, lambda x: (discovery.feature_saliency(x),)),
    "channel_weights": ("activations", CELLS, lambda x: (discovery.channel_weights([x]),)),
    "token_saliency": ("tokens", CELLS, lambda x: (discovery.token_saliency(x),)),
    "mine anchors": (
        "anchors",
        np.array([1, 4]),
        lambda x: mined(discovery.mine(GRAPH, LISTS, x, n_positive=2, n_negative=3)),
    ),
    "PairWhitening X": ("X", X, whitened),
    "PairWhitening pairs": ("pairs", PAIRS, lambda x: whitened(pairs=x)),
    "scene_maps": ("X", X, lambda x: (discovery.scene_maps(x, discovery.cover(W, 0.5)).vectors,)),
    "GraphSearch X": ("X", X, lambda x: ranked(ranking.GraphSearch().fit(GRAPH, x).search(X[:3], 5))),
    "GraphSearch Q": ("Q", X[:3], lambda x: ranked(WALKS.search(x, 5))),
    "GraphSearch nodes": (
        "ids",
        NAMES,
        lambda x: ranked(ranking.GraphSearch().fit(GRAPH, X, nodes=x).search(X[:3], 5)),
    ),
    "GraphSearch seeds": ("seeds|ids", NAMES[:2], lambda x: ranked(WALKS.search(X[0], 5, seeds=x))),
}


def cells():
    """Return (door, carrier, what is handed in) for every carrier that can hold the values of a door."""
    for door, (_, values, _) in DOORS.items():
        for carrier, carry in CARRIERS.items():
            carried = carry(values)
            if carried is not None:
                yield pytest.param(door, carrier, carried, id=f"{door}-{carrier}")


PLAIN = {}
# what is masked in lists of ids is no id; beside an id it is refused, or its number is not looked at
MISSING = {
    "rerank ids": lambda x: np.where(masked(x).mask, -1, x),
    "rerank one list of ids": lambda x: np.where(masked(x).mask, -1, x),
    "rerank text ids": lambda x: np.where(masked(x).mask, "", x),
    **dict.fromkeys(
        ("search allowed", "rerank allowed", "regional allowed"), lambda x: np.where(masked(x).mask, -1, x)
    ),
    "search allowed texts": lambda x: np.where(masked(x).mask, "", x),
}


def may_be_refused(door, carrier, kind):
    """Return whether a refusal is what a door says of a carrier: all others are to be read."""
    inexact = any(carrier.endswith(end) for end in (" f2", " f4", " f8", ">f8", " g", " bf16", " grad"))
    return (
        carrier == "masked"
        or (kind in "iu" and inexact)  # floats are no ids, and no classes of those who count from 0
        or (carrier == "object" and kind != "U")  # what may hold anything is no array of numbers
        or (door.startswith("run_lines") and ("of lists" in carrier or carrier in NO_TABLES))
    )


NO_TABLES = ("pandas nullable", "pandas arrow", "tensor bf16", "tensor grad", "torch bf16", "torch grad")


@pytest.mark.parametrize(("door", "carrier", "carried"), list(cells()))
def test_a_carrier_gives_the_plain_answer_or_is_refused(door, carrier, carried):
    name, values, call = DOORS[door]
    if door not in PLAIN:
        PLAIN[door] = call(values)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "[a-zA-Z]+ has dtype", ManifoldWarning)
            found = call(carried)
    except (TypeError, ValueError) as error:
        words = str(error)
        if not (re.match(rf"{name}\b", words) and may_be_refused(door, carrier, values.dtype.kind)):
            raise
        return
    assert carrier != "masked" or door in MISSING, "what is masked was read"
    expected = call(MISSING[door](values)) if carrier == "masked" else PLAIN[door]
    for one, plain in zip(found, expected, strict=True):
        if one.dtype.kind == "f" and one.dtype != plain.dtype:  # answers in the precision of what came in
            np.testing.assert_allclose(one, plain, rtol=4 * np.finfo(one.dtype).eps, atol=4 * np.finfo(one.dtype).eps)
        else:
            np.testing.assert_array_equal(one, plain)


def frames(names):
    """Return the same points with their columns in another order, or under another name."""
    frame = pd.DataFrame(X, columns=list("abcd"))
    return frame[list(names)] if set(names) == set("abcd") else frame.rename(columns={"d": "e"})


@pytest.mark.parametrize("saved", [False, True])
def test_columns_go_by_their_names_at_every_query(tmp_path, saved):
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=K).fit(frames("abcd"))
    regions = mf.RegionalSearch(n_neighbors=K).fit(frames("abcd"))
    if saved:
        search, regions = (mf.load(one.save(tmp_path / name)) for name, one in (("s", search), ("r", regions)))
    turned, other = frames("dbca"), frames("abce")
    for call in (
        lambda Q: ranked(search.search(Q, 5)),
        lambda Q: ranked(search.search(Q, 5, on_bad="skip")),
        lambda Q: ranked(regions.search(Q.head(2), k=5)),
        lambda Q: (regions.region_scores(Q.head(2)),),
    ):
        for one, plain in zip(call(turned), call(frames("abcd")), strict=True):
            np.testing.assert_array_equal(one, plain)
        with pytest.raises(ValueError, match=r"must have the columns of the fitted points; it lacks \['d'\]"):
            call(other)
    with pytest.raises(ValueError, match="X must have the columns of the fitted points"):
        search.add(other)
    for one in (search, regions):
        one.add(turned.head(2))
        np.testing.assert_array_equal(one.fitted_.points.X[-2:], X[:2].astype(np.float32))


def test_scikit_learn_compares_the_columns_of_a_classifier():
    model = mf.LabelPropagation(n_neighbors=K).fit(frames("abcd"), Y)
    np.testing.assert_array_equal(model.predict(frames("abcd")), MODEL.predict(X))
    with pytest.raises(ValueError, match="feature names should match those that were passed during fit"):
        model.predict(frames("dbca"))
