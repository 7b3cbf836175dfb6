"""What every measurement shares: time taken, machine facts, a table for people and a dated record for the project."""

from __future__ import annotations

import datetime
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any

Row = dict[str, Any]
RESULTS = Path(__file__).parent / "results"
_PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "pynndescent",
    "numba",
    "faiss-cpu",
    "usearch",
    "networkx",
    "scikit-network",
    "graphlearning",
)


def seconds(work: Callable[[], Any], *, repeat: int = 5) -> list[float]:
    """Return the wall seconds of each of `repeat` runs, after one that warms up."""
    work()
    taken = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return taken


def machine() -> Row:
    """Return what a figure depends on: processor, cores, Python, versions."""
    import manifold

    versions = {"manifold": manifold.__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }


def table(rows: Sequence[Row]) -> str:
    """Lay rows out in columns, numbers with four digits; where the names of columns change, a new table begins."""
    return "\n\n".join(_columns(list(alike)) for _, alike in groupby(rows, key=list))


def _columns(rows: Sequence[Row]) -> str:
    names = list(rows[0])
    cells = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[j]) for line in cells) for j in range(len(names))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in cells)


def record(name: str, rows: Sequence[Row], *, quick: bool) -> Path:
    """Write ``results/DATE-name.json`` with the machine's facts; a quick run writes nothing."""
    path = RESULTS / f"{datetime.date.today().isoformat()}-{name}.json"
    if not quick:
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps({"bench": name, "machine": machine(), "rows": list(rows)}, indent=1) + "\n")
    return path


def save_figure(name: str, figure: Any) -> Path:
    """Write ``results/DATE-name.png``."""
    path = RESULTS / f"{datetime.date.today().isoformat()}-{name}.png"
    figure.savefig(path, dpi=110)
    return path


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
