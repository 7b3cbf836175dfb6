"""Labels of every kind in, what is propagated out: columns Y (n, q) and which rows are labelled.

classes      one-hot rows of the classes met, sorted            multilabel   0/1 rows, one question a column
soft         non-negative rows, one column a class              values       real numbers, for regression
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Protocol, runtime_checkable

import numpy as np
from scipy import sparse

from manifold._arrays import as_array
from manifold._typing import AnyArray, Floats, Ints, Mask

KINDS = ("auto", "classes", "soft", "multilabel", "values")
_EXACT = 2**53  # integers up to it keep their values as float64


@runtime_checkable
class _Frame(Protocol):
    """What frames of pandas and polars have in common."""

    columns: Sequence[str]

    def __getitem__(self, column: str) -> object: ...


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
    labelled: Mask
    classes: AnyArray
    missing: object = -1
    one_column: bool = False

    def names(self, columns: Ints) -> AnyArray:
        """Return the classes of columns (n,); column -1 is the label of points that nothing reaches.

        >>> encode(["cat", None, "dog"], 3).names(np.array([1, 0, -1])).tolist()
        ['dog', 'cat', '-1']
        """
        return names_of(self.classes, columns, self.missing)


def names_of(classes: AnyArray, columns: Ints, missing: object) -> AnyArray:
    """Return the classes of columns (n,), `missing` for column -1.

    The dtype follows from the classes and the marker alone, never from whether some point is unreached; it is that of
    objects where no other holds them all exactly.

    >>> names_of(np.array([3, 5]), np.array([1, -1]), -1).tolist()
    [5, -1]
    """
    dtype = _name_dtype(classes, missing)
    names = np.empty(classes.size + 1, dtype=dtype)
    names[:-1] = classes.tolist() if dtype.kind == "O" else classes
    names[-1] = str(missing) if dtype.kind == "U" else missing
    return names[columns]


def encode(labels: object, n: int, *, unlabeled: object = -1, kind: str = "auto") -> Targets:
    """Return the targets of n points.

    Parameters
    ----------
    labels : (n,) or (n, q) array-like, or Targets, which are returned as they are
        Classes (integers, strings, booleans, any sortable objects), soft labels, 0/1 indicators or real values, of
        NumPy, pandas, polars or Arrow, or lists.
    unlabeled : object
        The class that means "not labelled"; None, NaN, NaT, NA, null and empty text always do. In the other kinds a
        row is not labelled where it is one of these, and a soft row also where it is zero.
    kind : {"auto", "classes", "soft", "multilabel", "values"}
        "auto" takes (n,) and (n, 1) for classes and more columns for soft labels; columns of 0 and 1 that cannot be
        such, because a row holds several, or none beside rows that are missing, are refused.

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
    values = label_array(labels)
    if values.ndim not in (1, 2) or values.shape[0] != n:
        raise ValueError(f"labels must have one row for each of the {n} nodes, got shape {values.shape}")
    one_column = values.ndim == 1 or values.shape[1] == 1
    guessed = kind == "auto"
    if guessed:
        kind = "classes" if one_column else "soft"
    if kind == "classes":
        targets = _classes(values.ravel() if one_column else values, unlabeled)
    else:
        targets = _numbers(values, kind, guessed=guessed)
    if not targets.labelled.any():
        raise ValueError(
            f"labels hold no labelled point: all {n} are {unlabeled!r}, None or NaN; label one point at least, or "
            "say with unlabeled= which value means 'not labelled'"
        )
    return targets


def label_array(labels: object, name: str = "labels") -> AnyArray:
    """Return what a user calls labels as an array, exact: whatever is missing in its library is None or NaN in it.

    Raises TypeError for sparse and masked arrays, and for ragged lists ValueError.

    >>> label_array([1, None, 2]).tolist()
    [1, None, 2]
    """
    if isinstance(labels, np.ma.MaskedArray) and np.ma.is_masked(labels):
        raise TypeError(f"{name} are a masked array with masked entries: pass {name}.filled(-1)")
    if not isinstance(labels, list | tuple):
        labels = _listed(labels)
    values = as_array(labels, name)
    if values.dtype.kind == "T":  # its missing entries have a value of their own
        return values.astype(object)
    if isinstance(labels, list | tuple) and values.ndim == 1 and not _kept(values, labels):
        values = np.empty(len(labels), dtype=object)
        values[:] = labels
    return values


