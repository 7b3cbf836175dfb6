"""A matrix from outside, of whatever library: checked, made symmetric by a rule if one is named, taken as a graph."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from manifold._weights import canonical_csr, fit_precision, row_sums, without_rounding
from manifold.graph._edges import EDGE_RULES
from manifold.graph._graph import Graph
from manifold.graph._networkx import from_networkx, is_networkx


def graph_from_affinity(
    W: object,
    *,
    edges: str | None = None,
    negative: str = "raise",
    self_loops: str = "remove",
    dtype: str = "float32",
) -> Graph:
    """Take an affinity or adjacency matrix made elsewhere, dense or sparse.

    Reference: Zhou et al. (2003b), section 2, steps 1 and 2; Iscen et al. (2017), eqs. 1-2.

    Parameters
    ----------
    W : (n, n) array, sparse matrix or networkx graph
        Weights; entries stored twice are added, stored zeros dropped. Never written to. Of a networkx graph, whose
        nodes are numbered in its order, the ``weight`` of each edge, 1 where it has none.
    edges : {None, "mutual", "union", "sum"}
        How an asymmetric W is made symmetric; None refuses one. What differs by rounding alone (1e-6 of float32, 1e-12
        of float64) is averaged, and counted in ``facts``.
    negative : {"raise", "clip"}
        Refuse negative weights, or set them to 0 and count them in ``facts``.
    self_loops : {"remove", "keep"}
        The papers' graphs have a zero diagonal.
    dtype : {"float32", "float64"}
        The precision of the weights, and of solves on them.

    Raises
    ------
    TypeError
        For masked entries, and what holds no real numbers.
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
        ("dtype", dtype, ("float32", "float64")),
    ):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {allowed}, got {value!r}")
    csr, given = canonical_csr(from_networkx(W) if is_networkx(W) else W)
    facts: dict[str, object] = {"method": "given affinity"}
    below = csr.data < 0
    if below.any():
        if negative == "raise":
            raise ValueError(f"W holds {below.sum()} negative weights (least {csr.data.min():g}): pass negative='clip'")
        csr.data[below], facts["clipped"] = 0, int(below.sum())
    if self_loops == "remove":
        # found by hand: `setdiag` would store n zeros first, to be dropped again
        loops = np.repeat(np.arange(csr.shape[0], dtype=csr.indices.dtype), np.diff(csr.indptr)) == csr.indices
        n_loops = int(np.count_nonzero(csr.data[loops]))
        csr.data[loops] = 0
        facts |= {"self_loops_removed": n_loops} if n_loops else {}
    csr.eliminate_zeros()  # before the rule: a stored zero is no edge that could be asymmetric
    if edges is None:
        csr, n_averaged = without_rounding(csr, given)
        facts |= {"averaged": n_averaged} if n_averaged else {}
    else:
        csr, facts["edges"] = EDGE_RULES[edges](csr, csr.T.tocsr()), edges
    # symmetric, canonical and positive by what was done to it: a second look would find nothing; degrees may overflow
    W = fit_precision(sparse.csr_array(csr)) if dtype == "float32" else sparse.csr_array(csr)
    return Graph._trusted(W, facts=facts, self_loops=self_loops == "keep", degrees=row_sums(W))


def check_graph(graph: object) -> None:
    """Raise TypeError for what is no `Graph`, and say what makes one.

    Reference: guide *notation*, "How the parts meet".

    >>> check_graph(graph_from_affinity([[0, 1], [1, 0]]))
    """
    if not isinstance(graph, Graph):
        raise TypeError(
            f"graph must be a Graph, got {type(graph).__name__}: build_graph(X) makes one of points, "
            "graph_from_affinity(W) of a matrix, graph_from_neighbors(lists) of lists"
        )
