"""A search on a graph of names: beside igraph and dense solves, as it changes, and what it refuses."""

from __future__ import annotations

import json
import re
from collections import Counter
from uuid import UUID

import numpy as np
import pytest
from saves import file_of, rewrite
from scipy import sparse

import manifold as mf
from manifold import graph_from_affinity, personalized_pagerank
from manifold.datasets import data_folder
from manifold.errors import CorruptFileError, NotFittedError
from manifold.ranking import GraphSearch
from manifold.storage import _manifest

CRANFIELD = data_folder() / "cranfield"
PATH = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
NAMES = np.array([f"node {i}" for i in range(40)])


def dense(W, y, damping):
    """p by a dense solve; walks on a node without edges return to the seeds."""
    degrees, y = W.sum(axis=0), y / y.sum()
    P = W / np.where(degrees > 0, degrees, 1)
    P[:, degrees == 0] = y[:, None]
    return (1 - damping) * np.linalg.solve(np.eye(len(W)) - damping * P, y)


def drawn(rng, n=40):
    W = np.triu(rng.random((n, n)) < 0.1, 1) * rng.uniform(0.1, 3, (n, n))
    return W + W.T


def is_proved(ranking, p, allowed, at):
    """The list holds the best of what is allowed."""
    rows = np.array([at[name] for name in ranking.ids.tolist()])
    left = np.setdiff1d(np.flatnonzero(allowed), rows)
    assert ranking.certified.all() or ranking.tied.all()
    assert allowed[rows].all()
    assert p[left].max(initial=0) <= p[rows].min(initial=1) * (1 + 1e-9)


def test_queries_seeds_and_what_is_allowed(rng):
    W, X = drawn(rng), rng.normal(size=(25, 6))
    places = rng.permutation(40)[:25]
    search = GraphSearch(damping=0.6, n_seeds=4, gamma=2.0).fit(W, X, nodes=NAMES, ids=NAMES[places])
    Q, at = rng.normal(size=(5, 6)), {name: i for i, name in enumerate(NAMES.tolist())}
    seeds = [{"node 3": 0.4}, ["node 8", "node 1"], {"node 0": 2.0}, ["node 5"], {"node 39": 1e-3}]
    cosines = Q @ X.T / np.outer(np.linalg.norm(Q, axis=1), np.linalg.norm(X, axis=1))
    may = rng.random(40) < 0.5
    everything = np.ones(40, dtype=bool)
    for given, mask in ((None, None), (seeds, None), (seeds, may), (seeds[0], may)):
        found = search.search(Q, 6, seeds=given, allowed=mask)
        for j in range(5):
            y, best = np.zeros(40), np.argsort(-cosines[j])[:4]
            y[places[best]] = np.maximum(cosines[j, best], 0) ** 2
            own = given[j] if isinstance(given, list) else given or {}
            for name in own:
                y[at[name]] += own[name] if isinstance(own, dict) else 1
            p = dense(W, y, 0.6)
            is_proved(
                search.search(Q[j], 6, seeds=own or None, allowed=mask), p, everything if mask is None else mask, at
            )
            away = found.scores[j] - [p[at[name]] for name in found.ids[j].tolist()]
            assert np.abs(away).max() <= found.diagnostics.error_bound[j] + 1e-12


def test_what_is_allowed_in_every_way(rng):
    search = GraphSearch().fit(drawn(rng), nodes=NAMES)
    may = rng.random(40) < 0.3
    answers = [
        search.search(seeds="node 2", k=4, allowed=given)
        for given in (may, NAMES[may].tolist(), lambda ids: np.isin(ids, NAMES[may]))
    ]
    assert all(answer.ids.tolist() == answers[0].ids.tolist() for answer in answers)
    assert search.search(seeds="node 2", k=4, allowed=[]).ids.size == 0


