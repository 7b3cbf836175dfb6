"""The graph: neighbours in, a symmetric affinity W with its degrees and components out.

    mutual  W = min(A, A')      union  W = max(A, A')      sum  W = A + A'

where a_ij is the weight of neighbour j of point i. W and D are stored; S = D^-1/2 W D^-1/2 never is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from html import escape
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from manifold._edges import EDGE_RULES, check_edges, symmetric_affinity
from manifold._resources import at_most, format_bytes, require_memory
from manifold._weights import canonical_csr, check_affinity, fit_precision
from manifold.affinity import Affinity
from manifold.backends import Backend
from manifold.neighbors import Neighbors, Progress, find_neighbors, from_faiss, from_sklearn
from manifold.storage import Stored, save_arrays


@dataclass(frozen=True, eq=False, repr=False)
class Graph:
    """An undirected weighted graph over the points of a collection; immutable.

    Parameters
    ----------
    affinity : csr_array (n, n), float32 or float64
        W: symmetric, finite, non-negative, without stored zeros; solves run in its dtype.
    facts : mapping
        How it was made (metric, n_neighbors, edges, ...), shown by ``repr``.
    self_loops : bool
        Whether the diagonal may be non-zero; the papers' graphs have none.

    Attributes
    ----------
    degrees : (n,) float64
        Row sums of W.
    components : (n,) int32
        Label of the connected component of each node; an isolated node is its own.

    Raises
    ------
    ValueError
        Where W breaks a promise above; indices out of range are caught before they could crash a product.

    Examples
    --------
    >>> graph = graph_from_affinity(np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]]))
    >>> graph
    Graph: 3 nodes, 1 edges, 2 components, 1 isolated, degree 0..1 (median 1), 68 B (method=given affinity)
    >>> graph.degrees.tolist()
    [1.0, 1.0, 0.0]
    """

    affinity: sparse.csr_array
    facts: Mapping[str, Any] = field(default_factory=dict)
    self_loops: bool = False
    degrees: NDArray[np.float64] = field(init=False)
    components: NDArray[np.int32] = field(init=False)

    def __post_init__(self) -> None:
        W = sparse.csr_array(self.affinity, copy=True)
        check_affinity(W, self_loops=self.self_loops)
        degrees = W.astype(np.float64) @ np.ones(W.shape[0])  # W.sum would add in float32
        if not np.isfinite(degrees).all():
            raise ValueError(f"affinity has degrees beyond float64 (weights up to {W.data.max():.1e}): rescale it")
        components = connected_components(W, directed=False)[1].astype(np.int32)
        for array in (W.data, W.indices, W.indptr, degrees, components):
            array.flags.writeable = False
        object.__setattr__(self, "affinity", W)
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))
        object.__setattr__(self, "degrees", degrees)
        object.__setattr__(self, "components", components)

    def __reduce__(self) -> tuple[Any, ...]:
        return Graph, (self.affinity, dict(self.facts), self.self_loops)  # the view of the facts cannot be pickled

    @property
    def n_nodes(self) -> int:
        """Number of nodes n."""
        return int(self.affinity.shape[0])

    @property
    def n_edges(self) -> int:
        """Number of undirected edges (a self-loop counts as one)."""
        loops = int(np.count_nonzero(self.affinity.diagonal())) if self.self_loops else 0
        return int(self.affinity.nnz + loops) // 2

    @property
    def n_components(self) -> int:
        """Number of connected components, each isolated node counted as one."""
        return int(self.components.max(initial=-1)) + 1

    @property
    def isolated(self) -> NDArray[np.int64]:
        """Ids of the nodes without an edge: diffusion can neither leave nor reach them."""
        return np.flatnonzero(self.degrees == 0)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Precision of W, and of every solve on this graph."""
        dtype: np.dtype[Any] = self.affinity.dtype
        return dtype

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        W = self.affinity
        arrays = (W.data, W.indices, W.indptr, self.degrees, self.components)
        return sum(int(array.nbytes) for array in arrays)

    def scale(self, exponent: float) -> NDArray[np.float64]:
        """Return degree^-exponent (n,), 1 for isolated nodes: factors that hold back hubs."""
        factors: NDArray[np.float64] = np.where(self.degrees > 0, self.degrees, 1.0) ** -exponent
        return factors

    def astype(self, dtype: Any) -> Graph:
        """Return the graph in another precision: ``float64`` for reference solves, ``float32`` for speed."""
        return Graph(self.affinity.astype(dtype), self.facts, self.self_loops)

    def subgraph(self, nodes: Any) -> Graph:
        """Return the induced graph on `nodes` (in that order), with degrees of its own: early truncation."""
        nodes = np.asarray(nodes)
        if nodes.ndim != 1 or nodes.dtype.kind not in "iu" or np.unique(nodes).size != nodes.size:
            raise ValueError(f"nodes must be distinct integer ids (m,), got {nodes.dtype} {nodes.shape}")
        if nodes.size and (nodes.min() < 0 or nodes.max() >= self.n_nodes):
            raise ValueError(f"nodes must lie in 0..{self.n_nodes - 1}, got {nodes.min()}..{nodes.max()}")
        return Graph(self.affinity[nodes][:, nodes], {**self.facts, "subgraph_of": self.n_nodes}, self.self_loops)

    def save(self, path: str | PathLike[str]) -> Path:
        """Save the graph as a folder, in place of an older save or not at all; `manifold.load` gives it back.

        Raises
        ------
        TypeError, FileExistsError, OSError
            See `manifold.storage.save_arrays`; facts are texts and numbers.
        """
        arrays, parameters = self._described()
        return save_arrays(path, kind="graph", arrays=arrays, parameters=parameters)

    def _described(self) -> tuple[dict[str, Any], dict[str, Any]]:
        arrays = {name: getattr(self.affinity, name) for name in ("data", "indices", "indptr")}
        return arrays, {"facts": dict(self.facts), "self_loops": self.self_loops}

    @classmethod
    def _from_stored(cls, stored: Stored) -> Graph:
        data, indices, indptr = (np.asarray(stored.arrays[name]) for name in ("data", "indices", "indptr"))
        if indices.dtype.kind != "i" or indptr.dtype.kind != "i":
            raise ValueError(f"indices and indptr must be integers, got {indices.dtype} and {indptr.dtype}")
        W = sparse.csr_array((data, indices, indptr), shape=(indptr.size - 1, indptr.size - 1))
        return cls(W, stored.parameters["facts"], stored.parameters["self_loops"])

    def summary(self) -> dict[str, Any]:
        """Return what ``repr`` shows, as numbers, and how the graph was made."""
        degrees = np.diff(self.affinity.indptr)
        return {
            "n_nodes": self.n_nodes,
            "n_edges": self.n_edges,
            "n_components": self.n_components,
            "n_isolated": int(self.isolated.size),
            "degree_min": int(degrees.min()) if self.n_nodes else 0,
            "degree_median": int(np.median(degrees)) if self.n_nodes else 0,
            "degree_max": int(degrees.max(initial=0)),
            "bytes": self.nbytes,
            **self.facts,
        }

    def __repr__(self) -> str:
        s = self.summary()
        made = ", ".join(f"{name}={value}" for name, value in self.facts.items())
        return (
            f"Graph: {s['n_nodes']:,} nodes, {s['n_edges']:,} edges, {s['n_components']:,} components, "
            f"{s['n_isolated']:,} isolated, degree {s['degree_min']}..{s['degree_max']} "
            f"(median {s['degree_median']}), {format_bytes(s['bytes'])}" + (f" ({made})" if made else "")
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>"
            for name, value in self.summary().items()
        )
        return f"<table><caption>Graph</caption>{rows}</table>"


