"""`manifold evaluate --protocol`: features of the user's own, or a run, by the protocol of a benchmark.

Files in, figures of nearest neighbours and of diffusion out, with the published ones beside them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from manifold import datasets, metrics
from manifold._checks import check_features, check_queries
from manifold._progress import Progress
from manifold._resources import require_memory
from manifold._typing import AnyArray, Facts
from manifold.cli._files import INPUTS, NAMES, Features, check_output, read_features, read_names
from manifold.cli._labels import read_labels
from manifold.cli._written import write_queries
from manifold.datasets import Dataset, GroundTruth
from manifold.datasets.trec import qrels_lines
from manifold.evaluation import BASELINE, Comparison, Outcome, compare, standard
from manifold.storage import write_atomically

_LABELS = {  # in the order of the rows
    "neighbours": "nearest neighbours",
    "published": "diffusion, published settings",
    "default": "diffusion, default settings",
    "item": "diffusion, purpose: item",
    "topic": "diffusion, purpose: topic",
    "tuned": "diffusion, tuned",
    "fused": "fused: neighbours and topic",
    "run": "run",
}
_PUBLISHED = "preset='paper': k=50 mutual, cosine^3, alpha=0.99, 10 seeds, 20 CG iterations"


def evaluate(args: argparse.Namespace, progress: Callable[[str], Progress | None]) -> tuple[Facts, str]:
    """Return the figures as one object and as a table; `progress` makes a callback from a label."""
    start = time.perf_counter()
    if args.output is not None:
        check_output(args.output, suffixes=(".qrels",))
    if args.per_query is not None:
        check_output(args.per_query, suffixes=(".csv",), option="--per-query")
    truth = _read_truth(args)
    if args.figures is not None:
        truth = replace(truth, figures=tuple(args.figures))
    metrics.list_depth(truth.figures)  # unknown figures are met before the long work
    judgements = "" if args.output is None else "".join(qrels_lines(truth))
    if args.run is not None:
        if given := _given(args, _FEATURES):
            raise ValueError(f"--run {args.run} is judged instead of features: leave {given} out")
        found, sizes = _judge_run(args, truth)
    else:
        data, truth, n_distractors = _read_features(args, truth)
        found = compare(
            data.features,
            truth,
            {"published": {"preset": "paper"}, **standard(data.metric)},
            queries=data.queries,
            metric=data.metric,
            figures=truth.figures,
            progress=progress(args.protocol),
        )
        sizes = {"n_items": len(data.features) - n_distractors, "n_distractors": n_distractors}
        sizes["n_queries"] = truth.n_queries
    distracted = bool(sizes.get("n_distractors"))
    published = datasets.published(args.protocol, distractors=distracted) or datasets.published(args.protocol)
    if args.output is not None:
        write_atomically(args.output, lambda file: file.write(judgements.encode("utf-8", "surrogateescape")))
    if args.per_query is not None:
        write_queries(args.per_query, [found.per_query()])
    facts = {
        "protocol": args.protocol,
        **sizes,
        "figures": {column: outcome.figures for column, outcome in found.items()},
        "gains": _gains(found),
        "advice": found.advice(),
        "converged": {column: o.converged for column, o in found.items() if o.converged is not None},
        "settings": {column: _PUBLISHED if column == "published" else how for column, how in found.how.items()},
        "published": [asdict(row) for row in published],
        "seconds": time.perf_counter() - start,
    }
    return facts, "\n".join(_text(facts, truth, found, published))


def _gains(found: Comparison) -> Facts:
    """Return mean, low and high of the gains over nearest neighbours, by search, setting and figure."""
    pairs = [(setting, figure) for setting in found.settings for figure in found.figures]
    gains: Facts = {name: {} for name in found if name != BASELINE and BASELINE in found}
    for name, of in gains.items():
        for setting, figure in pairs:
            gain = found.gain(name, figure=figure, setting=setting)
            of.setdefault(setting, {})[figure] = [gain.mean, gain.low, gain.high]
    return gains


_FEATURES = ("features", "queries", "distractors", "ids", "query_ids", "metric")


def refuse_options(args: argparse.Namespace) -> None:
    """Refuse the options of protocols where none is named."""
    if given := _given(args, (*_FEATURES, "truth", "run", "output", "figures", "key")):
        raise ValueError(f"{given} needs --protocol NAME, which says how it is judged")


def _given(args: argparse.Namespace, names: Sequence[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names if getattr(args, name) is not None)


def _read_truth(args: argparse.Namespace) -> GroundTruth:
    """Return the ground truth of the data folder, of a path, or by labels of one or both sides."""
    paths: Sequence[Path] = args.truth or ()
    labels = args.protocol == "labels" or len(paths) == 2 or any(path.suffix in INPUTS for path in paths)
    if len(paths) > 2:
        raise ValueError(f"--truth takes one file, or the labels of both sides, got {len(paths)} files")
    if any(path.suffix == ".parquet" for path in paths):
        raise ValueError(f"--truth {' '.join(map(str, paths))}: labels are read from npy, npz or txt: save the column")
    if not paths or not labels:
        return datasets.ground_truth(args.protocol, *paths)
    sides = [read_labels(path, option="--truth", key=args.key) for path in paths]
    try:
        return datasets.ground_truth(args.protocol, sides[0] if len(sides) == 1 else tuple(sides))
    except ValueError as error:
        raise ValueError(f"--truth {' '.join(map(str, paths))}: {error}") from error


def _judge_run(args: argparse.Namespace, truth: GroundTruth) -> tuple[Comparison, Facts]:
    run, truth = datasets.read_run(args.run), truth.by_names()
    judged = {str(name) for of in truth.lists.values() for some in of for name in some}
    if judged.isdisjoint(run.ids.ravel().tolist()):
        raise ValueError(
            f"--run {args.run} ranks none of the {len(judged)} items that {truth.name} judges "
            f"({min(judged, default='')!r}, ...): name the items as the ground truth does"
        )
    rows, truth = truth.match(run.queries)
    ids = run.ids[rows]
    if args.protocol == "labels" and len(args.truth) == 1:  # the item asked with is left out by its name
        ids = np.where(ids == np.array(run.queries)[rows, None], "", ids)
    run_alone = Comparison({"run": Outcome.of(metrics.evaluate_queries(ids, truth))}, names=truth.queries)
    return run_alone, {"n_queries": len(rows)}


def _read_features(args: argparse.Namespace, truth: GroundTruth) -> tuple[Dataset, GroundTruth, int]:
    """Return the collection with its distractors behind it, and the ground truth by its rows and queries."""
    if args.features is None:
        raise ValueError("--protocol needs --features FILE, or --run FILE: there is nothing to judge")
    given = read_features(args.features, option="--features", key=args.key, columns=args.columns)
    X = check_features(given.rows, f"--features {args.features}")
    truth = _for_items(truth, len(X), ids=_names(args, "ids", given.ids, rows=len(X)), args=args)
    Q = None
    if args.queries is None:
        for name in ("query_ids", "distractors"):
            if getattr(args, name) is not None:
                raise ValueError(f"--{name.replace('_', '-')} needs --queries FILE: here the items are the queries")
        if not truth.n_queries == truth.n_items == len(X):
            raise ValueError(f"{truth.name} judges {truth.n_queries} queries: give their features, --queries FILE")
    else:
        Q, beside = _read(args, "queries", X, like=given)
        rows, truth = _for_queries(truth, len(Q), names=_names(args, "query_ids", beside, rows=len(Q)), args=args)
        Q = Q[rows]
    n_distractors = 0
    if args.distractors is not None:
        D, _ = _read(args, "distractors", X, like=given)
        n_distractors, n = len(D), len(X) + len(D)
        require_memory(4 * X.shape[1] * n, purpose=f"{n:,} rows of features", cure="give fewer distractors")
        X = np.concatenate([X, D])
    data = Dataset(truth.name, X, queries=Q, metric=args.metric or "cosine")
    return data, truth, n_distractors


def _read(
    args: argparse.Namespace, name: str, X: NDArray[np.float32], *, like: Features
) -> tuple[NDArray[np.float32], AnyArray | None]:
    """Return the features of an option, which go like those of --features, and the names beside them."""
    what = f"--{name} {getattr(args, name)}"
    given = read_features(
        getattr(args, name), option=f"--{name}", key=args.key, columns=args.columns, like=like, names=NAMES[::-1]
    )
    rows, width = given.rows, X.shape[1]
    if np.ndim(rows) == 2 and rows.shape[1] != width:
        raise ValueError(f"{what} has {rows.shape[1]} features and --features {width}: give both the same")
    return check_queries(rows, width, what)[0], given.ids


def _names(args: argparse.Namespace, name: str, beside: AnyArray | None, *, rows: int) -> AnyArray | None:
    """Return the names of an option, by default those that stand beside the features."""
    path, option = getattr(args, name), f"--{name.replace('_', '-')}"
    names = beside if path is None else read_names(path, option=option, key=args.key)
    if names is not None and names.shape != (rows,):
        raise ValueError(f"{option} {path} holds names of shape {names.shape} for {rows} rows: give each row one")
    return names


def _for_items(truth: GroundTruth, n: int, *, ids: AnyArray | None, args: argparse.Namespace) -> GroundTruth:
    """Return the ground truth by the rows of the features: by their names where there are any, else by their order."""
    if truth.has_names or (ids is not None and truth.items):
        try:
            return truth.by_names().by_rows(range(n) if ids is None else ids)
        except ValueError as error:
            source = args.ids or ("numbers from 0" if ids is None else "the column `id`")
            raise ValueError(f"--ids ({source}): {error}") from error
    if args.ids is not None:
        raise ValueError(f"--ids {args.ids} cannot be used: {truth.name} judges rows by their order: leave it out")
    if truth.n_items != n:
        raise ValueError(
            f"--features {args.features} has {n} rows, but {truth.name} judges {truth.n_items} items: give one row an "
            "item in its order, or name the rows with --ids; rows that no query should find are --distractors"
        )
    return truth


def _for_queries(
    truth: GroundTruth, q: int, *, names: AnyArray | None, args: argparse.Namespace
) -> tuple[NDArray[np.int64], GroundTruth]:
    """Return which rows of the queries are judged, and the ground truth of these."""
    if names is not None:
        return truth.match(names)
    if truth.n_queries != q:
        cure = (
            "--truth takes their labels as its second file"
            if args.protocol == "labels"
            else "give one row a query in its order, or name the rows with --query-ids"
        )
        raise ValueError(f"--queries {args.queries} has {q} rows, but {truth.name} judges {truth.n_queries}: {cure}")
    return np.arange(q), truth


def _text(
    facts: Facts,
    truth: GroundTruth,
    outcomes: Comparison,
    published: Sequence[datasets.Published],
) -> Iterator[str]:
    """Return the lines of the answer: yours, then what was published, a row a method."""
    counted = {kind: facts.get(f"n_{kind}") for kind in ("items", "distractors", "queries")}
    yield f"{facts['protocol']}  " + ", ".join(f"{count:,} {kind}" for kind, count in counted.items() if count)
    sources = list(dict.fromkeys(row.source for row in published))
    yours = {_LABELS[column]: outcome.figures for column, outcome in outcomes.items()}
    theirs = {
        f"[{sources.index(row.source) + 1}] {row.method}, {row.features}": row.figures
        for row in published
        if any(not of.keys().isdisjoint(truth.figures) for of in row.figures.values())
    }
    width = max(map(len, (*yours, *theirs))) + 2
    cell = max(8, *(len(figure) + 2 for figure in truth.figures))
    if len(truth.settings) > 1:
        yield " " * width + "".join(f"{setting:>{cell * len(truth.figures)}}" for setting in truth.settings)
    yield " " * width + "".join(f"{figure:>{cell}}" for figure in truth.figures) * len(truth.settings)
    columns = [(setting, figure) for setting in truth.settings for figure in truth.figures]
    for label, figures in (yours | theirs).items():
        if label == next(iter(theirs), None):
            among = "among 100,000 distractors" if published[0].distractors else "without distractors"
            yield f"published, {among}, each with features of its own:"
        values = (figures.get(setting, {}).get(figure) for setting, figure in columns)
        cells = ("-" if value is None or np.isnan(value) else f"{value:.4f}" for value in values)
        yield f"{label:<{width}}" + "".join(f"{text:>{cell}}" for text in cells)
    if theirs:
        yield from (f"[{i}] {source}" for i, source in enumerate(sources, 1))
    for column in facts["gains"]:
        share = facts["converged"].get(column)
        gain = outcomes.gain(column)
        solved = "" if share is None else f"; {share:.0%} of its solves converged"
        yield f"{_LABELS[column]}: {facts['settings'][column]}; {truth.figures[0]} {gain}{solved}"
    if facts["gains"]:
        yield "gains over nearest neighbours, with their 95% intervals over the queries"
        yield facts["advice"]
    yield f"seconds {facts['seconds']:.1f}"
