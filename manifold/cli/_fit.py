"""`manifold fit`: features in, a saved search out; and the search that other commands ask, made or opened."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from manifold._load import load
from manifold._progress import Progress
from manifold._typing import Facts
from manifold.cli import _files as files
from manifold.cli._texts import graph_line
from manifold.neighbors import point_set
from manifold.ranking import ManifoldSearch
from manifold.stores import Store, StoreSearch, open_store

_CHANGEABLE = ("n_seeds", "degree_exponent", "solver", "seed_search", "on_failure")  # of a search that is fitted
_FITTED = (
    "preset", "purpose", "tune", "n_neighbors", "alpha", "gamma", "bridge", "edges", "metric", "affinity", "method",
    "backend",
)  # fmt: skip


def run(args: argparse.Namespace, progress: Callable[[str], Progress | None]) -> tuple[Facts, str]:
    """Fit a search to the points of a file, or to what a store holds, and save it as a folder."""
    check_folder(args.output)
    search, seconds = fitted(args, progress)[::2] if args.store is None else _fitted_to_store(args, progress)
    start = time.perf_counter()
    search.save(args.output)
    facts = {
        "graph": search.graph_.summary(),
        "n_items": len(search),
        "seconds": {"fit": seconds, "save": time.perf_counter() - start},
        "explanation": search.explain().splitlines(),
        "output": args.output,
    }
    return facts, f"{graph_line(search.graph_)}  {seconds:.2f} s\n{search.explain()}\nsaved   {args.output}"


def fitted(
    args: argparse.Namespace, progress: Callable[[str], Progress | None]
) -> tuple[ManifoldSearch, files.Features, float]:
    """Return a search fitted to the points of a file, what was read of them, and the seconds that it took."""
    made = ManifoldSearch(**_given(args, (*_FITTED, *_CHANGEABLE)), random_state=args.seed or 0)
    items = files.read_features(args.features, option="--features", key=args.key, columns=args.columns)
    points = point_set(items.rows, args.metric or "cosine", name=f"--features {args.features}")
    if items.columns is not None and len(items.columns) == points.X.shape[1]:
        points.names = items.columns  # saved with the search: queries of a table are put in their order
    ids = items.ids if args.ids is None else files.read_names(args.ids, option="--ids", key=args.key)
    if ids is not None and ids.shape != (len(points.X),):
        raise ValueError(f"--ids {args.ids}: ids must name each of the {len(points.X)} items, got shape {ids.shape}")
    start = time.perf_counter()
    made.fit(points, ids=ids, progress=progress("neighbours"))
    return made, items, time.perf_counter() - start


def _fitted_to_store(
    args: argparse.Namespace, progress: Callable[[str], Progress | None]
) -> tuple[ManifoldSearch, float]:
    for name in ("ids", "key", "columns"):
        if getattr(args, name) is not None:
            raise ValueError(f"--{name} is of a file: leave it out, a store has ids and vectors of its own")
    start = time.perf_counter()
    with asking():
        store = opened_store(args, metric=args.metric)
        options = {**_given(args, (*_FITTED, *_CHANGEABLE)), "metric": store.metric}
        service = StoreSearch(store, ManifoldSearch(**options, random_state=args.seed or 0))
        service.fit(progress=progress("neighbours"))
    return service.held, time.perf_counter() - start


@contextmanager
def asking() -> Iterator[None]:
    """Raise OSError for what a store's client raises: each has exceptions of its own."""
    try:
        yield
    except Exception as error:
        if type(error).__module__ == "builtins" or type(error).__module__.startswith("manifold"):
            raise
        raise OSError(f"the store does not answer ({type(error).__name__}: {error})") from error


def opened_store(args: argparse.Namespace, *, metric: str | None) -> Store:
    """Return the store of an address, by the metric that is asked for where it has none of its own."""
    names = {name: value for name, value in (("id", args.store_id), ("vector", args.store_vector)) if value is not None}
    address = args.store.rpartition("#")[0]
    if metric is not None and address.startswith(("postgresql:", "lancedb:")):
        names["metric"] = metric
    return open_store(args.store, **names)


def opened(args: argparse.Namespace) -> tuple[ManifoldSearch, files.Features | None, float]:
    """Return a saved search with the settings that it may still change, its features, and the seconds that it took."""
    settled = [*_given(args, (*_FITTED, "ids", "seed"))]
    if settled:
        option = settled[0].replace("_", "-")
        raise ValueError(f"--{option} is settled by the fit of --index {args.index}: leave it out, or fit again")
    start = time.perf_counter()
    found = open_search(args)
    changed = _given(args, _CHANGEABLE)
    search = found.with_settings(**changed) if changed else found
    points = search.fitted_.points
    items = None if points is None else files.Features(points.X, points.names)  # of lists alone it has none
    return search, items, time.perf_counter() - start


def open_search(args: argparse.Namespace) -> ManifoldSearch:
    """Return the search that a folder holds; raise ValueError where it holds something else."""
    found = load(args.index, verify=args.verify)
    if not isinstance(found, ManifoldSearch):
        raise ValueError(f"--index {args.index} holds a {type(found).__name__}: `manifold fit` saves a ManifoldSearch")
    return found


def _given(args: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Return the options of some names that were given; what is left out is up to the preset, or to the fit."""
    return {name: getattr(args, name) for name in names if getattr(args, name, None) is not None}


def check_folder(path: Path) -> None:
    """Refuse, before any work, a folder that could not be written after it."""
    if path.exists() and not path.is_dir():
        raise ValueError(f"--output {path} is a file: name a folder, new or one that holds a saved search")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"--output {path}: the folder {path.parent} does not exist: make it first")
    if not os.access(path if path.is_dir() else path.parent, os.W_OK):
        raise PermissionError(f"--output {path} cannot be written to: choose another folder")
