"""What was mined for one anchor: positives and negatives that are proved, and what is undecided."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from manifold.plotting._canvas import FAINT, INK, RIGHT, WRONG, bare_axes, finished
from manifold.plotting._thumbnails import Items, frame, item_of, mark, right_ids, thumbnail

if TYPE_CHECKING:
    from manifold.discovery import Mined

_CELL, _ROW, _LEFT = 1.22, 2.1, 2.35  # distance of thumbnails and rows, where rows begin, in thumbnail widths
_WIDTH, _LINE, _LETTERS = 8.4, 0.24, 110  # of texts: inches across and a line, letters a line
NAMES = ("positives", "negatives", "undecided")


def pools(
    mined: Mined,
    anchor: int,
    *,
    items: Items,
    query: object = None,
    relevant: Iterable[object] | None = None,
    k: int = 8,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw the pools of one anchor: what is proved to be on its manifold, what is proved not to be, and the rest.

    Positives stand with their score f = h(S) e_a, negatives with their similarity to the anchor. Undecided are the
    members of both, + and -, whose place the bounds do not prove: their frames are dashed. `certify=True` decides most.

    Reference: Iscen et al. (2018b), section 3.

    Parameters
    ----------
    mined : Mined
        From `manifold.discovery.mine` or `mine_negatives`.
    anchor : int
        Its place, 0..a-1, in ``mined.anchors``.
    items : sequence or mapping
        The item of each id: see `ranking_comparison`.
    query : item, optional
        The anchor itself; by default the item of its id.
    relevant : collection of ids, optional
        What belongs with the anchor, where that is known: a tick for positives among them and negatives that are not.
    k : int
        Items shown of each kind.
    title, ax
        See `ranking_comparison`.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        For an anchor that is not there, and k < 1.

    Examples
    --------
    >>> import numpy as np
    >>> from manifold import build_graph, datasets, find_neighbors
    >>> from manifold.discovery import mine
    >>> X, y = datasets.digits()
    >>> mined = mine(build_graph(X), find_neighbors(X, 100), [170], n_positive=20)
    >>> ax = pools(mined, 0, items=X.reshape(-1, 8, 8), relevant=np.flatnonzero(y == y[170]))
    >>> len(ax.images) > 8
    True
    """
    if not 0 <= anchor < len(mined):
        raise ValueError(f"anchor must be a place in 0..{len(mined) - 1}, got {anchor}")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    rows = _rows(mined, anchor, k=k, right=None if relevant is None else right_ids(relevant))
    asked = item_of(items, mined.anchors[anchor].item()) if query is None else query
    shown = [item_of(items, member.id) for row in rows for member in row.members]
    written = all(isinstance(item, str) for item in (asked, *shown))
    draw = _draw_texts if written else _draw_thumbnails
    return finished(draw(rows, asked, items, title=title, ax=ax))


class Member(NamedTuple):
    """An id, what is told of it, whether it is proved, and whether it is where it belongs: None if nobody knows."""

    id: object
    told: str
    proved: bool
    good: bool | None


class Row(NamedTuple):
    """The first members of one kind, and how many there are."""

    name: str
    members: list[Member]
    n: int

    @property
    def heading(self) -> str:
        """How many they are, and how many of those shown are right.

        >>> Row("positives", [Member(3, "0.2", True, True)], 7).heading
        '  7, 1 of 1 shown right'
        """
        known = [member.good for member in self.members if member.good is not None]
        return f"  {self.n:,}" + (f", {sum(known)} of {len(known)} shown right" if known else "")


