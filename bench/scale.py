"""Ten million points on one small machine: every stage in a process of its own, its CPU seconds, memory and answers.

Run by hand, ``python -m bench scale --n 1_000_000`` for some sizes. Features: windows of 11 x 11 pixels of the images
of Fashion-MNIST, their mean removed, int8 (n, 121), in a file; curved surfaces where it is not installed. Stages: the
graph of 10 mutual neighbours with one bridge, built out of core within 4 GiB; opening it; a local search at alpha 0.9
fitted to it and saved; opening that and asking once; 200 queries alone, top 10, certified (CPU ms of the whole query;
`seeds`: recall@5 of the nearest that it entered through); labels of 10 classes, 1,000 a class, by h(S) Y at alpha 0.9
on the graph of summed directions of the same lists (`right`: of all others); up to a million points, a fit in memory,
10,000 rows or a hundredth of all added to it (`share` of the fit), and 100 removed.
`graph.plan` and so on are stages of the build: CPU seconds of their units, each as it was done the last time, so that a
build that was stopped has those of one that was not (`attempts`: processes that built). `resumed`: the graph is built
once more by processes of which two are killed, at random moments; `equal`: all arrays have the bytes of the first.
`anon_mib` and `rss_mib`: peaks of the process, its own memory and with maps of files. `growth`: the exponent p of
CPU seconds ~ n^p since the size before. A stage that is done is not done again: what it found lies in
``MANIFOLD_BENCH_CACHE``/scale-<n>, and a build that was stopped goes on.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench._index import CACHE
from bench._report import Row
from bench._windows import SIDE, windows

SIZES = (200_000, 1_000_000, 2_000_000, 10_000_000)
CHANGED_TO = 1_000_000
QUERIES, JUDGED, KNOWN, ALPHA = 200, 200, 1_000, 0.9
KILLED = 2  # times
_UNITS = "units.jsonl"  # what was done of a build, a unit a line


def run(*, quick: bool, n: Sequence[int] | None = None) -> list[Row]:
    if not quick and CACHE in os.environ:
        return _rows(n or SIZES, Path(os.environ[CACHE]), in_own_process=True)
    with tempfile.TemporaryDirectory() as root:
        return _rows((5_000,) if quick else n or SIZES, Path(root), in_own_process=not quick)


def _rows(sizes: Sequence[int], root: Path, *, in_own_process: bool) -> list[Row]:
    rows: list[Row] = []
    before: dict[str, Row] = {}
    for size in sizes:
        folder = root / f"scale-{size}"
        folder.mkdir(parents=True, exist_ok=True)
        for stage in STAGES:
            if stage == "changed" and size > CHANGED_TO:
                continue
            found = {stage: (_done if in_own_process else _measured)(stage, folder, size)}
            if stage == "graph":
                found |= {f"graph.{part}": {"cpu_s": cpu} for part, cpu in _cpu_of_stages(folder).items()}
            for name, figures in found.items():
                row, past = {"stage": name, "n": size, **figures}, before.get(name)
                growth = np.log(row["cpu_s"] / past["cpu_s"]) / np.log(size / past["n"]) if past else None
                before[name] = row
                rows.append({**row, "growth": growth})
    return rows


def _done(stage: str, folder: Path, n: int) -> Row:
    """Return the figures of a stage, found now or by an earlier run."""
    kept = folder / f"{stage}.json"
    if not kept.exists():
        found = subprocess.run(
            [sys.executable, "-m", "bench.scale", stage, str(folder), str(n)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        kept.write_text(found.stdout.splitlines()[-1])
    row: Row = json.loads(kept.read_text())
    return row


def features(folder: Path, n: int) -> Row:
    """Write features, queries, and the class of each row."""
    total, at = n + QUERIES, 0
    X = np.lib.format.open_memmap(folder / "features.npy", "w+", np.int8, (n, SIDE**2))
    held, classes = np.empty((QUERIES, SIDE**2), np.int8), np.empty(total, np.uint8)
    for windowed, of in windows(total):
        rows = np.rint(windowed / 2).astype(np.int8)
        size = min(len(rows), total - at)
        inside = max(0, min(size, n - at))
        X[at : at + inside], classes[at : at + size] = rows[:inside], of[:size]
        held[at + inside - n : at + size - n] = rows[inside:size] if size > inside else held[:0]
        at += size
        if at == total:
            break
    np.save(folder / "queries.npy", held)
    np.save(folder / "classes.npy", classes[:n])
    return {}


def graph(folder: Path, n: int) -> Row:
    """Build the graph out of core; the process that builds is the one that is measured."""
    import manifold as mf

    path = folder / "features.npy"
    with _units_written(folder), _cpu() as told:
        made = mf.build_graph(path, 10, method="inverted_file", folder=folder / "graph", memory="4 GiB")
    units = _units(folder)
    others = sum(unit["cpu_s"] for unit in units if unit["pid"] != os.getpid())  # of processes that were stopped
    return {
        "cpu_s": told[0] + others,
        "attempts": len({unit["pid"] for unit in units}),
        "probes": made.facts["n_probes"],
        "recall": made.facts["recall"],
        "entries": made.n_entries / n,
    }


def resumed(folder: Path, n: int) -> Row:
    """Build the graph again, killed at random moments, and compare all bytes with those of the first."""
    again, rng, killed = folder / "again", np.random.default_rng(), 0
    again.mkdir(exist_ok=True)
    if not (again / "features.npy").exists():
        (again / "features.npy").symlink_to(folder / "features.npy")
    command = [sys.executable, "-m", "bench.scale", "graph", str(again), str(n)]
    first = _units(folder)
    moments = np.sort(rng.choice(len(first), KILLED, replace=False))
    for moment in moments:
        building = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while building.poll() is None and len(_units(again)) < moment:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, first[moment]["cpu_s"]))  # somewhere in the unit
        killed += building.poll() is None
        building.kill()
        building.wait()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    equal = all(_checksums(again / name) == _checksums(folder / name) for name in ("graph", "graph.lists"))
    shutil.rmtree(again)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"cpu_s": spent.ru_utime + spent.ru_stime, "killed": killed, "equal": equal}


def _checksums(folder: Path) -> dict[str, str]:
    """Return the checksum of each array that was saved."""
    arrays = json.loads((folder / "manifest.json").read_text())["arrays"]
    return {name: array["sha256"] for name, array in arrays.items()}


@contextmanager
def _units_written(folder: Path) -> Iterator[None]:
    """Append what the build says of each unit that is done to a file."""

    def write(record: logging.LogRecord) -> bool:
        stage, unit, cpu = record.args  # type: ignore[misc]
        with (folder / _UNITS).open("a") as file:
            file.write(json.dumps({"stage": stage, "unit": unit, "cpu_s": cpu, "pid": os.getpid()}) + "\n")
        return False

    log = logging.getLogger("manifold.storage.stages")
    level = log.level
    log.addFilter(write)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeFilter(write)


def _units(folder: Path) -> list[dict[str, Any]]:
    """Return the units that are done, each as it was done the last time."""
    if not (folder / _UNITS).exists():
        return []
    told = [json.loads(line) for line in (folder / _UNITS).read_text().splitlines()]
    return list({(unit["stage"], unit["unit"]): unit for unit in told}.values())


def _cpu_of_stages(folder: Path) -> dict[str, float]:
    """Return the CPU seconds of the units of each stage of a build."""
    spent: dict[str, float] = {}
    for unit in _units(folder):
        spent[unit["stage"]] = spent.get(unit["stage"], 0.0) + unit["cpu_s"]
    return spent


def load(folder: Path, n: int) -> Row:
    """Open the graph."""
    import manifold as mf

    mf.graph_from_affinity([[0, 1], [1, 0]])  # the rooms are loaded
    with _cpu() as told:
        mf.load(folder / "graph", verify="lazy")
    return {"cpu_s": told[0]}


def search(folder: Path, n: int) -> Row:
    """Fit a local search to the graph, and save it."""
    import manifold as mf

    kept = mf.load(folder / "graph", verify="lazy")
    enough = mf.neighbors.SeedSearch("walk", recall=0.98)  # of items that are held out: queries are a little farther
    made = mf.ManifoldSearch(solver="local", alpha=ALPHA, preset="plain-diffusion", seed_search=enough)
    made.fit(folder / "features.npy", graph=kept).save(folder / "search")
    return {}


def opened(folder: Path, n: int) -> Row:
    """Open the search, and ask it once."""
    import manifold as mf

    Q = np.load(folder / "queries.npy")
    mf.ManifoldSearch(solver="local", alpha=ALPHA, preset="plain-diffusion").fit(Q).search(Q[:1], 10)  # compiled
    with _cpu() as told:
        made = mf.load(folder / "search", verify="lazy")
    with _cpu() as first:
        made.search(Q[:1], 10)
    return {"cpu_s": told[0], "first_s": first[0]}


def queries(folder: Path, n: int) -> Row:
    """Ask alone, and judge what was entered through by a look at all rows."""
    import manifold as mf

    Q, made = np.load(folder / "queries.npy"), mf.load(folder / "search", verify="lazy")
    made.search(Q[:2], 10, slack=0)
    taken, certified = [], []
    for q in Q:
        with _cpu() as told:
            ranking = made.search(q[None], 10, slack=0)
        taken.append(1e3 * told[0])
        certified.append(bool((ranking.slack <= 0).all()))
    points = mf.neighbors.point_set(Q[:JUDGED], "cosine")
    found = made.fitted_.entering(points, 5)[1]
    fifth = _fifth(np.load(folder / "features.npy", mmap_mode="r"), Q[:JUDGED])
    seeds = float((found >= fifth[:, None] - 1e-6).mean())  # copies of a window are as near as each other
    p50, p95 = np.percentile(taken, (50, 95))
    return {"cpu_s": sum(taken) / 1e3, "ms_p50": p50, "ms_p95": p95, "certified": np.mean(certified), "seeds": seeds}


def labels(folder: Path, n: int) -> Row:
    """Propagate 10 classes over the sum of both directions of the lists that were found."""
    import manifold as mf

    if not (folder / "sum.lists").exists():
        (folder / "sum.lists").symlink_to("graph.lists")
    path, rng = folder / "features.npy", np.random.default_rng(1)
    kept = mf.build_graph(path, 10, method="inverted_file", edges="sum", folder=folder / "sum", memory="4 GiB")
    classes = np.load(folder / "classes.npy").astype(np.int64)
    known = np.concatenate([rng.permutation(np.flatnonzero(classes == c))[: min(KNOWN, n // 50)] for c in range(10)])
    y = np.full(n, -1)
    y[known] = classes[known]
    with _cpu() as told:
        found = mf.propagate(kept, y, method="lgc", filter=mf.Diffusion(ALPHA))
    right = float((found.labels == classes)[y < 0].mean())
    return {
        "cpu_s": told[0],
        "right": right,
        "iterations": int(found.solution.n_iter.max()),
        "entries": kept.n_entries / n,
    }


def changed(folder: Path, n: int) -> Row:
    """Fit a search by itself, which knows its lists; add rows that are new, and remove some."""
    import manifold as mf

    made, m = mf.ManifoldSearch(solver="local", alpha=ALPHA, preset="plain-diffusion"), min(10_000, n // 100)
    with _cpu() as fitting:
        made.fit(np.load(folder / "features.npy", mmap_mode="r"))
    rng, Q = np.random.default_rng(3), np.load(folder / "queries.npy").astype(np.int16)
    new = Q[rng.integers(len(Q), size=m)] + rng.integers(-9, 10, size=(m, Q.shape[1]), dtype=np.int16)
    with _cpu() as told:
        made.add(np.clip(new, -127, 127).astype(np.int8))
    with _cpu() as removing:
        made.remove(made.ids_[rng.choice(n, 100, replace=False)])
    return {"cpu_s": told[0], "remove_s": removing[0], "fit_s": fitting[0], "share": told[0] / fitting[0]}


STAGES: dict[str, Callable[[Path, int], Row]] = {
    "features": features,
    "graph": graph,
    "resumed": resumed,
    "load": load,
    "search": search,
    "opened": opened,
    "queries": queries,
    "labels": labels,
    "changed": changed,
}


@contextmanager
def _cpu() -> Iterator[list[float]]:
    """Yield a list that holds the CPU seconds of all threads in the end."""
    told: list[float] = []
    start = time.process_time()
    yield told
    told.append(time.process_time() - start)


def _fifth(X: Any, Q: Any) -> Any:
    """Return the cosine of each query and the fifth nearest row, by a look at all."""
    Q = Q.astype(np.float32)
    Q /= np.linalg.norm(Q, axis=1, keepdims=True)
    best = np.full((len(Q), 5), -1.0, np.float32)
    for start in range(0, len(X), 1 << 16):
        rows = X[start : start + (1 << 16)].astype(np.float32)
        scores = Q @ (rows / np.linalg.norm(rows, axis=1, keepdims=True)).T
        best = np.partition(np.concatenate([best, scores], axis=1), -5, axis=1)[:, -5:]
    return best.min(axis=1)


def _measured(stage: str, folder: Path, n: int) -> Row:
    """Do a stage while its memory is watched."""
    peak, ended = {"anon_mib": 0.0, "rss_mib": 0.0}, threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            for name, field in (("anon_mib", "RssAnon"), ("rss_mib", "VmRSS")):
                peak[name] = max(peak[name], int(told[field].split()[0]) / 1024)

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    with _cpu() as told:
        figures = STAGES[stage](folder, n)
    ended.set()
    watching.join()
    return {"cpu_s": told[0], **figures, **peak}


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])), default=float))
