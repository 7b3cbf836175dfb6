"""Relaxation of residuals for many sparse right sides side by side, compiled: columns of (I - a S)^-1 of near nodes.

In: W in CSR, v = sqrt(degree), up to 16 nodes. Out: x and r of each of their columns, on the nodes that any of them
touches. Neighbouring columns touch the same rows: a row is opened once for all of them, and an entry of it serves 16
columns in two registers. Where a single solve keeps a queue, this one goes over all touched rows in the order in which
they were met, and relaxes those where the residual of any column is too large. Residuals are held in float32, which
halves what is moved, and computed afresh from x in float64 wherever something is concluded from them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._typing import AnyArray, Floats, Ints
from manifold.backends._compiled import compiled
from manifold.backends._lanes import add, exceeds, fma, larger, load, store, widened, zeros

WIDTH = 16  # columns side by side
_NODES, _EDGES = 1 << 12, 1 << 15  # places that a workspace begins with; doubled where they run out
_MET, _KEPT, _WORK = range(3)  # of `_Patch.counts`: nodes, entries, entries passed over
_FAR = 2.0**30
_UNIT = 2.0**-53


class _Patch(NamedTuple):
    """What a solve has met: nodes by the place at which they were met first, and the rows that were opened."""

    place: NDArray[np.int32]  # (n,) of each node of the graph; -1: not met
    nodes: Ints  # (m,) the node at each place
    v: Floats
    start: Ints  # (m,) where the row of a node begins; -1: it was not opened, and x is 0 there
    stop: Ints
    moved: NDArray[np.bool_]  # (m,) whether r may have grown since it was looked at
    x: Floats  # (16 m,)
    r: AnyArray
    scratch: Floats  # (16 m,)
    found: NDArray[np.int32]  # (16 m,)
    ids: NDArray[np.int32]  # (e,) places of neighbours
    values: Floats  # (e,) entries of a S
    counts: Ints


class Largest(NamedTuple):
    """The largest entries of some columns, and what is known of the others."""

    ids: Ints  # (q, k) ascending; where fewer nodes were touched, the first others behind them
    values: Floats  # (q, k), 0 of those others
    n_found: Ints  # (q,) how many were touched
    n_labelled: Ints  # (q,) how many of the same label were touched
    beyond: Floats  # (q,) what no touched entry that is left out exceeds
    widest: Floats  # (q,) the largest v of those found


class ColumnRelaxation:
    """Solve (I - a S) x = w e_j for up to 16 nodes j together; the workspace of one thread.

    Parameters
    ----------
    affinity : (n, n) CSR
        W.
    roots : (n,) float64
        v = sqrt(degree); 1 for isolated nodes.
    a, w : float
        0 <= a < 1; w > 0.

    Examples
    --------
    >>> W = sparse.csr_array(np.array([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]]))
    >>> solve = ColumnRelaxation(W, np.sqrt([1.0, 2.0, 1.0]), a=0.5, w=1.0)
    >>> solve.start(np.array([0, 2]))
    >>> solve.relax(1e-9)
    True
    >>> solve.nodes.tolist(), solve.x[0].round(5).tolist()
    ([0, 2, 1], [1.16667, 0.16667, 0.4714])
    """

    def __init__(self, affinity: sparse.csr_array, roots: Floats, *, a: float, w: float) -> None:
        self.matrix = affinity.indptr, affinity.indices, affinity.data
        self.roots, self.a, self.w = roots, float(a), float(w)
        self.scale: Floats = np.ones(0)
        self.omega = 2 / (1 + float(np.sqrt(1 - a * a)))
        n = affinity.shape[0]
        self.rounding = float(2 * np.diff(affinity.indptr).max(initial=0) + 8) * _UNIT
        self.patch = _Patch(
            place=np.full(n, -1, np.int32),
            nodes=np.empty(_NODES, np.int64),
            v=np.empty(_NODES),
            start=np.empty(_NODES, np.int64),
            stop=np.empty(_NODES, np.int64),
            moved=np.empty(_NODES, np.bool_),
            x=np.empty(WIDTH * _NODES),
            # products of roots that are too far apart leave float32
            r=np.empty(WIDTH * _NODES, np.float32 if roots.max() < _FAR * roots.min() else np.float64),
            scratch=np.empty(WIDTH * _NODES),
            found=np.empty(WIDTH * _NODES, np.int32),
            ids=np.empty(_EDGES, np.int32),
            values=np.empty(_EDGES),
            counts=np.zeros(3, np.int64),
        )

    def start(self, nodes: Ints) -> None:
        """Forget the last solve, at the cost of what it touched, and begin with x = 0 and r = w e_j, j in `nodes`.

        Nodes are distinct.
        """
        self.scale = np.ones(nodes.size)
        _start(self.patch, self.roots, nodes.astype(np.int64), self.w)

    def weigh(self, factors: Floats) -> None:
        """Hold columns to thresholds of their own: `relax` compares residuals times powers of two near `factors`.

        Such a scaling is exact, and all that is answered is free of it.
        """
        powers = np.ones(WIDTH)
        powers[: self.q] = np.exp2(np.rint(np.log2(factors)))
        self.scale = self.scale * powers[: self.q]
        _weigh(self.patch, powers)

    def relax(self, eps: float, *, budget: float = np.inf) -> bool:
        """Relax until |r_i| <= eps v_i for every node and column; go on from where the last call ended.

        Parameters
        ----------
        eps : float
            > 0.
        budget : float
            Entries that may be passed over since `start`, over which it ends early.

        Returns
        -------
        bool
            Whether it ended by `eps`, not by the budget. The r it looks at is off by 1e-7 of what it was when it was
            last computed afresh, by `judge`: go on from there to be more exact.
        """
        while True:
            code = _relax(*self.matrix, self.roots, self.patch, self.a, self.omega, eps, budget)
            if code <= 1:
                return bool(code == 0)
            self._grow(nodes=code == 2)

    def judge(self) -> Floats:
        """Compute r afresh; return the largest |r| / v (q,), what rounding may hide included.

        Rounding hides at most u (|b| + |x| + a S |x|) of r, with u unit round-offs twice the entries of the longest row
        and 8; because S v <= v that is at most u (max |b| / v + 2 max |x| / v) v.
        """
        most = np.zeros((2, WIDTH))
        _judge(self.patch, self.w * self.scale, most[0], most[1])
        residual, largest = most[:, : self.q] / self.scale
        return np.asarray(residual + self.rounding * (self.w / self.v[: self.q] + 2 * largest))

    def largest(self, k: int, *, least: Floats, labels: AnyArray) -> Largest:
        """Return the k largest entries of x, cut at 0, of each column, among the nodes of its own label.

        Parameters
        ----------
        k : int
        least : (q,) float64
            Entries below `least` are passed over where k others are above.
        labels : (n,) int
            Of all nodes: the connected component.

        Raises
        ------
        ValueError
            Where x is not finite: the matrix and the roots are then not those of one graph.
        """
        if not np.isfinite(self.patch.x[: WIDTH * self.nodes.size]).all():  # what is compiled takes numbers for granted
            raise ValueError("columns grew without bound: degrees are not the row sums of the affinity")
        found = Largest(
            ids=np.zeros((self.q, k), np.int64),
            values=np.zeros((self.q, k)),
            n_found=np.zeros(self.q, np.int64),
            n_labelled=np.zeros(self.q, np.int64),
            beyond=np.zeros(self.q),
            widest=np.zeros(self.q),
        )
        _largest(self.patch, labels, 1 / self.scale, least, found)
        return found

    @property
    def nodes(self) -> Ints:
        """The touched nodes (m,), those of the columns first; a view that the next solve overwrites."""
        return self.patch.nodes[: self.patch.counts[_MET]]

    @property
    def v(self) -> Floats:
        """sqrt(degree) (m,) of `nodes`; a view."""
        return self.patch.v[: self.patch.counts[_MET]]

    @property
    def x(self) -> Floats:
        """x (q, m) of `nodes`, 0 elsewhere."""
        return self.patch.x[: WIDTH * self.nodes.size].reshape(-1, WIDTH)[:, : self.q].T / self.scale[:, None]

    @property
    def q(self) -> int:
        """Number of columns."""
        return self.scale.size

    @property
    def edges(self) -> int:
        """Entries of S that were passed over since `start`, each for all columns."""
        return int(self.patch.counts[_WORK])

    def _grow(self, *, nodes: bool) -> None:
        """Double the places for nodes, or those for entries."""
        longer = {"nodes", "v", "start", "stop", "moved", "x", "r", "scratch", "found"} if nodes else {"ids", "values"}
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
def _weigh(patch, powers):  # type: ignore[no-untyped-def]
    for i in range(patch.counts[_MET]):
        for c in range(WIDTH):
            patch.x[WIDTH * i + c] *= powers[c]
            patch.r[WIDTH * i + c] *= powers[c]


@compiled
def _relax(indptr, indices, data, roots, patch, a, omega, eps, budget):  # type: ignore[no-untyped-def]
    """Return 0 where every |r| is below its threshold, 1 at the end of the budget, 2 or 3 where places run out."""
    place, nodes, v, start, stop, moved = patch.place, patch.nodes, patch.v, patch.start, patch.stop, patch.moved
    x, r, ids, values = patch.x, patch.r, patch.ids, patch.values
    met, kept, work = patch.counts[_MET], patch.counts[_KEPT], patch.counts[_WORK]
    moved[:met] = True  # against another threshold
    code, going = 0, True
    while going and code == 0:
        going, i = False, 0
        while i < met:
            if not moved[i]:
                i += 1
                continue
            here = load(r, WIDTH * i, WIDTH, WIDTH, False)
            moved[i] = exceeds(here, eps * v[i])
            if moved[i]:
                if work > budget:
                    code = 1
                    break
                going = True
                if start[i] < 0:
                    first, last = np.int64(indptr[nodes[i]]), np.int64(indptr[nodes[i] + 1])
                    if met + last - first > nodes.size:
                        code = 2
                        break
                    if kept + last - first > ids.size:
                        code = 3
                        break
                    start[i], stop[i] = kept, kept + last - first
                    for e in range(first, last):
                        node = np.int64(indices[e])
                        j = np.int64(place[node])
                        if j < 0:
                            j = met
                            met += 1
                            place[node], nodes[j], v[j] = j, node, roots[node]
                            start[j] = stop[j] = -1
                            moved[j] = False
                            store(x, WIDTH * j, WIDTH, False, zeros(widened(here)))
                            store(r, WIDTH * j, WIDTH, False, zeros(here))
                        ids[kept], values[kept] = j, a * np.float64(data[e]) / v[i] / v[j]
                        kept += 1
                # without neighbours a node is solved at once
                share = omega if stop[i] > start[i] else 1.0
                step = fma(share, here, zeros(here))
                store(x, WIDTH * i, WIDTH, False, add(load(x, WIDTH * i, WIDTH, WIDTH, False), widened(step)))
                store(r, WIDTH * i, WIDTH, False, fma(-share, here, here))
                for e in range(start[i], stop[i]):
                    j = np.int64(ids[e])
                    moved[j], at = True, WIDTH * j
                    store(r, at, WIDTH, False, fma(values[e], step, load(r, at, WIDTH, WIDTH, False)))
                work += stop[i] - start[i] + 1
            i += 1
    patch.counts[_MET], patch.counts[_KEPT], patch.counts[_WORK] = met, kept, work
    return code


@compiled
def _judge(patch, b, residual, largest):  # type: ignore[no-untyped-def]
    x, v, met = patch.x, patch.v, patch.counts[_MET]
    r = patch.scratch
    for i in range(WIDTH * met):
        r[i] = -x[i]
    for c in range(b.size):
        r[WIDTH * c + c] += b[c]
    for i in range(met):
        here = load(x, WIDTH * i, WIDTH, WIDTH, False)
        for e in range(patch.start[i], patch.stop[i]):  # none where the row was not opened: x is 0 there
            at = WIDTH * np.int64(patch.ids[e])
            store(r, at, WIDTH, False, fma(patch.values[e], here, load(r, at, WIDTH, WIDTH, False)))
    patch.counts[_WORK] += patch.counts[_KEPT]
    most = most_x = zeros(load(x, 0, WIDTH, WIDTH, False))
    for i in range(met):
        inverse, here = 1 / v[i], load(r, WIDTH * i, WIDTH, WIDTH, False)
        most = larger(most, fma(inverse, here, zeros(here)))
        most_x = larger(most_x, fma(inverse, load(x, WIDTH * i, WIDTH, WIDTH, False), zeros(here)))
    store(residual, 0, WIDTH, False, most)
    store(largest, 0, WIDTH, False, most_x)
    patch.r[: WIDTH * met] = r[: WIDTH * met]


@compiled
def _largest(patch, labels, inverse, least, found):  # type: ignore[no-untyped-def]
    x, v, nodes, met = patch.x, patch.v, patch.nodes, patch.counts[_MET]
    q, k = found.values.shape
    n_seen, at, entries = np.zeros(q, np.int64), patch.found, patch.scratch
    at, entries = at[: q * met].reshape(q, met), entries[: q * met].reshape(q, met)
    own = labels[nodes[:q]]
    for i in range(met):
        label = labels[nodes[i]]
        for c in range(q):
            entry = x[WIDTH * i + c] * inverse[c]
            if entry >= least[c] and label == own[c]:
                at[c, n_seen[c]], entries[c, n_seen[c]] = i, entry
                n_seen[c] += 1
            found.n_labelled[c] += label == own[c]
    for c in range(q):
        m, passed_over = n_seen[c], least[c]
        if m <= k and m < found.n_labelled[c]:  # too many were passed over
            m, passed_over = 0, 0.0
            for i in range(met):
                if labels[nodes[i]] == own[c]:
                    at[c, m], entries[c, m] = i, max(x[WIDTH * i + c] * inverse[c], 0.0)
                    m += 1
        places, beyond = _picked(entries[c, :m], at[c, :m], k)
        found.n_found[c] = places.size
        found.beyond[c] = max(passed_over, beyond) if m > k else 0.0
        for i in places:
            found.widest[c] = max(found.widest[c], v[i])
        _fill(found.ids[c], nodes[places])
        for t in range(k):
            place = np.int64(patch.place[found.ids[c, t]])
            if place >= 0 and labels[nodes[place]] == own[c]:
                found.values[c, t] = max(x[WIDTH * place + c] * inverse[c], 0.0)


@compiled
def _picked(entries, at, k):  # type: ignore[no-untyped-def]
    """Return the places of the k largest entries, equal ones as they stand, and the largest that is left out."""
    if entries.size <= k:
        return at.copy(), 0.0
    parted = np.partition(entries, entries.size - k)
    kth = parted[entries.size - k]
    places, taken = np.empty(k, np.int32), 0
    for i in range(entries.size):
        if entries[i] > kth:
            places[taken] = at[i]
            taken += 1
    for i in range(entries.size):
        if entries[i] == kth and taken < k:
            places[taken] = at[i]
            taken += 1
    return places, parted[: entries.size - k].max()


@compiled
def _fill(ids, some):  # type: ignore[no-untyped-def]
    """Write ids down ascending and, where there are more places, the first that are not among them."""
    held, other, t = np.sort(some), 0, 0
    ids[: some.size] = held
    for missing in range(some.size, ids.size):
        while t < held.size and held[t] == other:
            other += 1
            t += 1
        ids[missing] = other
        other += 1
    ids.sort()