def _listed(labels: object) -> object:
    """Return a column of pandas, polars or Arrow that NumPy would round, or lose its missing entries, as a list."""
    library = type(labels).__module__.split(".")[0]
    if library in ("pandas", "polars") and isinstance(labels, _Frame) and len(labels.columns) == 1:
        labels = labels[labels.columns[0]]
    exact = {"pandas": "tolist", "polars": "to_list", "pyarrow": "to_pylist"}.get(library, "")
    plain = library == "pandas" and isinstance(getattr(labels, "dtype", None), np.dtype)
    if plain or not hasattr(labels, exact) or (library == "pyarrow" and hasattr(labels, "columns")):
        return labels  # tables are read as such
    return list(getattr(labels, exact)())


def _kept(values: AnyArray, given: Sequence[object]) -> bool:
    """Return whether NumPy left a list as it is: it turns what stands beside a text into text, and rounds integers."""
    if values.dtype.kind in "US":
        return all(isinstance(x, str | bytes) for x in given)
    return values.dtype.kind != "f" or not any(isinstance(x, Integral) and abs(int(x)) > _EXACT for x in given)


def _classes(values: AnyArray, unlabeled: object) -> Targets:
    if values.ndim != 1:
        raise ValueError(f"labels of kind 'classes' must have shape (n,), got {values.shape}: pass labels.ravel()")
    if values.dtype.kind not in "biufOUS":
        raise TypeError(
            f"labels must be numbers, strings or objects, got dtype {values.dtype}: labels.astype(object) may be what "
            "you mean"
        )
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


def _plain(objects: AnyArray) -> AnyArray:
    """Return objects that are all strings, or all numbers that an array holds exactly, as an array of those."""
    if objects.dtype.kind != "O":
        return objects
    for kind in (str, Real):
        if all(isinstance(x, kind) and not isinstance(x, bool) for x in objects):
            plain = np.array(objects.tolist())
            return plain if _kept(plain, objects.tolist()) else objects
    return objects


def _is_unlabelled(values: AnyArray, unlabeled: object) -> Mask:
    """Return where values equal the marker, in any spelling, or are missing in any library."""
    kind = values.dtype.kind
    if kind == "O":
        return np.array([_is_missing(x) or _same(x, unlabeled) for x in values], dtype=bool)
    if kind in "US":
        # each text once: labels are many, their spellings few
        texts, where = np.unique(values, return_inverse=True)
        found = np.array([_same(x, unlabeled) for x in texts.tolist()], dtype=bool)
        if kind == "U" and not found[texts == "nan"].all():
            raise ValueError(
                "labels hold the text 'nan', which is what NumPy makes of NaN beside a string: pass unlabeled='nan' "
                "where it means 'not labelled', and labels.astype(object) where it is a class"
            )
        return np.asarray(found[where])
    missing = np.isnan(values) if kind == "f" else np.zeros(values.shape, dtype=bool)
    if isinstance(unlabeled, int | float | np.number):
        missing |= values == unlabeled
    return np.asarray(missing)


def _is_missing(x: object) -> bool:
    """Return whether an object is None, NaN, NaT, NA or an empty text."""
    try:
        return x is None or x == "" or bool(x != x)  # noqa: PLR0124 -- NaN
    except TypeError:  # pandas.NA knows no truth
        return True


def _same(x: object, unlabeled: object) -> bool:
    """Return whether a class is the marker; a text is also where it is the same number, such as "-1.0e+00"."""
    if isinstance(x, bytes):
        x = x.decode(errors="replace")
    if isinstance(x, bool | np.bool_):
        return False
    if not isinstance(x, str):
        return bool(x == unlabeled)
    if x in ("", str(unlabeled)):
        return True
    if not isinstance(unlabeled, int | float | np.number) or "_" in x:
        return False
    try:
        return float(x) == unlabeled
    except ValueError:
        return False


