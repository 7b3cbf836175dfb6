"""Explanations: parts add up to the score of a dense solve; the strongest walks are those of an enumeration."""

from uuid import UUID

import numpy as np
import pytest
from cases import GRAPHS, dense_scores, make_graph
from numpy.testing import assert_allclose
from scipy import sparse

from manifold import Diffusion, DiffusionIndex, Heat, ManifoldSearch, RegularizedDiffusion, datasets
from manifold.ranking import RegionalSearch, explain, unit_seeds
from manifold.ranking.explanation import series, strongest_paths
from manifold.solvers import ConjugateGradient

FILTERS = [Diffusion(0.9), Diffusion(0.0), RegularizedDiffusion(0.8)]
EXACT = ConjugateGradient(rtol=1e-5)  # float32 graphs


def fitted(rng, **settings):
    X = rng.standard_normal((60, 4)).astype(np.float32)
    X[:30] += 2
    return ManifoldSearch(n_neighbors=4, n_seeds=3, **{"preset": "plain-diffusion", "solver": EXACT, **settings}).fit(
        X
    ), X


def dense_kernel(search):
    graph = search.graph_.astype(np.float64)
    return dense_scores(graph, np.eye(graph.n_nodes), search.filter)


def seeds_of(explanation, n):
    y = np.zeros(n)
    y[explanation.seeds] = explanation.weights
    return y


@pytest.mark.parametrize("filter", FILTERS, ids=str)
@pytest.mark.parametrize("p", [0.0, 0.5])
def test_parts_are_those_of_a_dense_solve_and_add_up(rng, filter, p):
    search, X = fitted(rng)
    search = search.with_settings(filter=filter, degree_exponent=p)
    K, degrees, query = dense_kernel(search), search.graph_.degrees, X[3] + 0.1
    for item in search.search(query, k=20).ids[::4].tolist():
        made = explain(search, query, item)
        factor = degrees[item] ** -p
        y = seeds_of(made, 60)
        score = factor * (K @ y)[item]
        assert made.score == pytest.approx(score, rel=1e-8, abs=1e-12)
        assert_allclose(made.contributions, factor * made.weights * K[item, made.seeds], rtol=1e-7, atol=1e-12)
        assert made.own + made.flows.sum() == pytest.approx(score, rel=1e-7, abs=1e-12)
        assert made.own == pytest.approx(factor * filter(0.0) * y[item], abs=1e-12)
        assert (np.diff(made.contributions) <= 0).all()
        assert (np.diff(made.flows) <= 0).all()


def test_flows_come_from_the_neighbours_as_the_equation_says(rng):
    search, X = fitted(rng, alpha=0.9)
    item = int(search.search(X[3], k=5).ids[4])
    made = explain(search, X[3], item)
    F = dense_kernel(search) @ seeds_of(made, 60)
    W, d = search.graph_.affinity.toarray().astype(np.float64), search.graph_.degrees
    assert set(made.neighbors.tolist()) == set(np.flatnonzero(W[item]))
    near = made.neighbors
    assert_allclose(made.flows, 0.9 * W[item, near] / np.sqrt(d[item] * d[near]) * F[near], rtol=1e-6)


@pytest.mark.parametrize("preset", ["default", "adaptive"])
def test_the_score_is_that_of_the_ranking(rng, preset):
    search, X = fitted(rng, preset=preset)
    ranking = search.search(X[7] + 0.05, k=12)
    scores = ranking.scores if ranking.diffusion is None else ranking.diffusion  # what an adaptation fused
    for item, score in zip(ranking.ids.tolist(), scores.tolist(), strict=True):
        assert explain(search, X[7] + 0.05, item).score == pytest.approx(score, rel=1e-4, abs=1e-9)


def test_a_query_is_features_an_id_or_a_shortlist(rng):
    search, X = fitted(rng)
    ranking = search.similar(5, k=10)
    assert explain(search, 5, int(ranking.ids[9])).score == pytest.approx(ranking.scores[9], rel=1e-4)
    shortlist = (np.array([9, 4, 5, 1]), np.array([0.2, 0.9, 0.8, 0.5]))
    ranking = search.rerank(*shortlist)
    made = explain(search, shortlist, int(ranking.ids[1]))
    assert made.score == pytest.approx(ranking.scores[1], rel=1e-4)
    assert set(made.seeds.tolist()) == {4, 5, 1}  # the best three
    assert explain(search, X[5].tolist(), 5).seeds[0] == 5


