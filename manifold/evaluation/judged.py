"""Which purpose a collection serves, shown by queries of which it is known what they should find.

In: features, queries and their relevant rows. Out: the parameters to search with, and by how much they gain.

    gain of q = AP(q; a candidate) - AP(q; the default),     mean +- t_{q-1} sqrt(var / q)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from manifold._arrays import as_integers
from manifold._typing import Facts
from manifold.metrics import average_precisions
from manifold.neighbors import point_set
from manifold.ranking import ManifoldSearch

FEWEST = 10  # judged queries: of fewer no interval is believed
_CANDIDATES: tuple[Facts, ...] = ({"purpose": "item"}, {"purpose": "topic"}, {"preset": "plain-diffusion"})


@dataclass(frozen=True, eq=False, repr=False)
class JudgedTuning:
    """What judged queries chose.

    Reference: Hull (1993), section 3; guide *judge*, "Let fifty judged queries choose".

    Attributes
    ----------
    parameters : dict
        Of `manifold.ManifoldSearch`: {} where the default is kept.
    table : tuple of dict
        A row a candidate, the default first: its "parameters", mean "AP", mean "gain" over the default, the interval
        from "low" to "high" of that, and whether it was "chosen".
    reason : str
        Why it was chosen, or that it is not worth it.

    Examples
    --------
    >>> row = {"parameters": {}, "AP": 0.5, "gain": 0.0, "low": 0.0, "high": 0.0, "chosen": True}
    >>> JudgedTuning({}, (row,), "the default is kept")
    JudgedTuning: ManifoldSearch(), the default is kept
    * AP 0.5000  gain +0.0000 (+0.0000 to +0.0000)  {}
    """

    parameters: Facts
    table: tuple[Facts, ...]
    reason: str

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        lines = [f"JudgedTuning: ManifoldSearch({given}), {self.reason}"]
        for row in self.table:
            interval = f"{row['gain']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"
            lines.append(f"{'*' if row['chosen'] else ' '} AP {row['AP']:.4f}  gain {interval}  {row['parameters']}")
        return "\n".join(lines)


def tune_judged(
    X: ArrayLike,
    queries: ArrayLike,
    relevant: Sequence[ArrayLike],
    *,
    candidates: Sequence[Mapping[str, object]] | None = None,
    metric: str = "cosine",
    confidence: float = 0.95,
) -> JudgedTuning:
    """Choose the parameters of a search by a handful of judged queries; keep the default unless another surely gains.

    Reference: Hull (1993), section 3; guide *judge*, "Let fifty judged queries choose".

    Parameters
    ----------
    X : (n, d) array-like
        The collection.
    queries : (q, d) array-like
        Real ones, from outside it: 10 at least, 50 are a good number.
    relevant : q sequences of rows of X
        What each should find, one row at least.
    candidates : sequence of parameters of `manifold.ManifoldSearch`, optional
        What to try beside the default; by default both purposes and ``preset="plain-diffusion"``.
    metric : {"cosine", "inner_product", "euclidean"}
    confidence : float in (0, 1)
        Of the intervals, each widened to 1 - (1 - confidence) / (number of candidates): Bonferroni's correction, as
        the best of several is looked at.

    Returns
    -------
    JudgedTuning
        Its candidate of the largest mean average precision whose interval lies above 0; else the default, and the
        reason says that a change is not worth it.

    Raises
    ------
    TypeError, ValueError
        As `manifold.ManifoldSearch` does; for fewer than 10 queries, judgements of another number, rows that X does
        not have, and a confidence out of range.

    Notes
    -----
    The interval is Student's for paired differences (Hull, 1993). Cost: a fit for each candidate, and full lists
    of the queries.

    Examples
    --------
    >>> from manifold import datasets
    >>> X, y = datasets.digits()
    >>> relevant = [np.flatnonzero(y[50:] == label) for label in y[:50]]
    >>> tune_judged(X[50:], X[:50], relevant).parameters
    {'purpose': 'topic'}
    """
    points = point_set(X, metric)
    asked, n = points.asked(queries, "queries")[0], len(points.X)
    q = len(asked.X)
    rows = [np.unique(as_integers(one, "relevant")) for one in relevant]
    if q < FEWEST or len(rows) != q:
        raise ValueError(f"queries must be {FEWEST} at least, with judgements of each, got {q} and {len(rows)}")
    if any(one.size == 0 or one[0] < 0 or one[-1] >= n for one in rows):
        raise ValueError(f"relevant must name rows 0..{n - 1} of X, one at least for each query")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence!r}: 0.95 say")
    tried = list(_CANDIDATES if candidates is None else candidates)
    found = []
    for given in ({}, *tried):
        search = ManifoldSearch(**{"metric": metric, "on_failure": "ignore", **given}).fit(points)
        found.append(average_precisions(search.search(asked.X, k=n).ids, rows))
    gains = np.stack(found) - found[0]
    error = gains.std(axis=1, ddof=1) / np.sqrt(q)
    width = stdtrit(q - 1, 1 - (1 - confidence) / (2 * max(len(tried), 1))) * error
    mean = gains.mean(axis=1)
    sure = np.flatnonzero(mean > width)
    chosen = int(sure[mean[sure].argmax()]) if sure.size else 0
    best = int(mean.argmax())
    at = f"{mean[best]:+.3f} ({mean[best] - width[best]:+.3f} to {mean[best] + width[best]:+.3f}) on {q} queries"
    reason = f"gains {at}" if chosen else f"not worth a change: the best gains {at}"
    table = tuple(
        {
            "parameters": dict(given),
            "AP": float(found[i].mean()),
            "gain": float(mean[i]),
            "low": float(mean[i] - width[i]),
            "high": float(mean[i] + width[i]),
            "chosen": i == chosen,
        }
        for i, given in enumerate(({}, *tried))
    )
    return JudgedTuning(dict(tried[chosen - 1]) if chosen else {}, table, reason)