def test_five_hundred_changes_are_a_graph_made_anew(rng):
    """Edges set and cut, nodes joined and removed: W to the bit, and lists that are proved."""
    names, W, X = NAMES.tolist(), drawn(rng), rng.normal(size=(40, 5))
    search = GraphSearch(n_seeds=3).fit(W, X, nodes=names)
    features = dict(zip(names, X, strict=True))
    for step in range(500):
        n, what = len(names), rng.choice(["link", "unlink", "remove", "add"], p=[0.5, 0.3, 0.1, 0.1])
        if what == "link" or n < 12:
            i, j = rng.integers(0, n, 2)
            W[i, j] = W[j, i] = weight = rng.uniform(0.1, 3)
            search.link([(names[i], names[j], weight)])
        elif what == "unlink" and W.any():
            i, j = np.argwhere(W)[rng.integers(np.count_nonzero(W))]
            W[i, j] = W[j, i] = 0
            search.unlink([(names[i], names[j])])
        elif what == "remove":
            gone = int(rng.integers(n))
            search.remove(names[gone])
            W = np.delete(np.delete(W, gone, 0), gone, 1)
            features.pop(names.pop(gone), None)
        else:
            names.append(f"new {step}")
            W = np.pad(W, (0, 1))
            x = rng.normal(size=5) if rng.random() < 0.5 else None
            search.add(names[-1], None if x is None else x[None])
            features |= {} if x is None else {names[-1]: x}
        anew = graph_from_affinity(W, self_loops="keep", dtype="float64")
        for part in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(search.graph_.affinity, part), getattr(anew.affinity, part))
        assert search.ids_.tolist() == names
        if step % 10:
            continue
        rebuilt = GraphSearch(n_seeds=3).fit(anew, list(features.values()), nodes=names, ids=list(features))
        q, seeds = rng.normal(size=5), {names[0]: 0.5}
        found, same = (one.search(q, 5, seeds=seeds) for one in (search, rebuilt))
        assert found.ids.tolist() == same.ids.tolist()
        np.testing.assert_array_equal(found.scores, same.scores)
        p = dense(W, np.eye(len(names))[0], 0.5)
        at = {name: i for i, name in enumerate(names)}
        is_proved(search.search(seeds=names[0], k=5), p, np.ones(len(names), dtype=bool), at)


@pytest.mark.skipif(not (CRANFIELD / "docs.json").exists(), reason="set MANIFOLD_DATA to a folder that holds cranfield")
def test_passages_and_entities_beside_igraph():
    """Passages and the words in them, a query by its nearest passages: the ten best are those of igraph."""
    igraph = pytest.importorskip("igraph")
    W, names, X, Q = passages_and_words()
    search = GraphSearch().fit(W, X, nodes=names, ids=names[: len(X)])
    found = search.search(Q[::30])
    assert found.certified.all()
    upper = sparse.coo_array(sparse.triu(W))
    other = igraph.Graph(n=W.shape[0], edges=np.stack(upper.coords, axis=1).tolist(), directed=False)
    X, Q = (part / np.linalg.norm(part, axis=1)[:, None] for part in (X, Q[::30]))
    cosines = Q @ X.T
    for ids, row in zip(found.ids, cosines, strict=True):
        best = np.argsort(-row)[:20]
        reset = np.zeros(W.shape[0])
        reset[best] = row[best]
        p = other.personalized_pagerank(
            damping=0.5, reset=reset.tolist(), weights=upper.data.tolist(), implementation="prpack"
        )
        assert set(ids.tolist()) == set(names[np.argsort(-np.array(p))[:10]].tolist())


def passages_and_words():
    """The passages of a collection and its words, joined where one holds the other; features of passages, queries."""
    texts = [document["text"] for document in json.loads((CRANFIELD / "docs.json").read_text())]
    counts = [Counter(re.findall(r"[a-z]{3,}", text.lower())) for text in texts]
    words = {word: len(texts) + i for i, word in enumerate(sorted(set().union(*counts)))}
    edges = np.array([(i, words[word], times) for i, count in enumerate(counts) for word, times in count.items()])
    n = len(texts) + len(words)
    W = sparse.coo_array((edges[:, 2].astype(float), (edges[:, 0], edges[:, 1])), shape=(n, n))
    names = np.array([f"passage:{i}" for i in range(len(texts))] + [f"word:{word}" for word in words])
    return (
        (W + W.T).tocsr(),
        names,
        *(np.load(CRANFIELD / f"{part}_minilm.npy").astype(np.float64) for part in ("docs", "queries")),
    )


def test_a_directed_graph_by_request(rng):
    cites = np.triu(PATH)
    with pytest.raises(ValueError, match=r"not symmetric.*edges="):
        GraphSearch().fit(cites)
    found = GraphSearch().fit(cites, edges="union").search(seeds=[0], k=3)
    assert found.ids.tolist() == personalized_pagerank(PATH, 0, damping=0.5, k=3).ids.tolist()


def test_a_query_that_nothing_is_near_has_no_proof():
    search = GraphSearch().fit(PATH, [[1.0, 0.0]], ids=[0])
    found = search.search([[-1.0, 0.0], [1.0, 0.0]], k=2)
    assert found.slack.tolist() == [np.inf, 0]


OF_NAMES = {
    "numbers": None,
    "integers": [2**70 if i == 3 else 7 * i for i in range(40)],
    "texts": NAMES,
    "UUIDs": [UUID(int=i + 1) for i in range(40)],
    "integers and UUIDs": [UUID(int=i + 1) if i % 3 else i for i in range(40)],
}


def told(ranking):
    parts = (ranking.ids.tolist(), ranking.scores, ranking.slack, ranking.diagnostics.error_bound)
    return [parts[0], *(np.asarray(part).tobytes() for part in parts[1:])]


