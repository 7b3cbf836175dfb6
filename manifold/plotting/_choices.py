"""What to choose: every setting that was tried, every solver that was timed."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from manifold.plotting._canvas import INK, colour_of, legend, mark_of, one_axes


def tuning_landscape(tuning: Any, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw every setting that was tried: cohesion by the number of neighbours, one colour and mark a filter.

    Filled marks divide by the degree, open ones do not; a bar is the standard error of the distance from the best. The
    chosen setting is ringed and named.

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
    ax.set(xlabel="neighbours of each point, k", ylabel="cohesion (held-out points)", title=title)
    ax.text(0.0, -0.2, f"chosen: {tuning.setting}\n{tuning.reason}", transform=ax.transAxes, va="top", fontsize=7)
    legend(ax)
    return ax
