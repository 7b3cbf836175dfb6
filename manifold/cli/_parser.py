"""Arguments of the `manifold` command: an option with a list of names takes it from the table of a room.

A table is looked up when a name is checked or the help of its command is printed; nothing of the package is imported
before, so that `--help` and usage errors are quick.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from manifold import __version__

if TYPE_CHECKING:
    from manifold._typing import Facts

    Command = Callable[[argparse.Namespace], tuple[Facts, str]]

_FILES = "npy, npz, parquet or csv"
_NAMES = "npy, npz, parquet or csv (column `id`) or txt (one a line)"
_CLASSES = "npy, npz, csv (column `label`) or txt (one a line); empty is none"


@dataclass(frozen=True)
class Names(Collection[str]):
    """The names that a table holds, with those that its room takes beside them, looked up anew each time.

    With `listed` the room itself refuses what it does not know, in its own words: the names are there for the help.
    """

    table: str  # module:TABLE
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    listed: bool = False

    def __iter__(self) -> Iterator[str]:
        module, name = self.table.split(":")
        table: Iterable[str] = getattr(import_module(module), name)
        return iter(dict.fromkeys((*self.first, *table, *self.last)))

    def __contains__(self, name: object) -> bool:
        return self.listed or any(name == known for known in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Parser(argparse.ArgumentParser):
    """A parser whose help, and nothing before it, lists the names of the tables."""

    def format_help(self) -> str:
        """Return the help: choices stand in the place of the words that usage has for them."""
        for action in self._actions:
            if isinstance(action.choices, Names):
                action.metavar = None
        return super().format_help()


def make_parser(
    *, demo: Command, search: Command, propagate: Command, mine: Command, evaluate: Command, info: Command
) -> argparse.ArgumentParser:
    """Return the parser; what it returns has the command to run in `command`."""
    parser = Parser(prog="manifold", description="Graph-based manifold search.")
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
    _add_mine(add(mine, "mine hard negatives for a trainer of embeddings, safe against false ones"))
    _add_evaluate(add(evaluate, "measure nearest neighbours and diffusion, on real sets or on features of your own"))
    add(info, "show versions, BLAS, memory, the state of the GPU and of the data folder")
    return parser


def _choose(
    one: argparse._ActionsContainer, option: str, names: Names, *, default: str | None = None, about: str = ""
) -> None:
    """Add an option that takes one of the names of a table."""
    word = option.lstrip("-").replace("-", "_").upper()
    # given afterwards: argparse looks through choices that it is given at once
    one.add_argument(option, metavar=word, default=default, help=about or None).choices = names


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
        ("--features", f"(n, d): {_FILES}"),
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
        f"{_CLASSES}, and found by no query",
    )  # fmt: skip
    own.add_argument(
        "--figures", nargs="+", metavar="FIGURE", help="instead of the usual: mAP, mP@10, hit@1, nDCG@10, ..."
    )
    own.add_argument("--metric", choices=("cosine", "euclidean"), help="of the features (cosine)")
    _add_reading(own)


def _add_reading(one: argparse._ActionsContainer) -> None:
    one.add_argument("--key", help="array to read of npz files that hold several")
    one.add_argument(
        "--columns", nargs="+", metavar="NAME",
        help="features of a parquet or csv file, by name or pattern ('f*'); by default its column of lists, or its "
        "floating columns, or its integer ones, and what is left out is said; other files are read by these names",
    )  # fmt: skip


def _add_common(one: argparse.ArgumentParser) -> None:
    one.add_argument("--seed", type=int, default=0, help="of what is drawn at random (%(default)s)")
    one.add_argument(
        "--on-failure", choices=("warn", "raise", "ignore"), default="warn",
        help="what to do about a query that does not converge: 'raise' ends with exit code 1 (%(default)s)",
    )  # fmt: skip


def _add_search(one: argparse.ArgumentParser) -> None:
    files = f"{_FILES} (a column `id` or `qid` names the rows)"
    one.add_argument("--features", type=Path, required=True, metavar="FILE", help=f"points (n, d): {files}")
    one.add_argument("--queries", type=Path, required=True, metavar="FILE", help="queries (q, d), likewise")
    one.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="ranking to write: npz, csv, json or run (TREC)"
    )
    one.add_argument("--ids", type=Path, metavar="FILE", help=f"names (n,) of the points, 0..n-1 by default: {_NAMES}")
    one.add_argument("--query-ids", type=Path, metavar="FILE", help="names (q,) of the queries, likewise")
    _add_reading(one)
    one.add_argument("-k", type=int, default=100, help="items for each query (%(default)s)")
    presets = Names("manifold.ranking:PRESETS")
    _choose(one, "--preset", presets, default="default", about="what the rest defaults to")
    one.add_argument("--purpose", choices=("item", "topic"), help="what is searched for: the item itself, or its kind")
    for option, kind, about in (
        ("--n-neighbors", int, "neighbours of each point in the graph"),
        ("--n-seeds", int, "nearest points through which a query enters"),
        ("--alpha", float, "how far to diffuse, in [0, 1)"),
        ("--gamma", float, "exponent of the kernel"),
        ("--bridge", int, "neighbours joined even if not mutual"),
    ):
        one.add_argument(option, type=kind, help=about)
    _choose(one, "--edges", Names("manifold.graph:EDGE_RULES"), default="mutual")
    _choose(one, "--metric", Names("manifold.neighbors:METRICS"), default="cosine")
    one.add_argument("--affinity", choices=("auto", "power", "self_tuning"), default="auto")
    methods = Names("manifold.neighbors:METHODS", first=("auto",))
    _choose(one, "--method", methods, default="auto", about="to find neighbours")
    _choose(one, "--solver", Names("manifold.solvers:SOLVERS", first=("auto",), last=("index",), listed=True))
    one.add_argument("--slack", type=float, help="solve on until rankings are proved to this slack; 0 certifies them")
    one.add_argument(
        "--degree-exponent", type=float, help="divide scores by degree to this power; by default as in the preset"
    )
    one.add_argument("--backend", choices=("auto", "scipy", "cupy"), default="auto")
    _add_common(one)


def _add_mine(one: argparse.ArgumentParser) -> None:
    one.add_argument("--features", type=Path, required=True, metavar="FILE", help=f"corpus (n, d): {_FILES}")
    one.add_argument("--queries", type=Path, required=True, metavar="FILE", help="queries (q, d), likewise")
    one.add_argument(
        "--positives",
        type=Path,
        required=True,
        metavar="FILE",
        help=f"the id (q,) of an item that each wants: {_NAMES}",
    )
    one.add_argument(
        "--output", type=Path, required=True, metavar="FILE",
        help="one row a negative to write: query, positive, negative, similarity, score, certified: csv or parquet",
    )  # fmt: skip
    one.add_argument("--ids", type=Path, metavar="FILE", help=f"names (n,) of the corpus, 0..n-1 by default: {_NAMES}")
    _add_reading(one)
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
    _choose(one, "--edges", Names("manifold.graph:EDGE_RULES"), default="union")
    _choose(one, "--metric", Names("manifold.neighbors:METRICS"), default="cosine")
    _add_common(one)


def _count_or_auto(text: str) -> int | str:
    return text if text == "auto" else int(text)


def _add_propagate(one: argparse.ArgumentParser) -> None:
    one.add_argument("--features", type=Path, required=True, metavar="FILE", help=f"points (n, d): {_FILES}")
    one.add_argument("--labels", type=Path, required=True, metavar="FILE", help=f"classes (n,): {_CLASSES}")
    one.add_argument(
        "--output", type=Path, required=True, metavar="FILE",
        help="one row a point to write: label, omega (certainty), zeta (of its class), weight (their product), "
        "labelled: csv, npz or parquet",
    )  # fmt: skip
    one.add_argument("--unlabeled", default="-1", help="the label that means none, beside an empty one (%(default)s)")
    _add_reading(one)
    methods = Names("manifold.labels:METHODS")
    _choose(one, "--method", methods, default="auto", about="of propagation (%(default)s)")
    one.add_argument("--alpha", type=float, help="how far to diffuse, in [0, 1); 0.95 by default")
    one.add_argument(
        "--n-neighbors", type=_count_or_auto, default="auto",
        help="neighbours of each point; auto is 10, or what the labels choose of 5, 10 and 20 (%(default)s)",
    )  # fmt: skip
    one.add_argument("--gamma", type=float, default=3.0, help="exponent of the kernel (%(default)s)")
    _choose(one, "--metric", Names("manifold.neighbors:METRICS"), default="euclidean")
    _choose(one, "--balance", Names("manifold.labels.balance:BALANCES"), about="meet the shares of classes after")
    one.add_argument(
        "--priors", choices=("estimated", "uniform", "propagated"), default="estimated", help="shares of classes"
    )
    one.add_argument("--classes", choices=("even",), help="what is known of them: even, classes of one size")
    _add_common(one)
