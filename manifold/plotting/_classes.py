"""Labels of points in, the classes met and who belongs to which out: whatever marks a missing label is no class."""

from __future__ import annotations

from math import isnan
from typing import NamedTuple

import numpy as np

from manifold._typing import AnyArray, Ints


class Classes(NamedTuple):
    """The classes of some labels."""

    known: list[object]  # sorted
    codes: Ints  # (n,) place in `known`; -1 where there is no class
    missing: object  # the marker that was met, None if there was none


def classes_of(labels: AnyArray) -> Classes:
    """Return the classes met; None, NaN, -1 (as a number or a text) and empty texts are none.

    >>> classes = classes_of(np.array(["b", None, "a", "b", "-1"], dtype=object))
    >>> classes.known, classes.codes.tolist()
    (['a', 'b'], [1, -1, 0, 1, -1])
    """
    if labels.dtype.kind in "iub":  # the usual kind, many points
        values, codes = np.unique(labels, return_inverse=True)
        none = values == -1
        moved = np.where(none, -1, np.cumsum(~none) - 1)
        return Classes(values[~none].tolist(), moved[codes], -1 if none.any() else None)
    # objects of several kinds have no order together, and NaN is not itself: places are found by hashing
    listed = labels.tolist()
    marks = {label: is_none(label) for label in dict.fromkeys(listed)}
    known = _sorted([label for label, none in marks.items() if not none])
    places = {label: place for place, label in enumerate(known)}
    codes = np.array([-1 if marks[label] else places[label] for label in listed], dtype=np.int64)
    return Classes(known, codes, next((label for label, none in marks.items() if none), None))


def is_none(label: object) -> bool:
    """Return whether a label says that there is none.

    >>> [is_none(label) for label in (None, float("nan"), -1, "-1", "", 0, "none")]
    [True, True, True, True, True, False, False]
    """
    if label is None or type(label).__name__ in ("NAType", "NaTType"):
        return True
    return label in ("", "-1", -1) or (isinstance(label, float) and isnan(label))


def _sorted(labels: list[object]) -> list[object]:
    """Return labels in their own order, by kind and text where they have none together."""
    try:
        return list(np.unique(np.array(labels, dtype=object)).tolist())
    except TypeError:
        return sorted(labels, key=lambda label: (type(label).__name__, str(label)))
