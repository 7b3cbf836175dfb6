"""Collections that change: a search is always that of a fit to what is there, and nothing that it proves is wrong."""

from __future__ import annotations

import inspect
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import manifold as mf
from manifold import datasets
from manifold.errors import ManifoldWarning, MemoryBudgetError
from manifold.index import updated_columns
from manifold.neighbors import PointSet
from manifold.ranking import Adaptation, GraphSearch, RegionalSearch

pytestmark = pytest.mark.filterwarnings("ignore::manifold.errors.ManifoldWarning")  # of few points, copies and zeros


@pytest.fixture(autouse=True)
def graphs_follow(monkeypatch):
    """Small graphs too are followed by their touched rows, and not formed anew."""
    monkeypatch.setattr("manifold.graph._patched.FOLLOWED_FROM", 0)


SETTINGS = {
    "mutual": {},
    "union": {"edges": "union"},
    "sum": {"edges": "sum", "degree_exponent": 0.5},
    "no bridge": {"bridge": 0, "solver": "cg"},
    "euclidean": {"metric": "euclidean"},
    "inner product": {"metric": "inner_product"},
    "self-tuning": {"affinity": "self_tuning", "edges": "union"},
    "ranked": {"affinity": "ranked"},
    "adaptive": {"preset": "adaptive", "adaptation": Adaptation(lead=1)},
    "index": {"solver": mf.DiffusionIndex(n_entries=300)},  # all columns whole: built anew at each change
}
Q = np.random.default_rng(99).normal(size=(5, 4)).astype(np.float32)


def answers(ranking):
    return tuple(np.asarray(part).tobytes() for part in (ranking.ids, ranking.scores, ranking.slack))


def graph_bits(graph):
    W = graph.affinity
    parts = (W.data, W.indices, W.indptr, graph.degrees, graph.components)
    return (*(part.tobytes() for part in parts), dict(graph.facts))


def assert_like_a_fit(search, X, ids, options):
    """The same graph and the same answers, to the bit."""
    assert np.array_equal(search.ids_, ids)
    if not len(X):
        assert search.graph_.n_nodes == 0
        assert search.search(Q, k=3, slack=0.0).ids.shape == (5, 0)
        return
    fresh = mf.ManifoldSearch(**options).fit(X, ids)
    assert graph_bits(search.graph_) == graph_bits(fresh.graph_)
    assert answers(search.search(Q, k=7)) == answers(fresh.search(Q, k=7))
    assert answers(search.similar(ids[:3], k=7)) == answers(fresh.similar(ids[:3], k=7))


class Changes:
    """A search and, beside it, what should be in it."""

    def __init__(self, options, *, seed, n=80):
        self.options = {"n_neighbors": 4, **options}
        self.rng = np.random.default_rng(seed)
        self.X, self.ids = self.points(n), np.arange(n)
        self.search = mf.ManifoldSearch(**self.options).fit(self.X)

    def points(self, m):
        """Half of them on a coarse grid, with many copies and ties, and the zero vector."""
        X = self.rng.normal(size=(m, 4)).astype(np.float32)
        coarse = self.rng.random(m) < 0.5
        X[coarse] = self.rng.integers(-1, 2, size=(coarse.sum(), 4))
        return X

    def add(self, m):
        X = self.points(m)
        added = self.search.add(X)
        assert added.tolist() == list(range(added[0], added[0] + m))
        assert added[0] > self.ids.max(initial=-1)
        self.X, self.ids = np.concatenate([self.X, X]), np.append(self.ids, added)

    def remove(self, gone):
        self.search.remove(self.ids[gone])
        self.X, self.ids = np.delete(self.X, gone, axis=0), np.delete(self.ids, gone)

    def update(self, m):
        n = len(self.ids)
        gone, changed = np.split(self.rng.permutation(n)[: min(n, 2 * m)], [min(n, m)])
        new = int(self.search.fitted_.ids.following) + np.arange(m)
        X, ids = self.points(changed.size + m), np.concatenate([self.ids[changed], new])
        self.search.update(X, ids, gone=self.ids[gone])
        stay = np.setdiff1d(np.arange(n), np.concatenate([gone, changed]))
        self.X, self.ids = np.concatenate([self.X[stay], X]), np.concatenate([self.ids[stay], ids])

    def step(self):
        n, chance = len(self.ids), self.rng.random()
        if n == 0 or (chance < 0.5 and n < 150):
            self.add(int(self.rng.integers(1, 9)))
        elif chance < 0.6:  # a component as a whole
            components = self.search.graph_.components
            self.remove(np.flatnonzero(components == components[self.rng.integers(n)]))
        elif chance < 0.75:
            self.update(int(self.rng.integers(1, 6)))
        elif chance < 0.77:  # down to nothing, or one
            self.remove(np.arange(n - int(self.rng.integers(2))))
        else:
            self.remove(self.rng.choice(n, int(self.rng.integers(1, min(n, 9) + 1)), replace=False))

    def check(self):
        assert_like_a_fit(self.search, self.X, self.ids, self.options)


