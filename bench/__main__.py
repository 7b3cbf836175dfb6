"""Run measurements by name, or all of them."""

from __future__ import annotations

import argparse
from importlib import import_module

from bench._report import record, save_figure, table

BENCHES = (
    "imports",
    "graph",
    "certificates",
    "columns",
    "local",
    "pagerank",
    "seeds",
    "labels",
    "label_choice",
    "regions",
    "matching",
    "solvers",
    "reciprocal",
    "quality",
    "grid",
    "choices",
    "shown",
    "relevance",
    "pipeline",
    "discovery",
    "explorer",
    "service",
    "stores",
    "distributed",
    "faults",
    "gpu",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHES], help=f"of {', '.join(BENCHES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="smallest sizes, for correctness; writes no record")
    args = parser.parse_args()
    for name in args.names or BENCHES:
        module = import_module(f"bench.{name}")
        rows = module.run(quick=args.quick)
        print(f"\n{name}: {(module.__doc__ or '').splitlines()[0]}\n{table(rows)}")
        if rows:  # none where the machine lacks what is measured
            record(name, rows, quick=args.quick)
            if hasattr(module, "figure") and not args.quick:
                save_figure(name, module.figure(rows))


if __name__ == "__main__":
    main()
