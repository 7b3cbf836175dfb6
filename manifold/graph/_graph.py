"""The graph as an object: W, degrees and components, checked when it comes from outside, and never changed."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike
from scipy import sparse

from manifold._arrays import as_integers
from manifold._typing import AnyArray, Facts, Floats, Ints
from manifold._weights import check_affinity, make_canonical, row_sums, small_indices
from manifold.graph import _order
from manifold.graph._order import order_of_walk
from manifold.graph._saved import (
    CSR,
    Known,
    Labels,
    believed,
    check_content,
    check_nodes,
    check_reach,
    component_labels,
    read_arrays,
)
from manifold.graph._shown import as_html, as_text
from manifold.storage import Stored, save_arrays

if TYPE_CHECKING:
    from manifold.graph._networkx import NetworkxGraph


class Graph:
    """An undirected weighted graph over the points of a collection; immutable.

    Reference: Zhou et al. (2003b), section 2, steps 1 and 2; Iscen et al. (2017), eqs. 1-2.

    Parameters
    ----------
    affinity : csr_array (n, n), float32 or float64
        W: symmetric, finite, non-negative, without stored zeros; solves run in its dtype. It is copied.
    facts : mapping
        How it was made (metric, n_neighbors, edges, ...), shown by ``repr``.
    self_loops : bool
        Whether the diagonal may be non-zero; the papers' graphs have none.

    Raises
    ------
    ValueError
        Where W breaks a promise above; indices out of range are caught before they could crash a product.

    Examples
    --------
    >>> from manifold.graph import graph_from_affinity
    >>> graph = graph_from_affinity(np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]]))
    >>> graph
    Graph: 3 nodes, 1 edges, 2 components, 1 isolated, degree 0..1 (median 1), 68 B (method=given affinity)
    >>> graph.degrees.tolist(), len(graph)
    ([1.0, 1.0, 0.0], 3)
    """

    __slots__ = ("__weakref__", "_affinity", "_facts", "_known", "_saved", "_self_loops", "_unread", "_unread_nodes")

    _affinity: sparse.csr_array
    _facts: Facts
    _known: Known
    _saved: tuple[str, str] | None  # the folder it was loaded from, and its digest
    _self_loops: bool
    _unread: str | None  # the folder whose arrays are mapped, and not yet looked through
    _unread_nodes: str | None  # the same of those of nodes, which are short

    def __init__(
        self, affinity: sparse.csr_array, facts: Facts = MappingProxyType({}), self_loops: bool = False
    ) -> None:
        W = sparse.csr_array(affinity, copy=True)
        make_canonical(W)
        check_affinity(W, self_loops=self_loops)
        self._hold(W, facts=facts, self_loops=self_loops, known=Known(row_sums(W)))

    @classmethod
    def _trusted(
        cls,
        affinity: sparse.csr_array,
        *,
        facts: Facts,
        self_loops: bool = False,
        degrees: Floats | None = None,
        components: Labels | None = None,
        order: Labels | None = None,
        unread: str | None = None,
    ) -> Graph:
        """Take what the house made, symmetric, canonical and positive, as it is: no copy, and no look at an entry."""
        graph = cls.__new__(cls)
        known = Known(degrees, components, order)
        graph._hold(affinity, facts=facts, self_loops=self_loops, known=known, unread=unread)
        return graph

    def _hold(
        self,
        W: sparse.csr_array,
        *,
        facts: Facts,
        self_loops: bool,
        known: Known,
        unread: str | None = None,
    ) -> None:
        W = small_indices(W)
        # whoever has a graph may keep it as the key of what was computed from it: nothing in it may move
        for array in (W.data, W.indices, W.indptr, *known):
            if array is not None:
                array.flags.writeable = False
        if unread is None:
            W.has_canonical_format = True  # or SciPy would look through W to find it out
        self._affinity, self._known, self._unread, self._unread_nodes = W, known, unread, unread
        self._facts, self._self_loops, self._saved = MappingProxyType(dict(facts)), self_loops, None

    def __getstate__(self) -> tuple[object, ...]:
        # the view of the facts cannot be pickled; what is known of the graph is not found out again
        return self.affinity, dict(self.facts), self.self_loops, *self._known

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        W, facts, self_loops, *known = state
        self._hold(W, facts=facts, self_loops=self_loops, known=Known(*known))

    def __len__(self) -> int:
        return self.n_nodes

    @property
    def affinity(self) -> sparse.csr_array:
        """W (n, n), float32 or float64, with read-only arrays; int32 indices while they fit."""
        self._look_through()
        return self._affinity

    @property
    def unverified_affinity(self) -> sparse.csr_array:
        """W, but that a mapped one may not have been looked through: for what checks each row that it reads."""
        return self._affinity

    @property
    def is_verified(self) -> bool:
        """Whether W was looked through: not where it is mapped, and only rows of it were read so far."""
        return self._unread is None

    @property
    def degrees(self) -> Floats:
        """Row sums (n,) of W, in float64."""
        self._look_at_nodes()
        degrees = self._known.degrees
        if degrees is None:
            degrees = self._learn("degrees", row_sums(self.affinity))
        return degrees

    @property
    def components(self) -> Labels:
        """Label (n,) of the connected component of each node; an isolated node is its own."""
        self._look_at_nodes()
        components = self._known.components
        if components is None:
            components = self._learn("components", component_labels(self.affinity))
        return components

    @property
    def order(self) -> Labels | None:
        """The nodes (n,), neighbours near each other in memory; None for a graph that fits the nearest caches anyway.

        Cell by cell of the search that found the neighbours, where there are cells, else in reverse Cuthill-McKee
        order: products with S are computed in it.
        """
        self._look_through()  # who asks for it passes over all of W
        if self._known.order is None and self.n_nodes >= _order.ORDERED_FROM:
            self._learn("order", order_of_walk(self.affinity))
        return self._known.order

    def _learn(self, name: str, found: AnyArray) -> AnyArray:
        found.flags.writeable = False
        self._known = self._known._replace(**{name: found})
        return found

    @property
    def facts(self) -> Facts:
        """How it was made."""
        return self._facts

    @property
    def self_loops(self) -> bool:
        """Whether the diagonal may be non-zero."""
        return self._self_loops

    @property
    def saved(self) -> tuple[str, str] | None:
        """The folder that `manifold.load` took it from, and the digest by which others know that they hold the same."""
        return self._saved

    @property
    def n_nodes(self) -> int:
        """Number of nodes n."""
        return int(self._affinity.shape[0])

    @property
    def n_edges(self) -> int:
        """Number of undirected edges (a self-loop counts as one)."""
        loops = int(np.count_nonzero(self.affinity.diagonal())) if self.self_loops else 0
        return (self.n_entries + loops) // 2

    @property
    def n_entries(self) -> int:
        """Number of entries of W: two an edge, but one a self-loop."""
        return int(self._affinity.nnz)

    @property
    def n_components(self) -> int:
        """Number of connected components, each isolated node counted as one."""
        return int(self.components.max(initial=-1)) + 1

    @property
    def isolated(self) -> Ints:
        """Ids of the nodes without an edge: diffusion can neither leave nor reach them."""
        return np.flatnonzero(self.degrees == 0)

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """Precision of W, and of every solve on this graph."""
        dtype: np.dtype[np.floating] = self._affinity.dtype
        return dtype

    @property
    def nbytes(self) -> int:
        """Bytes of W, degrees, components and order."""
        # what is not computed yet counts, too: a graph does not grow while it is used
        each = 8 + 4 + 4 * (self.n_nodes >= _order.ORDERED_FROM)
        return sum(int(getattr(self._affinity, name).nbytes) for name in CSR) + each * self.n_nodes

    def scale(self, exponent: float) -> Floats:
        """Return degree^-exponent (n,), 1 for isolated nodes: factors that hold back hubs.

        >>> from manifold.graph import graph_from_affinity
        >>> graph_from_affinity([[0, 4], [4, 0]]).scale(0.5).tolist()
        [0.5, 0.5]
        """
        return np.asarray(np.where(self.degrees > 0, self.degrees, 1.0) ** -exponent)

    def astype(self, dtype: DTypeLike) -> Graph:
        """Return the graph in another precision: ``float64`` for reference solves, ``float32`` for speed.

        Raises ValueError for another dtype, and for weights beyond float32; those that vanish in it are edges no more.

        >>> from manifold.graph import graph_from_affinity
        >>> graph_from_affinity([[0, 1], [1, 0]]).astype("float64").affinity[0, 1]
        np.float64(1.0)
        """
        to = np.dtype(dtype)
        if to not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, got {to}")
        if to == self.dtype:
            return self
        with np.errstate(over="ignore", under="ignore"):
            W = self.affinity.astype(to, copy=False)
        if not np.isfinite(W.data).all():
            raise ValueError(f"affinity has weights up to {self.affinity.data.max():.1e}, beyond {to}: rescale it")
        if (W.data == 0).any():
            W = W.copy()  # its indices are those of this graph until here
            W.eliminate_zeros()
        kept = W.nnz == self.affinity.nnz
        return Graph._trusted(
            W,
            facts=self.facts,
            self_loops=self.self_loops,
            degrees=self._known.degrees if to == np.float64 else None,  # wider: the same numbers, and the same sums
            components=self._known.components if kept else None,
            order=self._known.order,
        )

    def subgraph(self, nodes: object) -> Graph:
        """Return the induced graph on `nodes` (in that order), with degrees of its own: early truncation.

        Raises ValueError for ids (m,) that are no integers, out of range, or not distinct.

        >>> from manifold.graph import graph_from_affinity
        >>> graph_from_affinity([[0, 1, 0], [1, 0, 2], [0, 2, 0]]).subgraph([2, 1]).degrees.tolist()
        [2.0, 2.0]
        """
        ids = as_integers(nodes, "nodes")
        if ids.ndim != 1 or np.unique(ids).size != ids.size:
            raise ValueError(f"nodes must be distinct integer ids (m,), got {ids.dtype} {ids.shape}")
        if ids.size and (ids.min() < 0 or ids.max() >= self.n_nodes):
            raise ValueError(f"nodes must lie in 0..{self.n_nodes - 1}, got {ids.min()}..{ids.max()}")
        W = self.affinity[ids][:, ids]
        W.sort_indices()  # SciPy leaves the columns in the order of `ids`
        return Graph._trusted(W, facts={**self.facts, "subgraph_of": self.n_nodes}, self_loops=self.self_loops)

    def to_scipy(self) -> sparse.csr_array:
        """Return a copy of W (n, n), which may be written to.

        >>> from manifold.graph import graph_from_affinity
        >>> graph_from_affinity([[0, 2], [2, 0]]).to_scipy().sum()
        np.float32(4.0)
        """
        return self.affinity.copy()

    def to_networkx(self) -> NetworkxGraph:
        """Return the graph as networkx has it: nodes 0..n-1, the affinity of an edge as its ``weight``.

        Raises ImportError where networkx is not installed.

        >>> from manifold.graph import graph_from_affinity
        >>> graph_from_affinity([[0, 2], [2, 0]]).to_networkx().edges[0, 1]["weight"]
        2.0
        """
        from manifold.graph._networkx import to_networkx

        return to_networkx(self.affinity)

    def save(self, path: str | PathLike[str]) -> Path:
        """Save the graph as a folder, in place of an older save or not at all; `manifold.load` gives it back.

        Raises
        ------
        TypeError, FileExistsError, OSError
            See `manifold.storage.save_arrays`; facts are texts and numbers.

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> from manifold.graph import graph_from_affinity
        >>> with TemporaryDirectory() as folder:
        ...     graph_from_affinity([[0, 1], [1, 0]]).save(f"{folder}/pair").name
        'pair'
        """
        arrays, parameters = self._described()
        return save_arrays(path, kind="graph", arrays=arrays, parameters=parameters)

    def _described(self) -> tuple[dict[str, AnyArray], dict[str, object]]:
        arrays = {name: getattr(self.affinity, name) for name in CSR}
        arrays |= {"degrees": self.degrees, "components": self.components}
        arrays |= {} if self.order is None else {"node_order": self.order}
        return arrays, {"facts": dict(self.facts), "self_loops": self.self_loops}

    @classmethod
    def _from_stored(cls, stored: Stored) -> Graph:
        """Take the arrays as they are: looked through now where every byte was read, or else when first used."""
        W, known = read_arrays(stored)
        facts, self_loops = stored.parameters["facts"], stored.parameters["self_loops"]
        if not isinstance(facts, dict) or not isinstance(self_loops, bool):
            raise ValueError(f"facts must be a mapping and self_loops a flag, got {facts!r} and {self_loops!r}")
        if stored.verified:
            check_content(W, known, self_loops=self_loops)
        graph = cls._trusted(
            W,
            facts=facts,
            self_loops=self_loops,
            unread=None if stored.verified else stored.path,
            **known._asdict(),
        )
        graph._saved = (stored.path, stored.digest)
        return graph

    def _look_through(self) -> None:
        """Raise CorruptFileError where a mapped graph could lead a product out of its arrays; once, without a copy."""
        self._look_at_nodes()
        if self._unread is not None:
            with believed(self._unread):
                check_reach(self._affinity, self._known.order)
            self._unread = None  # last, so that no other thread takes W before it was looked through

    def _look_at_nodes(self) -> None:
        """Raise CorruptFileError for degrees or components that lead out of an array, or are no numbers."""
        if self._unread_nodes is not None:
            with believed(self._unread_nodes):
                check_nodes(self.n_nodes, self._known)
            self._unread_nodes = None

    def summary(self) -> dict[str, object]:
        """Return what ``repr`` shows, as numbers, and how it was made.

        >>> from manifold.graph import graph_from_affinity
        >>> graph_from_affinity([[0, 2], [2, 0]]).summary()["n_edges"]
        1
        """
        degrees, n = np.diff(self.affinity.indptr), self.n_nodes
        return {
            "n_nodes": n,
            "n_edges": self.n_edges,
            "n_components": self.n_components,
            "n_isolated": int(self.isolated.size),
            "degree_min": int(degrees.min()) if n else 0,
            "degree_median": int(np.median(degrees)) if n else 0,
            "degree_max": int(degrees.max(initial=0)),
            "bytes": self.nbytes,
            **self.facts,
        }

    def __repr__(self) -> str:
        return as_text(self.summary(), self.facts)

    def _repr_html_(self) -> str:
        return as_html(self.summary())
