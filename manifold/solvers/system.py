"""What every solver stands on: S on a backend, seeds scaled into a block, bounds, and blocks put together.

In: a graph, seeds Y (n, q) of any kind. Out: a `Solution` at the caller's scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike
from scipy import sparse

from manifold._arrays import as_array
from manifold._checks import check_callback
from manifold._resources import require_memory
from manifold._typing import Floats, Ints
from manifold._weights import check_indices
from manifold.backends import Array, Backend, in_blocks, place, rounding_unit
from manifold.solvers._formed import is_plain
from manifold.solvers._normalized import NormalizedAffinity
from manifold.solvers.base import Callback, Solution, Status

__all__ = ["COLUMN_BLOCK", "NormalizedAffinity", "Seeds", "check_seeds", "error_bound", "is_plain", "solve_in_blocks"]

_PLAIN = 100  # octaves on either side of 1 within which columns of seeds have scores that float32 holds
_FAR = 2.0**40  # entries of a start that are beyond this much of the largest seed are of no use
COLUMN_BLOCK = 32  # columns that a forecast of memory counts as solved together
_BLOCKS = 8  # (n, q) arrays that a block of q columns holds at once, at most


@dataclass(frozen=True, eq=False)
class Seeds:
    """A block of seed columns on a backend, scaled by powers of two, with non-finite columns set to zero.

    Such a scaling is exact, and keeps the squares of tiny or huge seeds in range.
    """

    block: Array  # (n, q), largest entry of a column between 1/2 and 1, or 0
    scale: Array  # (q,) float64: what the columns were divided by, 0 for a zero column
    finite: Array  # (q,) bool
    rows: Ints | None = None  # on the host: ids outside which the block is zero, where seeds are sparse

    @classmethod
    def take(cls, seeds: Array, system: NormalizedAffinity) -> Seeds:
        """Bring columns, given in the order of the graph, to the backend of `system`, in its order and dtype.

        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> S = NormalizedAffinity(graph_from_affinity([[0, 1], [1, 0]]).astype("float64"), get_backend())
        >>> seeds = Seeds.take(sparse.csc_array([[0.0], [3.0]]), S)
        >>> seeds.block.ravel().tolist(), seeds.scale.tolist(), seeds.rows.tolist()
        ([0.0, 0.75], [4.0], [1])
        """
        if sparse.issparse(seeds):
            return cls._of_sparse(sparse.csc_array(seeds), system)
        values = system.backend.asarray(seeds)
        return cls.of(system.inside(values if values.dtype.kind == "f" else values.astype(np.float64)), system)

    @classmethod
    def of(cls, values: Array, system: NormalizedAffinity) -> Seeds:
        """Scale columns (n, q) in the order of `system`.

        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> S = NormalizedAffinity(graph_from_affinity([[0, 1], [1, 0]]).astype("float64"), get_backend())
        >>> seeds = Seeds.of(np.array([[3.0, np.nan], [0.0, 1.0]]), S)
        >>> seeds.block.tolist(), seeds.finite.tolist()
        ([[0.75, 0.0], [0.0, 0.0]], [True, False])
        """
        xp = system.backend.xp
        with np.errstate(over="ignore"):  # what is wider than float64
            largest = xp.maximum(values.max(axis=0), -values.min(axis=0)).astype(np.float64)
        finite = xp.isfinite(largest)
        scale = _power_of_two(xp.where(finite, largest, 0.0), xp)
        with np.errstate(all="ignore"):  # columns that are not finite; entries far below the largest of theirs
            block = (values / xp.where(scale > 0, scale, 1.0)).astype(system.dtype, order="C")
        return cls(xp.where(finite & (scale > 0), block, 0), scale, finite)

    @classmethod
    def _of_sparse(cls, seeds: sparse.csc_array, system: NormalizedAffinity) -> Seeds:
        """Scale sparse columns on the host: only their entries are looked at."""
        backend, q = system.backend, seeds.shape[1]
        if not seeds.has_canonical_format:
            seeds = seeds.copy()
            seeds.sum_duplicates()
        values = seeds.data if seeds.dtype.kind == "f" else seeds.data.astype(np.float64)
        columns = np.repeat(np.arange(q), np.diff(seeds.indptr))
        largest = np.zeros(q)
        np.maximum.at(largest, columns, np.abs(values).astype(np.float64))  # NaN where there is one
        finite = np.isfinite(largest)
        scale = _power_of_two(np.where(finite, largest, 0.0), np)
        with np.errstate(all="ignore"):
            entries = (values / np.where(scale > 0, scale, 1.0)[columns]).astype(system.dtype)
        entries[~finite[columns]] = 0
        rows, block = system.places(seeds.indices), np.zeros(seeds.shape, dtype=system.dtype)
        block[rows, columns] = entries
        parts = [backend.asarray(x) for x in (block, scale, finite)]
        return cls(parts[0], parts[1], parts[2], np.unique(rows).astype(np.int64))


def _power_of_two(largest: Array, xp: ModuleType) -> Array:
    """Return the least power of two above a size, or the largest of all powers; 0 for 0."""
    return xp.where(largest > 0, xp.ldexp(xp.ones_like(largest), xp.minimum(xp.frexp(largest)[1], 1023)), 0.0)


BlockSolve: TypeAlias = Callable[[Seeds, Array | None, Ints, Callback | None], tuple[Array, ...]]


def error_bound(
    system: NormalizedAffinity, *, b: Array, x: Array, residual: Array, a: float, walked: Array | None = None
) -> tuple[Array, Array]:
    """Return the norms (q,) of the residuals r = b - (I - a S) x and bounds (q,) on max |error of x|.

    With A = I - a S, ||A^-1||_2 <= 1 / (1 - |a|); and because S v <= v for v = sqrt(degree), also
    |e_i| <= v_i max_j (|r_j| / v_j) / (1 - |a|). The smaller holds. To |r| is added what rounding may have hidden
    of it: u (|b| + 2 |x|), with u = (twice the entries of the longest row + 8) unit roundoffs.

    In the columns `walked` the bounds are those on the error of x + r: its residual is a S r, at most |a| times as
    long, but for what was hidden, which counts three times.

    >>> from manifold import graph_from_affinity
    >>> from manifold.backends import get_backend
    >>> S = NormalizedAffinity(graph_from_affinity([[0, 1], [1, 0]]).astype("float64"), get_backend())
    >>> b, x = np.array([[0.5], [0.0]]), np.array([[0.6], [0.3]])  # the answer is (2 / 3, 1 / 3)
    >>> norm, bound = error_bound(S, b=b, x=x, residual=S.residual(b, x, 0.5), a=0.5)
    >>> norm.round(6).tolist(), bound.round(6).tolist()  # the residual is (0.05, 0), over 1 - 0.5
    ([0.05], [0.1])
    """
    backend, xp, u = system.backend, system.backend.xp, system.rounding
    sizes = [backend.column_sizes(z, system.weights) for z in (residual, b, x)]
    lengths = [xp.sqrt(size[0]) * (1 + 1024 * rounding_unit(system.dtype)) for size in sizes]
    norm, gap = lengths[0], 1 - abs(a) * (1 + 4 * u)
    if gap <= 0:
        return norm, xp.where(lengths[0] + lengths[1] + lengths[2] > 0, np.inf, 0.0)
    left = 1.0
    if walked is not None:
        left, u = xp.where(walked, abs(a), 1.0), u * xp.where(walked, 3.0, 1.0)
    euclidean = (left * norm + u * (lengths[1] + 2 * lengths[2])) / gap
    with np.errstate(over="ignore"):  # beside weights that are far apart: the other bound is the smaller
        maximum = system.largest_weight * (left * sizes[0][1] + u * (sizes[1][1] + 2 * sizes[2][1])) / gap
    return norm, xp.minimum(euclidean, maximum) + 2 * u * sizes[2][2]


def check_seeds(seeds: object, n_nodes: int, name: str = "seeds") -> tuple[Array, bool]:
    """Return seeds as a 2-D array or CSC matrix (n, q), and whether they came as one 1-D column.

    What a device holds stays there; series and frames are read by place.

    >>> check_seeds([1.0, 0.0, 0.0], 3)[0].shape, check_seeds(sparse.eye_array(3), 3)[0].shape
    ((3, 1), (3, 3))
    """
    given: Array = seeds
    if sparse.issparse(given):
        out, single = sparse.csc_array(given), False
        check_indices(out)
    else:
        out = as_array(given, name) if place(given) == "cpu" else given
        single = out.ndim == 1
    shape = out.shape
    out = out[:, None] if single else out
    if out.ndim != 2 or out.shape[0] != n_nodes:
        raise ValueError(f"{name} must have one row for each of the {n_nodes} nodes, got shape {shape}")
    if np.dtype(out.dtype).kind not in "biuf":
        raise TypeError(f"{name} must be real numbers, got dtype {out.dtype}")
    return out, single


def solve_in_blocks(
    system: NormalizedAffinity,
    seeds: object,
    solve_block: BlockSolve,
    *,
    solver: str,
    x0: object = None,
    callback: Callback | None = None,
    dtype: DTypeLike | None = None,
    otherwise: Status = Status.MAX_ITER,
) -> Solution:
    """Run `solve_block` over blocks of columns and put the parts together at the caller's scale.

    ``solve_block(seeds, x0, columns, callback)`` returns, for scaled columns, x (n, q) and, each (q,): converged,
    n_iter, residual (relative), bound, broken. A column that is none of converged, broken and non-finite gets the
    status `otherwise`. The host waits for the device once a block; blocks are as wide as the backend likes them and its
    memory allows.

    >>> from manifold import graph_from_affinity
    >>> from manifold.backends import get_backend
    >>> S = NormalizedAffinity(graph_from_affinity([[0, 1], [1, 0]]).astype("float64"), get_backend())
    >>> def walk(seeds, x0, columns, callback):  # one step, F = S Y, known to be exact
    ...     q = columns.size
    ...     return S @ seeds.block, np.ones(q), np.ones(q), np.zeros(q), np.zeros(q), np.zeros(q)
    >>> solution = solve_in_blocks(S, [[3.0, np.inf], [0.0, 0.0]], walk, solver="walk")
    >>> solution.scores[:, 0].tolist(), [status.name for status in solution.status]
    ([0.0, 3.0], ['CONVERGED', 'NONFINITE'])
    """
    backend, xp = system.backend, system.backend.xp
    check_callback(callback)
    values, single = check_seeds(seeds, system.n_nodes)
    n, q = values.shape
    start = None if x0 is None else check_seeds(x0, n, "x0")[0]
    if start is not None and start.shape != values.shape:
        raise ValueError(f"x0 must have the shape of the seeds {values.shape}, got {start.shape}")
    dtype = np.dtype(dtype or system.dtype)
    each, working = dtype.itemsize * n, 6 * system.dtype.itemsize * n  # bytes a column: its scores; while it is solved

    def at_most(free: int) -> str:
        few = free // (each + working)
        fit = few if few < COLUMN_BLOCK else (free - working * COLUMN_BLOCK) // each
        return f"pass at most {fit} seed columns at a time"

    needed = each * q + working * min(q, COLUMN_BLOCK)
    require_memory(needed, purpose=f"solving {q} columns on {n} nodes", cure=at_most)
    scores = _Scores(xp.empty((n, q), dtype=dtype), backend)
    reports = [np.zeros((7, 0 if n else q))]
    reports[0][[0, -1]] = 1  # without nodes every column is converged and finite

    def solve_part(part: slice) -> None:
        """Solve some columns, and write down their scores and facts."""
        block = Seeds.take(values[:, part], system)
        begin = None
        if start is not None:
            begin = _unit_start(system.inside(backend.asarray(start[:, part])), block.scale, system)
        with np.errstate(under="ignore"):  # far below the largest entry of a column, which lies in [1/2, 1)
            x, *facts = solve_block(block, begin, np.arange(part.start, part.stop), callback)
            rows = [xp.asarray(fact, dtype=np.float64) for fact in (*facts, block.scale, block.finite)]
            report = backend.to_host(xp.stack(rows))
            scores.put(part, system.outside(x), report)
        reports.append(report)

    width = _BLOCKS * system.dtype.itemsize * n
    in_blocks(solve_part, q if n else 0, most=backend.column_block, bytes_each=width, backend=backend)
    converged, n_iter, residual, bound, broken, scale, finite = np.concatenate(reports, axis=1)
    tiny = float(np.finfo(scores.values.dtype).tiny)  # a score below it may have been rounded to 0
    with np.errstate(over="ignore"):
        bound = np.where(scale > 0, bound * np.where(scale > 0, scale, 1.0) + tiny, 0.0)
    # a measured residual of a matrix that rounding may have made singular says nothing of the scores
    lost = np.isinf(bound) & np.isfinite(residual) & system.is_regular
    broken, converged = np.where(lost, 1, broken), np.where(lost, 0, converged)
    return Solution(
        scores=scores.values[:, 0] if single else scores.values,
        status=tuple(_verdict(*column, otherwise) for column in zip(converged, broken, finite, strict=True)),
        n_iter=n_iter.astype(np.int64),
        residual=np.where(finite, residual, np.nan),
        error_bound=np.where(finite, bound, np.inf),
        solver=solver,
    )


def _unit_start(start: Array, scale: Array, system: NormalizedAffinity) -> Array:
    """Return a start (n, q) for unit seeds; columns far beyond the seeds, or not finite, begin at zero."""
    xp = system.backend.xp
    with np.errstate(all="ignore"):
        begin = start / xp.where(scale > 0, scale, 1.0)
        near = (xp.abs(begin) <= _FAR).all(axis=0)  # False for NaN
        return xp.where(near, begin, 0.0).astype(system.dtype)


class _Scores:
    """The scores (n, q) of all blocks at the caller's scale: in float64 once there are some that float32 cannot hold.

    The host learns the scale of a block with its report: no look at the device is added.
    """

    def __init__(self, values: Array, backend: Backend) -> None:
        self.values, self.backend = values, backend

    def put(self, part: slice, x: Array, report: Floats) -> None:
        """Write down scores (n, q) of unit seeds; `report` ends with scales and which are finite, and is corrected."""
        xp, (scale, finite) = self.backend.xp, report[-2:]
        octaves = np.frexp(scale[scale > 0])[1]
        if abs(octaves).max(initial=0) > _PLAIN:
            if self.values.dtype != np.float64:
                wide = self.values.shape[0] * self.values.shape[1] * 8
                require_memory(wide, purpose="scores in float64", cure="bring the seeds near 1")
                narrow, self.values = self.values, xp.empty(self.values.shape, dtype=np.float64)
                self.values[:, : part.start] = narrow[:, : part.start]  # blocks are solved in turn
            x = x.astype(np.float64)
            _, above = np.frexp(self.backend.to_host(xp.abs(x).max(axis=0)))
            finite[above + np.frexp(scale)[1] > 1024] = 0  # scores beyond float64
        back = np.where(finite > 0, scale, np.nan).astype(x.dtype)
        xp.multiply(x, self.backend.asarray(back), out=self.values[:, part])


def _verdict(converged: float, broken: float, finite: float, otherwise: Status) -> Status:
    if not finite:
        return Status.NONFINITE
    if converged:
        return Status.CONVERGED
    return Status.BREAKDOWN if broken else otherwise
