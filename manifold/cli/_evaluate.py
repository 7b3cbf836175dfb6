"""`manifold evaluate`: nearest neighbours against diffusion on real sets, each by its own protocol.

Names of sets in, one row a figure out: its value for nearest neighbours and for three settings of diffusion. `compare`
does the work, for any collection and ground truth.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from manifold import datasets
from manifold._progress import Progress
from manifold._typing import Facts
from manifold.evaluation import Outcome, compare

COLUMNS = ("neighbours", "published", "hand-set", "default")


@dataclass(frozen=True)
class Case:
    """One protocol of one set: the figures to give, and a setting known to be good there."""

    name: str
    protocol: str
    figures: tuple[str, ...]
    hand_set: Facts | None = None


_GROCERY = {"n_neighbors": 10, "bridge": 0, "alpha": 0.9, "n_seeds": 10}
CASES = (
    Case(
        "cranfield",
        "queries",
        ("mAP", "binary nDCG@10", "nDCG@10", "recall@100"),
        {"n_neighbors": 10, "edges": "union", "alpha": 0.5, "n_seeds": 10},
    ),
    Case("grocery", "iconic", ("mAP",), _GROCERY),
    Case("grocery", "iconic-test", ("mAP",), _GROCERY),
    Case("grocery", "test", ("1-NN accuracy",), _GROCERY),
    Case(
        "coil20",
        "leave-one-out",
        ("mAP", "bull's-eye@72", "1-NN accuracy"),
        {"metric": "euclidean", "n_neighbors": 5, "edges": "union", "alpha": 0.99},
    ),
    Case(
        "orl",
        "leave-one-out",
        ("bull's-eye@15", "mAP"),
        {"metric": "euclidean", "n_neighbors": 5, "edges": "union", "alpha": 0.9},
    ),
    Case("usps", "test", ("1-NN error",)),
    Case("usps", "leave-one-out", ("mAP",)),
)
NAMES = tuple(dict.fromkeys(case.name for case in CASES))


def evaluate(names: Sequence[str], progress: Callable[[str], Progress | None]) -> tuple[Facts, str]:
    """Return the figures of the sets as one object and as a table; `progress` makes a callback from a label."""
    unknown = [name for name in names if name not in NAMES]
    if unknown or not names:
        raise ValueError(
            f"NAME must be of {', '.join(NAMES)}, got {', '.join(unknown) or 'none'}: or pass --all, or --protocol to "
            "evaluate features of your own"
        )
    rows = []
    seconds: dict[str, float] = {}
    for case in (case for name in dict.fromkeys(names) for case in CASES if case.name == name):
        start = time.perf_counter()
        rows += _rows(case, progress(f"{case.name} {case.protocol}"))
        seconds[case.name] = seconds.get(case.name, 0.0) + time.perf_counter() - start
    facts = {"rows": rows, "settings": {c: _NOTES[c] for c in COLUMNS}, "seconds": seconds}
    return facts, _table(rows, seconds)


def _rows(case: Case, progress: Progress | None) -> list[Facts]:
    """Return one row a figure of a case, and one that says which share of the columns converged."""
    data = datasets.load(case.name, protocol=case.protocol)
    columns = {"published": {"preset": "paper"}, "hand-set": case.hand_set, "default": {"metric": data.metric}}
    chosen = {column: settings for column, settings in columns.items() if settings is not None}
    outcomes = compare(
        data.features,
        data.truth,
        chosen,
        queries=data.queries,
        metric=data.metric,
        figures=case.figures,
        progress=progress,
    )
    return rows_of({"set": case.name, "protocol": case.protocol}, outcomes)


def rows_of(about: Facts, outcomes: Mapping[str, Outcome]) -> list[Facts]:
    """Return one row a figure, and one that says which share of the solves converged.

    >>> rows = rows_of({"set": "orl"}, {"neighbours": Outcome({"all": {"mAP": 0.5}})})
    >>> [(row["set"], row["figure"], row["neighbours"], row["default"]) for row in rows]
    [('orl', 'mAP', 0.5, None), ('orl', 'converged', None, None)]
    """
    figures = next(iter(outcomes.values())).figures["all"]
    rows: dict[str, Facts] = {f: {c: o.figures["all"][f] for c, o in outcomes.items()} for f in figures}
    rows["converged"] = {c: o.converged for c, o in outcomes.items() if o.converged is not None}
    return [{**about, "figure": figure, **dict.fromkeys(COLUMNS), **row} for figure, row in rows.items()]


_NOTES = {
    "neighbours": "nearest neighbours by the metric of the set",
    "published": "preset='paper': k=50 mutual, cosine^3, alpha=0.99, 10 seeds, 20 CG iterations",
    "hand-set": "a good setting for each set: "
    + "; ".join(
        f"{name} " + " ".join(f"{key}={value}" for key, value in found.items())
        for name, found in {case.name: case.hand_set for case in CASES if case.hand_set}.items()
    ),
    "default": "ManifoldSearch() with the metric of the set",
}


def _table(rows: list[Facts], seconds: dict[str, float]) -> str:
    lines = [f"{'set':<10} {'protocol':<14} {'figure':<15}" + "".join(f"{column:>12}" for column in COLUMNS)]
    for row in rows:
        cells = ("-" if row[column] is None else f"{row[column]:.4f}" for column in COLUMNS)
        lines.append(f"{row['set']:<10} {row['protocol']:<14} {row['figure']:<15}" + "".join(f"{c:>12}" for c in cells))
    notes = [f"{column:<11} {_NOTES[column]}" for column in COLUMNS]
    took = "seconds     " + ", ".join(f"{name} {value:.0f}" for name, value in seconds.items())
    return "\n".join([*lines, "", *notes, took])
