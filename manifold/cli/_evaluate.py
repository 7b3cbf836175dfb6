"""`manifold evaluate`: nearest neighbours against diffusion on real sets, each by its own protocol.

Names of sets in, one row a figure out: its value for nearest neighbours and for searches along the manifold, and a line
of advice a protocol. `compare` does the work, for any collection and ground truth.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from manifold import datasets
from manifold._progress import Progress
from manifold._typing import Facts
from manifold.cli._files import check_output
from manifold.cli._written import write_queries
from manifold.evaluation import BASELINE, Comparison, as_code, compare, standard

COLUMNS = ("neighbours", "published", "hand-set", *standard())


@dataclass(frozen=True)
class Case:
    """One protocol of one set: the figures to give, and a setting known to be good there."""

    name: str
    protocol: str
    figures: tuple[str, ...]
    hand_set: Facts | None = None


_GROCERY = {"preset": "plain-diffusion", "n_neighbors": 10, "bridge": 0, "alpha": 0.9, "n_seeds": 10}
CASES = (
    Case(
        "cranfield",
        "queries",
        ("mAP", "binary nDCG@10", "nDCG@10", "recall@100"),
        {"preset": "plain-diffusion", "n_neighbors": 10, "edges": "union", "alpha": 0.5, "n_seeds": 10},
    ),
    Case("grocery", "iconic", ("mAP",), _GROCERY),
    Case("grocery", "iconic-test", ("mAP",), _GROCERY),
    Case("grocery", "test", ("1-NN accuracy",), _GROCERY),
    Case(
        "coil20",
        "leave-one-out",
        ("mAP", "bull's-eye@72", "1-NN accuracy"),
        {"preset": "plain-diffusion", "metric": "euclidean", "n_neighbors": 5, "edges": "union", "alpha": 0.99},
    ),
    Case(
        "orl",
        "leave-one-out",
        ("bull's-eye@15", "mAP"),
        {"preset": "plain-diffusion", "metric": "euclidean", "n_neighbors": 5, "edges": "union", "alpha": 0.9},
    ),
    Case("usps", "test", ("1-NN error",)),
    Case("usps", "leave-one-out", ("mAP",)),
)
NAMES = tuple(dict.fromkeys(case.name for case in CASES))


def evaluate(
    names: Sequence[str], progress: Callable[[str], Progress | None], *, per_query: Path | None = None
) -> tuple[Facts, str]:
    """Return the figures of the sets as one object and as a table; `progress` makes a callback from a label."""
    unknown = [name for name in names if name not in NAMES]
    if unknown or not names:
        raise ValueError(
            f"NAME must be of {', '.join(NAMES)}, got {', '.join(unknown) or 'none'}: or pass --all, or --protocol to "
            "evaluate features of your own"
        )
    if per_query is not None:
        check_output(per_query, suffixes=(".csv",), option="--per-query")
    rows: list[Facts] = []
    tables: list[Mapping[str, Sequence[object]]] = []
    advice: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for case in (case for name in dict.fromkeys(names) for case in CASES if case.name == name):
        start = time.perf_counter()
        found = _compared(case, progress(f"{case.name} {case.protocol}"))
        about = {"set": case.name, "protocol": case.protocol}
        rows += rows_of(about, found)
        table = found.per_query()
        tables.append({**{name: [value] * len(table["query"]) for name, value in about.items()}, **table})
        advice[f"{case.name} {case.protocol}"] = found.advice(among=standard())  # what was set by hand knows the set
        seconds[case.name] = seconds.get(case.name, 0.0) + time.perf_counter() - start
    if per_query is not None:
        write_queries(per_query, tables)
    facts = {"rows": rows, "settings": {c: _NOTES[c] for c in COLUMNS}, "advice": advice, "seconds": seconds}
    return facts, _table(facts)


def _compared(case: Case, progress: Progress | None) -> Comparison:
    data = datasets.load(case.name, protocol=case.protocol)
    columns = {"published": {"preset": "paper"}, "hand-set": case.hand_set}
    chosen = {column: settings for column, settings in columns.items() if settings is not None}
    return compare(
        data.features,
        data.truth,
        {**chosen, **standard(data.metric)},
        queries=data.queries,
        metric=data.metric,
        figures=case.figures,
        progress=progress,
    )


def rows_of(about: Facts, found: Comparison) -> list[Facts]:
    """Return one row a figure, with the gains over nearest neighbours, and one of the share of solves that converged.

    >>> import numpy as np
    >>> from manifold.evaluation import Outcome
    >>> one = Outcome.of({"all": {"mAP": np.array([0.5, 0.5])}})
    >>> rows = rows_of({"set": "orl"}, Comparison({"neighbours": one, "default": one}))
    >>> [(row["set"], row["figure"], row["default"], row["gains"]) for row in rows]
    [('orl', 'mAP', 0.5, {'default': [0.0, 0.0, 0.0]}), ('orl', 'converged', None, {})]
    """
    rows: dict[str, Facts] = {}
    for figure in found.figures:
        gains = {name: found.gain(name, figure=figure) for name in found if name != BASELINE}
        values = {name: outcome.figures["all"][figure] for name, outcome in found.items()}
        rows[figure] = {**values, "gains": {name: [gain.mean, gain.low, gain.high] for name, gain in gains.items()}}
    rows["converged"] = {c: o.converged for c, o in found.items() if o.converged is not None} | {"gains": {}}
    return [{**about, "figure": figure, **dict.fromkeys(COLUMNS), **row} for figure, row in rows.items()]


_NOTES = {
    "neighbours": "nearest neighbours by the metric of the set",
    "published": "preset='paper': k=50 mutual, cosine^3, alpha=0.99, 10 seeds, 20 CG iterations",
    "hand-set": "a good setting for each set: "
    + "; ".join(
        f"{name} " + " ".join(f"{key}={value}" for key, value in found.items())
        for name, found in {case.name: case.hand_set for case in CASES if case.hand_set}.items()
    ),
    **{name: f"{as_code(search)}, with the metric of the set" for name, search in standard().items()},
}


def _table(facts: Facts) -> str:
    lines = [f"{'set':<10} {'protocol':<14} {'figure':<15}" + "".join(f"{column:>12}" for column in COLUMNS)]
    for row in facts["rows"]:
        cells = (_cell(row[column], row["gains"].get(column, (0.0, 0.0, 0.0))) for column in COLUMNS)
        lines.append(f"{row['set']:<10} {row['protocol']:<14} {row['figure']:<15}" + "".join(cells).rstrip())
    notes = [f"{column:<11} {_NOTES[column]}" for column in COLUMNS]
    notes.append("+ gains, - loses against neighbours, by a 95% interval of paired differences over the queries")
    took = "seconds     " + ", ".join(f"{name} {value:.0f}" for name, value in facts["seconds"].items())
    return "\n".join([*lines, "", *(f"{of}: {text}" for of, text in facts["advice"].items()), "", *notes, took])


def _cell(value: float | None, gain: Sequence[float]) -> str:
    if value is None:
        return f"{'-':>11} "
    return f"{value:>11.4f}" + ("+" if gain[1] > 0 else "-" if gain[2] < 0 else " ")
