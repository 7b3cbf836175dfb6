"""How a graph is made up: degrees, hubs, components."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from manifold._arrays import as_array
from manifold._typing import AnyArray
from manifold.graph import Graph
from manifold.metrics import hubness as skewness
from manifold.metrics import k_occurrences
from manifold.neighbors import Neighbors
from manifold.plotting._canvas import INK, PALETTE, finished, integer_ticks, legend, one_axes

_MOST_BARS = 60


def degrees(graph: Graph, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw how many nodes have how many edges.

    Reference: guide *explore*, "Pictures".

    Parameters
    ----------
    graph : Graph
    title : str
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the Axes of a new Figure.

    Examples
    --------
    >>> from manifold import graph_from_affinity
    >>> ax = degrees(graph_from_affinity([[0, 1, 0], [1, 0, 0], [0, 0, 0]]))
    >>> [int(bar.get_height()) for bar in ax.patches]
    [1, 2]
    """
    counts = np.diff(graph.affinity.indptr)
    ax = one_axes(ax)
    _histogram(ax, counts)
    if counts.size:
        middle = np.median(counts)
        ax.axvline(middle, color=INK, linestyle="--", linewidth=1, label=f"median {middle:g}")
    ax.plot([], [], " ", label=f"{graph.isolated.size:,} of {counts.size:,} nodes isolated")
    ax.set_title(title, parse_math=False)
    ax.set(xlabel="edges of a node", ylabel="nodes")
    legend(ax)
    return finished(ax)


def hubness(neighbors: Neighbors | ArrayLike, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw how often items stand in the lists of others, N_k; a long tail is made of hubs.

    Reference: Radovanović et al. (2010).

    Parameters
    ----------
    neighbors : Neighbors, or (n,) counts
        The lists, or how often each item stands in some.
    title : str
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the Axes of a new Figure.

    Examples
    --------
    >>> ax = hubness([0, 0, 1, 1, 2, 6])
    >>> ax.get_legend().get_texts()[-1].get_text()
    'skewness 1.37'
    """
    listed = "lists"
    if isinstance(neighbors, Neighbors):
        counts: AnyArray = k_occurrences(neighbors.indices, neighbors.n_nodes)
        listed = f"lists of the {neighbors.n_neighbors} nearest"
    else:
        counts = as_array(neighbors, "neighbors")
    if counts.ndim != 1 or not counts.size:
        raise ValueError(f"neighbors must be Neighbors or counts (n,) of at least one item, got shape {counts.shape}")
    ax = one_axes(ax)
    _histogram(ax, counts)
    ax.axvline(counts.mean(), color=INK, linestyle="--", linewidth=1, label=f"mean {counts.mean():.3g}")
    ax.plot([], [], " ", label=f"largest {counts.max():,}, never listed {np.count_nonzero(counts == 0):,}")
    ax.plot([], [], " ", label=f"skewness {skewness(counts):.2f}")
    ax.set_title(title, parse_math=False)
    ax.set(xlabel=f"{listed} that an item stands in", ylabel="items", yscale="log")
    legend(ax)
    return finished(ax)


def components(graph: Graph, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw the sizes of the connected components, largest first; no score crosses from one to another.

    Reference: guide *explore*, "Pictures".

    Parameters
    ----------
    graph : Graph
    title : str
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the Axes of a new Figure.

    Examples
    --------
    >>> from manifold import graph_from_affinity
    >>> components(graph_from_affinity([[0, 1, 0], [1, 0, 0], [0, 0, 0]])).lines[0].get_ydata().tolist()
    [2, 1]
    """
    sizes = np.sort(np.bincount(graph.components))[::-1]
    ax = one_axes(ax)
    said = f"{sizes.size:,} components, {graph.isolated.size:,} of one node"
    ax.plot(np.arange(1, sizes.size + 1), sizes, "o-", markersize=4, linewidth=0.8, color=PALETTE[0], label=said)
    share = sizes.max(initial=0) / max(graph.n_nodes, 1)
    ax.plot([], [], " ", label=f"{100 * share:.3g} % of the nodes in the largest")
    scale = "log" if sizes.size else "linear"
    ax.set_title(title, parse_math=False)
    ax.set(xlabel="component, largest first", ylabel="nodes", xscale=scale, yscale=scale)
    legend(ax)
    return finished(ax)


def _histogram(ax: Axes, counts: AnyArray) -> None:
    """Draw bars of whole numbers, one a number while they are few."""
    low, high = int(counts.min(initial=0)), int(counts.max(initial=0))
    step = -(-(high - low + 1) // _MOST_BARS)
    bins = np.arange(low, high + step + 1, step) - 0.5
    ax.hist(counts, bins=list(bins), color=PALETTE[0], edgecolor="white", linewidth=0.4)
    integer_ticks(ax)
