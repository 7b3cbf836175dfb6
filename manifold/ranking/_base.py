"""What a search answers: ids best first, their scores, and how sure the list is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from manifold._typing import AnyArray, Floats, Ints, Mask
from manifold.ranking._collection import is_missing
from manifold.solvers import Solution

if TYPE_CHECKING:
    import pandas

_SHOWN = 10  # rows of a table in a notebook


@dataclass(frozen=True, eq=False, repr=False)
class Ranking:
    """The ranked answers to q queries; unpacks as ``ids, scores``, and `len` is q.

    Reference: guide *certificates*, "Slack".

    Attributes
    ----------
    ids : (q, k), or (k,) for one 1-D query
        External ids, best first; -1 (or "", or None among UUIDs) pads a row that has fewer.
    scores : (q, k) float
        Never rising along a list. Diffusion scores; 0 for items the diffusion does not reach, which follow in the order
        of the baseline. Where an `Adaptation` chose the order, the fused scores that it chose by.
    slack : (q,) float
        It is proved that no item left out has an exact score above (1 + slack) times the exact score of any item
        returned; ``inf`` where nothing is proved, or where nothing is to be proved: a query without a seed (zero, or
        of no positive similarity to any item) gives every item the score 0.
    certified : (q,) bool
        ``slack == 0``: the returned *set* is that of the exact scores.
    diagnostics : Solution
        Status, iterations, residual and error bound of each query's solve (its scores are left out).
    kept : (q,) int, optional
        How many of the first places are those of the nearest items, left alone by an `Adaptation`.
    diffusion : (q, k) float, optional
        The scores of the diffusion itself, where an `Adaptation` fused them; NaN for an item that is listed for its
        similarity, and is not among the best by diffusion.
    pool_slack : (q,) float, optional
        The slack of the best 100 or 200 by diffusion, of which an `Adaptation` listed fewer, or others beside; of what
        is listed nothing is proved then.
    similarities : (q, k) float, optional
        The plain similarity of each item to its query, of the metric of the search; -inf where a row is padded. It
        does not depend on the collection: lists of several collections, with the default settings of each, may be
        merged by it, and then begin with the nearest items of all. Scores are made within one graph, and no two
        searches have a scale in common.
    n_unknown : (q,) int, optional
        How many of the last places are ids that the collection does not hold, put there by
        ``rerank(unknown="behind")``; the slack speaks of the others.

    Examples
    --------
    >>> from manifold import ManifoldSearch
    >>> search = ManifoldSearch(n_neighbors=1, alpha=0.5).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], ids=["a", "b", "c"])
    >>> search.search([1.0, 0.0], k=2).ids.tolist()
    ['a', 'b']
    """

    ids: AnyArray
    scores: Floats
    slack: Floats
    diagnostics: Solution
    kept: Ints | None = None
    n_unknown: Ints | None = None
    diffusion: Floats | None = None
    pool_slack: Floats | None = None
    similarities: AnyArray | None = None
    _relevance: AnyArray | None = None

    @property
    def relevance(self) -> AnyArray:
        """How likely each item is what was asked for, (q, k) in [0, 1], never rising: see `manifold.ranking.calibrate`.

        Raises ValueError where nothing was calibrated: the search, or another question than `search` was asked.

        >>> nothing = Solution(np.empty(0), (), np.empty(0, int), residual=np.empty(0), error_bound=np.empty(0))
        >>> Ranking(np.array([[4]]), np.ones((1, 1)), np.zeros(1), nothing, _relevance=np.array([[0.5]])).relevance
        array([[0.5]])
        """
        if self._relevance is None:
            raise ValueError(
                "this ranking has no relevance, as nothing was calibrated for it: call ranking.calibrate(search) once, "
                "and ask search.search(Q)"
            )
        return self._relevance

    @property
    def certified(self) -> Mask:
        """Whether each returned set is proved to be that of the exact scores.

        >>> nothing = Solution(np.empty(0), (), np.empty(0, int), residual=np.empty(0), error_bound=np.empty(0))
        >>> Ranking(np.array([[4], [2]]), np.ones((2, 1)), np.array([0.0, 0.1]), nothing).certified.tolist()
        [True, False]
        """
        return np.equal(self.slack, 0)

    @property
    def tied(self) -> Mask:
        """Whether the cut goes through scores that are equal to nine digits: no set is better than the one returned.

        >>> nothing = Solution(np.empty(0), (), np.empty(0, int), residual=np.empty(0), error_bound=np.empty(0))
        >>> Ranking(np.array([[4], [2]]), np.ones((2, 1)), np.array([1e-12, 0.1]), nothing).tied.tolist()
        [True, False]
        """
        return np.logical_and(self.slack > 0, self.slack < 1e-9)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a long table: query, rank (1 is best), id, score, slack, certified, and relevance where there is one.

        What pads a row is left out.

        Raises
        ------
        ImportError
            Where pandas is not installed.

        Examples
        --------
        >>> from manifold import ManifoldSearch
        >>> ranking = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).similar([0, 1], k=2)
        >>> ranking.to_pandas()["rank"].tolist(), ranking.to_pandas()["id"].tolist()
        ([1, 2, 1, 2], [1, 2, 0, 2])
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install pandas, or use .ids and .scores") from error
        queries, places, ids, scores = self._listed()
        columns = {
            "query": queries,
            "rank": places + 1,
            "id": ids,
            "score": scores,
            "slack": self.slack[queries],
            "certified": self.certified[queries],
        }
        if self._relevance is not None:
            columns["relevance"] = np.atleast_2d(self._relevance)[queries, places]
        return pandas.DataFrame(columns)

    def _listed(self) -> tuple[Ints, Ints, AnyArray, Floats]:
        """Return query, place, id and score of all that is no padding."""
        ids, scores = np.atleast_2d(self.ids), np.atleast_2d(self.scores)
        queries, places = np.nonzero(~is_missing(ids))
        return queries, places, ids[queries, places], scores[queries, places]

    def __len__(self) -> int:
        return int(self.slack.size)

    def __bool__(self) -> bool:
        """Return True: an answer to no queries is still an answer."""
        return True

    def __iter__(self) -> Iterator[AnyArray]:
        return iter((self.ids, self.scores))

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.ids.shape))
        sure = f"{self.certified.sum()} of {len(self)} certified"
        finite = self.slack[np.isfinite(self.slack)]
        if finite.max(initial=0) > 0:
            sure += f", slack at most {finite.max():.2g}"
        if finite.size < len(self):
            sure += f", {len(self) - finite.size} unproved"
        return f"Ranking: {shape} ids, {sure}"

    def _repr_html_(self) -> str:
        """Return the first places of the first queries as a table, for notebooks."""
        rows = [
            f"<tr><td>{q}</td><td>{place + 1}</td><td>{escape(str(name))}</td><td>{score:.4g}</td></tr>"
            for q, place, name, score in zip(*(part[:_SHOWN].tolist() for part in self._listed()), strict=True)
        ]
        head = "<tr><th>query</th><th>rank</th><th>id</th><th>score</th></tr>"
        return f"<table><caption>{escape(repr(self))}</caption>{head}{''.join(rows)}</table>"


def proved_slack(last: Floats, outside: Floats) -> Floats:
    """Return the slack (q,) from lower bounds on the returned scores and upper bounds on those left out.

    >>> proved_slack(np.array([2.0, 2.0, 0.0]), np.array([1.0, 3.0, 1.0])).tolist()
    [0.0, 0.5, inf]
    """
    ratio = np.divide(outside, last, out=np.full(last.shape, np.inf), where=last > 0)
    return np.where(outside <= last, 0.0, ratio - 1)