def _rows(mined: Mined, anchor: int, *, k: int, right: set[object] | None) -> list[Row]:
    kinds: dict[str, list[Member]] = {name: [] for name in NAMES}
    for name, pool, sign in ((NAMES[0], mined.positives, "+"), (NAMES[1], mined.negatives, "-")):
        part = slice(pool.indptr[anchor], pool.indptr[anchor + 1])
        values = (pool.weights if sign == "+" else pool.similarities)[part]
        for one, value, proved in zip(pool.ids[part].tolist(), values, pool.certified[part].tolist(), strict=True):
            good = None if right is None else (one in right) == (sign == "+")
            told = "" if np.isnan(value) else f"{value:#.3g}"  # of pairs that no list holds
            kinds[name if proved else NAMES[2]].append(Member(one, told if proved else f"{sign} {told}", proved, good))
    counts = {name: len(members) for name, members in kinds.items()}
    # of what is undecided both kinds are shown
    sides = [[member for member in kinds[NAMES[2]] if member.told.startswith(sign)] for sign in "+-"]
    n_first = max(k - len(sides[1]), k - k // 2)
    kinds[NAMES[2]] = sides[0][:n_first] + sides[1]
    return [Row(name, members[:k], counts[name]) for name, members in kinds.items()]


def _draw_thumbnails(rows: list[Row], query: object, items: Items, *, title: str, ax: Axes | None) -> Axes:
    width = max(_LEFT + _CELL * max(1, *(len(row.members) for row in rows)), 7.5)
    top, bottom = 1.2 if title else 0.7, -_ROW * len(rows) + 0.7
    ax = bare_axes(ax, size=(0.82 * (width + 0.3), 0.82 * (top - bottom)))
    middle = -_ROW * len(rows) / 2
    thumbnail(ax, query, x=0.1, y=middle, size=1.6)
    frame(ax, x=0.1, y=middle, size=1.6, colour=INK)
    ax.text(0.9, middle - 0.12, "anchor", ha="center", va="top", color=INK, fontsize=10)
    for j, row in enumerate(rows):
        y = -0.9 - _ROW * j
        _heading(ax, row, x=_LEFT, y=y + 1.3)
        for place, member in enumerate(row.members):
            x = _LEFT + _CELL * place
            thumbnail(ax, item_of(items, member.id), x=x, y=y, size=1)
            colour = INK if member.good is None else RIGHT if member.good else WRONG
            frame(ax, x=x, y=y, size=1, colour=colour, dashed=not member.proved)
            if member.good is not None:
                mark(ax, x=x + 0.96, y=y + 0.96, good=member.good)
            ax.text(x + 0.5, y - 0.1, member.told, ha="center", va="top", color=FAINT, fontsize=8)
    _title(ax, title, x=0.06, y=0.9)
    ax.set(xlim=(-0.15, width + 0.15), ylim=(bottom, top), aspect="equal")
    return ax


def _draw_texts(rows: list[Row], query: object, items: Items, *, title: str, ax: Axes | None) -> Axes:
    lines = sum(max(len(row.members), 1) + 2 for row in rows)
    height = _LINE * lines + (1.0 if title else 0.7)
    ax = bare_axes(ax, size=(_WIDTH, height))  # one unit is an inch
    y = height - 0.2
    if title:
        _title(ax, title, x=0.15, y=y)
        y -= 0.3
    asked = textwrap.shorten(f"anchor: {query}", _LETTERS, placeholder=" …")
    ax.text(0.15, y, asked, ha="left", va="center", color=INK, fontsize=9, parse_math=False)
    for row in rows:
        y -= 2 * _LINE
        _heading(ax, row, x=0.15, y=y)
        for member in row.members:
            y -= _LINE
            if member.good is not None:
                mark(ax, x=0.28, y=y, good=member.good, size=0.8)
            ax.text(0.98, y, member.told, ha="right", va="center", color=FAINT, fontsize=8)
            snippet = textwrap.shorten(str(item_of(items, member.id)), _LETTERS, placeholder=" …")
            ax.text(1.08, y, snippet, ha="left", va="center", color=INK, fontsize=8, parse_math=False)
        y -= 0.0 if row.members else _LINE
    ax.set(xlim=(0, _WIDTH), ylim=(0, height), aspect="equal")
    return ax


def _heading(ax: Axes, row: Row, *, x: float, y: float) -> None:
    name = ax.text(x, y, row.name, ha="left", va="center", color=INK, fontsize=11, fontweight="bold")
    ax.annotate(row.heading, (1, 0.5), xycoords=name, va="center", color=FAINT, fontsize=11)


def _title(ax: Axes, title: str, *, x: float, y: float) -> None:
    ax.text(x, y, title, ha="left", va="center", color=INK, fontsize=12, fontweight="bold", parse_math=False)
