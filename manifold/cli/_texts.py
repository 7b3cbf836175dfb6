"""What several commands say of a graph, of solves, and of what went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command says what is wrong with its options before anything else is imported
    from manifold._typing import Facts
    from manifold.graph import Graph
    from manifold.ranking import Ranking


def graph_line(graph: Graph) -> str:
    """Return one line about a graph."""
    s = graph.summary()
    made = f"{s['method']} {s['metric']} kNN, k={s['n_neighbors']}, {s['edges']}"
    pieces = "1 component" if s["n_components"] == 1 else f"{s['n_components']:,} components"
    alone = f"  {s['n_isolated']:,} isolated" if s["n_isolated"] else ""
    return (
        f"graph   {made}   {s['n_nodes']:,} nodes  {s['n_edges']:,} edges  {pieces}{alone}  "
        f"degree {s['degree_min']}..{s['degree_max']}"
    )


def convergence(ranking: Ranking) -> Facts:
    """Return what became of the solves of a ranking."""
    import numpy as np

    report = ranking.diagnostics
    return {
        "solver": report.solver,
        "n_columns": len(report.status),
        "n_converged": sum(status.name == "CONVERGED" for status in report.status),
        "max_iterations": int(report.n_iter.max(initial=0)),
        "max_residual": float(np.nanmax(report.residual, initial=0)),
        "max_error_bound": float(np.nanmax(report.error_bound, initial=0)),
        "n_certified": int(ranking.certified.sum()),
    }


def convergence_line(ranking: Ranking) -> str:
    """Return the same as one line."""
    c = convergence(ranking)
    share = c["n_certified"] / c["n_columns"] if c["n_columns"] else 1.0
    return (
        f"solver  {c['solver']}: {c['n_converged']} of {c['n_columns']} columns converged in at most "
        f"{c['max_iterations']} iterations, residual <= {c['max_residual']:.1e}; "
        f"top {ranking.ids.shape[-1]} certified for {share:.0%}"
    )


def one_line(message: str) -> str:
    """Return a message without breaks.

    >>> one_line("a\\n  b")
    'a b'
    """
    return " ".join(message.split())
