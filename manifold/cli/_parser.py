"""Arguments of the `manifold` command; imports nothing of the package, so that --help and usage errors are quick."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from manifold import __version__

Command = Callable[[argparse.Namespace], Any]
_NAMES = "npy, npz, parquet (column `id`) or txt (one a line)"
_METHODS = ("auto", "exact", "inverted_file", "nn_descent", "faiss")


def make_parser(
    *, demo: Command, search: Command, propagate: Command, evaluate: Command, info: Command
) -> argparse.ArgumentParser:
    """Return the parser; what it returns has the command to run in `command`."""
    parser = argparse.ArgumentParser(prog="manifold", description="Graph-based manifold search.")
    parser.add_argument("--version", action="version", version=f"manifold {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(command: Command, about: str) -> argparse.ArgumentParser:
        """Add a command under the name of its function."""
        one = commands.add_parser(
            command.__name__,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.set_defaults(command=command)
        one.add_argument("--json", action="store_true", help="print one JSON object on stdout instead of a text")
        return one

    one = add(demo, "rank real digits before and after diffusion, and draw one query (no download)")
    one.add_argument("--output", type=Path, default=Path("manifold-demo.png"), help="picture to write (%(default)s)")
    _add_common(one)
    _add_search(add(search, "rank the points of one file for the queries of another"))
    _add_propagate(add(propagate, "label all points of a file from a few labels"))
    _add_evaluate(add(evaluate, "measure nearest neighbours and diffusion, on real sets or on features of your own"))
    add(info, "show versions, BLAS, memory, the state of the GPU and of the data folder")
    return parser


def _add_evaluate(one: argparse.ArgumentParser) -> None:
    one.add_argument("names", nargs="*", metavar="NAME", help="cranfield, grocery, coil20, orl, usps")
    one.add_argument("--all", action="store_true", help="all of them")
    own = one.add_argument_group(
        "features of your own",
        "Published figures of the protocol are printed beside yours. Rows of --features stand in the order of the\n"
        "ground truth, or --ids names them. The protocols:\n"
        "  roxford5k, rparis6k   revisited Oxford and Paris; their ground truth is looked for in MANIFOLD_DATA\n"
        "  oxford5k, paris6k     55 queries each, put as features of their own\n"
        "  instre                1250 queries; judged by the published file, or by labels of both sides\n"
        "  revisited, oxford     sets of yours, annotated easy, hard, junk or good, ok, junk\n"
        "  labels                every item queries all others; or, with labels of queries, these query the items\n"
        "  trec                  texts judged by qrels",
    )
    own.add_argument("--protocol", metavar="NAME", help="how your features, or your run, are judged")
    for option, about in (
        ("--features", "(n, d): npy, npz or parquet"),
        ("--queries", "(q, d), likewise"),
        ("--distractors", "(m, d), likewise: rows that no query should find, such as R1M"),
        ("--ids", f"names of the rows of --features: {_NAMES}"),
        ("--query-ids", "names of the queries, likewise; by default they stand in the order of the ground truth"),
        ("--run", "a ranking made elsewhere, in TREC's format, to be judged instead of features"),
        ("--output", "write the judgements: qrels"),
    ):
        own.add_argument(option, type=Path, metavar="FILE", help=about)
    own.add_argument(
        "--truth", type=Path, nargs="+", metavar="FILE",
        help="ground truth: json, mat, pkl, a folder of lists, qrels, or labels (n,) [and labels (q,) of the queries]: "
        "npy, npz or txt",
    )  # fmt: skip
    own.add_argument(
        "--figures", nargs="+", metavar="FIGURE", help="instead of the usual: mAP, mP@10, hit@1, nDCG@10, ..."
    )
    own.add_argument("--metric", choices=("cosine", "euclidean"), help="of the features (cosine)")
    own.add_argument("--key", help="array to read of npz files that hold several")


def _add_common(one: argparse.ArgumentParser) -> None:
    one.add_argument("--seed", type=int, default=0, help="of what is drawn at random (%(default)s)")
    one.add_argument(
        "--on-failure", choices=("warn", "raise", "ignore"), default="warn",
        help="what to do about a query that does not converge: 'raise' ends with exit code 1 (%(default)s)",
    )  # fmt: skip


def _add_search(one: argparse.ArgumentParser) -> None:
    files = "npy, npz or parquet (numeric columns are features, a column `id` the ids)"
    one.add_argument("--features", type=Path, required=True, metavar="FILE", help=f"points (n, d): {files}")
    one.add_argument("--queries", type=Path, required=True, metavar="FILE", help="queries (q, d), likewise")
    one.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="ranking to write: npz, csv, json or run (TREC)"
    )
    one.add_argument("--ids", type=Path, metavar="FILE", help=f"names (n,) of the points, 0..n-1 by default: {_NAMES}")
    one.add_argument("--query-ids", type=Path, metavar="FILE", help="names (q,) of the queries, likewise")
    one.add_argument("--key", help="array to read of npz files that hold several")
    one.add_argument("-k", type=int, default=100, help="items for each query (%(default)s)")
    one.add_argument("--preset", choices=("default", "paper"), default="default", help="what the rest defaults to")
    for option, kind, about in (
        ("--n-neighbors", int, "neighbours of each point in the graph"),
        ("--n-seeds", int, "nearest points through which a query enters"),
        ("--alpha", float, "how far to diffuse, in [0, 1)"),
        ("--gamma", float, "exponent of the kernel"),
        ("--bridge", int, "neighbours joined even if not mutual"),
    ):
        one.add_argument(option, type=kind, help=about)
    one.add_argument("--edges", choices=("mutual", "union", "sum"), default="mutual")
    one.add_argument("--metric", choices=("cosine", "inner_product", "euclidean"), default="cosine")
    one.add_argument("--affinity", choices=("auto", "power", "self_tuning"), default="auto")
    one.add_argument("--method", choices=_METHODS, default="auto", help="to find neighbours")
    one.add_argument("--solver", help="by name: auto, cg, index, direct, ...")
    one.add_argument("--slack", type=float, help="solve on until rankings are proved to this slack; 0 certifies them")
    one.add_argument("--degree-exponent", type=float, default=0.0, help="divide scores by degree to this power")
    one.add_argument("--backend", choices=("auto", "scipy", "cupy"), default="auto")
    _add_common(one)


def _add_propagate(one: argparse.ArgumentParser) -> None:
    one.add_argument("--features", type=Path, required=True, metavar="FILE", help="points (n, d): npy, npz or parquet")
    one.add_argument(
        "--labels", type=Path, required=True, metavar="FILE", help="classes (n,): npy, npz or txt (one a line)"
    )
    one.add_argument(
        "--output", type=Path, required=True, metavar="FILE",
        help="one row a point to write: label, omega (certainty), zeta (of its class), weight (their product), "
        "labelled: csv, npz or parquet",
    )  # fmt: skip
    one.add_argument("--unlabeled", default="-1", help="the label that means none (%(default)s)")
    one.add_argument("--key", help="array to read of npz files that hold several")
    one.add_argument(
        "--method", choices=("lgc", "harmonic", "poisson", "poisson_mbo", "resolvent_mbo", "ilpc"), default="lgc",
        help="of propagation (%(default)s)",
    )  # fmt: skip
    one.add_argument("--alpha", type=float, help="how far to diffuse, in [0, 1); 0.95 by default")
    one.add_argument("--n-neighbors", type=int, default=10, help="neighbours of each point (%(default)s)")
    one.add_argument("--gamma", type=float, default=3.0, help="exponent of the kernel (%(default)s)")
    one.add_argument("--metric", choices=("cosine", "inner_product", "euclidean"), default="cosine")
    one.add_argument("--balance", choices=("mass", "mean_shift", "sinkhorn"), help="meet the shares of classes after")
    one.add_argument("--priors", choices=("estimated", "uniform"), default="estimated", help="shares of classes")
    _add_common(one)
