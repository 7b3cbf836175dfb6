"""A fitted search as arrays and parameters, and back: the same answers, bit for bit.

Settings go by the names of their classes, and only those below are made again: a file can name no other.
"""

from __future__ import annotations

from copy import copy
from dataclasses import fields, is_dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np

from manifold.filters import Diffusion, Heat, LowPass, Polynomial, RegularizedDiffusion
from manifold.graph import Graph
from manifold.graph.affinity import Affinity
from manifold.index import DiffusionIndex, StoredColumns
from manifold.index.stored import described
from manifold.neighbors import Neighbors, PointSet
from manifold.ranking._adaptation import Adaptation, Reach
from manifold.ranking._collection import Ids
from manifold.ranking._settings import Setting
from manifold.ranking.tuning import Tuning
from manifold.solvers import SOLVERS
from manifold.storage import Stored, decode_names, encode_names, save_arrays

_FILTERS = (Diffusion, Heat, LowPass, Polynomial, RegularizedDiffusion)
_KNOWN = {
    made.__name__: made
    for made in (Adaptation, Affinity, DiffusionIndex, Setting, Tuning, *_FILTERS, *SOLVERS.values())
}
_PLAIN = ("n_neighbors", "n_seeds", "bridge", "degree_exponent", "edges", "method", "preset", "on_failure")
_FITTED: dict[str, type] = {"_one_sided": float, "_reason": str, "tuning_": Tuning}


class SavedSearch:
    """What a search has besides: a way to disk."""

    def save(self, path: str | PathLike[str], *, features: bool = True) -> Path:
        """Save the fitted search as a folder; `manifold.load` gives it back, with the same answers to the bit.

        Parameters
        ----------
        path : str or path
            A new folder, or an older save, which is replaced as a whole.
        features : bool
            Save the features too, which are memory-mapped when loaded. Without them only `rerank` and `similar` work,
            and `similar` leaves what is not reached in no order.

        Raises
        ------
        ValueError, TypeError
            Where it is not fitted; for a solver that holds eigenpairs (save those, and give them again) or is none of
            this package.
        FileExistsError, OSError
            See `manifold.storage.save_arrays`.

        Notes
        -----
        Graph, ids, settings, what was tuned, the columns of an index, and with the features the lists of neighbours,
        which `add` and `remove` need, are saved; other solvers are prepared anew. A
        backend that is an object is loaded as "auto", and a generator in `random_state` as None.
        """
        search: Any = copy(self)  # one state, whatever takes its place meanwhile
        search._require_fit()
        columns, points = search._ranker.prepared, search._points
        if isinstance(columns, StoredColumns):
            arrays, parameters = described(columns)
        else:
            arrays, parameters = search.graph_._described()
        arrays["names"], parameters["names"] = encode_names(search.ids_)
        if features and points is not None:
            arrays["features"] = points.X
            if search._neighbors is not None:  # with which the collection can change
                lists = search._neighbors
                arrays |= {"near_ids": lists.indices, "near_similarities": lists.similarities}
                parameters |= {"neighbors": [lists.method, lists.n_repaired], "following": search._ids.following}
        if search._scales is not None:
            arrays["scales"] = search._scales
        if search._reach is not None:
            arrays |= {"reach_edge": search._reach.edge, "reach_lead": search._reach.lead}
        given = isinstance(search.solver, StoredColumns)
        settings = {name: getattr(search, name) for name in (*_PLAIN, "filter", "affinity", "adaptation", "tune")}
        settings["solver"] = None if given else search.solver
        settings["backend"] = search.backend if isinstance(search.backend, str) else "auto"
        settings["random_state"] = search.random_state if isinstance(search.random_state, int) else None
        fitted = {name: getattr(search, name, None) for name in _FITTED}
        parameters |= {"settings": to_json(settings), "fitted": to_json(fitted)}
        return save_arrays(path, kind="search", arrays=arrays, parameters=parameters)

    @classmethod
    def _from_stored(cls, stored: Stored) -> Self:
        arrays, settings = stored.arrays, from_json(stored.parameters["settings"])
        filter, affinity, adaptation, tune = (settings.pop(x) for x in ("filter", "affinity", "adaptation", "tune"))
        backend = settings["backend"]
        kinds = ((filter, _FILTERS), (affinity, Affinity), (adaptation, Adaptation | None), (backend, str))
        if not all(isinstance(value, kind) for value, kind in kinds):
            raise ValueError(f"settings hold {filter!r}, {affinity!r}, {adaptation!r}, {backend!r}")
        kernel = {"affinity": affinity.kind, "gamma": affinity.gamma, "metric": affinity.metric}
        search: Any = cls(**settings, **kernel)  # which checks them
        asked, search.filter, search.adaptation = search.solver, filter, None
        if "tail" in arrays:
            search.solver = StoredColumns._from_stored(stored)
            asked = asked if settings["solver"] is not None else search.solver
        graph = search.solver.graph if "tail" in arrays else Graph._from_stored(stored)
        names = decode_names(arrays["names"], stored.parameters["names"])
        features = arrays.get("features")
        search.fit(features if graph.n_nodes else None, names, graph=graph)  # a fit wants points
        if features is not None:
            search._points = search._points or PointSet(np.asarray(features), affinity.metric)
            search._neighbors = _lists(stored, affinity.metric, graph.n_nodes)
            search._ids = Ids(search.ids_, graph.n_nodes, following=int(stored.parameters.get("following", 0)))
        search.solver, search.adaptation, search.tune = asked, adaptation, tune
        search._scales, search._reach = _of_nodes(arrays, graph.n_nodes)
        fitted = from_json(stored.parameters["fitted"])
        for name, kind in _FITTED.items():
            if fitted[name] is not None:
                if not isinstance(fitted[name], kind):
                    raise ValueError(f"{name} is {fitted[name]!r}, and should be a {kind.__name__}")
                setattr(search, name, fitted[name])
        return search  # type: ignore[no-any-return]