def memory_forecast(n: int, k: int, *, edges: str = "mutual", bridge: int = 1) -> int:
    """Return the bytes, at most, that making a graph of n points and k neighbours takes, the graph included.

    The directed weights, their transpose, the result with at most 2 n k entries (n k and the bridges for
    "mutual"), and a copy of it while it is checked; 12 bytes an entry.

    >>> memory_forecast(1_000_000, 50) / 2**30 < 4
    True
    """
    entries = min(n * k + 2 * n * bridge, 2 * n * k) if edges == "mutual" else 2 * n * k
    return 12 * (3 * n * k + 3 * entries) + 40 * n


def build_graph(
    X: Any,
    n_neighbors: int = 10,
    *,
    method: str = "auto",
    metric: str = "cosine",
    affinity: str = "auto",
    gamma: float = 3.0,
    edges: str = "mutual",
    bridge: int = 1,
    backend: str | Backend = "auto",
    random_state: Any = None,
    progress: Progress | bool | None = None,
) -> Graph:
    """Build the kNN graph of a collection: features in, affinity out.

    Parameters
    ----------
    X : (n, d) array-like, or (n, n) similarities for ``metric="precomputed"``
        Rows are points.
    n_neighbors : int
        k neighbours other than self; 5 to 20 serve most collections, 50 is the published setting.
    method, metric, backend, random_state, progress
        See `manifold.neighbors.find_neighbors`.
    affinity, gamma
        The kernel, see `manifold.affinity.Affinity`.
    edges : {"mutual", "union", "sum"}
        Keep pairs that list each other (for retrieval), pairs of which one lists the other, or add both
        directions (for label propagation).
    bridge : int
        With "mutual": also keep the edges to the first so many neighbours of each point, listed back or not.
        A mutual graph without bridges falls into pieces, and what lies in another piece is never found.

    Returns
    -------
    Graph

    Raises
    ------
    TypeError, ValueError, MemoryBudgetError
        As `find_neighbors`, and for an unknown edge rule or kernel.

    Notes
    -----
    Cost: that of the neighbours, then O(n k). Same input, same bits, whatever the number of threads, for the
    exact method and the inverted file.

    Examples
    --------
    >>> build_graph([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]], 1, gamma=1).n_components
    2
    """
    check_edges(edges, bridge)
    Affinity(affinity, gamma, metric)  # a wrong kernel is refused before the search, not after it
    neighbors = find_neighbors(
        X,
        n_neighbors,
        method=method,
        metric=metric,
        backend=backend,
        random_state=random_state,
        progress=progress,
    )
    return graph_from_neighbors(neighbors, affinity=affinity, gamma=gamma, edges=edges, bridge=bridge)


