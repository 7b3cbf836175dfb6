"""A certified list: intervals in which the exact scores lie, and the cut they do or do not reach across."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from manifold._arrays import as_array, as_numbers
from manifold._checks import check_count
from manifold._typing import Floats, Ints
from manifold.index import StoredColumns
from manifold.index.entries import entry_bounds
from manifold.plotting._canvas import FAINT, INK, PALETTE, WRONG, finished, integer_ticks, legend, one_axes
from manifold.plotting._written import short
from manifold.solvers import Solution


def score_intervals(solution: Solution, column: int = 0) -> tuple[Floats, Floats]:
    """Return what the exact scores of one column certainly lie between: scores ± error bound, cut at 0.

    Reference: guide *certificates*, "Where the bound comes from".

    Parameters
    ----------
    solution : Solution
        Of seeds that are not negative.
    column : int

    Returns
    -------
    lower, upper : (n,)

    Examples
    --------
    >>> from manifold import diffuse, graph_from_affinity
    >>> from manifold.solvers import ConjugateGradient
    >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> lower, upper = score_intervals(diffuse(path, [1.0, 0, 0], solver=ConjugateGradient(1e-6)))
    >>> bool((upper - lower).max() < 1e-3)
    True
    """
    scores = np.asarray(solution.scores, dtype=np.float64)
    scores = scores if scores.ndim == 1 else scores[:, column]
    bound = solution.error_bound[column]
    return np.maximum(scores - bound, 0), np.maximum(scores + bound, 0)


def stored_intervals(index: StoredColumns, seeds: ArrayLike) -> tuple[Floats, Floats]:
    """Return what the exact scores certainly lie between by the stored columns of an index alone, without a solve.

    Reference: guide *certificates*, "Slack".

    Parameters
    ----------
    index : StoredColumns
        A built one.
    seeds : (n,) float
        y >= 0.

    Returns
    -------
    lower, upper : (n,)

    Notes
    -----
    Cost: n m T for m seeds and T entries a column; a search looks at the few nodes that matter, this at all.

    Examples
    --------
    >>> from manifold import Diffusion, DiffusionIndex, graph_from_affinity
    >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> index = DiffusionIndex(n_entries=1).build(path, filter=Diffusion(0.5))
    >>> lower, upper = stored_intervals(index, [1.0, 0.0, 0.0])
    >>> lower.round(3).tolist(), upper.round(3).tolist()
    ([0.583, 0.0, 0.0], [0.583, 0.236, 0.236])
    """
    y = as_numbers(seeds, "seeds")
    if y.shape != (index.graph.n_nodes,) or not (y >= 0).all():
        raise ValueError(f"seeds must be {index.graph.n_nodes} numbers >= 0, got shape {y.shape}")
    nodes = np.flatnonzero(y)
    lower, upper = entry_bounds(index, np.arange(y.size), nodes)
    return lower @ y[nodes], upper @ y[nodes]


def certified_intervals(
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    k: int,
    ids: ArrayLike | None = None,
    n_shown: int = 40,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw the intervals of scores around the cut after the k best: the list is certified where none reaches across.

    Reference: guide *certificates*, "Slack".

    Parameters
    ----------
    lower, upper : (n,)
        What the exact scores lie between, see `score_intervals` and `stored_intervals`.
    k : int
        Length of the list, at most n.
    ids : (n,), optional
        Names of the items, written below them.
    n_shown : int
        Items drawn, half of them on either side of the cut.
    title : str
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the Axes of a new Figure.

    Examples
    --------
    >>> ax = certified_intervals([0.5, 0.3, 0.1], [0.6, 0.4, 0.2], k=1)
    >>> ax.get_title(loc="right")
    'certified'
    """
    low, high = as_numbers(lower, "lower"), as_numbers(upper, "upper")
    if low.ndim != 1 or low.shape != high.shape or not (low <= high).all():
        raise ValueError(f"lower <= upper must hold one number an item (n,), got shapes {low.shape} and {high.shape}")
    if check_count(k, "k") > low.size:
        raise ValueError(f"k={k} but there are {low.size} items: give a k of at most that")
    order, least, outside = cut(low, high, k)
    across = np.where(np.arange(low.size) < k, low[order] < outside, high[order] > least)
    half = -(-check_count(n_shown, "n_shown") // 2)
    window = slice(max(0, k - half), k + half)
    ranks = np.arange(1, low.size + 1)
    inside = np.abs(ranks - k - 0.5) < half
    ax = one_axes(ax, size=(7.0, 3.8))
    kinds = (
        (~across & (ranks <= k), PALETTE[0], "o", f"certainly among the best {k}"),
        (~across & (ranks > k), FAINT, "o", "certainly not"),
        (across, WRONG, "D", "undecided"),
    )
    for here, colour, mark, name in kinds:
        shown = np.flatnonzero(here & inside)
        if shown.size:
            items = order[shown]
            _draw_intervals(ax, ranks[shown], low[items], high[items], colour=colour, mark=mark, name=name)
    ax.axvline(k + 0.5, color=INK, linewidth=0.8)
    ax.axhline(least, color=INK, linestyle="--", linewidth=0.8, label="least that the list may hold")
    ax.axhline(outside, color=INK, linestyle=":", linewidth=0.8, label="most that it may miss")
    seen = (low + high)[order][window]
    floor = seen[seen > 0].min(initial=np.inf) / 4  # what reaches down to 0 leaves the picture
    ax.set(xlabel="rank", ylabel="score", yscale="log", ylim=(floor if np.isfinite(floor) else None, None))
    ax.set_title(title, loc="left", parse_math=False)
    ax.set_title("certified" if outside <= least else f"{np.count_nonzero(across)} undecided", loc="right", fontsize=10)
    if ids is None:
        integer_ticks(ax)
    else:
        names = [short(name, 20) for name in as_array(ids, "ids")[order][window]]
        ax.set_xticks(ranks[window], names, rotation=90, fontsize=7, parse_math=False)
        ax.set_xlabel("item, best first")
    legend(ax, outside=True)
    return finished(ax)


def cut(low: Floats, high: Floats, k: int) -> tuple[Ints, float, float]:
    """Return the items by descending middle, the least lower bound of the first k, the largest upper of the rest.

    >>> order, least, outside = cut(np.array([0.1, 0.5]), np.array([0.2, 0.6]), 1)
    >>> order.tolist(), least, outside
    ([1, 0], 0.5, 0.2)
    """
    order = np.argsort(-(low + high), kind="stable")
    return order, float(low[order[:k]].min()), float(high[order[k:]].max(initial=0.0))


def _draw_intervals(ax: Axes, ranks: Ints, low: Floats, high: Floats, *, colour: str, mark: str, name: str) -> None:
    middle = (low + high) / 2
    ax.errorbar(
        ranks, middle, yerr=[middle - low, high - middle], fmt=mark, color=colour, markersize=3, elinewidth=1.2,
        capsize=2, label=name,
    )  # fmt: skip
