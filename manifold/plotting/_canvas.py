"""What every picture stands on: one palette, figures without global state, and axes that say what they measure."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import Literal, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PathCollection
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from manifold._arrays import as_array
from manifold._typing import AnyArray
from manifold.plotting._pixels import share_grey_scale
from manifold.plotting._written import short, warn_of_scripts

# Okabe and Ito's colours and two of Tol's, apart for every kind of colour vision; each goes with a mark of its own
PALETTE = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#5B5B5B", "#882255", "#B8A943",
)  # fmt: skip
MARKS = "osD^vPX*<>"
_SHADES = ((0.0, 0.0), (0.0, 0.45), (1.0, 0.5))  # grey to mix in, and how much, for each further ten colours
_MOST_NAMED, _COLUMN, _LETTERS = 36, 18, 40  # names in a legend, in a column of it, letters a line
RIGHT, WRONG, INK, FAINT = PALETTE[2], PALETTE[1], "#222222", "#767676"
PALE = "#D8D8D8"  # what stands behind: edges, points without a class, bars of comparison
HIGHLIGHT = "#F0E442"  # their yellow, on a dark edge
HEAT = "viridis"  # of a score: lightness says it too
SHADE = LinearSegmentedColormap.from_list("shade", ["white", PALETTE[0]])  # of a share
DPI = 120
_LAYOUTS = 8  # at most, until axes of equal scales and what stands beside them fit
SMALL = 8  # points: legends and notes
Drawn = TypeVar("Drawn", Axes, Figure, SubFigure, Figure | SubFigure)


class Picture(Figure):
    """A figure that no global state knows of; a notebook shows it where it is the last value of a cell.

    Scripts that no font has were said when it was made: matplotlib's word for each of their letters is left out.
    """

    def draw(self, renderer: RendererBase) -> None:
        """Draw it, without a warning for each box, and laid out until it fits: axes of equal scales need it."""
        with warnings.catch_warnings():  # one warning a letter, and again for every size
            warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
            self._settle()
            super().draw(renderer)

    def _settle(self) -> None:
        """Lay it out again while what is drawn reaches beyond the edges: it may rest there for some rounds."""
        engine = self.get_layout_engine()
        if engine is None or all(ax.get_aspect() == "auto" for ax in self.axes):
            return
        for _ in range(_LAYOUTS):
            engine.execute(self)
            drawn, (width, height) = self.get_tightbbox(), self.get_size_inches()
            if min(drawn.x0, drawn.y0, width - drawn.x1, height - drawn.y1) > -0.005:
                return

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def finished(drawn: Drawn) -> Drawn:
    """Give what was drawn back: its grey images share one scale, and a script without a font is said once."""
    share_grey_scale([image for image in drawn.findobj(AxesImage) if isinstance(image, AxesImage)])
    warn_of_scripts([text.get_text() for text in drawn.findobj(Text) if isinstance(text, Text)])
    return drawn


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
) -> tuple[Figure | SubFigure, AnyArray]:
    """Return the figure given, or a new one of `size` inches, and its rows and columns of axes, of one scale or not."""
    if figure is None:
        figure = Picture(figsize=size, dpi=DPI, layout="constrained")
    if title:
        figure.suptitle(title, parse_math=False)
    return figure, figure.subplots(*shape, squeeze=False, sharex=share, sharey=share)


def colour_of(j: int) -> str:
    """Return the j-th of 30 colours, from the start again after the last: the palette, then darker, then paler.

    >>> colour_of(0), colour_of(10), len({colour_of(j) for j in range(30)})
    ('#0072B2', '#003f62', 30)
    """
    colour = PALETTE[j % len(PALETTE)]
    grey, share = _SHADES[j // len(PALETTE) % len(_SHADES)]
    red, green, blue = ((1 - share) * part + share * grey for part in to_rgb(colour))
    return to_hex((red, green, blue)) if share else colour


def mark_of(j: int) -> str:
    """Return the j-th mark; with its colour it names the j-th of 100 things.

    >>> len({(colour_of(j), mark_of(j)) for j in range(100)})
    100
    """
    return MARKS[(j + j // len(PALETTE)) % len(MARKS)]


def legend(ax: Axes, *, loc: Literal["best", "lower right"] = "best", outside: bool = False) -> None:
    """Draw a small legend without a frame, if anything has a name; outside, it stands right of the axes.

    Names are drawn as they are written, long ones on several lines; of very many, the last are counted.
    """
    # a few hundred classes would fill the figure and leave no room for what they name
    handles, names = ax.get_legend_handles_labels()
    if not names:
        return
    if len(names) > _MOST_NAMED:
        left_out = len(names) - _MOST_NAMED + 1
        (rest,) = ax.plot([], [], " ")
        handles, names = [*handles[: _MOST_NAMED - 1], rest], [*names[: _MOST_NAMED - 1], f"… {left_out} more"]
    # the more columns, the shorter their lines: together they take less than half of a figure of usual size
    columns = -(-len(names) // _COLUMN) if outside else 1
    names = [short(name, max(_LETTERS // columns, 14), lines=3) for name in names]
    if outside:
        drawn = ax.legend(
            handles, names, fontsize=SMALL, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), ncols=columns
        )
    else:
        drawn = ax.legend(handles, names, fontsize=SMALL, frameon=False, loc=loc)
    for text in drawn.get_texts():
        text.set_parse_math(False)
    for handle in drawn.legend_handles:
        if isinstance(handle, PathCollection):  # marks of a crowd are too small to tell apart
            handle.set_sizes([36.0])


def colour_scale(drawn: ScalarMappable, ax: Axes, name: str) -> None:
    """Draw what the colours of `drawn` mean, right of the axes and as high as they are."""
    scale = ax.figure.colorbar(drawn, cax=ax.inset_axes((1.02, 0.0, 0.03, 1.0)))
    scale.set_label(name)


def integer_ticks(ax: Axes) -> None:
    """Count in whole numbers on the horizontal axis."""
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def as_rows(values: ArrayLike, name: str) -> AnyArray:
    """Return (m,) or (q, m) numbers as (q, m); raise ValueError for other shapes.

    >>> as_rows([1, 2, 3], "values").shape
    (1, 3)
    """
    rows = np.atleast_2d(as_array(values, name))
    if rows.ndim != 2:
        raise ValueError(f"{name} must be (m,) or (q, m), got shape {rows.shape}")
    return rows