def _lists(stored: Stored, metric: str, n: int) -> Neighbors | None:
    """Return the lists of neighbours, where they were saved; raise ValueError for those of another collection."""
    if "near_ids" not in stored.arrays:
        return None
    method, n_repaired = stored.parameters["neighbors"]
    ids, similarities = (np.asarray(stored.arrays[name]) for name in ("near_ids", "near_similarities"))
    lists = Neighbors(ids, similarities, metric=metric, method=str(method), n_repaired=int(n_repaired))
    if lists.n_nodes != n:
        raise ValueError(f"near_ids are lists of {lists.n_nodes} points, and should be of {n}")
    return lists


def _of_nodes(arrays: Any, n: int) -> tuple[Any, Reach | None]:
    """Return the kernel's scales and the reach of each node, where they were saved; raise ValueError for others."""
    found = {name: np.asarray(arrays[name]) for name in ("scales", "reach_edge", "reach_lead") if name in arrays}
    for name, values in found.items():
        if values.shape != (n,) or values.dtype.kind != "f" or np.isnan(values).any():
            raise ValueError(f"{name} must be one number a node, got {values.dtype} {values.shape}")
    reach = Reach(found["reach_edge"], found["reach_lead"]) if "reach_edge" in found else None
    return found.get("scales"), reach


def to_json(value: Any) -> Any:
    """Return settings as what JSON holds, their classes by name.

    Raises TypeError for what is no setting of this package.

    >>> to_json({"filter": Diffusion(0.9)})
    {'filter': {'is': 'Diffusion', 'alpha': 0.9}}
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [to_json(part) for part in value]
    if isinstance(value, dict):
        return {name: to_json(part) for name, part in value.items()}
    name = type(value).__name__
    if not (is_dataclass(value) and _KNOWN.get(name) is type(value)):
        raise TypeError(f"a {name} is no setting that a saved search can hold: save it by itself, and give it again")
    return {"is": name, **{part.name: to_json(getattr(value, part.name)) for part in fields(value)}}


def from_json(value: Any) -> Any:
    """Return what `to_json` took apart; lists come back as tuples.

    >>> from_json({"filter": {"is": "Diffusion", "alpha": 0.9}})
    {'filter': Diffusion(alpha=0.9)}
    """
    if isinstance(value, list):
        return tuple(from_json(part) for part in value)
    if not isinstance(value, dict):
        return value
    parts = {name: from_json(part) for name, part in value.items() if name != "is"}
    return _KNOWN[value["is"]](**parts) if "is" in value else parts
