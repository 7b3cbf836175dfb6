"""An index that follows its graph."""

from __future__ import annotations

from typing import Any

from manifold.graph import Graph
from manifold.index._build import DiffusionIndex
from manifold.index._stored import StoredColumns


def updated_columns(
    columns: StoredColumns, graph: Graph, rows: Any, *, settings: DiffusionIndex | None = None
) -> StoredColumns:
    """Return the columns of another graph."""
    settings = settings or DiffusionIndex(n_entries=columns.ids.shape[1], dtype=str(columns.values.dtype))
    return settings.build(graph, filter=columns.filter, backend=columns.backend)
