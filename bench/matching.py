"""Match kernels and verification of a collection of local features: time, memory, and what is found, as it grows.

Each row is one process: n images of 300 features, ten views of one thing each, in a vocabulary of 65,536 words that
nobody learned: a view keeps six in ten features of its thing, turned, scaled and shifted, with noise on descriptors of
128 bytes; the others are its own, of words that are as frequent. `asmk`: entries, and lists of the 10 best of all;
`verify`: the pairs of these lists, symmetric ones once. `cpu_s` is the time of the process, which a busy machine does
not stretch; `peak_gib` its largest resident set, features and libraries included. `found` is the share of the nine
other views in the lists, `true` of the edges that are verified (15 inliers; of HPM a score beyond all but one in a
thousand of wrong pairs), `kept` of right pairs that stay. `real` are the 5,995 pairs of 110 images of
``discovery/local_features.npz``, where MANIFOLD_DATA has them: `area` under the curve of right against wrong pairs, the
least and the median of five vocabularies of 1,024 words.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from bench._report import Row
from manifold.datasets import data_folder
from manifold.matching import (
    LocalFeatures,
    Vocabulary,
    aggregate,
    learn_vocabulary,
    match_kernel,
    read_local_features,
    verify,
)
from manifold.neighbors import from_precomputed

SIZES = (2_000, 10_000)
_FEATURES, _VIEWS, _WORDS, _DIMS, _VOCABULARIES = 300, 10, 65_536, 128, 5


def run(*, quick: bool) -> list[Row]:
    rows: list[Row] = []
    for n in (500,) if quick else SIZES:
        command = [sys.executable, "-W", "error", "-m", "bench.matching", str(n)]
        rows += json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    path = data_folder() / "discovery" / "local_features.npz"
    return rows + (_real(path) if path.exists() and not quick else [])


def synthetic(n: int) -> tuple[LocalFeatures, Vocabulary]:
    """Return the features of n images, and their vocabulary."""
    rng = np.random.default_rng(70109)
    centroids = rng.integers(60, 196, (_WORDS, _DIMS), dtype=np.uint8)
    descriptors = np.empty((n * _FEATURES, _DIMS), np.uint8)
    geometry, words = np.empty((n * _FEATURES, 4), np.float32), np.empty(n * _FEATURES, np.int32)
    shared = int(0.6 * _FEATURES)
    for i in range(n):
        if i % _VIEWS == 0:
            thing = _frames(rng, _FEATURES), _drawn(rng, _FEATURES)
        rows = slice(i * _FEATURES, (i + 1) * _FEATURES)
        frames, drawn = _frames(rng, _FEATURES), _drawn(rng, _FEATURES)
        kept = rng.permutation(_FEATURES)[:shared]
        scale, angle = np.exp(rng.uniform(-0.5, 0.5)), rng.uniform(-45, 45)
        c, s = scale * np.cos(np.deg2rad(angle)), scale * np.sin(np.deg2rad(angle))
        x = thing[0][kept, :2] @ np.array([[c, s], [-s, c]]) + rng.uniform(-80, 80, 2)
        frames[:shared] = np.column_stack([x, thing[0][kept, 2] * scale, thing[0][kept, 3] + angle])
        frames[:shared] += rng.normal(size=(shared, 4)) * [1, 1, 0, 3]
        drawn[:shared] = thing[1][kept]
        geometry[rows], words[rows] = frames, drawn
        noisy = centroids[drawn] + rng.normal(0, 12, (_FEATURES, _DIMS))
        # a feature of a thing differs from its word as that feature does in every view
        noisy[:shared] += np.random.default_rng(i // _VIEWS).normal(0, 18, (_FEATURES, _DIMS))[kept]
        descriptors[rows] = np.clip(noisy, 0, 255)
    indptr = np.arange(0, n * _FEATURES + 1, _FEATURES)
    return LocalFeatures(geometry, descriptors, indptr, words), Vocabulary(centroids.astype(np.float32))


def _frames(rng: np.random.Generator, n: int) -> Any:
    return np.column_stack([rng.uniform(0, 512, (n, 2)), rng.uniform(2, 12, n), rng.uniform(0, 360, n)])


def _drawn(rng: np.random.Generator, n: int) -> Any:
    return (_WORDS * rng.random(n) ** 1.3).astype(np.int32)  # some words are far more frequent than others


def measure(n: int) -> list[Row]:
    """Time lists and verification of n images in this process."""
    small, vocabulary = synthetic(20)  # what compiles, does so here
    for method in ("fsm", "hpm"):
        verify([[0, 1]], small, method=method)
    match_kernel(aggregate(small, vocabulary))
    features, vocabulary = synthetic(n)
    bags, aggregated, wall = _timed(lambda: aggregate(features, vocabulary, kernel="asmk"))
    K, worked, walled = _timed(lambda: match_kernel(bags, n_best=10))
    lists = from_precomputed(K, 10)
    same = lists.indices // _VIEWS == np.arange(n)[:, None] // _VIEWS
    found = (same & (lists.indices >= 0)).sum() / (n * (_VIEWS - 1))
    row: Row = {"work": "asmk", "n": n, "cpu_s": aggregated + worked, "wall_s": wall + walled, "pairs": K.nnz}
    rows = [row | {"peak_gib": _peak(), "found": found}]
    pairs = np.stack(np.nonzero(lists.indices >= 0), axis=1)
    pairs[:, 1] = lists.indices[lists.indices >= 0]
    right = pairs[:, 0] // _VIEWS == pairs[:, 1] // _VIEWS
    for method in ("fsm", "hpm"):
        made, worked, wall = _timed(lambda method=method: verify(pairs, features, method=method))
        least = 15 if method == "fsm" else np.quantile(made.scores[~right], 0.999) if (~right).any() else 0.0
        sure = made.scores >= least
        row = {"work": f"verify {method}", "n": n, "cpu_s": worked, "wall_s": wall, "pairs": len(pairs)}
        row |= {"peak_gib": _peak(), "true": right[sure].mean(), "kept": sure[right].mean()}
        rows.append(row | {"us_per_pair": 1e6 * worked / len(np.unique(np.sort(pairs, axis=1), axis=0))})
    return rows


def _real(path: Path) -> list[Row]:
    """Time both methods on all pairs of real images, by turns, of the same correspondences; judge five vocabularies."""
    features = read_local_features(path)
    with np.load(path, allow_pickle=False) as file:
        group, kind, name = (file[part] for part in ("group", "kind", "name"))
    pairs = np.stack(np.triu_indices(features.n_images, 1), axis=1)
    behind = np.array([f"distractor_{n.split('_in_')[-1]}" if k == 2 else "" for n, k in zip(name, kind, strict=True)])
    first, second = pairs.T
    judged = (behind[first] != name[second]) & (behind[second] != name[first])  # one background: right nor wrong
    right = ((group[first] == group[second]) & (group[first] >= 0))[judged]
    areas: dict[str, list[float]] = {"fsm": [], "hpm": []}
    rows: list[Row] = []
    for seed in range(1, _VOCABULARIES + 1):
        vocabulary = learn_vocabulary(features.descriptors, 1024, random_state=seed)
        worded = features.with_words(vocabulary.words(features.descriptors))
        made = {method: verify(pairs, worded, method=method) for method in areas}
        for method, found in made.items():
            ranks = rankdata(found.scores[judged])[right]
            areas[method].append((ranks.mean() - (right.sum() + 1) / 2) / (~right).sum())
    best = dict.fromkeys(areas, np.inf)
    for _ in range(7):
        for method in areas:
            best[method] = min(best[method], _timed(lambda method=method: verify(pairs, worded, method=method))[1])
    for method, found in made.items():
        row: Row = {"work": f"real {method}", "n": features.n_images, "pairs": len(pairs), "cpu_s": best[method]}
        row |= {"correspondences": int(found.n_tentative.sum()), "times_faster": best["fsm"] / best[method]}
        rows.append(row | {"area_least": float(min(areas[method])), "area_median": float(np.median(areas[method]))})
    return rows


def _timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    start, worked = time.perf_counter(), time.process_time()
    made = work()
    return made, time.process_time() - worked, time.perf_counter() - start


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
