"""How good propagated labels are: certainty against truth, and which classes are taken for which."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import ArrayLike

from manifold._arrays import as_array, as_numbers
from manifold._checks import check_count
from manifold._typing import AnyArray, Ints
from manifold.labels.targets import label_array
from manifold.plotting._canvas import (
    INK,
    PALETTE,
    RIGHT,
    SHADE,
    SMALL,
    WRONG,
    colour_scale,
    finished,
    legend,
    one_axes,
    panels,
)
from manifold.plotting._classes import classes_of, is_none
from manifold.plotting._written import short

_LETTERS = 24  # of a name beside an axis
_MOST_WRITTEN = 12  # classes, up to which every cell of a confusion holds its number


def reliability(certainty: ArrayLike, correct: ArrayLike, *, n_bins: int = 10) -> tuple[Ints, Ints]:
    """Return how many points have a certainty in each of `n_bins` equal parts of [0, 1], and how many are right.

    Reference: Guo et al. (2017).

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
    sure, good = as_numbers(certainty, "certainty"), as_array(correct, "correct")
    if good.dtype != bool:
        raise ValueError(f"correct must hold booleans, got dtype {good.dtype}: pass predicted == truth")
    if sure.ndim != 1 or good.shape != sure.shape:
        raise ValueError(f"certainty and correct must both be (n,), got {sure.shape} and {good.shape}")
    if sure.size and not (sure.min() >= 0 and sure.max() <= 1):
        raise ValueError(f"certainty must lie in [0, 1], got {sure.min()}..{sure.max()}")
    n_bins = check_count(n_bins, "n_bins")
    part = np.minimum((sure * n_bins).astype(np.int64), n_bins - 1)
    return np.bincount(part, minlength=n_bins), np.bincount(part[good], minlength=n_bins)


def label_certainty(
    certainty: ArrayLike,
    correct: ArrayLike | None = None,
    *,
    n_bins: int = 10,
    title: str = "",
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Draw how certain propagated labels are and, where the truth is known, how often they are right at each certainty.

    Reference: Guo et al. (2017), for reliability diagrams; guide *labels*, "Which points to believe".

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
    counts, right = reliability(
        certainty, np.ones(np.shape(certainty), bool) if correct is None else correct, n_bins=n_bins
    )
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
    return finished(figure)


def confusion_counts(truth: ArrayLike, predicted: ArrayLike) -> tuple[AnyArray, Ints]:
    """Return the classes (c,), sorted, and how many points (c, c) of the class of a row were given that of a column.

    Where some points have no label (-1, "", None or NaN), the first class is that marker.

    Reference: guide *labels*, "Which points to believe".

    Examples
    --------
    >>> classes, counts = confusion_counts(["a", "a", "b"], ["a", "b", "b"])
    >>> counts.tolist()
    [[1, 1], [0, 1]]
    """
    given, made = label_array(truth, "truth"), label_array(predicted, "predicted")
    if given.ndim != 1 or given.shape != made.shape:
        raise ValueError(f"truth and predicted must be (n,) labels of the same points, got {given.shape}, {made.shape}")
    both = [side if side.dtype.kind in "iubf" else side.astype(object) for side in (given, made)]
    known, codes, missing = classes_of(np.concatenate(both))
    some_missing = bool((codes < 0).any())
    names = [missing, *known] if some_missing else known
    classes: AnyArray = np.array(names)
    if classes.tolist() != names:  # such as None beside texts
        classes = np.array([*names, None], dtype=object)[:-1]
    place, c = codes + some_missing, len(names)
    rows, columns = place[: given.size], place[given.size :]
    return classes, np.bincount(rows * c + columns, minlength=c * c).reshape(c, c)


def confusion(
    truth: ArrayLike,
    predicted: ArrayLike,
    *,
    classes: Iterable[object] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw which class is taken for which: the share of each true class, a row, that was given each label.

    Reference: guide *labels*, "Which points to believe".

    Parameters
    ----------
    truth, predicted : (n,)
        Labels of the same points; no label (-1, "", None or NaN) is a column of its own, the first. Points whose true
        class is not known are left out.
    classes : sequence, optional
        Names for the classes, in sorted order, that of the first column included.
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
    met = found.tolist()
    names = ["none" if is_none(name) else str(name) for name in met] if classes is None else list(map(str, classes))
    if len(names) != found.size:
        raise ValueError(f"classes must name the {found.size} classes met, {met}, got {len(names)} names")
    # of a point without a true class nobody knows whether its label is right
    counts[[is_none(name) for name in met]] = 0
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(0.42 * found.size, 2.6, 7.0))
    ax = one_axes(ax, size=(side + 1.6, side + 0.9))
    drawn = ax.imshow(shares, cmap=SHADE, vmin=0, vmax=1)
    if found.size <= _MOST_WRITTEN:
        for (i, j), count in np.ndenumerate(counts):
            if count:
                ax.text(j, i, f"{count:,}", ha="center", va="center", fontsize=SMALL - 1,
                        color="white" if shares[i, j] > 0.5 else INK)  # fmt: skip
    names = [short(name, _LETTERS) for name in names]
    longest = max(map(len, names), default=0)
    rotation = 90 if longest > 3 else 0
    ax.set_xticks(range(len(names)), names, rotation=rotation, fontsize=SMALL, parse_math=False)
    ax.set_yticks(range(len(names)), names, fontsize=SMALL, parse_math=False)
    right = np.trace(counts) / max(counts.sum(), 1)
    ax.set_title(title or f"{100 * right:.1f} % right", parse_math=False)
    ax.set(xlabel="label given", ylabel="true class")
    colour_scale(drawn, ax, "share of the true class")
    return finished(ax)


def _draw_shares(ax: Axes, middle: AnyArray, counts: Ints, right: Ints) -> None:
    some = counts > 0
    share = right[some] / counts[some]
    error = np.sqrt(share * (1 - share) / counts[some])
    ax.errorbar(middle[some], share, yerr=error, fmt="o-", color=PALETTE[0], markersize=4, elinewidth=1, capsize=2)
    overall = right.sum() / max(counts.sum(), 1)
    ax.axhline(overall, color=INK, linestyle="--", linewidth=0.8, label=f"all points, {overall:.3f}")
    ax.set(xlabel="certainty", ylabel="share of right labels", xlim=(0, 1), ylim=(-0.03, 1.03))
    legend(ax, loc="lower right")
