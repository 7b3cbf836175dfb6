"""`manifold rerank`: lists that another search found and a saved search in, the lists in a better order out."""

from __future__ import annotations

import argparse
import time

import numpy as np

from manifold._checks import check_count
from manifold._typing import Facts
from manifold.cli import _files as files
from manifold.cli import _written as written
from manifold.cli._fit import opened
from manifold.cli._shortlists import named_as, read_lists
from manifold.cli._texts import convergence, convergence_line


def run(args: argparse.Namespace) -> tuple[Facts, str]:
    """Rerank the lists of a file by a saved search."""
    if args.output is not None:
        files.check_output(args.output, suffixes=written.OUTPUTS)
    check_count(args.k, "-k")
    found = read_lists(args.run, option="--run")
    search, _, took = opened(args)
    ids = [named_as(row, search.ids_, option="--run") for row in found.ids]
    names = written.check_names(np.array(found.queries), len(ids), form=written.form_of(args), ids=search.ids_)
    start = time.perf_counter()
    ranking = search.rerank(
        ids,
        None if args.distances else found.scores,
        args.k,
        distances=found.scores if args.distances else None,
        candidates=args.candidates,
        unknown=args.unknown,
        slack=args.slack,
    )
    seconds = {"load": took, "rerank": time.perf_counter() - start}
    facts = {
        "n_queries": len(ids),
        "k": ranking.ids.shape[1],
        "n_unknown": 0 if ranking.n_unknown is None else int(ranking.n_unknown.sum()),
        "convergence": convergence(ranking),
        "seconds": seconds,
    }
    lines = [
        f"rerank  {len(ids):,} lists by {len(search):,} items  {seconds['rerank']:.2f} s",
        convergence_line(ranking),
    ]
    return written.answer(args, ranking, names, facts=facts, lines=lines)