@pytest.mark.parametrize("name", SETTINGS)
def test_random_changes_end_as_a_fit_to_what_is_there(name):
    changes = Changes(SETTINGS[name], seed=len(name), n=60)
    for step in range(1, 41):
        changes.step()
        if step % 5 == 0:
            changes.check()


def test_a_thousand_changes_equal_a_rebuild_at_every_hundredth():
    changes = Changes(SETTINGS["mutual"], seed=7)
    for step in range(1, 1001):
        changes.step()
        if step % 100 == 0:
            changes.check()


class ChangingCollection(RuleBasedStateMachine):
    """Hypothesis looks for changes, in any order, after which a search is not that of a fit."""

    @initialize(name=st.sampled_from(sorted(SETTINGS)), n=st.integers(1, 30), seed=st.integers(0, 99))
    def fit(self, name, n, seed):
        self.changes = Changes(SETTINGS[name], seed=seed, n=n)

    @rule(m=st.integers(1, 6))
    def add(self, m):
        self.changes.add(m)

    @rule()
    @precondition(lambda self: len(self.changes.ids))
    def add_copies(self):
        X = self.changes.X[:3]
        added = self.changes.search.add(X)
        self.changes.X = np.concatenate([self.changes.X, X])
        self.changes.ids = np.append(self.changes.ids, added)

    @rule(m=st.integers(1, 6))
    def update(self, m):
        self.changes.update(m)

    @rule(data=st.data())
    def remove(self, data):
        n = len(self.changes.ids)
        gone = data.draw(st.sets(st.integers(0, max(n - 1, 0)), max_size=n))
        self.changes.remove(np.array(sorted(gone), dtype=int)[:n])

    @rule()
    def save_and_load(self):
        self.changes.search = mf.load(self.changes.search.save("machine"))

    @invariant()
    def it_is_that_of_a_fit(self):
        if hasattr(self, "changes"):
            self.changes.check()


TestChangingCollection = ChangingCollection.TestCase
TestChangingCollection.settings = settings(
    max_examples=8, stateful_step_count=6, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_lists_in_tiles_are_those_of_one_piece(monkeypatch, rng):
    from manifold.neighbors import _update

    X, changes = rng.normal(size=(400, 4)).astype(np.float32), []
    for new, old, gather in ((256, 8192, 1 << 22), (3, 17, 40)):
        monkeypatch.setattr(_update, "_NEW_TILE", new)
        monkeypatch.setattr(_update, "POINT_TILE", old)
        monkeypatch.setattr(_update, "GATHER", gather)
        search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=5).fit(X[:350])
        search.add(X[350:])
        changes.append(graph_bits(search.graph_))
    assert (
        changes[0] == changes[1] == graph_bits(mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=5).fit(X).graph_)
    )


def test_a_removal_is_searched_for_once_and_then_there_is_a_reserve(monkeypatch, rng):
    from manifold.neighbors import _update

    X, searched = rng.normal(size=(300, 4)).astype(np.float32), []
    search, exact = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=5).fit(X), _update.exact_search

    def counted(*args, **kwargs):
        searched.append(kwargs["rows"].tolist())
        return exact(*args, **kwargs)

    monkeypatch.setattr(_update, "exact_search", counted)
    near = [np.flatnonzero((search.fitted_.neighbors.indices == i).any(axis=1)).tolist() for i in (299, 298)]
    search.remove(299)
    assert searched == [near[0]]
    search.remove(298)
    assert searched[1:] == [sorted(set(near[1]) - set(near[0]) - {299})]


