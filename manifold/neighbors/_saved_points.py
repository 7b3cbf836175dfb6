"""Points as a folder holds them: rows, and what is known of each, so that a mapped set is asked without a look at it.

In: a `PointSet`. Out: arrays and parameters; and back.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from manifold._checks import read_features
from manifold._typing import AnyArray
from manifold.neighbors._stored_rows import STORED
from manifold.neighbors.points import PointSet
from manifold.storage import Stored

_COMPACT = "compact_"  # arrays of the bytes that propose
_KNOWN = {"norms": np.float64, "divisors": np.float32}


def described_points(points: PointSet) -> tuple[dict[str, AnyArray], dict[str, object]]:
    """Return arrays and parameters, from which `stored_points` makes the same points.

    Reference: NumPy file format (NEP 1); guide *scale*, "Keep what was expensive".

    >>> from manifold.neighbors import point_set
    >>> [list(part) for part in described_points(point_set([[1e9], [1e9 + 0.25]], "euclidean"))]
    [['features', 'norms', 'divisors', 'offset', 'centre'], ['points']]
    """
    arrays: dict[str, AnyArray] = {"features": points.X, "norms": points.norms, "divisors": points.divisors}
    if points.offset is not None:
        arrays["offset"] = points.offset
    if points.centre is not None:
        arrays["centre"] = points.centre
    known: dict[str, object] = {"points": {"longest": points.longest, "has_extremes": points.has_extremes}}
    if points.compact is not None:
        held, told = described_points(points.compact)
        arrays |= {_COMPACT + name: values for name, values in held.items()}
        known["compact"] = told["points"]
    return arrays, known if points.names is None else {**known, "columns": list(points.names)}


def stored_points(stored: Stored, metric: str) -> PointSet:
    """Return the points that `described_points` took apart; raise ValueError for what it would not have made.

    What is known of them is taken where they are mapped, and found out anew where every byte was read.

    Reference: guide *scale*, "Keep what was expensive".

    >>> from manifold.neighbors import point_set
    >>> arrays, parameters = described_points(point_set([[3.0, 4.0]]))
    >>> stored_points(Stored("search", arrays, parameters, verified=False), "cosine").norms.tolist()
    [5.0]
    """
    X, columns = np.asarray(stored.arrays["features"]), stored.parameters.get("columns")
    if X.ndim != 2 or X.dtype not in STORED:
        raise ValueError(f"features are {X.dtype} {X.shape}, and should be rows of {', '.join(map(str, STORED))}")
    points = PointSet(read_features(X, compact=True).rows if stored.verified and len(X) else X, metric)
    if columns is not None:
        if not (isinstance(columns, list) and len(columns) == X.shape[1]):
            raise ValueError(f"columns must be a name for each of {X.shape[1]} features, got {columns!r}")
        points.names = tuple(str(column) for column in columns)
    for name in ("offset", "centre"):
        if name in stored.arrays:
            of_all = np.asarray(stored.arrays[name])
            if of_all.shape != X.shape[1:] or of_all.dtype != (np.float64 if name == "offset" else np.float32):
                raise ValueError(f"{name} must be one number for each of {X.shape[1]} features")
            if name == "offset" or not stored.verified:
                vars(points)[name] = of_all
    _take_known(points, stored)
    if _COMPACT + "features" in stored.arrays:
        held = {name.removeprefix(_COMPACT): made for name, made in stored.arrays.items() if name.startswith(_COMPACT)}
        inner = replace(stored, arrays=held, parameters={"points": stored.parameters.get("compact")})
        points.compact = stored_points(inner, metric)
        if points.compact.X.dtype != np.int8 or points.compact.X.shape != X.shape:
            raise ValueError(f"bytes are {points.compact}, and should be those of the {len(X)} features")
    return points


def _take_known(points: PointSet, stored: Stored) -> None:
    """Put down what was saved of each point, and of all of them; older saves have none of it."""
    told = stored.parameters.get("points")
    if told is None:
        return
    if not (isinstance(told, dict) and type(told["longest"]) is float and type(told["has_extremes"]) is bool):
        raise ValueError(f"what is known of the points is {told!r}, and should be a length and a flag")
    found = {name: np.asarray(stored.arrays[name]) for name in _KNOWN}
    for name, values in found.items():
        if values.shape != points.X.shape[:1] or values.dtype != _KNOWN[name]:
            raise ValueError(f"{name} must be one number for each of {len(points.X)} points")
    if not stored.verified:
        vars(points).update(found, longest=told["longest"], has_extremes=told["has_extremes"])
