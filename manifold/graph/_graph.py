"""The graph as an object: W, degrees and components, checked when it is made, and never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from manifold._resources import format_bytes
from manifold._weights import check_affinity
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
    >>> from manifold.graph import graph_from_affinity
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
