"""`manifold search`: queries, and features or a saved search in, a ranking by diffusion out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from manifold._checks import check_count, check_queries
from manifold._progress import Progress
from manifold._typing import Facts
from manifold.cli import _files as files
from manifold.cli import _written as written
from manifold.cli._fit import fitted, opened
from manifold.cli._texts import convergence, convergence_line, graph_line


def run(args: argparse.Namespace, progress: Callable[[str], Progress | None]) -> tuple[Facts, str]:
    """Rank the points of a file, or of a saved search, for the queries of another."""
    if args.output is not None:
        files.check_output(args.output, suffixes=written.OUTPUTS)
    check_count(args.k, "-k")
    search, items, took = opened(args) if args.features is None else fitted(args, progress)
    seconds = {"load" if args.features is None else "fit": took}
    asked = files.read_features(
        args.queries, option="--queries", key=args.key, columns=args.columns, like=items, names=files.NAMES[::-1]
    )
    Q = asked.rows
    if items is not None:
        Q, _ = check_queries(Q, items.rows.shape[1], f"--queries {args.queries}")
    names = asked.ids
    if args.query_ids is not None:
        names = files.read_names(args.query_ids, option="--query-ids", key=args.key)
    names = written.check_names(names, len(Q), form=written.form_of(args), ids=search.ids_)
    start = time.perf_counter()
    ranking = search.search(Q, k=args.k, slack=args.slack)
    seconds["search"] = time.perf_counter() - start
    facts = {
        "graph": search.graph_.summary(),
        "n_queries": len(Q),
        "k": ranking.ids.shape[1],
        "convergence": convergence(ranking),
        "seconds": seconds,
    }
    lines = [
        f"{graph_line(search.graph_)}  {took:.2f} s",
        f"search  {len(Q):,} queries, {ranking.ids.shape[1]:,} items each  {seconds['search']:.2f} s",
        convergence_line(ranking),
    ]
    return written.answer(args, ranking, names, facts=facts, lines=lines)
