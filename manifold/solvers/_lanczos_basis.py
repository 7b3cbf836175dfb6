"""Krylov bases of a block of columns, grown together, and the small tridiagonal problems they reduce filters to.

In: S and unit seed columns. Out: V with S V = V T + beta v e_m', and V h(T) e_1 with bounds that count rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from manifold._typing import Floats, Ints, Mask
from manifold.backends import Array, Backend, rounding_unit
from manifold.solvers._series import Series
from manifold.solvers.base import Callback, Snapshot
from manifold.solvers.system import NormalizedAffinity

_CHUNK = 16  # basis vectors allocated together
_MOST = 1e200  # of what is stopped on, far above any tolerance: beside a pole at 1 rounding lets it grow without end


@dataclass(frozen=True, eq=False)
class Basis:
    """The Krylov bases of a block of columns, and the tridiagonal matrices (on the host) they reduce S to."""

    chunks: list[tuple[Ints, int, Array]]  # ids of columns, first vector, (columns, vectors, n)
    diagonal: Floats  # (m, q)
    off_diagonal: Floats  # (m, q), 0 from the last vector of a column on
    last: Floats  # (q,) beta, left over after the last vector
    n_iter: Ints
    length: Floats  # (q,) ||y||_2

    def combine(self, weights: Floats, backend: Backend) -> Array:
        """Return, for each column, the sum of basis vectors weighted by a column of (m, q): (n, q)."""
        (_, _, vectors), needed = self.chunks[0], int(np.flatnonzero(weights.any(axis=1)).max(initial=0)) + 1
        out = backend.xp.zeros((self.length.size, vectors.shape[2]), dtype=vectors.dtype)
        for columns, first, vectors in self.chunks:
            if first >= needed:
                break
            z = weights[first : min(first + vectors.shape[1], needed), columns].T
            z = backend.asarray(np.ascontiguousarray(z), dtype=vectors.dtype)
            # vector after vector: a matrix product adds them up in an order that depends on how many there are
            part = backend.xp.einsum("qm,qmn->qn", z, vectors[:, : z.shape[1]])
            if columns.size == self.length.size:
                out += part
            else:
                out[backend.asarray(columns)] += part
        return out.T

    def cut(self, z: Floats, unit: float) -> tuple[Floats, Floats]:
        """Return weights without the last ones of each column, below rounding together, and the sum that was cut.

        A filter smoother than the one a basis was grown for needs fewer vectors: this is what makes it cheaper.
        """
        beyond = np.cumsum(np.abs(z)[::-1], axis=0)[::-1]
        keep = beyond > unit * beyond[0]  # each column by itself, whatever stands beside it
        lost: Floats = np.where(keep, 0.0, np.abs(z)).sum(axis=0)
        return np.where(keep, z, 0.0), lost

    def times_tridiagonal(self, z: Floats) -> Floats:
        """Return T z for each column of z (m, q)."""
        product: Floats = self.diagonal * z
        product[1:] += self.off_diagonal[:-1] * z[:-1]
        product[:-1] += self.off_diagonal[:-1] * z[1:]
        return product

    def leak(self, z: Floats) -> Floats:
        """Return ||beta v z_m||_2: how far S V z is from V T z, but for rounding."""
        ends: Floats = self.last * np.abs(np.take_along_axis(z, np.maximum(self.n_iter - 1, 0)[None], axis=0)[0])
        return ends

    def resolve(self, series: Series, step: float) -> tuple[Floats, Floats, Floats]:
        """Return z = w (I - a T)^-1 e_1, the relative residual of V z, and a bound on its relative error.

        With (I - a T) z = w e_1 - rho the residual is a (beta v z_m + Delta z) + V rho: nothing else.
        """
        a, (m, q) = float(series.a or 0.0), self.diagonal.shape
        bands = np.zeros((3, q, m))  # the systems of all columns one after another: nothing couples them
        bands[1], bands[2] = 1 - a * self.diagonal.T, -a * self.off_diagonal.T
        bands[0, :, 1:] = bands[2, :, :-1]
        right = np.zeros((q, m))
        right[:, 0] = series.w
        z = linalg.solve_banded((1, 1), bands.reshape(3, -1), right.ravel(), check_finite=False).reshape(q, m).T
        rho = a * self.times_tridiagonal(z) - z
        rho[0] += series.w
        size, leak = np.abs(z).sum(axis=0), abs(a) * self.leak(z)
        residual = leak + step * size + np.abs(rho).sum(axis=0) + step * series.w
        return z, leak / series.w, residual / (1 - abs(a))

    def expand(self, series: Series, step: float) -> tuple[Floats, Floats, Floats]:
        """Return z = h(T) e_1 by its Chebyshev series, and a bound on the relative error of V z, twice.

        The errors d_k = T_k(S) v - V T_k(T) e_1 obey d_{k+1} = 2 S d_k - d_{k-1} + 2 g_k with g_k = (beta v e_m' +
        Delta) T_k(T) e_1, computed here. So g_i enters d_k at most 2 (k - i) times, and h at most 2 `moments`_i times.
        """
        c = series.coefficients
        t = np.zeros_like(self.diagonal)
        t[0] = 1.0
        weight, before, z, error = moments(series), t, c[0] * t, np.full(self.length.shape, series.rest)
        for k in range(1, c.size):
            gap = self.leak(t) + step * np.abs(t).sum(axis=0)
            error += (1 if k == 1 else 2) * weight[k - 1] * gap
            after = self.times_tridiagonal(t)
            before, t = t, after if k == 1 else 2 * after - before
            z += c[k] * t
        error += step * (1 + np.abs(c).sum())
        return z, error, error


def moments(series: Series) -> Floats:
    """Return, for each i, the sum over k > i of |c_k| (k - i).

    >>> moments(Series(np.array([1.0, 0.5, -0.25]), 0.0)).tolist()  # 0.5 + 2 times 0.25, 0.25, nothing
    [1.0, 0.25, 0.0]
    """
    beyond = series.truncation() - series.rest  # the sum of the |c_k|, k > i
    total: Floats = np.cumsum(beyond[::-1])[::-1]
    return total


class BasisGrowth:
    """The Lanczos processes of one block, run together; a column that is done goes on with vectors of zeros.

    `require` is called with the number of vectors about to be allocated.
    """

    def __init__(
        self, S: NormalizedAffinity, y: Array, *, parts: tuple[Series, ...], rtol: float, require: Callable[[int], None]
    ) -> None:
        self.S, self.backend, self.xp, self.rtol, self.require = S, S.backend, S.backend.xp, rtol, require
        q = y.shape[1]
        self.poles = self.backend.asarray(np.array([s.a for s in parts if s.a is not None]).reshape(-1, 1))
        # of a filter without poles: a bound on what its series can lose beyond the degree reached
        self.promise = next((4 * moments(s) for s in parts if s.a is None), np.zeros(0))
        self.length = self.xp.sqrt(self.backend.column_dots(y, y))
        self.active = self.length > 0
        self.v, self.before, self.beta = self._scaled(y, self.length), self.xp.zeros_like(y), self.xp.zeros(q)
        self.pivot, self.tail = (self.xp.ones((self.poles.shape[0], q)) for _ in range(2))
        self.n_iter, self.last = self.xp.zeros(q, dtype=np.int64), self.xp.zeros(q)
        self.chunks: list[tuple[Ints, int, Array]] = []
        self.rows: list[Array] = []
        self.which, self.m = np.arange(q), 0

    def _scaled(self, block: Array, length: Array) -> Array:
        """Return columns divided by their lengths; zeros where the length is 0."""
        return block * self.xp.where(length > 0, 1 / self.xp.where(length > 0, length, 1.0), 0.0).astype(block.dtype)

    def run(self, budget: int, columns: Ints, callback: Callback | None) -> Basis:
        """Grow until every column is done or has `budget` vectors."""
        backend, xp = self.backend, self.xp
        while True:
            shortfall = self._step(budget)
            if self.m % backend.check_every:
                continue
            going = backend.to_host(self.active)
            if callback is not None:
                callback(Snapshot(columns[self.which], self.m, backend.to_host(shortfall)))
            if 2 * going.sum() <= going.size:  # half of the block is done: go on with the other half alone
                self._part(going)
                if not going.any():
                    break
                kept = backend.asarray(np.flatnonzero(going))
                self.which = self.which[going]
                self.v, self.before = xp.take(self.v, kept, axis=1), xp.take(self.before, kept, axis=1)
                self.beta = self.beta[kept]
                self.pivot, self.tail, self.active = self.pivot[:, kept], self.tail[:, kept], self.active[kept]
        table = backend.to_host(xp.stack([*self.rows, self.last, self.n_iter.astype(np.float64), self.length]))
        m = self.m
        return Basis(self.chunks, table[:m], table[m : 2 * m], table[-3], table[-2].astype(np.int64), table[-1])

    def _store(self) -> None:
        if not self.chunks or self.chunks[-1][1] + self.chunks[-1][2].shape[1] <= self.m:
            self.require(_CHUNK * self.which.size)
            # vectors of a column lie together, so that combining them is one product a column
            empty = self.xp.empty((self.which.size, _CHUNK, self.S.n_nodes), dtype=self.S.dtype)
            self.chunks.append((self.which, self.m, empty))
        _, first, vectors = self.chunks[-1]
        vectors[:, self.m - first] = self.v.T

    def _part(self, going: Mask) -> None:
        """Split the chunk in work: columns that are done leave with what is filled, the others take theirs along.

        So every column has the same chunks in any company, and is added up in the same order.
        """
        columns, first, vectors = self.chunks.pop()
        done, kept = (self.backend.asarray(np.flatnonzero(which)) for which in (~going, going))
        filled = vectors[:, : self.m - first]
        self.chunks.append((columns[~going], first, self.xp.take(filled, done, axis=0)))
        if going.any():
            self.require(_CHUNK * int(going.sum()))
            chunk = self.xp.empty((int(going.sum()), *vectors.shape[1:]), dtype=vectors.dtype)
            chunk[:, : self.m - first] = self.xp.take(filled, kept, axis=0)
            self.chunks.append((columns[going], first, chunk))

    def _step(self, budget: int) -> Array:
        """Add a vector to every basis; return what the columns are stopped on."""
        xp, backend = self.xp, self.backend
        self._store()
        at = backend.asarray(self.which)
        alpha = xp.empty_like(self.beta)
        w = backend.spmm(self.S.matrix, self.v, c=-self.beta, other=self.before, dots=alpha)
        alpha = alpha.astype(w.dtype)
        beta = xp.sqrt(backend.axpy(w, self.v, -alpha)).astype(w.dtype).astype(np.float64)
        beta = xp.where(beta > 4 * rounding_unit(w.dtype), beta, 0.0)  # else the space is invariant: rounding is left
        coupling = self.poles * self.beta if self.m else xp.ones_like(self.pivot)
        pivot = 1 - self.poles * alpha - (self.poles * self.beta) ** 2 / self.pivot
        self.pivot = xp.maximum(pivot, (1 - xp.abs(self.poles)) / 2)
        tail = coupling * self.tail / self.pivot  # w z_m but for its sign: elimination from the top ends with it
        self.tail = xp.clip(tail, -_MOST, _MOST)
        shortfall = xp.zeros(beta.shape)
        if self.poles.size:
            shortfall = (xp.abs(self.poles * self.tail) * beta).max(axis=0)
        if self.m < self.promise.size:
            shortfall = xp.maximum(shortfall, float(self.promise[self.m]) * (beta > 0))
        self.m += 1
        self.n_iter[at] += self.active
        more = self.active & (shortfall > self.rtol) & (self.m < budget)
        self.last[at] = xp.where(self.active & ~more, beta, self.last[at])
        self.beta, self.active = xp.where(more, beta, 0.0), more
        for position, values in ((self.m - 1, alpha), (len(self.rows) + 1, self.beta)):
            row = xp.zeros(self.length.shape)
            row[at] = values
            self.rows.insert(position, row)  # the diagonal first, then what stands beside it
        self.before, self.v = self.v, self._scaled(w, self.beta)
        return shortfall
