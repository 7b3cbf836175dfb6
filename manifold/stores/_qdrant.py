"""A collection of Qdrant as a store, over its server's API or in the client's local mode.

Cosine and Dot  s = v      Euclid  s = -v^2
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from manifold.stores._base import BATCH, Lists, Vectors, form_of, listed, together

if TYPE_CHECKING:
    from uuid import UUID

    from qdrant_client import QdrantClient
    from qdrant_client.models import Filter, Record

_FORMS = {"Cosine": ("cosine", "v"), "Dot": ("inner_product", "v"), "Euclid": ("euclidean", "-v^2")}


class Qdrant:
    """A collection of Qdrant; its metric is that of the collection.

    Reference: guide *stores*, "What a store is asked".

    Parameters
    ----------
    client : qdrant_client.QdrantClient
    collection : str
    using : str, optional
        The vector, where points have several by name. Points without it are left out.

    Notes
    -----
    A filter is a ``qdrant_client.models.Filter``. Ids are integers and UUIDs as text, as the client has them. A
    collection that compares by cosine gives vectors back of length 1.

    Examples
    --------
    >>> Qdrant("a client", "items", using="image")
    Qdrant('items', using='image')
    """

    def __init__(self, client: QdrantClient, collection: str, *, using: str | None = None) -> None:
        self.client, self.collection, self.using = client, collection, using

    def __repr__(self) -> str:
        return f"Qdrant({self.collection!r}, using={self.using!r})"

    @property
    def metric(self) -> str:
        """That by which the collection compares; raises ValueError for Manhattan distances."""
        return self._form()[0]

    def batches(self) -> Iterator[tuple[Sequence[object], Vectors]]:
        """Yield all ids and vectors, a page of the scroll at a time."""
        for points in self._pages(with_vectors=True if self.using is None else [self.using]):
            pairs = [(p.id, vector_of(p.vector, self.using)) for p in points]
            pairs = [(name, vector) for name, vector in pairs if vector is not None]
            if pairs:
                yield [name for name, _ in pairs], np.array([vector for _, vector in pairs], dtype=np.float32)

    def search(self, Q: Vectors, k: int, where: object = None) -> Lists:
        """Return the nearest points of each query, all queries in one request."""
        from qdrant_client import models

        form, queries = self._form()[1], np.asarray(Q, dtype=np.float32).tolist()
        requests = [models.QueryRequest(query=q, using=self.using, limit=k, filter=_filter(where)) for q in queries]
        found = self.client.query_batch_points(self.collection, requests) if requests else []
        return together(listed([p.id for p in one.points], [p.score for p in one.points], form) for one in found)

    def keep(self, ids: Sequence[object] | None, where: object = None) -> set[object]:
        """Return those of some ids, or of all, that are points with a vector and satisfy a filter."""
        from qdrant_client import models

        if ids is not None and not len(ids):
            return set()
        there: list[Any] = [models.HasVectorCondition(has_vector=self.using or "")]
        there += [] if ids is None else [models.HasIdCondition(has_id=cast("list[int | str | UUID]", list(ids)))]
        there += [] if where is None else [_filter(where)]
        names: set[object] = set()
        for points in self._pages(with_vectors=False, scroll_filter=models.Filter(must=there)):
            names |= {p.id for p in points}
        return names

    def _pages(self, *, with_vectors: bool | list[str], scroll_filter: Filter | None = None) -> Iterator[list[Record]]:
        """Yield all points that satisfy a filter, a page of the scroll at a time."""
        offset, more = None, True
        while more:
            points, offset = self.client.scroll(
                self.collection,
                scroll_filter=scroll_filter,
                limit=BATCH,
                offset=offset,
                with_payload=False,
                with_vectors=with_vectors,
            )
            yield points
            more = offset is not None

    def _form(self) -> tuple[str, str]:
        params = self.client.get_collection(self.collection).config.params.vectors
        if isinstance(params, dict):
            if self.using is None:
                raise ValueError(f"points of {self.collection!r} have vectors {sorted(params)}: name one, using=...")
            params = params[self.using]
        if params is None:
            raise ValueError(f"points of {self.collection!r} have no vectors: create it with vectors_config=")
        return form_of(_FORMS, params.distance.value, store="Qdrant")


def vector_of(vector: Any, using: str | None) -> Any:
    """Return the vector of a point, or that of a name; None where it has none.

    >>> vector_of({"image": [1.0]}, "image"), vector_of({}, "image"), vector_of([2.0], None)
    ([1.0], None, [2.0])
    """
    return vector if using is None else (vector or {}).get(using)


def _filter(where: object) -> Filter | None:
    """Return a filter as it is; raise TypeError for what is none."""
    from qdrant_client import models

    if where is not None and not isinstance(where, models.Filter):
        raise TypeError(f"where must be a qdrant_client.models.Filter, got {type(where).__name__}")
    return where