def _numbers(values: AnyArray, kind: str, *, guessed: bool) -> Targets:
    one_column = values.ndim == 1
    if one_column and kind != "values":
        raise ValueError(f"labels of kind {kind!r} must have shape (n, classes), got {values.shape}")
    Y = _real_matrix(values.reshape(values.shape[0], -1), kind)
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
    if guessed:
        _refuse_a_guess(Y, labelled)
    if kind == "soft":
        labelled &= Y.any(axis=1)
        if (Y < 0).any():
            raise ValueError(
                f"soft labels must not be negative, got {Y.min():g}: pass kind='values' for regression, or "
                "kind='multilabel' for 0 and 1 with -1 in rows that are not labelled"
            )
    if kind == "multilabel" and not np.isin(Y, (0, 1)).all():
        raise ValueError("labels of kind 'multilabel' must be 0 or 1, and NaN or -1 in rows that are not labelled")
    missing = np.nan if kind == "values" else -1
    return Targets(kind, sparse.csc_array(Y), labelled, np.arange(Y.shape[1]), missing, one_column)


def _real_matrix(values: AnyArray, kind: str) -> Floats:
    """Return a float64 copy of a matrix, NaN for what is missing in it."""
    if values.dtype.kind == "O":
        missing = np.array([_is_missing(x) for x in values.flat], dtype=bool).reshape(values.shape)
        odd = next((x for x in values[~missing] if not isinstance(x, Real)), None)
        if odd is not None:
            raise TypeError(f"labels of kind {kind!r} must be real numbers, got {odd!r} of type {type(odd).__name__}")
        return np.where(missing, np.nan, values).astype(np.float64)
    if values.dtype.kind not in "biuf":
        raise TypeError(f"labels of kind {kind!r} must be real numbers, got dtype {values.dtype}")
    return np.array(values, dtype=np.float64)


def _refuse_a_guess(Y: Floats, labelled: Mask) -> None:
    """Raise ValueError for columns of 0 and 1 that are not one class a row: their kind is a question."""
    if not np.isin(Y, (0, 1)).all():
        return
    ones = Y.sum(axis=1)
    several, none = np.flatnonzero(ones > 1), np.flatnonzero(labelled & (ones == 0))
    if several.size or (none.size and not labelled.all()):
        what = (
            f"several ones in row {several[0]}"
            if several.size
            else f"no one in row {none[0]}, beside rows that are missing"
        )
        raise ValueError(
            f"labels hold columns of 0 and 1 with {what}: pass kind='multilabel' where each column is a question of "
            "its own, or kind='soft' where a row is the shares of its classes"
        )


def _name_dtype(classes: AnyArray, missing: object) -> np.dtype[np.generic]:
    """Return the narrowest dtype that holds classes and marker exactly; objects where none does."""
    if classes.dtype.kind in "iuf" and isinstance(missing, int | float | np.number):
        widest = [np.result_type(classes.dtype, np.min_scalar_type(missing)), np.dtype(np.int64)]
        # uint64 beside -1 would be float64, in which 2^60 + 1 and 2^60 + 3 are one class
        numbers = [classes.min(), classes.max(), missing] if classes.size else [missing]
        return next((dtype for dtype in widest if _holds(dtype, numbers)), np.dtype(object))
    if classes.dtype.kind == "U" and (isinstance(missing, str) or missing == -1):
        return np.result_type(classes.dtype, np.dtype(f"U{len(str(missing))}"))
    return np.dtype(object)


def _holds(dtype: np.dtype[np.generic], numbers: Sequence[object]) -> bool:
    """Return whether integers between the least and the largest of `numbers`, and themselves, keep their values."""
    whole = [int(x) for x in numbers if isinstance(x, Integral)]
    if dtype.kind == "f":
        return all(abs(x) <= 2 ** (np.finfo(dtype.name).nmant + 1) for x in whole)
    if dtype.kind in "iu":
        return len(whole) == len(numbers) and all(
            np.iinfo(dtype.name).min <= x <= np.iinfo(dtype.name).max for x in whole
        )
    return False
