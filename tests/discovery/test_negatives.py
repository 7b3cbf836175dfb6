"""Negatives of pairs: against the definition in dense arithmetic, and on texts that were judged by people."""

from __future__ import annotations

import numpy as np
import pytest

import manifold as mf
from manifold import datasets, discovery
from manifold.discovery import _local_looks, negatives
from manifold.errors import DatasetNotFoundError, ManifoldWarning


@pytest.fixture(scope="module")
def corpus():
    X, _ = datasets.digits()
    X, Q = X[:500], X[1700:1740]
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=6, edges="union", alpha=0.8, n_seeds=4).fit(X)
    return search, Q, search.search(Q, k=1).ids[:, 0]


def by_definition(search, Q, positives, n, exclude, of):
    """E without the positives and the best of dense columns, one query at a time."""
    fitted = search.fitted_
    near, similarities = fitted.nearest(fitted.points.asked(Q)[0], len(search))
    Y = fitted.seeds(near, similarities).toarray()
    graph = search.graph_.astype("float64")
    K = mf.diffuse(graph, np.eye(len(search)), filter=search.filter, solver="direct").scores
    for q, known in enumerate(positives):
        out = set(known)
        columns = [np.where(np.arange(len(K)) == p, -1, K[:, p]) for p in known] if "positive" in of else []
        columns += [K @ Y[:, q]] if "query" in of else []
        for f in columns:
            out |= {int(i) for i in np.argsort(-f, kind="stable")[:exclude] if f[i] > 0}
        yield [int(x) for x in near[q] if x not in out][:n]


@pytest.mark.parametrize("of", [("positive",), ("query",), ("positive", "query"), "query"])
@pytest.mark.parametrize("exclude", [1, 12])
def test_negatives_are_those_of_the_definition(corpus, of, exclude):
    search, Q, best = corpus
    positives = [[int(p)] if i % 3 else [int(p), (int(p) + 7) % 500, 3] for i, p in enumerate(best)]
    mined = discovery.mine_negatives(search, Q, positives, n=5, exclude=exclude, of=of, certify=True)
    sides = (of,) if isinstance(of, str) else of
    wanted = list(by_definition(search, Q, positives, 5, exclude, sides))
    assert [mined.negatives.of(i).tolist() for i in range(len(Q))] == wanted
    assert mined.negatives.certified.mean() > 0.99
    assert [sorted(mined.positives.of(i).tolist()) for i in range(len(Q))] == [sorted(set(p)) for p in positives]
    falling = np.diff(mined.negatives.similarities)[np.diff(mined.negatives.owners) == 0]
    assert (falling <= 0).all()


def test_names_lists_and_padding_are_one(corpus):
    search, Q, best = corpus
    named = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=6, edges="union", alpha=0.8, n_seeds=4)
    named.fit(search.fitted_.points.X, [f"d{i}" for i in range(500)])
    texts = [f"d{i}" for i in best]
    mined = discovery.mine_negatives(named, Q, texts, n=3)
    lists = discovery.mine_negatives(named, Q, [[one] for one in texts], n=3)
    padded = discovery.mine_negatives(named, Q, [[one, ""] for one in texts], n=3)
    plain = discovery.mine_negatives(search, Q, best, n=3)
    assert mined.negatives.ids.tolist() == lists.negatives.ids.tolist() == padded.negatives.ids.tolist()
    assert mined.negatives.ids.tolist() == [f"d{i}" for i in plain.negatives.ids]
    columns = mined.columns({f"d{i}": i for i in range(500)}, [f"query {i}" for i in range(40)])
    assert columns["anchor"][:4] == ["query 0"] * 3 + ["query 1"]
    assert columns["positive"][0] == best[0]
    single = discovery.mine_negatives(search, Q[0], [best[0]], n=3)
    assert single.negatives.ids.tolist() == plain.negatives.of(0).tolist()


