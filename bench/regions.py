"""Small objects in photos: regional diffusion against its baselines, on shop images put to shelf photos.

Grocery Store, 81 iconic queries to 2,485 test photos, 14 regions an image (PCA-whitened GeM of EfficientNet-Lite0).
Rows of regional diffusion have the published setting (Iscen et al., CVPR 2017): gamma = 3, alpha = 0.99, 200 seeds a
region of the query and 200 a query, k = 50 mutual (the paper's for 5 regions an image; for 21 it has 200), and change
what they name. Global rows search region 0, the whole image. mAP counts with interpolation="step". fit_s leaves out the
search for the neighbours of the graph, which is done once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import manifold as mf
from bench._report import Row
from manifold.errors import DatasetNotFoundError
from manifold.metrics import mean_average_precision
from manifold.neighbors import Neighbors, PointSet, find_neighbors
from manifold.ranking import RegionalSearch, region_match

FOLDED = mf.solvers.FastSpectralRanking(rank=200, certify=False)
# what a row names -> the settings it changes
REGIONAL: dict[str, dict[str, Any]] = {
    "generalized max pooling": {},
    "sum pooling": {"pooling": "sum"},
    "max pooling": {"pooling": "max"},
    "y_mode=power_of_sum": {"y_mode": "power_of_sum"},
    "lambda=0.1": {"regularization": 0.1},
    "lambda=10": {"regularization": 10.0},
    "n_neighbors=20": {"n_neighbors": 20},
    "n_neighbors=200": {"n_neighbors": 200},
    "20 seeds": {"n_seeds": 20, "n_largest": 20},
    "degree_exponent=0.5": {"degree_exponent": 0.5},
    "degree_exponent=0.5, sum": {"degree_exponent": 0.5, "pooling": "sum"},
    "degree_exponent=0.5, max": {"degree_exponent": 0.5, "pooling": "max"},
    "fsr, rank 200, folded in": {"solver": FOLDED},
    "shortlist 1000, late": {"shortlist": 1000, "truncation": "late"},
    "shortlist 1000, early": {"shortlist": 1000, "truncation": "early"},
}


def run(*, quick: bool) -> list[Row]:
    try:
        data = mf.datasets.load("grocery", protocol="iconic-test", features="regions")
    except DatasetNotFoundError as error:
        print(f"regions are left out: {error}")
        return []
    return [*_global(data), *_regional(data, quick=quick)]


def _global(data: Any) -> Iterator[Row]:
    """Rank by one vector an image, and by all regions without diffusion."""
    X, images = data.regions()
    Q, queries = data.query_regions()
    whole, asked = data.features[:, 0], data.queries[:, 0]
    yield _row("global", "nearest neighbours", data, _best(_unit(asked) @ _unit(whole).T))
    summed, asked_sum = _unit(_unit(data.features).sum(axis=1)), _unit(_unit(data.queries).sum(axis=1))
    yield _row("global", "sum of regions, nearest neighbours", data, _best(asked_sum @ summed.T))
    for name, settings in (
        ("diffusion, k = 20, alpha = 0.9, 10 seeds", {"n_neighbors": 20, "alpha": 0.9, "n_seeds": 10}),
        ("diffusion, published setting", {"preset": "paper"}),
        ("diffusion, default", {}),
    ):
        search = mf.ManifoldSearch(on_failure="ignore", **settings).fit(whole)
        yield _row("global", name, data, search.search(asked, k=len(whole)).ids)
    match = region_match(PointSet(Q, "cosine"), PointSet(X, "cosine"), queries=queries, images=images)
    yield _row("regional", "R-match", data, _best(match))


def _regional(data: Any, *, quick: bool) -> Iterator[Row]:
    X, images = data.regions()
    Q, queries = data.query_regions()
    n_images = len(data.features)
    near = find_neighbors(X, 50 if quick else 200)
    for name, given in list(REGIONAL.items())[: 2 if quick else None]:
        settings = dict(given)
        asking = {key: settings.pop(key) for key in ("shortlist", "truncation") if key in settings}
        search = RegionalSearch(**settings)
        start = time.perf_counter()
        k = search.n_neighbors
        lists = Neighbors(near.indices[:, :k], near.similarities[:, :k], metric="cosine", method="exact")
        graph = mf.graph_from_neighbors(lists, gamma=search.affinity.gamma, bridge=search.bridge)
        search.fit(X, images, graph=graph)
        fitted = time.perf_counter()
        ids = search.search(Q, queries, k=n_images, **asking).ids
        done = time.perf_counter()
        facts = {"fit_s": fitted - start, "ms_per_query": 1e3 * (done - fitted) / len(ids)}
        yield _row("regional diffusion", name, data, ids) | facts


def _row(family: str, name: str, data: Any, ids: Any) -> Row:
    mAP = mean_average_precision(ids, data.relevant, interpolation="step")
    return {"family": family, "setting": name, "mAP": float(mAP)}


def _best(scores: Any) -> Any:
    return np.argsort(-scores, axis=1, kind="stable")


def _unit(X: Any) -> Any:
    return X / np.linalg.norm(X, axis=-1, keepdims=True)
