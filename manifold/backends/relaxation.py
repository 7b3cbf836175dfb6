"""Relaxation of residuals, compiled: (I - a S) x = b for a sparse b, at the cost of what x touches.

In: W or S in CSR, v = sqrt(degree), some nodes and their b. Out: nodes that were touched, their x and their residual r.

A `Relaxation` is the workspace of one thread: of the size of the graph it holds one number a node, all else is of the
size of what a solve touches, and is laid down in the order in which it is met, so that it stays in the nearest caches.
Kernels let the interpreter go. Nodes are passed over in the order in which they were met, again and again, and relaxed
where their residual is too large: the answer depends on nothing but the system and the thresholds. A queue would pass
over no others, but what it asks of each entry takes as long as the entry itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._typing import AnyArray, Floats, Ints
from manifold.backends._compiled import compiled
from manifold.errors import CorruptFileError

_NODES, _EDGES = 1 << 12, 1 << 15  # places that a workspace begins with; doubled where they run out
# of `Patch.counts`: nodes, edges, edges relaxed; where a sweep that ran out of places goes on, and whether it relaxed
MET, _KEPT, WORK, _NEXT, _GOING = range(5)
_UNIT = 2.0**-53


class Matrix(NamedTuple):
    """S in CSR, or W and v to form it from: S_ij = W_ij / (v_i v_j)."""

    indptr: AnyArray
    indices: AnyArray
    data: AnyArray
    roots: Floats
    is_normalized: bool


class Patch(NamedTuple):
    """What a solve has met: nodes by the place at which they were met first, and the rows that were opened."""

    place: NDArray[np.int32]  # (n,) of each node of the graph; -1: not met
    nodes: Ints  # (m,) the node at each place
    b: Floats
    x: Floats
    r: Floats
    v: Floats
    start: Ints  # (m,) where the row of a node begins; -1: its row was not opened, and its x is 0
    stop: Ints
    ids: NDArray[np.int32]  # (e,) places of neighbours
    values: Floats  # (e,) entries of S
    counts: Ints


class Relaxation:
    """Solve (I - a S) x = b around the nodes where b is: one solve after another, each where it touches the graph.

    Relaxing node i takes its residual along: ``x_i += w r_i`` and, for its neighbours, ``r_j += a S_ij w r_i``, which
    leaves r = b - (I - a S) x as it was, but for rounding. With w = 2 / (1 + sqrt(1 - a^2)) residuals change sign and
    fall faster than with w = 1 (successive over-relaxation). S symmetric, |a| < 1: any 0 < w < 2 converges.

    Parameters
    ----------
    affinity : (n, n) CSR
        W; with `normalized`, S itself, for degrees so far apart that their products leave float64.
    roots : (n,) float64
        v = sqrt(degree); 1 for isolated nodes.
    a : float
        |a| < 1.
    omega : float, optional
        w; by default the accelerated one.
    normalized : bool

    Attributes
    ----------
    edges : int
        Entries of S that were passed over since `start`: the cost.

    Examples
    --------
    >>> W = sparse.csr_array(np.array([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]]))
    >>> solve = Relaxation(W, np.sqrt([1.0, 2.0, 1.0]), a=0.5)
    >>> solve.start(np.array([0]), np.array([1.0]))
    >>> solve.relax(1e-9)
    True
    >>> solve.nodes.tolist(), solve.x.round(6).tolist()
    ([0, 1, 2], [1.166667, 0.471405, 0.166667])
    """

    def __init__(
        self,
        affinity: sparse.csr_array,
        roots: Floats,
        *,
        a: float,
        omega: float | None = None,
        normalized: bool = False,
    ) -> None:
        self.matrix = Matrix(affinity.indptr, affinity.indices, affinity.data, roots, normalized)
        self.a = float(a)
        self.omega = 2 / (1 + float(np.sqrt(1 - a * a))) if omega is None else float(omega)
        n = affinity.shape[0]
        self.patch = Patch(
            place=np.full(n, -1, np.int32),
            nodes=np.empty(_NODES, np.int64),
            b=np.empty(_NODES),
            x=np.empty(_NODES),
            r=np.empty(_NODES),
            v=np.empty(_NODES),
            start=np.empty(_NODES, np.int64),
            stop=np.empty(_NODES, np.int64),
            ids=np.empty(_EDGES, np.int32),
            values=np.empty(_EDGES),
            counts=np.zeros(5, np.int64),
        )

    def start(self, nodes: AnyArray, values: AnyArray) -> None:
        """Forget the last solve, at the cost of what it touched, and begin with x = 0 and r = b.

        Parameters
        ----------
        nodes : (s,) int
            Where b is; the values of one that is named twice are added up.
        values : (s,) float
            b there.
        """
        forget(self.patch)
        while self.patch.nodes.size < nodes.size:
            self.grow(nodes=True, edges=False)
        begin(self.matrix, self.patch, nodes.astype(np.int64), values.astype(np.float64))

    def relax(self, eps: float, *, inner: float | None = None, budget: float = np.inf) -> bool:
        """Relax until |r_i| <= eps v_i for every node, touched or not; go on from where the last call ended.

        Parameters
        ----------
        eps : float
            > 0: what a row is opened for.
        inner : float, optional
            The same for rows that are open already; by default `eps`. A smaller one solves more exactly where x is
            not 0, without touching more nodes.
        budget : float
            Edges that may be relaxed since `start`, over which it ends early (by one row at most).

        Returns
        -------
        bool
            Whether it ended by `eps`, not by the budget. The invariant between x and r holds in both cases.
        """
        while True:
            within = eps if inner is None else inner
            code = relax(self.matrix, self.patch, self.a, self.omega, within, eps, budget)
            if code <= 1:
                return bool(code == 0)
            self.grow(nodes=code == 2, edges=code == 3)

    def resume(self, nodes: AnyArray, x: AnyArray) -> None:
        """Put x down at some nodes, once `start` has put b, and compute the residual: go on from an earlier answer.

        Parameters
        ----------
        nodes : (s,) int
            Distinct; their rows are opened.
        x : (s,) float

        Examples
        --------
        >>> W = sparse.csr_array(np.array([[0.0, 1], [1, 0]]))
        >>> solve = Relaxation(W, np.ones(2), a=0.5)
        >>> solve.start(np.array([0]), np.array([1.0]))
        >>> solve.resume(np.array([0, 1]), np.array([4 / 3, 2 / 3]))
        >>> np.abs(solve.r).round(12).tolist()
        [0.0, 0.0]
        """
        begun, nodes, x = 0, nodes.astype(np.int64), x.astype(np.float64)
        while begun < nodes.size:
            code, begun = _resume(self.matrix, self.patch, nodes, x, begun)
            if code:
                self.grow(nodes=code == 2, edges=code == 3)
        self.refresh()

    def refresh(self) -> Floats:
        """Compute r = b - (I - a S) x afresh from x; return what rounding may have hidden of it, for touched nodes.

        The bound counts, as unit round-offs, twice the entries of the longest row that was met and 8 (of a sum of m
        products whose entries hold the rounding of a degree, itself a sum of m) of |b| + |x| + |a| S |x|.
        """
        hidden: Floats = np.empty(self.nodes.size)
        refresh(self.matrix, self.patch, self.a, hidden)
        return hidden

    @property
    def nodes(self) -> Ints:
        """The touched nodes (m,), in the order in which they were met; a view that the next solve overwrites."""
        return self.patch.nodes[: self.patch.counts[MET]]

    @property
    def x(self) -> Floats:
        """x (m,) of `nodes`, 0 elsewhere; a view."""
        return self.patch.x[: self.patch.counts[MET]]

    @property
    def r(self) -> Floats:
        """r (m,) of `nodes`, 0 elsewhere; a view, whose rounding grows with the work: see `refresh`."""
        return self.patch.r[: self.patch.counts[MET]]

    @property
    def v(self) -> Floats:
        """sqrt(degree) (m,) of `nodes`; a view."""
        return self.patch.v[: self.patch.counts[MET]]

    @property
    def opened(self) -> NDArray[np.bool_]:
        """Of which `nodes` the row was opened (m,): x is 0 at the others."""
        return np.asarray(self.patch.start[: self.patch.counts[MET]] >= 0)

    @property
    def edges(self) -> int:
        """Entries of S that were passed over since `start`."""
        return int(self.patch.counts[WORK])

    def grow(self, *, nodes: bool, edges: bool) -> None:
        """Double the places for nodes, or those for edges.

        Raises CorruptFileError where neither is what was short: a row leads out of the matrix.
        """
        if not (nodes or edges):
            raise CorruptFileError("a row of the graph names a node that there is not: load it with verify='full'")
        longer = {"ids", "values"} if edges else set()
        longer |= {"nodes", "b", "x", "r", "v", "start", "stop"} if nodes else set()
        parts = self.patch._asdict().items()
        self.patch = self.patch._replace(
            **{name: np.concatenate([part, np.empty_like(part)]) for name, part in parts if name in longer}
        )


@compiled
def forget(patch):  # type: ignore[no-untyped-def]
    """Leave the nodes that the last solve met, at the cost of what it touched."""
    for i in range(patch.counts[MET]):
        patch.place[patch.nodes[i]] = -1
    patch.counts[:] = 0


@compiled
def begin(matrix, patch, nodes, values):  # type: ignore[no-untyped-def]
    """Add `values` to b, and to the residual, at `nodes` (s,); places for as many must be there."""
    for e in range(nodes.size):
        node = nodes[e]
        i = np.int64(patch.place[node])
        if i < 0:
            i = patch.counts[MET]
            patch.counts[MET] += 1
            patch.place[node], patch.nodes[i], patch.v[i] = i, node, matrix.roots[node]
            patch.b[i] = patch.x[i] = patch.r[i] = 0.0
            patch.start[i] = patch.stop[i] = -1
        patch.b[i] += values[e]
        patch.r[i] += values[e]


@compiled
def _open(matrix, patch, i):  # type: ignore[no-untyped-def]
    """Write the row of a node down by places, its entries those of S; return 2 or 3 where places run out.

    Return 4 for a row that leads out of the matrix: one that is mapped was not looked through.
    """
    place, nodes, v, roots, indices = patch.place, patch.nodes, patch.v, matrix.roots, matrix.indices
    first, last = np.int64(matrix.indptr[nodes[i]]), np.int64(matrix.indptr[nodes[i] + 1])
    if not 0 <= first <= last <= indices.size:
        return 4
    met, at, own = patch.counts[MET], patch.counts[_KEPT], v[i]
    if met + last - first > nodes.size:
        return 2
    if at + last - first > patch.ids.size:
        return 3
    patch.start[i], patch.stop[i] = at, at + last - first
    for e in range(first, last):  # no call: to pass a patch on costs more than an entry
        node = np.int64(indices[e])
        if not 0 <= node < place.size:
            patch.counts[MET] = met  # so that they are forgotten
            return 4
        j = np.int64(place[node])
        if j < 0:
            j = met
            met += 1
            place[node], nodes[j], v[j] = j, node, roots[node]
            patch.b[j] = patch.x[j] = patch.r[j] = 0.0
            patch.start[j] = patch.stop[j] = -1
        value = np.float64(matrix.data[e])
        patch.ids[at] = j
        patch.values[at] = value if matrix.is_normalized else value / (own * v[j])
        at += 1
    patch.counts[MET], patch.counts[_KEPT] = met, at
    return 0


@compiled
def _resume(matrix, patch, nodes, x, begun):  # type: ignore[no-untyped-def]
    for e in range(begun, nodes.size):
        if patch.counts[MET] == patch.nodes.size:
            return 2, e
        begin(matrix, patch, nodes[e : e + 1], np.zeros(1))
        i = np.int64(patch.place[nodes[e]])
        code = _open(matrix, patch, i) if patch.start[i] < 0 else 0
        if code > 0:
            return code, e
        patch.x[i] = x[e]
    return 0, nodes.size


@compiled
def relax(matrix, patch, a, omega, inner, outer, budget):  # type: ignore[no-untyped-def]
    """Return 0 where every |r| is below its threshold, 1 at the end of the budget, 2 or 3 where places run out.

    Once there are more places, the next call goes on where this one was: an answer does not depend on how many there
    were, and so not on what the workspace solved before.
    """
    x, r, v, start, stop = patch.x, patch.r, patch.v, patch.start, patch.stop
    ids, values, work = patch.ids, patch.values, patch.counts[WORK]
    code, i, going = 0, patch.counts[_NEXT], patch.counts[_GOING] > 0
    while True:
        while i < patch.counts[MET]:  # those that are met on the way as well
            here = r[i]
            if abs(here) <= (outer if start[i] < 0 else inner) * v[i]:
                i += 1
                continue
            code = 1 if work > budget else _open(matrix, patch, i) if start[i] < 0 else 0
            if code > 0:
                break
            going, first, last = True, start[i], stop[i]
            step = here * omega if first < last else here  # without neighbours it is solved at once
            x[i] += step
            r[i] = here - step  # with omega > 1 some of it comes back, of the other sign
            step *= a
            for e in range(np.uint64(first), np.uint64(last)):  # unsigned: no place is counted from the end
                r[np.uint64(ids[e])] += step * values[e]
            work += last - first
            i += 1
        if code > 0 or not going:
            break
        i, going = 0, False
    patch.counts[WORK] = work
    patch.counts[_NEXT], patch.counts[_GOING] = (i, going) if code > 1 else (0, 0)
    return code


@compiled
def refresh(matrix, patch, a, hidden):  # type: ignore[no-untyped-def]
    """Compute r afresh from x, and write what rounding may hide of it: see `Relaxation.refresh`."""
    b, x, r, longest = patch.b, patch.x, patch.r, np.int64(0)
    for i in range(hidden.size):
        node = patch.nodes[i]
        longest = max(longest, np.int64(matrix.indptr[node + 1] - matrix.indptr[node]))
        r[i], hidden[i] = b[i] - x[i], abs(b[i]) + abs(x[i])
    for i in range(hidden.size):
        first, last = patch.start[i], patch.stop[i]
        for e in range(first, last):  # none where the row was not opened: x is 0 there
            j, term = patch.ids[e], a * x[i] * patch.values[e]
            r[j] += term
            hidden[j] += abs(term)
    patch.counts[WORK] += patch.counts[_KEPT]
    for i in range(hidden.size):
        hidden[i] *= (2 * longest + 8) * _UNIT
