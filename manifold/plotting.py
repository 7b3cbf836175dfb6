"""Pictures of what the package computes; the only module that imports matplotlib.

Results in, matplotlib objects out. Nothing is shown and no setting of matplotlib is changed: pass ``ax=`` to draw
into a figure of your own, or save what comes back with ``ax.figure.savefig(path)``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import FancyBboxPatch

# Okabe and Ito's green and vermilion: apart for every kind of colour vision; the frame and the mark say it again
RIGHT, WRONG, INK, FAINT = "#009E73", "#D55E00", "#222222", "#767676"
_CELL, _ROW = 1.22, 2.1  # distance of thumbnails and of rows, in thumbnail widths
_QUERY_Y = -_ROW / 2 - 1.2  # its middle is that of the two rows
_LEFT = 2.35  # where the rows begin, right of the query


def ranking_comparison(
    before: Any,
    after: Any,
    *,
    query: Any,
    items: Sequence[Any] | Mapping[Any, Any],
    relevant: Collection[Any],
    k: int = 10,
    names: tuple[str, str] = ("nearest neighbours", "after diffusion"),
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw one query's best k items before and after as two rows of thumbnails.

    Right ones have a solid green frame and a tick, wrong ones a dashed orange frame and a cross; rank and score
    stand above and below.

    Parameters
    ----------
    before, after : pair (ids, scores) of (m,) arrays, or a `Ranking` of one query
        Best first.
    query : item
        What was asked: pixels (height, width) or (height, width, 3 or 4), an encoded image (bytes), or a text.
    items : sequence or mapping
        The item of each id, of the same kinds.
    relevant : collection of ids
        The right ones.
    k : int
        Items shown in each row.
    names : pair of str
        Titles of the rows.
    title : str
        Title of the picture.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the Axes of a new Figure.

    Returns
    -------
    matplotlib.axes.Axes
        ``.figure.savefig("comparison.png")`` writes the picture.

    Examples
    --------
    >>> pixels = np.eye(4)
    >>> ax = ranking_comparison(([0, 1], [0.9, 0.8]), ([1, 0], [0.2, 0.1]), query=pixels,
    ...                         items=[pixels, 1 - pixels], relevant={1}, k=2)
    >>> len(ax.images)
    5
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    rows = [_row(pair, name=name, k=k) for name, pair in (("before", before), ("after", after))]
    k = max(len(ids) for ids, _ in rows)
    width = _LEFT + _CELL * k
    bottom, top = -_ROW - 1.4, 1.5 if title else 0.9
    if ax is None:
        size = (0.82 * (width + 0.3), 0.82 * (top - bottom))  # inches
        ax = Figure(figsize=size, dpi=150).add_axes((0, 0, 1, 1))
    right = set(np.asarray(list(relevant)).tolist())
    _thumbnail(ax, query, x=0.1, y=_QUERY_Y, size=1.6)
    _frame(ax, x=0.1, y=_QUERY_Y, size=1.6, colour=INK)
    ax.text(0.9, _QUERY_Y - 0.12, "query", ha="center", va="top", color=INK, fontsize=10)
    for y, name, (ids, scores) in zip((-0.9, -0.9 - _ROW), names, rows, strict=True):
        _draw_row(ax, y=y, name=name, ids=ids, scores=scores, items=items, right=right)
    if title:
        ax.text(0.06, 1.17, title, ha="left", va="center", color=INK, fontsize=12, fontweight="bold")
    ax.set(xlim=(-0.15, width + 0.15), ylim=(bottom, top), aspect="equal")
    ax.set_axis_off()
    return ax


def _row(pair: Any, *, name: str, k: int) -> tuple[list[Any], list[float]]:
    """Return the first k ids and scores of one query; the marker of a missing answer ends the row."""
    ids, scores = (np.asarray(part) for part in pair)
    if ids.ndim != 1 or ids.shape != scores.shape:
        raise ValueError(
            f"{name} must hold the ids (m,) and scores (m,) of one query, got shapes {ids.shape} and "
            f"{scores.shape}: pass (ranking.ids[i], ranking.scores[i])"
        )
    kept = (ids != "") if ids.dtype.kind == "U" else ids >= 0
    return ids[kept][:k].tolist(), scores[kept][:k].tolist()


def _draw_row(
    ax: Axes, *, y: float, name: str, ids: list[Any], scores: list[float], items: Any, right: set[Any]
) -> None:
    correct = [item in right for item in ids]
    heading = ax.text(_LEFT, y + 1.48, name, ha="left", va="center", color=INK, fontsize=11, fontweight="bold")
    ax.annotate(
        f"  {sum(correct)} of {len(ids)} right",
        (1, 0.5),
        xycoords=heading,
        va="center",
        color=FAINT,
        fontsize=11,
    )
    for rank, (item, score, good) in enumerate(zip(ids, scores, correct, strict=True)):
        x = _LEFT + _CELL * rank
        _thumbnail(ax, items[item], x=x, y=y, size=1)
        _frame(ax, x=x, y=y, size=1, colour=RIGHT if good else WRONG, dashed=not good)
        _mark(ax, x=x + 0.96, y=y + 0.96, good=good)
        ax.text(x, y + 1.07, str(rank + 1), ha="left", va="bottom", color=FAINT, fontsize=8)
        ax.text(x + 0.5, y - 0.1, f"{score:#.3g}", ha="center", va="top", color=FAINT, fontsize=8)


def _thumbnail(ax: Axes, item: Any, *, x: float, y: float, size: float) -> None:
    """Draw pixels, an encoded image or the beginning of a text into the square at (x, y)."""
    if isinstance(item, str):
        snippet = textwrap.fill(textwrap.shorten(item, 75, placeholder=" …"), 14, max_lines=7, placeholder=" …")
        ax.text(x + size / 2, y + size / 2, snippet, ha="center", va="center", color=INK, fontsize=4.8 * size)
        return
    pixels = np.asarray(imread(BytesIO(item), format=_format(item)) if isinstance(item, bytes) else item)
    if pixels.ndim not in (2, 3):
        raise ValueError(f"an item must be a text, an encoded image or pixels, got an array of shape {pixels.shape}")
    height, width = pixels.shape[:2]
    half = np.array([width, height]) / max(width, height) * size / 2  # the whole item, its shape kept
    extent = (x + size / 2 - half[0], x + size / 2 + half[0], y + size / 2 - half[1], y + size / 2 + half[1])
    ax.imshow(pixels, extent=extent, cmap="gray_r", interpolation="nearest", zorder=1)


def _format(encoded: bytes) -> str:
    return "png" if encoded.startswith(b"\x89PNG") else "jpg"


def _frame(ax: Axes, *, x: float, y: float, size: float, colour: str, dashed: bool = False) -> None:
    style = (0, (2.2, 1.2)) if dashed else "solid"
    ax.add_patch(
        FancyBboxPatch(
            (x, y), size, size, boxstyle="round,pad=0.04,rounding_size=0.06", fill=False, edgecolor=colour,
            linewidth=2.2, linestyle=style, zorder=2,
        )
    )  # fmt: skip


def _mark(ax: Axes, *, x: float, y: float, good: bool) -> None:
    """Draw a tick or a cross as lines, since a font may not have the signs."""
    ax.plot(x, y, "o", color=RIGHT if good else WRONG, markersize=11, markeredgecolor="white", zorder=3)
    strokes = [[(-0.07, 0.0), (-0.02, -0.055), (0.075, 0.06)]] if good else [
        [(-0.055, -0.055), (0.055, 0.055)], [(-0.055, 0.055), (0.055, -0.055)]
    ]  # fmt: skip
    for stroke in strokes:
        across, up = zip(*stroke, strict=True)
        ax.plot(np.add(across, x), np.add(up, y), color="white", linewidth=1.5, solid_capstyle="round", zorder=4)
