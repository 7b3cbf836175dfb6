"""Items drawn small: pixels, encoded images or the beginning of a text, with frames and marks of right and wrong."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from manifold._arrays import as_array
from manifold.plotting._canvas import INK, RIGHT, WRONG
from manifold.plotting._pixels import draw_pixels, pixels_of


class Items(Protocol):
    """What items are to be taken from by their ids: a sequence, an array, a mapping."""

    def __getitem__(self, name: Any, /) -> object: ...


@runtime_checkable
class _Series(Protocol):
    """What a column of pandas can do beside that: give what stands at a place."""

    @property
    def iloc(self) -> Items:
        """Its values by place."""


def item_of(items: Items, name: object) -> object:
    """Return the item of an id; a number is a place, whatever the labels of a column are.

    >>> item_of(["a", "b"], 1), item_of({"x": "a"}, "x")
    ('b', 'a')
    """
    return items.iloc[name] if isinstance(items, _Series) and isinstance(name, int) else items[name]


def one_list(pair: Iterable[object], *, name: str, k: int) -> tuple[list[object], list[float]]:
    """Return the first k ids and scores of one query; the marker of a missing answer ends the row.

    >>> one_list(([4, 7, -1], [0.9, 0.8, 0.0]), name="before", k=5)
    ([4, 7], [0.9, 0.8])
    """
    parts = [as_array(part, name) for part in pair]
    if len(parts) != 2 or parts[0].ndim != 1 or parts[0].shape != parts[1].shape:
        got = f"shapes {parts[0].shape} and {parts[1].shape}" if len(parts) == 2 else f"{len(parts)} parts"
        raise ValueError(
            f"{name} must hold the ids (m,) and scores (m,) of one query, got {got}: pass "
            "(ranking.ids[i], ranking.scores[i])"
        )
    ids, scores = parts
    # lists of names are padded with "", those of numbers with -1: any other negative number is an id
    kept = np.array([not (item is None or item in ("", -1)) for item in ids.tolist()], dtype=bool)
    return ids[kept][:k].tolist(), scores[kept].astype(np.float64)[:k].tolist()


def right_ids(relevant: Iterable[object]) -> set[object]:
    """Return the ids that are right: those of positive gain where they are graded; one text is one id.

    >>> right_ids({"a": 2, "b": 0}), right_ids("a")
    ({'a'}, {'a'})
    """
    if isinstance(relevant, str):
        return {relevant}
    if isinstance(relevant, Mapping):
        relevant = [item for item, gain in relevant.items() if gain > 0]
    return {item.item() if isinstance(item, np.generic) else item for item in relevant}


def thumbnail(
    ax: Axes, item: object, *, x: float, y: float, size: float, letters: float = 4.8
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
            fontsize=letters * size if len(item) > 12 else 9,
            parse_math=False,
        )
        return x, x + size, y, y + size
    pixels = pixels_of(item)
    height, width = pixels.shape[:2]
    half = np.array([width, height]) / max(width, height) * size / 2  # the whole item, its shape kept
    extent = (x + size / 2 - half[0], x + size / 2 + half[0], y + size / 2 - half[1], y + size / 2 + half[1])
    draw_pixels(ax, pixels, extent)
    return extent


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
