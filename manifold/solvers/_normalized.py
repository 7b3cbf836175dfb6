"""S = D^-1/2 W D^-1/2 on a backend, formed so that weights of any range are safe.

In: a graph. Out: S in an order of its own, products with it, and what bounds on its rounding need.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy import sparse

from manifold._typing import AnyArray, DType, Floats
from manifold.backends import Array, Backend, rounding_unit
from manifold.graph import Graph
from manifold.solvers._formed import inverse, normalized, reordered
from manifold.storage.checkpoint import fingerprint


class NormalizedAffinity:
    """S = D^-1/2 W D^-1/2 on a backend, with rows and columns of isolated nodes zero.

    Entries are formed in float64 from W and its degrees, so that weights of any range are safe, then rounded to
    the dtype of the solve; S is symmetric to the last bit.

    The nodes of a large graph stand in an `order` of their own, in which neighbours are near each other in memory:
    `entries`, its copy `matrix` on the backend, `weights` and `components` are in that order, and so is all that a
    solver computes. `inside` and `outside` take rows there and back; whoever calls a solver never meets it.

    With `by_rows`, for solvers that check each row of W that they read, nothing is formed before it is asked for, and a
    graph that is mapped and was not looked through stays where it lies, `in_place`: in its own order.

    Systems I - a S have |a| < 1, so that they are regular: a bound that rounding has made infinite is a failure.
    """

    is_regular: ClassVar[bool] = True

    def __init__(
        self,
        graph: Graph,
        backend: Backend,
        dtype: DTypeLike | None = None,
        *,
        by_rows: bool = False,
        in_place: bool | None = None,
    ) -> None:
        self.graph, self.backend, self.n_nodes = graph, backend, graph.n_nodes
        self.dtype: DType = np.dtype(dtype or graph.dtype)
        self.by_rows, self.in_place = by_rows, by_rows and not graph.is_verified if in_place is None else in_place
        self.order = None if self.in_place else graph.order
        self.position = None if self.order is None else inverse(self.order)
        if not by_rows:
            _ = self.matrix, self.weights, self.rounding  # what needs no seeds is done before there are any

    def __reduce__(self) -> tuple[object, ...]:  # all of it follows from the graph, whose arrays it shares
        made = partial(type(self), by_rows=self.by_rows, in_place=self.in_place)
        return made, (self.graph, self.backend, self.dtype)

    @cached_property
    def components(self) -> NDArray[np.int32]:
        """Label (n,) of the component of each node, in the order of S."""
        return self.graph.components if self.order is None else self.graph.components[self.order]

    @property
    def degrees(self) -> Floats:
        """Row sums (n,) of W, in the order of S: for when it is formed, not kept beside those of the graph."""
        return self.graph.degrees if self.order is None else self.graph.degrees[self.order]

    @cached_property
    def entries(self) -> sparse.csr_array:
        """S on the host, in its order."""
        W = self.graph.affinity
        return normalized(W if self.order is None else reordered(W, self.order), self.degrees, self.dtype)

    @cached_property
    def matrix(self) -> Array:
        """S on the backend."""
        return self.backend.csr(self.entries, dtype=self.dtype)

    @cached_property
    def weights(self) -> Array:
        """v = sqrt(degree) (n, 1), 1 for isolated nodes: S v <= v, the weights of the max-norm bound."""
        return self.backend.asarray(np.where(self.degrees > 0, np.sqrt(self.degrees), 1.0)[:, None])

    @cached_property
    def largest_weight(self) -> float:
        """The largest of v."""
        return float(np.sqrt(self.graph.degrees.max(initial=1.0)))

    @cached_property
    def rounding(self) -> float:
        """Of a sum of m products whose entries hold the rounding of a degree, itself a sum of m; b, x and a rounded."""
        longest = int(np.diff(self.graph.unverified_affinity.indptr).max(initial=0))
        return float(2 * longest + 8) * rounding_unit(self.dtype)

    @cached_property
    def _gather(self) -> Array | None:
        return None if self.order is None else self.backend.asarray(self.order.astype(np.intp))

    @cached_property
    def _scatter(self) -> Array | None:
        return None if self.position is None else self.backend.asarray(self.position.astype(np.intp))

    def __matmul__(self, block: Array) -> Array:
        return self.backend.spmm(self.matrix, block)

    def residual(self, b: Array, x: Array, a: float) -> Array:
        """Return b - (I - a S) x.

        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> S = NormalizedAffinity(graph_from_affinity([[0, 1], [1, 0]]).astype("float64"), get_backend())
        >>> S.residual(np.array([[1.0], [0.0]]), np.array([[1.0], [1.0]]), 0.5).ravel().tolist()
        [0.5, -0.5]
        """
        return self.backend.spmm(self.matrix, x, a=a, b=-1.0, other=b)

    def inside(self, rows: Array) -> Array:
        """Return rows (n, q) on the device, given in the order of the graph, in that of S.

        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> S = NormalizedAffinity(graph_from_affinity([[0, 1], [1, 0]]), get_backend())
        >>> S.inside(np.array([[1.0], [2.0]])).ravel().tolist()  # a small graph keeps its order
        [1.0, 2.0]
        """
        return rows if self._gather is None else self.backend.xp.take(rows, self._gather, axis=0)

    def outside(self, rows: Array) -> Array:
        """Return rows (n, q) on the device, given in the order of S, in that of the graph.

        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> n, one = 10_000, np.ones(9999)  # a path of so many nodes is put in another order
        >>> path = graph_from_affinity(sparse.diags_array((one, one), offsets=(-1, 1)))
        >>> S, rows = NormalizedAffinity(path, get_backend()), np.arange(n)[:, None]
        >>> bool((S.outside(S.inside(rows)) == rows).all())
        True
        """
        return rows if self._scatter is None else self.backend.xp.take(rows, self._scatter, axis=0)

    def places(self, nodes: AnyArray) -> AnyArray:
        """Return where nodes of the graph stand in S.

        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> NormalizedAffinity(graph_from_affinity([[0, 1], [1, 0]]), get_backend()).places(np.array([1])).tolist()
        [1]
        """
        return nodes if self.position is None else self.position[nodes]

    @cached_property
    def host(self) -> sparse.csr_array:
        """S on the host in the order of the graph.

        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> star = graph_from_affinity([[0, 1, 1], [1, 0, 0], [1, 0, 0]]).astype("float64")
        >>> NormalizedAffinity(star, get_backend()).host.toarray()[0].round(6).tolist()  # 1 / sqrt(2)
        [0.0, 0.707107, 0.707107]
        """
        if self.order is None:
            return self.entries
        return normalized(self.graph.affinity, self.graph.degrees, self.dtype)

    @cached_property
    def digest(self) -> str:
        """Of the entries of S in the order of the graph: what was computed from it belongs to it alone.

        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> pair = graph_from_affinity([[0, 1], [1, 0]])
        >>> once, again = (NormalizedAffinity(pair, get_backend(), dtype).digest for dtype in ("float32", "float64"))
        >>> once == again, once == NormalizedAffinity(pair, get_backend()).digest
        (False, True)
        """
        return fingerprint(self.host.indptr, self.host.indices, self.host.data)