# ---- the index: bounds that hold


def dense_columns(graph, alpha):
    root = np.sqrt(np.where(graph.degrees > 0, graph.degrees, 1.0))
    S = graph.affinity.toarray().astype(np.float64) / np.outer(root, root)
    return (1 - alpha) * np.linalg.inv(np.eye(len(S)) - alpha * S)


def assert_columns_hold(index, K, *, renewed=False):
    """Each stored entry lies within `error`, each other one below `tail`; of columns as they were renewed, too."""
    every = np.arange(len(K))
    parts = index.held(every) if renewed else (index.ids, index.values, index.tail, index.error)
    ids, values, tail, error = (np.array(part) for part in parts)
    assert (ids[:, 1:] > ids[:, :-1]).all()
    stored, dense, ids = np.zeros(K.shape, dtype=bool), np.zeros(K.shape), ids.astype(np.int64)
    np.put_along_axis(stored, ids, True, axis=1)
    np.put_along_axis(dense, ids, values.astype(np.float64), axis=1)
    rounding = np.finfo(values.dtype).eps * dense + 1e-14
    assert (np.abs(dense - K) <= error[:, None] + rounding)[stored].all()
    assert (tail[:, None] + 1e-14 >= K)[~stored].all()


def assert_certificates_hold(search, K, queries, *, k=5):
    near = search.fitted_.nearest(PointSet(queries, search.affinity.metric), min(search.n_seeds, len(K)))
    F = K @ search.fitted_.seeds(*near).toarray()
    for slack in (None, 0.1, 0.0):
        ranking = search.search(queries, k=k, slack=slack)
        for j, proved in enumerate(ranking.slack):
            rows = search.fitted_.ids.rows(ranking.ids[j])
            assert np.delete(F[:, j], rows).max(initial=0) <= (1 + proved) * F[rows, j].min() * (1 + 1e-12) + 1e-16
        if slack is not None:
            assert (ranking.certified | ranking.tied | (ranking.slack <= slack)).all()


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.95, 0.999])
@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_stored_columns_hold_after_every_change(alpha, dtype, monkeypatch):
    monkeypatch.setattr("manifold.index._update._MOST_TOUCHED", 1.0)  # never built anew
    solver = mf.DiffusionIndex(n_entries=10, dtype=dtype)
    options = {"preset": "plain-diffusion", "alpha": alpha, "solver": solver, "edges": ("mutual", "union")[alpha > 0.9]}
    changes = Changes(options, seed=1, n=70)
    n_stale = []
    for step in range(8):
        if step % 2:
            changes.remove(changes.rng.choice(len(changes.ids), 1 + step % 3, replace=False))
        else:
            changes.add(1 + step % 3)
        search = changes.search
        index, K = search.fitted_.ranker.prepared, dense_columns(search.graph_, alpha)
        assert_columns_hold(index, K)
        assert_certificates_hold(search, K, Q)
        assert_columns_hold(index, K, renewed=True)
        n_stale.append(int(index.stale.sum()))
    assert (max(n_stale) > 0) == (alpha > 0)


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(8, 24),
    n_edges=st.integers(0, 60),
    n_changed=st.integers(0, 6),
    n_gone=st.integers(0, 4),
    n_new=st.integers(0, 4),
    alpha=st.sampled_from([0.1, 0.9, 0.999]),
    spread=st.sampled_from([0.0, 4.0]),
)
@settings(max_examples=60, deadline=None)
def test_the_bound_of_a_change_is_never_below_it(seed, n, n_edges, n_changed, n_gone, n_new, alpha, spread):
    """Any change of any graph: edges of all weights, nodes that come, go, and are isolated before or after."""
    rng = np.random.default_rng(seed)

    def with_edges(W, m):
        i, j = rng.integers(0, len(W), (2, m))
        weights = 10 ** rng.uniform(-spread, spread, m) * (rng.random(m) < 0.8)  # or an edge less
        W[i, j] = W[j, i] = weights
        W[i, j] = W[j, i] = np.minimum(W[i, j], W[j, i])
        np.fill_diagonal(W, 0)
        return W

    before = with_edges(np.zeros((n, n)), n_edges)
    rows = np.append(np.sort(rng.choice(n, n - n_gone, replace=False)), np.full(n_new, -1))
    after = np.zeros((rows.size, rows.size))
    old = rows >= 0
    after[np.ix_(old, old)] = before[np.ix_(rows[old], rows[old])]
    after = with_edges(after, n_changed)
    first, second = (mf.graph_from_affinity(W).astype(np.float64) for W in (before, after))
    index = mf.DiffusionIndex(n_entries=4, dtype="float64").build(first, filter=mf.Diffusion(alpha))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("manifold.index._update._MOST_TOUCHED", 1.0)
        changed = updated_columns(index, second, rows)
    assert changed.stale is not None
    assert_columns_hold(changed, dense_columns(second, alpha))
    untouched = ~np.isin(second.components, second.components[np.flatnonzero(_touched(first, second, rows))])
    kept = untouched & old & ~np.isin(index.ids, np.flatnonzero(~np.isin(np.arange(n), rows))).any(axis=1)[rows]
    assert np.array_equal(changed.values[kept], index.values[rows[kept]])


