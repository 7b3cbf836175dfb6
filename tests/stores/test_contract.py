"""One contract for every store, on the real thing: rows, searches, filters, and certified lists in step with writes."""

from __future__ import annotations

import numpy as np
import pytest
from real_stores import DIMENSION, KINDS, Live

from manifold import ManifoldSearch
from manifold.stores import Arrays, Store, StoreSearch

METRICS = ["cosine", "inner_product", "euclidean"]
EXACT = {"preset": "plain-diffusion", "n_neighbors": 4, "n_seeds": 5, "on_failure": "raise"}
every_store = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def start(tmp_path):
    return lambda kind, metric="cosine": KINDS[kind].start(tmp_path, metric)


def filled(live: Live, kind: str, n: int, rng: np.random.Generator, *, first: int = 0):
    """Write n items whose vectors are of all lengths; tag i for item i."""
    X = (rng.normal(size=(n, DIMENSION)) * rng.uniform(0.5, 2, size=(n, 1))).astype(np.float32)
    ids = [KINDS[kind].name(first + i) for i in range(n)]
    live.put(ids, X, np.arange(first, first + n))
    return ids, X


def held(store: Store) -> dict:
    return {name: x for ids, X in store.batches() for name, x in zip(ids, X, strict=True)}


@every_store
def test_a_scan_gives_every_item_once(start, rng, kind):
    live = start(kind)
    assert isinstance(live.store, Store)
    assert list(live.store.batches()) == []
    ids, X = filled(live, kind, 23, rng)
    seen = [(name, x) for names, rows in live.store.batches() for name, x in zip(names, rows, strict=True)]
    assert sorted(map(repr, ids)) == sorted(repr(name) for name, _ in seen)
    assert all(x.dtype == np.float32 for _, x in seen)
    cosines = [x @ X[ids.index(name)] / np.linalg.norm(x) / np.linalg.norm(X[ids.index(name)]) for name, x in seen]
    assert np.allclose(cosines, 1)


@pytest.mark.parametrize("kind", ["pgvector", "lancedb"])
def test_an_item_without_a_vector_is_none(start, rng, kind):
    live = start(kind)
    ids, X = filled(live, kind, 5, rng)
    live.put(ids[:2], [None, None], [0, 1])
    assert set(held(live.store)) == live.store.keep(None) == live.store.keep(ids) == set(ids[2:])
    assert set(live.store.search(X[:1], 9)[0][0]) == set(ids[2:])


@every_store
@pytest.mark.parametrize("metric", METRICS)
def test_a_search_is_that_of_brute_force(start, rng, kind, metric):
    live = start(kind, metric)
    ids, X = filled(live, kind, 60, rng)
    Q = rng.normal(size=(3, DIMENSION)).astype(np.float32)
    assert live.store.metric == metric
    for most in (None, 60, 6, 1, 0):  # all, a tenth, one, none
        exact = Arrays(ids, X, metric=metric).search(Q, 10, lambda i, most=most: most is None or ids.index(i) < most)
        found = live.store.search(Q, 10, None if most is None else live.tagged(most))
        assert found[0] == exact[0]
        assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(found[1], exact[1], strict=True))


@every_store
def test_what_is_kept(start, rng, kind):
    live = start(kind)
    ids, _ = filled(live, kind, 30, rng)
    name = KINDS[kind].name
    assert live.store.keep([]) == live.store.keep([name(99)]) == live.store.keep(None, live.tagged(0)) == set()
    assert live.store.keep(None) == live.store.keep([name(i) for i in range(5000)]) == set(ids)
    assert live.store.keep([*ids[1::2], name(99)], live.tagged(6)) == {ids[1], ids[3], ids[5]}
    assert live.store.keep(None, live.tagged(6)) == set(ids[:6])


@every_store
def test_what_is_no_filter_is_refused(start, rng, kind):
    live = start(kind)
    _, X = filled(live, kind, 3, rng)
    for ask in (lambda: live.store.search(X, 1, 7), lambda: live.store.keep(None, 7)):
        with pytest.raises(TypeError, match="where must be"):
            ask()


def brute_force(live: Live, Q, k: int, allowed=None):
    """The best sets by a fit to what the store holds now, solved exactly."""
    rows = held(live.store)
    ids, X = list(rows), np.array(list(rows.values()))
    search = ManifoldSearch(metric=live.store.metric, **EXACT, solver="direct").fit(X.astype(np.float64))
    names = np.array(ids, dtype=object)
    may = np.array([allowed is None or name in allowed for name in ids])
    full = search.search(Q, k=len(ids))
    best = []
    for listed, scores in zip(full.ids, full.scores, strict=True):
        pairs = [(s, names[i]) for i, s in zip(listed, scores, strict=True) if may[i]]
        cut = pairs[min(k, len(pairs)) - 1][0] if pairs else 0.0
        inside, edge = ({name for s, name in pairs if s > cut * (1 + e)} for e in (1e-6, -1e-6))
        best.append((inside, edge))
    return best


@every_store
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_forty_rounds_of_writes_never_make_a_wrong_certificate(start, kind, metric):
    """After each sync certified lists, filtered and not, are those of brute force on what the store holds."""
    rng = np.random.default_rng(40407)
    live = start(kind, metric)
    ids, _ = filled(live, kind, 40, rng)
    service = StoreSearch(live.store, ManifoldSearch(metric=metric, **EXACT)).fit()
    there, following, certified = dict.fromkeys(ids), 40, 0
    for round_ in range(40):
        gone = rng.choice(sorted(there, key=repr), rng.integers(0, 4), replace=False).tolist()
        if gone:
            live.drop(gone)
        others = [name for name in there if name not in gone]
        moved = [others[i] for i in rng.choice(len(others), rng.integers(0, 4), replace=False)]
        if moved:
            live.put(moved, rng.normal(size=(len(moved), DIMENSION)).astype(np.float32), np.full(len(moved), 1))
        new = rng.integers(0, 5)
        if new:
            filled(live, kind, new, rng, first=following)
        fresh = [KINDS[kind].name(i) for i in range(following, following + new)]
        following += new
        there = dict.fromkeys([*others, *fresh])
        changes = service.sync()
        assert (changes.new, changes.changed, changes.gone) == (new, len(moved), len(gone))
        Q = rng.normal(size=(2, DIMENSION)).astype(np.float32)
        for allowed, where in ((None, None), (live.store.keep(None, live.tagged(20)), live.tagged(20))):
            if round_ % 4 and where is not None:
                continue
            ranking = service.search(Q, k=5, where=where, slack=0)
            assert ranking.n_unknown is None
            for listed, sure, (inside, edge) in zip(
                ranking.ids, ranking.certified, brute_force(live, Q, 5, allowed), strict=True
            ):
                names = set(listed.tolist()) - {service.held.fitted_.ids.missing}
                certified += bool(sure)
                assert not sure or inside <= names <= edge
                assert allowed is None or names <= allowed
    assert service.sync().total == 0
    assert certified >= 60
