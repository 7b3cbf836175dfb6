"""Figures of every query in, what can be said of the searches out: means, intervals of differences, a line of advice.

gain = mean over queries of (figure of a search - figure of another), its interval by the paired bootstrap
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from manifold._checks import check_number, check_random_state, generator
from manifold._typing import AnyArray, Floats
from manifold.evaluation._lists import BASELINE
from manifold.metrics import is_error

_COUNTS = 1 << 22  # entries of a block of resamples


@dataclass(frozen=True)
class Outcome:
    """What one way to rank reaches: means over the queries.

    Reference: guide *judge*, "What the figures are".

    Examples
    --------
    >>> Outcome({"all": {"mAP": 0.5}}).figures["all"]["mAP"]
    0.5
    """

    figures: Mapping[str, Mapping[str, float]]  # setting of the truth -> figure
    converged: float | None = None  # share of the solves that reached their tolerance; None where nothing is solved
    queries: Mapping[str, Mapping[str, Floats]] = field(default_factory=dict, compare=False, repr=False)  # (q,) each

    @classmethod
    def of(cls, queries: Mapping[str, Mapping[str, Floats]], converged: float | None = None) -> Outcome:
        """Average the figures (q,) of queries over those that have any, NaN where none has.

        >>> Outcome.of({"all": {"mAP": np.array([1.0, np.nan, 0.5])}}).figures
        {'all': {'mAP': 0.75}}
        """
        means: dict[str, dict[str, float]] = {}
        for setting, named in queries.items():
            known = {name: of[~np.isnan(of)] for name, of in named.items()}
            means[setting] = {name: float(of.mean()) if of.size else float("nan") for name, of in known.items()}
        return cls(means, converged, queries)


@dataclass(frozen=True)
class Gain:
    """By how much the mean of one search exceeds that of another, over the same queries.

    Reference: Efron and Tibshirani (1993), chapter 13; guide *judge*.

    Attributes
    ----------
    mean : float
        Of the differences.
    low, high : float
        The interval that holds it with the confidence of the comparison.
    n_queries : int
        Queries that have the figure.

    Examples
    --------
    >>> print(Gain(0.25, 0.2, 0.3, 100))
    +0.250 (+0.200 to +0.300)
    """

    mean: float
    low: float
    high: float
    n_queries: int

    @property
    def verdict(self) -> str:
        """Return "gains" or "loses" where the interval leaves 0 out, else "undecided".

        >>> Gain(0.25, -0.1, 0.6, 4).verdict
        'undecided'
        """
        return "gains" if self.low > 0 else "loses" if self.high < 0 else "undecided"

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


class Comparison(Mapping[str, Outcome]):
    """Searches by name, each with its `Outcome`, and how sure the differences between them are.

    Reference: Efron and Tibshirani (1993), chapter 13; Sakai (2006), for retrieval; guide *judge*.

    Parameters
    ----------
    outcomes : mapping of str to Outcome
        With figures of every query; "neighbours" is what the others are held against.
    how : mapping of str to str, optional
        How each search is made, in code: for the advice.
    names : (q,) sequence, optional
        Of the queries; by default their numbers.
    confidence : float in (0, 1)
        Of the intervals.
    n_resamples : int
        Draws of the bootstrap.
    random_state : int
        Decides the draws.

    Raises
    ------
    ValueError
        For a confidence outside of (0, 1), and for no resamples.

    Notes
    -----
    Queries are drawn with replacement, the same ones for every search, figure and setting; an interval is that of the
    percentiles (Efron and Tibshirani, 1993, chapter 13). It speaks of other queries of the same kind put
    to the same collection, not of another collection. Cost: n_resamples x q of each setting, once.

    Examples
    --------
    >>> values = {"neighbours": np.array([0.0, 0.5, 1.0, 0.5] * 9), "other": np.array([0.5, 0.5, 1.0, 1.0] * 9)}
    >>> found = Comparison({name: Outcome.of({"all": {"mAP": of}}) for name, of in values.items()})
    >>> round(found["other"].figures["all"]["mAP"], 3), found.gain("other").verdict
    (0.75, 'gains')
    """

    def __init__(
        self,
        outcomes: Mapping[str, Outcome],
        *,
        how: Mapping[str, str] | None = None,
        names: Sequence[object] = (),
        confidence: float = 0.95,
        n_resamples: int = 2_000,
        random_state: int = 0,
    ) -> None:
        if not 0 < check_number(confidence, "confidence") < 1:
            raise ValueError(f"confidence must be between 0 and 1, got {confidence!r}: 0.95 is usual")
        if n_resamples < 1:
            raise ValueError(f"n_resamples must be at least 1, got {n_resamples!r}: 2000 are enough for two digits")
        self._outcomes = dict(outcomes)
        self.how = dict(how or {})
        self.names = tuple(names)
        self.confidence = confidence
        check_random_state(random_state)
        self.n_resamples = n_resamples
        self.random_state = random_state
        self._drawn: dict[str, Floats] = {}

    def __getitem__(self, name: str) -> Outcome:
        return self._outcomes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._outcomes)

    def __len__(self) -> int:
        return len(self._outcomes)

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of the ways in which items count."""
        return tuple(next(iter(self._outcomes.values())).figures)

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures, the one that decides first."""
        return tuple(next(iter(next(iter(self._outcomes.values())).figures.values())))

    def gain(self, name: str, *, over: str = BASELINE, figure: str | None = None, setting: str | None = None) -> Gain:
        """Return by how much the mean of a figure exceeds that of another search; of an error, how much it falls short.

        Raises KeyError for a name, a figure or a setting that was not compared.

        >>> one = Outcome.of({"all": {"mAP": np.array([0.5, 0.25])}})
        >>> print(Comparison({"neighbours": one, "same": one}).gain("same"))
        +0.000 (+0.000 to +0.000)
        """
        figure, setting = self._chosen(figure, setting)
        pair = [self._outcomes[which].queries[setting][figure] for which in (name, over)]
        sign = -1 if is_error(figure) else 1
        difference = sign * (pair[0] - pair[1])
        n, means = int(np.count_nonzero(~np.isnan(difference))), self._means(setting)
        at = [self._column(which, figure) for which in (name, over)]
        if not n:
            return Gain(float("nan"), float("nan"), float("nan"), 0)
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(sign * (means[:, at[0]] - means[:, at[1]]), [tail, 1 - tail])
        return Gain(float(np.nanmean(difference)), float(low), float(high), n)

    def advice(
        self, *, among: Iterable[str] | None = None, figure: str | None = None, setting: str | None = None
    ) -> str:
        """Say in one sentence what to use, going by one figure, and what the others lose by it.

        The first search is advised, in their order, that certainly gains over nearest neighbours and does not certainly
        fall short of the best of those that do; where none gains, to leave the lists as they are. Of all searches, or
        of those `among` which it is to be.

        >>> one = Outcome.of({"all": {"mAP": np.array([0.5, 0.25])}})
        >>> Comparison({"neighbours": one}).advice()
        'Nothing was compared with nearest neighbours.'
        """
        figure, setting = self._chosen(figure, setting)
        others = [name for name in among or self._outcomes if name != BASELINE and BASELINE in self._outcomes]
        gains = {name: self.gain(name, figure=figure, setting=setting) for name in others}
        if not gains:
            return "Nothing was compared with nearest neighbours."
        gaining = [name for name, gain in gains.items() if gain.verdict == "gains"]
        best = max(gaining or gains, key=lambda name: gains[name].mean)
        where = figure if len(self.settings) == 1 else f"{figure} ({setting})"
        sure = f"{self.confidence:.0%} interval {{0.low:+.3f}} to {{0.high:+.3f}}"
        if not gaining:
            kind = "is certain to gain" if gains[best].verdict == "undecided" else "gains"
            text = (
                f"Leave the lists as they are: nothing {kind} in {where} over nearest neighbours; the best, {best}, "
                f"changes it by {gains[best].mean:+.3f} ({sure.format(gains[best])}, {gains[best].n_queries} queries)"
            )
            won = self._changed(best, "gains", but=figure, setting=setting)
            return f"{text}, and {' and '.join(won)}." if won else f"{text}."
        chosen = next(name for name in gaining if self._equals(name, best, figure=figure, setting=setting))
        value, plain = (self._outcomes[name].figures[setting][figure] for name in (chosen, BASELINE))
        text = (
            f"Use {self.how.get(chosen, chosen)}: {where} {value:.3f} against {plain:.3f} of nearest neighbours "
            f"({sure.format(gains[chosen])})"
        )
        lost = self._changed(chosen, "loses", but=figure, setting=setting)
        return f"{text}; it costs {' and '.join(lost)}." if lost else f"{text}."

    def per_query(self) -> dict[str, list[object]]:
        """Return a table as columns, a row a query and setting: "query", "setting", and "SEARCH FIGURE" of each.

        `pandas.DataFrame` takes it as it is. NaN stands where a query has nothing relevant.

        >>> one = Outcome.of({"all": {"mAP": np.array([0.5, 0.25])}})
        >>> Comparison({"neighbours": one}).per_query()
        {'query': [0, 1], 'setting': ['all', 'all'], 'neighbours mAP': [0.5, 0.25]}
        """
        columns: dict[str, list[object]] = {"query": [], "setting": []}
        for setting in self.settings:
            values = {
                f"{name} {figure}": of.queries[setting][figure].tolist()
                for name, of in self._outcomes.items()
                for figure in self.figures
            }
            q = len(next(iter(values.values())))
            columns["query"] += self.names or range(q)
            columns["setting"] += [setting] * q
            for name, of in values.items():
                columns.setdefault(name, []).extend(of)
        return columns

    def __repr__(self) -> str:
        width = max(map(len, (*self._outcomes, *self.settings))) + 2
        cell = max(map(len, self.figures)) + 4
        lines = []
        for setting in self.settings:
            lines.append(f"{setting:<{width}}" + "".join(f"{figure:>{cell}}  " for figure in self.figures).rstrip())
            for name, of in self._outcomes.items():
                cells = (f"{of.figures[setting][f]:>{cell}.3f} {self._mark(name, f, setting)}" for f in self.figures)
                lines.append(f"{name:<{width}}" + "".join(cells).rstrip())
        lines.append(f"+ gains, - loses against {BASELINE}: {self.confidence:.0%} intervals of paired differences")
        return "\n".join([*lines, self.advice()])

    def _mark(self, name: str, figure: str, setting: str) -> str:
        if name == BASELINE or BASELINE not in self._outcomes:
            return " "
        return {"gains": "+", "loses": "-"}.get(self.gain(name, figure=figure, setting=setting).verdict, " ")

    def _chosen(self, figure: str | None, setting: str | None) -> tuple[str, str]:
        return self.figures[0] if figure is None else figure, self.settings[0] if setting is None else setting

    def _equals(self, name: str, best: str, *, figure: str, setting: str) -> bool:
        return name == best or self.gain(name, over=best, figure=figure, setting=setting).verdict != "loses"

    def _changed(self, name: str, verdict: str, *, but: str, setting: str) -> list[str]:
        """Return the other figures that certainly gain, or lose, in words."""
        gains = {figure: self.gain(name, figure=figure, setting=setting) for figure in self.figures if figure != but}
        return [f"{figure} by {gain.mean:+.3f}" for figure, gain in gains.items() if gain.verdict == verdict]

    def _column(self, name: str, figure: str) -> int:
        return list(self._outcomes).index(name) * len(self.figures) + self.figures.index(figure)

    def _means(self, setting: str) -> Floats:
        """Return the means (n_resamples, searches x figures) of the queries drawn, made when first asked for."""
        if setting not in self._drawn:
            values = np.array(
                [of.queries[setting][figure] for of in self._outcomes.values() for figure in self.figures]
            ).T
            self._drawn[setting] = resampled_means(values, self.n_resamples, random_state=self.random_state)
        return self._drawn[setting]


def resampled_means(values: AnyArray, n_resamples: int, *, random_state: int) -> Floats:
    """Return the column means (n_resamples, m) of rows (q, m) that are drawn with replacement, NaN left out.

    >>> resampled_means(np.ones((5, 1)), 3, random_state=1).ravel().tolist()
    [1.0, 1.0, 1.0]
    """
    rows = np.asarray(values, dtype=np.float64)
    rows = rows[~np.isnan(rows).all(axis=1)]
    q = len(rows)
    means = np.full((n_resamples, rows.shape[1]), np.nan)
    if not q:
        return means
    known = ~np.isnan(rows)
    rng = generator(random_state)
    size = max(1, _COUNTS // q)
    for start in range(0, n_resamples, size):
        n = min(size, n_resamples - start)
        # how often each query was drawn: one product serves all figures of all searches
        drawn = rng.integers(q, size=(n, q)) + q * np.arange(n)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=n * q).reshape(n, q).astype(np.float64)
        with np.errstate(invalid="ignore"):
            means[start : start + n] = counts @ np.where(known, rows, 0) / (counts @ known)
    return means
