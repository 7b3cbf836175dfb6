"""What is installed here, on which libraries, and what a GPU would still need: `manifold info`, `show_versions`."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata

import numpy as np
import scipy.linalg  # noqa: F401 -- SciPy brings a library of its own, which shows only once it is loaded

from manifold import __version__
from manifold._resources import available_memory, format_bytes
from manifold._typing import Facts
from manifold.backends import gpu_state
from manifold.datasets import data_folder
from manifold.errors import BackendError

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


def show_versions() -> None:
    """Write to the standard output what a report of a fault should begin with: versions, BLAS, CPU, memory, GPU, data.

    Reference: guide *solvers*, "No GPU".

    >>> show_versions()  # doctest: +ELLIPSIS
    python        3...
    """
    sys.stdout.write(versions()[1] + "\n")


def versions() -> tuple[Facts, str]:
    """Return what is installed here, and what a GPU would still need, as facts and as text.

    >>> versions()[0]["versions"]["manifold"] == __version__
    True
    """
    installed: dict[str, str | None] = {"python": platform.python_version(), "manifold": __version__}
    installed |= {name: _version(distributions) for name, distributions in _PACKAGES.items()}
    folder = data_folder()
    sets = sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
    n_cpus, memory, blas, gpu = os.cpu_count(), available_memory(), _blas(), _gpu()
    facts = {
        "versions": installed,
        "blas": blas,
        "n_cpus": n_cpus,
        "memory_bytes": memory,
        "gpu": gpu,
        "data": {"folder": folder, "sets": sets},
    }
    lines = [f"{name:<13} {version or 'not installed'}" for name, version in installed.items()]
    lines += [
        f"{'BLAS':<13} {'; '.join(blas)}",
        f"{'CPU':<13} {n_cpus} cores, {format_bytes(memory)} of memory available",
        f"{'GPU':<13} {gpu['state']}",
        f"{'data':<13} {folder}: {', '.join(sets) or 'not there: set MANIFOLD_DATA to the folder of the data sets'}",
    ]
    return facts, "\n".join(lines)


def _version(distributions: Sequence[str]) -> str | None:
    """Return the version of the first distribution installed; nothing is imported."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _blas() -> list[str]:
    """Return the linear algebra libraries NumPy and SciPy run on, with their threads where those can be known."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return [f"{blas['name']} {blas['version']} (threads: pip install threadpoolctl shows them)"]
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return [f"{pool['internal_api']} {pool['version']}, {pool['num_threads']} threads" for pool in pools]


def _gpu() -> Facts:
    """Say whether the GPU backend works; where it does not, its own error names the line that would fix it."""
    try:
        state = gpu_state()
    except (BackendError, ImportError) as error:
        return {"usable": False, "state": f"not usable: {' '.join(str(error).split())}"}
    return {"usable": True, "state": f"usable as backend='cupy': {state}"}
