"""Which search serves a collection, shown by queries of which it is known what they should find.

In: features, queries and their relevant rows. Out: the parameters to search with, and by how much they gain.

    gain of q = AP(q; a candidate) - AP(q; what is kept),     intervals of all candidates together: `_paired`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from manifold._typing import Facts, Floats, Ints
from manifold.evaluation._candidates import CANDIDATES, judgements, precisions
from manifold.evaluation._paired import surely_best, together
from manifold.neighbors import point_set


@dataclass(frozen=True, eq=False, repr=False)
class JudgedTuning:
    """What judged queries chose.

    Reference: Hull (1993), section 3; guide *judge*, "Let fifty judged queries choose".

    Attributes
    ----------
    parameters : dict
        Of `manifold.ManifoldSearch`: {} where the default is kept.
    table : tuple of dict
        A row a candidate, what is kept first: its "parameters", mean "AP", mean "gain" over the first, the interval
        from "low" to "high" of that, and whether it was "chosen".
    reason : str
        Why it was chosen, or that it is not worth it.
    precisions : (m, q) float
        The average precision of each query by each row of the table.
    confidence : float
        That the intervals hold together.

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
    precisions: Floats = field(default_factory=lambda: np.empty((0, 0)))
    confidence: float = 0.5

    @classmethod
    def _by(cls, tried: Sequence[Facts], precisions: Floats, confidence: float) -> JudgedTuning:
        """Choose among searches by the average precisions (m, q) of queries; the first of them is kept."""
        mean, width = together(precisions - precisions[0], confidence)
        chosen, best = surely_best(mean, width), int(mean.argmax())
        named, q = chosen or best, precisions.shape[1]
        interval = f"{mean[named]:+.3f} ({mean[named] - width[named]:+.3f} to {mean[named] + width[named]:+.3f})"
        reason = ("gains " if chosen else "not worth a change: the best gains ") + f"{interval} on {q} queries"
        table = tuple(
            {
                "parameters": dict(one),
                "AP": float(precisions[i].mean()),
                "gain": float(mean[i]),
                "low": float(mean[i] - width[i]),
                "high": float(mean[i] + width[i]),
                "chosen": i == chosen,
            }
            for i, one in enumerate(tried)
        )
        return cls(dict(tried[chosen]), table, reason, precisions, confidence)

    def of(self, queries: Ints) -> JudgedTuning:
        """Return what some of the queries choose by themselves, given their places: how sure the choice is.

        >>> rows = tuple({"parameters": one} for one in ({}, {"purpose": "topic"}))
        >>> seen = JudgedTuning({}, rows, "", np.array([[0.1] * 30, [0.2] * 15 + [0.0] * 15]))
        >>> seen.of(np.arange(15)).parameters, seen.of(np.arange(30)).parameters
        ({'purpose': 'topic'}, {})
        """
        return self._by([row["parameters"] for row in self.table], self.precisions[:, queries], self.confidence)

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
    purpose: str | None = None,
    candidates: Sequence[Mapping[str, object]] | None = None,
    metric: str = "cosine",
    confidence: float = 0.5,
) -> JudgedTuning:
    """Choose the parameters of a search by a handful of judged queries; change nothing unless a change surely gains.

    Reference: Hull (1993), section 3; guide *judge*, "Let fifty judged queries choose".

    Parameters
    ----------
    X : (n, d) array-like
        The collection.
    queries : (q, d) array-like
        Real ones, from outside it: 10 at least, 50 are a good number.
    relevant : q sequences of rows of X
        What each should find, one row at least.
    purpose : {"item", "topic"}, optional
        Whose preset is kept where no candidate surely gains over it; by default that of ``ManifoldSearch()``.
    candidates : sequence of parameters of `manifold.ManifoldSearch`, optional
        What to try; by default the default, both purposes, nearest neighbours as they are, and five graphs for
        classes: of 20 and 50 mutual neighbours, of 10 that one side lists, and of 7 that count .3 then, to diffuse far
        or near. What needs more items than there are is left out.
    metric : {"cosine", "inner_product", "euclidean"}
    confidence : float in (0, 1)
        That the intervals of all candidates hold together. At .5, where nothing gains, one collection in four changes,
        as a rule to what is as good, and few judgements find what does gain. Ask for .95 where a change costs.

    Returns
    -------
    JudgedTuning
        Its candidate of the largest mean average precision whose interval lies above 0; else what is kept, and the
        reason says that a change is not worth it.

    Raises
    ------
    TypeError, ValueError
        As `manifold.ManifoldSearch` does; for fewer than 10 queries, judgements of another number, rows that X does
        not have, and a confidence out of range.

    Notes
    -----
    Differences are paired by query; the intervals are those of all candidates at once, by the largest t under flips of
    signs. Cost: a search for neighbours, a graph for each candidate, and full lists of the queries.

    Examples
    --------
    >>> from manifold import datasets
    >>> X, y = datasets.digits()
    >>> relevant = [np.flatnonzero(y[50:650] == label) for label in y[:50]]
    >>> tuning = tune_judged(X[50:650], X[:50], relevant)
    >>> tuning.parameters["purpose"], round(float(tuning.table[0]["AP"]), 2)
    ('topic', 0.82)
    """
    points = point_set(X, metric)
    asked, n = points.asked(queries, "queries")[0], len(points.X)
    rows = judgements(relevant, n=n, q=len(asked.X))
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence!r}: 0.95 say")
    kept: Facts = {} if purpose is None else {"purpose": purpose}
    given = [one for one in CANDIDATES if one.get("n_neighbors", 0) < n] if candidates is None else candidates
    tried = [kept, *(dict(one) for one in given if dict(one) != kept)]
    return JudgedTuning._by(tried, precisions(points, asked, rows, tried=tried), confidence)
