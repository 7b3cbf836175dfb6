"""The `manifold` command: arguments in, a text (or, with --json, one JSON object) on stdout, an exit code out.

Exit codes: 0 done, 1 the work failed, 2 the command or its input is wrong. Each command returns its facts and the
same facts as a text; `main` prints one of the two, and turns errors and warnings into one line each on stderr.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from manifold import __version__
from manifold.cli._parser import make_parser
from manifold.errors import BackendError, ConvergenceError, ManifoldWarning

if TYPE_CHECKING:  # the rest is imported by the commands, so that --help and usage errors are quick
    from manifold._progress import Progress
    from manifold._typing import AnyArray, Facts
    from manifold.datasets import Dataset
    from manifold.graph import Graph
    from manifold.ranking import ManifoldSearch, Ranking

    Answer = tuple[Facts, str]

_BAD_INPUT = (ValueError, TypeError, ImportError, FileNotFoundError, PermissionError, BackendError)
_FAILED = (MemoryError, OSError, ConvergenceError)
_PACKAGES = {
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "scikit-learn": ("scikit-learn",),
    "pynndescent": ("pynndescent",),
    "numba": ("numba",),
    "matplotlib": ("matplotlib",),
    "cupy": ("cupy-cuda12x", "cupy-cuda13x", "cupy"),
    "faiss": ("faiss-cpu", "faiss-gpu-cu12", "faiss-gpu"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `argv` defaults to the arguments of the process.

    Examples
    --------
    >>> main(["search", "--features", "absent.npy", "--queries", "q.npy", "--output", "r.csv"])
    2
    """
    args = make_parser(demo=demo, search=search, propagate=propagate, evaluate=evaluate, info=info).parse_args(argv)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ManifoldWarning)
        try:
            facts, text = args.command(args)
            code = 0
        except KeyboardInterrupt:
            code, message = 1, "interrupted: no output was written"
        except (*_BAD_INPUT, *_FAILED) as error:
            code = 2 if isinstance(error, _BAD_INPUT) else 1
            message = str(error) or type(error).__name__
    notes = list(dict.fromkeys(_one_line(str(warning.message)) for warning in caught))
    for note in notes:
        print(f"manifold: warning: {note}", file=sys.stderr)
    if code:
        print(f"manifold: error: {_one_line(message)}", file=sys.stderr)
        return code
    if args.json:
        from manifold.cli._written import to_json

        text = to_json({**facts, "warnings": notes}, indent=2)
    print(text)
    return 0


def demo(args: argparse.Namespace) -> Answer:
    """Hold 100 digits out, search for them by nearest neighbours and along the manifold, draw one of them."""
    import numpy as np

    from manifold import datasets, metrics
    from manifold.cli._files import check_output
    from manifold.evaluation import nearest
    from manifold.neighbors import PointSet
    from manifold.ranking import ManifoldSearch

    check_output(args.output, suffixes=(".png",))
    X, y = digits = datasets.digits()
    chosen = np.random.default_rng(args.seed).choice(len(X), 100, replace=False)
    kept = np.setdiff1d(np.arange(len(X)), chosen)
    start = time.perf_counter()
    search = ManifoldSearch(on_failure=args.on_failure).fit(X[kept], ids=kept)
    seconds = {"fit": time.perf_counter() - start}
    start = time.perf_counter()
    after = search.search(X[chosen], k=len(kept))
    seconds["search"] = time.perf_counter() - start
    top = search.search(X[chosen], k=10)
    points, queries = (PointSet(X[rows], "cosine") for rows in (kept, chosen))
    near, similarities = nearest(queries, points, rows=np.arange(len(chosen)))
    relevant = [kept[y[kept] == label] for label in y[chosen]]
    maps = [metrics.mean_average_precision(i, relevant, interpolation="step") for i in (kept[near], after.ids)]
    found = [(y[ids[:, :10]] == y[chosen, None]).sum(axis=1) for ids in (kept[near], top.ids)]
    j = int(np.argmax(found[1] - found[0]))
    _draw(
        args.output, digits, int(chosen[j]), before=(kept[near[j]], similarities[j]), after=(top.ids[j], top.scores[j])
    )
    facts = {
        "graph": search.graph_.summary(),
        "n_queries": len(chosen),
        "map_neighbours": maps[0],
        "map_diffusion": maps[1],
        "gain": maps[1] - maps[0],
        "convergence": _convergence(top),
        "seconds": seconds,
        "output": args.output,
    }
    return facts, _demo_text(facts, search, top, len(X))


