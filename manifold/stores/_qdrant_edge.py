"""A shard of Qdrant Edge, the engine inside this process, as a store.

Cosine and Dot  s = v      Euclid  s = -v^2
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from manifold.stores._base import BATCH, Lists, Vectors, form_of, listed, together
from manifold.stores._qdrant import vector_of

if TYPE_CHECKING:
    from uuid import UUID

    from qdrant_edge import EdgeShard, Filter, Record

_FORMS = {"cosine": ("Cosine", "v"), "inner_product": ("Dot", "v"), "euclidean": ("Euclid", "-v^2")}


class QdrantEdge:
    """A shard of Qdrant Edge.

    Reference: guide *stores*, "What a store is asked".

    Parameters
    ----------
    shard : qdrant_edge.EdgeShard
    using : str, optional
        The vector, where points have several by name.
    metric : {"cosine", "inner_product", "euclidean"}
        That of the shard's configuration, which a shard does not tell.

    Notes
    -----
    A filter is a ``qdrant_edge.Filter``. Ids are integers and UUIDs.

    Examples
    --------
    >>> QdrantEdge("a shard", metric="euclidean")
    QdrantEdge(using=None, metric='euclidean')
    """

    def __init__(self, shard: EdgeShard, *, using: str | None = None, metric: str = "cosine") -> None:
        form_of(_FORMS, metric, store="Qdrant Edge")
        self.shard, self.using, self.metric = shard, using, metric

    def __repr__(self) -> str:
        return f"QdrantEdge(using={self.using!r}, metric={self.metric!r})"

    def batches(self) -> Iterator[tuple[Sequence[object], Vectors]]:
        """Yield all ids and vectors, a page of the scroll at a time."""
        for points in self._pages(with_vector=True):
            pairs = [(p.id, vector_of(p.vector, self.using)) for p in points]
            pairs = [(name, vector) for name, vector in pairs if vector is not None]
            if pairs:
                yield [name for name, _ in pairs], np.array([vector for _, vector in pairs], dtype=np.float32)

    def search(self, Q: Vectors, k: int, where: object = None) -> Lists:
        """Return the nearest points of each query, all queries in one request."""
        from qdrant_edge import Query, QueryBatchRequest, QueryRequest

        form, filter = form_of(_FORMS, self.metric, store="Qdrant Edge")[1], _filter(where)
        nearest = [Query.Nearest(q, using=self.using) for q in np.asarray(Q, dtype=np.float32).tolist()]
        requests = [QueryRequest(limit=k, query=query, filter=filter) for query in nearest]
        found = self.shard.query_batch(QueryBatchRequest(requests)) if requests else []
        return together(listed([p.id for p in points], [p.score for p in points], form) for points in found)

    def keep(self, ids: Sequence[object] | None, where: object = None) -> set[object]:
        """Return those of some ids, or of all, that are points with a vector and satisfy a filter."""
        from qdrant_edge import Filter, HasIdCondition, HasVectorCondition

        if ids is not None and not len(ids):
            return set()
        there: list[Any] = [HasVectorCondition(self.using or "")]
        there += [] if ids is None else [HasIdCondition(cast("set[int | str | UUID]", set(ids)))]
        there += [] if where is None else [_filter(where)]
        names: set[object] = set()
        for points in self._pages(with_vector=False, filter=Filter(must=there)):
            names |= {p.id for p in points}
        return names

    def _pages(self, *, with_vector: bool, filter: Filter | None = None) -> Iterator[list[Record]]:
        """Yield all points that satisfy a filter, a page of the scroll at a time."""
        from qdrant_edge import ScrollRequest

        offset, more = None, True
        while more:
            points, offset = self.shard.scroll(
                ScrollRequest(limit=BATCH, offset=offset, filter=filter, with_payload=False, with_vector=with_vector)
            )
            yield points
            more = offset is not None


def _filter(where: object) -> Filter | None:
    """Return a filter as it is; raise TypeError for what is none."""
    from qdrant_edge import Filter

    if where is not None and not isinstance(where, Filter):
        raise TypeError(f"where must be a qdrant_edge.Filter, got {type(where).__name__}")
    return where
