"""Labels of every kind in, what is propagated out: columns Y (n, q) and which rows are labelled.

classes      one-hot rows of the classes met, sorted            multilabel   0/1 rows, one question a column
soft         non-negative rows, one column a class              values       real numbers, for regression
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

KINDS = ("auto", "classes", "soft", "multilabel", "values")


@dataclass(frozen=True, eq=False)
class Targets:
    """What is known of n points before propagation.

    Attributes
    ----------
    kind : {"classes", "soft", "multilabel", "values"}
    Y : (n, q) csc_array
        One column a class, question or target; rows that are not labelled are empty.
    labelled : (n,) bool
    classes : (q,)
        What the columns stand for: the classes met, sorted, or 0..q-1.
    missing : object
        The label of a point that nothing reaches.
    one_column : bool
        Whether real values came as (n,).
    """

    kind: str
    Y: sparse.csc_array
    labelled: NDArray[np.bool_]
    classes: NDArray[Any]
    missing: Any = -1
    one_column: bool = False

    def names(self, columns: NDArray[np.int64]) -> NDArray[Any]:
        """Return the classes of columns (n,); column -1 is the label of points that nothing reaches.

        The dtype follows from the classes and the marker alone, never from whether some point is unreached.
        """
        dtype = _name_dtype(self.classes, self.missing)
        missing = str(self.missing) if dtype.kind == "U" else self.missing
        names = np.empty(self.classes.size + 1, dtype=dtype)
        names[:-1], names[-1] = self.classes, missing
        return names[columns]


def encode(labels: Any, n: int, *, unlabeled: Any = -1, kind: str = "auto") -> Targets:
    """Return the targets of n points.

    Parameters
    ----------
    labels : (n,) or (n, q) array-like, or Targets, which are returned as they are
        Classes (integers, strings, booleans, any sortable objects), soft labels, 0/1 indicators or real values.
    unlabeled : object
        The class that means "not labelled"; None and NaN always do. In the other kinds a row is not labelled
        where it is NaN, and a soft row also where it is zero.
    kind : {"auto", "classes", "soft", "multilabel", "values"}
        "auto" takes one dimension for classes and two for soft labels.

    Raises
    ------
    TypeError, ValueError
        For a shape, dtype or value that does not fit the kind, or where no point is labelled.

    Examples
    --------
    >>> targets = encode(["cat", None, "dog"], 3)
    >>> targets.classes.tolist(), targets.labelled.tolist()
    (['cat', 'dog'], [True, False, True])
    """
    if isinstance(labels, Targets):
        return labels
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
    values = _as_array(labels)
    if values.ndim not in (1, 2) or values.shape[0] != n:
        raise ValueError(f"labels must have one row for each of the {n} nodes, got shape {values.shape}")
    if kind == "auto":
        kind = "classes" if values.ndim == 1 else "soft"
    targets = _classes(values, unlabeled) if kind == "classes" else _numbers(values, kind)
    if not targets.labelled.any():
        raise ValueError(
            f"labels hold no labelled point: all {n} are {unlabeled!r}, None or NaN; label one point at least, or "
            "say with unlabeled= which value means 'not labelled'"
        )
    return targets


def _as_array(labels: Any) -> NDArray[Any]:
    if sparse.issparse(labels):
        raise TypeError(f"labels are a sparse {type(labels).__name__}: pass labels.toarray()")
    if isinstance(labels, np.ma.MaskedArray):
        raise TypeError("labels are a masked array: pass labels.filled(-1)")
    if isinstance(labels, list | tuple) and any(isinstance(x, str) or x is None for x in labels):
        return np.array(labels, dtype=object)  # NumPy would turn -1 and None beside a string into text
    return np.asarray(labels)


def _classes(values: NDArray[Any], unlabeled: Any) -> Targets:
    if values.ndim != 1:
        raise ValueError(f"labels of kind 'classes' must have shape (n,), got {values.shape}: pass labels.ravel()")
    if values.dtype.kind not in "biufOUST":
        raise TypeError(f"labels must be numbers, strings or objects, got dtype {values.dtype}")
    labelled = ~_is_unlabelled(values, unlabeled)
    given = _plain(values[labelled])
    if given.dtype.kind == "f" and (odd := given[(given != np.rint(given)) | np.isinf(given)]).size:
        raise ValueError(
            f"labels hold {odd[0]:g}, which is continuous or infinite and no class: pass kind='values' for regression"
        )
    try:
        classes, columns = np.unique(given, return_inverse=True)
    except TypeError as error:
        raise TypeError(f"labels hold classes of different types, which cannot be sorted ({error})") from error
    rows = np.flatnonzero(labelled)
    Y = sparse.csc_array((np.ones(rows.size), (rows, columns)), shape=(values.size, classes.size))
    return Targets("classes", Y, labelled, classes, unlabeled)


def _plain(objects: NDArray[Any]) -> NDArray[Any]:
    """Return objects that are all strings, or all numbers, as an array of those."""
    if objects.dtype.kind != "O":
        return objects
    for kind in (str, Real):
        if all(isinstance(x, kind) and not isinstance(x, bool) for x in objects):
            return np.array(objects.tolist())
    return objects


def _is_unlabelled(values: NDArray[Any], unlabeled: Any) -> NDArray[np.bool_]:
    """Return where values equal the marker, or are None or NaN; -1 is also '-1', as NumPy has it beside a string."""
    if values.dtype.kind == "O":
        return np.array([_is_missing(x) or _same(x, unlabeled) for x in values], dtype=bool)
    if values.dtype.kind in "UST":
        return np.array([x == str(unlabeled) for x in values], dtype=bool)
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, dtype=bool)
    if isinstance(unlabeled, int | float | np.number):
        missing |= values == unlabeled
    return np.asarray(missing)


def _is_missing(x: Any) -> bool:
    try:
        return x is None or bool(x != x)  # noqa: PLR0124 -- NaN
    except TypeError:  # pandas.NA knows no truth
        return True


def _same(x: Any, unlabeled: Any) -> bool:
    return bool(x == (str(unlabeled) if isinstance(x, str) else unlabeled)) and not isinstance(x, bool)


def _numbers(values: NDArray[Any], kind: str) -> Targets:
    if values.dtype.kind not in "biuf":
        raise TypeError(f"labels of kind {kind!r} must be real numbers, got dtype {values.dtype}")
    one_column = values.ndim == 1
    if one_column and kind != "values":
        raise ValueError(f"labels of kind {kind!r} must have shape (n, classes), got {values.shape}")
    Y = np.array(values.reshape(values.shape[0], -1), dtype=np.float64)
    if np.isinf(Y).any():
        raise ValueError(f"labels hold infinity in row {np.flatnonzero(np.isinf(Y).any(axis=1))[0]}")
    unknown = np.isnan(Y)
    if kind == "multilabel":
        unknown |= Y == -1
    half = unknown.any(axis=1) & ~unknown.all(axis=1)
    if half.any():
        raise ValueError(f"labels are known in part in row {np.flatnonzero(half)[0]}: a row is labelled or it is not")
    labelled = np.logical_not(unknown.all(axis=1))
    Y[~labelled] = 0
    if kind == "soft":
        labelled &= Y.any(axis=1)
        if (Y < 0).any():
            raise ValueError(f"soft labels must not be negative, got {Y.min():g}: pass kind='values' for regression")
    if kind == "multilabel" and not np.isin(Y, (0, 1)).all():
        raise ValueError("labels of kind 'multilabel' must be 0 or 1, and NaN or -1 in rows that are not labelled")
    missing = np.nan if kind == "values" else -1
    return Targets(kind, sparse.csc_array(Y), labelled, np.arange(Y.shape[1]), missing, one_column)


def _name_dtype(classes: NDArray[Any], missing: Any) -> np.dtype[Any]:
    if classes.dtype.kind in "iuf" and isinstance(missing, int | float | np.number):
        return np.result_type(classes.dtype, np.min_scalar_type(missing))
    if classes.dtype.kind == "U" and (isinstance(missing, str) or missing == -1):
        return np.result_type(classes.dtype, np.dtype(f"U{len(str(missing))}"))
    return np.dtype(object)
