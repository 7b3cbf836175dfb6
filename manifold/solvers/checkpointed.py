"""A solver whose finished columns are kept on disk, block by block: what stops it costs the block at work.

In: settings of a solver, seeds Y (n, q), a folder. Out: its `Solution`; in the folder one unit for each block of
columns, which appears whole. Columns do not depend on what is solved beside them, so that what one machine has begun a
cluster goes on with, and the other way round.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import sparse

from manifold._resources import require_memory
from manifold._typing import AnyArray
from manifold.backends import Array, Backend, on_host, place
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.solvers.base import Callback, Prepared, Snapshot, Solution, Solver, Status
from manifold.solvers.on_cluster import OnCluster
from manifold.solvers.system import check_seeds
from manifold.storage.checkpoint import fingerprint
from manifold.storage.stages import open_stages

_STAGE, _NAMED = "columns", 16  # digits of a fingerprint, of a folder that holds one solve of several
_STATUSES = tuple(Status)


@dataclass(frozen=True)
class Checkpointed(Solver):
    """A solver that goes on where an earlier call was stopped: by an interrupt, a kill, or the end of its cluster.

        F = h(S) Y,    a block of columns of F a unit on disk

    Each solve has a folder of its own inside `folder`, by a digest of the graph, the solver, the filter and the seeds:
    several of one call, as of `propagate`, do not meet, and other input is other work. A unit that is damaged, or of
    another solve, is named in a warning and solved again.

    Reference: guide *cluster*, "A worker is lost".

    Parameters
    ----------
    solver : Solver
        Settings; `OnCluster` of settings keeps the same units as these.
    folder : path
        Made if absent. It takes the room of the scores, and is the caller's to delete.

    Raises
    ------
    TypeError
        For a folder that is no path.

    Notes
    -----
    Cost: a digest of the graph, unless it was loaded, and of the seeds; of finished blocks a checksum instead of a
    solve. The bases of "lanczos" are not kept: the solution has no `refilter`.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from manifold import diffuse, graph_from_affinity
    >>> from manifold.solvers import ConjugateGradient
    >>> pair, seen = graph_from_affinity([[0, 1], [1, 0]]), []
    >>> with TemporaryDirectory() as folder:
    ...     solver = Checkpointed(ConjugateGradient(), folder)
    ...     for _ in range(2):  # the second solves nothing
    ...         scores = diffuse(pair, [1.0, 0.0], solver=solver, callback=seen.append).scores
    >>> [round(float(score), 3) for score in scores], len(seen)
    ([0.513, 0.487], 2)
    """

    solver: Solver
    folder: str | os.PathLike[str]

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str | os.PathLike):
            raise TypeError(f"checkpoint must be the path of a folder, got {self.folder!r}")

    def prepare(self, graph: Graph, filter: Filter, backend: Backend) -> Prepared:
        """Prepare the solver, and say what the units belong to."""
        W = graph.saved[1:] if graph.saved else (graph.affinity.indptr, graph.affinity.indices, graph.affinity.data)
        settings = self.solver.solver if isinstance(self.solver, OnCluster) else self.solver
        mark = fingerprint(*W, graph.dtype.str, settings, filter, backend.column_block)
        return PreparedCheckpointed(self, self.solver.prepare(graph, filter, backend), graph.n_nodes, backend, mark)


@dataclass(frozen=True, eq=False)
class PreparedCheckpointed(Prepared):
    """A solver, ready for seeds, and what its units belong to."""

    settings: Checkpointed
    prepared: Prepared
    n_nodes: int
    backend: Backend
    mark: str

    def solve(self, seeds: object, *, x0: object = None, callback: Callback | None = None) -> Solution:
        """Return F = h(S) seeds: blocks that are on disk, and others as they are solved."""
        values, single = check_seeds(seeds, self.n_nodes)
        start = None if x0 is None else check_seeds(x0, self.n_nodes, "x0")[0]
        if start is not None and start.shape != values.shape:
            raise ValueError(f"x0 must have the shape of the seeds {values.shape}, got {start.shape}")
        n, q = values.shape
        width = self.backend.column_block
        cure = "pass fewer seed columns at a time"
        require_memory(8 * n * min(q, width) + 4 * n * q, purpose=f"{q} columns on {n} nodes", cure=cure)
        parts = [slice(first, min(first + width, q)) for first in range(0, max(q, 1), width)]
        mark = fingerprint(self.mark, *_plain(values, self.backend), *_plain(start, self.backend))
        tasks = [_Block(self.prepared, self.backend, values, start, part, callback) for part in parts]
        with open_stages(Path(self.settings.folder) / mark[:_NAMED], fingerprint=mark) as stages:
            stages.run(_STAGE, tasks)
            solution = _joined([stages.arrays(_STAGE, i) for i in range(len(parts))])
        scores = solution.scores[:, 0] if single else solution.scores
        return replace(solution, scores=scores if place(seeds) == "cpu" else self.backend.asarray(scores))


@dataclass(frozen=True, eq=False)
class _Block:
    """Some columns of a solve, as a unit."""

    prepared: Prepared
    backend: Backend
    seeds: Array
    x0: Array | None
    part: slice
    callback: Callback | None

    def __call__(self, folder: Path) -> Mapping[str, AnyArray]:
        start = None if self.x0 is None else self.x0[:, self.part]
        show = None if self.callback is None else self._shown
        solution = self.prepared.solve(self.seeds[:, self.part], x0=start, callback=show)
        return {
            "scores": on_host(solution.scores, self.backend),
            "status": np.array([_STATUSES.index(status) for status in solution.status], dtype=np.uint8),
            "n_iter": solution.n_iter,
            "residual": solution.residual,
            "error_bound": solution.error_bound,
            "solver": np.frombuffer(solution.solver.encode(), dtype=np.uint8),
        }

    def _shown(self, snapshot: Snapshot) -> None:
        """Show a snapshot with the columns as the caller counts them."""
        assert self.callback is not None
        self.callback(replace(snapshot, columns=snapshot.columns + self.part.start))


def _plain(values: Array | None, backend: Backend) -> Sequence[object]:
    """Return what makes seeds what they are, on the host."""
    if values is None:
        return ()
    if sparse.issparse(values):
        return (values.shape, values.indptr, values.indices, values.dtype.str, values.data)
    return (values.shape, np.dtype(values.dtype).str, on_host(values, backend))


def _joined(units: Sequence[Mapping[str, AnyArray]]) -> Solution:
    """Return the columns of all units side by side, in float64 where some of them are."""
    status, n_iter, residual, bound = (
        np.concatenate([unit[name] for unit in units]) for name in ("status", "n_iter", "residual", "error_bound")
    )
    return Solution(
        scores=np.concatenate([unit["scores"] for unit in units], axis=1),
        status=tuple(_STATUSES[code] for code in status),
        n_iter=n_iter,
        residual=residual,
        error_bound=bound,
        solver=units[0]["solver"].tobytes().decode(),
    )
