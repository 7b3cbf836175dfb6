"""What may be listed: every filtered list is the best of what is allowed, by brute force, and proved."""

from __future__ import annotations

import os

import numpy as np
import pytest

import manifold as mf
from manifold.neighbors import PointSet
from manifold.solvers import ConjugateGradient

N, Q, K = 700, 8, 10
SHARES = (0.5, 0.1, 0.01)
ROUNDS = int(os.environ.get("ALLOWED_ROUNDS", "1"))  # 12 by hand: more than 2,000 lists
RNG = np.random.default_rng(7)
CENTRES = RNG.normal(size=(12, 8))
POINTS = (CENTRES[RNG.integers(0, 12, N + Q)] + 0.6 * RNG.normal(size=(N + Q, 8))).astype(np.float32)
X, QUERIES = POINTS[:N], POINTS[N:]
NAMES = np.array([f"item {i}" for i in range(N)])


def exact_scores(search, seeds):
    """Scores of every item by a solve to the end of float64."""
    fitted = search.fitted_
    solved = ConjugateGradient(rtol=1e-13).prepare(
        fitted.graph.astype(np.float64), fitted.settings.filter, fitted.backend
    )
    p = fitted.settings.degree_exponent
    scale = fitted.graph.scale(p)[:, None] if p else 1.0
    return np.maximum(solved.solve(seeds).scores, 0) * scale


def entered(search, queries):
    fitted = search.fitted_
    return fitted.seeds(*fitted.nearest(PointSet(queries, "cosine"), fitted.settings.n_seeds))


def rows_of(ranking):
    return np.array([[-1 if name == "" else int(name.split()[1]) for name in row] for row in ranking.ids.tolist()])


def assert_best(ranking, scores, may):
    """Assert that each list holds the k largest scores of what is allowed, ties at 0 aside, and proves it."""
    rows, proved = rows_of(ranking), ranking.slack if ranking.pool_slack is None else ranking.pool_slack
    assert (proved == 0).all()
    for row, column in zip(rows, scores.T, strict=True):
        listed = row[row >= 0]
        assert may[listed].all()
        assert len(set(listed)) == listed.size == min(rows.shape[1], may.sum())
        best = np.sort(column[may])[::-1][: listed.size]
        np.testing.assert_allclose(np.sort(column[listed])[::-1], best, rtol=1e-8, atol=1e-14)


@pytest.fixture(scope="module", params=["plain-diffusion", "paper", "adaptive"])
def preset(request):
    return request.param


@pytest.mark.parametrize("solver", ["cg", "index", "local"])
def test_filtered_lists_are_the_best_of_what_is_allowed(preset, solver):
    search = mf.ManifoldSearch(preset=preset, solver=solver).fit(X, NAMES)
    k = 100 if preset == "adaptive" else K  # the whole pool, which is proved: its order is another matter
    scores = exact_scores(search, entered(search, QUERIES))
    for _ in range(ROUNDS):
        for share in SHARES:
            may = np.random.default_rng(int(1e3 * share)).permutation(N) < share * N
            if ROUNDS > 1:
                may = RNG.random(N) < share
            assert_best(search.search(QUERIES, k, allowed=may, slack=0), scores, may)