def _touched(before, after, rows):
    """Whether each node of a graph has other edges than before."""
    old = np.flatnonzero(rows >= 0)
    W, V = before.affinity.toarray(), after.affinity.toarray()
    touched = (V[:, rows < 0] > 0).any(axis=1) | (rows < 0)
    gone = np.setdiff1d(np.arange(before.n_nodes), rows)
    touched[old] |= (W[np.ix_(rows[old], gone)] > 0).any(axis=1)
    touched[old] |= (W[np.ix_(rows[old], rows[old])] != V[np.ix_(old, old)]).any(axis=1)
    return touched


def test_renewed_columns_are_those_of_a_build():
    changes = Changes({"preset": "plain-diffusion", "solver": mf.DiffusionIndex(n_entries=20)}, seed=3, n=120)
    changes.add(2)
    index = changes.search.fitted_.ranker.prepared
    worn = np.flatnonzero(index.stale)
    assert 0 < worn.size < 122
    index.renew(np.append(worn, worn))
    assert not index.is_stale(worn).any()
    fresh = mf.DiffusionIndex(n_entries=20).build(changes.search.graph_)
    _, values, tail, error = index.held(worn)  # of entries that tie at the last place either may be kept
    assert np.allclose(np.sort(values), np.sort(fresh.values[worn]), rtol=1e-6)
    assert np.allclose(tail, fresh.tail[worn], rtol=1e-6, atol=1e-8)
    assert (error < 1e-7).all()
    changes.add(1)  # what was renewed goes on
    after = changes.search.fitted_.ranker.prepared
    assert_columns_hold(after, dense_columns(changes.search.graph_, 0.95))


def test_far_from_a_change_columns_do_not_wear_and_other_components_stay_to_the_bit():
    n = 600
    ring = np.roll(np.eye(n), 1, axis=1) + np.roll(np.eye(n), -1, axis=1)
    both = np.kron(np.eye(2), ring)
    index = mf.DiffusionIndex(n_entries=60).build(mf.graph_from_affinity(both), filter=mf.Diffusion(0.9))
    both[0, 300] = both[300, 0] = 1.0
    changed = updated_columns(index, mf.graph_from_affinity(both), np.arange(2 * n))
    near = np.minimum(np.arange(n), n - np.arange(n))
    near = np.minimum(near, np.abs(np.arange(n) - 300))
    assert 20 < near[changed.stale[:n]].max() < 60
    assert not changed.stale[n:].any()
    for name in ("ids", "values", "tail", "error"):
        assert np.array_equal(getattr(changed, name)[n:], getattr(index, name)[n:])


