"""The graph on a plane: nodes where their coordinates say, or where eigenvectors put them, and the edges."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import rankdata

from manifold.backends import get_backend
from manifold.graph import Graph
from manifold.plotting._canvas import FAINT, HEAT, INK, PALE, colour_of, colour_scale, legend, mark_of, one_axes
from manifold.solvers.eigenpairs import leading_eigenpairs
from manifold.solvers.system import NormalizedAffinity

_GAP = 1.15  # side of the box of a component, over that of its nodes
_DIGITS = 9  # of eigenvectors: what agrees so far is one value


def spectral_coordinates(graph: Graph) -> NDArray[np.float64]:
    """Return two coordinates of each node (n, 2) by which neighbours lie close: Laplacian eigenmaps, in ranks.

    ``x_i = rank of u_2i / sqrt(d_i)``, ``y_i = rank of u_3i / sqrt(d_i)`` with ``S u = lambda u``, the second and third
    eigenvectors of each component. Values themselves crowd in a few places; their order does not. Each component
    fills a box of its own, of an area as its number of nodes.

    Raises
    ------
    MemoryBudgetError
        As `manifold.solvers.FastSpectralRanking` does, before anything is allocated.

    Notes
    -----
    Cost: three eigenpairs of each component, found by some hundred products with S.

    References
    ----------
    Belkin and Niyogi, "Laplacian eigenmaps for dimensionality reduction and data representation", Neural Computation
    2003, section 2.

    Examples
    --------
    >>> from manifold import graph_from_affinity
    >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> np.abs(np.diff(spectral_coordinates(path)[:, 0])).round(3).tolist()
    [0.577, 0.577]
    """
    system = NormalizedAffinity(graph, get_backend("scipy"), np.float64)
    place = np.zeros((graph.n_nodes, 2))
    boxes = []
    for block in leading_eigenpairs(system, 3).blocks:
        x = block.U[:, :, 1:3] / system.weights[block.nodes]
        size = block.nodes.shape[1]
        ranks = rankdata(x.round(_DIGITS), axis=1) if x.size else x
        place[block.nodes, : x.shape[2]] = (ranks - (size + 1) / 2) / np.sqrt(size)
        boxes += list(block.nodes)
    boxes.sort(key=len, reverse=True)
    for nodes, corner in zip(boxes, _shelves(np.sqrt([len(nodes) for nodes in boxes]) * _GAP), strict=True):
        place[nodes] += corner
    return place


def embedding(
    graph: Graph,
    coordinates: Any = None,
    *,
    labels: Any = None,
    values: Any = None,
    marked: Collection[int] = (),
    edges: bool = True,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw the nodes of a graph on a plane, with its edges.

    Parameters
    ----------
    graph : Graph
    coordinates : (n, 2), optional
        By default `spectral_coordinates`.
    labels : (n,), optional
        Classes: a colour and a mark each, named in the legend; -1 is none.
    values : (n,), optional
        Numbers, such as scores, shown by colour; not together with `labels`.
    marked : collection of int
        Nodes to ring, such as seeds.
    edges : bool
        Draw the edges too.
    title : str
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the Axes of a new Figure.

    Raises
    ------
    ValueError
        For coordinates, labels or values that do not fit the graph.

    Examples
    --------
    >>> from manifold import build_graph, datasets
    >>> X, y = datasets.two_moons(60)
    >>> ax = embedding(build_graph(X, 5, metric="euclidean"), X, labels=y)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['0', '1']
    """
    if labels is not None and values is not None:
        raise ValueError("labels and values both colour the nodes: give one of them")
    xy = places_of(graph, coordinates)
    ax = one_axes(ax, size=(6.4, 4.8))
    if edges:
        draw_edges(ax, graph, xy)
    size = node_size(graph.n_nodes)
    if labels is not None:
        _draw_classes(ax, xy, per_node(labels, graph, "labels"), size)
    else:
        _draw_values(ax, xy, None if values is None else per_node(values, graph, "values"), size)
    if len(marked):
        ring(ax, xy[np.asarray(list(marked))])
    legend(ax, outside=values is None)
    ax.set(title=title, xlabel="coordinate 1", ylabel="coordinate 2", aspect="equal")
    if coordinates is None:  # components stand side by side: only distances within one mean anything
        ax.set(xlabel="rank of $u_2 / \\sqrt{d}$", ylabel="rank of $u_3 / \\sqrt{d}$", xticks=[], yticks=[])
    return ax


