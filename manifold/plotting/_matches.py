"""Two images, the features of them that correspond, and the region on which they agree."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import Polygon, Rectangle
from numpy.typing import ArrayLike

from manifold._arrays import as_array, as_numbers
from manifold._checks import check_count
from manifold._typing import AnyArray, Floats
from manifold.plotting._canvas import FAINT, INK, PALE, PALETTE, RIGHT, bare_axes, finished
from manifold.plotting._pixels import draw_pixels, pixels_of

_GAP = 0.04  # between the images, of their width
_INCHES = 7.5


class Agreed(Protocol):
    """Correspondences of two images, and which of them agree: `manifold.matching.Agreement`."""

    @property
    def first(self) -> AnyArray:
        """x, y (n, 2) in the first image."""

    @property
    def second(self) -> AnyArray:
        """x, y (n, 2) in the second."""

    @property
    def inliers(self) -> AnyArray:
        """Which of them (n,) agree."""


def matches(
    agreement: Agreed,
    *,
    first: object = None,
    second: object = None,
    sizes: ArrayLike | None = None,
    n_lines: int = 60,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw two images beside each other, lines between the features that agree, and the region that these span.

    All tentative correspondences are dots; the hull of the inliers is drawn on either side, unless they are on a line.

    Reference: guide *explore*, "Pictures".

    Parameters
    ----------
    agreement : Agreement
        See `manifold.matching.agree`.
    first, second : image, optional
        Pixels, files or encoded images, of the size in which the features were found; without them empty frames.
    sizes : (2, 2) array-like, optional
        Height and width of both, where no images are given; by default as far as the features reach.
    n_lines : int
        Of more inliers so many are drawn, spread evenly.
    title : str
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the Axes of a new Figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError, ValueError
        For sizes of another shape, or an item that is no image.

    Examples
    --------
    >>> from manifold.matching import LocalFeatures, agree
    >>> features = LocalFeatures([[0, 0], [9, 0], [5, 5], [14, 5]], None, [0, 2, 4], [1, 2, 1, 2])
    >>> ax = matches(agree(features, 0, 1))
    >>> [text.get_text() for text in ax.texts]
    ['2 of 2 correspondences agree']
    """
    n_lines = check_count(n_lines, "n_lines")
    ends = [np.asarray(agreement.first, np.float64), np.asarray(agreement.second, np.float64)]
    inliers = np.flatnonzero(as_array(agreement.inliers, "inliers"))
    pixels = [None if item is None else pixels_of(item) for item in (first, second)]
    (h1, w1), (h2, w2) = _sizes(ends, pixels, sizes)
    gap = _GAP * (w1 + w2)
    height, width = max(h1, h2), w1 + gap + w2
    below = 0.07 * width
    ax = bare_axes(ax, size=(_INCHES, _INCHES * (height + below + (below if title else 0)) / width))
    left = np.array([0.0, w1 + gap])
    for side, (h, w) in enumerate(((h1, w1), (h2, w2))):
        extent = (left[side], left[side] + w, h, 0.0)
        item = pixels[side]
        if item is not None:
            draw_pixels(ax, item, extent)
        ax.add_patch(Rectangle((left[side], 0), w, h, fill=False, edgecolor=FAINT, linewidth=0.8))
        ends[side] = ends[side] + np.array([left[side], 0.0])
        ax.plot(*ends[side].T, ".", color=PALE if item is None else FAINT, markersize=2.5, zorder=2)
        hull = _hull(ends[side][inliers])
        if len(hull) > 2:
            ax.add_patch(Polygon(hull, facecolor=(*to_rgb(RIGHT), 0.15), edgecolor=RIGHT, linewidth=1.6, zorder=3))
    drawn = inliers[np.linspace(0, len(inliers) - 1, min(n_lines, len(inliers))).round().astype(int)]
    lines = np.stack([ends[0][drawn], ends[1][drawn]], axis=1)
    colours = [PALETTE[i % len(PALETTE)] for i in range(len(drawn))]
    ax.add_collection(LineCollection(list(lines), colors=colours, linewidths=0.7, alpha=0.8, zorder=4))
    told = f"{len(inliers)} of {len(ends[0])} correspondences agree"
    ax.text(width / 2, height + 0.2 * below, told, ha="center", va="top", color=INK, fontsize=10)
    if title:
        ax.text(
            0, -0.3 * below, title, ha="left", va="bottom", color=INK, fontsize=12, fontweight="bold", parse_math=False
        )
    top = -below if title else -0.01 * width
    ax.set(xlim=(-0.01 * width, 1.01 * width), ylim=(height + below, top), aspect="equal")
    return finished(ax)


def _sizes(ends: list[Floats], pixels: list[AnyArray | None], sizes: ArrayLike | None) -> Floats:
    """Return height and width of both images."""
    reached = np.array([end[:, ::-1].max(axis=0, initial=1.0) for end in ends])
    given = reached if sizes is None else as_numbers(sizes, "sizes")
    if given.shape != (2, 2) or not (np.isfinite(given).all() and (given > 0).all()):
        raise ValueError(f"sizes must be height and width of both images, (2, 2) and > 0, got {given.tolist()}")
    shown = [size if item is None else item.shape[:2] for size, item in zip(given, pixels, strict=True)]
    return np.array(shown, dtype=np.float64)


def _hull(points: Floats) -> Floats:
    """Return the corners of the convex hull of points, in order."""
    kept: list[Floats] = []
    ordered = np.unique(points, axis=0)
    for one in (ordered, ordered[::-1]):  # its two sides, one after the other
        begin = len(kept)
        for point in one:
            while len(kept) - begin > 1 and _turn(kept[-2], kept[-1], point) <= 0:
                kept.pop()
            kept.append(point)
        if kept:
            kept.pop()
    return np.array(kept).reshape(-1, 2)


def _turn(a: Floats, b: Floats, c: Floats) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
