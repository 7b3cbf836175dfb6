"""Rows as float32, as float16, and as bytes, alone or before the rows they are of: what they take, and whom they find.

By hand for other sizes, ``python -m bench.forms --n 1_000_000``. Windows of 11 x 11 pixels of the images of
Fashion-MNIST, their mean removed; curved surfaces where it is not installed. `own_mib`: arrays in memory of points
that are read into it, and what is known of each; of "compact" bytes alone are, before float32 that is mapped.
`share`: of the float32 numbers. `recall`: share of the 10 nearest by float32, of 512 points, in the lists of an
inverted file in a folder; `cpu_s` of that.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench._report import Row, record, table
from bench._windows import SIDE, windows
from manifold.backends import get_backend
from manifold.neighbors import PointSet, compact_points, exact_search, find_neighbors, point_set
from manifold.neighbors.sources import Held, source_of

_K, _JUDGED = 10, 512


def run(*, quick: bool, n: int = 200_000) -> list[Row]:
    X = _windows(5_000 if quick else n)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        np.save(folder / "float32.npy", X)
        np.save(folder / "float16.npy", X.astype(np.float16))
        np.save(folder / "bytes.npy", compact_points(X).compact.X)
        del X
        truth = point_set(folder / "float32.npy")
        rows = np.sort(np.random.default_rng(7).choice(len(truth.X), min(_JUDGED, len(truth.X)), replace=False))
        kth = exact_search(truth, truth, k=_K, rows=rows, drop_self=True, backend=get_backend("scipy"))[1][:, -1:]
        return [_form(form, folder, truth, rows=rows, kth=kth) for form in ("float32", "float16", "bytes", "compact")]


def _form(form: str, folder: Path, truth: PointSet, *, rows: Any, kth: Any) -> Row:
    mapped = form == "compact"
    points = compact_points(folder / "float32.npy") if mapped else point_set(np.load(folder / f"{form}.npy"))
    held = [points] if points.compact is None else [points, points.compact]
    own, start = sum(map(_own, held)), time.process_time()
    lists = find_neighbors(points, _K, method="inverted_file", folder=folder / f"{form}.lists", memory="4 GiB")
    taken = time.process_time() - start
    near = truth.compare(truth.rows(lists.indices[rows].astype(np.int64)), truth.rows(rows))
    recall = float((near >= kth).mean())
    share = own / (truth.X.nbytes / 2**20)
    return {"n": len(truth.X), "form": form, "own_mib": own, "share": share, "recall": recall, "cpu_s": taken}


def _own(points: PointSet) -> float:
    """Return what the arrays of points take, in MiB, but for maps of files."""
    arrays = [points.norms, points.divisors, *([points.X] if isinstance(source_of(points.X), Held) else [])]
    return sum(array.nbytes for array in arrays) / 2**20


def _windows(n: int) -> Any:
    """Return n windows, float32 (n, 121)."""
    X, at = np.empty((n, SIDE**2), np.float32), 0
    for rows, _ in windows(n):
        some = rows[: n - at]
        X[at : at + len(some)] = some
        at += len(some)
        if at == n:
            break
    return X


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=200_000)
    asked = parser.parse_args()
    found = run(quick=False, n=asked.n)
    print(table(found))
    record("forms", found, quick=asked.n < 200_000)
