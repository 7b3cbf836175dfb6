"""A node among its neighbours."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from manifold._checks import check_count
from manifold._typing import AnyArray
from manifold.graph import Graph
from manifold.plotting._canvas import FAINT, INK, PALE, RIGHT, SMALL, WRONG, bare_axes, finished
from manifold.plotting._graph import per_node
from manifold.plotting._thumbnails import Items, frame, item_of, thumbnail

_SIZE = 0.8  # of a neighbour, where the node itself is 1


def neighborhood(
    graph: Graph,
    node: int,
    *,
    items: Items | None = None,
    labels: ArrayLike | None = None,
    k: int = 8,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw a node, the k neighbours its heaviest edges lead to, and the edges among all of them.

    Reference: guide *explore*, "Pictures".

    Parameters
    ----------
    graph : Graph
    node : int
    items : sequence or mapping, optional
        Pixels, an encoded image or a text of each node; by default its number.
    labels : (n,), optional
        Classes: frames of neighbours of another class are dashed and orange.
    k : int
        Neighbours shown.
    title : str
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the Axes of a new Figure.

    Examples
    --------
    >>> from manifold import graph_from_affinity
    >>> ax = neighborhood(graph_from_affinity([[0, 2, 1], [2, 0, 0], [1, 0, 0]]), 0)
    >>> [text.get_text() for text in ax.texts if "." in text.get_text()]
    ['2.00', '1.00']
    """
    if not 0 <= node < graph.n_nodes:
        raise ValueError(f"node must lie in 0..{graph.n_nodes - 1}, got {node}")
    near, weights = heaviest_neighbors(graph, node, check_count(k, "k"))
    classes = None if labels is None else per_node(labels, graph, "labels")
    shown: Items = np.arange(graph.n_nodes).astype(str) if items is None else items
    radius = max(1.9, 1.25 * len(near) / (2 * np.pi))
    reach = radius + 0.75
    ax = bare_axes(ax, size=(1.05 * 2 * reach, 1.05 * (2 * reach + (0.5 if title else 0))))
    angle = np.pi / 2 - 2 * np.pi * np.arange(len(near)) / max(len(near), 1)
    places = radius * np.column_stack([np.cos(angle), np.sin(angle)])
    _chords(ax, graph, near, places)
    for (x, y), weight in zip(places, weights, strict=True):
        ax.plot(
            [0, x], [0, y], color=FAINT, linewidth=0.8 + 4 * weight / weights[0], zorder=1.5, solid_capstyle="round"
        )
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
        ax.text(0.52 * x, 0.52 * y, f"{weight:#.3g}", ha="center", va="center", fontsize=SMALL, bbox=box, zorder=5)
    for i, (x, y) in zip((node, *near.tolist()), ((0.0, 0.0), *places.tolist()), strict=True):
        same = classes is None or classes[i] == classes[node]
        size, colour = 1.0 if i == node else _SIZE, INK if classes is None or i == node else RIGHT if same else WRONG
        _draw_node(ax, item_of(shown, i), x=x - size / 2, y=y - size / 2, size=size, colour=colour, dashed=not same)
    if title:
        ax.text(
            0,
            reach + 0.05,
            title,
            ha="center",
            va="bottom",
            color=INK,
            fontsize=12,
            fontweight="bold",
            parse_math=False,
        )
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach + (0.5 if title else 0)), aspect="equal")
    return finished(ax)


def heaviest_neighbors(graph: Graph, node: int, k: int) -> tuple[AnyArray, AnyArray]:
    """Return the neighbours (m,) of a node by descending weight, at most k, and their weights.

    >>> from manifold import graph_from_affinity
    >>> near, weights = heaviest_neighbors(graph_from_affinity([[0, 2, 1], [2, 0, 0], [1, 0, 0]]), 0, 1)
    >>> near.tolist(), weights.tolist()
    ([1], [2.0])
    """
    W = graph.affinity
    part = slice(W.indptr[node], W.indptr[node + 1])
    order = np.argsort(-W.data[part], kind="stable")[:k]
    return W.indices[part][order], W.data[part][order]


def _chords(ax: Axes, graph: Graph, near: AnyArray, places: AnyArray) -> None:
    among = graph.affinity[near][:, near].tocoo()
    for i, j in zip(among.row, among.col, strict=True):
        if i < j:
            ax.plot(*places[[i, j]].T, color=PALE, linewidth=1, zorder=1)


def _draw_node(ax: Axes, item: object, *, x: float, y: float, size: float, colour: str, dashed: bool) -> None:
    ax.fill([x, x + size, x + size, x], [y, y, y + size, y + size], color="white", zorder=1.8)
    thumbnail(ax, item, x=x, y=y, size=size, letters=6.6)
    frame(ax, x=x, y=y, size=size, colour=colour, dashed=dashed)
