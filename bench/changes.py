"""A thousand changes of one collection: items join, change and leave, and from time to time all is made anew beside it.

Run by hand, ``python -m bench.changes --n 50_000 --steps 1_000``. Curved surfaces of `bench pipeline` in 32 dimensions,
neighbours by an exact search. `unequal` counts checks in which the graph (W, degrees, components) or a certified list
is not, to the bit or but for ties, that of a fit to what is there; `undecided` lists without a certificate.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import manifold as mf
from bench._report import Row, record, table
from bench.pipeline import collection

_DIMENSIONS, _QUERIES, _MOST = 32, 20, 20
SETTINGS: dict[str, Any] = {"preset": "plain-diffusion", "alpha": 0.9, "solver": "local", "method": "exact"}


def run(n: int, steps: int, *, checks: int) -> list[Row]:
    rng = np.random.default_rng(19)
    pool = np.ascontiguousarray(collection(2 * n)[0][:, :_DIMENSIONS], dtype=np.float32)
    queries = pool[rng.integers(len(pool), size=_QUERIES)] + rng.normal(scale=0.01, size=(_QUERIES, _DIMENSIONS))
    held = rng.permutation(len(pool))[:n]
    search = mf.ManifoldSearch(**SETTINGS).fit(pool[held])
    of = dict(zip(search.ids_.tolist(), held.tolist(), strict=True))  # id -> row of the pool
    rows, taken, unequal, undecided = [], [], 0, 0
    for step in range(1, steps + 1):
        start = time.process_time()
        _change(search, of, pool, rng)
        taken.append(time.process_time() - start)
        if step % (steps // checks) == 0:
            same, decided = _check(search, pool[[of[i] for i in search.ids_.tolist()]], queries)
            unequal, undecided = unequal + (not same), undecided + _QUERIES - decided
            p50, p95 = 1e3 * np.percentile(taken, (50, 95))
            rows.append({"steps": step, "n": len(of), "ms_p50": p50, "ms_p95": p95, "unequal": unequal})
            rows[-1]["undecided"] = undecided
    return rows


def _change(search: Any, of: dict[int, int], pool: Any, rng: np.random.Generator) -> None:
    new, some = rng.integers(len(pool), size=rng.integers(1, _MOST)), rng.integers(1, _MOST)
    there = rng.choice(np.fromiter(of, np.int64, len(of)), 2 * some, replace=False)
    kind = rng.integers(3)
    if kind == 0:
        of.update(zip(search.add(pool[new]).tolist(), new.tolist(), strict=True))
        return
    if kind == 1:
        search.remove(there[:some])
    else:
        changed = there[some:]
        new = rng.integers(len(pool), size=some)
        search.update(pool[new], changed, gone=there[:some])
        of.update(zip(changed.tolist(), new.tolist(), strict=True))
    for gone in there[:some].tolist():
        del of[gone]


def _check(search: Any, X: Any, queries: Any) -> tuple[bool, int]:
    fresh = mf.ManifoldSearch(**SETTINGS).fit(X, search.ids_)
    ours, theirs = search.graph_, fresh.graph_
    same = all(
        getattr(ours.affinity, name).tobytes() == getattr(theirs.affinity, name).tobytes()
        for name in ("data", "indices", "indptr")
    )
    same = same and ours.degrees.tobytes() == theirs.degrees.tobytes()
    same = same and np.array_equal(ours.components, theirs.components)
    found, expected = (s.search(queries, k=10, slack=0.0) for s in (search, fresh))
    certain = found.certified & expected.certified & ~found.tied & ~expected.tied
    lists = [set(a) == set(b) for a, b in zip(found.ids.tolist(), expected.ids.tolist(), strict=True)]
    return bool(same and np.all(np.array(lists)[certain])), int((found.certified | found.tied).sum())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--checks", type=int, default=4)
    asked = parser.parse_args()
    found = run(asked.n, asked.steps, checks=asked.checks)
    print(table(found))
    record("changes", found, quick=asked.n < 50_000)
