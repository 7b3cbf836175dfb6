"""CPU seconds of `import manifold` and of its first use, beyond those of NumPy and SciPy.

The budget is 0.5 s beyond NumPy and SciPy; peers are imported in the same way in the same run.
"""

from __future__ import annotations

import subprocess
import sys

from bench._report import Row

BUDGET = 0.5
_CODE = """
import resource
import numpy, scipy.sparse, scipy.sparse.linalg, scipy.sparse.csgraph
def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
start = cpu()
{work}
print(cpu() - start)
"""
_WORK = {
    "import manifold": "import manifold",
    "import manifold, all names used": "import manifold\nfor name in manifold._ROOMS: getattr(manifold, name)",
    "sklearn.semi_supervised": "import sklearn.semi_supervised",
    "pynndescent": "import pynndescent",
}


def run(*, quick: bool) -> list[Row]:
    rows: list[Row] = []
    for name, work in _WORK.items():
        runs = [_measure(work) for _ in range(1 if quick else 5)]
        rows.append({"what": name, "cpu_s": min(runs), "budget_s": BUDGET if "manifold" in name else None})
    return rows


def _measure(work: str) -> float:
    out = subprocess.run([sys.executable, "-c", _CODE.format(work=work)], capture_output=True, text=True, check=True)
    return float(out.stdout)
