"""Pictures: drawn without a display or global state, right and wrong told apart by more than colour."""

import subprocess
import sys
from io import BytesIO

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.patches import Rectangle

from manifold.plotting import ranking_comparison, regional_matches
from manifold.plotting._canvas import INK, RIGHT, WRONG

PIXELS = [np.full((8, 6), float(i)) for i in range(12)]
BEFORE = (np.arange(12), np.linspace(1, 0.1, 12))
AFTER = (np.arange(12)[::-1], np.linspace(1, 0.1, 12))


def draw(**more):
    given = {"query": PIXELS[0], "items": PIXELS, "relevant": {0, 1, 11}, **more}
    return ranking_comparison(BEFORE, AFTER, **given)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_rows_say_rank_score_and_how_many_are_right():
    ax = draw(title="a title")
    written = texts(ax)
    assert len(ax.images) == 21  # the query and twice ten
    assert "  2 of 10 right" in written
    assert "  1 of 10 right" in written
    assert [str(rank) for rank in range(1, 11)] == [t for t in written if t.isdigit()][:10]
    assert "1.00" in written
    assert "a title" in written


def test_wrong_frames_differ_in_style_and_mark_not_only_in_colour():
    frames = draw().patches[1:]  # the first is that of the query
    styles = {(to_hex(f.get_edgecolor()).upper(), str(f.get_linestyle())) for f in frames}
    assert {colour for colour, _ in styles} == {RIGHT, WRONG}
    assert len({style for _, style in styles}) == 2


def test_draws_into_the_axes_given_and_returns_them():
    ax = Figure().add_subplot()
    assert draw(ax=ax) is ax


def test_texts_encoded_images_and_colour_are_items_too():
    encoded = BytesIO()
    imsave(encoded, np.random.default_rng(7).random((5, 9, 3)), format="png")
    items = {"a": "a text of several words " * 20, "b": encoded.getvalue(), "c": np.zeros((4, 4, 3))}
    pair = (np.array(["a", "b", "c", ""]), np.array([3.0, 2.0, 1.0, 0.0]))  # "" pads
    ax = ranking_comparison(pair, pair, query="what?", items=items, relevant=["b"])
    assert len(ax.images) == 4
    assert "  1 of 3 right" in texts(ax)
    ax.figure.savefig(BytesIO(), format="png")


def test_png_is_no_blank_and_settings_stay_as_they_were():
    settings = dict(mpl.rcParams)
    file = BytesIO()
    draw().figure.savefig(file, format="png")
    assert len(file.getvalue()) > 10_000
    assert dict(mpl.rcParams) == settings


@pytest.mark.parametrize(
    ("change", "message"),
    [({"k": 0}, "k must be at least 1, got 0"), ({"query": np.zeros(3)}, r"an item must be .* shape \(3,\)")],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        draw(**change)


def test_a_ranking_of_several_queries_is_refused():
    with pytest.raises(ValueError, match=r"after must hold .*ranking.ids\[i\]"):
        ranking_comparison(BEFORE, (np.zeros((2, 3)), np.zeros((2, 3))), query="", items=PIXELS, relevant=())


def test_pyplot_is_never_imported():
    code = "import sys, manifold.plotting; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


QUARTERS = np.array([[0, 0, 0.5, 0.5], [0, 0.5, 0.5, 1], [0.5, 0, 1, 0.5], [0.5, 0.5, 1, 1]])
MATCHES = {i: (QUARTERS, np.array([2.0, 5.0, -1.0, 3.0]) / (i + 1)) for i in range(12)}


class TestRegionalMatches:
    def draw(self, **more):
        given = {"query": PIXELS[0], "items": PIXELS, "relevant": {0, 2}, "k": 3, "n_regions": 2, **more}
        return regional_matches(BEFORE, MATCHES, **given)

    def test_boxes_of_the_largest_contributions_stand_where_they_are(self):
        ax = self.draw()
        boxes = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
        assert len(boxes) == 6  # two on each of three
        assert [t for t in texts(ax) if "%" in t] == ["30 %", "50 %"] * 3  # shares of 2 + 5 + 3; less than 0 is nothing
        left, right, low, high = ax.images[1].get_extent()  # image 0 is the query; 8 x 6 pixels, upright
        assert right - left == pytest.approx(6 / 8)
        second, first = boxes[:2]  # the largest on top
        assert first.get_xy() == pytest.approx(((left + right) / 2, (low + high) / 2))
        assert second.get_xy() == pytest.approx(((left + right) / 2, low))
        assert first.get_width() == pytest.approx((right - left) / 2)
        assert first.get_linewidth() > second.get_linewidth()

    def test_what_adds_nothing_is_no_match(self):
        ax = regional_matches(([0], [0.0]), {0: (QUARTERS, np.zeros(4))}, query="a jar", items=PIXELS)
        assert not [patch for patch in ax.patches if isinstance(patch, Rectangle)]

    def test_without_photos_boxes_stand_in_empty_frames(self):
        ax = self.draw(items=None, relevant=None, title="a title")
        assert len(ax.images) == 1
        assert {to_hex(p.get_edgecolor()).upper() for p in ax.patches if not isinstance(p, Rectangle)} == {INK}
        assert "a title" in texts(ax)
        file = BytesIO()
        ax.figure.savefig(file, format="png")
        assert len(file.getvalue()) > 10_000

    def test_draws_into_the_axes_given(self):
        ax = Figure().add_subplot()
        assert self.draw(ax=ax) is ax

    @pytest.mark.parametrize(
        ("change", "message"),
        [({"k": 0}, "k must be at least 1"), ({"n_regions": 0}, "n_regions must be at least 1, got 0")],
    )
    def test_bad_arguments_are_named(self, change, message):
        with pytest.raises(ValueError, match=message):
            self.draw(**change)

    def test_boxes_and_contributions_must_agree(self):
        with pytest.raises(ValueError, match=r"what each adds \(r,\), got \(4, 4\) \(3,\)"):
            regional_matches(([0], [1.0]), {0: (QUARTERS, np.ones(3))}, query="a jar")
