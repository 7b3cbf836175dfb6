"""What to choose: every setting that was tried, every solver that was timed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from manifold._typing import AnyArray, Facts
from manifold.plotting._canvas import INK, colour_of, finished, legend, mark_of, one_axes
from manifold.plotting._written import in_legend, short

_SAYS = {  # columns of the benchmarks
    "ms_p50": "median time of a query (ms)",
    "ms_p95": "time that 95 % of the queries take at most (ms)",
    "ms_of_64": "time of a query, 64 together (ms)",
    "s": "time (s)",
    "build_s": "time to build (s)",
    "overlap": "overlap with the exact list",
    "mean": "mean accuracy",
}

Rows: TypeAlias = Sequence[Facts]
_NINES, _FLOOR = (0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 1), 3e-4


class Tried(Protocol):
    """What is drawn of a `Tuning`."""

    @property
    def table(self) -> Rows:
        """The settings that were tried, with what they reached."""

    @property
    def reason(self) -> str:
        """Why the chosen one was chosen."""

    @property
    def setting(self) -> object:
        """The one that was chosen."""


def tuning_landscape(tuning: Tried, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw every setting that was tried: cohesion by the number of neighbours, one colour and mark a filter.

    Filled marks divide by the degree, open ones do not; a bar is the standard error of the distance from the best. The
    chosen setting is ringed and named.

    Reference: guide *notation*, "Own methods".

    Parameters
    ----------
    tuning : Tuning
        What `manifold.ranking.tune` returned, or ``ManifoldSearch.tuning_``.
    title : str
        Title of the picture.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the Axes of a new Figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        Where nothing was tried: the collection was too small.

    Examples
    --------
    >>> from manifold import datasets
    >>> from manifold.ranking import Setting, tune
    >>> tuning = tune(datasets.digits().features[:300], settings=[Setting(), Setting(n_neighbors=5)])
    >>> ax = tuning_landscape(tuning)
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['5', '7']
    """
    if not tuning.table:
        raise ValueError(f"nothing was tried ({tuning.reason}): there is nothing to draw")
    ax = one_axes(ax, size=(7, 4))
    settings = [row["setting"] for row in tuning.table]
    widths = sorted({setting.n_neighbors for setting in settings})
    filters = list(dict.fromkeys(sorted(str(setting.filter) for setting in settings)))
    for j, name in enumerate(filters):
        for filled in (True, False):
            rows = [
                r
                for r in tuning.table
                if str(r["setting"].filter) == name and filled == (r["setting"].degree_exponent > 0)
            ]
            if not rows:
                continue
            # beside each other, so that marks of one width do not hide each other
            shift = 0.7 * ((2 * j + (not filled) + 0.5) / (2 * len(filters)) - 0.5)
            x = [widths.index(r["setting"].n_neighbors) + shift for r in rows]
            colour = colour_of(j)
            ax.errorbar(
                x, [r["cohesion"] for r in rows], yerr=[r["error"] for r in rows], fmt=mark_of(j),
                color=colour, markerfacecolor=colour if filled else "white", markersize=5, elinewidth=0.6,
                label=name if filled or len(rows) == len(settings) else None,
            )  # fmt: skip
            for position, row in zip(x, rows, strict=True):
                if row["chosen"]:
                    ax.plot(position, row["cohesion"], "o", markersize=13, markerfacecolor="none", markeredgecolor=INK)
    ax.set_xticks(range(len(widths)), [str(width) for width in widths])
    ax.set_title(title, parse_math=False)
    ax.set(xlabel="neighbours of each point, k", ylabel="cohesion (held-out points)")
    said = f"chosen: {tuning.setting}\n{tuning.reason}"
    ax.text(0.0, -0.2, said, transform=ax.transAxes, va="top", fontsize=7, parse_math=False)
    legend(ax)
    return finished(ax)


