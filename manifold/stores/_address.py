"""An address of a store, ``scheme:where#collection``, in; the store that is there out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from manifold.stores._base import Store
from manifold.stores._chroma import Chroma
from manifold.stores._lance import LanceDB
from manifold.stores._pgvector import PgVector
from manifold.stores._qdrant import Qdrant

Named = Mapping[str, str]  # "id", "vector", "metric", those that were given


def open_store(address: str, *, id: str | None = None, vector: str | None = None, metric: str | None = None) -> Store:
    """Open the store at an address; what it holds is named after ``#``.

    ===============================================  =======================================
    ``postgresql://user@host/database#shop.items``   a table of PostgreSQL with pgvector
    ``qdrant+http://host:6333#items``                a collection of a Qdrant server
    ``lancedb:folder#items``                         a table of LanceDB
    ``chroma:folder#items``                          a collection of Chroma, in a folder
    ``chroma+http://host:8000#items``                or on a server
    ===============================================  =======================================

    ``+https`` in place of ``+http`` asks by TLS.

    Reference: guide *stores*, "What a store is asked".

    Parameters
    ----------
    address : str
        Passwords in it are kept nowhere.
    id : str, optional
        Column of the ids, where rows have columns.
    vector : str, optional
        Column of the vectors, or their name.
    metric : {"cosine", "inner_product", "euclidean"}, optional
        By which it is searched, where the store does not say that itself.

    Raises
    ------
    ValueError
        For another scheme, an address without ``#``, or a name that such a store has not.
    FileNotFoundError
        For a folder that is not there.
    ImportError
        Where the client of the store is missing.

    Examples
    --------
    >>> open_store("postgresql://localhost/shop#public.items", vector="v")
    PgVector('public.items', id='id', vector='v', metric='cosine')
    """
    if not isinstance(address, str):
        raise TypeError(f"address must be a text such as 'lancedb:folder#items', got {address!r}")
    where, mark, collection = address.rpartition("#")
    scheme = urlsplit(where).scheme
    if scheme not in _SCHEMES or not mark or not collection:
        known = ", ".join(f"{name}:" for name in _SCHEMES)
        raise ValueError(f"a store is {known} with what it holds after '#', as in lancedb:folder#items")
    named = {name: value for name, value in (("id", id), ("vector", vector), ("metric", metric)) if value is not None}
    opened, names = _SCHEMES[scheme]
    odd = next((name for name in named if name not in names), None)
    if odd is not None:
        raise ValueError(f"{odd} of a {scheme.split('+')[0]} store is its own: leave {odd}={named[odd]!r} out")
    try:
        return opened(where, collection, named)
    except ImportError as error:
        raise ImportError(f"{error}: pip install 'manifold-search[stores]'") from error


def _postgresql(where: str, table: str, named: Named) -> Store:
    return PgVector(where, table, **named)


def _qdrant(where: str, collection: str, named: Named) -> Store:
    from qdrant_client import QdrantClient

    return Qdrant(QdrantClient(url=where.removeprefix("qdrant+")), collection, using=named.get("vector"))


def _lancedb(where: str, table: str, named: Named) -> Store:
    import lancedb

    folder = where.removeprefix("lancedb:")
    return LanceDB(lancedb.connect(folder if "://" in folder else _there(folder, where)).open_table(table), **named)


def _chroma(where: str, collection: str, _: Named) -> Store:
    import chromadb
    from chromadb.config import Settings

    settings = Settings(anonymized_telemetry=False)
    parts = urlsplit(where.removeprefix("chroma+"))
    if parts.scheme == "chroma":
        folder = _there(where.removeprefix("chroma:"), where)
        client = chromadb.PersistentClient(path=folder, settings=settings)
    else:
        client = chromadb.HttpClient(
            host=parts.hostname or "", port=parts.port or 8000, ssl=parts.scheme == "https", settings=settings
        )
    return Chroma(client.get_collection(collection))


def _there(folder: str, where: str) -> str:
    """Return a folder that is there: clients would make one that is not."""
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no folder {folder!r}, as the address {where!r} says: check the path")
    return folder


_SCHEMES: dict[str, tuple[Callable[[str, str, Named], Store], tuple[str, ...]]] = {
    "postgresql": (_postgresql, ("id", "vector", "metric")),
    "qdrant+http": (_qdrant, ("vector",)),
    "qdrant+https": (_qdrant, ("vector",)),
    "lancedb": (_lancedb, ("id", "vector", "metric")),
    "chroma": (_chroma, ()),
    "chroma+http": (_chroma, ()),
    "chroma+https": (_chroma, ()),
}