def _draw(
    path: Path,
    digits: Dataset,
    query: int,
    *,
    before: tuple[AnyArray, AnyArray],
    after: tuple[AnyArray, AnyArray],
) -> None:
    from manifold import plotting
    from manifold.storage import write_atomically

    X, y = digits
    ax = plotting.ranking_comparison(
        before,
        after,
        query=digits.items[query],
        items=digits.items,
        relevant=(y == y[query]).nonzero()[0],
        title=f"Who else wrote a {y[query]}? The ten best of {len(X) - 100:,} scans",
    )
    write_atomically(path, lambda file: ax.figure.canvas.print_figure(file, format="png"))


def _demo_text(facts: Facts, search: ManifoldSearch, top: Ranking, n: int) -> str:
    seconds = facts["seconds"]
    return "\n".join(
        [
            f"digits  {n:,} real 8 x 8 scans, 10 classes (shipped with scikit-learn, no download)",
            f"{_graph_line(search.graph_)}  {seconds['fit']:.2f} s",
            f"{'mAP':>11}{'nearest neighbours':>43}{'after diffusion':>18}",
            f"search  {facts['n_queries']} held-out queries{facts['map_neighbours']:>28.3f}"
            f"{facts['map_diffusion']:>18.3f}   ({facts['gain']:+.3f})  {seconds['search']:.2f} s",
            _convergence_line(top),
            f"saved   {facts['output']}  (one query: its top 10 before and after)",
            "next    manifold search --features X.npy --queries Q.npy --output ranking.csv",
        ]
    )


def search(args: argparse.Namespace) -> Answer:
    """Rank the points of one file for the queries of another."""

    from manifold._checks import check_count, check_features, check_queries
    from manifold.cli import _files as files
    from manifold.cli import _written as written
    from manifold.ranking import ManifoldSearch

    files.check_output(args.output, suffixes=written.OUTPUTS)
    options = {name: getattr(args, name) for name in _SEARCH_OPTIONS}
    made = ManifoldSearch(**options, on_failure=args.on_failure, random_state=args.seed)
    check_count(args.k, "-k")
    items = files.read_features(args.features, option="--features", key=args.key, columns=args.columns)
    X = check_features(items.rows, f"--features {args.features}")
    ids = items.ids if args.ids is None else files.read_names(args.ids, option="--ids", key=args.key)
    asked = files.read_features(
        args.queries, option="--queries", key=args.key, columns=args.columns, like=items, names=files.NAMES[::-1]
    )
    Q, _ = check_queries(asked.rows, X.shape[1], f"--queries {args.queries}")
    names = asked.ids
    if args.query_ids is not None:
        names = files.read_names(args.query_ids, option="--query-ids", key=args.key)
    names = written.check_names(names, len(Q), output=args.output, ids=ids)
    start = time.perf_counter()
    made.fit(X, ids=ids, progress=_progress("neighbours"))
    seconds = {"fit": time.perf_counter() - start}
    start = time.perf_counter()
    ranking = made.search(Q, k=args.k, slack=args.slack)
    seconds["search"] = time.perf_counter() - start
    written.write_ranking(args.output, ranking, names)
    facts = {
        "graph": made.graph_.summary(),
        "n_queries": len(Q),
        "k": ranking.ids.shape[1],
        "convergence": _convergence(ranking),
        "seconds": seconds,
        "output": args.output,
    }
    lines = [
        f"{_graph_line(made.graph_)}  {seconds['fit']:.2f} s",
        f"search  {len(Q):,} queries, {ranking.ids.shape[1]:,} items each  {seconds['search']:.2f} s",
        _convergence_line(ranking),
        f"saved   {args.output}",
    ]
    return facts, "\n".join(lines)


def propagate(args: argparse.Namespace) -> Answer:
    """Label all points of a file from a few labels."""
    from manifold.cli import _propagate

    return _propagate.run(args, _progress, _graph_line)


def evaluate(args: argparse.Namespace) -> Answer:
    """Measure nearest neighbours and diffusion: on real sets, or your features by the protocol of a benchmark."""
    from manifold.cli import _evaluate, _protocol

    if args.protocol is not None:
        if args.names or args.all:
            raise ValueError("--protocol evaluates features of your own: leave NAME and --all out")
        return _protocol.evaluate(args, _progress)
    _protocol.refuse_options(args)
    return _evaluate.evaluate(_evaluate.NAMES if args.all else args.names, _progress)


