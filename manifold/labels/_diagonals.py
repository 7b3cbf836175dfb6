"""What a label sends to itself: K_ii of K = h(S) at some nodes, in float64, for it is subtracted from a number near it.

K_ii is a quadratic form. With any x, and the residual r = e_i - A x of A = I - a S, x_i + x' r falls short of
e_i' A^-1 e_i by r' A^-1 r: of a walk that is ended early the square of what is left is missing.

In small graphs, or without the compiler, K_ii of every alpha comes from one recurrence, and two moments from each
product: with t_k = T_k(S) e_i, <t_k, t_k> = (m_2k + m_0) / 2 and <t_k, t_k+1> = (m_2k+1 + m_1) / 2 for the moments
m_k = e_i' T_k(S) e_i.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from manifold._typing import Floats, Ints
from manifold.backends import Backend
from manifold.graph import Graph
from manifold.solvers.system import NormalizedAffinity, is_plain

_TOLERANCE = 1e-5  # of K_ii: that of a solve, whose noise is ten times as much
_BLOCK = 32  # nodes at a time: as many columns a solve has at once
_LOCAL_FROM = 8192  # nodes from which on loading the compiler pays
_FIRST, _FURTHER = 0.05, 3.0  # residual that a walk is first relaxed to, and how much further each time


def diagonals(graph: Graph, nodes: Ints, alphas: Sequence[float], *, backend: Backend) -> Floats:
    """Return K_ii (alphas, nodes) of K = (1 - alpha) (I - alpha S)^-1.

    Parameters
    ----------
    graph : Graph
        n nodes.
    nodes : (m,) int
    alphas : sequence of floats in [0, 1)

    Notes
    -----
    In float64, to 1e-5 relative, whatever the dtype of the graph. Cost: what walks from the nodes touch, at alpha =
    0.95 some thousand nodes each; in small graphs some 45 products of S with m columns for alpha = 0.99, of which 32
    are held at a time.

    Examples
    --------
    >>> from manifold import graph_from_affinity
    >>> from manifold.backends import get_backend
    >>> pair = graph_from_affinity([[0, 1], [1, 0]])
    >>> diagonals(pair, np.array([0]), [0.5], backend=get_backend()).round(4).tolist()  # (1 - a) / (1 - a^2)
    [[0.6667]]
    """
    if graph.n_nodes >= _LOCAL_FROM and is_plain(graph.degrees) and find_spec("numba") is not None:
        return np.array([_walked(graph, nodes, alpha) for alpha in alphas])
    system = NormalizedAffinity(graph, backend, np.float64)
    series = [_coefficients(alpha) for alpha in alphas]
    half = max(c.size for c in series) // 2 + 1
    found = np.empty((len(series), nodes.size))
    for start in range(0, nodes.size, _BLOCK):
        some = nodes[start : start + _BLOCK]
        units = np.zeros((graph.n_nodes, some.size))
        units[some, np.arange(some.size)] = 1
        moments = _moments(system, units, half)
        for row, c in zip(found, series, strict=True):
            row[start : start + some.size] = c @ moments[: c.size]
    return found


def _walked(graph: Graph, nodes: Ints, alpha: float) -> Floats:
    """Return K_ii (m,): walks are relaxed on until |r|^2, more than (1 - alpha) r' A^-1 r, is small beside it."""
    from manifold.backends.relaxation import Relaxation  # loads the compiler

    roots = np.sqrt(np.where(graph.degrees > 0, graph.degrees, 1))
    solve, found = Relaxation(graph.affinity, roots, a=alpha), np.empty(nodes.size)
    for t, node in enumerate(nodes.tolist()):
        solve.start(np.array([node]), np.ones(1))
        within = _FIRST / float(roots[node])
        while True:
            solve.relax(within)
            x, r = solve.x, solve.r
            found[t] = (1 - alpha) * (x[0] + np.einsum("i,i->", x, r))  # it began at the first node that was met
            if np.einsum("i,i->", r, r) <= _TOLERANCE * found[t]:
                break
            within /= _FURTHER
    return found


def _coefficients(alpha: float) -> Floats:
    """Return c_k of (1 - a) / (1 - a x) = sum c_k T_k(x), as far as they count."""
    s = np.sqrt((1 - alpha) * (1 + alpha))
    z = alpha / (1 + s)
    # the terms beyond K add up to 2 (1 - a) / s z^K / (1 - z), which is held below the tolerance times 1 - a
    terms = 1 if z == 0 else int(np.ceil(np.log(_TOLERANCE * s * (1 - z) / 2) / np.log(z)))
    c: Floats = 2 * (1 - alpha) / s * np.power(z, np.arange(max(terms, 1)))
    c[0] /= 2
    return c


def _moments(system: NormalizedAffinity, units: Floats, half: int) -> Floats:
    """Return e_i' T_k(S) e_i (2 half, m), for k = 0, 1, ..."""
    backend = system.backend
    before = system.inside(backend.asarray(units))
    now = system @ before
    moments = np.empty((2 * half, units.shape[1]))
    # S has no diagonal: m_1 = 0
    moments[0], moments[1] = 1, 0
    for k in range(1, half):
        after = backend.spmm(system.matrix, now, a=2.0, c=-1.0, other=before)
        moments[2 * k] = 2 * backend.to_host(backend.column_dots(now, now)) - 1
        moments[2 * k + 1] = 2 * backend.to_host(backend.column_dots(now, after))
        before, now = now, after
    return moments