def test_names_are_those_of_the_collection(rng):
    X = rng.standard_normal((20, 3))
    search = ManifoldSearch(preset="plain-diffusion", n_neighbors=3, n_seeds=2).fit(
        X, ids=[f"item {i}" for i in range(20)]
    )
    made = explain(search, "item 4", search.similar("item 4").ids[0])
    assert made.seeds.tolist() == ["item 4"]
    assert made.paths[0].nodes[0] == "item 4"
    assert made.paths[0].nodes[-1] == made.item
    assert all(name.startswith("item ") for name in made.neighbors)


def walks(S, start, end, *, longest):
    """Yield every walk of at most so many steps, and the product of S over it."""
    open_ = [((start,), 1.0)]
    while open_:
        walk, weight = open_.pop()
        if walk[-1] == end:
            yield walk, weight
        if len(walk) <= longest:
            open_ += [((*walk, int(j)), weight * S[walk[-1], j]) for j in np.flatnonzero(S[walk[-1]])]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", ["path", "ring", "star", "complete", "disconnected", "isolated nodes", "two nodes"])
def test_strongest_paths_are_those_of_an_enumeration(name, stride):
    graph, a = make_graph(name), 0.8
    d = np.where(graph.degrees > 0, graph.degrees, 1)
    S = graph.affinity.toarray() / np.sqrt(np.outer(d, d))
    item, nodes = 1, np.arange(graph.n_nodes)
    for node, (strength, walk) in zip(
        nodes, strongest_paths(sparse.csr_array(S), item, nodes, a=a, stride=stride), strict=True
    ):
        longest = 6 if graph.n_nodes > 5 else 8
        every = {w: weight * a ** ((len(w) - 1) / stride) for w, weight in walks(S, node, item, longest=longest)}
        every = {w: weight for w, weight in every.items() if (len(w) - 1) % stride == 0}
        assert strength == pytest.approx(max(every.values(), default=0.0), rel=1e-12)
        if walk:
            assert every[walk] == pytest.approx(strength, rel=1e-12)  # from the node to the item, an allowed length
        else:
            assert not every


@pytest.mark.parametrize("filter", FILTERS[::2], ids=str)
def test_walks_of_all_lengths_add_up_to_the_score_and_a_path_is_one_of_them(rng, filter):
    search, X = fitted(rng)
    search = search.with_settings(filter=filter)
    item = int(search.search(X[3], k=6).ids[5])
    made = explain(search, X[3], item)
    a, stride = series(filter)
    W, d = search.graph_.affinity.toarray().astype(np.float64), search.graph_.degrees
    S = W / np.sqrt(np.outer(d, d))
    f, total = seeds_of(made, 60), 0.0
    for t in range(400):
        total += (1 - a) * a**t * f[item]
        f = np.linalg.matrix_power(S, stride) @ f
    assert total == pytest.approx(made.score, rel=1e-7)
    weight = dict(zip(made.seeds.tolist(), made.weights.tolist(), strict=True))
    for path in made.paths:
        steps = list(zip(path.nodes, path.nodes[1:], strict=False))
        product = np.prod([S[i, j] for i, j in steps])
        assert path.weight == pytest.approx(weight[path.nodes[0]] * (1 - a) * a ** (len(steps) / stride) * product)
        assert path.share == pytest.approx(path.weight / made.score)
        assert path.nodes[-1] == item
    assert sum(path.share for path in made.paths) <= 1
    assert [path.weight for path in made.paths] == sorted((path.weight for path in made.paths), reverse=True)
    assert len(explain(search, X[3], item, n_paths=1).paths) == 1


@pytest.mark.parametrize("name", [name for name in GRAPHS if name not in ("empty", "huge weight range")])
def test_awkward_graphs(name):
    graph = make_graph(name)
    search = ManifoldSearch(preset="plain-diffusion", alpha=0.7, solver=EXACT).fit(graph=graph)
    F = dense_scores(graph, np.eye(graph.n_nodes), Diffusion(0.7))
    for item in range(min(graph.n_nodes, 6)):
        made = explain(search, 0, item)
        assert made.score == pytest.approx(F[0, item], abs=1e-9)
        assert made.own + made.flows.sum() == pytest.approx(F[0, item], abs=1e-9)
        assert bool(made.paths) == bool(F[0, item] > 1e-12)


def test_what_no_walk_reaches_has_no_part():
    search = ManifoldSearch(preset="plain-diffusion", alpha=0.7).fit(graph=make_graph("disconnected"))
    made = explain(search, 0, 5)
    assert made.score == 0
    assert made.paths == ()
    assert not made.flows.any()
    assert str(made) == "5: score 0, no walk from the seeds reaches it"


