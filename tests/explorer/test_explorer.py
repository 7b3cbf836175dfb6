"""The explorer: what it shows is what the search answers, from one basis; with sliders, and without."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import manifold as mf
from manifold import datasets, discovery, plotting
from manifold.backends import get_backend
from manifold.explorer import CHOICES, Exploration, Explorer, Settings
from manifold.explorer._shared_basis import SharedBasis

FILTERS = (mf.Diffusion(0.5), mf.Diffusion(0.99), mf.RegularizedDiffusion(0.9), mf.Heat(3.0), mf.Heat(60.0))
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def digits():
    X, y = datasets.digits()
    return X[:400], X[400:420], y[:400], y[400:420]


@pytest.fixture(scope="module")
def search(digits):
    return mf.ManifoldSearch(preset="plain-diffusion").fit(digits[0])


@pytest.fixture
def explorer(digits, search):
    X, _, y, _ = digits
    return Explorer(search, X, items=X.reshape(-1, 8, 8), labels=y)


def assert_right(search, query, answer):
    """The scores shown are those of a dense solve, up to the bounds they come with."""
    settings, (ids, scores) = answer.settings, answer.ranking
    exact = search.with_settings(
        filter=settings.filter, n_seeds=settings.n_seeds, degree_exponent=settings.degree_exponent, solver="direct"
    ).search(query, k=search.graph_.n_nodes)
    by_id = dict(zip(exact.ids.tolist(), exact.scores.tolist(), strict=True))
    bound = answer.ranking.diagnostics.error_bound[0] / search.graph_.degrees[ids] ** settings.degree_exponent
    assert (np.abs(scores - [by_id[name] for name in ids.tolist()]) <= bound + 1e-6).all()


@pytest.mark.parametrize("solver", CHOICES)
def test_it_shows_what_the_search_answers(digits, search, solver):
    X, Q, *_ = digits
    settings = Settings(query=3, filter=mf.Diffusion(0.9), n_seeds=3, degree_exponent=0.5, solver=solver)
    answer = Exploration(search, X, Q=Q).answer(settings)
    assert_right(search, Q[3], answer)
    assert answer.nearest[0].tolist() == np.argsort(-(X @ Q[3]) / np.linalg.norm(X, axis=1))[:10].tolist()


@pytest.mark.parametrize("preset", ["default", "adaptive"])
def test_an_item_is_left_out_of_its_own_lists(digits, preset):
    X, *_ = digits
    search = mf.ManifoldSearch(preset=preset).fit(X, ids=[f"scan {i}" for i in range(400)])
    exploration = Exploration(search, X, k=7)
    for query in (0, 17, 18):
        answer = exploration.answer(replace(exploration.first, query=query, solver="cg"))
        ids = search.search(X[query], k=8).ids
        assert answer.ranking.ids.tolist() == [name for name in ids.tolist() if name != f"scan {query}"]
        assert len(answer.nearest[0]) == len(answer.ranking.ids) == 7
        assert f"scan {query}" not in answer.nearest[0]


def test_an_item_that_is_its_only_seed_asks_for_what_is_similar(digits, search):
    exploration = Exploration(search, digits[0])
    answer = exploration.answer(Settings(query=9, n_seeds=1))
    assert answer.ranking.ids.tolist() == search.similar(9, k=10).ids.tolist()


def test_one_basis_serves_every_filter_without_a_product(digits, search, monkeypatch):
    X, *_ = digits
    exploration = Exploration(search, X)
    exploration.answer(Settings(query=1))
    products, backend = [], type(get_backend("scipy"))
    spmm = backend.spmm
    monkeypatch.setattr(backend, "spmm", lambda *args, **named: products.append(1) or spmm(*args, **named))
    changes = [Settings(query=1, filter=filter, degree_exponent=p) for filter in FILTERS for p in (0.0, 0.5)]
    answers = [exploration.answer(settings) for settings in changes]
    assert not products
    assert exploration._shared.n_grown == 1
    for answer in answers:
        assert answer.ranking.diagnostics.converged
        assert_right(search, X[1], answer)
    products.clear()
    exploration.answer(Settings(query=1, n_seeds=6))
    assert products
    assert exploration._shared.n_grown == 2


def test_a_filter_that_needs_more_gets_a_longer_basis(digits, search):
    exploration = Exploration(search, digits[0])
    exploration.answer(Settings())
    answer = exploration.answer(Settings(filter=mf.Diffusion(0.9995)))
    assert answer.ranking.diagnostics.residual[0] <= 1e-3
    assert exploration._shared.n_grown <= 2


def test_bases_of_old_queries_are_given_back(digits, search):
    exploration = Exploration(search, digits[0])
    first = exploration.answer(Settings(query=0)).ranking
    for query in range(1, 12):
        exploration.answer(Settings(query=query))
    assert len(exploration._shared._kept) == 8
    again = exploration.answer(Settings(query=0)).ranking
    assert exploration._shared.n_grown == 13
    assert again.scores.tobytes() == first.scores.tobytes()


def test_items_that_leave_the_search_meanwhile_stay_in_the_explorer(digits):
    search = mf.ManifoldSearch(preset="plain-diffusion").fit(digits[0])
    explorer = Explorer(search, digits[0], labels=digits[2])
    before = explorer.answer().ranking
    search.remove(before.ids[:3])
    assert explorer.answer().ranking.ids.tolist() == before.ids.tolist()
    assert explorer.why(1).item == before.ids[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(query=400), r"query must lie in 0..399, got 400"),
        (Settings(filter=mf.Heat(3.0), solver="cg"), "rational filter"),
        (Settings(solver="magic"), "solver must be"),
        (Settings(n_seeds=0), "n_seeds"),
    ],
)
def test_settings_that_cannot_be(digits, search, settings, message):
    with pytest.raises(ValueError, match=message):
        Exploration(search, digits[0]).answer(settings)


def test_rows_that_do_not_match(digits, search):
    X, Q, y, _ = digits
    for wrong, message in (
        ({"items": X[:3]}, "items has 3 rows, and should have 400"),
        ({"labels": y[:5]}, "labels has 5"),
        ({"query_labels": y}, "queries Q, which were not given"),
        ({"Q": Q, "labels": y}, "give both"),
        ({"Q": Q, "query_items": X}, "query_items has 400 rows, and should have 20"),
        ({"Q": Q[:0]}, "Q holds no queries"),
    ):
        with pytest.raises(ValueError, match=message):
            Explorer(search, X, **wrong)
    with pytest.raises(ValueError, match="X has 20 rows, but search was fitted to 400"):
        Explorer(search, Q)
    with pytest.raises(ValueError, match="not fitted"):
        Explorer(mf.ManifoldSearch(preset="plain-diffusion"), X)


def test_what_was_found_by_eye_can_be_taken_away(digits, explorer):
    explorer.settings = Settings(query=5, filter=mf.Heat(12.0), n_seeds=4, degree_exponent=0.5)
    ids = [name for name in explorer.search.search(digits[0][5], k=11).ids.tolist() if name != 5]
    assert ids == explorer.answer().ranking.ids.tolist()


def test_words_say_time_what_is_right_what_is_proved_and_what_failed(digits, explorer):
    answer = explorer.answer()
    first, right, proof, solve = explorer.explain(answer).splitlines()
    assert first.startswith("query 0, Diffusion(alpha=0.95), 5 seeds, lanczos: ")
    y = digits[2]
    counts = [(y[ids] == y[0]).sum() for ids in (answer.nearest[0], answer.ranking.ids)]
    assert right == f"right: {counts[0]} of 10 nearest neighbours, {counts[1]} of 10 after diffusion"
    slack = answer.ranking.slack[0]
    assert proof == ("top 10: certified" if slack == 0 else f"top 10: slack {slack:.2g}")
    assert solve.startswith("lanczos: 1 of 1 columns converged")
    unproved = replace(answer, ranking=replace(answer.ranking, slack=np.array([np.inf])))
    assert "top 10: nothing is proved" in explorer.explain(unproved)


def test_the_figure_marks_what_is_right_only_where_it_is_known(digits, explorer, search):
    X, Q, *_ = digits
    answer = explorer.answer()
    texts = [text.get_text() for ax in explorer.figure(answer).axes for text in ax.texts]
    assert f"  {explorer.right(answer, answer.ranking.ids).sum()} of 10 right" in texts
    assert "query 0, Diffusion(alpha=0.95), 5 seeds, lanczos" in texts
    figure = Explorer(search, X, Q=Q, k=4).figure(note="a note")
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert [t for t in texts if t.startswith("item ")] == [f"item {i}" for i in search.search(Q[0], k=4).ids]
    assert not [t for t in texts if "right" in t]
    assert [text.get_text() for text in figure.texts] == ["a note"]


def test_why_is_that_of_the_settings_shown(digits, explorer, search):
    explorer.settings = Settings(query=4, filter=mf.Diffusion(0.9), n_seeds=3, degree_exponent=0.5)
    ranking = explorer.answer().ranking
    why = explorer.why(2)
    assert why.item == ranking.ids[1]
    assert why.score == pytest.approx(ranking.scores[1], rel=1e-2)
    assert len(why.seeds) == 3
    assert explorer.why_png(2).startswith(PNG)
    assert Explorer(search, digits[0]).why_png().startswith(PNG)
    with pytest.raises(ValueError, match=r"rank must lie in 1..10, got 0"):
        explorer.why(0)
    explorer.settings = Settings(filter=mf.Heat(3.0))
    with pytest.raises(ValueError, match="Heat"):
        explorer.why()


def test_sliders_change_the_settings_and_all_that_is_shown(explorer):
    pytest.importorskip("ipywidgets", reason="ipywidgets not installed: pip install 'manifold-search[notebook]'")
    box = explorer.widget()
    controls, (words, lists) = (part.children for part in box.children[0].children)
    by_name = {control.description: control for control in controls}
    picture = box.children[1]
    before = words.value, lists.value, picture.value
    by_name["alpha"].value = 0.1 + 0.2  # 0.30000000000000004
    assert explorer.settings == Settings(filter=mf.Diffusion(0.3))
    assert all(old != new for old, new in zip(before, (words.value, lists.value, picture.value), strict=True))
    by_name["filter"].value = "Heat"
    assert (by_name["alpha"].disabled, by_name["t"].disabled) == (True, False)
    by_name["t"].value, by_name["n_seeds"].value, by_name["degree^-p"].value = 30.0, 2, 0.5
    by_name["query"].value = 7
    assert explorer.settings == Settings(7, mf.Heat(by_name["t"].value), 2, 0.5)
    for name in explorer.answer().ranking.ids.tolist():
        assert f" {name} " in lists.value
    shown = lists.value
    by_name["solver"].value = "cg"  # which cannot
    assert "rational filter" in words.value
    assert lists.value == shown
    assert explorer.settings.solver == "lanczos"
    by_name["filter"].value = "RegularizedDiffusion"
    assert explorer.settings == Settings(7, mf.RegularizedDiffusion(0.3), 2, 0.5, "cg")
    assert bytes(picture.value).startswith(PNG)
    why = box.children[2]
    assert why.layout.display == "none"
    by_name["why rank"].value = 3
    first = bytes(why.value)
    assert (first[:4], why.layout.display) == (PNG, "")
    by_name["alpha"].value = 0.9
    assert bytes(why.value) != first
    by_name["filter"].value, by_name["solver"].value = "Heat", "lanczos"
    assert why.layout.display == "none"
    assert "Heat" in words.value.split("<b>")[1]


def test_pools_of_an_anchor_are_those_that_were_mined(digits, search, monkeypatch):
    X, y = digits[0], digits[2]
    near = mf.find_neighbors(X, 60)
    mined = discovery.mine(search.graph_, near, [7, 3], n_positive=9, n_negative=60)
    explorer = Explorer(search, X, items=X.reshape(-1, 8, 8), labels=y, mined=mined)
    assert explorer.pools_png() is None  # row 0 is no anchor
    explorer.settings = Settings(query=3)
    seen = {}
    draw = plotting.pools
    monkeypatch.setattr(plotting, "pools", lambda *a, **b: seen.update(b, anchor=a[1]) or draw(*a, **b))
    assert explorer.pools_png().startswith(PNG)
    ids = [*mined.positives.of(1), *mined.negatives.of(1)]
    assert seen["anchor"] == 1
    assert seen["relevant"] == [i for i in ids if y[i] == y[3]]
    named = mf.ManifoldSearch(preset="plain-diffusion").fit(X, [f"n{i}" for i in range(len(X))])
    known = discovery.mine_negatives(named, X[:2], ["n9", "n8"], exclude=5)
    asked = Explorer(named, X, Q=X[:2], items=[f"item {i}" for i in range(len(X))], mined=known)
    assert asked.pools_png().startswith(PNG)
    assert seen["items"]["n9"] == "item 9"
    pytest.importorskip("ipywidgets", reason="ipywidgets not installed: pip install 'manifold-search[notebook]'")
    pools = explorer.widget().children[3]
    assert (bytes(pools.value)[:4], pools.layout.display) == (PNG, "")
    explorer.settings = Settings(query=4)
    assert explorer.widget().children[3].layout.display == "none"


def test_labels_cannot_write_html(digits, search):
    pytest.importorskip("ipywidgets", reason="ipywidgets not installed: pip install 'manifold-search[notebook]'")
    box = Explorer(search, digits[0], labels=["<script>"] * 400).widget()
    lists = box.children[0].children[1].children[1].value
    assert "&lt;script&gt;" in lists
    assert "<script>" not in lists


def test_filters_beyond_the_sliders_can_be_looked_at(digits, search):
    pytest.importorskip("ipywidgets", reason="ipywidgets not installed: pip install 'manifold-search[notebook]'")
    for filter in (mf.Polynomial((1.0, 0.0, 1.0)), mf.LowPass(0.9), mf.Heat(0.0), mf.Heat(0.3), mf.Heat(80.0)):
        explorer = Explorer(search.with_settings(filter=filter, solver="direct"), digits[0])
        explorer.widget()
        assert explorer.settings.filter == filter
        assert explorer.answer().ranking.ids.size == 10


def test_without_widgets_it_shows_a_picture_and_says_what_is_missing(explorer, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.delitem(sys.modules, "manifold.explorer._widgets", raising=False)
    with pytest.raises(ImportError, match=r"manifold-search\[notebook\]"):
        explorer.widget()
    notes = []
    png = explorer.png
    monkeypatch.setattr(explorer, "png", lambda answer, note: notes.append(note) or png(answer, note=note))
    bundle = explorer._repr_mimebundle_()
    assert sorted(bundle) == ["image/png", "text/plain"]
    assert bundle["image/png"].startswith(PNG)
    assert "manifold-search[notebook]" in notes[0]


def test_with_widgets_a_page_without_sliders_still_has_the_picture(explorer):
    pytest.importorskip("ipywidgets", reason="ipywidgets not installed: pip install 'manifold-search[notebook]'")
    bundle = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["image/png"].startswith(PNG)


def test_the_model_needs_neither_widgets_nor_matplotlib():
    code = (
        "import sys, numpy as np, manifold as mf; X = np.eye(5) + 0.1;"
        "mf.Explorer(mf.ManifoldSearch(preset='plain-diffusion', n_neighbors=2).fit(X), X, k=2).answer();"
        "print([m for m in ('ipywidgets', 'IPython', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("none", [-1, "-1", "", None, float("nan")])
def test_a_query_without_a_label_has_nothing_right(digits, search, none):
    labels = np.array([none if c == 0 else c for c in digits[2].tolist()], dtype=object)
    explorer = Explorer(search, digits[0], labels=labels)
    assert labels[0] is none  # the first query, and all zeros that it finds
    assert not explorer.right(explorer.answer(), explorer.answer().nearest[0]).any()
    explorer.settings = replace(explorer.settings, query=1)
    assert explorer.right(explorer.answer(), explorer.answer().nearest[0]).any()


def test_a_basis_takes_the_seeds_of_a_search_alone():
    prepared = SharedBasis().prepare(mf.graph_from_affinity([[0, 1], [1, 0]]), mf.Heat(1.0), get_backend("scipy"))
    with pytest.raises(TypeError, match=r"seeds must be a csc_array .* got list"):
        prepared.solve([1.0, 0.0])
