"""Words on figures: drawn as they are written, inside the figure, and said once where no font has their script."""

import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy import sparse

import manifold as mf
from manifold import datasets, plotting
from manifold.discovery import mine
from manifold.errors import ManifoldWarning
from manifold.plotting._canvas import colour_of, mark_of
from manifold.ranking import Explanation
from manifold.ranking import Path as Walk

WORDS = ("Ba$$in", "$5 vs $6", "a_b^c", "\\alpha", "100 %", "$\\frac{", "_hidden", "{x}")
PAIR = (np.arange(8), np.linspace(1, 0.1, 8))
GRAPH = mf.graph_from_affinity(np.ones((8, 8)) - np.eye(8))
XY = np.random.default_rng(3).random((8, 2))
MINED = mine(GRAPH, mf.find_neighbors(XY, 6), [0], n_positive=2, n_negative=4)


def explained():
    return Explanation(
        item="$9$", score=0.5, seeds=np.array(["$4$", "$2$"]), weights=np.ones(2), contributions=np.array([0.4, 0.1]),
        stored=None, neighbors=np.array(["$7$"]), flows=np.array([0.5]), own=0.0,
        paths=(Walk(("$4$", "$7$", "$9$"), 0.1, 0.2),),
    )  # fmt: skip


def drawings():
    """Every figure that draws words of others."""
    rows = [{"$s$": f"{word} {i}", "ms_p50": 1.0 + i, "overlap": 0.5} for i, word in enumerate(WORDS)]
    low = np.linspace(1, 0.1, 8)
    W = list(WORDS)
    trace = plotting.Trace("$cg$", np.array([1, 2]), low[:2], low[:2], low[:2], low[:2], k=10)
    return {
        "thumbnails": lambda t: (
            plotting.ranking_comparison(
                PAIR, PAIR, query=t, items=[np.eye(4), *W[1:]], relevant=[1], title=t, names=("$a$", t)
            ).figure
        ),
        "texts": lambda t: plotting.ranking_comparison(PAIR, PAIR, query=t, items=W, relevant=[1], title=t).figure,
        "pools": lambda t: plotting.pools(MINED, 0, query=t, items=W, title=t).figure,
        "regions": lambda t: (
            plotting.regional_matches(
                PAIR, dict.fromkeys(range(8), (np.zeros((1, 4)), [1])), query=t, items=W, title=t
            ).figure
        ),
        "classes": lambda t: plotting.embedding(GRAPH, XY, labels=W, title=t).figure,
        "confusion": lambda t: plotting.confusion(W, W, title=t).figure,
        "neighborhood": lambda t: plotting.neighborhood(GRAPH, 0, items=W, title=t).figure,
        "intervals": lambda t: plotting.certified_intervals(low, low + 0.01, k=3, ids=W, title=t).figure,
        "decay": lambda t: plotting.score_decay(np.tile(low, (8, 1)), names=W, title=t).figure,
        "time": lambda t: plotting.time_accuracy(rows, name="$s$", title=t).figure,
        "explanation": lambda t: plotting.explanation(explained(), title=t),
        "convergence": lambda t: plotting.convergence([trace], title=t),
        "degrees": lambda t: plotting.degrees(GRAPH, title=t).figure,
        "components": lambda t: plotting.components(GRAPH, title=t).figure,
        "hubness": lambda t: plotting.hubness([1, 2, 2], title=t).figure,
        "spectrum": lambda t: plotting.spectrum([1.0, 0.5], title=t),
        "certainty": lambda t: plotting.label_certainty([0.5, 1.0], title=t),
        "diffusion": lambda t: plotting.diffusion(GRAPH, [1], XY, iterations=(0, 1), title=t),
    }


@pytest.mark.parametrize("name", drawings())
def test_words_of_others_are_never_mathematics(name, monkeypatch):
    seen = []
    draw = Text.draw

    def note(self, renderer):
        seen.append((self.get_text(), self.get_parse_math()))
        draw(self, renderer)

    monkeypatch.setattr(Text, "draw", note)
    for title in ("Ba$$in", "$5 vs $6"):
        seen.clear()
        drawings()[name](title)._repr_png_()
        ours = ("\\", "$||b", "$|F_i", "(products with $S$)", "index $i$")  # of axes and their logarithmic ticks
        dollars = {(text, math) for text, math in seen if "$" in text and not any(mark in text for mark in ours)}
        assert dollars
        assert not any(math for _, math in dollars), dollars
        assert title in {text for text, _ in seen}


def test_names_that_begin_with_an_underscore_stand_in_the_legend():
    legend = plotting.embedding(GRAPH, XY, labels=list(WORDS)).get_legend()
    assert {text.get_text().strip() for text in legend.get_texts()} == set(WORDS)


@pytest.fixture
def outside(monkeypatch):
    """The texts that a figure draws beyond its edges, the last drawing of each."""
    drawn = {}
    draw = Text.draw

    def note(self, renderer):
        if self.get_visible() and self.get_text().strip():
            drawn[id(self)] = self.get_text(), self.get_window_extent(renderer).extents
        draw(self, renderer)

    def look(figure):
        drawn.clear()
        figure._repr_png_()
        size = figure.bbox.size + 1
        return [text for text, box in drawn.values() if (box[:2] < -1).any() or (box[2:] > size).any()]

    monkeypatch.setattr(Text, "draw", note)
    return look


