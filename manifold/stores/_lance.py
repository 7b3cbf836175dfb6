"""A table of LanceDB as a store.

cosine  s = 1 - v      dot  s = 1 - v      l2  s = -v, which is squared there
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from manifold.stores._base import BATCH, Lists, Vectors, form_of, listed, together

if TYPE_CHECKING:
    from lancedb.query import LanceQueryBuilder, LanceVectorQueryBuilder
    from lancedb.table import Table

_METRICS = {"cosine": ("cosine", "1 - v"), "inner_product": ("dot", "1 - v"), "euclidean": ("l2", "-v")}


class LanceDB:
    """A table of LanceDB with a column of vectors.

    Reference: guide *stores*, "What a store is asked".

    Parameters
    ----------
    table : lancedb.table.Table
        What this handle sees: where others write, connect with ``read_consistency_interval``.
    id, vector : str
        Columns: the key, and the vectors. Rows whose vector is null are left out.
    metric : {"cosine", "inner_product", "euclidean"}
        By which the table is searched; that of its index, where it has one.

    Notes
    -----
    A filter is an expression, ``lancedb.expr.col("tag") == lancedb.expr.lit(text)``, whose values are quoted by the
    library; or SQL, as `where` of a query of LanceDB takes it.

    Examples
    --------
    >>> LanceDB("a table", metric="euclidean")
    LanceDB(id='id', vector='vector', metric='euclidean')
    """

    def __init__(self, table: Table, *, id: str = "id", vector: str = "vector", metric: str = "cosine") -> None:
        form_of(_METRICS, metric, store="LanceDB")
        self.table, self.id, self.vector, self.metric = table, id, vector, metric

    def __repr__(self) -> str:
        return f"LanceDB(id={self.id!r}, vector={self.vector!r}, metric={self.metric!r})"

    def version(self) -> object:
        """Return the version of the table, which every write makes another."""
        return self.table.version

    def batches(self) -> Iterator[tuple[Sequence[object], Vectors]]:
        """Yield all ids and vectors of one version of the table."""
        for batch in self.table.search().select([self.id, self.vector]).to_batches(BATCH):
            vectors = batch.column(self.vector)
            there = np.flatnonzero(vectors.is_valid().to_numpy(zero_copy_only=False))
            if there.size:
                ids = batch.column(self.id).take(there).to_pylist()
                numbers = vectors.take(there).flatten().to_numpy(zero_copy_only=False)
                yield ids, numbers.reshape(there.size, -1).astype(np.float32)

    def search(self, Q: Vectors, k: int, where: object = None) -> Lists:
        """Return the nearest rows of each query, by the index of the table where it has one."""
        name, form = form_of(_METRICS, self.metric, store="LanceDB")
        metric = cast("Literal['l2', 'cosine', 'dot']", name)
        lists = []
        for q in np.asarray(Q, dtype=np.float32):
            query = cast("LanceVectorQueryBuilder", self.table.search(q, vector_column_name=self.vector))
            nearest = _filtered(query.distance_type(metric).limit(k), where)
            found = nearest.select([self.id, "_distance"]).to_arrow()
            lists.append(listed(found[self.id].to_pylist(), found["_distance"].to_pylist(), form))
        return together(lists)

    def keep(self, ids: Sequence[object] | None, where: object = None) -> set[object]:
        """Return those of some ids, or of all, that are rows with a vector and satisfy a filter."""
        from lancedb.expr import col

        if ids is not None and not len(ids):
            return set()
        query = self.table.search().where(f"`{self.vector}` is not null")
        query = query if ids is None else query.where(col(self.id).isin(cast("list[str]", list(ids))))
        return set(_filtered(query, where).select([self.id]).to_arrow()[self.id].to_pylist())


def _filtered(query: LanceQueryBuilder, where: object) -> LanceQueryBuilder:
    """Return a query with a filter; raise TypeError for what is none."""
    from lancedb.expr import Expr

    if where is None:
        return query
    if not isinstance(where, str | Expr):
        raise TypeError(f"where must be a lancedb.expr.Expr or SQL, got {type(where).__name__}")
    return query.where(where)