def test_components_that_split_and_join_keep_their_bounds():
    """Whole columns end at a component: where it is joined they have a tail, where it splits nothing crosses over."""
    chain = np.diag(np.ones(39), 1)
    chain += chain.T
    halves = chain.copy()
    halves[19, 20] = halves[20, 19] = 0
    whole, split = mf.graph_from_affinity(chain), mf.graph_from_affinity(halves)
    for before, after in ((whole, split), (split, whole)):
        index = mf.DiffusionIndex(n_entries=24).build(before)
        changed = updated_columns(index, after, np.arange(40))
        assert changed is not index
        assert_columns_hold(changed, dense_columns(after, 0.95))
        for node in range(0, 40, 3):
            found = changed.shortlist(np.array([node]), np.array([1.0]), 30)
            K = dense_columns(after, 0.95)[:, node]
            assert np.delete(K, found.rows).max(initial=0) <= found.outside + 1e-14


def test_an_index_cut_after_a_change_holds():
    changes = Changes({"preset": "plain-diffusion", "solver": mf.DiffusionIndex(n_entries=20)}, seed=3, n=120)
    changes.add(2)
    changes.remove([0, 5])
    K = dense_columns(changes.search.graph_, 0.95)
    for width in (3, 19):
        assert_columns_hold(changes.search.fitted_.ranker.prepared.first(width), K)


def test_an_index_given_as_the_solver_follows_too(rng):
    X = rng.normal(size=(120, 4)).astype(np.float32)
    graph = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=4).fit(X).graph_
    search = mf.ManifoldSearch(
        preset="plain-diffusion", n_neighbors=4, solver=mf.DiffusionIndex(n_entries=15).build(graph)
    ).fit(X)
    search.add(X[:1] + 0.01)
    assert search.solver is search.fitted_.ranker.prepared
    assert_columns_hold(search.solver, dense_columns(search.graph_, 0.95))
    loaded = mf.load(search.save("s"))
    assert np.array_equal(loaded.solver.stale, search.solver.stale)
    assert answers(loaded.search(Q, k=9, slack=0.0)) == answers(search.search(Q, k=9, slack=0.0))


def test_answers_do_not_depend_on_what_was_asked_before():
    alone, after = (
        Changes({"preset": "plain-diffusion", "solver": mf.DiffusionIndex(n_entries=20)}, seed=3, n=120)
        for _ in range(2)
    )
    for changes in (alone, after):
        changes.add(2)
    after.search.search(Q[::-1], k=9)
    assert answers(after.search.search(Q[0], k=9)) == answers(alone.search.search(Q[0], k=9))
    together = alone.search.search(Q, k=9)
    assert together.scores[1].tobytes() == after.search.search(Q[1], k=9).scores.tobytes()


# ---- ids


def test_ids_are_kept_and_none_is_used_twice():
    X = np.eye(6, dtype=np.float32) + 0.1
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2).fit(X, [3, 9, 4, 1, 8, 2])
    assert search.add(X[:2]).tolist() == [10, 11]
    search.remove([11, 9])
    assert search.ids_.tolist() == [3, 4, 1, 8, 2, 10]
    assert mf.load(search.save("s")).add(X[:1]).tolist() == [12]
    assert search.add(X[:1]).tolist() == [12]
    assert search.add(X[:1], ids=[5]).tolist() == [5]
    search.remove(search.ids_)
    assert search.add(X[:3]).tolist() == [13, 14, 15]
    search.remove(13)
    search.remove([])
    assert search.ids_.tolist() == [14, 15]
    assert search.search(X[1], k=1).ids.tolist() == [14]


def test_names_are_texts_where_they_were():
    X = np.eye(4, dtype=np.float32) + 0.1
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2).fit(X, list("abcd"))
    assert search.add(X[:1] * 2, ids=["a longer name"]).tolist() == ["a longer name"]
    search.remove("b")
    assert search.ids_.tolist() == ["a", "c", "d", "a longer name"]
    search.remove(search.ids_)
    assert search.ids_.dtype.kind == "U"
    assert search.add(X[:1], ids=np.array(["z"], dtype=object)).tolist() == ["z"]


