"""A graph as people read it: its summary in, a line of text or a table out."""

from __future__ import annotations

from html import escape

from manifold._resources import format_bytes
from manifold._typing import Facts


def as_text(summary: Facts, facts: Facts) -> str:
    """Return the line that stands for a graph.

    >>> from manifold.graph import graph_from_affinity
    >>> as_text(graph_from_affinity([[0, 2], [2, 0]]).summary(), {}).split(", degree")[0]
    'Graph: 2 nodes, 1 edges, 1 components, 0 isolated'
    """
    s, made = summary, ", ".join(f"{name}={value}" for name, value in facts.items())
    return (
        f"Graph: {s['n_nodes']:,} nodes, {s['n_edges']:,} edges, {s['n_components']:,} components, "
        f"{s['n_isolated']:,} isolated, degree {s['degree_min']}..{s['degree_max']} "
        f"(median {s['degree_median']}), {format_bytes(s['bytes'])}" + (f" ({made})" if made else "")
    )


def as_html(summary: Facts) -> str:
    """Return the table of a notebook.

    >>> as_html({"n_nodes": 2}).count("<tr>")
    1
    """
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>"
        for name, value in summary.items()
    )
    return f"<table><caption>Graph</caption>{rows}</table>"
