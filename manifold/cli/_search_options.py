"""Options of the commands that search: `fit` makes and saves a search, `search` and `rerank` ask one."""

from __future__ import annotations

import argparse
from pathlib import Path

from manifold.cli._options import FILES, NAMES, Names, add_reading, choose

_ROWS = f"{FILES} (a column `id` or `qid` names the rows)"


def add_fit(one: argparse.ArgumentParser) -> None:
    """Add what makes a search, and where it goes."""
    where = one.add_mutually_exclusive_group(required=True)
    where.add_argument("--features", type=Path, metavar="FILE", help=f"points (n, d): {_ROWS}")
    _add_store(one, where)
    one.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="the saved search to write")
    one.add_argument("--ids", type=Path, metavar="FILE", help=f"names (n,) of the points, 0..n-1 by default: {NAMES}")
    add_reading(one)
    _add_settings(one)
    _add_failure(one)


def add_search(one: argparse.ArgumentParser) -> None:
    """Add queries, and what they are put to: a saved search, or one that is made of features for this time."""
    where = one.add_mutually_exclusive_group(required=True)
    where.add_argument("--features", type=Path, metavar="FILE", help=f"points (n, d): {_ROWS}")
    where.add_argument("--index", type=Path, metavar="FOLDER", help="a search that `manifold fit` or `save` wrote")
    one.add_argument("--queries", type=Path, required=True, metavar="FILE", help="queries (q, d), likewise")
    _add_output(one)
    one.add_argument("--ids", type=Path, metavar="FILE", help=f"names (n,) of the points, 0..n-1 by default: {NAMES}")
    one.add_argument("--query-ids", type=Path, metavar="FILE", help="names (q,) of the queries, likewise")
    add_reading(one)
    one.add_argument("-k", type=int, default=100, help="items for each query (%(default)s)")
    one.add_argument("--slack", type=float, help="solve on until rankings are proved to this slack; 0 certifies them")
    _add_settings(one)
    _add_failure(one)


def add_rerank(one: argparse.ArgumentParser) -> None:
    """Add lists that another search found, and what is made of them."""
    one.add_argument("--index", type=Path, required=True, metavar="FOLDER", help="a search that `manifold fit` wrote")
    one.add_argument(
        "--run", type=Path, required=True, metavar="FILE",
        help="lists by the ids of the index: run or txt (TREC), csv or parquet (columns query, id and score, a row an "
        "item; or ids and scores, columns of lists)",
    )  # fmt: skip
    _add_output(one)
    one.add_argument("-k", type=int, default=100, help="items for each query (%(default)s)")
    one.add_argument("--distances", action="store_true", help="scores of the lists are distances: lower is nearer")
    one.add_argument(
        "--candidates", choices=("shortlist", "subgraph", "all"), default="shortlist",
        help="reorder each list, by the whole graph or its own, or rank all items (%(default)s)",
    )  # fmt: skip
    one.add_argument(
        "--unknown", choices=("raise", "drop", "behind"), default="raise",
        help="ids that the index does not hold: refuse them, leave them out, or put them last (%(default)s)",
    )  # fmt: skip
    one.add_argument("--slack", type=float, help="solve on until rankings are proved to this slack; 0 certifies them")
    _add_changeable(one)
    _add_failure(one)


def add_sync(one: argparse.ArgumentParser) -> None:
    """Add a saved search, and the store that it is of."""
    one.add_argument("--index", type=Path, required=True, metavar="FOLDER", help="a search that `manifold fit` wrote")
    _add_store(one, one, required=True)
    one.add_argument("--output", type=Path, metavar="FOLDER", help="where to save it; in its place by default")
    _add_verify(one)


def _add_store(one: argparse.ArgumentParser, where: argparse._ActionsContainer, *, required: bool = False) -> None:
    where.add_argument(
        "--store", required=required, metavar="ADDRESS",
        help="what a store holds: postgresql://host/database#table, qdrant+http://host:6333#collection, "
        "lancedb:folder#table, chroma:folder#collection or chroma+http://host:8000#collection",
    )  # fmt: skip
    one.add_argument("--store-id", metavar="NAME", help="its column of ids")
    one.add_argument("--store-vector", metavar="NAME", help="its column, or name, of vectors")


def _add_verify(one: argparse.ArgumentParser) -> None:
    one.add_argument("--verify", choices=("full", "lazy"), default="full", help="how a saved search is looked through")


def _add_output(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--output", type=Path, metavar="FILE",
        help="ranking to write: npz, csv, json, parquet or run (TREC); by default it is printed",
    )  # fmt: skip
    one.add_argument("--format", choices=("csv", "run"), default="csv", help="of what is printed (%(default)s)")
    _add_verify(one)


def _add_settings(one: argparse.ArgumentParser) -> None:
    """Add the parameters of a search; what is left out is that of the preset."""
    choose(one, "--preset", Names("manifold.ranking:PRESETS"), about="what the rest defaults to")
    one.add_argument("--purpose", choices=("item", "topic"), help="what is searched for: the item itself, or its kind")
    one.add_argument("--tune", action="store_true", default=None, help="choose the setting by held-out points")
    for option, kind, about in (
        ("--n-neighbors", int, "neighbours of each point in the graph"),
        ("--alpha", float, "how far to diffuse, in [0, 1)"),
        ("--gamma", float, "exponent of the kernel"),
        ("--bridge", int, "neighbours joined even if not mutual"),
    ):
        one.add_argument(option, type=kind, help=about)
    choose(one, "--edges", Names("manifold.graph:EDGE_RULES"))
    choose(one, "--metric", Names("manifold.neighbors:METRICS"))
    one.add_argument("--affinity", choices=("auto", "power", "self_tuning", "ranked"))
    choose(one, "--method", Names("manifold.neighbors:METHODS", first=("auto",)), about="to find neighbours")
    one.add_argument("--backend", choices=("auto", "scipy", "cupy"))
    one.add_argument("--seed", type=int, help="of what is drawn at random (0)")
    _add_changeable(one)


def _add_failure(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--on-failure", choices=("warn", "raise", "ignore"),
        help="what to do about a query that does not converge: 'raise' ends with exit code 1 (warn, or as the fit)",
    )  # fmt: skip


def _add_changeable(one: argparse.ArgumentParser) -> None:
    """Add the parameters that a search may change after its fit."""
    one.add_argument("--n-seeds", type=int, help="nearest points through which a query enters")
    one.add_argument("--degree-exponent", type=float, help="divide scores by degree to this power")
    choose(one, "--solver", Names("manifold.solvers:SOLVERS", first=("auto",), last=("index",), listed=True))
    one.add_argument("--seed-search", choices=("auto", "exact", "cells", "walk"), help="how nearest items are found")
