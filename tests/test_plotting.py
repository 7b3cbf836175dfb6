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

from manifold.plotting import RIGHT, WRONG, ranking_comparison

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
