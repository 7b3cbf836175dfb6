"""What takes a bench minutes to make, and no figure of it depends on: graphs and stored columns, kept from run to run.

Where the environment names a folder in ``MANIFOLD_BENCH_CACHE``, they are looked for there, and left there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import manifold as mf
from manifold.index import StoredColumns

CACHE = "MANIFOLD_BENCH_CACHE"


def _kept(name: str) -> Path | None:
    folder = os.environ.get(CACHE)
    return None if folder is None else Path(folder) / name


def fitted(search: mf.ManifoldSearch, X: Any, name: str) -> mf.ManifoldSearch:
    """Fit a search, on the graph that is kept under this name where there is one."""
    kept = _kept(name)
    if kept is None:
        return search.fit(X)
    if kept.exists():
        return search.fit(X, graph=mf.load(kept))
    search.fit(X).graph_.save(kept)
    return search


def kept_graph(name: str, features: Callable[[], Any]) -> mf.Graph:
    """Return the graph that is kept under this name, or that of a default search over what `features` makes."""
    kept = _kept(name)
    if kept is not None and kept.exists():
        graph: mf.Graph = mf.load(kept)
        return graph
    return fitted(mf.ManifoldSearch(), features(), name).graph_


def built_index(name: str, graph: Any, filter: Any, *, n_entries: int) -> tuple[StoredColumns, float | None]:
    """Return the index of a graph and the seconds its build took: None where one of an earlier run was kept."""
    kept = _kept(f"{name}-{n_entries}.index")
    if kept is not None and kept.exists():
        return mf.load(kept).prepare(graph, filter, None), None
    start = time.perf_counter()
    columns = mf.DiffusionIndex(n_entries=n_entries).build(graph, filter=filter, n_jobs=os.cpu_count() or 1)
    taken = time.perf_counter() - start
    if kept is not None:
        columns.save(kept)
    return columns, taken
