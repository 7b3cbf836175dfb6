"""What similarity and score say together: which share of such items is what was asked for.

In: similarities s and scores f of diffusion of listed items, and which of them are relevant. Out: a map to [0, 1].

    relevance = 1 / (1 + exp(-(a + b s + c log max(f, floor)))),    b, c >= 0
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from manifold._typing import AnyArray, Floats, Mask

EVENTS = {"edge": "joined by an edge, as held-out items are", "judged": "relevant, as judged queries say"}
_FLOOR = 1e-9  # of the largest score: what is not reached is as good as that
_BINS = 15


@dataclass(frozen=True)
class Calibration:
    """How likely an item of a list is what was asked for, by its similarity and its score.

    Reference: Platt (1999), section 2, for the map and its fit.

    Attributes
    ----------
    intercept, of_similarity, of_score : float
        a, b and c of the map: the log odds are a + b s + c log f.
    floor : float
        A smaller score counts as this.
    event : {"edge", "judged"}
        What is likely: that the item would be joined to the query by an edge; or that it is relevant.
    n_queries : int
        By which the map was fitted: held-out items, or judged queries.
    share : float
        Of their listed items, how many were.
    error : float
        Expected calibration error of one half of them, by a map that the other half made.

    Examples
    --------
    >>> map = Calibration(0.0, 2.0, 1.0, floor=1e-9, event="judged", n_queries=50, share=0.5, error=0.01)
    >>> map.relevance(np.array([[0.5, 0.5, 0.9]]), np.array([[1.0, 0.5, 0.5]])).round(2).tolist()
    [[0.73, 0.58, 0.58]]
    """

    intercept: float
    of_similarity: float
    of_score: float
    floor: float
    event: str
    n_queries: int
    share: float
    error: float

    @classmethod
    @np.errstate(under="ignore")
    def fitted(cls, similarities: AnyArray, scores: AnyArray, relevant: Mask, *, event: str) -> Calibration:
        """Return the map of greatest likelihood for lists (q, k), and what it is off by where it was not fitted.

        Raises ValueError where all of the lists are relevant, or nothing is: any map would do.

        >>> similarities, relevant = np.array([[0.9, 0.1]] * 20), np.array([[True, False]] * 20)
        >>> map = Calibration.fitted(similarities, np.ones((20, 2)), relevant, event="judged")
        >>> map.relevance(similarities[:1], np.ones((1, 2))).round(2).tolist(), map.n_queries
        ([[0.95, 0.05]], 20)
        """
        if relevant.all() or not relevant.any():
            what = "all" if relevant.all() else "nothing"
            raise ValueError(f"{what} of {len(relevant)} lists is {EVENTS[event]}: there is nothing to calibrate by")
        floor = _FLOOR * float(np.nanmax(scores, initial=0.0))
        s, f = similarities.astype(np.float64), _logs(scores, floor or 1.0)
        halves = np.arange(len(s)) % 2 == 0
        off = 0.0
        for here, there in ((halves, ~halves), (~halves, halves)):
            if there.any():
                a, b, c = _map(s[here], f[here], relevant[here])
                off += there.mean() * _error(_fall(expit(a + b * s[there] + c * f[there])), relevant[there])
        a, b, c = _map(s, f, relevant)
        return cls(a, b, c, floor or 1.0, event, len(s), float(relevant.mean()), float(off))

    def relevance(self, similarities: AnyArray, scores: AnyArray) -> Floats:
        """Return the relevance (q, k) of lists: never rising, each item as sure as it is, and as all before it.

        Parameters
        ----------
        similarities : (q, k) float
            -inf pads, and has relevance 0.
        scores : (q, k) float
            Of the diffusion; NaN of an item that is listed for its similarity, and counts as the last that is known.
        """
        listed = np.isfinite(similarities)
        with np.errstate(under="ignore"):
            odds = self.intercept + self.of_score * _logs(scores, self.floor)
            odds = odds + self.of_similarity * np.where(listed, similarities, 0)
            return _fall(np.where(listed, expit(odds), 0.0))

    def __str__(self) -> str:
        of = "held-out items" if self.event == "edge" else "queries"
        return (
            f"share of items {EVENTS[self.event]} (by {self.n_queries} {of}: {self.share:.1%} of what they list; "
            f"off by {self.error:.3f} on average)"
        )


def _logs(scores: AnyArray, floor: float) -> Floats:
    """Return the logarithms of scores, of none below the floor; NaN is the last of its list that is known."""
    least = np.where(np.isnan(scores), np.inf, scores).min(axis=-1, keepdims=True, initial=np.inf)
    known = np.where(np.isnan(scores), np.where(np.isfinite(least), least, 0), scores)
    return np.asarray(np.log(np.maximum(known, floor)), dtype=np.float64)


def _fall(p: Floats) -> Floats:
    """Return the least up to each place: the first of a list do not depend on how many were asked for."""
    return np.minimum.accumulate(p, axis=-1)


def _map(s: Floats, f: Floats, relevant: Mask) -> tuple[float, float, float]:
    """Return a, b, c of the greatest likelihood; targets are a little within 0 and 1, so that it is finite."""
    y, n, n_relevant = relevant.ravel(), relevant.size, int(relevant.sum())
    target = np.where(y, (n_relevant + 1) / (n_relevant + 2), 1 / (n - n_relevant + 2))
    features = np.stack([s.ravel(), f.ravel()], axis=1)
    middle, width = features.mean(axis=0), features.std(axis=0)
    width[width == 0] = 1
    design = np.hstack([np.ones((n, 1)), (features - middle) / width])

    def loss(weights: Floats) -> tuple[float, Floats]:
        odds = design @ weights
        return float((np.logaddexp(0, odds) - target * odds).mean()), design.T @ (expit(odds) - target) / n

    bounds = [(None, None), (0, None), (0, None)]  # nearer, or of a larger score, is never less relevant
    found = minimize(loss, np.zeros(3), jac=True, method="L-BFGS-B", bounds=bounds)
    b, c = found.x[1:] / width
    return float(found.x[0] - b * middle[0] - c * middle[1]), float(b), float(c)


def _error(p: Floats, relevant: Mask) -> float:
    """Return the expected calibration error, over 15 bins of equal width.

    >>> _error(np.array([[0.9, 0.9, 0.1, 0.1]]), np.array([[True, False, False, False]])).__round__(3)
    0.25
    """
    bins = np.minimum((p * _BINS).astype(np.int64), _BINS - 1)
    return float(abs(np.bincount(bins.ravel(), (p - relevant).ravel())).sum() / p.size)
