"""Beside a vector store: its vectors fitted, its filters kept, the graph in step with what it holds.

A store is three methods (`Store`); `StoreSearch` asks it and a `ManifoldSearch` together. No client is imported before
a store of its kind is used.
"""

from manifold.stores._address import open_store
from manifold.stores._base import Store, Versioned
from manifold.stores._chroma import Chroma
from manifold.stores._lance import LanceDB
from manifold.stores._pgvector import PgVector
from manifold.stores._plain import Arrays
from manifold.stores._qdrant import Qdrant
from manifold.stores._qdrant_edge import QdrantEdge
from manifold.stores._results import StoreRanking
from manifold.stores._search import StoreSearch
from manifold.stores._sync import Changes, Snapshot

__all__ = [
    "Arrays",
    "Changes",
    "Chroma",
    "LanceDB",
    "PgVector",
    "Qdrant",
    "QdrantEdge",
    "Snapshot",
    "Store",
    "StoreRanking",
    "StoreSearch",
    "Versioned",
    "open_store",
]
