"""Constants of the default, and of the purpose "item", chosen on all sets but one and held against plain on that one.

Of the candidates that fall short of .99 of plain least on the other sets, in any of three figures, the one is chosen
that is best in the sets' own figures. Lists are cut at 1,000 items and completed by plain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import numpy as np

import manifold as mf
from bench._report import Row
from bench.grid import nearest
from bench.quality import FIRST, LAST, completed
from bench.sets import Collection, collections
from manifold.neighbors import find_neighbors
from manifold.ranking import Adaptation

Ratios: TypeAlias = Mapping[str, Mapping[str, float]]  # set -> figure -> share of plain
_LEAST, _CUT, _WIDTH = 0.99, 1_000, 30
CANDIDATES: dict[str, dict[str, Adaptation]] = {
    "default": {
        f"fusion={c:g} exchanged={m}": Adaptation(fusion=c, lead=5, reciprocal=False, exchanged=m)
        for c, m in ((4.0, 10), (2.0, 10), (8.0, 10), (4.0, 5), (4.0, 20))
    },
    "item": {
        f"fusion={c:g} lead={first}": Adaptation(fusion=c, lead=first, reciprocal=False, exchanged=5)
        for c, first in ((6.0, 3), (3.0, 3), (12.0, 3), (6.0, 1))
    },
}


def run(*, quick: bool) -> list[Row]:
    tried: dict[str, dict[str, dict[str, dict[str, float]]]] = {
        purpose: {name: {} for name in of} for purpose, of in CANDIDATES.items()
    }
    for data in collections(quick=quick):
        for purpose, name, share in shares(data):
            tried[purpose][name][data.name] = share
        print(f"{data.name} done", flush=True)
    return [row for purpose, of in tried.items() for row in left_out(purpose, of)]


def shares(data: Collection) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Yield what each candidate reaches of plain in the set's own figure, at the first place and among a hundred."""
    near, _ = nearest(data)
    neighbors = find_neighbors(data.X, min(_WIDTH, len(data.X) - 1))
    figures = {"own": data.figure, FIRST: FIRST, LAST: LAST}
    plain = {what: data.quality(near, figure) for what, figure in figures.items()}
    for purpose, candidates in CANDIDATES.items():
        if purpose != "item" or data.purpose == "item":
            for name, adaptation in candidates.items():
                search = mf.ManifoldSearch(purpose=None if purpose == "default" else purpose, adaptation=adaptation)
                found = search.fit(data.X, neighbors=neighbors).search(data.Q, k=min(_CUT, len(data.X)))
                ids = completed(found.ids, near)
                yield purpose, name, {w: data.quality(ids, f) / plain[w] for w, f in figures.items() if plain[w]}


def left_out(purpose: str, tried: Mapping[str, Ratios]) -> list[Row]:
    """Return, for each set, the candidate that the others choose, and its shares of plain there.

    >>> tried = {"near": {"a": {"own": 1.0}, "b": {"own": 1.0}}, "far": {"a": {"own": 1.3}, "b": {"own": 0.5}}}
    >>> [(row["left out"], row["chosen"], row["own"]) for row in left_out("default", tried)]
    [('a', 'near', 1.0), ('b', 'far', 0.5)]
    """
    rows = []
    for name in next(iter(tried.values())):
        others = {one: {of: shares for of, shares in ratios.items() if of != name} for one, ratios in tried.items()}
        chosen = max(tried, key=lambda one: _worth(others[one]))
        rows.append({"purpose": purpose, "left out": name, "chosen": chosen, **tried[chosen][name]})
    return rows


def _worth(ratios: Ratios) -> tuple[float, float]:
    """Order candidates: first by how far they fall below the mark at all, then by the mean of the sets' own figures."""
    short = sum(max(0.0, _LEAST - share) for of in ratios.values() for share in of.values())
    return -round(short, 6), float(np.mean([of["own"] for of in ratios.values()] or [0.0]))
