"""Arguments of the `manifold` command, a part for each of its commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from manifold import __version__
from manifold.cli._options import CLASSES, FILES, NAMES, Names, add_common, add_reading, choose
from manifold.cli._search_options import add_fit, add_rerank, add_search, add_sync

if TYPE_CHECKING:
    from manifold._typing import Facts

    Command = Callable[[argparse.Namespace], tuple[Facts, str]]


class Parser(argparse.ArgumentParser):
    """A parser whose help, and nothing before it, lists the names of the tables."""

    def format_help(self) -> str:
        """Return the help: choices stand in the place of the words that usage has for them."""
        for action in self._actions:
            if isinstance(action.choices, Names):
                action.metavar = None
        return super().format_help()


def make_parser(run: Mapping[str, Command]) -> argparse.ArgumentParser:
    """Return the parser of the commands by these names; what it returns has the one to run in `command`."""
    parser = Parser(prog="manifold", description="Graph-based manifold search.")
    parser.add_argument("--version", action="version", version=f"manifold {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, about: str) -> argparse.ArgumentParser:
        """Add a command."""
        one = commands.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.set_defaults(command=run[name])
        one.add_argument("--json", action="store_true", help="print one JSON object on stdout instead of a text")
        return one

    one = add("demo", "rank real digits before and after diffusion, and draw one query (no download)")
    one.add_argument("--output", type=Path, default=Path("manifold-demo.png"), help="picture to write (%(default)s)")
    add_common(one)
    add_fit(add("fit", "make a search of the points of a file or of a vector store, and save it"))
    add_search(add("search", "rank the points of a file, or of a saved search, for the queries of another"))
    add_rerank(add("rerank", "put lists that another search found in a better order, by a saved search"))
    add_sync(add("sync", "bring a saved search in step with the vector store that it was made of"))
    _add_propagate(add("propagate", "label all points of a file from a few labels"))
    _add_mine(add("mine", "mine hard negatives for a trainer of embeddings, safe against false ones"))
    _add_evaluate(add("evaluate", "measure nearest neighbours and diffusion, on real sets or on features of your own"))
    add("info", "show versions, BLAS, memory, the state of the GPU and of the data folder")
    one = add("completion", "print the script that completes all this in a shell")
    one.add_argument("shell", choices=("bash", "zsh", "tcsh"), help='eval "$(manifold completion bash)"')
    return parser


def _add_evaluate(one: argparse.ArgumentParser) -> None:
    sets = one.add_argument("names", nargs="*", metavar="NAME", help="sets of the data folder")
    sets.choices = Names("manifold.cli._evaluate:NAMES", listed=True)
    one.add_argument("--all", action="store_true", help="all of them")
    one.add_argument(
        "--per-query", type=Path, metavar="FILE", help="write a row a query, csv: every figure of each search"
    )
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
        ("--features", f"(n, d): {FILES}"),
        ("--queries", "(q, d), likewise"),
        ("--distractors", "(m, d), likewise: rows that no query should find, such as R1M"),
        ("--ids", f"names of the rows of --features: {NAMES}"),
        ("--query-ids", "names of the queries, likewise; by default they stand in the order of the ground truth"),
        ("--run", "a ranking made elsewhere, in TREC's format, to be judged instead of features"),
        ("--output", "write the judgements: qrels"),
    ):
        own.add_argument(option, type=Path, metavar="FILE", help=about)
    own.add_argument(
        "--truth", type=Path, nargs="+", metavar="FILE",
        help="ground truth: json, mat, pkl, a folder of lists, qrels, or labels (n,) [and labels (q,) of the queries]: "
        f"{CLASSES}, and found by no query",
    )  # fmt: skip
    own.add_argument(
        "--figures", nargs="+", metavar="FIGURE", help="instead of the usual: mAP, mP@10, hit@1, nDCG@10, ..."
    )
    own.add_argument("--metric", choices=("cosine", "euclidean"), help="of the features (cosine)")
    add_reading(own)


def _add_mine(one: argparse.ArgumentParser) -> None:
    one.add_argument("--features", type=Path, required=True, metavar="FILE", help=f"corpus (n, d): {FILES}")
    one.add_argument("--queries", type=Path, required=True, metavar="FILE", help="queries (q, d), likewise")
    one.add_argument(
        "--positives",
        type=Path,
        required=True,
        metavar="FILE",
        help=f"the id (q,) of an item that each wants: {NAMES}",
    )
    one.add_argument(
        "--output", type=Path, required=True, metavar="FILE",
        help="one row a negative to write: query, positive, negative, similarity, score, certified: csv or parquet",
    )  # fmt: skip
    one.add_argument("--ids", type=Path, metavar="FILE", help=f"names (n,) of the corpus, 0..n-1 by default: {NAMES}")
    add_reading(one)
    one.add_argument("-n", type=int, default=10, help="negatives of each query (%(default)s)")
    one.add_argument(
        "--exclude", type=int, default=20, help="items that a manifold holds, none of them a negative (%(default)s)"
    )
    one.add_argument("--of", choices=("both", "positive", "query"), default="both", help="whose manifold (%(default)s)")
    one.add_argument(
        "--certify", action="store_true", help="solve on where it is not proved that none of them is on it"
    )
    one.add_argument("--n-neighbors", type=int, default=10, help="neighbours of each item (%(default)s)")
    one.add_argument("--n-seeds", type=int, default=10, help="nearest items through which a query enters (%(default)s)")
    one.add_argument("--alpha", type=float, default=0.8, help="how far to diffuse, in [0, 1) (%(default)s)")
    one.add_argument("--gamma", type=float, default=3.0, help="exponent of the kernel (%(default)s)")
    choose(one, "--edges", Names("manifold.graph:EDGE_RULES"), default="union")
    choose(one, "--metric", Names("manifold.neighbors:METRICS"), default="cosine")
    add_common(one)


def _count_or_auto(text: str) -> int | str:
    return text if text == "auto" else int(text)


def _add_propagate(one: argparse.ArgumentParser) -> None:
    one.add_argument("--features", type=Path, required=True, metavar="FILE", help=f"points (n, d): {FILES}")
    one.add_argument("--labels", type=Path, required=True, metavar="FILE", help=f"classes (n,): {CLASSES}")
    one.add_argument(
        "--output", type=Path, required=True, metavar="FILE",
        help="one row a point to write: label, omega (certainty), zeta (of its class), weight (their product), "
        "labelled: csv, npz or parquet",
    )  # fmt: skip
    one.add_argument("--unlabeled", default="-1", help="the label that means none, beside an empty one (%(default)s)")
    add_reading(one)
    methods = Names("manifold.labels:METHODS")
    choose(one, "--method", methods, default="auto", about="of propagation (%(default)s)")
    one.add_argument("--alpha", type=float, help="how far to diffuse, in [0, 1); 0.95 by default")
    one.add_argument(
        "--n-neighbors", type=_count_or_auto, default="auto",
        help="neighbours of each point; auto is 10, or what the labels choose of 5, 10 and 20 (%(default)s)",
    )  # fmt: skip
    one.add_argument("--gamma", type=float, default=3.0, help="exponent of the kernel (%(default)s)")
    choose(one, "--metric", Names("manifold.neighbors:METRICS"), default="euclidean")
    choose(one, "--balance", Names("manifold.labels.balance:BALANCES"), about="meet the shares of classes after")
    one.add_argument(
        "--priors", choices=("estimated", "uniform", "propagated"), default="estimated", help="shares of classes"
    )
    one.add_argument("--classes", choices=("even",), help="what is known of them: even, classes of one size")
    add_common(one)
