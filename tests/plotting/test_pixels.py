"""Items that are images: whatever holds the pixels, they look as they are meant; what cannot be read is named."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imsave
from PIL import Image

import manifold as mf
from manifold import plotting
from manifold.plotting._pixels import pixels_of

RNG = np.random.default_rng(11)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)


def encoded(image, kind="png"):
    file = BytesIO()
    image.save(file, format=kind)
    return file.getvalue()


def shown(*items):
    """The colours (h, w, 3) in 0..1 that a picture of some items shows."""
    ids = (np.arange(len(items)), np.linspace(1, 0.5, len(items)))
    ax = plotting.ranking_comparison(ids, ids, query="what?", items=items, relevant=[0])
    return [image.to_rgba(image.get_array())[..., :3] for image in ax.images[: len(items)]]


@pytest.mark.parametrize(
    "item",
    [
        COLOUR,
        COLOUR.astype(np.int64),
        COLOUR / 255,
        (COLOUR / 255).astype(np.float32),
        COLOUR.astype(np.float32),  # 0..255
        COLOUR.astype(np.uint16) * 257,
        COLOUR / 255 * 1.005,  # what resizing may leave
        np.moveaxis(COLOUR, 2, 0),
        np.moveaxis(COLOUR, 2, 0).astype(float),
        np.dstack([COLOUR, np.full((6, 9), 255, np.uint8)]),
        Image.fromarray(COLOUR),
        Image.fromarray(COLOUR).convert("RGBA"),
        Image.fromarray(COLOUR).quantize(256),  # a palette
        encoded(Image.fromarray(COLOUR)),
        encoded(Image.fromarray(COLOUR).quantize(256)),
        encoded(Image.fromarray(COLOUR), "bmp"),
        COLOUR.tolist(),
    ],
    ids=lambda item: type(item).__name__,
)
def test_colours_look_as_they_are_meant(item):
    (rgb,) = shown(item)
    np.testing.assert_allclose(rgb, COLOUR / 255, atol=0.006)


def test_paths_are_read(tmp_path):
    imsave(tmp_path / "a.png", COLOUR)
    (rgb,) = shown(tmp_path / "a.png")
    np.testing.assert_allclose(rgb, COLOUR / 255, atol=0.003)
    with pytest.raises(FileNotFoundError, match=r"absent\.png"):
        shown(tmp_path / "absent.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"b\.png is no image that can be read"):
        shown(tmp_path / "b.png")
    assert isinstance(tmp_path, Path)


@pytest.mark.parametrize(
    "item",
    [GREY, GREY[:, :, None], GREY[None], Image.fromarray(GREY), encoded(Image.fromarray(GREY), "bmp")],
    ids=lambda item: type(item).__name__,
)
def test_grey_is_brightness_not_a_negative(item):
    (rgb,) = shown(item)
    np.testing.assert_allclose(rgb, np.repeat(GREY[:, :, None], 3, axis=2) / 255, atol=0.006)


def test_grey_images_of_a_picture_share_one_scale():
    dark, light = np.full((4, 4), 20, np.uint8), np.full((4, 4), 200, np.uint8)
    values = [rgb[0, 0, 0] for rgb in shown(dark, light)]
    np.testing.assert_allclose(values, [20 / 255, 200 / 255], atol=0.006)
    values = [rgb[0, 0, 0] for rgb in shown(np.full((4, 4), 0.2), np.full((4, 4), 0.8))]  # shares
    np.testing.assert_allclose(values, [0.2, 0.8], atol=0.006)
    values = [rgb[0, 0, 0] for rgb in shown(np.full((4, 4), 4.0), np.full((4, 4), 16.0))]  # scans in 0..16
    np.testing.assert_allclose(values, [0.25, 1.0], atol=0.006)
    values = [rgb[0, 0, 0] for rgb in shown(light, np.ones((4, 4)), np.ones((4, 4), bool))]  # a mask beside bytes
    np.testing.assert_allclose(values, [200 / 255, 1, 1], atol=0.006)
    (rgb,) = shown(np.eye(4, dtype=np.uint8))  # a mask of bytes
    np.testing.assert_allclose(rgb[:, :, 0], np.eye(4), atol=0.006)


def test_neighbours_and_explanations_share_it_too():
    graph = mf.graph_from_affinity([[0, 2, 1], [2, 0, 0], [1, 0, 0]])
    ax = plotting.neighborhood(graph, 0, items=[np.full((4, 4), v) for v in (0.0, 5.0, 10.0)])
    assert {image.get_clim() for image in ax.images} == {(0.0, 10.0)}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (np.full((4, 4, 3), -1.0), r"colours of an item lie in -1\.\.-1: give bytes 0\.\.255 or floats 0\.\.1"),
        (np.full((4, 4, 3), 300), r"lie in 300\.\.300"),
        (np.full((4, 4, 3), np.nan), r"lie in nan"),
        (np.zeros((5, 5, 2)), r"an item must be .* shape \(5, 5, 2\)"),
        (np.zeros((0, 4)), r"shape \(0, 4\)"),
        (np.zeros((4, 4), complex), "complex128"),
        (np.zeros((2, 3, 4, 5)), r"shape \(2, 3, 4, 5\)"),
        (b"no image", "an encoded item of 8 bytes is no image"),
        (b"\x89PNG\r\n", "an encoded item of 6 bytes is no image"),
        ([[1, 2], [3]], "an item is a list that cannot be read as pixels"),
        (None, "an item must be"),
    ],
)
def test_what_is_no_image_is_named(item, message):
    with pytest.raises(ValueError, match=message):
        pixels_of(item)


def test_a_list_that_is_no_pair_is_named():
    ids, items = np.arange(12), [np.eye(4)] * 12
    for wrong, message in ((ids, "before must hold the ids .* got 12 parts"), (ids[:2], r"got shapes \(\) and \(\)")):
        with pytest.raises(ValueError, match=message):
            plotting.ranking_comparison(wrong, wrong, query="q", items=items, relevant=[1])


def test_right_ones_are_of_positive_gain_and_negative_ids_are_ids():
    pair = (np.array([-5, -6, -1]), np.array([2.0, 1.0, 0.0]))
    items = {-5: np.eye(4), -6: np.eye(4)}
    ax = plotting.ranking_comparison(pair, pair, query="q", items=items, relevant={-5: 1, -6: 0})
    assert len(ax.images) == 4
    assert sum("1 of 2 right" in text.get_text() for text in ax.texts) == 2
    names = (["ab", "b"], [2.0, 1.0])
    ax = plotting.ranking_comparison(names, names, query="q", items={"ab": np.eye(4), "b": np.eye(4)}, relevant="ab")
    assert sum("1 of 2 right" in text.get_text() for text in ax.texts) == 2


def test_a_column_of_pandas_is_read_by_place():
    items = pd.Series(["first", "second", "third"], index=[2, 1, 0])
    pair = (np.array([0, 2]), np.array([2.0, 1.0]))
    ax = plotting.ranking_comparison(pair, pair, query="q", items=items, relevant=pd.Series([0], index=[5]))
    texts = [text.get_text() for text in ax.texts]
    assert texts.count("first") == texts.count("third") == 2
    graph = mf.graph_from_affinity([[0, 2, 0], [2, 0, 0], [0, 0, 0]])
    assert {"first", "second"} <= {text.get_text() for text in plotting.neighborhood(graph, 0, items=items).texts}
    named = pd.Series(["first", "second"], index=["b", "a"])  # ids are texts: its labels name them
    ax = plotting.ranking_comparison((["a"], [1.0]), (["a"], [1.0]), query="q", items=named, relevant="a")
    assert [text.get_text() for text in ax.texts].count("second") == 2