def time_accuracy(
    rows: Rows,
    *,
    time: str = "ms_p50",
    accuracy: str = "overlap",
    name: str = "solver",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw what accuracy costs: a mark for each row of a benchmark, a line for each method.

    Where the best share is 0.99 or more, the scale gives each further nine the same room. Rows whose names begin with
    the same word are one method with several settings. Rings are around rows that no other row beats in both time and
    accuracy.

    Reference: guide *solvers*.

    Parameters
    ----------
    rows : sequence of mappings
        Rows of one record of ``python -m bench``, of one data set.
    time, accuracy, name : str
        The columns to draw; more accuracy is better, less time is better.
    title : str
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the Axes of a new Figure.

    Examples
    --------
    >>> rows = [{"solver": f"cg 1e-{i}", "ms_p50": t, "overlap": a} for i, t, a in ((2, 1.0, 0.9), (3, 2.0, 1.0))]
    >>> [text.get_text() for text in time_accuracy(rows).get_legend().get_texts()]
    ['cg: 1e-2, 1e-3', 'not beaten in both']
    """
    kept = [row for row in rows if all(row.get(column) is not None for column in (time, accuracy, name))]
    if not kept:
        raise ValueError(f"no row has all of {time!r}, {accuracy!r} and {name!r}: name its columns")
    ax = one_axes(ax, size=(8.4, 4.0))
    methods: dict[str, list[Facts]] = {}
    for row in sorted(kept, key=lambda row: float(row[time])):
        methods.setdefault(str(row[name]).split()[0], []).append(row)
    for j, (method, same) in enumerate(methods.items()):
        settings = ", ".join(filter(None, (str(row[name]).removeprefix(method).strip() for row in same)))
        ax.plot(
            [row[time] for row in same], [row[accuracy] for row in same], marker=mark_of(j), color=colour_of(j),
            markersize=5, linewidth=1, label=in_legend(f"{method}: {settings}" if settings else method),
        )  # fmt: skip
    best = unbeaten(kept, time=time, accuracy=accuracy)
    ax.plot([row[time] for row in best], [row[accuracy] for row in best], "o", markersize=11, markerfacecolor="none",
            markeredgecolor=INK, label="not beaten in both")  # fmt: skip
    ax.set_title(title, parse_math=False)
    ax.set_xlabel(short(_SAYS.get(time, time), 60), parse_math=False)
    ax.set_ylabel(short(_SAYS.get(accuracy, accuracy), 60), parse_math=False)
    ax.set_xscale("log")
    values = [float(row[accuracy]) for row in kept]
    if 0.99 <= max(values) <= 1:
        _stretch_near_one(ax, min(values))
    legend(ax, outside=True)
    return finished(ax)


def _stretch_near_one(ax: Axes, least: float) -> None:
    """Give each nine of a share that is nearly 1 the same room: 0.9, 0.99, 0.999."""

    def spread(y: ArrayLike) -> AnyArray:
        """Return the height at which a share stands."""
        return np.asarray(-np.log10(np.maximum(1 - np.asarray(y), -_FLOOR / 2) + _FLOOR))

    ax.set_yscale("function", functions=(spread, lambda height: 1 + _FLOOR - 10.0 ** -np.asarray(height)))
    ticks = [tick for tick in _NINES if tick >= least - 0.1]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_ylim(max(least - 0.1, 0), 1 + _FLOOR / 3)


def unbeaten(rows: Rows, *, time: str, accuracy: str) -> list[Facts]:
    """Return the rows that no other beats in time without being less accurate, by ascending time.

    >>> unbeaten([{"s": 2, "hit": 0.9}, {"s": 1, "hit": 0.8}, {"s": 3, "hit": 0.9}], time="s", accuracy="hit")
    [{'s': 1, 'hit': 0.8}, {'s': 2, 'hit': 0.9}]
    """
    best: list[Facts] = []
    for row in sorted(rows, key=lambda row: (row[time], -row[accuracy])):
        if not best or row[accuracy] > best[-1][accuracy]:
            best.append(row)
    return best