def places_of(graph: Graph, coordinates: Any) -> NDArray[Any]:
    """Return the coordinates (n, 2) given, or those of the spectrum."""
    if coordinates is None:
        return spectral_coordinates(graph)
    return per_node(coordinates, graph, "coordinates", shape=(2,))


def draw_edges(ax: Axes, graph: Graph, xy: NDArray[Any]) -> None:
    """Draw each edge once, the heavier the darker, behind everything."""
    upper = sparse.coo_array(sparse.triu(graph.affinity, k=1))
    if not upper.nnz:
        return
    crowd = np.clip(3000 / upper.nnz, 0.2, 1)
    shade = crowd * (0.15 + 0.45 * upper.data / upper.data.max())
    segments = xy[np.stack([upper.row, upper.col], axis=1)]
    lines = LineCollection(list(segments), colors=FAINT, linewidths=0.5, alpha=shade.tolist(), zorder=1)
    lines.set_rasterized(True)
    ax.add_collection(lines)
    ax.autoscale_view()


def ring(ax: Axes, xy: NDArray[Any], *, name: str = "marked") -> None:
    """Ring some places."""
    ax.scatter(xy[:, 0], xy[:, 1], s=110, facecolors="none", edgecolors=INK, linewidths=1.6, zorder=4, label=name)


def node_size(n: int) -> float:
    """Return the area of a node's mark, in square points: smaller where there are many."""
    return float(np.clip(15000 / max(n, 1), 3, 30))


def per_node(values: Any, graph: Graph, name: str, *, shape: tuple[int, ...] = ()) -> NDArray[Any]:
    """Return one entry a node; raise ValueError for another shape."""
    array = np.asarray(values)
    if array.shape != (graph.n_nodes, *shape):
        raise ValueError(f"{name} must have the shape {(graph.n_nodes, *shape)} of the nodes, got {array.shape}")
    return array


def dots(
    ax: Axes, xy: NDArray[Any], colour: Any, *, size: float, mark: str = "o", name: Any = None, front: int = 3
) -> PathCollection:
    """Draw nodes, as pixels even where the figure is one of lines: there may be very many."""
    scale = None if isinstance(colour, str) else HEAT
    return ax.scatter(
        xy[:, 0], xy[:, 1], s=size, c=colour, marker=mark, cmap=scale, linewidths=0, rasterized=True, zorder=front,
        label=name,
    )  # fmt: skip


def _draw_classes(ax: Axes, xy: NDArray[Any], labels: NDArray[Any], size: float) -> None:
    classes = np.unique(labels)
    nothing = classes == -1 if classes.dtype.kind in "if" else classes == ""
    for name in classes[nothing]:
        dots(ax, xy[labels == name], PALE, size=size, name="no class", front=2)
    for j, name in enumerate(classes[~nothing]):
        dots(ax, xy[labels == name], colour_of(j), size=size, mark=mark_of(j), name=name)


def _draw_values(ax: Axes, xy: NDArray[Any], values: NDArray[Any] | None, size: float) -> None:
    if values is None:
        dots(ax, xy, colour_of(0), size=size)
        return
    order = np.argsort(values, kind="stable")  # the largest on top
    colour_scale(dots(ax, xy[order], values[order], size=size), ax, "value")


def _shelves(sides: NDArray[Any]) -> NDArray[np.float64]:
    """Return the middles (c, 2) of squares of descending sides, laid side by side on shelves into about a square."""
    width = max(1.2 * float(np.sqrt(np.square(sides).sum())), float(sides.max(initial=0)))
    middles = np.zeros((len(sides), 2))
    x = y = height = 0.0
    for i, side in enumerate(sides):
        if x and x + side > width:
            x, y, height = 0.0, y - height, 0.0
        height = max(height, float(side))
        middles[i] = x + side / 2, y - side / 2
        x += float(side)
    return middles
