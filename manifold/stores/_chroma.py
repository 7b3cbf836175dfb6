"""A collection of Chroma as a store.

cosine  s = 1 - v      ip  s = 1 - v      l2  s = -v, which is squared there
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from manifold.stores._base import BATCH, Lists, Vectors, form_of, listed, together

if TYPE_CHECKING:
    from chromadb import Collection, Where

_SPACES = {"cosine": ("cosine", "1 - v"), "ip": ("inner_product", "1 - v"), "l2": ("euclidean", "-v")}


class Chroma:
    """A collection of Chroma; its metric is that of the collection's space.

    Reference: guide *stores*, "What a store is asked".

    Parameters
    ----------
    collection : chromadb.Collection

    Notes
    -----
    A filter is a dict, as `where` of Chroma takes it: ``{"tag": {"$in": [3, 5]}}``. Ids are texts.

    Examples
    --------
    >>> Chroma("a collection")
    Chroma('a collection')
    """

    def __init__(self, collection: Collection) -> None:
        self.collection = collection

    def __repr__(self) -> str:
        return f"Chroma({getattr(self.collection, 'name', self.collection)!r})"

    @property
    def metric(self) -> str:
        """That of the collection's space."""
        return self._form()[0]

    def batches(self) -> Iterator[tuple[Sequence[object], Vectors]]:
        """Yield all ids and vectors, a page at a time."""
        offset = 0
        while True:
            found = self.collection.get(include=["embeddings"], limit=BATCH, offset=offset)
            if not found["ids"]:
                return
            yield found["ids"], np.asarray(found["embeddings"], dtype=np.float32)
            offset += len(found["ids"])

    def search(self, Q: Vectors, k: int, where: object = None) -> Lists:
        """Return the nearest items of each query, all queries in one request."""
        queries = np.asarray(Q, dtype=np.float32)
        if not len(queries):
            return [], []
        found = self.collection.query(query_embeddings=queries, n_results=k, where=_where(where), include=["distances"])
        form = self._form()[1]
        pairs = zip(found["ids"], found["distances"] or [], strict=True)
        return together(listed(ids, values, form) for ids, values in pairs)

    def keep(self, ids: Sequence[object] | None, where: object = None) -> set[object]:
        """Return those of some ids, or of all, that are there and satisfy a filter."""
        if ids is not None and not len(ids):
            return set()
        names = None if ids is None else [str(name) for name in ids]
        return set(self.collection.get(ids=names, where=_where(where), include=[])["ids"])

    def _form(self) -> tuple[str, str]:
        spaces = self.collection.configuration_json
        space = (spaces.get("hnsw") or spaces.get("spann") or {}).get("space")
        return form_of(_SPACES, space, store="Chroma")


def _where(where: object) -> Where | None:
    """Return a filter as it is; raise TypeError for what is none."""
    if where is not None and not isinstance(where, dict):
        raise TypeError(f"where must be a dict, got {type(where).__name__}: {{'tag': {{'$in': [3, 5]}}}}")
    return where
