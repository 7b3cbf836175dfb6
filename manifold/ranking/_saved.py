"""A fitted search, or a linked graph, as arrays and parameters, and back: the same answers, bit for bit.

Settings go by the names of their classes, and only those below are made again: a file can name no other.
"""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial
from os import PathLike
from pathlib import Path
from types import UnionType

import numpy as np

from manifold._typing import AnyArray, Facts, Floats, Ints
from manifold.backends import get_backend
from manifold.errors import CorruptFileError
from manifold.filters import Diffusion, Heat, LowPass, Polynomial, RegularizedDiffusion
from manifold.graph import Graph
from manifold.graph.affinity import Affinity
from manifold.index import DiffusionIndex, LazyColumns, PooledColumns, StoredColumns, of_images, of_nodes
from manifold.index.stored import described
from manifold.neighbors import (
    METHODS,
    Cells,
    Neighbors,
    PointSet,
    SeedSearch,
    described_cells,
    described_points,
    stored_cells,
    stored_points,
)
from manifold.ranking._adaptation import Adaptation, NeighborReach
from manifold.ranking._calibration import Calibration
from manifold.ranking._collection import INTEGERS, MISSING, TEXTS, Ids
from manifold.ranking._fit import region_pooling
from manifold.ranking._fitted import Fitted
from manifold.ranking._linked import Linked
from manifold.ranking._settings import RegionSettings, SearchSettings, Setting
from manifold.ranking.pooling import Pooling, check_owners
from manifold.ranking.tuning import Tuning
from manifold.solvers import SOLVERS
from manifold.storage import Stored, decode_names, encode_names, save_arrays
from manifold.storage.settings import by_name, from_json, to_json

_FILTERS = (Diffusion, Heat, LowPass, Polynomial, RegularizedDiffusion)
_OWN = (Adaptation, Affinity, Calibration, DiffusionIndex, RegionSettings, SearchSettings, SeedSearch, Setting, Tuning)
_METHODS = [made for made in METHODS.values() if isinstance(made, type)]
_KNOWN = by_name(*_OWN, *_FILTERS, *_METHODS, *SOLVERS.values())


def save_fitted(fitted: Fitted, path: str | PathLike[str], *, features: bool = True) -> Path:
    """Save a state as a folder: graph or index, names, settings, and what `add` and `remove` need."""
    arrays, system = _system(fitted)
    names, told = _described_ids(fitted.ids)
    arrays, parameters = {**arrays, **names}, {**system, **told}
    if fitted.pooling is not None:
        arrays |= {"images": fitted.pooling.owners, "weights": fitted.pooling.weights}
    if features and fitted.points is not None:
        held, columns = described_points(fitted.points)
        arrays, parameters = {**arrays, **held}, {**parameters, **columns}
        if fitted.neighbors is not None:  # with which the collection can change
            lists = fitted.neighbors
            arrays |= {"near_ids": lists.indices, "near_similarities": lists.similarities}
            parameters["neighbors"] = [lists.method, lists.n_repaired, dict(lists.facts)]
        if fitted.cells is not None:
            held, known = described_cells(fitted.cells)
            arrays, parameters = {**arrays, **held}, {**parameters, **known}
            parameters["seed_search"] = to_json(fitted.cells.settings, _KNOWN)
    if fitted.scales is not None:
        arrays["scales"] = fitted.scales
    if fitted.reach is not None:
        arrays |= {"reach_edge": fitted.reach.edge, "reach_lead": fitted.reach.lead}
    settings = fitted.settings
    given = of_nodes(settings.solver) or of_images(settings.solver)  # already built
    seed = settings.random_state
    plain = replace(
        settings,
        solver="auto" if given else settings.solver,
        backend=settings.backend if isinstance(settings.backend, str) else "auto",
        random_state=int(seed) if isinstance(seed, int | np.integer) else None,
    )
    parameters |= {"settings": to_json(plain, _KNOWN), "solver_given": given}
    found: Facts = {
        "one_sided": float(fitted.one_sided),
        "tuning": fitted.tuning,
        "spread": fitted.spread,
        "calibration": fitted.calibration,
    }
    parameters["fitted"] = to_json(found, _KNOWN)
    kind = "search" if fitted.pooling is None else "regional_search"
    return save_arrays(path, kind=kind, arrays=arrays, parameters=parameters)


def _system(fitted: Fitted) -> tuple[dict[str, AnyArray], Facts]:
    """Return the graph, within the stored columns where there are some."""
    prepared = fitted.ranker.prepared
    if of_nodes(prepared):
        return described(prepared)
    return prepared._described() if of_images(prepared) else fitted.graph._described()


