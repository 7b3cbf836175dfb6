"""What a score is made of: seeds, the last step, and the strongest walks as a tree that ends at the item."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from manifold._typing import AnyArray, Floats
from manifold.plotting._canvas import DPI, FAINT, INK, PALETTE, SMALL, Picture, finished, legend
from manifold.plotting._thumbnails import Items, frame, item_of, thumbnail
from manifold.ranking import Explanation, Path

_MOST_BARS, _ACROSS, _DOWN, _SIZE = 6, 1.35, 1.35, 0.9  # bars of a panel; distances and size of nodes in the tree
_ROOM = (6.0, 3.4)  # inches of the tree

Walk: TypeAlias = tuple[object, ...]  # from the item back to a node, which goes by it


def explanation(
    explanation: Explanation,
    *,
    items: Items | None = None,
    title: str = "",
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Draw why an item has its score: the share of each seed and of each neighbour, and the strongest walks.

    The walks run from left to right, from seeds (blue frames) to the item; their lines are the thicker the larger their
    share. Bars of seeds carry the interval that the stored columns of an index prove, where there is one.

    Reference: guide *explore*, "Why does this item rank high?".

    Parameters
    ----------
    explanation : Explanation
        What `manifold.ranking.explain` returned.
    items : sequence or mapping, optional
        Pixels, an encoded image or a text of each id; by default ids are written.
    title : str
    figure : matplotlib Figure or SubFigure, optional
        Where to draw; by default a new one.

    Examples
    --------
    >>> from manifold import ManifoldSearch, ranking
    >>> search = ManifoldSearch(n_neighbors=1, n_seeds=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], ids=["a", "b", "c"])
    >>> figure = explanation(ranking.explain(search, [1.0, 0.0], "b"))
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['a']
    """
    if figure is None:
        figure = Picture(figsize=(10.0, 4.4), dpi=DPI, layout="constrained")
    figure.suptitle(title or f"item {explanation.item}: score {explanation.score:.4g}", parse_math=False)
    axes = figure.subplot_mosaic([["seeds", "paths"], ["last", "paths"]], width_ratios=[1.0, 1.8])
    whole = 100 / explanation.score if explanation.score else 0.0
    _draw_shares(axes["seeds"], explanation.seeds, whole * explanation.contributions, items)
    if explanation.stored is not None:
        _draw_stored(axes["seeds"], whole * explanation.contributions, whole * explanation.stored)
    axes["seeds"].set_title("by seeds", loc="left", fontsize=10)
    names, flows = explanation.neighbors, explanation.flows
    _draw_shares(axes["last"], names, whole * flows, items, own=whole * explanation.own)
    axes["last"].set_title("by the last step", loc="left", fontsize=10)
    axes["last"].set_xlabel("share of the score (%)")
    _draw_tree(axes["paths"], explanation, items)
    return finished(figure)


def walk_tree(paths: Sequence[Path]) -> tuple[dict[Walk, tuple[float, float]], dict[Walk, float]]:
    """Return places (x, y) of the nodes of a tree of walks, and the largest share that passes each.

    A node goes by the walk from the item back to it; the item is the last in x, and a node stands in the middle of
    those behind it.

    >>> places, shares = walk_tree([Path((1, 3), 0.2, 0.4), Path((2, 3), 0.1, 0.2)])
    >>> places
    {(3, 1): (-1.0, 0.0), (3,): (0.0, -0.5), (3, 2): (-1.0, -1.0)}
    """
    back = sorted((path.nodes[::-1] for path in paths), key=lambda walk: [str(node) for node in walk])
    ends = [walk for walk in back if not any(other[: len(walk)] == walk and other != walk for other in back)]
    rows: dict[Walk, list[int]] = {}
    for row, walk in enumerate(ends):
        for length in range(len(walk), 0, -1):
            rows.setdefault(walk[:length], []).append(row)
    shares = {node: max(p.share for p in paths if p.nodes[::-1][: len(node)] == node) for node in rows}
    return {node: (1.0 - len(node), 0.0 - float(np.mean(under))) for node, under in rows.items()}, shares


