"""The graph on a plane: nodes where their coordinates say, or where eigenvectors put them, and the edges."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.stats import rankdata

from manifold._typing import AnyArray, Floats
from manifold.backends import get_backend
from manifold.graph import Graph
from manifold.labels.targets import label_array
from manifold.plotting._canvas import (
    FAINT,
    HEAT,
    INK,
    PALE,
    colour_of,
    colour_scale,
    finished,
    legend,
    mark_of,
    one_axes,
)
from manifold.plotting._classes import classes_of
from manifold.plotting._written import in_legend
from manifold.solvers.eigenpairs import leading_eigenpairs
from manifold.solvers.system import NormalizedAffinity

_GAP = 1.15  # side of the box of a component, over that of its nodes
_CROWD = 5000  # nodes, from which on marks are too small to have a shape
_DIGITS = 9  # of eigenvectors: what agrees so far is one value


def spectral_coordinates(graph: Graph) -> Floats:
    """Return two coordinates of each node (n, 2) by which neighbours lie close: Laplacian eigenmaps, in ranks.

    ``x_i = rank of u_2i / sqrt(d_i)``, ``y_i = rank of u_3i / sqrt(d_i)`` with ``S u = lambda u``, the second and third
    eigenvectors of each component. Values themselves crowd in a few places; their order does not. Each component
    fills a box of its own, of an area as its number of nodes.

    Reference: Belkin and Niyogi (2003), section 2.

    Raises
    ------
    MemoryBudgetError
        As `manifold.solvers.FastSpectralRanking` does, before anything is allocated.

    Notes
    -----
    Cost: three eigenpairs of each component, found by some hundred products with S.

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
    coordinates: ArrayLike | None = None,
    *,
    labels: ArrayLike | None = None,
    values: ArrayLike | None = None,
    marked: Iterable[int] = (),
    edges: bool = True,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw the nodes of a graph on a plane, with its edges.

    Reference: Belkin and Niyogi (2003), section 2, for its coordinates; guide *explore*, "Pictures".

    Parameters
    ----------
    graph : Graph
    coordinates : (n, 2), optional
        By default `spectral_coordinates`.
    labels : (n,), optional
        Classes: a colour and a mark each, named in the legend; -1 (as a number or a text), "", None and NaN are none.
        Many nodes are dots of one shape, laid over each other in no order, so that no class covers another.
    values : (n,), optional
        Numbers, such as scores, shown by colour; not together with `labels`.
    marked : collection of int
        Nodes to ring, such as seeds.
    edges : bool
        Draw the edges too, the fainter the more there are.
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
    ringed = np.array(list(marked), dtype=np.int64)
    if ringed.size:
        ring(ax, xy[ringed])
    legend(ax, outside=values is None)
    ax.set_title(title, parse_math=False)
    ax.set(xlabel="coordinate 1", ylabel="coordinate 2", aspect="equal")
    if coordinates is None:  # components stand side by side: only distances within one mean anything
        ax.set(xlabel="rank of $u_2 / \\sqrt{d}$", ylabel="rank of $u_3 / \\sqrt{d}$", xticks=[], yticks=[])
    return finished(ax)


def places_of(graph: Graph, coordinates: ArrayLike | None) -> AnyArray:
    """Return the coordinates (n, 2) given, or those of the spectrum."""
    if coordinates is None:
        return spectral_coordinates(graph)
    return per_node(coordinates, graph, "coordinates", shape=(2,))


def draw_edges(ax: Axes, graph: Graph, xy: AnyArray) -> None:
    """Draw each edge once, the heavier the darker, behind everything."""
    upper = sparse.coo_array(sparse.triu(graph.affinity, k=1))
    if not upper.nnz:
        return
    crowd = np.clip(3000 / upper.nnz, 0.05, 1)  # below this a line of 8 bits a colour would leave no trace
    shade = crowd * (0.15 + 0.45 * upper.data / upper.data.max())
    segments = xy[np.stack([upper.row, upper.col], axis=1)]
    lines = LineCollection(list(segments), colors=FAINT, linewidths=0.5, alpha=shade.tolist(), zorder=1)
    lines.set_rasterized(True)  # 100,000 lines make a PDF that no viewer opens
    ax.add_collection(lines)
    ax.autoscale_view()


def ring(ax: Axes, xy: AnyArray, *, name: str = "marked") -> None:
    """Ring some places."""
    ax.scatter(xy[:, 0], xy[:, 1], s=110, facecolors="none", edgecolors=INK, linewidths=1.6, zorder=4, label=name)


def node_size(n: int) -> float:
    """Return the area of a node's mark, in square points: all marks together never cover the plane.

    >>> node_size(100), node_size(50_000)
    (30.0, 0.3)
    """
    return float(np.clip(15000 / max(n, 1), 0.1, 30))


def per_node(values: ArrayLike, graph: Graph, name: str, *, shape: tuple[int, ...] = ()) -> AnyArray:
    """Return one entry a node; raise ValueError for another shape."""
    array = label_array(values, name)
    if array.shape != (graph.n_nodes, *shape):
        raise ValueError(f"{name} must have the shape {(graph.n_nodes, *shape)} of the nodes, got {array.shape}")
    return array


def dots(
    ax: Axes,
    xy: AnyArray,
    colour: str | list[str] | AnyArray,
    *,
    size: float,
    mark: str = "o",
    name: object = None,
    front: int = 3,
) -> PathCollection:
    """Draw nodes, as pixels even where the figure is one of lines: there may be very many."""
    scale = HEAT if isinstance(colour, np.ndarray) else None
    return ax.scatter(
        xy[:, 0], xy[:, 1], s=size, c=colour, marker=mark, cmap=scale, linewidths=0, rasterized=True, zorder=front,
        label=None if name is None else in_legend(name),
    )  # fmt: skip


def _draw_classes(ax: Axes, xy: AnyArray, labels: AnyArray, size: float) -> None:
    known, codes, _ = classes_of(labels)
    crowd = len(labels) > _CROWD
    if (codes < 0).any():
        dots(ax, xy[codes < 0], PALE, size=size, name="no class", front=2)
    if crowd:  # drawn class by class, the last would hide the others
        # no order of the data, which may be that of the classes; the same each time, for figures in a repository
        order = np.random.default_rng(0).permutation(np.flatnonzero(codes >= 0))
        dots(ax, xy[order], [colour_of(j) for j in codes[order].tolist()], size=size)
    for j, name in enumerate(known):
        here = np.zeros(len(labels), dtype=bool) if crowd else codes == j
        dots(ax, xy[here], colour_of(j), size=size, mark="o" if crowd else mark_of(j), name=name)


def _draw_values(ax: Axes, xy: AnyArray, values: AnyArray | None, size: float) -> None:
    if values is None:
        dots(ax, xy, colour_of(0), size=size)
        return
    order = np.argsort(values, kind="stable")  # the largest on top
    colour_scale(dots(ax, xy[order], values[order], size=size), ax, "value")


def _shelves(sides: AnyArray) -> Floats:
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
