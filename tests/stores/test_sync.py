"""A search beside a store that writes on: snapshots, what is new and gone meanwhile, and syncs that break off."""

from __future__ import annotations

import itertools
import threading
import uuid

import numpy as np
import pytest
from real_stores import DIMENSION, KINDS

import manifold as mf
from manifold.errors import NotFittedError
from manifold.stores import Arrays, Changes, StoreSearch

SETTINGS = {"preset": "plain-diffusion", "n_neighbors": 3, "n_seeds": 4}


@pytest.fixture
def store(rng):
    return Arrays([f"i{j}" for j in range(30)], rng.normal(size=(30, 4)))


@pytest.fixture
def service(store):
    return StoreSearch(store, mf.ManifoldSearch(**SETTINGS)).fit()


def write(store, *, new=(), gone=(), moved=(), rng):
    rows = {name: x for name, x in zip(store.ids, store.X, strict=True) if name not in gone}
    rows |= {name: rng.normal(size=4).astype(np.float32) for name in (*moved, *new)}
    store.ids, store.X = list(rows), np.array(list(rows.values()))


def edges(search):
    """The graph by names."""
    W = search.graph_.affinity.tocoo()
    names = search.ids_.tolist()
    return {(names[i], names[j]): w for i, j, w in zip(*W.coords, W.data.tolist(), strict=True)}


@pytest.mark.parametrize("kind", [str, uuid.UUID])
def test_numbers_beside_uuids(kind, rng):
    names = [*range(10), *(kind(str(uuid.UUID(int=j))) for j in range(10))]
    store = Arrays(names, rng.normal(size=(20, 4)))
    service = StoreSearch(store, mf.ManifoldSearch(**SETTINGS)).fit()
    backwards = StoreSearch(Arrays(names[::-1], store.X[::-1]), mf.ManifoldSearch(**SETTINGS)).fit()
    assert service.snapshot.digest == backwards.snapshot.digest
    write(store, new=[10], gone=[3, names[12]], moved=[names[15]], rng=rng)
    assert service.sync() == Changes(new=1, changed=1, gone=2)
    found = service.search(store.X, k=5, where=lambda name: isinstance(name, kind)).ids
    assert set(found.ravel().tolist()) <= set(names[10:]) - {names[12]}


def test_a_sync_is_a_fit_to_what_is_there(store, service, rng):
    write(store, new=["n1", "n2"], gone=["i3", "i4", "i5"], moved=["i7"], rng=rng)
    before = service.snapshot
    assert service.sync() == Changes(new=2, changed=1, gone=3)
    anew = StoreSearch(store, mf.ManifoldSearch(**SETTINGS)).fit()
    assert edges(service.held) == edges(anew.held)
    assert service.snapshot.digest == anew.snapshot.digest != before.digest
    assert service.snapshot.number == before.number + 1
    assert service.sync() == Changes()
    assert service.snapshot.number == before.number + 1


def test_between_syncs_what_has_gone_is_never_listed_and_what_is_new_comes_behind(store, service, rng):
    q = store.X[3]
    write(store, new=["n1"], gone=["i3", "i4"], rng=rng)
    store.X[store.ids.index("n1")] = q
    ranking = service.search(np.array([q, -q]), k=6, slack=0)
    assert {"i3", "i4"}.isdisjoint(ranking.ids.ravel().tolist())
    assert ranking.n_unknown.tolist() == [1, 0]
    assert ranking.ids.shape == (2, 7)
    assert (ranking.ids[0, 6], ranking.ids[1, 6]) == ("n1", "")
    assert ranking.scores[0, 6] == 0
    assert ranking.similarities[0, 6] == pytest.approx(1)
    assert ranking.snapshot == service.snapshot
    allowed = [name not in ("i3", "i4") for name in service.held.ids_]
    exact = service.held.search(np.array([q, -q]), k=6, slack=0, allowed=np.array(allowed))
    assert ranking.certified.all()
    assert [set(row[:6]) for row in ranking.ids] == [set(row) for row in exact.ids]
    one = service.search(q, k=6)
    assert one.ids.shape == one.scores.shape == (7,)
    assert one.ids.tolist() == service.search(q[None], k=6).ids[0].tolist()


def test_without_the_store_the_snapshot_answers_alone(store, service, rng):
    q = store.X[3]
    expected = service.held.search(q, k=5)
    write(store, gone=["i3"], rng=rng)
    store.search = store.keep = None  # a call would fail
    ranking = service.search(q, k=5, live=False)
    assert ranking.ids.tolist() == expected.ids.tolist()
    assert ranking.scores.tobytes() == expected.scores.tobytes()
    assert "i3" in ranking.ids
    with pytest.raises(ValueError, match="where is answered by the store"):
        service.search(q, k=5, where=lambda name: True, live=False)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ConnectionError, MemoryError])
def test_a_sync_that_breaks_off_changes_nothing_and_the_next_mends_it(store, service, rng, monkeypatch, stop):
    """It is stopped after every batch, and in the change itself."""
    write(store, new=["n1"], gone=["i3"], moved=["i7"], rng=rng)
    Q, before = rng.normal(size=(3, 4)), service.snapshot
    expected = service.search(Q, k=5, live=False)
    whole = list(store.batches())

    def broken(after):
        parts = ((ids[i : i + 5], X[i : i + 5]) for ids, X in whole for i in range(0, 30, 5))
        yield from itertools.islice(parts, after)
        raise stop

    for after in range(7):
        with monkeypatch.context() as patch:
            patch.setattr(store, "batches", lambda after=after: broken(after))
            with pytest.raises(stop):
                service.sync()
    with monkeypatch.context() as patch:
        patch.setattr(mf.ManifoldSearch, "update", lambda *_, **__: (_ for _ in ()).throw(stop))
        with pytest.raises(stop):
            service.sync()
    assert service.snapshot == before
    assert service.search(Q, k=5, live=False).scores.tobytes() == expected.scores.tobytes()
    assert service.sync() == Changes(new=1, changed=1, gone=1)