@pytest.mark.parametrize("n_entries", [4, 60])
def test_stored_columns_bound_every_contribution(rng, n_entries):
    search, X = fitted(rng, solver=DiffusionIndex(n_entries=n_entries))
    widths = []
    for item in search.search(X[3], k=20).ids.tolist():
        made = explain(search, X[3], item)
        low, high = made.stored.T
        assert (low <= made.contributions * (1 + 1e-9) + 1e-12).all()
        assert (made.contributions <= high * (1 + 1e-9) + 1e-12).all()
        widths.append((high - low).max() / made.score)
    assert max(widths) < 1e-2 if n_entries == 60 else max(widths) > 0.05  # all is stored, or much is left to the tails
    assert explain(search.with_settings(solver="cg"), X[3], 3).stored is None


def test_str_says_the_shares():
    X, _ = datasets.digits()
    search = ManifoldSearch(preset="plain-diffusion").fit(X[:400])
    item = int(search.search(X[500], k=20).ids[-1])
    lines = str(explain(search, X[500], item)).splitlines()
    assert lines[0].startswith(f"{item}: score 0.")
    said = [float(part.split(":")[1].strip(" %")) for part in lines[1].removeprefix("seeds").split(",")]
    assert sum(said) == pytest.approx(100, abs=1)
    assert lines[2].startswith("last step ")
    assert sum(line.startswith("path ") for line in lines) == 3


@pytest.mark.parametrize(
    ("query", "item", "error", "message"),
    [
        (np.zeros((2, 4)), 3, ValueError, "query must be one, of shape"),
        (np.zeros(3), 3, ValueError, "4 features"),
        (99, 3, ValueError, "not in the collection"),
        (-1, 3, ValueError, "query must name an item of the collection, got -1"),
        (1, 99, ValueError, "not in the collection"),
        (1, -1, ValueError, "item must be one id of the collection, got -1"),
        (1, [3, 4], ValueError, "item must be one id"),
        (1, "three", TypeError, "ids must be integers"),
    ],
)
def test_bad_arguments_are_named(rng, query, item, error, message):
    search, _ = fitted(rng)
    with pytest.raises(error, match=message):
        explain(search, query, item)


def test_searches_that_cannot_be_explained_say_why(rng):
    search, X = fitted(rng)
    with pytest.raises(ValueError, match=r"explain needs Diffusion or RegularizedDiffusion.*Heat"):
        explain(search.with_settings(filter=Heat(2.0), solver="direct"), X[0], 1)
    with pytest.raises(ValueError, match="not fitted"):
        explain(ManifoldSearch(preset="plain-diffusion"), X[0], 1)
    with pytest.raises(TypeError, match="search must be a ManifoldSearch, got RegionalSearch"):
        explain(RegionalSearch(), X[0], 1)
    with pytest.raises(ValueError, match="fitted without X: pass an id"):
        explain(ManifoldSearch(preset="plain-diffusion").fit(graph=make_graph("ring")), X[0], 1)
    with pytest.raises(ValueError, match="n_paths must be at least 1"):
        explain(search, 0, 1, n_paths=0)


def test_queries_in_the_graph_have_one_seed(rng):
    search, _ = fitted(rng)
    made = explain(search, 8, 8)
    assert made.seeds.tolist() == [8]
    assert made.paths[0].nodes == (8,)
    assert made.own == pytest.approx(1 - search.filter.alpha)
    assert unit_seeds(np.array([8]), 60)[8, 0] == 1


@pytest.mark.parametrize(
    "names", [[UUID(int=2**90 + i) for i in range(60)], [2**70 + i for i in range(60)]], ids=["UUIDs", "2^70"]
)
def test_an_explanation_names_items_as_they_were_named(rng, names):
    search, X = fitted(rng)
    named = ManifoldSearch(preset="plain-diffusion", n_neighbors=4, n_seeds=3, solver=EXACT).fit(X, names)
    for query, same in ((X[3], X[3]), (names[7], 7), (([names[2], names[9]], [0.9, 0.8]), ([2, 9], [0.9, 0.8]))):
        ours, rows = explain(named, query, names[5]), explain(search, same, 5)
        assert ours.item == names[5]
        assert ours.score == rows.score
        assert ours.seeds.tolist() == [names[i] for i in rows.seeds]
        assert ours.neighbors.tolist() == [names[i] for i in rows.neighbors]
        assert [path.nodes for path in ours.paths] == [tuple(names[i] for i in path.nodes) for path in rows.paths]
