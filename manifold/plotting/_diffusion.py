"""Diffusion as it spreads: the random walk with restart after so many steps, in small multiples or moving."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.animation import FuncAnimation
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure, SubFigure
from numpy.typing import ArrayLike

from manifold._arrays import as_array
from manifold._checks import check_count
from manifold._typing import AnyArray, Floats, Ints
from manifold.filters import Diffusion
from manifold.graph import Graph
from manifold.plotting._canvas import (
    HEAT,
    INK,
    PALE,
    as_rows,
    colour_of,
    colour_scale,
    finished,
    legend,
    one_axes,
    panels,
)
from manifold.plotting._graph import dots, draw_edges, node_size, per_node, places_of, ring
from manifold.plotting._written import in_legend
from manifold.solvers import PowerIteration, diffuse

ITERATIONS = tuple(range(0, 300, 30))
_MOMENTS = tuple(range(0, 280, 10))
_FAINTEST = 1e-4  # of the largest score: what is less has not been reached yet
_RTOL = 1e-15  # of the solver that takes the steps: they are counted, not stopped


def diffusion_steps(
    graph: Graph, seeds: ArrayLike, *, alpha: float = 0.99, iterations: Sequence[int] = ITERATIONS
) -> Floats:
    """Return the scores after some numbers of steps of the random walk with restart, (t, n).

    ``f_0 = y,  f_{t+1} = alpha S f_t + (1 - alpha) y``, whose limit is ``F = (1 - alpha) (I - alpha S)^-1 y``.

    Reference: Zhou et al. (2003b), section 2.

    Parameters
    ----------
    graph : Graph
    seeds : (m,) integers, or (n,) floats
        Nodes, each a seed of 1; or y itself, >= 0.
    alpha : float in [0, 1)
    iterations : sequence of int
        Ascending, from 0 on.

    Examples
    --------
    >>> from manifold import graph_from_affinity
    >>> pair = graph_from_affinity([[0, 1], [1, 0]])
    >>> diffusion_steps(pair, [0], alpha=0.5, iterations=(0, 1, 2)).tolist()
    [[1.0, 0.0], [0.5, 0.5], [0.75, 0.25]]
    """
    steps = as_array(iterations, "iterations")
    if steps.ndim != 1 or steps.dtype.kind not in "iu" or (np.diff(steps, prepend=0) < 0).any():
        raise ValueError(f"iterations must ascend from 0 or more, got {iterations!r}")
    y = seed_column(graph, seeds)
    reference, filter = graph.astype(np.float64), Diffusion(alpha)
    f, found = y, []
    for more in np.diff(steps, prepend=0).tolist():
        if more:
            walk = PowerIteration(rtol=_RTOL, max_iter=check_count(more, "iterations"))
            f = diffuse(reference, y, filter=filter, solver=walk, x0=f, on_failure="ignore").scores
        found.append(f)
    return np.array(found)


def diffusion(
    graph: Graph,
    seeds: ArrayLike,
    coordinates: ArrayLike | None = None,
    *,
    alpha: float = 0.99,
    iterations: Sequence[int] = ITERATIONS,
    title: str = "",
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Draw the random walk with restart as it spreads over the graph, one panel for each number of steps.

    Scores are shares of the largest of their panel; pale nodes have less than a ten-thousandth of it.

    Reference: Zhou et al. (2003b), section 2.

    Parameters
    ----------
    graph, seeds, alpha, iterations
        See `diffusion_steps`.
    coordinates : (n, 2), optional
        By default `spectral_coordinates`.
    title : str
    figure : matplotlib Figure or SubFigure, optional
        Where to draw; by default a new one.

    Examples
    --------
    >>> from manifold import build_graph, datasets
    >>> X, y = datasets.two_moons(60)
    >>> figure = diffusion(build_graph(X, 5, metric="euclidean"), [3], X, iterations=(0, 10, 100))
    >>> [ax.get_title() for ax in figure.axes[:3]]
    ['0 steps', '10 steps', '100 steps']
    """
    moments = diffusion_steps(graph, seeds, alpha=alpha, iterations=iterations)
    columns = min(5, len(moments))
    rows = -(-len(moments) // columns)
    xy, y = places_of(graph, coordinates), seed_column(graph, seeds)
    height = 2.2 * float(np.clip(np.ptp(xy[:, 1]) / max(np.ptp(xy[:, 0]), 1e-300), 0.3, 1.5)) + 0.35
    size = (2.2 * columns + 0.9, max(height * rows, 1.8) + 0.3)
    figure, axes = panels(figure, (rows, columns), size=size, title=title, share=True)
    order = np.argsort(moments[-1], kind="stable")  # the largest on top
    for ax, scores, t in zip(axes.flat, moments, iterations, strict=False):
        drawn = _draw_moment(ax, graph, xy, scores, order=order, y=y)
        ax.set_title(f"{t} steps", fontsize=10)
    for ax in axes.flat[len(moments) :]:
        ax.set_axis_off()
    figure.colorbar(drawn, ax=axes.ravel().tolist(), shrink=0.8, extend="min").set_label("score / largest score")
    return finished(figure)


def diffusion_animation(
    graph: Graph,
    seeds: ArrayLike,
    coordinates: ArrayLike | None = None,
    *,
    alpha: float = 0.99,
    iterations: Sequence[int] = _MOMENTS,
    interval: int = 150,
    title: str = "",
) -> FuncAnimation:
    """Return the random walk with restart as an animation: `diffusion`, one frame for each number of steps.

    ``.save("walk.gif")`` writes it, ``.to_jshtml()`` is for a notebook.

    Reference: Zhou et al. (2003b), section 2.

    Parameters
    ----------
    graph, seeds, coordinates, alpha, iterations, title
        See `diffusion`.
    interval : int
        Milliseconds between frames.

    Examples
    --------
    >>> from manifold import build_graph, datasets
    >>> X, y = datasets.two_moons(60)
    >>> moving = diffusion_animation(build_graph(X, 5, metric="euclidean"), [3], X, iterations=(0, 10, 100))
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "walk.gif"
    >>> moving.save(path, writer="pillow")
    >>> path.read_bytes()[:3]
    b'GIF'
    """
    moments = diffusion_steps(graph, seeds, alpha=alpha, iterations=iterations)
    order = np.argsort(moments[-1], kind="stable")
    ax = one_axes(None, size=(5.6, 4.2))
    y = seed_column(graph, seeds)
    drawn = _draw_moment(ax, graph, places_of(graph, coordinates), moments[0], order=order, y=y)
    heading = ax.set_title(title, parse_math=False)
    colour_scale(drawn, ax, "score / largest score")

    def show(i: int) -> tuple[Artist, ...]:
        """Draw the i-th frame."""
        drawn.set_array(_shares(moments[i])[order])
        heading.set_text(f"{title} {iterations[i]} steps".strip())
        return drawn, heading

    figure = finished(ax.figure)
    assert isinstance(figure, Figure)
    return FuncAnimation(figure, show, frames=len(moments), interval=interval)


def score_decay(
    scores: ArrayLike,
    *,
    names: Sequence[str] = (),
    relevant: ArrayLike | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw how scores fall with rank, on logarithmic scales: where they break off, a list may be cut.

    Reference: guide *explore*, "Pictures".

    Parameters
    ----------
    scores : (m,) or (q, m)
        Of each query, in any order; what is not above 0 is left out.
    names : sequence of str, optional
        Of the queries, for the legend.
    relevant : (m,) or (q, m) bool, optional
        Which items are right: they have a mark.
    title : str
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the Axes of a new Figure.

    Examples
    --------
    >>> ax = score_decay([0.1, 0.4, 0.0, 0.2], relevant=[False, True, False, False])
    >>> ax.lines[0].get_ydata().tolist(), ax.lines[1].get_xdata().tolist()
    ([0.4, 0.2, 0.1], [1])
    """
    rows = as_rows(scores, "scores")
    marks = None if relevant is None else as_rows(relevant, "relevant")
    if marks is not None and marks.shape != rows.shape:
        raise ValueError(f"relevant must have the shape {rows.shape} of the scores, got {marks.shape}")
    ax = one_axes(ax)
    for j, row in enumerate(rows):
        order = np.argsort(-row, kind="stable")
        order = order[row[order] > 0]
        name = in_legend(names[j]) if j < len(names) else None
        rank = np.arange(1, order.size + 1)
        ax.plot(rank, row[order], color=colour_of(j), linewidth=1.2, label=name)
        if marks is not None:
            right = np.flatnonzero(marks[j][order])
            ax.plot(rank[right], row[order][right], "o", markersize=3.5, color=colour_of(j))
    if marks is not None:
        ax.plot([], [], "o", markersize=3.5, color=INK, label="relevant")
    ax.set_title(title, parse_math=False)
    ax.set(xlabel="rank", ylabel="score", xscale="log", yscale="log")
    legend(ax)
    return finished(ax)


def seed_column(graph: Graph, seeds: ArrayLike) -> Floats:
    """Return y (n,) of numbers (n,), or of the ids of some nodes.

    >>> from manifold import graph_from_affinity
    >>> seed_column(graph_from_affinity([[0, 1], [1, 0]]), [1]).tolist()
    [0.0, 1.0]
    """
    given = as_array(seeds, "seeds")
    if given.ndim == 1 and given.dtype.kind in "iu":
        if not given.size or given.min() < 0 or given.max() >= graph.n_nodes:
            raise ValueError(f"seeds must be nodes 0..{graph.n_nodes - 1}, got {given.tolist()}")
        return np.bincount(given, minlength=graph.n_nodes).clip(max=1).astype(np.float64)
    values = per_node(given, graph, "seeds").astype(np.float64)
    if not (np.isfinite(values).all() and (values >= 0).all() and values.any()):
        raise ValueError("seeds must be finite numbers >= 0, not all 0, or the ids of some nodes")
    return values


def _shares(scores: Floats) -> Floats:
    """Return scores over the largest; what is 0 counts as less than all that is drawn."""
    shares: Floats = np.maximum(scores / scores.max(), _FAINTEST / 10)
    return shares


def _draw_moment(
    ax: Axes,
    graph: Graph,
    xy: AnyArray,
    scores: Floats,
    *,
    order: Ints,
    y: Floats,
) -> PathCollection:
    draw_edges(ax, graph, xy)
    drawn = dots(ax, xy[order], _shares(scores)[order], size=node_size(graph.n_nodes) * 0.6)
    drawn.set_cmap(colormaps[HEAT].with_extremes(under=PALE))
    drawn.set_norm(LogNorm(_FAINTEST, 1))
    ring(ax, xy[y > 0], name="seeds")
    ax.set(xticks=[], yticks=[], aspect="equal")
    return drawn