def restored(stored: Stored) -> Fitted:
    """Return the state that `save_fitted` took apart; raise for what it would not have saved."""
    arrays, parameters = stored.arrays, stored.parameters
    columns: StoredColumns | PooledColumns | None = None
    if "tail" in arrays:
        plain = LazyColumns if "lazy" in parameters else StoredColumns
        columns = (PooledColumns if "pooling_data" in arrays else plain)._from_stored(stored)
    graph = Graph._from_stored(stored) if columns is None else columns.graph
    settings, given = _settings(parameters)
    if given and columns is not None:
        settings = replace(settings, solver=columns)
    assert isinstance(settings.backend, str)
    backend, n = get_backend(settings.backend), graph.n_nodes
    points = _points(stored, settings.affinity.metric, n)
    pooling = _pooling(stored, settings, points)
    one_sided, tuning, spread, calibration = _found(parameters)
    scales, reach = _of_nodes(stored, n)
    state = Fitted(
        settings=settings,
        ids=_ids(stored, n if pooling is None else pooling.n_images),
        graph=graph,
        backend=backend,
        points=points,
        neighbors=_lists(stored, settings.affinity.metric, n),
        one_sided=one_sided,
        scales=scales,
        reach=reach,
        spread=spread,
        tuning=tuning,
        calibration=calibration,
        pooling=pooling,
        cells=_cells(stored, points),
        prepared=columns,
    )
    if stored.verified:
        _check_pooling(state)
    return state


def save_linked(linked: Linked, path: str | PathLike[str], *, settings: Facts) -> Path:
    """Save a graph of named nodes, and the features of some, as a folder: with the settings of what searches it."""
    arrays, parameters = linked.graph._described()
    held, told = _described_ids(linked.names)
    arrays, parameters = {**arrays, **held, "nodes": linked.nodes}, {**parameters, **told, "settings": settings}
    if linked.points is not None:
        held, told = described_points(linked.points)
        arrays, parameters = {**arrays, **held}, {**parameters, **told}
    return save_arrays(path, kind="graph_search", arrays=arrays, parameters=parameters)


def restored_linked(stored: Stored) -> Linked:
    """Return the state that `save_linked` took apart; raise ValueError for what it would not have saved."""
    graph, nodes = Graph._from_stored(stored), np.asarray(stored.arrays["nodes"])
    n, points = graph.n_nodes, _points(stored, "cosine", nodes.size)
    once = nodes.dtype.kind == "i" and nodes.ndim == 1 and np.unique(nodes).size == nodes.size
    if not once or (nodes.size and not 0 <= nodes.min() <= nodes.max() < n) or (points is None) != (not nodes.size):
        raise ValueError(f"nodes must name the node of each row of features once, of {n}, got {nodes}")
    return Linked(graph=graph, names=_ids(stored, n), points=points, nodes=nodes)


def _check_pooling(fitted: Fitted) -> None:
    """Raise ValueError where stored columns of images were made with other weights than those beside them."""
    prepared, pooling = fitted.prepared, fitted.pooling
    if of_images(prepared) and pooling is not None:
        prepared.check_pooling(pooling.scaled(fitted.graph.scale(fitted.settings.degree_exponent)).matrix)


def _settings(parameters: Facts) -> tuple[SearchSettings, bool]:
    """Return the settings, and whether the solver was given as stored columns."""
    found = from_json(parameters["settings"], _KNOWN)
    given = bool(parameters.get("solver_given", False))
    if isinstance(found, dict):  # as version 1 has them
        given = found["solver"] is None
        found = _settings_of_version_1(found)
    if not isinstance(found, SearchSettings):
        raise ValueError(f"settings are {found!r}, and should be SearchSettings")
    parts: tuple[tuple[object, type | UnionType | tuple[type, ...]], ...]
    parts = ((found.filter, _FILTERS), (found.affinity, Affinity), (found.backend, str))
    parts += ((found.adaptation, Adaptation | None), (found.regions, RegionSettings | None))
    for value, kind in parts:
        if not isinstance(value, kind):
            raise ValueError(f"settings hold {value!r}, which should be a {kind}")
    return found, given


def _settings_of_version_1(settings: Facts) -> SearchSettings:
    found = dict(settings)
    if found["solver"] is None:
        found["solver"] = "auto"
    if "n_largest" not in found:
        return SearchSettings(**found)
    regions = RegionSettings(**{part.name: found.pop(part.name) for part in fields(RegionSettings)})
    alpha, gamma = found.pop("alpha"), found.pop("gamma")
    return SearchSettings(
        **found, filter=Diffusion(alpha), affinity=Affinity("power", gamma, "cosine"), regions=regions
    )


def _found(parameters: Facts) -> tuple[float, Tuning | None, float, Calibration | None]:
    """Return what else was found, checked: the weight of what is one-sided, tuning, spread, and what is relevant."""
    found = from_json(parameters.get("fitted", {}), _KNOWN)
    if not isinstance(found, dict):
        raise ValueError(f"fitted is {found!r}, and should be names and values")
    one_sided, tuning = found.get("one_sided", found.get("_one_sided")), found.get("tuning", found.get("tuning_"))
    one_sided = 0.0 if one_sided is None else one_sided
    spread, calibration = found.get("spread", 0.0), found.get("calibration")
    if not isinstance(one_sided, int | float) or not isinstance(tuning, Tuning | None):
        raise ValueError(f"fitted holds {one_sided!r} and {tuning!r}, and should hold a number and a Tuning")
    if not isinstance(spread, int | float) or not 0 <= spread < np.inf:
        raise ValueError(f"fitted holds a spread of {spread!r}, and should hold a number >= 0")
    if not isinstance(calibration, Calibration | None):
        raise ValueError(f"fitted holds {calibration!r}, and should hold a Calibration")
    return float(one_sided), tuning, float(spread), calibration


