"""Run measurements by name, or all of them."""

from __future__ import annotations

import argparse
from importlib import import_module

from bench._report import record, save_figure, table

BENCHES = (
    "imports",
    "graph",
    "certificates",
    "proofs",
    "columns",
    "local",
    "pagerank",
    "seeds",
    "forms",
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
    "scale",
    "gpu",
)
BY_HAND = ("scale",)  # hours, by size


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHES], help=f"of {', '.join(BENCHES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="smallest sizes, for correctness; writes no record")
    parser.add_argument("--n", type=int, nargs="+", help="how many points, of scale")
    args = parser.parse_args()
    for name in args.names or [name for name in BENCHES if args.quick or name not in BY_HAND]:
        module = import_module(f"bench.{name}")
        size = {"n": args.n} if name == "scale" else {}
        rows = module.run(quick=args.quick, **size)
        print(f"\n{name}: {(module.__doc__ or '').splitlines()[0]}\n{table(rows)}")
        if rows:  # none where the machine lacks what is measured
            record(name, rows, quick=args.quick)
            if hasattr(module, "figure") and not args.quick:
                save_figure(name, module.figure(rows))


if __name__ == "__main__":
    main()
