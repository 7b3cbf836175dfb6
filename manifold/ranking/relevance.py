"""Relevance: numbers in [0, 1] beside the scores of a search, which mean the same for every query.

In: a fitted search, and judged queries where there are some. Out: the search, whose rankings have a relevance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from manifold._checks import check_can, check_random_state, generator
from manifold._typing import AnyArray, Ints, Mask
from manifold.neighbors import PointSet
from manifold.ranking._adaptation import is_reciprocal
from manifold.ranking._base import Ranking
from manifold.ranking._calibration import Calibration
from manifold.ranking._fit import Collection, fit
from manifold.ranking._fitted import Fitted
from manifold.ranking._questions import searched
from manifold.ranking.search import ManifoldSearch

_LISTED = 100  # items of each list
_HELD_OUT, _SHARE, _FEWEST = 256, 8, 240  # items held out at most; one of so many; of fewer, none can be spared
_JUDGED = 10  # queries: of fewer no share is believed


def calibrate(
    search: ManifoldSearch,
    queries: ArrayLike | None = None,
    relevant: Sequence[ArrayLike] | None = None,
    *,
    random_state: int = 0,
) -> ManifoldSearch:
    """Let the rankings of a search say how relevant each item is: `Ranking.relevance`, by similarity and score.

        relevance = 1 / (1 + exp(-(a + b s + c log f))),    b, c >= 0

    Reference: Platt (1999), section 2; guide *judge*, "Numbers that mean the same for every query".

    Parameters
    ----------
    search : ManifoldSearch
        Fitted; it is changed, by one assignment.
    queries : (q, d) array-like, optional
        Judged ones, from outside the collection: 10 at least, 50 are a good number. Relevance is then the share of such
        items that is relevant.
    relevant : q sequences of ids, optional
        What each should find; it may be nothing.
    random_state : int
        Decides which items are held out.

    Returns
    -------
    ManifoldSearch
        The same. What `add`, `remove` and `update` make of it keeps the calibration, `save` too; `with_settings` and
        `fit` do not.

    Raises
    ------
    ValueError, TypeError
        For judgements of another number than queries, of fewer than 10, or by ids that are not there; where the lists
        hold nothing relevant, or nothing else; without judgements, for fewer than 240 items, and for a search that was
        fitted without features or with ``graph=``.

    Notes
    -----
    Without judgements, an eighth of the items, 256 at most, are held out of a second graph and asked: relevance is the
    share of such items that the rules of the graph would join to the query, each among the nearest of the other. That
    says which items are neighbours. It does not say how many are relevant: no data shows whether one item is wanted,
    or all of its kind, and where kinds are large, relevance by edges is far below the share of a list that is relevant.
    Only judgements tell.

    It depends on similarity and score alone, but that it never rises along a list: lists of parts of one collection may
    be merged by it.

    Cost: a fit to the rest, and a search for what was held out; or a search for the judged queries.

    Examples
    --------
    >>> from manifold import ManifoldSearch, datasets
    >>> X, y = datasets.digits()
    >>> search = ManifoldSearch(purpose="topic").fit(X[100:900])
    >>> judged = [np.flatnonzero(y[100:900] == label) for label in y[:50]]
    >>> found = calibrate(search, X[:50], judged).search(X[50:100], k=100)
    >>> right = y[100:900][found.ids] == y[50:100, None]
    >>> round(float(found.relevance.mean()), 2), round(float(right.mean()), 2)
    (0.71, 0.67)
    """
    check_can(search, "fitted_", name="search", a="a fitted ManifoldSearch")
    check_random_state(random_state)
    search._change(lambda fitted: (_calibrated(fitted, queries, relevant, random_state=random_state), None))
    return search


def _calibrated(
    fitted: Fitted, queries: ArrayLike | None, relevant: Sequence[ArrayLike] | None, *, random_state: int
) -> Fitted:
    """Return the state with a calibration; what is prepared serves it, too."""
    if (queries is None) != (relevant is None):
        raise ValueError("queries and relevant go together: give both, or neither to calibrate by held-out items")
    if queries is None or relevant is None:
        found, hits = _held_out(fitted, random_state)
    else:
        found = _asked(fitted, queries)
        hits = _judged(fitted, found, relevant)
    scores = found.scores if found.diffusion is None else found.diffusion
    assert found.similarities is not None  # of queries with features
    event = "edge" if relevant is None else "judged"
    changed = replace(fitted, calibration=Calibration.fitted(found.similarities, scores, hits, event=event))
    made = vars(fitted)
    vars(changed).update({name: made[name] for name in ("ranker", "solver", "entrance") if name in made})
    return changed


def _asked(fitted: Fitted, queries: object) -> Ranking:
    return searched(fitted, queries, _LISTED, allowed=None, avoid=None, slack=None, on_bad="raise")


def _judged(fitted: Fitted, found: Ranking, relevant: Sequence[ArrayLike]) -> Mask:
    """Return which listed items (q, k) are relevant."""
    if len(relevant) != len(found) or len(found) < _JUDGED:
        raise ValueError(
            f"queries must be {_JUDGED} at least, with judgements of each, got {len(found)} and {len(relevant)}"
        )
    try:
        none = np.empty(0, dtype=np.int64)
        wanted = [fitted.ids.present(one, name="relevant") if np.size(one) else none for one in relevant]
    except (TypeError, ValueError) as error:
        raise type(error)(f"relevant names ids of this search: {error}") from None
    return np.array([np.isin(*pair) for pair in zip(fitted.ids.present(found.ids), wanted, strict=True)])


def _held_out(fitted: Fitted, random_state: int) -> tuple[Ranking, Mask]:
    """Ask items that are held out of a graph of the others; return their lists, and what an edge would join to them."""
    points, s = fitted.require_points("it is calibrated by judged queries"), fitted.settings
    if fitted.neighbors is None or not isinstance(points, PointSet):
        raise ValueError("this search was fitted with graph=, or similarities: calibrate it by judged queries")
    n = points.X.shape[0]
    if n < _FEWEST:
        raise ValueError(f"{n} items are too few to hold any out ({_FEWEST} at least): calibrate by judged queries")
    held, stay = _parts(n, random_state)
    asked = points.only(held)
    given = Collection(backend=fitted.backend, home=fitted.home, points=points.only(stay))
    rest = fit(replace(s, tune=False, solver="auto", on_failure="ignore"), given, None)
    assert rest.reach is not None  # of lists
    near, similarities = rest.nearest(asked, min(s.n_neighbors, stay.size))
    joined = is_reciprocal(near, similarities, rest.reach.edge)
    found = _asked(rest, asked.X)
    hits = [np.isin(ids, some[kept]) for ids, some, kept in zip(found.ids, near, joined, strict=True)]
    return found, np.array(hits)


def _parts(n: int, random_state: int) -> tuple[Ints, Ints]:
    """Return items that are held out, and the others, both ascending."""
    order: AnyArray = generator(random_state).permutation(n)
    m = min(_HELD_OUT, n // _SHARE)
    return np.sort(order[:m]), np.sort(order[m:])