def graph_from_neighbors(
    D: Any,
    I: Any = None,  # noqa: E741 -- FAISS's own name
    *,
    metric: str | None = None,
    affinity: str = "auto",
    gamma: float = 3.0,
    edges: str = "mutual",
    bridge: int = 1,
) -> Graph:
    """Build the graph from neighbours that are already known.

    Parameters
    ----------
    D, I : (n, k) arrays
        What a FAISS index returned for its own points, see `manifold.neighbors.from_faiss`; or, without `I`, D
        is a `Neighbors` object or a scikit-learn distance graph, see `manifold.neighbors.from_sklearn`.
    metric : str, optional
        What D holds; by default "cosine" for (D, I) and "euclidean" for a distance graph.
    affinity, gamma, edges, bridge
        See `build_graph`.

    Examples
    --------
    >>> D, I = np.array([[1.0, 0.5], [1.0, 0.5]]), np.array([[0, 1], [1, 0]])
    >>> float(graph_from_neighbors(D, I).affinity[0, 1])
    0.125
    """
    check_edges(edges, bridge)
    if I is not None:
        neighbors = from_faiss(D, I, metric=metric or "cosine")
    elif isinstance(D, Neighbors):
        if metric not in (None, D.metric):
            raise ValueError(f"metric={metric!r} but the neighbours were found with {D.metric!r}: leave it out")
        neighbors = D
    elif sparse.issparse(D):
        neighbors = from_sklearn(D, metric=metric or "euclidean")
    else:
        raise TypeError(f"pass (D, I), Neighbors or a sparse distance graph, got {type(D).__name__} and no I")
    kernel = Affinity(affinity, gamma, neighbors.metric)
    n, k = neighbors.n_nodes, neighbors.n_neighbors
    forecast = partial(memory_forecast, n, edges=edges, bridge=bridge)
    require_memory(forecast(k), purpose=f"a graph of {n} nodes", cure=at_most("n_neighbors", k, forecast))
    W, n_clipped = symmetric_affinity(neighbors, kernel, edges=edges, bridge=bridge)
    facts = {
        "method": neighbors.method,
        "metric": neighbors.metric,
        "n_neighbors": k,
        "affinity": f"{kernel.kind}, gamma={gamma:g}" if kernel.kind == "power" else kernel.kind,
        "edges": f"mutual, bridge={bridge}" if edges == "mutual" else edges,
        **({"clipped": n_clipped} if n_clipped else {}),
        **({"repaired": neighbors.n_repaired} if neighbors.n_repaired else {}),
        **neighbors.facts,
    }
    return Graph(W, facts)


