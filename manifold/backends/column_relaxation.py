"""Relaxation of residuals for many sparse right sides side by side, compiled: columns of (I - a S)^-1 of near nodes.

In: W in CSR, v = sqrt(degree), up to 16 nodes. Out: x and r of each of their columns, on the nodes that any of them
touches. Neighbouring columns touch the same rows: an entry of a row serves 16 columns in two registers. Where a single
solve keeps a queue, this one goes over all touched nodes in the order in which they were met, and relaxes those where
the residual of any column is too large. Residuals are held in float32, which halves what is moved, and computed afresh
from x in float64 wherever something is concluded from them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._typing import AnyArray, Floats, Ints
from manifold.backends._compiled import compiled
from manifold.backends._lanes import add, exceeds, fma, larger, load, prefetch, store, widened, zeros
from manifold.backends._largest import LANES, Largest, largest_of_columns

WIDTH = LANES
_NODES, _EDGES = 1 << 12, 1 << 15  # places that a workspace begins with; doubled where they run out
_MET, _KEPT, _WORK = range(3)  # of `_Patch.counts`: nodes, entries, entries passed over
_FAR = 2.0**30
_UNIT = 2.0**-53
# thresholds fall from sweep to sweep, so that those of the first sweeps pass over what is small beside the rest
_COARSE, _FALL = 205.0, 0.4
_AHEAD, _LINE = 6, 16  # places by which a row is asked for before it is read, which takes as long as to pass it thrice


class Entries(NamedTuple):
    """a S for any number of solves, its nodes in an order in which near ones lie side by side."""

    start: Ints  # (n + 1,)
    ids: NDArray[np.int32]  # (e,)
    exact: Floats  # (e,)
    rough: AnyArray  # (e,) the same as residuals are held: in float32, or float64 where roots are too far apart
    v: Floats  # (n,)
    order: Ints  # (n,) the node of the graph at each place: what is asked for and answered has its name
    rank: Ints  # (n,) and where it is

    @classmethod
    def of(cls, affinity: sparse.csr_array, roots: Floats, *, a: float, order: Ints | None = None) -> Entries:
        """Return the entries of a S; `roots` (n,) is v = sqrt(degree), 1 for isolated nodes.

        >>> W = sparse.csr_array(np.array([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]]))
        >>> Entries.of(W, np.sqrt([1.0, 2.0, 1.0]), a=0.5).exact.round(4).tolist()
        [0.3536, 0.3536, 0.3536, 0.3536]
        """
        n = roots.size
        order = np.arange(n) if order is None else order.astype(np.int64)
        rank = np.empty(n, np.int64)
        rank[order] = np.arange(n)
        lengths = np.diff(affinity.indptr)[order]
        start = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        at = np.arange(start[-1]) + np.repeat(affinity.indptr[order] - start[:-1], lengths)
        ids, v = rank[affinity.indices[at]].astype(np.int32), roots[order]
        exact = a * affinity.data[at].astype(np.float64) / np.repeat(v, lengths) / v[ids]
        # products of roots that are too far apart leave float32
        precision = np.float32 if n and v.max() < _FAR * v.min() else np.float64
        return cls(start, ids, exact, exact.astype(precision), v, order, rank)

    @property
    def longest(self) -> int:
        """Entries of the longest row."""
        return int(np.diff(self.start).max(initial=0))


class _Patch(NamedTuple):
    """What a solve has met: nodes by the place at which they were met first, and the rows that were opened.

    They are copied: what is passed over again and again then lies side by side.
    """

    place: NDArray[np.int32]  # (n,) of each node of the graph; -1: not met
    nodes: Ints  # (m,) the node of the entries at each place
    v: Floats
    start: Ints  # (m,) where the row of a node begins; -1: it was not opened, and x is 0 there
    stop: Ints
    x: Floats  # (16 m,)
    r: AnyArray
    ids: NDArray[np.int32]  # (e,) places of neighbours
    rough: AnyArray  # (e,) entries of a S in the precision of r
    counts: Ints


class ColumnRelaxation:
    """Solve (I - a S) x = w e_j for up to 16 nodes j together; the workspace of one thread.

    Parameters
    ----------
    entries : Entries
        a S, 0 <= a < 1; shared by workspaces.
    a, w : float
        w > 0.

    Examples
    --------
    >>> W = sparse.csr_array(np.array([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]]))
    >>> solve = ColumnRelaxation(Entries.of(W, np.sqrt([1.0, 2.0, 1.0]), a=0.5), a=0.5, w=1.0)
    >>> solve.start(np.array([0, 2]))
    >>> solve.relax(1e-9)
    True
    >>> solve.nodes.tolist(), solve.x[0].round(5).tolist()
    ([0, 2, 1], [1.16667, 0.16667, 0.4714])
    """

    def __init__(self, entries: Entries, *, a: float, w: float) -> None:
        self.entries, self.w, self.q = entries, float(w), 0
        # more than is best for the slowest error in the long run: these end early, by the largest residual, and soon
        beyond = 1 - (1 - a) * (1 - 0.35 * a)
        self.omega = 2 / (1 + float(np.sqrt(1 - beyond * beyond)))
        n, precision = entries.v.size, entries.rough.dtype
        self.rounding = float(2 * entries.longest + 8) * _UNIT
        self.patch = _Patch(
            place=np.full(n, -1, np.int32),
            nodes=np.empty(_NODES, np.int64),
            v=np.empty(_NODES),
            start=np.empty(_NODES, np.int64),
            stop=np.empty(_NODES, np.int64),
            x=np.empty(WIDTH * _NODES),
            r=np.empty(WIDTH * _NODES, precision),
            ids=np.empty(_EDGES, np.int32),
            rough=np.empty(_EDGES, precision),
            counts=np.zeros(3, np.int64),
        )

    def start(self, nodes: Ints) -> None:
        """Forget the last solve, at the cost of what it touched, and begin with x = 0 and r = w e_j, j in `nodes`.

        Nodes are distinct.
        """
        self.q = nodes.size
        _start(self.patch, self.entries.v, self.entries.rank[nodes], self.w)

    def relax(self, eps: float | Floats, *, budget: float = np.inf) -> bool:
        """Relax until |r_i| <= eps v_i for every node and column; go on from where the last call ended.

        Parameters
        ----------
        eps : float, or (q,)
            > 0; of each column.
        budget : float
            Entries that may be passed over since `start`, over which it ends early.

        Returns
        -------
        bool
            Whether it ended by `eps`, not by the budget. The r it looks at is off by 1e-7 of what it was when it was
            last computed afresh, by `judge`: go on from there to be more exact.
        """
        each, most = np.ones(WIDTH), float(np.max(eps))
        each[: self.q] = eps / most
        limits, sweep = each.astype(self.patch.r.dtype), np.array([0.0, 0.0, _COARSE])
        while True:
            code = _relax(self.entries, self.patch, self.omega, limits, most, float(budget), sweep)
            if code <= 1:
                return bool(code == 0)
            self._grow(nodes=code == 2)

    def judge(self) -> Floats:
        """Compute r afresh; return the largest |r| / v (q,), what rounding may hide included.

        Rounding hides at most u (|b| + |x| + a S |x|) of r, with u unit round-offs twice the entries of the longest row
        and 8; because S v <= v that is at most u (max |b| / v + 2 max |x| / v) v.

        Raises
        ------
        ValueError
            Where x is not finite: the matrix and the roots are then not those of one graph.
        """
        most, b = np.zeros((2, WIDTH)), np.zeros((WIDTH, WIDTH))
        np.fill_diagonal(b[: self.q], self.w)
        _judge(self.entries, self.patch, b.ravel(), most[0], most[1])
        if not np.isfinite(most).all():
            raise ValueError("columns grew without bound: degrees are not the row sums of the affinity")
        residual, largest = most[:, : self.q]
        return np.asarray(residual + self.rounding * (self.w / self.v[: self.q] + 2 * largest))

    def largest(self, k: int, *, least: Floats, labels: AnyArray) -> Largest:
        """Return the k largest entries of x, cut at 0, of each column, among the nodes of its own label.

        x was looked at by `judge`: what is not finite cannot be compared.

        Parameters
        ----------
        k : int
        least : (q,) float64
            Entries below `least` are passed over where k others are above.
        labels : (n,) int
            Of all nodes: the connected component.
        """
        x, nodes = self.patch.x[: WIDTH * self.v.size], self.nodes
        return largest_of_columns(x, self.v, nodes, k=k, near=labels[nodes], least=least)

    @property
    def nodes(self) -> Ints:
        """The touched nodes (m,), those of the columns first."""
        return self.entries.order[self.patch.nodes[: self.patch.counts[_MET]]]

    @property
    def v(self) -> Floats:
        """sqrt(degree) (m,) of `nodes`; a view."""
        return self.patch.v[: self.patch.counts[_MET]]

    @property
    def x(self) -> Floats:
        """x (q, m) of `nodes`, 0 elsewhere."""
        return self.patch.x[: WIDTH * self.v.size].reshape(-1, WIDTH)[:, : self.q].T

    @property
    def edges(self) -> int:
        """Entries of S that were passed over since `start`, each for all columns."""
        return int(self.patch.counts[_WORK])

    def _grow(self, *, nodes: bool) -> None:
        """Double the places for nodes, or those for entries."""
        longer = {"nodes", "v", "start", "stop", "x", "r"} if nodes else {"ids", "rough"}
        parts = self.patch._asdict().items()
        self.patch = self.patch._replace(
            **{name: np.concatenate([part, np.empty_like(part)]) for name, part in parts if name in longer}
        )


@compiled
def _start(patch, roots, nodes, w):  # type: ignore[no-untyped-def]
    for i in range(patch.counts[_MET]):
        patch.place[patch.nodes[i]] = -1
    patch.counts[:] = 0
    for i in range(nodes.size):
        node = nodes[i]
        patch.place[node], patch.nodes[i], patch.v[i] = i, node, roots[node]
        patch.start[i] = patch.stop[i] = -1
        patch.x[WIDTH * i : WIDTH * (i + 1)] = 0.0
        patch.r[WIDTH * i : WIDTH * (i + 1)] = 0.0
        patch.r[WIDTH * i + i] = w
    patch.counts[_MET] = nodes.size


@compiled
def _relax(entries, patch, omega, limits, eps, budget, sweep):  # type: ignore[no-untyped-def]
    """Return 0 where every |r| is below its threshold, 1 at the end of the budget, 2 or 3 where places run out.

    A sweep is its next place, whether anything was relaxed, and by how much thresholds are coarser: once there are more
    places it goes on from there, so that an answer does not depend on how many there were.
    """
    place, nodes, v, start, stop = patch.place, patch.nodes, patch.v, patch.start, patch.stop
    x, r, ids, rough, limit = patch.x, patch.r, patch.ids, patch.rough, load(limits, 0, WIDTH, WIDTH, False)
    met, kept, work = patch.counts[_MET], patch.counts[_KEPT], patch.counts[_WORK]
    code, i, going, coarser = 0, int(sweep[0]), sweep[1] > 0, sweep[2]
    while True:
        while i < met:
            here = load(r, WIDTH * i, WIDTH, WIDTH, False)
            if not exceeds(here, fma(coarser * eps * v[i], limit, zeros(here))):
                i += 1
                continue
            if work > budget:
                code = 1
                break
            going = True
            if start[i] < 0:
                if i + _AHEAD < met and start[i + _AHEAD] < 0:
                    _ask(entries, nodes[i + _AHEAD])
                first, last = entries.start[nodes[i]], entries.start[nodes[i] + 1]
                code = 2 if met + last - first > nodes.size else 3 if kept + last - first > ids.size else 0
                if code > 0:
                    break
                start[i], stop[i] = kept, kept + last - first
                for e in range(first, last):
                    node = np.int64(entries.ids[e])
                    j = np.int64(place[node])
                    if j < 0:
                        j = met
                        met += 1
                        place[node], nodes[j], v[j] = j, node, entries.v[node]
                        start[j] = stop[j] = -1
                        store(x, WIDTH * j, WIDTH, False, zeros(widened(here)))
                        store(r, WIDTH * j, WIDTH, False, zeros(here))
                    ids[kept], rough[kept] = j, entries.rough[e]
                    kept += 1
            # without neighbours a node is solved at once
            share = omega if stop[i] > start[i] else 1.0
            step = fma(share, here, zeros(here))
            store(x, WIDTH * i, WIDTH, False, add(load(x, WIDTH * i, WIDTH, WIDTH, False), widened(step)))
            store(r, WIDTH * i, WIDTH, False, fma(-share, here, here))
            for e in range(np.uint64(start[i]), np.uint64(stop[i])):  # unsigned: no place is counted from the end
                at = WIDTH * np.int64(ids[e])
                store(r, at, WIDTH, False, fma(rough[e], step, load(r, at, WIDTH, WIDTH, False)))
            work += stop[i] - start[i] + 1
            i += 1
        if code > 0 or (not going and coarser == 1):
            break
        i, going, coarser = 0, False, max(coarser * _FALL, 1.0)
    sweep[0], sweep[1], sweep[2] = i, going, coarser
    patch.counts[_MET], patch.counts[_KEPT], patch.counts[_WORK] = met, kept, work
    return code


@compiled
def _ask(entries, node):  # type: ignore[no-untyped-def]
    """Ask for the first entries of a row."""
    at = entries.start[node]
    for ahead in (at, at + _LINE):
        prefetch(entries.ids, ahead, 1)
        prefetch(entries.rough, ahead, 1)


@compiled
def _judge(entries, patch, b, residual, largest):  # type: ignore[no-untyped-def]
    x, v, met, ids = patch.x, patch.v, patch.counts[_MET], patch.ids
    most = most_x = zeros(load(x, 0, WIDTH, WIDTH, False))
    for i in range(met):
        here = load(x, WIDTH * i, WIDTH, WIDTH, False)
        total = fma(-1.0, here, load(b, WIDTH * i, WIDTH, WIDTH, False) if i < WIDTH else zeros(here))
        first, last = entries.start[patch.nodes[i]], entries.start[patch.nodes[i] + 1]
        if i + _AHEAD < met:
            at = entries.start[patch.nodes[i + _AHEAD]]
            for ahead in (at, at + _LINE // 2, at + _LINE):
                prefetch(entries.exact, ahead, 1)
        if patch.start[i] >= 0:
            kept = np.uint64(patch.start[i])
            for e in range(np.uint64(first), np.uint64(last)):
                total = fma(entries.exact[e], load(x, WIDTH * np.int64(ids[kept]), WIDTH, WIDTH, False), total)
                kept += np.uint64(1)
        else:  # x is 0 there, but not around it
            for e in range(first, last):
                j = np.int64(patch.place[entries.ids[e]])
                if j >= 0:
                    total = fma(entries.exact[e], load(x, WIDTH * j, WIDTH, WIDTH, False), total)
        store(patch.r, WIDTH * i, WIDTH, False, total)
        most = larger(most, fma(1 / v[i], total, zeros(total)))
        most_x = larger(most_x, fma(1 / v[i], here, zeros(here)))
        patch.counts[_WORK] += last - first
    store(residual, 0, WIDTH, False, most)
    store(largest, 0, WIDTH, False, most_x)
