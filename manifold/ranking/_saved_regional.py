"""A fitted search over regions as arrays and parameters, and back: the same answers, bit for bit."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, Self

from manifold.graph import Graph
from manifold.index import PooledColumns, StoredColumns
from manifold.index.stored import described
from manifold.ranking._saved import from_json, to_json
from manifold.storage import Stored, decode_names, encode_names, save_arrays

_PLAIN = (
    *("n_neighbors", "n_seeds", "n_largest", "y_mode", "pooling", "regularization"),
    *("bridge", "degree_exponent", "edges", "method", "on_failure"),
)


class SavedRegionalSearch:
    """What a search over regions has besides: a way to disk."""

    def save(self, path: str | PathLike[str]) -> Path:
        """Save the fitted search as a folder; `manifold.load` gives it back, with the same answers to the bit.

        Raises
        ------
        ValueError, TypeError
            Where it is not fitted; for a solver that holds eigenpairs (save those, and give them again) or is none of
            this package.
        FileExistsError, OSError
            See `manifold.storage.save_arrays`.

        Notes
        -----
        As for `ManifoldSearch.save`: graph, regions, settings and the columns of an index are saved, other solvers are
        prepared anew; a backend that is an object is loaded as "auto", and a generator in `random_state` as None.
        """
        search: Any = self
        search._require_fit()
        columns = search._ranker.prepared
        if isinstance(columns, PooledColumns):
            arrays, parameters = columns._described()
        elif isinstance(columns, StoredColumns):
            arrays, parameters = described(columns)
        else:
            arrays, parameters = search.graph_._described()
        arrays |= {"features": search._points.X, "images": search.images_}
        arrays["names"], parameters["names"] = encode_names(search.ids_)
        settings = {name: getattr(search, name) for name in _PLAIN}
        settings |= {"alpha": search.filter.alpha, "gamma": search.affinity.gamma}
        settings["solver"] = None if isinstance(search.solver, StoredColumns | PooledColumns) else search.solver
        settings["backend"] = search.backend if isinstance(search.backend, str) else "auto"
        settings["random_state"] = search.random_state if isinstance(search.random_state, int) else None
        parameters["settings"] = to_json(settings)
        return save_arrays(path, kind="regional_search", arrays=arrays, parameters=parameters)

    @classmethod
    def _from_stored(cls, stored: Stored) -> Self:
        arrays, made = stored.arrays, from_json(stored.parameters["settings"])
        if not isinstance(made["backend"], str):
            raise ValueError(f"backend is {made['backend']!r}")
        kept: Any = None
        if "tail" in arrays:
            kept = (PooledColumns if "pooling_data" in arrays else StoredColumns)._from_stored(stored)
        asked = made.pop("solver")
        build: Any = cls
        search = build(**made, solver="auto" if asked is None else asked)
        asked, search.solver = search.solver if asked is not None else kept, kept or search.solver
        names = decode_names(arrays["names"], stored.parameters["names"])
        graph = Graph._from_stored(stored) if kept is None else kept.graph
        search.fit(arrays["features"], arrays["images"], ids=names, graph=graph)
        search.solver = asked
        return search  # type: ignore[no-any-return]