@pytest.mark.parametrize("verify", ["full", "lazy"])
@pytest.mark.parametrize("kind", OF_NAMES)
def test_what_was_saved_answers_and_changes_as_before(rng, kind, verify):
    W, X, q = drawn(rng), rng.normal(size=(25, 6)), rng.normal(size=(2, 6))
    search = GraphSearch(damping=np.float32(0.3), n_seeds=4, gamma=2).fit(W, nodes=OF_NAMES[kind])
    names = search.ids_.tolist()
    search.fit(W, X, nodes=OF_NAMES[kind], ids=names[5:30])
    search.remove(names[7])
    for at in (1, 2):
        again = mf.load(search.save("walks"), verify=verify)
        assert repr(again) == repr(search)
        assert again.ids_.dtype == search.ids_.dtype
        for given, seeds in ((q, {names[0]: 0.4}), (None, [names[33]]), (q[0], None)):
            assert told(again.search(given, 6, seeds=seeds)) == told(search.search(given, 6, seeds=seeds))
        for one in (search, again):
            one.remove(names[10 + at])
            one.link([(names[0], names[20 + at], 3.5)])
            one.add({"texts": f"x{at}", "UUIDs": UUID(int=77 + at)}.get(kind, 2**40 + at))
        assert told(again.search(q, 6)) == told(search.search(q, 6))
        search = again  # what was loaded is saved in place of what it maps


def test_a_save_of_a_graph_without_features(rng):
    search = GraphSearch().fit(drawn(rng))
    assert told(mf.load(search.save("walks")).search(seeds=[3])) == told(search.search(seeds=[3]))
    search.save("walks")
    with pytest.raises(NotFittedError):
        GraphSearch().save("walks")
    with pytest.raises(ValueError, match="a graph without features"):
        mf.load("walks").search([1.0])


@pytest.mark.parametrize("verify", ["full", "lazy"])
@pytest.mark.parametrize("forged", [[0, 3], [-1, 0], [1, 1], [0], [0.0, 1.0]], ids=str)
def test_nodes_that_no_save_has_written_are_refused(tmp_path, forged, verify):
    folder = GraphSearch().fit(PATH, [[1.0, 0.0], [0.0, 1.0]], ids=[0, 2]).save(tmp_path / "walks")
    file = file_of(folder, "nodes")
    file.unlink()
    rewrite(folder, lambda manifest: manifest["arrays"].update(nodes=_manifest.write_array(file, np.array(forged))))
    with pytest.raises(CorruptFileError, match="graph_search"):
        mf.load(folder, verify=verify)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda s: s.search(), "search needs queries Q, seeds, or both"),
        (lambda s: s.search([1.0], k=1), "X|features|Q"),
        (lambda s: s.search([[1.0, 0.0]] * 3, seeds=[["a"], ["b"]]), r"each of the 3, got 2"),
        (lambda s: s.search(seeds=["z"]), "not in the collection, first 'z'"),
        (lambda s: s.link([("a", "z", 1.0)]), "not in the collection, first 'z'"),
        (lambda s: s.link([("a", "b", 0.0)]), "weights > 0 .* got 0.0: unlink"),
        (lambda s: s.link([("a", "b", np.nan)]), "weights"),
        (lambda s: s.link([("a", "b", 1.0), ("b", "a", 1.0)]), "named once, 'a' and 'b' are twice"),
        (lambda s: s.link([("a", "b")]), r"\(name, name, weight\), got \('a', 'b'\)"),
        (lambda s: s.link(("a", "b", 1.0)), "got 'a' in it"),
        (lambda s: s.unlink([("a", "c")]), "'a' and 'c' have none"),
        (lambda s: s.add(["a"]), "in the collection already, first 'a'"),
        (lambda s: s.add(["d"], [[1.0, 2.0, 3.0]]), "features"),
        (lambda s: s.add(["d", "e"], [[1.0, 2.0]]), "a row for each of the 2 ids, got 1"),
        (lambda s: s.remove(["a", "a"]), "leaves once"),
        (lambda s: GraphSearch().fit(PATH, [[1.0, 0.0]]), "each of the 1 rows of X, once, got none"),
        (lambda s: GraphSearch().fit(PATH, [[1.0], [0.5]], ids=[0, 0]), "each of the 2 rows of X, once"),
        (lambda s: GraphSearch().fit(PATH, ids=[0]), "pass nodes="),
        (lambda s: GraphSearch().fit(PATH).search([1.0]), "a graph without features"),
        (lambda s: GraphSearch(gamma=-1), "gamma must be"),
        (lambda s: GraphSearch(damping=1.0), "damping"),
    ],
)
def test_what_is_refused_changes_nothing(call, problem):
    search = GraphSearch().fit(PATH, [[1.0, 0.0], [0.0, 1.0]], nodes=["a", "b", "c"], ids=["a", "c"])
    before = search.graph_
    with pytest.raises(ValueError, match=problem):
        call(search)
    assert search.graph_ is before
    with pytest.raises(NotFittedError):
        GraphSearch().search(seeds=[0])
