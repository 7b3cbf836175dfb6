"""`manifold mine`: a corpus, queries and a positive of each in, hard negatives that are on neither's manifold out."""

from __future__ import annotations

import argparse
import csv
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from manifold._checks import check_count, check_features, check_queries
from manifold._progress import Progress
from manifold._typing import AnyArray, Facts
from manifold.cli import _files as files
from manifold.cli._shortlists import named_as
from manifold.cli._texts import graph_line
from manifold.discovery import Mined, mine_negatives
from manifold.ranking import ManifoldSearch
from manifold.storage import write_atomically

OUTPUTS = (".csv", ".parquet")


def run(args: argparse.Namespace, progress: Callable[[str], Progress | None]) -> tuple[Facts, str]:
    """Fit a search to the corpus, mine, write a row a negative; return facts and their text."""
    files.check_output(args.output, suffixes=OUTPUTS)
    check_count(args.n, "-n")
    check_count(args.exclude, "--exclude")
    items = files.read_features(args.features, option="--features", key=args.key, columns=args.columns)
    X = check_features(items.rows, f"--features {args.features}")
    ids = items.ids if args.ids is None else files.read_names(args.ids, option="--ids", key=args.key)
    asked = files.read_features(
        args.queries, option="--queries", key=args.key, columns=args.columns, like=items, names=files.NAMES[::-1]
    )
    Q, _ = check_queries(asked.rows, X.shape[1], f"--queries {args.queries}")
    names = np.arange(len(Q)) if asked.ids is None else asked.ids
    positives = files.read_names(args.positives, option="--positives", key=args.key)
    if positives.shape != (len(Q),):
        raise ValueError(f"--positives {args.positives}: one for each of {len(Q)} queries, got shape {positives.shape}")
    search = ManifoldSearch(
        preset="plain-diffusion",
        n_neighbors=args.n_neighbors, n_seeds=args.n_seeds, alpha=args.alpha, gamma=args.gamma, edges=args.edges,
        metric=args.metric, on_failure=args.on_failure, random_state=args.seed,
    )  # fmt: skip
    start = time.perf_counter()
    search.fit(X, ids=ids, progress=progress("neighbours"))
    seconds = {"fit": time.perf_counter() - start}
    start = time.perf_counter()
    mined = mine_negatives(
        search,
        Q,
        np.array(named_as(positives.tolist(), search.ids_, option="--positives")),
        n=args.n,
        exclude=args.exclude,
        of=("positive", "query") if args.of == "both" else args.of,
        certify=args.certify,
        progress=progress("mining"),
    )
    seconds["mine"] = time.perf_counter() - start
    _write(args.output, mined, names)
    facts = _facts(mined, args, search, seconds)
    return facts, _text(facts, search)


def _write(path: Path, mined: Mined, names: AnyArray) -> None:
    """Write a row a negative: query, positive (the first), negative, similarity, score, certified."""
    pool = mined.negatives
    first = mined.positives.ids[mined.positives.indptr[:-1]]
    columns = {
        "query": names[pool.owners],
        "positive": first[pool.owners],
        "negative": pool.ids,
        "similarity": pool.similarities,
        "score": pool.weights,
        "certified": pool.certified,
    }
    writers = {".csv": _write_csv, ".parquet": _write_parquet}
    write_atomically(path, lambda file: writers[path.suffix](file, columns))


def _write_parquet(file: IO[bytes], columns: dict[str, AnyArray]) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            "--output *.parquet needs pyarrow: pip install 'manifold-search[parquet]', or write csv"
        ) from error
    parquet.write_table(pyarrow.table({name: pyarrow.array(column.tolist()) for name, column in columns.items()}), file)


def _write_csv(file: IO[bytes], columns: dict[str, AnyArray]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    text.flush()
    text.detach()


def _facts(mined: Mined, args: argparse.Namespace, search: ManifoldSearch, seconds: dict[str, float]) -> Facts:
    pool = mined.negatives
    return {
        "graph": search.graph_.summary(),
        "n_queries": len(mined),
        "n_negatives": int(pool.ids.size),
        "n_short": int((pool.sizes < args.n).sum()),
        "mean_similarity": float(pool.similarities.mean()) if pool.ids.size else 0.0,
        "certified": float(pool.certified.mean()) if pool.ids.size else 0.0,
        "seconds": seconds,
        "output": args.output,
    }


def _text(facts: Facts, search: ManifoldSearch) -> str:
    return "\n".join(
        [
            f"{graph_line(search.graph_)}  {facts['seconds']['fit']:.2f} s",
            f"mined   {facts['n_negatives']:,} negatives of {facts['n_queries']:,} queries, "
            f"{facts['certified']:.1%} certified, mean similarity {facts['mean_similarity']:.3f}; "
            f"{facts['n_short']:,} queries have fewer than asked  {facts['seconds']['mine']:.2f} s",
            f"saved   {facts['output']}",
        ]
    )
