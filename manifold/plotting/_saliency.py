"""A map of saliency over its image, with the boxes of its regions."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import ArrayLike

from manifold._arrays import as_integers, as_numbers
from manifold.plotting._canvas import HIGHLIGHT, INK, bare_axes, finished
from manifold.plotting._thumbnails import thumbnail

_VEIL = 0.6  # of the map over its image


def saliency(
    map: ArrayLike,
    image: object = None,
    *,
    boxes: ArrayLike | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw a map of saliency: bright where an image stands out, over the image where one is given.

    Reference: Siméoni et al. (2018); guide *explore*, "Pictures".

    Parameters
    ----------
    map : (H, W) array-like
        Finite; shown from its least to its largest value.
    image : item, optional
        What `manifold.plotting.ranking_comparison` takes for an item: pixels, a file, encoded bytes.
    boxes : (r, 4) int, optional
        y0, x0, y1, x1 in cells of the map, the most important first: its box is the thickest.
    title : str
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the Axes of a new Figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError, TypeError
        For a map that is not of finite numbers (H, W), or boxes of another shape.

    Examples
    --------
    >>> ax = saliency([[0.0, 1.0], [0.5, 0.0]], boxes=[[0, 1, 1, 2]])
    >>> ax.images[0].get_array().shape, len(ax.patches)
    ((2, 2), 1)
    """
    values = as_numbers(map, "map")
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"map must be finite numbers (H, W), got shape {values.shape}")
    height, width = values.shape
    shape = (1.0, height / width) if width >= height else (width / height, 1.0)
    ax = bare_axes(ax, size=(4.2 * shape[0], 4.2 * shape[1] + (0.35 if title else 0)))
    extent = (0.0, shape[0], 0.0, shape[1])
    if image is not None:
        # an image keeps its own shape, and the map is laid over it as the network saw it
        extent = thumbnail(ax, image, x=0.0, y=0.0, size=1.0)
    ax.imshow(
        values,
        extent=extent,
        cmap="magma",
        alpha=1.0 if image is None else _VEIL,
        interpolation="nearest" if image is None else "bilinear",
        zorder=2,
    )
    if boxes is not None:
        _draw_boxes(ax, as_integers(boxes, "boxes"), cells=(height, width), extent=extent)
    left, right, low, high = extent
    ax.set(xlim=(left, right), ylim=(low, high), aspect="equal")
    if title:
        ax.set_title(title, loc="left", color=INK, fontsize=11, parse_math=False)
    return finished(ax)


def _draw_boxes(ax: Axes, boxes: np.ndarray, *, cells: tuple[int, int], extent: tuple[float, ...]) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must be integers (r, 4), got shape {boxes.shape}")
    left, right, low, high = extent
    dx, dy = (right - left) / cells[1], (high - low) / cells[0]
    for rank in reversed(range(len(boxes))):  # the most important on top
        y0, x0, y1, x1 = boxes[rank].tolist()
        line = 2.2 if rank == 0 else 1.0
        box = Rectangle((left + x0 * dx, high - y1 * dy), (x1 - x0) * dx, (y1 - y0) * dy, fill=False,
                        edgecolor=HIGHLIGHT, linewidth=line, zorder=3, clip_on=False)  # fmt: skip
        box.set_path_effects([Stroke(linewidth=line + 1.4, foreground=INK), Normal()])
        ax.add_patch(box)
