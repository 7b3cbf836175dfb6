"""`manifold search`: features and queries in, a ranking by diffusion out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from manifold._checks import check_count, check_features, check_queries
from manifold._progress import Progress
from manifold._typing import Facts
from manifold.cli import _files as files
from manifold.cli import _written as written
from manifold.cli._texts import convergence, convergence_line, graph_line
from manifold.ranking import ManifoldSearch

_SEARCH_OPTIONS = (
    "preset", "purpose", "n_neighbors", "n_seeds", "alpha", "gamma", "bridge", "edges", "metric", "affinity", "method",
    "solver", "backend", "degree_exponent",
)  # fmt: skip


def run(args: argparse.Namespace, progress: Callable[[str], Progress | None]) -> tuple[Facts, str]:
    """Rank the points of one file for the queries of another."""
    files.check_output(args.output, suffixes=written.OUTPUTS)
    options = {name: getattr(args, name) for name in _SEARCH_OPTIONS}
    made = ManifoldSearch(**options, on_failure=args.on_failure, random_state=args.seed)
    check_count(args.k, "-k")
    items = files.read_features(args.features, option="--features", key=args.key, columns=args.columns)
    X = check_features(items.rows, f"--features {args.features}")
    ids = items.ids if args.ids is None else files.read_names(args.ids, option="--ids", key=args.key)
    if ids is not None and ids.shape != (len(X),):
        raise ValueError(f"--ids {args.ids}: ids must name each of the {len(X)} items, got shape {ids.shape}")
    asked = files.read_features(
        args.queries, option="--queries", key=args.key, columns=args.columns, like=items, names=files.NAMES[::-1]
    )
    Q, _ = check_queries(asked.rows, X.shape[1], f"--queries {args.queries}")
    names = asked.ids
    if args.query_ids is not None:
        names = files.read_names(args.query_ids, option="--query-ids", key=args.key)
    names = written.check_names(names, len(Q), output=args.output, ids=ids)
    start = time.perf_counter()
    made.fit(X, ids=ids, progress=progress("neighbours"))
    seconds = {"fit": time.perf_counter() - start}
    start = time.perf_counter()
    ranking = made.search(Q, k=args.k, slack=args.slack)
    seconds["search"] = time.perf_counter() - start
    written.write_ranking(args.output, ranking, names)
    facts = {
        "graph": made.graph_.summary(),
        "n_queries": len(Q),
        "k": ranking.ids.shape[1],
        "convergence": convergence(ranking),
        "seconds": seconds,
        "output": args.output,
    }
    lines = [
        f"{graph_line(made.graph_)}  {seconds['fit']:.2f} s",
        f"search  {len(Q):,} queries, {ranking.ids.shape[1]:,} items each  {seconds['search']:.2f} s",
        convergence_line(ranking),
        f"saved   {args.output}",
    ]
    return facts, "\n".join(lines)
