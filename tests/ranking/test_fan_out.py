"""Queries on many workers: one ranking, as one process gives it, of one search."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numpy as np
import pytest

import manifold as mf
from manifold import datasets
from manifold.errors import CorruptFileError
from manifold.ranking import fan_out, search_on

X = datasets.digits().features


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(autouse=True)
def nothing_open():
    fan_out._opened.cache_clear()


@pytest.mark.parametrize("settings", [{}, {"solver": "local", "preset": "plain-diffusion"}], ids=["default", "local"])
def test_a_ranking_of_parts_is_that_of_the_whole(pool, settings, tmp_path):
    search = mf.ManifoldSearch(n_neighbors=5, **settings).fit(X[:500], [f"scan-{i}" for i in range(500)])
    path, one = search.save(tmp_path / "search"), search.search(X[500:520], 7, slack=0)
    for batch in (3, 20, 64):
        many = search_on(pool, path, X[500:520], k=7, slack=0, batch=batch)
        for field in fields(mf.Ranking):
            a, b = (getattr(made, field.name) for made in (one, many))
            if isinstance(a, np.ndarray):
                assert np.array_equal(a, b), field.name
            elif field.name == "diagnostics":
                assert (a.status, a.n_iter.tolist()) == (b.status, b.n_iter.tolist())
            else:
                assert a == b
    alone = search_on(pool, path, X[500], k=7)
    assert alone.ids.tolist() == search.search(X[500], 7).ids.tolist()


def test_another_search_at_the_path_is_refused(pool, tmp_path, monkeypatch):
    search = mf.ManifoldSearch(n_neighbors=5).fit(X[:100])
    path = search.save(tmp_path / "search")
    asked = fan_out._Asked(str(path), "another digest", 5, None)
    with pytest.raises(CorruptFileError, match="another search here"):
        asked(X[:2])
    with pytest.raises(ValueError, match="batch must be at least 1"):
        search_on(pool, path, X[:2], batch=0)
    with pytest.raises(ValueError, match="64"):
        search_on(pool, path, X[:2, :5])
    with pytest.raises(FileNotFoundError):
        search_on(pool, tmp_path / "nothing", X[:2])