TEXTS, NUMBERS = list("abcd"), [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("ids", "call", "error", "match"),
    [
        (TEXTS, lambda s, X: s.add(X), TypeError, "strings for names must be given"),
        (TEXTS, lambda s, X: s.add(X, ids=[7, 8]), TypeError, "ids must be strings, got dtype int64"),
        (NUMBERS, lambda s, X: s.add(X, ids=["x", "y"]), TypeError, "ids must be integers, got dtype <U1"),
        (NUMBERS, lambda s, X: s.add(X, ids=[7, 7]), ValueError, "7 occurs twice"),
        (NUMBERS, lambda s, X: s.add(X, ids=[7, 2]), ValueError, "1 ids are in the collection already, first 2"),
        (NUMBERS, lambda s, X: s.add(X, ids=[7]), ValueError, "each of the 2 items"),
        (NUMBERS, lambda s, X: s.add(X, ids=[7, -1]), ValueError, "must not be -1"),
        (NUMBERS, lambda s, X: s.add(X, ids=[0.5, 7]), TypeError, "integers or strings"),
        (
            NUMBERS,
            lambda s, X: s.add(X[:, :3]),
            ValueError,
            r"X must have the 4 features of the fitted points, got shape \(2, 3\)",
        ),
        (NUMBERS, lambda s, X: s.add(X[0]), ValueError, "2 dimensions"),
        (NUMBERS, lambda s, X: s.add(X * np.nan), ValueError, "NaN"),
        (NUMBERS, lambda s, X: s.add(X.astype(complex)), TypeError, "real numbers"),
        (NUMBERS, lambda s, X: s.remove([4]), ValueError, "not in the collection, first 4"),
        (NUMBERS, lambda s, X: s.remove([2, 2]), ValueError, "each item that leaves once"),
        (NUMBERS, lambda s, X: s.remove([2, -1]), ValueError, "not the missing marker"),
        (NUMBERS, lambda s, X: s.remove(["x"]), TypeError, "ids must be integers"),
        (TEXTS, lambda s, X: s.remove(["a", "e"]), ValueError, "first 'e'"),
        (TEXTS, lambda s, X: s.update(X, ["a", "a"]), ValueError, "ids must be distinct, 'a' occurs twice"),
        (TEXTS, lambda s, X: s.update(X, ["a", "x"], gone=["a"]), ValueError, "gone names 1 items that ids name too"),
        (TEXTS, lambda s, X: s.update(X, ["a", "x"], gone=["e"]), ValueError, "not in the collection, first 'e'"),
        (TEXTS, lambda s, X: s.update(X, ["a", ""]), ValueError, "must not be ''"),
        (TEXTS, lambda s, X: s.update(X), ValueError, "X and ids go together"),
        (TEXTS, lambda s, X: s.update(X, ["a"]), ValueError, "each of the 2 items"),
        (
            NUMBERS,
            lambda s, X: s.update(X, [1, 9], gone=[2, 2]),
            ValueError,
            "gone must name each item that leaves once",
        ),
        (
            NUMBERS,
            lambda s, X: s.update(X, [1, 9], gone="x"),
            TypeError,
            "gone names items that leave: ids must be int",
        ),
    ],
)
def test_bad_changes_are_refused_and_change_nothing(ids, call, error, match):
    X = np.eye(4, dtype=np.float32) + 0.1
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2).fit(X, ids)
    state = search.fitted_
    with pytest.raises(error, match=match):
        call(search, X[:2])
    assert search.fitted_ is state


@pytest.mark.parametrize("ids", [NUMBERS, TEXTS])
def test_a_change_of_nothing_is_none(ids):
    """A batch may be empty: whatever holds it, nothing is done, and names have the kind that they have."""
    X = np.eye(4, dtype=np.float32) + 0.1
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2).fit(X, ids)
    regional = RegionalSearch(n_neighbors=2).fit(X, [0, 1, 1, 0], ids=ids[:2])
    for changing in (search, regional):
        state = changing.fitted_
        added = [changing.add(none) for none in (X[:0], [], np.empty((0, 4), np.int8))] + [changing.add([], ids=[])]
        assert all(names.shape == (0,) and names.dtype == changing.ids_.dtype for names in added)
        changing.remove([])
        changing.remove(changing.ids_[:0])
        assert changing.fitted_ is state
    for nothing in ({}, {"gone": []}, {"X": [], "ids": []}, {"X": X[:0], "ids": search.ids_[:0]}):
        search.update(**nothing)
    regional.add(X[:0], images=[])
    assert search.fitted_ is not regional.fitted_ is state
    with pytest.raises(ValueError, match="4 features"):
        search.add(np.empty((0, 3)))
    with pytest.raises(ValueError, match="each of the 0 items"):
        search.add(X[:0], ids=[7])
    linked = GraphSearch().fit(search.graph_, X)
    for change in (linked.remove, linked.link, linked.unlink, linked.add, lambda none: linked.add(none, X[:0])):
        change([])
    assert (len(linked), linked.graph_.n_edges) == (4, search.graph_.n_edges)


