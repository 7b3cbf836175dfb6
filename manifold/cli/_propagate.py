"""`manifold propagate`: features and a few labels in, a label, a certainty and a weight for every point out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from manifold._checks import check_features
from manifold._progress import Progress
from manifold._resources import format_bytes
from manifold._typing import AnyArray, Facts
from manifold.cli import _files as files
from manifold.cli._labels import marker_of, read_labels
from manifold.cli._texts import graph_line
from manifold.filters import Diffusion
from manifold.graph import Graph
from manifold.labels import Propagation, propagate, propagation_memory
from manifold.labels.candidates import label_graphs
from manifold.labels.pseudo_labels import PseudoLabels
from manifold.labels.targets import encode

OUTPUTS = (".csv", ".npz", ".parquet")


def run(args: argparse.Namespace, progress: Callable[[str], Progress | None]) -> tuple[Facts, str]:
    """Build the graph, propagate, write one row a point; return facts and their text."""
    files.check_output(args.output, suffixes=OUTPUTS)
    items = files.read_features(args.features, option="--features", key=args.key, columns=args.columns)
    X = check_features(items.rows, f"--features {args.features}")
    labels = _read_labels(args.labels, args.key, args.unlabeled)
    targets = encode(labels, len(X), unlabeled=marker_of(args.unlabeled))
    start = time.perf_counter()
    graphs, points = label_graphs(
        X,
        args.n_neighbors,
        method=args.method,
        metric=args.metric,
        gamma=args.gamma,
        random_state=args.seed,
        progress=progress("neighbours"),
    )
    graph = next(iter(graphs.values()))
    seconds = {"graph": time.perf_counter() - start}
    memory = propagation_memory(graph, targets.classes.size, method=args.method, n_graphs=len(graphs))
    q = targets.classes.size
    show = progress(f"propagating, up to {format_bytes(memory)}: classes")
    if show is not None:
        show(0, q)
    start = time.perf_counter()
    result = propagate(
        graphs,
        targets,
        method=args.method,
        filter=None if args.alpha is None else Diffusion(args.alpha),
        balance=args.balance,
        priors=args.priors,
        classes=args.classes,
        points=points,
        on_failure=args.on_failure,
        callback=None if show is None else lambda at_work: show(q - at_work.columns.size, q),
    )
    seconds["propagate"] = time.perf_counter() - start
    if show is not None:
        show(q, q)
    PseudoLabels(result.labels, result.certainty, result.class_weights, result).save(args.output)
    facts = {**_facts(result, graph), "memory_bytes": memory, "seconds": seconds, "output": args.output}
    return facts, _text(facts, graph)


def _read_labels(path: Path, key: str | None, unlabeled: str) -> AnyArray:
    if path.suffix == ".parquet":
        raise ValueError(f"--labels {path} must be npy, npz or txt, or csv: numpy.save('y.npy', y) writes one")
    return read_labels(path, option="--labels", key=key, unlabeled=unlabeled)


def _facts(result: Propagation, graph: Graph) -> Facts:
    report = result.solution
    sizes = np.bincount(result.columns[result.reached], minlength=result.classes.size)
    return {
        "graph": graph.summary(),
        "n_labelled": int(result.labelled.sum()),
        "n_unreached": int((~result.reached).sum()),
        "mean_certainty": float(result.certainty[~result.labelled].mean()) if not result.labelled.all() else 1.0,
        "classes": [
            {"class": name, "points": int(size), "weight": float(weight)}
            for name, size, weight in zip(result.classes.tolist(), sizes, result.class_weights, strict=True)
        ],
        "choice": None if result.choice is None else result.choice.facts(),
        "convergence": {
            "solver": report.solver,
            "n_columns": len(report.status),
            "n_converged": sum(status.name == "CONVERGED" for status in report.status),
            "max_iterations": int(report.n_iter.max(initial=0)),
            "max_residual": float(np.nanmax(report.residual, initial=0)),
        },
    }


def _text(facts: Facts, graph: Graph) -> str:
    c, seconds = facts["convergence"], facts["seconds"]
    n = facts["graph"]["n_nodes"]
    sizes = sorted(entry["points"] for entry in facts["classes"])
    return "\n".join(
        [
            f"{graph_line(graph)}  {seconds['graph']:.2f} s",
            f"labels  {facts['n_labelled']:,} of {n:,} points given, {facts['n_unreached']:,} not reached; "
            f"{len(sizes):,} classes of {sizes[0]:,}..{sizes[-1]:,} points; "
            f"mean certainty {facts['mean_certainty']:.2f}  {seconds['propagate']:.2f} s",
            *([] if facts["choice"] is None else [f"chosen  {facts['choice']['reason']}"]),
            f"solver  {c['solver']}: {c['n_converged']} of {c['n_columns']} columns converged in at most "
            f"{c['max_iterations']} iterations, residual <= {c['max_residual']:.1e}; "
            f"up to {format_bytes(facts['memory_bytes'])}",
            f"saved   {facts['output']}",
        ]
    )