@pytest.mark.parametrize("coordinates", [XY, None])
@pytest.mark.parametrize("letters", [3, 40, 400])
def test_long_names_stay_inside_the_figure(outside, coordinates, letters):
    words = [f"{i} " + ("word " * 80)[:letters] for i in range(8)]
    assert not outside(plotting.embedding(GRAPH, coordinates, labels=words).figure)
    assert not outside(plotting.confusion(words, words).figure)
    assert not outside(plotting.certified_intervals(PAIR[1], PAIR[1] + 0.1, k=3, ids=words).figure)


@pytest.mark.parametrize("n_classes", [11, 30, 60, 300])
def test_many_classes_have_colours_and_marks_of_their_own_and_a_legend_that_fits(outside, n_classes):
    graph = mf.graph_from_affinity(np.kron(np.eye(n_classes), [[0, 1], [1, 0]]))
    xy = np.random.default_rng(5).random((2 * n_classes, 2))
    ax = plotting.embedding(graph, xy, labels=np.arange(2 * n_classes) % n_classes, edges=False)
    looks = {(c.get_facecolor()[0].tobytes(), c.get_paths()[0].vertices.tobytes()) for c in ax.collections}
    assert len(looks) == n_classes
    assert not outside(ax.figure)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names[-1] == (str(n_classes - 1) if n_classes <= 36 else f"… {n_classes - 35} more")


def test_thirty_colours_are_far_apart():
    colours = np.array([[int(colour_of(j)[i : i + 2], 16) for i in (1, 3, 5)] for j in range(30)], dtype=float)
    apart = np.linalg.norm(colours[:, None] - colours, axis=2) + 999 * np.eye(30)
    assert apart.min() > 20
    assert len({(colour_of(j), mark_of(j)) for j in range(100)}) == 100


def test_a_crowd_is_one_layer_of_dots_that_leave_room():
    rng = np.random.default_rng(7)
    labels = rng.integers(-1, 30, 6000)
    xy = rng.random((6000, 2))
    ax = plotting.embedding(mf.graph_from_affinity(sparse.csr_array((6000, 6000))), xy, labels=labels)
    none, crowd, *named = ax.collections
    assert none.get_label() == "no class"
    assert len(none.get_offsets()) == (labels == -1).sum()
    offsets, colours = np.asarray(crowd.get_offsets()), crowd.get_facecolor()
    where = {tuple(place): label for place, label in zip(xy.tolist(), labels.tolist(), strict=True)}
    drawn = np.array([where[tuple(place)] for place in offsets.tolist()])
    assert len(drawn) == (labels >= 0).sum()
    for j in (0, 7, 29):
        assert {tuple(c) for c in colours[drawn == j].tolist()} == {tuple(named[j].get_facecolor()[0].tolist())}
        assert np.ptp(np.flatnonzero(drawn == j)) > 5000  # no class lies on top of all others
    assert [c.get_label() for c in named] == [str(j) for j in range(30)]
    assert 6000 * crowd.get_sizes()[0] < 0.3 * np.prod(72 * ax.figure.get_size_inches()) * 0.5


SCRIPTS = {"数据": "CJK", "नमस्ते": "Devanagari", "ตัวอย่าง": "Thai", "🙂🚀": "symbols"}


class TestScripts:
    @pytest.mark.parametrize("text", SCRIPTS)
    def test_a_script_without_a_font_is_said_once(self, text):
        name = SCRIPTS[text]
        for make in (
            lambda: plotting.degrees(GRAPH, title=text).figure,
            lambda: plotting.embedding(GRAPH, XY, labels=[text, "b"] * 4).figure,
            lambda: plotting.ranking_comparison(PAIR, PAIR, query="q", items=[text] * 8, relevant=[1]).figure,
        ):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                make()._repr_png_()
            (one,) = caught
            assert one.category is ManifoldWarning
            assert f"no font in use has the script {name}: boxes are drawn" in str(one.message)
            assert one.filename == __file__

    def test_several_scripts_are_said_together_and_known_letters_are_not(self):
        with pytest.warns(ManifoldWarning, match=r"scripts CJK, Devanagari: boxes") as caught:
            plotting.confusion(["数", "ना", "ünï", "Ωλ"], ["数", "ना", "ünï", "Ωλ"])
        assert len(caught) == 1
        plotting.degrees(GRAPH, title="Größe, α ≤ β, жук")._children  # noqa: B018 -- no warning: these have glyphs

    def test_axes_of_others_are_looked_at_too(self):
        with pytest.warns(ManifoldWarning, match="CJK"):
            plotting.degrees(GRAPH, title="数", ax=Figure().add_subplot())


def test_missing_labels_are_no_class():
    moons = datasets.two_moons(40)
    graph = mf.build_graph(moons.features, 5, metric="euclidean")
    half = np.arange(40) % 2
    for none in (None, "-1", "", np.nan):
        labels = np.array([none if i < 10 else f"c{h}" for i, h in enumerate(half)], dtype=object)
        legend = plotting.embedding(graph, moons.features, labels=labels).get_legend()
        assert [text.get_text() for text in legend.get_texts()] == ["no class", "c0", "c1"], none
        ax = plotting.confusion(["c0", "c1"] * 20, labels)
        assert [text.get_text() for text in ax.get_xticklabels()] == ["none", "c0", "c1"], none
        np.testing.assert_allclose(ax.images[0].get_array(), [[0, 0, 0], [0.25, 0.75, 0], [0.25, 0, 0.75]])
        assert ax.get_title() == "75.0 % right"
        assert plotting.confusion(labels, ["c0", "c1"] * 20).get_title() == "100.0 % right"  # of those that are known
    for labels in (half - 1, half - 1.0, (half - 1).astype("U")):
        legend = plotting.embedding(graph, moons.features, labels=labels).get_legend()
        assert legend.get_texts()[0].get_text() == "no class"
        assert len(legend.get_texts()) == 2
