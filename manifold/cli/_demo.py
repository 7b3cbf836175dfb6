"""`manifold demo`: real digits in, what diffusion gains in finding more of the same out, and a picture of one query."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from manifold import datasets, metrics, plotting
from manifold._typing import AnyArray, Facts
from manifold.cli._files import check_output
from manifold.cli._texts import convergence, convergence_line, graph_line
from manifold.datasets import Dataset
from manifold.evaluation import nearest
from manifold.neighbors import PointSet
from manifold.ranking import ManifoldSearch, Ranking
from manifold.storage import write_atomically


def run(args: argparse.Namespace) -> tuple[Facts, str]:
    """Hold 100 digits out, search for them by nearest neighbours and along the manifold, draw one of them."""
    check_output(args.output, suffixes=(".png",))
    X, y = digits = datasets.digits()
    chosen = np.random.default_rng(args.seed).choice(len(X), 100, replace=False)
    kept = np.setdiff1d(np.arange(len(X)), chosen)
    start = time.perf_counter()
    search = ManifoldSearch(preset="plain-diffusion", on_failure=args.on_failure).fit(X[kept], ids=kept)
    seconds = {"fit": time.perf_counter() - start}
    start = time.perf_counter()
    after = search.search(X[chosen], k=len(kept))
    seconds["search"] = time.perf_counter() - start
    top = search.search(X[chosen], k=10)
    points, queries = (PointSet(X[rows], "cosine") for rows in (kept, chosen))
    near, similarities = nearest(queries, points, rows=np.arange(len(chosen)))
    relevant = [kept[y[kept] == label] for label in y[chosen]]
    maps = [metrics.mean_average_precision(i, relevant, interpolation="step") for i in (kept[near], after.ids)]
    found = [(y[ids[:, :10]] == y[chosen, None]).sum(axis=1) for ids in (kept[near], top.ids)]
    j = int(np.argmax(found[1] - found[0]))
    _draw(
        args.output, digits, int(chosen[j]), before=(kept[near[j]], similarities[j]), after=(top.ids[j], top.scores[j])
    )
    facts = {
        "graph": search.graph_.summary(),
        "n_queries": len(chosen),
        "map_neighbours": maps[0],
        "map_diffusion": maps[1],
        "gain": maps[1] - maps[0],
        "convergence": convergence(top),
        "seconds": seconds,
        "output": args.output,
    }
    return facts, _demo_text(facts, search, top, len(X))


def _draw(
    path: Path,
    digits: Dataset,
    query: int,
    *,
    before: tuple[AnyArray, AnyArray],
    after: tuple[AnyArray, AnyArray],
) -> None:
    X, y = digits
    ax = plotting.ranking_comparison(
        before,
        after,
        query=digits.items[query],
        items=digits.items,
        relevant=(y == y[query]).nonzero()[0],
        title=f"Who else wrote a {y[query]}? The ten best of {len(X) - 100:,} scans",
    )
    write_atomically(path, lambda file: ax.figure.canvas.print_figure(file, format="png"))


def _demo_text(facts: Facts, search: ManifoldSearch, top: Ranking, n: int) -> str:
    seconds = facts["seconds"]
    return "\n".join(
        [
            f"digits  {n:,} real 8 x 8 scans, 10 classes (shipped with scikit-learn, no download)",
            f"{graph_line(search.graph_)}  {seconds['fit']:.2f} s",
            f"{'mAP':>11}{'nearest neighbours':>43}{'after diffusion':>18}",
            f"search  {facts['n_queries']} held-out queries{facts['map_neighbours']:>28.3f}"
            f"{facts['map_diffusion']:>18.3f}   ({facts['gain']:+.3f})  {seconds['search']:.2f} s",
            convergence_line(top),
            f"saved   {facts['output']}  (one query: its top 10 before and after)",
            "next    manifold search --features X.npy --queries Q.npy --output ranking.csv",
        ]
    )