def info(args: argparse.Namespace) -> Answer:
    """Say what is installed here, and what a GPU would still need."""
    from manifold._resources import available_memory, format_bytes
    from manifold.datasets import data_folder

    versions: dict[str, str | None] = {"python": platform.python_version(), "manifold": __version__}
    versions |= {name: _version(distributions) for name, distributions in _PACKAGES.items()}
    folder = data_folder()
    sets = sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
    n_cpus, memory, blas, gpu = os.cpu_count(), available_memory(), _blas(), _gpu()
    facts = {
        "versions": versions,
        "blas": blas,
        "n_cpus": n_cpus,
        "memory_bytes": memory,
        "gpu": gpu,
        "data": {"folder": folder, "sets": sets},
    }
    lines = [f"{name:<13} {version or 'not installed'}" for name, version in versions.items()]
    lines += [
        f"{'BLAS':<13} {'; '.join(blas)}",
        f"{'CPU':<13} {n_cpus} cores, {format_bytes(memory)} of memory available",
        f"{'GPU':<13} {gpu['state']}",
        f"{'data':<13} {folder}: {', '.join(sets) or 'not there: set MANIFOLD_DATA to the folder of the data sets'}",
    ]
    return facts, "\n".join(lines)


def _version(distributions: Sequence[str]) -> str | None:
    """Return the version of the first distribution installed; nothing is imported."""
    from importlib import metadata

    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _blas() -> list[str]:
    """Return the linear algebra libraries NumPy and SciPy run on, with their threads where those can be known."""
    import numpy as np
    import scipy.linalg  # noqa: F401 -- SciPy brings a library of its own, which shows only once it is loaded

    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return [f"{blas['name']} {blas['version']} (threads: pip install threadpoolctl shows them)"]
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return [f"{pool['internal_api']} {pool['version']}, {pool['num_threads']} threads" for pool in pools]


def _gpu() -> Facts:
    """Say whether the GPU backend works; where it does not, its own error names the line that would fix it."""
    from manifold.backends import gpu_state

    try:
        state = gpu_state()
    except (BackendError, ImportError) as error:
        return {"usable": False, "state": f"not usable: {_one_line(str(error))}"}
    return {"usable": True, "state": f"usable as backend='cupy': {state}"}


def _graph_line(graph: Graph) -> str:
    s = graph.summary()
    made = f"{s['method']} {s['metric']} kNN, k={s['n_neighbors']}, {s['edges']}"
    pieces = "1 component" if s["n_components"] == 1 else f"{s['n_components']:,} components"
    alone = f"  {s['n_isolated']:,} isolated" if s["n_isolated"] else ""
    return (
        f"graph   {made}   {s['n_nodes']:,} nodes  {s['n_edges']:,} edges  {pieces}{alone}  "
        f"degree {s['degree_min']}..{s['degree_max']}"
    )


def _convergence(ranking: Ranking) -> Facts:
    import numpy as np

    report = ranking.diagnostics
    return {
        "solver": report.solver,
        "n_columns": len(report.status),
        "n_converged": sum(status.name == "CONVERGED" for status in report.status),
        "max_iterations": int(report.n_iter.max(initial=0)),
        "max_residual": float(np.nanmax(report.residual, initial=0)),
        "max_error_bound": float(np.nanmax(report.error_bound, initial=0)),
        "n_certified": int(ranking.certified.sum()),
    }


def _convergence_line(ranking: Ranking) -> str:
    c = _convergence(ranking)
    share = c["n_certified"] / c["n_columns"] if c["n_columns"] else 1.0
    return (
        f"solver  {c['solver']}: {c['n_converged']} of {c['n_columns']} columns converged in at most "
        f"{c['max_iterations']} iterations, residual <= {c['max_residual']:.1e}; "
        f"top {ranking.ids.shape[-1]} certified for {share:.0%}"
    )


def _progress(label: str) -> Progress | None:
    """Return a callback that keeps one line of progress on stderr, or None where no one is looking."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        end = "\r\x1b[K" if done >= total else ""  # the line is wiped when it is done
        print(f"\r{label} {done:,}/{total:,} ({done / max(total, 1):.0%}) {end}", end="", file=sys.stderr, flush=True)

    return show


def _one_line(message: str) -> str:
    return " ".join(message.split())


_SEARCH_OPTIONS = (
    "preset", "n_neighbors", "n_seeds", "alpha", "gamma", "bridge", "edges", "metric", "affinity", "method", "solver",
    "backend", "degree_exponent",
)  # fmt: skip
