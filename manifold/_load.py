"""One door back in: a saved folder -> the object that was saved."""

from __future__ import annotations

from importlib import import_module
from os import PathLike
from typing import Any

from manifold.errors import CorruptFileError
from manifold.storage import load_arrays

# kind -> room and class; the class has a method `_from_stored(stored)` that raises for what it would not have saved
KINDS = {
    "graph": ("manifold.graph", "Graph"),
    "neighbors": ("manifold.neighbors", "Neighbors"),
    "spectrum": ("manifold.solvers.spectrum", "Spectrum"),
    "index": ("manifold.index", "StoredColumns"),
    "lazy_index": ("manifold.index", "LazyColumns"),
    "pooled_index": ("manifold.index", "PooledColumns"),
    "regional_search": ("manifold.ranking", "RegionalSearch"),
    "search": ("manifold.ranking", "ManifoldSearch"),
    "graph_search": ("manifold.ranking", "GraphSearch"),
    "propagation": ("manifold.labels", "Propagation"),
    "local_features": ("manifold.matching", "LocalFeatures"),
    "vocabulary": ("manifold.matching", "Vocabulary"),
    "pair_whitening": ("manifold.discovery", "PairWhitening"),
    "label_propagation": ("manifold.labels.estimator", "LabelPropagation"),
    "label_propagation_regressor": ("manifold.labels.averaging", "LabelPropagationRegressor"),
    "multi_label_propagation": ("manifold.labels.averaging", "MultiLabelPropagation"),
}


def load(path: str | PathLike[str], *, verify: str = "full") -> Any:
    """Load what was saved: lists, a graph, a spectrum, an index, a search, a propagation or its model.

    Reference: guide *scale*, "Keep what was expensive".

    Parameters
    ----------
    path : str or path
        The folder.
    verify : {"full", "lazy"}
        Read all: compare the checksum of every array, and look through what it holds. Or open only: the cost does not
        grow with a graph or with the columns of an index, and their arrays stay where they are on disk. They are
        looked through when they are first used, a graph whole and an index by the columns that are asked for, so far
        that no product can crash; that W is symmetric, and that bytes are those that were saved, is then believed.
        Lists of neighbours are looked through in any case.
        See `manifold.storage.load_arrays`.

    Returns
    -------
    object
        As it was saved: the same bits, the same precision.

    Raises
    ------
    CorruptFileError
        For damage, a newer format, or arrays that are not such an object; a ValueError. After ``verify="lazy"`` also
        from the first use of what was loaded.
    FileNotFoundError
        Where there is no such folder.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from manifold import graph_from_affinity
    >>> with TemporaryDirectory() as folder:
    ...     path = graph_from_affinity([[0, 1], [1, 0]]).save(f"{folder}/graph")
    ...     load(path)
    Graph: 2 nodes, 1 edges, 1 components, 0 isolated, degree 1..1 (median 1), 52 B (method=given affinity)
    """
    stored = load_arrays(path, verify=verify)
    if stored.kind not in KINDS:
        raise CorruptFileError(f"{path} holds a {stored.kind!r}; known are {', '.join(KINDS)}: upgrade manifold")
    module, name = KINDS[stored.kind]
    # arrays that no save has written may fail in any of these ways; what is short of memory or of a file is not damaged
    try:
        return getattr(import_module(module), name)._from_stored(stored)
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        raise CorruptFileError(f"{path} holds no valid {stored.kind}: {error!r}") from error
