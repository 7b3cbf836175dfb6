"""The spectrum of a graph and what filters make of it: h(S) acts on each eigenvalue alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import ArrayLike

from manifold._arrays import as_numbers
from manifold._typing import Floats
from manifold.backends import get_backend
from manifold.filters import Diffusion, Filter
from manifold.graph import Graph
from manifold.plotting._canvas import FAINT, INK, PALETTE, colour_of, finished, legend, panels
from manifold.solvers.eigenpairs import leading_eigenpairs
from manifold.solvers.spectrum import Spectrum
from manifold.solvers.system import NormalizedAffinity

_LINES = ("-", "--", "-.", ":")


def spectrum(
    graph: Graph | Spectrum | ArrayLike,
    *,
    filters: Sequence[Filter] = (Diffusion(),),
    rank: int = 100,
    title: str = "",
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Draw the leading eigenvalues of S, and the transfer functions of filters with the eigenvalues below them.

    Reference: Shuman et al. (2013), section III.

    Parameters
    ----------
    graph : Graph, Spectrum, or (r,) eigenvalues
    filters : sequence of Filter
    rank : int
        How many eigenvalues to compute, where a graph is given.
    title : str
    figure : matplotlib Figure or SubFigure, optional
        Where to draw; by default a new one.

    Notes
    -----
    A gap after the c-th eigenvalue says that the graph has c clusters; as many eigenvalues are 1 as it has components
    with an edge. Where h is high, scores keep what varies so slowly over the graph.

    Examples
    --------
    >>> figure = spectrum([1.0, 0.5, -0.5], filters=[Diffusion(0.5)])
    >>> figure.axes[0].lines[0].get_ydata().tolist()
    [1.0, 0.5, -0.5]
    """
    values = eigenvalues_of(graph, rank)
    figure, axes = panels(figure, (1, 2), size=(10.0, 3.6), title=title)
    scree, transfer = axes[0]
    _draw_scree(scree, values)
    _draw_transfer(transfer, values, filters)
    return finished(figure)


def eigenvalues_of(graph: Graph | Spectrum | ArrayLike, rank: int) -> Floats:
    """Return eigenvalues (r,), descending, of a graph, a spectrum, or as given.

    >>> eigenvalues_of([0.5, 1.0], 2).tolist()
    [1.0, 0.5]
    """
    if isinstance(graph, Graph):
        system = NormalizedAffinity(graph, get_backend("scipy"))
        rank = min(rank, graph.n_nodes)
        return leading_eigenpairs(system, rank).eigenvalues[:rank]  # of all components together, none is missing
    values = as_numbers(graph.eigenvalues if isinstance(graph, Spectrum) else graph, "graph")
    if values.ndim != 1:
        raise ValueError(f"graph must be a Graph, a Spectrum or eigenvalues (r,), got shape {values.shape}")
    return np.sort(values)[::-1]


def _draw_scree(ax: Axes, values: Floats) -> None:
    at_one = int(np.count_nonzero(values > 1 - 1e-5))
    said = f"{at_one} of {values.size} are 1"
    ax.plot(np.arange(1, values.size + 1), values, "o-", markersize=3, linewidth=0.7, color=PALETTE[0], label=said)
    ax.set(xlabel="index $i$, largest first", ylabel="eigenvalue $\\lambda_i$ of $S$")
    legend(ax)


def _draw_transfer(ax: Axes, values: Floats, filters: Sequence[Filter]) -> None:
    x = np.unique(np.concatenate([np.linspace(-1, 0.8, 200), np.linspace(0.8, 1, 400)]))  # h may be steep near 1
    for j, filter in enumerate(filters):
        y = np.broadcast_to(filter(x), x.shape)
        ax.plot(x, y, color=colour_of(j), linestyle=_LINES[j % len(_LINES)], label=str(filter))
    ax.plot(values, np.full(values.size, -0.06), "|", color=INK, markersize=6, alpha=0.5, label="eigenvalues")
    ax.axhline(0, color=FAINT, linewidth=0.6)
    ax.set(xlabel="eigenvalue $\\lambda$ of $S$", ylabel="transfer function $h(\\lambda)$", xlim=(-1.03, 1.03))
    legend(ax, outside=True)
