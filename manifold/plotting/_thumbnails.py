"""Items drawn small: pixels, encoded images or the beginning of a text, with frames and marks of right and wrong."""

from __future__ import annotations

import textwrap
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import imread
from matplotlib.patches import FancyBboxPatch

from manifold.plotting._canvas import INK, RIGHT, WRONG


def one_list(pair: Any, *, name: str, k: int) -> tuple[list[Any], list[float]]:
    """Return the first k ids and scores of one query; the marker of a missing answer ends the row."""
    ids, scores = (np.asarray(part) for part in pair)
    if ids.ndim != 1 or ids.shape != scores.shape:
        raise ValueError(
            f"{name} must hold the ids (m,) and scores (m,) of one query, got shapes {ids.shape} and "
            f"{scores.shape}: pass (ranking.ids[i], ranking.scores[i])"
        )
    kept = (ids != "") if ids.dtype.kind == "U" else ids >= 0
    return ids[kept][:k].tolist(), scores[kept][:k].tolist()


def thumbnail(
    ax: Axes, item: Any, *, x: float, y: float, size: float, letters: float = 4.8
) -> tuple[float, float, float, float]:
    """Draw pixels, an encoded image or the beginning of a text into the square at (x, y); return what it covers.

    `letters` is the size of a text, in points, in a square of size 1; a short one is written larger.
    """
    if isinstance(item, str):
        snippet = textwrap.fill(textwrap.shorten(item, 75, placeholder=" …"), 14, max_lines=7, placeholder=" …")
        ax.text(
            x + size / 2,
            y + size / 2,
            snippet,
            ha="center",
            va="center",
            color=INK,
            fontsize=4.8 * size if len(item) > 12 else 9,
        )
        return x, x + size, y, y + size
    pixels = np.asarray(imread(BytesIO(item), format=_format(item)) if isinstance(item, bytes) else item)
    if pixels.ndim not in (2, 3):
        raise ValueError(f"an item must be a text, an encoded image or pixels, got an array of shape {pixels.shape}")
    height, width = pixels.shape[:2]
    half = np.array([width, height]) / max(width, height) * size / 2  # the whole item, its shape kept
    extent = (x + size / 2 - half[0], x + size / 2 + half[0], y + size / 2 - half[1], y + size / 2 + half[1])
    ax.imshow(pixels, extent=extent, cmap="gray_r", interpolation="nearest", zorder=1.9)
    return extent


def _format(encoded: bytes) -> str:
    return "png" if encoded.startswith(b"\x89PNG") else "jpg"


def frame(ax: Axes, *, x: float, y: float, size: float, colour: str, dashed: bool = False) -> None:
    """Draw a rounded frame around the square at (x, y)."""
    style = (0, (2.2, 1.2)) if dashed else "solid"
    ax.add_patch(
        FancyBboxPatch(
            (x, y), size, size, boxstyle="round,pad=0.04,rounding_size=0.06", fill=False, edgecolor=colour,
            linewidth=2.2, linestyle=style, zorder=2,
        )
    )  # fmt: skip


def mark(ax: Axes, *, x: float, y: float, good: bool, size: float = 1.0) -> None:
    """Draw a tick or a cross as lines, since a font may not have the signs."""
    ax.plot(x, y, "o", color=RIGHT if good else WRONG, markersize=11, markeredgecolor="white", zorder=3)
    strokes = [[(-0.07, 0.0), (-0.02, -0.055), (0.075, 0.06)]] if good else [
        [(-0.055, -0.055), (0.055, 0.055)], [(-0.055, 0.055), (0.055, -0.055)]
    ]  # fmt: skip
    for stroke in strokes:
        across, up = zip(*stroke, strict=True)
        ax.plot(
            x + size * np.array(across),
            y + size * np.array(up),
            color="white",
            linewidth=1.5,
            solid_capstyle="round",
            zorder=4,
        )
