"""Match kernels and geometry on 110 real images: groups of views, some of them small in clutter, and distractors."""

from __future__ import annotations

import numpy as np
import pytest

import manifold as mf
from manifold.datasets import data_folder
from manifold.discovery import cover
from manifold.matching import (
    ASMK,
    FastSpatial,
    HoughPyramid,
    activation_features,
    aggregate,
    agree,
    learn_vocabulary,
    match_kernel,
    read_local_features,
    verify,
    verify_neighbors,
)
from manifold.matching.descriptors import generalized_mean_pool
from manifold.metrics import mean_average_precision
from manifold.neighbors import from_precomputed

DATA = data_folder() / "discovery"
pytestmark = pytest.mark.skipif(
    not (DATA / "local_features.npz").exists(),
    reason="set MANIFOLD_DATA to a folder that holds discovery/local_features.npz",
)


class Views:
    """The collection with words, who belongs together, and pairs that are neither right nor wrong."""

    def __init__(self) -> None:
        path = DATA / "local_features.npz"
        with np.load(path, allow_pickle=False) as file:
            self.group, self.kind, self.name, self.homography = (
                file[name] for name in ("group", "kind", "name", "homography")
            )
        features = read_local_features(path)
        self.vocabulary = learn_vocabulary(features.descriptors, 1024, random_state=1)
        self.features = features.with_words(self.vocabulary.words(features.descriptors))
        N = features.n_images
        self.right = (self.group[:, None] == self.group) & (self.group[:, None] >= 0) & ~np.eye(N, dtype=bool)
        background = np.array(
            [n.split("_in_")[-1] if k == 2 else "" for n, k in zip(self.name, self.kind, strict=True)]
        )
        self.junk = np.char.add("distractor_", background)[:, None] == self.name
        self.junk |= self.junk.T
        self.pairs = np.stack(np.triu_indices(N, 1), axis=1)
        self.judged = ~self.junk[tuple(self.pairs.T)]

    def square(self, scores):
        S = np.zeros(self.right.shape)
        S[tuple(self.pairs.T)] = S[tuple(self.pairs.T)[::-1]] = scores
        return S

    def average_precision(self, S):
        S = np.where(self.junk | np.eye(len(S), dtype=bool), -np.inf, S)
        queries = np.flatnonzero(self.right.any(axis=1))
        lists = [
            row[np.isfinite(S[q, row])] for q, row in zip(queries, np.argsort(-S[queries], kind="stable"), strict=True)
        ]
        return np.mean(
            [
                mean_average_precision(one[None], [np.flatnonzero(self.right[q])])
                for q, one in zip(queries, lists, strict=True)
            ]
        )

    def area(self, scores):
        """The share of pairs of a right and a wrong pair that the scores put in order."""
        right = self.right[tuple(self.pairs.T)][self.judged]
        _, ranks, counts = np.unique(scores[self.judged], return_inverse=True, return_counts=True)
        middle = np.cumsum(counts) - (counts - 1) / 2
        n = right.sum()
        return (middle[ranks][right].sum() - n * (n + 1) / 2) / (n * (right.size - n))


@pytest.fixture(scope="module")
def views():
    return Views()


def test_there_are_sixteen_pairs_of_junk(views):
    assert views.junk.sum() == 32


@pytest.mark.parametrize(
    ("kernel", "least"),
    [("bow", 0.90), ("vlad", 0.97), (ASMK(alpha=1.0), 0.975), ("asmk", 0.975), (ASMK(binary=True), 0.975)],
)
def test_match_kernels(views, kernel, least):
    K = match_kernel(aggregate(views.features, views.vocabulary, kernel=kernel)).toarray()
    assert views.average_precision(K) >= least


