"""Half an hour of a life: items come and go, queries are asked, searches saved and loaded; memory and certificates.

Run by hand, ``python -m bench.soak --minutes 30``. Collections of some hundred images live in turns, a setting each. A
step is an addition, a removal, a search, `similar`, `rerank`, or a save and a load, which goes on in the place of what
was saved. While some changes are made, another thread asks: its answers have to be those of the old state or those of
the new one, to the bit (`unequal`). From time to time everything is judged: the graph and the answers against a fit to
what is there (`unequal`), certificates against scores of a dense solve (`wrong`; `tied` where the exact scores on both
sides of a cut agree to eight digits). A row of the record holds the counts so far and the resident set, once a minute.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import manifold as mf
from bench._report import Row, record, table
from manifold.neighbors import PointSet

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "index": {"solver": mf.DiffusionIndex(n_entries=96)},
    "index, float16": {"solver": mf.DiffusionIndex(n_entries=64, dtype="float16"), "alpha": 0.99, "edges": "union"},
    "adaptive": {"preset": "adaptive"},
    "euclidean": {"metric": "euclidean", "edges": "sum", "degree_exponent": 0.5},
}
LEAST, MOST = 200, 900  # items of a collection, when left to itself
JUDGED_EVERY = 25  # steps of one collection
SLACKS = (None, 0.1, 0.0)
COUNTS = (
    "steps",
    "added",
    "removed",
    "queries",
    "saves",
    "asked_meanwhile",
    "judged",
    "certified",
    "tied",
    "wrong",
    "unequal",
)


class Life:
    """One collection, its search, and what is known of it from outside."""

    def __init__(self, name: str, pool: Any, *, seed: int, folder: Path, counts: dict[str, int]) -> None:
        self.options, self.pool, self.counts, self.path = SETTINGS[name], pool, counts, folder / name
        self.rng, self.n_steps = np.random.default_rng(seed), 0
        first = self.rng.choice(len(pool), 400, replace=False)
        self.search = mf.ManifoldSearch(**self.options).fit(pool[first])
        self.rows = dict(zip(self.search.ids_.tolist(), first.tolist(), strict=True))  # id -> row of the pool
        self.steps = (self.add, self.remove, self.ask, self.ask, self.resemble, self.rerank, self.reload)

    def step(self) -> None:
        step = self.steps[self.rng.integers(len(self.steps))]
        if step in (self.add, self.remove) and self.rng.random() < 0.2:
            self.asked_meanwhile(step)
        else:
            step()
        self.n_steps += 1
        self.counts["steps"] += 1
        if self.n_steps % JUDGED_EVERY == 0:
            self.judge()

    def add(self) -> None:
        m = int(self.rng.integers(1, 30)) if len(self.rows) < MOST else 1
        rows = self.rng.choice(len(self.pool), m)  # copies of what is there, too
        self.rows |= dict(zip(self.search.add(self.pool[rows]).tolist(), rows.tolist(), strict=True))
        self.counts["added"] += m

    def remove(self) -> None:
        m = int(self.rng.integers(1, 30)) if len(self.rows) > LEAST else 1
        gone = self.rng.choice(self.search.ids_, m, replace=False)
        self.search.remove(gone)
        for item in gone.tolist():
            del self.rows[item]
        self.counts["removed"] += m

    def queries(self, q: int) -> Any:
        return self.pool[self.rng.choice(len(self.pool), q)]

    def ask(self) -> None:
        q = int(self.rng.integers(1, 9))
        self.search.search(self.queries(q), k=10, slack=SLACKS[self.rng.integers(3)])
        self.counts["queries"] += q

    def resemble(self) -> None:
        self.search.similar(self.rng.choice(self.search.ids_, 3, replace=False), k=10)
        self.counts["queries"] += 3

    def rerank(self) -> None:
        ids = self.rng.choice(self.search.ids_, 50, replace=False)
        self.search.rerank(ids, np.sort(self.rng.random(50))[::-1], k=10)
        self.counts["queries"] += 1

    def reload(self) -> None:
        self.search.save(self.path)
        self.search = mf.load(self.path)
        self.counts["saves"] += 1

    def asked_meanwhile(self, change: Any) -> None:
        """Ask in another thread while a change is made."""
        Q = self.queries(3)
        ask = lambda: _bits(self.search.search(Q, k=10))  # noqa: E731
        before = ask()
        with ThreadPoolExecutor(1) as other:
            answers = other.submit(lambda: [ask() for _ in range(6)])
            change()
            found = answers.result()
        self.counts["unequal"] += not set(found) <= {before, ask()}
        self.counts["asked_meanwhile"] += len(found)

    def judge(self) -> None:
        """Compare with a fit to what is there, and certificates with exact scores."""
        rows = np.array([self.rows[item] for item in self.search.ids_.tolist()])
        fresh = mf.ManifoldSearch(**self.options).fit(self.pool[rows], self.search.ids_)
        mine, theirs = self.search.graph_.affinity, fresh.graph_.affinity
        same = all(np.array_equal(getattr(mine, x), getattr(theirs, x)) for x in ("data", "indices", "indptr"))
        Q = self.queries(8)
        if "solver" not in self.options:  # stored columns that were not solved again differ in their last digits
            same &= _bits(self.search.search(Q, k=10)) == _bits(fresh.search(Q, k=10))
        self.counts["unequal"] += not same
        scores = self.exact_scores(Q)
        # an adaptation takes its list from the best hundred, which are what the slack speaks of
        n_best = 10 if self.search.adaptation is None else min(100, len(rows))
        for slack in SLACKS:
            ranking = self.search.search(Q, k=10, slack=slack)
            for j, proved in enumerate(ranking.slack if ranking.pool_slack is None else ranking.pool_slack):
                tied = _is_tied(scores[:, j], n_best)
                wrong = _is_wrong(
                    self.search.fitted_.ids.rows(ranking.ids[j]), scores[:, j], n_best=n_best, slack=proved
                )
                self.counts["wrong"] += bool(wrong or (slack is not None and proved > slack and not tied))
                self.counts["tied"] += bool(slack == 0.0 and proved > 0 and tied)
                self.counts["certified"] += bool(proved == 0)
        self.counts["judged"] += 1

    def exact_scores(self, Q: Any) -> Any:
        """Return the scores (n, q) of a dense solve."""
        search, graph = self.search, self.search.graph_
        near = search.fitted_.nearest(PointSet(Q, search.affinity.metric), min(search.n_seeds, graph.n_nodes))
        root = np.sqrt(np.where(graph.degrees > 0, graph.degrees, 1.0))
        S = graph.affinity.toarray().astype(np.float64) / np.outer(root, root)
        ((w, a),) = search.filter.resolvents or ()
        F = np.linalg.solve(np.eye(graph.n_nodes) - a * S, w * search.fitted_.seeds(*near).toarray())
        return F * graph.scale(search.degree_exponent)[:, None]


def _bits(ranking: Any) -> bytes:
    return b"".join(np.asarray(part).tobytes() for part in (ranking.ids, ranking.scores, ranking.slack))


def _is_tied(scores: Any, n_best: int) -> bool:
    """Whether the scores on both sides of a cut are equal to eight digits."""
    best = np.append(np.sort(scores)[::-1], 0.0)
    return bool(best[n_best - 1] - best[n_best] <= 1e-8 * best[n_best - 1])


def _is_wrong(rows: Any, scores: Any, *, n_best: int, slack: float) -> bool:
    """Whether something left out is better than (1 + slack) times what was returned, beyond rounding."""
    # of an adapted list only the set that it is taken from is known: what is returned has to be among the best
    left = np.sort(scores)[::-1][n_best - 1] if n_best > rows.size else np.delete(scores, rows).max(initial=0)
    return bool(left * (1 - 1e-9) > (1 + slack) * scores[rows].min())


def _resident() -> float:
    """Return the MiB that this process holds in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def run(*, minutes: float) -> list[Row]:
    """Live for so many minutes; return a row a minute."""
    pool, _ = mf.datasets.digits()
    counts, rows, begin = dict.fromkeys(COUNTS, 0), [], time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        lives = [Life(name, pool, seed=seed, folder=Path(folder), counts=counts) for seed, name in enumerate(SETTINGS)]
        while time.monotonic() - begin < 60 * minutes:
            for life in lives:
                life.step()
            if time.monotonic() - begin >= 60 * len(rows):
                items = sum(len(life.rows) for life in lives)
                rows.append({"minute": len(rows), "resident_mib": _resident(), "items": items, **counts})
        items = sum(len(life.rows) for life in lives)
        rows.append({"minute": minutes, "resident_mib": _resident(), "items": items, **counts})
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    asked = parser.parse_args()
    found = run(minutes=asked.minutes)
    print(table(found))
    record("soak", found, quick=asked.minutes < 30)