def test_what_cannot_change_says_why(rng, monkeypatch):
    X = rng.normal(size=(30, 4)).astype(np.float32)
    with pytest.raises(ValueError, match="not fitted"):
        mf.ManifoldSearch(preset="plain-diffusion").add(X)
    graph = mf.build_graph(X, 4)
    for search in (
        mf.ManifoldSearch(preset="plain-diffusion").fit(graph=graph),
        mf.load(mf.ManifoldSearch(preset="plain-diffusion").fit(X).save("s", features=False)),
    ):
        with pytest.raises(ValueError, match=r"fitted without X: only fit\(X\)"):
            search.remove(search.ids_[:1])
    with pytest.raises(ValueError, match="with graph=, whose neighbours are not known"):
        mf.ManifoldSearch(preset="plain-diffusion").fit(X, graph=graph).add(X)
    search = mf.ManifoldSearch(preset="plain-diffusion", metric="inner_product").fit(X)
    with pytest.raises(ValueError, match="overflow float32"):
        search.add(X * np.float32(1e25))
    monkeypatch.setattr("manifold._resources.available_memory", lambda: 100)
    for change in (lambda: search.add(X), lambda: search.remove(0)):
        with pytest.raises(MemoryBudgetError, match="fit anew"):
            change()


def test_warnings_speak_of_what_is_new():
    X = np.eye(8, dtype=np.float32) + 0.1
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2).fit(X)
    for new, match in ((np.zeros((1, 8)), "1 zero vectors"), (np.ones((3, 8)), "only copies of themselves")):
        with pytest.warns(ManifoldWarning, match=match) as caught:
            search.add(new)
        assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search.add(np.arange(8)[None] + 1.0)


def test_what_was_tuned_is_kept_and_what_was_found_approximately_stays_whole(rng):
    X = datasets.digits().features
    tuned = mf.ManifoldSearch(tune=True).fit(X[:250])
    setting = tuned.tuning_.setting
    tuned.add(X[250:260])
    fresh = mf.ManifoldSearch(
        preset="adaptive",
        n_neighbors=setting.n_neighbors,
        gamma=setting.gamma,
        n_seeds=setting.n_seeds,
        alpha=setting.filter.alpha,
    )
    assert graph_bits(tuned.graph_) == graph_bits(fresh.fit(X[:260]).graph_)
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=5).fit(X[:250])
    lists = search.fitted_.neighbors  # as if another method had found them, and missed one
    missed = lists.similarities.copy()
    missed[7, 0] = -np.inf
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=5).fit(
        X[:250], neighbors=lists.with_similarities(missed, metric="cosine")
    )
    search.add(X[250:260])
    search.remove(np.arange(20))
    assert ((search.fitted_.neighbors.indices >= 0).sum(axis=1) >= 5).all()
    assert search.search(X[300:303], k=5, slack=0.0).certified.all()


# ---- whole at every moment


FACADES = {
    "default": lambda: mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=4),
    "index": lambda: mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=4, solver=mf.DiffusionIndex(n_entries=30)),
    "regional": lambda: mf.RegionalSearch(n_neighbors=4, n_seeds=5),
    "regional index": lambda: mf.RegionalSearch(n_neighbors=4, n_seeds=5, solver=mf.DiffusionIndex(n_entries=30)),
}
CHANGES = {
    "fit": lambda s, X: s.fit(X[::-2]),
    "add": lambda s, X: s.add(X[120:123]),
    "remove": lambda s, X: s.remove([3]),
    "update": lambda s, X: s.update(X[120:123], [7, 500, 501], gone=[3]),
}