def test_what_cannot_be_is_said(corpus):
    search, Q, best = corpus
    with pytest.raises(ValueError, match="query 2 has no positive"):
        discovery.mine_negatives(search, Q[:3], [[1], [2], []])
    with pytest.raises(ValueError, match="for each of the 40 queries, got 3"):
        discovery.mine_negatives(search, Q, [1, 2, 3])
    with pytest.raises(ValueError, match="of must be some of"):
        discovery.mine_negatives(search, Q, best, of="both")
    with pytest.raises(ValueError, match="999"):
        discovery.mine_negatives(search, Q[:1], [999])
    with pytest.warns(ManifoldWarning, match="40 of 40 queries have fewer than n=450 negatives"):
        mined = discovery.mine_negatives(search, Q, best, n=450, exclude=100)
    assert mined.negatives.sizes.max() < 400
    without = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=None).fit(graph=search.graph_)
    with pytest.raises(ValueError, match="fitted without X"):
        discovery.mine_negatives(without, Q, best)


def test_texts_judged_by_people():
    """Cranfield: of ten negatives, fewer are relevant than of those a skip of ten ranks leaves, as hard as those."""
    try:
        data = datasets.load("cranfield")
    except DatasetNotFoundError as error:
        pytest.skip(str(error))
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=10, edges="union", alpha=0.8, n_seeds=10).fit(
        data.features
    )
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in map(np.float64, (data.queries, data.features))]
    cosines = unit[0] @ unit[1].T
    order = np.argsort(-cosines, axis=1)
    relevant = [set(map(int, one)) for one in data.relevant]
    asked = [i for i, one in enumerate(relevant) if one]
    first = [next(int(d) for d in order[i] if int(d) in relevant[i]) for i in asked]
    mined = discovery.mine_negatives(search, data.queries[asked], first, n=10, exclude=10)
    negatives = [mined.negatives.of(j).tolist() for j in range(len(asked))]
    false = np.mean([d in relevant[i] for i, listed in zip(asked, negatives, strict=True) for d in listed])
    hardness = np.mean([cosines[i, listed].mean() for i, listed in zip(asked, negatives, strict=True)])
    skipped = np.mean([d in relevant[i] for i in asked for d in order[i, 10:20].tolist()])
    assert false <= 0.07
    assert skipped > 0.09
    assert hardness >= 0.495
    assert mined.negatives.certified.mean() > 0.98
    assert not any(set(listed) & {p} for listed, p in zip(negatives, first, strict=True))


def test_local_walks_give_the_same(corpus, monkeypatch):
    """On a large graph each seed is solved for where it is: the same negatives, and as much is proved."""
    search, Q, best = corpus
    positives = [[int(p)] if i % 3 else [int(p), (int(p) + 7) % 500, 3] for i, p in enumerate(best)]
    whole = discovery.mine_negatives(search, Q, positives, n=5, exclude=12, certify=True)
    monkeypatch.setattr(negatives, "serves", lambda *_: True)
    local = discovery.mine_negatives(search, Q, positives, n=5, exclude=12)
    assert local.diagnostics.solver == "local"
    assert local.negatives.ids.tolist() == whole.negatives.ids.tolist()
    assert local.negatives.certified.mean() > 0.99
    bound = local.diagnostics.error_bound.max()
    assert bound < 0.02
    np.testing.assert_allclose(local.negatives.weights, whole.negatives.weights, atol=bound)
    monkeypatch.setattr(_local_looks, "_BUDGETS", (1 << 6, 1 << 11))  # some is open, and solved for at last
    short = discovery.mine_negatives(search, Q, positives, n=5, exclude=12)
    assert 0.05 < short.negatives.certified.mean() < 0.95
    solved = discovery.mine_negatives(search, Q, positives, n=5, exclude=12, certify=True)
    assert solved.negatives.ids.tolist() == whole.negatives.ids.tolist()
    assert solved.negatives.certified.mean() > 0.99
