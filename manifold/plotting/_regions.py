"""Images of a list with the regions that gave them their score."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import ArrayLike

from manifold._arrays import as_numbers
from manifold.plotting._canvas import FAINT, HIGHLIGHT, INK, RIGHT, WRONG, bare_axes, finished
from manifold.plotting._thumbnails import Items, frame, item_of, mark, one_list, right_ids, thumbnail

_CELL, _LEFT = 1.22, 2.35  # distance of images, and where they begin, in widths of one


class Regions(Protocol):
    """Boxes, and what each adds, by the ids of images."""

    def __getitem__(self, name: Any, /) -> tuple[ArrayLike, ArrayLike]: ...


def regional_matches(
    ranking: Iterable[object],
    regions: Regions,
    *,
    query: object,
    items: Items | None = None,
    relevant: Iterable[object] | None = None,
    k: int = 5,
    n_regions: int = 3,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw the best k images of one query with the regions that gave them their score.

    The regions that add most are boxes, the thicker the more they add, with their share of what all regions of the
    image add. Frames and marks are those of `ranking_comparison`.

    Reference: Iscen et al. (2017), section 3.3; guide *explore*, "Pictures".

    Parameters
    ----------
    ranking : pair (ids, scores) of (m,) arrays, or a `Ranking` of one query
        Best first.
    regions : mapping
        The boxes (r, 4) of each id, as y0, x0, y1, x1 in shares of height and width, and what each adds (r,), see
        `manifold.ranking.RegionalSearch.region_scores`.
    query : item
        See `ranking_comparison`.
    items : sequence or mapping, optional
        The image of each id; without them boxes stand in empty frames.
    relevant : collection of ids, optional
        The right ones.
    k, n_regions : int
        Images, and boxes on each of them.
    title : str
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the Axes of a new Figure.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> halves = [[0, 0, 1, 0.5], [0, 0.5, 1, 1]]
    >>> ax = regional_matches(([7], [0.4]), {7: (halves, [0.1, 0.3])}, query="a jar", n_regions=1)
    >>> [text.get_text() for text in ax.texts][-1]
    '75 %'
    """
    for name, value in (("k", k), ("n_regions", n_regions)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    ids, scores = one_list(ranking, name="ranking", k=k)
    right = None if relevant is None else right_ids(relevant)
    width, bottom, top = _LEFT + _CELL * len(ids), -0.3, 1.55 if title else 1.25
    ax = bare_axes(ax, size=(1.7 * (width - 0.55), 1.7 * (top - bottom)))
    thumbnail(ax, query, x=0.9, y=0, size=1)
    frame(ax, x=0.9, y=0, size=1, colour=INK)
    ax.text(1.4, -0.12, "query", ha="center", va="top", color=INK, fontsize=10)
    for rank, (item, score) in enumerate(zip(ids, scores, strict=True)):
        x = _LEFT + _CELL * rank
        extent = (x, x + 1, 0.0, 1.0) if items is None else thumbnail(ax, item_of(items, item), x=x, y=0, size=1)
        good = right is None or item in right
        frame(ax, x=x, y=0, size=1, colour=INK if right is None else RIGHT if good else WRONG, dashed=not good)
        if right is not None:
            mark(ax, x=x + 0.98, y=0.98, good=good, size=0.5)
        ax.text(x, 1.07, str(rank + 1), ha="left", va="bottom", color=FAINT, fontsize=9)
        ax.text(x + 0.5, -0.1, f"{score:#.3g}", ha="center", va="top", color=FAINT, fontsize=9)
        _boxes(ax, *regions[item], extent=extent, n=n_regions)
    if title:
        ax.text(0.86, 1.4, title, ha="left", va="center", color=INK, fontsize=12, fontweight="bold", parse_math=False)
    ax.set(xlim=(0.7, width + 0.15), ylim=(bottom, top), aspect="equal")
    return finished(ax)


def _boxes(ax: Axes, boxes: ArrayLike, adds: ArrayLike, *, extent: tuple[float, ...], n: int) -> None:
    """Draw the n boxes that add most, the largest on top, and write their shares of all that is added."""
    places, values = as_numbers(boxes, "regions"), np.maximum(as_numbers(adds, "regions"), 0)
    if places.shape != (values.size, 4):
        raise ValueError(f"regions must hold boxes (r, 4) and what each adds (r,), got {places.shape} {values.shape}")
    left, right, low, high = extent
    best = [i for i in np.argsort(-values, kind="stable")[:n] if values[i] > 0]
    edge = [Stroke(linewidth=1.6, foreground=INK), Normal()]
    for i in best[::-1]:
        (y0, x0, y1, x1), share = places[i], values[i] / values.sum()
        corner = (left + x0 * (right - left), high - y1 * (high - low))
        line = 0.5 + 1.5 * values[i] / values[best[0]]
        box = Rectangle(corner, (x1 - x0) * (right - left), (y1 - y0) * (high - low), fill=False, edgecolor=HIGHLIGHT,
                        linewidth=line, zorder=3)  # fmt: skip
        box.set_path_effects([Stroke(linewidth=line + 1.2, foreground=INK), Normal()])
        ax.add_patch(box)
        label = ax.text(corner[0] + 0.03, high - y0 * (high - low) - 0.03, f"{100 * share:.0f} %", ha="left", va="top",
                        color=HIGHLIGHT, fontsize=8, zorder=4)  # fmt: skip
        label.set_path_effects(edge)
