"""What a walk that ends early proves of who is among the best: against dense arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import manifold as mf
from manifold.discovery import _local_looks
from manifold.discovery._looks import Looks

proved_members = pytest.importorskip("manifold.backends.proved_members")


def test_what_walks_prove_is_so(monkeypatch):
    """Random graphs, several components and equal weights among them, by short walks: beside dense columns."""
    rng, n_proved, n_open = np.random.default_rng(17), 0, 0
    for _ in range(150):
        n, k = int(rng.integers(6, 60)), int(rng.integers(1, 8))
        W = np.triu(rng.random((n, n)) < rng.uniform(1, 5) / n, 1) * (
            rng.random((n, n)) ** 3 if rng.random() < 0.7 else 1
        )
        search = mf.ManifoldSearch(preset="plain-diffusion", alpha=float(rng.uniform(0.1, 0.95)), n_neighbors=None)
        search.fit(graph=mf.graph_from_affinity(W + W.T).astype("float64"))
        own = np.array([int(rng.integers(n)), -1])
        Y = np.zeros((n, 2))
        Y[own[0], 0] = 1
        Y[rng.choice(n, 3), 1] = rng.random(3) * 10.0 ** rng.integers(-20, 20)
        looks = Looks(sparse.csc_array(Y), own, np.arange(2), np.arange(2))
        near = np.tile(np.arange(n), (2, 1))
        monkeypatch.setattr(_local_looks, "_BUDGETS", (int(rng.integers(1, 300)), int(rng.integers(1, 3_000))))
        walks = _local_looks.LocalLooks(looks, search.fitted_, near, near >= 0, exclude=k, n=n)
        found = walks.found(certify=bool(rng.random() < 0.2))
        exact = mf.diffuse(search.graph_, Y, filter=search.filter, solver="direct").scores.T
        exact[0, own[0]] = -1
        for j, f in enumerate(exact):
            kth = np.sort(f)[-k]
            tiny = 1e-12 * f.max()
            assert (f[found.outside[j]] <= max(kth, 0) + tiny).all()
            decided, off = walks.proved[j] != proved_members.OPEN, np.abs(found.scores[j] - np.maximum(f, 0))
            assert (off <= found.report.error_bound[j] + tiny)[~found.inside[j]].all()
            assert (f[decided & found.inside[j]] >= kth - tiny).all()
            assert (f[decided & ~found.inside[j]] <= max(kth, 0) + tiny).all()
            n_proved, n_open = n_proved + decided.sum(), n_open + (~decided).sum()
    assert n_proved > 5_000
    assert n_open > 100
