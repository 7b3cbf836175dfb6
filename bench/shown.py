"""What fifty judged queries choose: how near it comes to the best for the others, and when nothing is changed.

Of each set, 50 queries drawn at random are shown (20 fewer than there are, where those are few), the others kept to
judge by average precision, 20 times; `tune_judged` chooses among its candidates. "of best" is the mean of what is
chosen over the best candidate for the others, "within" the share of draws in which that is .99, "lost" the share in
which it is below .99 of what would have been kept. The last rows count the sets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from bench._report import Row
from bench.grid import best_of_grid, nearest
from bench.sets import Collection, collections
from manifold.evaluation import JudgedTuning, tune_judged

_SHOWN, _REST, _DRAWS, _NEAR = 50, 20, 20, 0.99


def run(*, quick: bool) -> list[Row]:
    rows: list[Row] = []
    for data in collections(quick=quick):
        relevant = [np.flatnonzero(row) for row in data.relevant]
        near, similarities = nearest(data)
        grid = None
        if data.purpose == "topic" and not quick:  # the grid has a quick run of its own, in `quality`
            grid, _ = best_of_grid(data, near, similarities=similarities)
        for purpose in (None, data.purpose):
            judged = tune_judged(data.X, data.Q, relevant, purpose=purpose)
            rows.append(shown(data, judged, purpose=purpose, grid=grid))
            print(rows[-1], flush=True)
    return [*rows, *counted(rows)]


def shown(data: Collection, judged: JudgedTuning, *, purpose: str | None, grid: float | None) -> Row:
    """Return how some judged queries serve the others of one set."""
    q, found, kept = len(data.Q), [], []
    chosen: Counter[str] = Counter()
    reached = []
    for draw in range(_DRAWS):
        order = np.random.default_rng([draw, q]).permutation(q)
        seen, rest = np.split(order, [min(_SHOWN, q - _REST)])
        at = next(i for i, row in enumerate(judged.of(seen).table) if row["chosen"])
        values = judged.precisions[:, rest].mean(axis=1)
        found.append(values[at] / values.max())
        kept.append(values[at] / values[0])
        reached.append(judged.table[at]["AP"])
        chosen[str(judged.table[at]["parameters"])] += 1
    row: Row = {"set": data.name, "purpose": data.purpose, "told": purpose is not None, "queries": q}
    row |= {"of best": float(np.mean(found)), "median": float(np.median(found))}
    row |= {"within": float(np.mean(np.array(found) >= _NEAR)), "lost": float(np.mean(np.array(kept) < _NEAR))}
    row |= {"of grid": None if grid is None else float(np.mean(reached)) / grid}
    return row | {"chosen": " ".join(f"{n}x{given}" for given, n in chosen.most_common())}


def counted(rows: Sequence[Row]) -> list[Row]:
    """Return, told the purpose and not, in how many sets the choice is near the best, and how often it lost.

    >>> row = {"set": "a", "told": True, "median": 1.0, "of best": 0.98, "within": 0.9, "lost": 0.0, "of grid": 0.97}
    >>> counted([row])[0]["near in the median draw"], counted([row])[0]["near on average"]
    ('1 of 1', '0 of 1')
    """
    found: list[Row] = []
    for told in (False, True):
        some = [row for row in rows if row["told"] == told]
        if some:
            graded = [row["of grid"] for row in some if row["of grid"] is not None]
            row: Row = {"set": "all", "told": told}
            row |= {
                f"near {how}": f"{sum(one[name] >= _NEAR for one in some)} of {len(some)}"
                for how, name in (("in the median draw", "median"), ("on average", "of best"))
            }
            row |= {name: float(np.mean([one[name] for one in some])) for name in ("within", "lost")}
            found.append(row | {".97 of the grid": f"{sum(one >= 0.97 for one in graded)} of {len(graded)}"})
    return found
