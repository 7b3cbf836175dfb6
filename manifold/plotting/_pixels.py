"""Items that are images in, numbers that matplotlib draws as they are meant out.

Grey (h, w): brightness, light is high; all grey images of a picture share one scale. Colour (h, w, 3 or 4): bytes
0..255, or floats 0..1. Files, encoded images, images of Pillow, channels first and floats up to 255 become that.
"""

from __future__ import annotations

from io import BytesIO
from os import PathLike, fspath
from typing import Protocol, runtime_checkable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage, imread
from numpy.typing import ArrayLike

from manifold._typing import AnyArray

_CHANNELS = (1, 3, 4)
_OVER = 0.01  # by which resizing may leave 0..1
GREY = "grey"  # the mark of images that share a scale


@runtime_checkable
class Photo(Protocol):
    """What an image of Pillow says and can do."""

    mode: str

    def convert(self, mode: str) -> ArrayLike:
        """Return it with other channels."""


def pixels_of(item: object) -> AnyArray:
    """Return an item as grey (h, w) or colour (h, w, 3 or 4) numbers; raise ValueError for what is no image.

    >>> channels_first = np.full((3, 5, 7), 255.0)
    >>> pixels_of(channels_first).shape, float(pixels_of(channels_first).max())
    ((5, 7, 3), 1.0)
    """
    if isinstance(item, bytes | PathLike):
        return _in_range(_decode(item))
    if isinstance(item, Photo) and item.mode not in ("1", "L", "F", "I", "I;16", "RGB", "RGBA"):
        item = item.convert("RGBA")  # a palette, or colours of print
    try:
        pixels: AnyArray = np.asarray(item)
    except Exception as error:  # whatever a tensor of others raises
        raise ValueError(f"an item is a {type(item).__name__} that cannot be read as pixels ({error})") from error
    shape = pixels.shape
    # channels first, as networks want them, unless the last axis may be one of channels too
    if pixels.ndim == 3 and shape[2] not in _CHANNELS and shape[0] in _CHANNELS:
        pixels = np.moveaxis(pixels, 0, 2)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or pixels.dtype.kind not in "biuf" or not pixels.size or pixels.shape[2:] not in (
        (), (3,), (4,),
    ):  # fmt: skip
        raise ValueError(
            "an item must be a text, the path of an image, an encoded image, or pixels (height, width), with 3 or 4 "
            f"channels if they are coloured, got {pixels.dtype} of shape {shape}"
        )
    return _in_range(pixels)


def _decode(item: bytes | PathLike[str]) -> AnyArray:
    try:
        if isinstance(item, bytes):
            return np.asarray(imread(BytesIO(item), format="png" if item.startswith(b"\x89PNG") else "jpg"))
        return np.asarray(imread(fspath(item)))
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged image may raise anything
        what = f"an encoded item of {len(item)} bytes" if isinstance(item, bytes) else f"the item {fspath(item)}"
        raise ValueError(f"{what} is no image that can be read ({error})") from error


def _in_range(pixels: AnyArray) -> AnyArray:
    """Return colours as bytes or as floats in 0..1; grey values as they are."""
    if pixels.ndim == 2 or pixels.dtype == np.uint8:
        return pixels
    low, high = float(pixels.min()), float(pixels.max())
    if pixels.dtype == np.uint16 and high > 255:
        return pixels / 65535
    if pixels.dtype.kind == "f" and low >= -_OVER and high <= 1 + _OVER:
        return np.clip(pixels, 0, 1)
    # what is left are bytes in a wider type, or something that was normalised and would be drawn wrongly
    if not (low >= 0 and high <= 255):
        raise ValueError(
            f"colours of an item lie in {low:g}..{high:g}: give bytes 0..255 or floats 0..1, undoing what an image "
            "network was fed with"
        )
    return pixels / 255


def draw_pixels(ax: Axes, pixels: AnyArray, extent: tuple[float, float, float, float]) -> None:
    """Draw an image, light where its numbers are high."""
    drawn = ax.imshow(pixels, extent=extent, cmap="gray", interpolation="nearest", zorder=1.9)
    if pixels.ndim == 2:
        drawn.set_gid(GREY)


def share_grey_scale(images: list[AxesImage]) -> None:
    """Give grey images one scale: 0..255 for bytes, 0..1 for shares and masks, else from 0, or the least, on."""
    grey = [(image, np.asarray(image.get_array())) for image in images if image.get_gid() == GREY]
    for bytes_ in (True, False):  # a mask of floats beside photographs would be black on their scale
        group = [(image, values) for image, values in grey if (values.dtype == np.uint8) == bytes_]
        lows = [float(values[np.isfinite(values)].min(initial=0)) for _, values in group]
        high = max([float(values[np.isfinite(values)].max(initial=0)) for _, values in group], default=0.0)
        high = 255.0 if bytes_ and high > 1 else max(high, 1.0)
        for image, _ in group:
            image.set_clim(min(lows), high)