def _described_ids(ids: Ids) -> tuple[dict[str, AnyArray], Facts]:
    values, how = encode_names(ids.values)
    return {"names": values}, {"names": how, "named": ids.kind, "following": ids.following}


def _ids(stored: Stored, n: int) -> Ids:
    """Return the names: looked through where every byte was read, else read when they are first asked for."""
    array, how = stored.arrays["names"], stored.parameters["names"]
    following = int(stored.parameters.get("following", 0))
    kind = stored.parameters.get("named", INTEGERS if how is None else TEXTS)  # version 1 had no others
    if kind not in MISSING:
        raise ValueError(f"names are of the kind {kind!r}, and should be of {', '.join(MISSING)}")
    if stored.verified:
        return Ids(decode_names(array, how), n, following=following, kind=kind)
    read = partial(_names, array, how, n=n, where=stored.path)
    return Ids.trusted(read() if how is None else read, following=following, kind=kind)


def _names(array: AnyArray, how: object, *, n: int, where: str) -> AnyArray:
    """Return names that are read late; raise CorruptFileError for those of another collection."""
    try:
        values = decode_names(array, how)
    except ValueError as error:
        raise CorruptFileError(f"{where}: {error}") from error
    if values.shape != (n,) or values.dtype.kind not in "iuUO":
        raise CorruptFileError(
            f"{where}: names are {values.dtype} {values.shape}, and should be one of each of {n} items"
        )
    return values


def _points(stored: Stored, metric: str, n: int) -> PointSet | None:
    if "features" not in stored.arrays:
        return None
    points = stored_points(stored, metric)
    if len(points.X) != n:
        raise ValueError(f"features are of {len(points.X)} points, and should be of {n}")
    return points


def _lists(stored: Stored, metric: str, n: int) -> Neighbors | None:
    """Return the lists of neighbours, where they were saved; raise ValueError for those of another collection."""
    if "near_ids" not in stored.arrays:
        return None
    method, n_repaired, *facts = stored.parameters["neighbors"]  # of facts older saves have none
    known = facts[0] if facts else {}
    if not isinstance(known, dict):
        raise ValueError(f"what is known of the lists is {known!r}, and should be names and values")
    ids, similarities = (np.asarray(stored.arrays[name]) for name in ("near_ids", "near_similarities"))
    if ids.shape != similarities.shape or ids.ndim != 2 or len(ids) != n:
        raise ValueError(f"near_ids are lists of shape {ids.shape}, and should be of {n} points")
    made = Neighbors if stored.verified else Neighbors._trusted
    return made(ids, similarities, metric=metric, method=str(method), n_repaired=int(n_repaired), facts=known)


def _cells(stored: Stored, points: PointSet | None) -> Cells | None:
    """Return the cells that seeds are looked for in, where they were saved."""
    if points is None or "seed_search" not in stored.parameters:
        return None
    settings = from_json(stored.parameters["seed_search"], _KNOWN)
    if not isinstance(settings, SeedSearch):
        raise ValueError(f"seed_search is {settings!r}, and should be SeedSearch")
    return stored_cells(stored, settings, points)


def _pooling(stored: Stored, settings: SearchSettings, points: PointSet | None) -> Pooling | None:
    if "images" not in stored.arrays:
        return None
    images: Ints = np.asarray(stored.arrays["images"])
    backend = get_backend(settings.backend)
    if settings.regions is None or points is None or images.shape != (points.X.shape[0],):
        raise ValueError(f"images are {images.shape}, and should be one of each region")
    if stored.verified:
        images = check_owners(images, len(images), name="images")
    if "weights" not in stored.arrays:
        return region_pooling(settings, points, images, backend=backend)
    weights: Floats = np.asarray(stored.arrays["weights"])
    if weights.shape != images.shape or weights.dtype != np.float64 or not np.isfinite(weights).all():
        raise ValueError(f"weights are {weights.dtype} {weights.shape}, and should be one number a region")
    return Pooling(images, weights, backend, maximum=settings.regions.pooling == "max")


def _of_nodes(stored: Stored, n: int) -> tuple[Floats | None, NeighborReach | None]:
    """Return the kernel's scales and the reach of each node, where they were saved; raise ValueError for others."""
    names = ("scales", "reach_edge", "reach_lead")
    found = {name: np.asarray(stored.arrays[name]) for name in names if name in stored.arrays}
    for name, values in found.items():
        if values.shape != (n,) or values.dtype.kind != "f" or (stored.verified and np.isnan(values).any()):
            raise ValueError(f"{name} must be one number a node, got {values.dtype} {values.shape}")
    reach = NeighborReach(found["reach_edge"], found["reach_lead"]) if "reach_edge" in found else None
    return found.get("scales"), reach
