"""The one door: a ranking and a ground truth in, every figure of the protocol out, by setting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from manifold._typing import AnyArray, Facts, Floats
from manifold.metrics import _figures as table
from manifold.metrics._judged import Relevance, judge, known_mean
from manifold.metrics._retrieval import Interpolation


class Judgements(Protocol):
    """What `evaluate` asks of a ground truth; `datasets.GroundTruth` answers it."""

    @property
    def settings(self) -> Facts:
        """Names of the ways in which items count."""

    @property
    def figures(self) -> Sequence[str]:
        """Names of the figures that are usual for it."""

    @property
    def interpolation(self) -> Interpolation:
        """How its average precision is counted."""

    def judgements(self, setting: str) -> tuple[Relevance, Relevance | None]:
        """Return (relevant, junk) of each query."""


@runtime_checkable
class Named(Protocol):
    """Lists with the names of their queries, as `datasets.read_run` returns them."""

    @property
    def queries(self) -> Sequence[object]:
        """Names (q,), one a list."""

    @property
    def ids(self) -> AnyArray:
        """Lists (q, m), best first."""


def evaluate(
    ranking: ArrayLike | Named, truth: Judgements, *, figures: Sequence[str] | None = None
) -> dict[str, dict[str, float]]:
    """Return the figures of a ranking by a ground truth, as means over the queries that have relevant items.

    Reference: Philbin et al. (2007), for mAP by trapezoids; Radenović et al. (2018), for its settings and mP@k; guide
    *judge*.

    Parameters
    ----------
    ranking : (q, m) ids
        Best first; -1 or "" pads a short row. Items asked with are left out of their own rows. A run of
        `datasets.read_run` is put in the order of the queries of the truth, by name.
    truth : GroundTruth
        See `datasets.ground_truth`. Its interpolation is that of the mAP.
    figures : names, optional
        Of {names}, with a number for k; by default those usual for the truth. hit@k is the Recall@K of metric
        learning, nDCG is graded where the truth is, and the bull's-eye score counts the query among its k.

    Returns
    -------
    dict
        ``{setting: {figure: fraction of 1}}``.

    Raises
    ------
    ValueError, TypeError
        For an unknown figure, and for a ranking that does not fit the truth, or a run of other queries.

    Notes
    -----
    Cost: a row of m ids is looked up once a setting among the r that are judged, O(m log r), whatever the figures.

    Examples
    --------
    >>> from manifold.datasets import GroundTruth
    >>> evaluate([[7, 1, 2], [1, 7, 2]], GroundTruth("two", {"relevant": [[7], [7]]}), figures=["mAP", "hit@1"])
    {'all': {'mAP': 0.75, 'hit@1': 0.5}}
    """
    values = evaluate_queries(ranking, truth, figures=figures)
    return {setting: {name: known_mean(of) for name, of in by_name.items()} for setting, by_name in values.items()}


if evaluate.__doc__:  # python -OO has none
    evaluate.__doc__ = evaluate.__doc__.replace("{names}", table.names())


def evaluate_queries(
    ranking: ArrayLike | Named, truth: Judgements, *, figures: Sequence[str] | None = None
) -> dict[str, dict[str, Floats]]:
    """Return the figures of every query, (q,) each, NaN without relevant items; arguments and errors as for `evaluate`.

    Reference: guide *judge*, "What the figures are".

    Examples
    --------
    >>> from manifold.datasets import GroundTruth
    >>> evaluate_queries([[7, 1, 2], [1, 7, 2]], GroundTruth("two", {"relevant": [[7], [7]]}))
    {'all': {'mAP': array([1. , 0.5])}}
    """
    lists = _in_order(ranking, truth) if isinstance(ranking, Named) else ranking
    names = truth.figures if figures is None else [figures] if isinstance(figures, str) else figures
    chosen = {name: table.parse(name) for name in names}
    values = {}
    for setting in truth.settings:
        relevant, junk = truth.judgements(setting)
        judged = list(judge(lists, relevant, junk))  # lists are looked up once for all figures
        values[setting] = {
            name: np.array([asked.of_query(j, truth.interpolation) for j in judged], dtype=np.float64)
            for name, asked in chosen.items()
        }
    return values


def _in_order(run: Named, truth: Judgements) -> AnyArray:
    """Return the lists of a run in the order of the queries of the truth; by place where the truth has no names."""
    wanted = list(getattr(truth, "queries", ()))
    if not wanted:
        return run.ids
    rows = {name: row for row, name in enumerate(run.queries)}
    for names, known, what in ((wanted, rows, "lacks"), (rows, {*wanted}, "has, and the truth does not,")):
        strange = [name for name in names if name not in known]
        if strange:
            raise ValueError(
                f"the run {what} {len(strange)} of the queries, first {strange[0]!r}: evaluate those that both have, "
                "run.ids[rows] and truth.take(rows)"
            )
    return run.ids[[rows[name] for name in wanted]]


def list_depth(figures: Sequence[str]) -> int | None:
    """Return how far down a list without junk the figures look, None for all of it.

    Reference: guide *judge*, "What the figures are".

    >>> list_depth(["hit@1", "recall@10"]), list_depth(["hit@1", "mAP"])
    (10, None)
    """
    depths = [table.parse(name).depth for name in figures]
    known = [depth for depth in depths if depth is not None]
    return max(known, default=None) if len(known) == len(depths) else None


def is_error(figure: str) -> bool:
    """Tell whether less of a figure is better; raise ValueError for an unknown one.

    Reference: guide *judge*, "What the figures are".

    >>> is_error("1-NN error"), is_error("nDCG@10")
    (True, False)
    """
    return table.parse(figure).figure.is_error