@pytest.mark.parametrize(
    ("name", "change"),
    [(name, change) for name in FACADES for change in CHANGES if change != "update" or "regional" not in name],
)
def test_what_breaks_off_anywhere_changes_nothing(change, name):
    """An exception at fifty calls of functions of the package, from the first on."""
    X = datasets.digits().features[:260]
    search, twin = (FACADES[name]().fit(X[:120]) for _ in range(2))
    queries = X[[3, 120, 200]]
    each = () if isinstance(search, mf.ManifoldSearch) else (np.arange(3),)
    before, state = answers(search.search(queries, *each, k=5)), search.fitted_

    def work(changing):
        CHANGES[change](changing, X)

    def traced(changing, at, error):
        def trace(frame, event, arg):
            nonlocal count
            # not in generators: one that is closed has nobody to tell
            if "manifold" in frame.f_code.co_filename and not frame.f_code.co_flags & inspect.CO_GENERATOR:
                count += 1
                if count == at:
                    raise error

        count = 0
        sys.settrace(trace)
        try:
            work(changing)
        finally:
            sys.settrace(None)
        return count

    total = traced(twin, 0, None)
    assert total > 60
    for at in np.linspace(1, 0.9 * total, 50).astype(int):  # what is computed once and kept is called no second time
        with pytest.raises((KeyboardInterrupt, MemoryError)):
            traced(search, at, (KeyboardInterrupt, MemoryError)[at % 2])
        assert search.fitted_ is state
    assert answers(search.search(queries, *each, k=5)) == before
    work(search)
    assert answers(search.search(queries, *each, k=5)) == answers(twin.search(queries, *each, k=5)) != before


@pytest.mark.parametrize("name", ["default", "index"])
def test_searches_meanwhile_see_one_state_or_the_other(name):
    X = datasets.digits().features
    options = {"preset": "plain-diffusion", "solver": mf.DiffusionIndex(n_entries=30)} if name == "index" else {}
    search, twin = (mf.ManifoldSearch(n_neighbors=4, **options).fit(X[:150]) for _ in range(2))
    queries, steps = X[300:304], [("add", X[150 + 5 * i : 155 + 5 * i]) for i in range(5)]
    steps += [("remove", np.arange(10 * i, 10 * i + 10)) for i in range(5)]

    def ask(s):
        """Columns of an index that were solved again stay so, and the last digits depend on when: sets alone, then."""
        ranking = s.search(queries, k=5, slack=0.0)
        return np.sort(ranking.ids, axis=1).tobytes() if name == "index" else answers(ranking)

    states, found, done = [ask(twin)], [], threading.Event()
    for change, what in steps:
        getattr(twin, change)(what)
        states.append(ask(twin))
    assert len(set(states)) > 6

    def asking():
        while not done.is_set():
            found.append(ask(search))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(3) as pool:
            askers = [pool.submit(asking) for _ in range(3)]
            for change, what in steps:
                getattr(search, change)(what)
            done.set()
            for asker in askers:
                asker.result()
    finally:
        done.set()
        sys.setswitchinterval(interval)
    assert set(found) <= set(states)
    assert len(set(found)) > 1


def test_changes_at_once_follow_each_other():
    X = datasets.digits().features
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=4).fit(X[:100])
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: search.add(X[100 + i : 101 + i], ids=[1000 + i]), range(8)))
        list(pool.map(search.remove, range(8)))
    order = search.ids_[92:] - 1000
    assert sorted(order) == list(range(8))
    now = np.concatenate([X[8:100], X[100 + order]])
    assert graph_bits(search.graph_) == graph_bits(
        mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=4).fit(now).graph_
    )


# ---- the recipe of a service


def test_eight_threads_on_one_loaded_index_answer_as_one():
    """A saved search, loaded once and mapped, asked by a pool of threads: 8 x 50 searches, the serial answers."""
    X = datasets.digits().features
    mf.ManifoldSearch(preset="plain-diffusion", solver=mf.DiffusionIndex(n_entries=64)).fit(X[:300]).save("service")
    queries = X[300:700]
    alone = mf.load("service")
    serial = [answers(alone.search(query, k=10)) for query in queries]
    served = mf.load("service")
    assert isinstance(served.fitted_.ranker.prepared.values.base, np.memmap)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda query: answers(served.search(query, k=10)), queries))
    assert len(set(serial)) == 400
    assert found == serial
