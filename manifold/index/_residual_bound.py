"""How far a residual of the solve moves the scores: constants of the stored columns, each found once.

In: stored columns of K = h(S) = w (I - a S)^-1, with tails and errors. Out: one number a node, all bounds from above,
and what a solve on S asks for at every query.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._typing import Floats
from manifold.backends import rounding_unit
from manifold.index.entries import HeldColumns

SLACK = 1e-10  # more than the relative rounding of sums over all nodes in float64, and of S v = v times 1 / (1 - a)
_MET = 1 << 21  # entries held in float64 at a time


class _Held(HeldColumns, Protocol):
    """Stored columns, and what is found of all of them once."""

    @property
    def roots(self) -> Floats: ...

    @property
    def rest(self) -> Floats: ...

    @property
    def root_diagonal(self) -> Floats: ...


@dataclass(frozen=True, eq=False)
class ResidualBound:
    """What bounds the error of scores by their residual, in the order of S, in which a refinement works.

    That order is of `NormalizedAffinity`, as are the entries of S.

    `single` is -a S in float32, each entry wrong by at most a share `rounding`; v are the roots of the degrees, of that
    `length`; `stored` and `others` are of `_factors`, `typical` is the mean of their sum.
    """

    order: NDArray[np.int32] | None
    S: sparse.csr_array
    single: sparse.csr_array
    rounding: float
    v: Floats
    inverse: Floats
    stored: Floats
    others: Floats
    typical: float
    length: float

    @classmethod
    def of(cls, columns: _Held) -> ResidualBound:
        """Put the constants of columns in the order of S.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.index import DiffusionIndex
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
        >>> index = DiffusionIndex(n_entries=3, dtype="float64").build(path, filter=Diffusion(0.5))
        >>> bound = ResidualBound.of(index)
        >>> bound.others.round(6).tolist(), round(bound.length, 6)  # nothing is left out; v is sqrt(degree)
        ([0.0, 0.0, 0.0], 2.0)
        """
        system = columns.system
        order, S = system.order, system.entries
        v, stored, others = (_inside(order, rows) for rows in (columns.roots, *_factors(columns)))
        ((_, a),) = columns.filter.resolvents or ()
        with np.errstate(under="ignore"):
            single = sparse.csr_array(((-a * S.data).astype(np.float32), S.indices, S.indptr), shape=S.shape)
        normal = (np.abs(single.data) >= np.finfo(np.float32).tiny)[S.data > 0].all() or a == 0
        rounding = 2 * rounding_unit(np.float32) if normal else 1.0
        typical = float((stored + others).mean()) if v.size else 0.0
        return cls(order, S, single, rounding, v, 1 / v, stored, others, typical, length=float(np.sqrt((v**2).sum())))

    def inside(self, rows: Floats) -> Floats:
        """Return rows (n,) on the host, given in the order of the graph, in that of S.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.index import DiffusionIndex
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
        >>> index = DiffusionIndex(n_entries=3, dtype="float64").build(path, filter=Diffusion(0.5))
        >>> ResidualBound.of(index).inside(np.array([1.0, 2.0, 3.0])).tolist()  # a small graph keeps its order
        [1.0, 2.0, 3.0]
        """
        return _inside(self.order, rows)


def _inside(order: NDArray[np.int32] | None, rows: Floats) -> Floats:
    return rows if order is None else rows[order]


def root_diagonal(columns: _Held) -> Floats:
    """Return bounds (n,) on sqrt(K_ii), which is the length of K^1/2 e_i.

    >>> from manifold import Diffusion, graph_from_affinity
    >>> from manifold.index import DiffusionIndex
    >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
    >>> index = DiffusionIndex(n_entries=2, dtype="float64").build(path, filter=Diffusion(0.5))
    >>> (root_diagonal(index) ** 2).round(6).tolist()
    [0.583333, 0.666667, 0.583333]
    """
    ids, (n, width) = columns.ids, columns.ids.shape
    if not width:
        return np.ones(n)
    own = np.arange(n, dtype=ids.dtype)
    place = (ids < own[:, None]).sum(axis=1).clip(max=width - 1)  # ids ascend
    held = np.take_along_axis(ids, place[:, None], axis=1)[:, 0] == own
    values = np.take_along_axis(columns.values, place[:, None], axis=1)[:, 0].astype(np.float64)
    upper = columns.rounded(values, values)[1] + columns.error
    return np.asarray(np.sqrt(np.where(held, upper, columns.tail)))


def rest(columns: _Held) -> Floats:
    """Return bounds (n,) on the sum of K_ij v_j over the j that column i does not hold; K v <= v for v = roots.

    >>> from manifold import Diffusion, graph_from_affinity
    >>> from manifold.index import DiffusionIndex
    >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
    >>> index = DiffusionIndex(n_entries=2, dtype="float64").build(path, filter=Diffusion(0.5))
    >>> rest(index).round(6).tolist()  # what columns of three entries hold beyond two
    [0.083333, 0.235702, 0.083333]
    """
    v = columns.roots
    held, each = np.empty_like(v), np.empty_like(v)
    for part in _parts(columns):
        of_v = v[columns.ids[part]]
        lower = columns.rounded(values := columns.values[part].astype(np.float64), values)[0]
        held[part], each[part] = np.einsum("ij,ij->i", lower, of_v), of_v.sum(axis=1)
    return np.asarray(np.maximum(v - held + columns.error * each, 0) + SLACK * v)


def _factors(columns: _Held) -> tuple[Floats, Floats]:
    """Return factors (n,) of two lengths of a residual r = w y - (I - a S) x, which bound what x + r still misses.

    F - x - r = M r with M = K / w - I = a S K / w >= 0, and by the inequality of Cauchy and Schwarz, for the entries of
    row i that are stored and for those that are not,

        |(M r)_i| <= sqrt(sum over stored j of M_ij^2) |r| + sqrt(rest_i tail_i) / w sqrt(sum_j r_j^2 / v_j).

    Where stored entries are known too badly for that, it is at most sqrt(K_ii) / w |r|, for K has norm 1.
    """
    ((w, _),) = columns.filter.resolvents or ()
    squares = np.empty_like(columns.tail)
    for part in _parts(columns):
        values = columns.values[part].astype(np.float64)
        upper = columns.rounded(values, values)[1] + columns.error[part, None]
        upper -= w * (columns.ids[part] == np.arange(part.start, part.stop)[:, None])
        squares[part] = np.einsum("ij,ij->i", upper, upper)
    stored, others, whole = np.sqrt(squares) / w, np.sqrt(columns.rest * columns.tail) / w, columns.root_diagonal / w
    badly = stored + others > whole
    stored[badly], others[badly] = whole[badly], 0
    return stored * (1 + SLACK), others * (1 + SLACK)


def _parts(columns: _Held) -> Iterator[slice]:
    n, width = columns.ids.shape
    step = max(1, _MET // max(width, 1))
    yield from (slice(start, min(start + step, n)) for start in range(0, n, step))