def graph_from_affinity(
    W: Any, *, edges: str | None = None, negative: str = "raise", self_loops: str = "remove"
) -> Graph:
    """Take an affinity or adjacency matrix made elsewhere, dense or sparse.

    Parameters
    ----------
    W : (n, n) array or sparse matrix
        Weights; entries stored twice are added, stored zeros dropped. Never written to.
    edges : {None, "mutual", "union", "sum"}
        How an asymmetric W is made symmetric; None refuses one.
    negative : {"raise", "clip"}
        Refuse negative weights, or set them to 0 and count them in ``facts``.
    self_loops : {"remove", "keep"}
        The papers' graphs have a zero diagonal.

    Raises
    ------
    ValueError
        For a shape that is not square, malformed indices, NaN or infinity, negative or asymmetric weights.

    Warns
    -----
    ManifoldWarning
        Where the weights span more than float32 holds: the graph, and solves on it, are then float64.

    Examples
    --------
    >>> graph_from_affinity(np.array([[5.0, 1.0], [1.0, 0.0]])).affinity.toarray().tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    for name, value, allowed in (
        ("edges", edges, (None, *EDGE_RULES)),
        ("negative", negative, ("raise", "clip")),
        ("self_loops", self_loops, ("remove", "keep")),
    ):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {allowed}, got {value!r}")
    csr = canonical_csr(W)
    facts: dict[str, Any] = {"method": "given affinity"}
    below = csr.data < 0
    if below.any():
        if negative == "raise":
            raise ValueError(f"W holds {below.sum()} negative weights (least {csr.data.min():g}): pass negative='clip'")
        csr.data[below], facts["clipped"] = 0, int(below.sum())
    if self_loops == "remove":
        loops = np.count_nonzero(csr.diagonal())
        csr.setdiag(0)
        facts |= {"self_loops_removed": int(loops)} if loops else {}
    csr.eliminate_zeros()
    if edges is not None:
        other = csr.T.tocsr()
        csr = csr + other if edges == "sum" else csr.minimum(other) if edges == "mutual" else csr.maximum(other)
        facts["edges"] = edges
    elif (difference := abs(csr - csr.T)).nnz:
        i, j = (int(x[0]) for x in difference.nonzero())
        raise ValueError(
            f"W is not symmetric: W[{i}, {j}] = {csr[i, j]:g}, W[{j}, {i}] = {csr[j, i]:g}: "
            "choose a rule with edges='mutual', 'union' or 'sum'"
        )
    return Graph(fit_precision(sparse.csr_array(csr)), facts, self_loops == "keep")
