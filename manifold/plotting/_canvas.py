"""What every picture stands on: one palette, figures without global state, and axes that say what they measure."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's colours and two of Tol's, apart for every kind of colour vision; each goes with a mark of its own
PALETTE = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#5B5B5B", "#882255", "#B8A943",
)  # fmt: skip
MARKS = "osD^vPX*<>"
RIGHT, WRONG, INK, FAINT = PALETTE[2], PALETTE[1], "#222222", "#767676"
PALE = "#D8D8D8"  # what stands behind: edges, points without a class, bars of comparison
HIGHLIGHT = "#F0E442"  # their yellow, on a dark edge
HEAT = "viridis"  # of a score: lightness says it too
SHADE = LinearSegmentedColormap.from_list("shade", ["white", PALETTE[0]])  # of a share
DPI = 120
SMALL = 8  # points: legends and notes


class Picture(Figure):
    """A figure that no global state knows of; a notebook shows it where it is the last value of a cell."""

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def one_axes(ax: Axes | None, *, size: tuple[float, float] = (6.4, 4.0)) -> Axes:
    """Return the axes given, or those of a new figure of `size` inches."""
    return ax if ax is not None else Picture(figsize=size, dpi=DPI, layout="constrained").add_subplot()


def bare_axes(ax: Axes | None, *, size: tuple[float, float]) -> Axes:
    """Return the axes given, or a new figure filled by them: for pictures of things, which need no scales."""
    ax = ax if ax is not None else Picture(figsize=size, dpi=DPI).add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    return ax


def panels(
    figure: Figure | SubFigure | None,
    shape: tuple[int, int],
    *,
    size: tuple[float, float],
    title: str = "",
    share: bool = False,
) -> tuple[Any, Any]:
    """Return the figure given, or a new one of `size` inches, and its rows and columns of axes, of one scale or not."""
    if figure is None:
        figure = Picture(figsize=size, dpi=DPI, layout="constrained")
    if title:
        figure.suptitle(title)
    return figure, figure.subplots(*shape, squeeze=False, sharex=share, sharey=share)


def colour_of(j: int) -> str:
    """Return the j-th colour, from the start again after the last."""
    return PALETTE[j % len(PALETTE)]


def mark_of(j: int) -> str:
    """Return the j-th mark; with its colour it names the j-th of 100 things."""
    return MARKS[(j + j // len(PALETTE)) % len(MARKS)]


def legend(ax: Axes, *, loc: Any = "best", outside: bool = False) -> None:
    """Draw a small legend without a frame, if anything has a name; outside, it stands right of the axes."""
    names = ax.get_legend_handles_labels()[1]
    if not names:
        return
    if outside:
        columns = -(-len(names) // 18)
        drawn = ax.legend(fontsize=SMALL, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), ncols=columns)
    else:
        drawn = ax.legend(fontsize=SMALL, frameon=False, loc=loc)
    for handle in drawn.legend_handles:
        if isinstance(handle, PathCollection):  # marks of a crowd are too small to tell apart
            handle.set_sizes([36.0])


def colour_scale(drawn: Any, ax: Axes, name: str) -> None:
    """Draw what the colours of `drawn` mean, right of the axes and as high as they are."""
    scale = ax.figure.colorbar(drawn, cax=ax.inset_axes((1.02, 0.0, 0.03, 1.0)))
    scale.set_label(name)


def integer_ticks(ax: Axes) -> None:
    """Count in whole numbers on the horizontal axis."""
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def as_rows(values: Any, name: str) -> Any:
    """Return (m,) or (q, m) numbers as (q, m); raise ValueError for other shapes."""
    rows = np.atleast_2d(np.asarray(values))
    if rows.ndim != 2:
        raise ValueError(f"{name} must be (m,) or (q, m), got shape {np.shape(values)}")
    return rows
