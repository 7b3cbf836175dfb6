"""How good propagated labels are: certainty against truth, and which classes are taken for which."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from manifold._checks import check_count
from manifold.plotting._canvas import INK, PALETTE, RIGHT, SHADE, SMALL, WRONG, colour_scale, legend, one_axes, panels

_MOST_WRITTEN = 12  # classes, up to which every cell of a confusion holds its number


def reliability(certainty: Any, correct: Any, *, n_bins: int = 10) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many points have a certainty in each of `n_bins` equal parts of [0, 1], and how many are right.

    Parameters
    ----------
    certainty : (n,) float in [0, 1]
    correct : (n,) bool
    n_bins : int

    Returns
    -------
    counts, right : (n_bins,) int

    Examples
    --------
    >>> counts, right = reliability([0.1, 0.9, 1.0], [False, True, False], n_bins=2)
    >>> counts.tolist(), right.tolist()
    ([1, 2], [0, 1])
    """
    sure, good = np.asarray(certainty, dtype=np.float64), np.asarray(correct)
    if sure.ndim != 1 or good.shape != sure.shape or good.dtype != bool:
        raise ValueError(
            f"certainty (n,) and correct (n,) bool must match, got {sure.shape}, {good.dtype} {good.shape}"
        )
    if sure.size and not (sure.min() >= 0 and sure.max() <= 1):
        raise ValueError(f"certainty must lie in [0, 1], got {sure.min()}..{sure.max()}")
    n_bins = check_count(n_bins, "n_bins")
    part = np.minimum((sure * n_bins).astype(np.int64), n_bins - 1)
    return np.bincount(part, minlength=n_bins), np.bincount(part[good], minlength=n_bins)


def label_certainty(
    certainty: Any,
    correct: Any = None,
    *,
    n_bins: int = 10,
    title: str = "",
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Draw how certain propagated labels are and, where the truth is known, how often they are right at each certainty.

    Parameters
    ----------
    certainty : (n,) float in [0, 1]
        Of the points to look at: ``propagation.certainty[~propagation.labelled]``.
    correct : (n,) bool, optional
        Whether the label of each is right; without it only the histogram is drawn.
    n_bins : int
    title : str
    figure : matplotlib Figure or SubFigure, optional
        Where to draw; by default a new one.

    Notes
    -----
    Bars are the standard error of a share, sqrt(p (1 - p) / m). Certainty, 1 - H(p) / log c, is no probability: the
    second panel should rise, not lie on a diagonal.

    Examples
    --------
    >>> figure = label_certainty([0.1, 0.9, 1.0], [False, True, True], n_bins=2)
    >>> [ax.get_ylabel() for ax in figure.axes]
    ['points', 'share of right labels']
    """
    known = correct is not None
    counts, right = reliability(certainty, correct if known else np.ones(np.shape(certainty), bool), n_bins=n_bins)
    figure, axes = panels(figure, (1, 1 + known), size=(8.4 if known else 4.6, 3.4), title=title)
    middle = (np.arange(n_bins) + 0.5) / n_bins
    bars, width = axes[0, 0], 0.9 / n_bins
    name = "right" if known else None
    bars.bar(middle, right, width, color=RIGHT if known else PALETTE[0], label=name)
    if known:
        wrong = counts - right
        bars.bar(middle, wrong, width, bottom=right, color=WRONG, hatch="///", edgecolor="white", label="wrong")
        _draw_shares(axes[0, 1], middle, counts, right)
    bars.set(xlabel="certainty", ylabel="points", xlim=(0, 1))
    legend(bars)
    return figure


def confusion_counts(truth: Any, predicted: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the classes (c,), sorted, and how many points (c, c) of the class of a row were given that of a column.

    Examples
    --------
    >>> classes, counts = confusion_counts(["a", "a", "b"], ["a", "b", "b"])
    >>> counts.tolist()
    [[1, 1], [0, 1]]
    """
    given, made = np.asarray(truth), np.asarray(predicted)
    if given.ndim != 1 or given.shape != made.shape:
        raise ValueError(f"truth and predicted must be (n,) labels of the same points, got {given.shape}, {made.shape}")
    classes, place = np.unique(np.concatenate([given, made]), return_inverse=True)
    c, rows, columns = classes.size, place[: given.size], place[given.size :]
    return classes, np.bincount(rows * c + columns, minlength=c * c).reshape(c, c)


def confusion(truth: Any, predicted: Any, *, classes: Any = None, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw which class is taken for which: the share of each true class, a row, that was given each label.

    Parameters
    ----------
    truth, predicted : (n,)
        Labels of the same points; -1, no label, is a column of its own.
    classes : sequence, optional
        Names for the classes, in sorted order.
    title : str
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the Axes of a new Figure.

    Examples
    --------
    >>> ax = confusion([0, 0, 1], [0, 1, 1])
    >>> ax.images[0].get_array().tolist()
    [[0.5, 0.5], [0.0, 1.0]]
    """
    found, counts = confusion_counts(truth, predicted)
    names = [str(name) for name in (found if classes is None else classes)]
    if len(names) != found.size:
        raise ValueError(f"classes must name the {found.size} classes met, {found.tolist()}, got {len(names)} names")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(0.42 * found.size, 2.6, 7.0))
    ax = one_axes(ax, size=(side + 1.6, side + 0.9))
    drawn = ax.imshow(shares, cmap=SHADE, vmin=0, vmax=1)
    if found.size <= _MOST_WRITTEN:
        for (i, j), count in np.ndenumerate(counts):
            if count:
                ax.text(j, i, f"{count:,}", ha="center", va="center", fontsize=SMALL - 1,
                        color="white" if shares[i, j] > 0.5 else INK)  # fmt: skip
    longest = max((len(name) for name in names), default=0)
    ax.set_xticks(range(len(names)), names, rotation=90 if longest > 3 else 0, fontsize=SMALL)
    ax.set_yticks(range(len(names)), names, fontsize=SMALL)
    right = np.trace(counts) / max(counts.sum(), 1)
    ax.set(xlabel="label given", ylabel="true class", title=title or f"{100 * right:.1f} % right")
    colour_scale(drawn, ax, "share of the true class")
    return ax


def _draw_shares(ax: Axes, middle: NDArray[Any], counts: NDArray[Any], right: NDArray[Any]) -> None:
    some = counts > 0
    share = right[some] / counts[some]
    error = np.sqrt(share * (1 - share) / counts[some])
    ax.errorbar(middle[some], share, yerr=error, fmt="o-", color=PALETTE[0], markersize=4, elinewidth=1, capsize=2)
    overall = right.sum() / max(counts.sum(), 1)
    ax.axhline(overall, color=INK, linestyle="--", linewidth=0.8, label=f"all points, {overall:.3f}")
    ax.set(xlabel="certainty", ylabel="share of right labels", xlim=(0, 1), ylim=(-0.03, 1.03))
    legend(ax, loc="lower right")
