"""What a change in the explorer takes, until its list is there and until its picture is drawn.

20,000 images of Fashion-MNIST, the default search; 10 queries, items of the collection. A change of filter, alpha or
degree exponent finds the basis of its seeds; another query or number of seeds grows one. `ranking_ms` is the new list,
from the nearest neighbours of the query on; `shown_ms` has the list of nearest neighbours, the words and the encoded
picture besides: all but the way to the browser.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

import manifold as mf
from bench._report import Row
from manifold.errors import DatasetNotFoundError
from manifold.explorer import CHOICES, Explorer, Settings

_FIRST = Settings()
# what is changed -> the settings of a query after the change, and whether it has been looked at before
CHANGES: dict[str, tuple[Settings, bool]] = {
    "alpha": (replace(_FIRST, filter=mf.Diffusion(0.99)), True),
    "filter: RegularizedDiffusion": (replace(_FIRST, filter=mf.RegularizedDiffusion(0.99)), True),
    "filter: Heat": (replace(_FIRST, filter=mf.Heat(50.0)), True),
    "degree exponent": (replace(_FIRST, degree_exponent=0.5), True),
    "number of seeds": (replace(_FIRST, n_seeds=20), True),
    "query": (_FIRST, False),
}
CHANGES |= {f"alpha, by {name}": (Settings(filter=mf.Diffusion(0.99), solver=name), True) for name in CHOICES[1:]}


def run(*, quick: bool) -> list[Row]:
    try:
        data = mf.datasets.load("fashion_mnist")
    except DatasetNotFoundError:
        return []
    n, n_queries = (2_000, 2) if quick else (20_000, 10)
    X, labels = data.features[:n], data.labels[:n]
    explorer = Explorer(mf.ManifoldSearch().fit(X), X, items=X.reshape(-1, 28, 28), labels=labels)
    queries = [*range(0, n, n // n_queries)]
    return [
        {"n": n, "d": X.shape[1], "change": name, **_measure(explorer, queries, after=after, seen=seen)}
        for name, (after, seen) in CHANGES.items()
    ]


def _measure(explorer: Explorer, queries: list[int], *, after: Settings, seen: bool) -> Row:
    explorer.png(explorer.exploration.answer(replace(after, query=1)))  # once: eigenvectors, fonts
    ranked, shown = [], []
    for query in queries:
        if seen:
            explorer.exploration.answer(replace(_FIRST, query=query, solver=after.solver))
        start = time.perf_counter()
        explorer.settings = replace(after, query=query)
        answer = explorer.answer()
        explorer.explain(answer)
        explorer.png(answer)
        shown.append(time.perf_counter() - start)
        ranked.append(answer.seconds)
    times = {"ranking_ms": ranked, "shown_ms": shown}
    return {f"{name}_p{p}": 1e3 * float(np.percentile(taken, p)) for name, taken in times.items() for p in (50, 95)}
