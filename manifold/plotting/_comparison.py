"""One query's list before and after, as two rows of thumbnails, or as two columns of text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import NamedTuple

from matplotlib.axes import Axes

from manifold.plotting._canvas import FAINT, INK, RIGHT, WRONG, bare_axes, finished
from manifold.plotting._thumbnails import Items, frame, item_of, mark, one_list, right_ids, thumbnail

_CELL, _ROW = 1.22, 2.1  # distance of thumbnails and of rows, in thumbnail widths
_QUERY_Y = -_ROW / 2 - 1.2  # its middle is that of the two rows
_LEFT = 2.35  # where the rows begin, right of the query
_COLUMN, _LINE, _LETTERS = 5.0, 0.36, 58  # of texts: width of a column and height of a line in inches, letters a line


def ranking_comparison(
    before: Iterable[object],
    after: Iterable[object],
    *,
    query: object,
    items: Items,
    relevant: Iterable[object],
    k: int = 10,
    names: tuple[str, str] = ("nearest neighbours", "after diffusion"),
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw one query's best k items before and after as two rows of thumbnails, or two columns where all are texts.

    Right ones have a solid green frame and a tick, wrong ones a dashed orange frame and a cross; rank and score
    stand above and below, or beside.

    Reference: guide *explore*, "Pictures".

    Parameters
    ----------
    before, after : pair (ids, scores) of (m,) arrays, or a `Ranking` of one query
        Best first.
    query : item
        What was asked: pixels (height, width) or (height, width, 3 or 4), the path of an image, an encoded image
        (bytes), an image of Pillow, or a text. Grey numbers are brightness, of one scale for the whole picture.
    items : sequence or mapping
        The item of each id, of the same kinds.
    relevant : collection of ids
        The right ones; of ids with gains, those above 0.
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
    >>> import numpy as np
    >>> pixels = np.eye(4)
    >>> ax = ranking_comparison(([0, 1], [0.9, 0.8]), ([1, 0], [0.2, 0.1]), query=pixels,
    ...                         items=[pixels, 1 - pixels], relevant={1}, k=2)
    >>> len(ax.images)
    5
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    pairs = (("before", before), ("after", after))
    lists = [Listed(label, *one_list(pair, name=name, k=k)) for label, (name, pair) in zip(names, pairs, strict=True)]
    right = right_ids(relevant)
    shown = [item_of(items, item) for listed in lists for item in listed.ids]
    written = bool(shown) and all(isinstance(item, str) for item in (query, *shown))
    draw = _draw_texts if written else _draw_thumbnails
    return finished(draw(lists, query=query, items=items, right=right, title=title, ax=ax))


class Listed(NamedTuple):
    """One list, best first, and its name."""

    name: str
    ids: list[object]
    scores: list[float]

    def correct(self, right: set[object]) -> list[bool]:
        """Return which of its items are right.

        >>> Listed("before", [4, 7], [0.9, 0.8]).correct({7})
        [False, True]
        """
        return [item in right for item in self.ids]


def _draw_thumbnails(
    lists: list[Listed], *, query: object, items: Items, right: set[object], title: str, ax: Axes | None
) -> Axes:
    width = _LEFT + _CELL * max(len(listed.ids) for listed in lists)
    bottom, top = -_ROW - 1.4, 1.5 if title else 0.9
    ax = bare_axes(ax, size=(0.82 * (width + 0.3), 0.82 * (top - bottom)))
    thumbnail(ax, query, x=0.1, y=_QUERY_Y, size=1.6)
    frame(ax, x=0.1, y=_QUERY_Y, size=1.6, colour=INK)
    ax.text(0.9, _QUERY_Y - 0.12, "query", ha="center", va="top", color=INK, fontsize=10)
    for y, listed in zip((-0.9, -0.9 - _ROW), lists, strict=True):
        _heading(ax, listed, right, x=_LEFT, y=y + 1.48)
        for rank, (item, score, good) in enumerate(zip(listed.ids, listed.scores, listed.correct(right), strict=True)):
            x = _LEFT + _CELL * rank
            thumbnail(ax, item_of(items, item), x=x, y=y, size=1)
            frame(ax, x=x, y=y, size=1, colour=RIGHT if good else WRONG, dashed=not good)
            mark(ax, x=x + 0.96, y=y + 0.96, good=good)
            ax.text(x, y + 1.07, str(rank + 1), ha="left", va="bottom", color=FAINT, fontsize=8)
            ax.text(x + 0.5, y - 0.1, f"{score:#.3g}", ha="center", va="top", color=FAINT, fontsize=8)
    if title:
        ax.text(0.06, 1.17, title, ha="left", va="center", color=INK, fontsize=12, fontweight="bold", parse_math=False)
    ax.set(xlim=(-0.15, width + 0.15), ylim=(bottom, top), aspect="equal")
    return ax


def _draw_texts(
    lists: list[Listed], *, query: object, items: Items, right: set[object], title: str, ax: Axes | None
) -> Axes:
    n_rows = max(len(listed.ids) for listed in lists)
    width, height = 2 * _COLUMN + 0.2, _LINE * n_rows + (1.4 if title else 1.1)
    ax = bare_axes(ax, size=(width, height))  # one unit is an inch
    top = height - 0.15
    if title:
        ax.text(0.15, top, title, ha="left", va="top", color=INK, fontsize=12, fontweight="bold", parse_math=False)
        top -= 0.3
    asked = textwrap.fill(f"query: {query}", 2 * _LETTERS, max_lines=2, placeholder=" …")
    ax.text(0.15, top, asked, ha="left", va="top", color=INK, fontsize=9, parse_math=False)
    for j, listed in enumerate(lists):
        x, y = 0.15 + j * _COLUMN, top - 0.55
        _heading(ax, listed, right, x=x, y=y)
        for rank, (item, score, good) in enumerate(zip(listed.ids, listed.scores, listed.correct(right), strict=True)):
            y -= _LINE
            ax.text(x + 0.16, y, str(rank + 1), ha="right", va="center", color=FAINT, fontsize=8)
            mark(ax, x=x + 0.33, y=y, good=good, size=0.8)
            ax.text(x + 0.93, y, f"{score:#.3g}", ha="right", va="center", color=FAINT, fontsize=8)
            snippet = textwrap.fill(str(item_of(items, item)), _LETTERS, max_lines=2, placeholder=" …")
            ax.text(x + 1.03, y, snippet, ha="left", va="center", color=INK, fontsize=8, parse_math=False)
    ax.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    return ax


def _heading(ax: Axes, listed: Listed, right: set[object], *, x: float, y: float) -> None:
    correct = listed.correct(right)
    name = ax.text(
        x, y, listed.name, ha="left", va="center", color=INK, fontsize=11, fontweight="bold", parse_math=False
    )
    said = f"  {sum(correct)} of {len(correct)} right"
    ax.annotate(said, (1, 0.5), xycoords=name, va="center", color=FAINT, fontsize=11)