def test_what_a_scan_by_pages_stepped_over_has_not_gone(store, service, monkeypatch):
    whole = list(store.batches())
    monkeypatch.setattr(store, "batches", lambda: ((ids[1:], X[1:]) for ids, X in whole))
    assert service.sync() == Changes()


def test_last_bits_are_no_change(store, service):
    store.X = store.X * np.float32(1 + 3e-7)
    assert service.sync() == Changes()
    store.X = store.X * np.float32(1 + 3e-5)
    assert service.sync() == Changes(changed=30)


def test_a_version_that_stands_spares_the_scan(tmp_path, rng):
    live = KINDS["lancedb"].start(tmp_path)
    ids = [f"i{j}" for j in range(12)]
    live.put(ids, rng.normal(size=(12, DIMENSION)).astype(np.float32), range(12))
    service = StoreSearch(live.store, mf.ManifoldSearch(**SETTINGS)).fit()
    scan, live.store.batches = live.store.batches, None  # a scan would fail
    assert service.sync() == Changes()
    live.store.batches = scan
    live.drop(ids[:2])
    assert service.sync() == Changes(gone=2)
    live.store.batches = None
    assert service.sync() == Changes()


def test_searches_go_on_while_others_sync(store, service, rng):
    """Each answer is that of one snapshot, the one that it names."""
    Q = rng.normal(size=(2, 4))
    known = {service.snapshot: service.search(Q, k=5, live=False).scores.tobytes()}
    states = [(store.ids, store.X)]
    for j in range(6):
        write(store, new=[f"n{j}"], gone=[f"i{j}"], rng=rng)
        states.append((store.ids, store.X))
    seen, done, errors = [], threading.Event(), []

    def ask():
        try:
            while not done.is_set():
                ranking = service.search(Q, k=5, live=False)
                seen.append((ranking.snapshot, ranking.scores.tobytes()))
        except Exception as error:  # seen by the test
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for store.ids, store.X in states:
        service.sync()
        known[service.snapshot] = service.search(Q, k=5, live=False).scores.tobytes()
    done.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(known) == 7
    assert all(known[snapshot] == bits for snapshot, bits in seen)


def test_lists_that_the_store_reports(store, rng):
    """No vector is kept; lists, seeds and answers are those of a fit with vectors, where the store is exact."""
    plain = StoreSearch(store, mf.ManifoldSearch(**SETTINGS)).fit()
    lists = StoreSearch(store, mf.ManifoldSearch(**SETTINGS)).fit(neighbors="store")
    assert lists.held.fitted_.points is None
    assert edges(lists.held).keys() == edges(plain.held).keys()
    Q = rng.normal(size=(3, 4))
    where = lambda name: name < "i2"  # noqa: E731
    for filter_ in (None, where):
        a, b = (service.search(Q, k=5, where=filter_, slack=0) for service in (lists, plain))
        assert [set(row) for row in a.ids] == [set(row) for row in b.ids]
    assert lists.search(Q[0], k=5).ids.shape == (5,)
    with pytest.raises(ValueError, match="fit anew, with neighbors='store'"):
        lists.sync()


def test_a_saved_snapshot_goes_on(store, service, rng, tmp_path):
    write(store, new=["n1"], gone=["i3"], rng=rng)
    service.sync()
    again = StoreSearch(store, mf.load(service.save(tmp_path / "items")))
    assert again.snapshot.digest == service.snapshot.digest
    assert again.sync() == Changes()
    write(store, gone=["i8"], rng=rng)
    assert again.sync() == service.sync() == Changes(gone=1)
    Q = rng.normal(size=(2, 4))
    assert again.search(Q, k=5).scores.tobytes() == service.search(Q, k=5).scores.tobytes()


def test_the_search_that_was_given_is_left_alone(store):
    search = mf.ManifoldSearch(**SETTINGS)
    service = StoreSearch(store, search).fit()
    assert not len(search)
    assert len(service) == 30
    assert repr(service) == "StoreSearch(Arrays(30 items, metric='cosine'), 30 items fitted)"


def test_what_cannot_be_is_refused(store):
    with pytest.raises(ValueError, match="search compares by 'euclidean' but the store by 'cosine'"):
        StoreSearch(store, mf.ManifoldSearch(metric="euclidean"))
    service = StoreSearch(store)
    for ask in (service.sync, lambda: service.search(store.X[0]), lambda: service.save("x")):
        with pytest.raises(NotFittedError, match="fit"):
            ask()
    with pytest.raises(ValueError, match="neighbors must be"):
        service.fit(neighbors="mine")
    with pytest.raises(ValueError, match="holds no vectors"):
        StoreSearch(Arrays([], np.empty((0, 4)))).fit()
    with pytest.raises(ValueError, match="distinct"):
        StoreSearch(Arrays(["a", "a"], np.eye(2))).fit()