@pytest.mark.parametrize(
    ("method", "area", "precision"),
    [(FastSpatial(), 0.998, 0.97), (HoughPyramid(), 0.99, 0.97)],
)
def test_geometry(views, method, area, precision):
    found = verify(views.pairs, views.features, method=method)
    assert views.area(found.scores) >= area
    assert views.average_precision(views.square(found.scores)) >= precision
    if isinstance(method, FastSpatial):
        sure = (found.scores >= 15) & views.judged
        right = views.right[tuple(views.pairs.T)]
        assert right[sure].mean() >= 0.97
        assert sure[right].mean() >= 0.95


def test_inliers_lie_where_the_planted_homography_takes_them(views):
    shares = []
    for j in np.flatnonzero(views.kind == 1):
        (i,) = np.flatnonzero((views.group == views.group[j]) & (views.kind == 0))
        found = agree(views.features, i, j, tentative="mutual")
        taken = np.column_stack([found.first[found.inliers], np.ones(found.inliers.sum())]) @ views.homography[j].T
        gaps = np.linalg.norm(taken[:, :2] / taken[:, 2:] - found.second[found.inliers], axis=1)
        shares.append((gaps < 8).mean())
    assert np.mean(shares) >= 0.995
    assert min(shares) >= 0.98  # an affine map is not all of a perspective


def test_components_of_the_verified_graph_are_the_groups(views):
    """But for composites: a small copy inside a distractor ties its group to that distractor."""
    lists = from_precomputed(match_kernel(aggregate(views.features, views.vocabulary), n_best=8), 8)
    plain = mf.graph_from_neighbors(lists, edges="union")
    checked = mf.graph_from_neighbors(verify_neighbors(lists, views.features, threshold=15), edges="union")
    assert plain.n_components == 1
    for group in range(views.group.max() + 1):
        members = np.flatnonzero(views.group == group)
        assert np.unique(checked.components[members]).size <= 1 + (views.kind[members] == 3).any()
    crossing = [
        (i, j)
        for i, j in zip(*checked.affinity.nonzero(), strict=True)
        if i < j and not views.right[i, j] and not views.junk[i, j]
    ]
    assert len(crossing) <= 3


def test_clusters_of_views_are_a_cover_of_verified_pairs(views):
    """Every photo is verified against a centre; all but one thing stand in the cluster of one."""
    lists = from_precomputed(match_kernel(aggregate(views.features, views.vocabulary), n_best=10), 10)
    found = cover(verify_neighbors(lists, views.features, threshold=12, weight="score"), 12)
    members = [found.of(place) for place in range(len(found))]
    assert len(found) <= 28
    assert np.unique(np.concatenate(members)).size == views.features.n_images
    things = [views.group[one][views.group[one] >= 0] for one in members]
    assert np.mean([np.bincount(one).max() / one.size for one in things if one.size]) >= 0.95
    groups = [np.flatnonzero(views.group == group) for group in range(views.group.max() + 1)]
    assert sum(any(np.isin(group, one).all() for one in members) for group in groups) >= len(groups) - 1


def test_inliers_of_activations_beside_their_mean():
    with np.load(DATA / "planted_activations.npz", allow_pickle=False) as file:
        maps, named = file["activations"], file["object"]
    G = np.array([generalized_mean_pool(x) for x in maps])
    cosines = G @ G.T / np.outer(*[np.linalg.norm(G, axis=1)] * 2)
    N = len(named)
    pairs = np.stack(np.triu_indices(N, 1), axis=1)
    inliers = np.zeros((N, N))
    inliers[tuple(pairs.T)] = verify(pairs, activation_features(maps), method=FastSpatial(tolerance=1.0)).scores
    inliers += inliers.T
    relevant = [np.flatnonzero((named == named[q]) & (np.arange(N) != q)) for q in range(N)]

    def precision(S):
        S = np.where(np.eye(N, dtype=bool), -np.inf, S)
        return mean_average_precision(np.argsort(-S, axis=1, kind="stable")[:, :-1], relevant)

    assert 0.385 < precision(cosines) < 0.395
    assert precision(cosines * inliers / inliers.max(axis=1, keepdims=True)) >= 0.43
