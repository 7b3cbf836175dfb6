"""`manifold sync`: a saved search and the store that it was made of in, the search in step with the store out."""

from __future__ import annotations

import argparse
import time

from manifold._typing import Facts
from manifold.cli._fit import asking, check_folder, open_search, opened_store
from manifold.cli._texts import graph_line
from manifold.stores import StoreSearch


def run(args: argparse.Namespace) -> tuple[Facts, str]:
    """Bring a saved search in step with a store, and save it in its place, or elsewhere."""
    output = args.index if args.output is None else args.output
    check_folder(output)
    found = open_search(args)
    start = time.perf_counter()
    with asking():
        service = StoreSearch(opened_store(args, metric=found.affinity.metric), found)
        changes = service.sync()
    seconds = time.perf_counter() - start
    if changes.total or output != args.index:
        service.save(output)
    facts = {
        "changes": {"new": changes.new, "changed": changes.changed, "gone": changes.gone},
        "n_items": len(service),
        "digest": service.snapshot.digest,
        "graph": service.held.graph_.summary(),
        "seconds": seconds,
        "output": output,
    }
    moved = f"{changes.new:,} new, {changes.changed:,} changed, {changes.gone:,} gone"
    return facts, f"sync    {moved}  {seconds:.2f} s\n{graph_line(service.held.graph_)}\nsaved   {output}"