def _draw_shares(ax: Axes, ids: AnyArray, shares: Floats, items: Items | None, *, own: float = 0.0) -> None:
    texts = items if ids.size and items is not None and isinstance(item_of(items, ids[0].item()), str) else None
    names = [str(_shown(texts, name, 24)) for name in ids[:_MOST_BARS].tolist()]
    values = shares[:_MOST_BARS].tolist()
    if ids.size > _MOST_BARS:
        names, values = [*names, f"{ids.size - _MOST_BARS} more"], [*values, float(shares[_MOST_BARS:].sum())]
    if own:
        names, values = [*names, "itself, a seed"], [*values, own]
    places = np.arange(len(names))
    ax.barh(places, values, color=PALETTE[0], height=0.7)
    for y, value in zip(places, values, strict=True):
        ax.annotate(f"{value:.3g}", (value, y), (4, 0), textcoords="offset points", va="center", fontsize=SMALL)
    ax.set_yticks(places, names, fontsize=SMALL, parse_math=False)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.18 * max(values, default=1.0) or 1.0)


def _draw_stored(ax: Axes, shares: Floats, stored: Floats) -> None:
    shown = slice(0, _MOST_BARS)
    middle, half = stored[shown].mean(axis=1), np.ptp(stored[shown], axis=1) / 2
    ax.errorbar(middle, np.arange(len(middle)) + 0.25, xerr=half, fmt="none", ecolor=INK, capsize=2, elinewidth=1,
                label="proved by stored columns")  # fmt: skip
    legend(ax, loc="lower right")


def _draw_tree(ax: Axes, explanation: Explanation, items: Items | None) -> None:
    ax.set_axis_off()
    ax.set_title("strongest walk from each seed" if explanation.paths else "no walk from the seeds", fontsize=10)
    if not explanation.paths:
        return
    places, shares = walk_tree(explanation.paths)
    xy = {node: (_ACROSS * x, _DOWN * y) for node, (x, y) in places.items()}
    least, widest = np.min(list(xy.values()), axis=0), max(shares.values())
    unit = float(np.min(_ROOM / (np.array([1.2, 1.5]) - least)))  # inches
    for node, (x, y) in xy.items():
        if len(node) > 1:
            back = xy[node[:-1]]
            ax.plot([x, back[0]], [y, back[1]], color=FAINT, linewidth=0.8 + 3 * shares[node] / widest, zorder=1)
    seeds = {path.nodes[::-1]: path.share for path in explanation.paths}
    for node, (x, y) in xy.items():
        colour = INK if len(node) == 1 else PALETTE[0] if node in seeds else FAINT
        left, low = x - _SIZE / 2, y - _SIZE / 2
        ax.fill(x + _SIZE / 2 * np.array([-1, 1, 1, -1]), y + _SIZE / 2 * np.array([-1, -1, 1, 1]), "white", zorder=1.5)
        thumbnail(ax, _shown(items, node[-1], 38), x=left, y=low, size=_SIZE, letters=8.4 * unit)
        frame(ax, x=left, y=low, size=_SIZE, colour=colour)
        if node in seeds:
            ax.text(x, y + _SIZE / 2 + 0.09, f"{100 * seeds[node]:.2g} %", ha="center", va="bottom", fontsize=SMALL)
    ax.set(xlim=(least[0] - 0.6, 0.6), ylim=(least[1] - 0.6, 0.9), aspect="equal")


def _shown(items: Items | None, name: object, width: int) -> object:
    """Return pixels or an encoded image as they are, the beginning of a text, or the id where there are no items."""
    item = str(name) if items is None else item_of(items, name)
    return textwrap.shorten(item, width, placeholder=" …") if isinstance(item, str) else item
