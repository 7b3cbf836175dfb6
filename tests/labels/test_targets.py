"""Labels as they come, read exactly: every missing marker, integers at their limits, shapes that are no guess."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import manifold as mf
from manifold.labels.targets import encode, names_of

PAIRS = mf.graph_from_affinity(np.kron(np.eye(2), [[0, 1], [1, 0]]))
BIG = [2**60 + 1, 2**60 + 3]  # one float64


def text(na):
    return np.array(["a", na, "b", na], np.dtypes.StringDType(na_object=na))


@pytest.mark.parametrize(
    "labels",
    [
        [1, None, 2, None],
        [1, np.nan, 2, np.nan],
        [1, pd.NA, 2, pd.NaT],
        [1, -1, 2, -1],
        (1, -1, 2, -1),
        ["a", None, "b", None],
        ["a", np.nan, "b", float("nan")],
        ["a", pd.NA, "b", pd.NaT],
        ["a", "", "b", ""],
        ["a", "-1", "b", "-1.000000000000000000e+00"],
        [b"a", None, b"b", b"-1"],
        np.array(["a", "", "b", "-1"]),
        np.array([b"a", b"-1", b"b", b""]),
        text(np.nan),
        text(None),
        text(pd.NA),
        np.array(["a", np.datetime64("NaT", "D"), "b", None], dtype=object),
        np.array([1, np.nan, 2, np.nan], dtype=np.float16),
        pd.Series([1, pd.NA, 2, pd.NA], dtype="Int64"),
        pd.Series([1, pd.NA, 2, pd.NA], dtype="Float64"),
        pd.Series([True, pd.NA, False, pd.NA], dtype="boolean"),
        pd.Series(["a", pd.NA, "b", pd.NA], dtype="string"),
        pd.Series(["a", None, "b", np.nan], dtype="category", index=[7, 1, 3, 0]),
        pd.Series([1, None, 2, None], dtype="int64[pyarrow]"),
        pd.Series(pd.to_datetime(["2020-01-01", None, "2021-01-01", None], utc=True)),
        pd.Series([datetime.date(2020, 1, 1), None, datetime.date(2021, 1, 1), pd.NaT], dtype=object),
        pd.Categorical(["x", None, "y", None]),
        pd.array([1, None, 2, None], dtype="UInt64"),
        pd.DataFrame({"y": [1, np.nan, 2, np.nan]}),
        pd.DataFrame({"y": ["a", None, "b", None]}),
        pl.Series([1, None, 2, None]),
        pl.Series(["a", None, "b", None]),
        pl.Series([1.0, float("nan"), 2.0, None]),
        pl.DataFrame({"y": [1, None, 2, None]}),
        pa.array([1, None, 2, None]),
        pa.chunked_array([["a", None], ["b", None]]),
        np.array([[1], [np.nan], [2], [np.nan]]),
        np.array([["a"], [None], ["b"], [None]], dtype=object),
    ],
    ids=lambda labels: f"{type(labels).__module__}.{type(labels).__name__} {getattr(labels, 'dtype', '')}",
)
def test_every_missing_marker(labels):
    """Two pairs, the first of each labelled: the second gets its label."""
    result = mf.propagate(PAIRS, labels)
    assert result.labelled.tolist() == [True, False, True, False]
    assert result.columns.tolist() in ([0, 0, 1, 1], [1, 1, 0, 0])  # True sorts behind False
    assert result.labels[0] == result.labels[1] != result.labels[2] == result.labels[3]


@pytest.mark.parametrize(
    "labels",
    [
        np.array([BIG[0], BIG[0], BIG[1], BIG[1]], np.uint64),
        np.array([BIG[0], -1, BIG[1], -1]),
        [BIG[0], None, BIG[1], None],
        [BIG[0], np.nan, BIG[1], np.nan],
        pd.Series([BIG[0], pd.NA, BIG[1], pd.NA], dtype="Int64"),
        pl.Series([BIG[0], None, BIG[1], None]),
        pa.array([BIG[0], None, BIG[1], None]),
    ],
    ids=lambda labels: f"{type(labels).__module__}.{type(labels).__name__}",
)
def test_integers_at_their_limits(labels):
    result = mf.propagate(PAIRS, labels)
    assert result.classes.tolist() == BIG
    assert result.labels.tolist() == [BIG[0], BIG[0], BIG[1], BIG[1]]


@pytest.mark.parametrize(
    ("classes", "missing", "kind"),
    [
        (np.array([3, 2**63 + 5], np.uint64), -1, "O"),
        (np.array([3, 2**63 - 1], np.uint64), -1, "i"),
        (np.array([3, 2**60 + 1]), np.nan, "O"),
        (np.array([3, 4]), np.nan, "f"),
        (np.array([1.5], np.float32), 2**60 + 1, "O"),
        (np.array([3, 255], np.uint8), -1, "i"),
        (np.array([3, -(2**70)], dtype=object), -1, "O"),
    ],
)
def test_names_keep_classes_and_marker_exactly(classes, missing, kind):
    names = names_of(classes, np.array([*range(classes.size), -1]), missing)
    assert names.dtype.kind == kind
    assert names.tolist()[:-1] == classes.tolist()
    assert names.tolist()[-1] == missing or np.isnan(missing)


def test_mixed_integers_too_wide_for_one_dtype_stay_apart():
    labels = [2**63 + 5, -1, -(2**62) - 1, -1]
    assert mf.propagate(PAIRS, labels).labels.tolist() == [2**63 + 5, 2**63 + 5, -(2**62) - 1, -(2**62) - 1]


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        (np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]]), "several ones in row 0"),
        (np.array([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=bool), "several ones in row 2"),
        (np.array([[1, 0], [np.nan, np.nan], [0, 0], [0, 1]]), "no one in row 2, beside rows that are missing"),
        (pd.DataFrame({"a": [1, 0, 1, 0], "b": [0, 1, 1, 0]}), "several ones in row 2"),
        (pd.DataFrame({"a": [1, None, 1, 0], "b": [0, None, 1, 0]}, dtype="Int64"), "several ones in row 2"),
    ],
)
def test_columns_of_0_and_1_are_a_question(labels, what):
    with pytest.raises(ValueError, match=f"labels hold columns of 0 and 1 with {what}: pass kind='multilabel'"):
        mf.propagate(PAIRS, labels)
    assert mf.propagate(PAIRS, labels, kind="multilabel", method="harmonic").labels.shape == np.shape(labels)
    mf.propagate(PAIRS, labels, kind="soft")


def test_rows_of_minus_one_are_sent_to_multilabel():
    with pytest.raises(ValueError, match=r"soft labels must not be negative, got -1: .* kind='multilabel' for 0 and 1"):
        mf.propagate(PAIRS, [[1, 0], [-1, -1], [0, 1], [-1, -1]])


def test_one_hot_rows_are_soft_labels_and_classes_alike():
    one_hot = np.array([[1, 0], [np.nan, np.nan], [0, 1], [np.nan, np.nan]])
    for labels in (one_hot, np.nan_to_num(one_hot), pd.DataFrame(one_hot, dtype="Float64")):
        assert mf.propagate(PAIRS, labels).labels.tolist() == [0, 0, 1, 1]


def test_text_that_numpy_made_of_nan_is_asked_about():
    labels = np.array(["a", np.nan, "b", np.nan])
    with pytest.raises(ValueError, match="hold the text 'nan', which is what NumPy makes of NaN beside a string"):
        mf.propagate(PAIRS, labels)
    assert mf.propagate(PAIRS, labels, unlabeled="nan").labels.tolist() == ["a", "a", "b", "b"]
    assert mf.propagate(PAIRS, labels, unlabeled=np.nan).labels.tolist() == ["a", "a", "b", "b"]
    assert mf.propagate(PAIRS, ["nan", None, "b", None]).labels.tolist() == ["nan", "nan", "b", "b"]


def test_dates_of_numpy_are_sent_to_objects():
    labels = np.array(["2020-01-01", "NaT", "2021-01-01", "NaT"], "M8[D]")
    with pytest.raises(TypeError, match=r"got dtype datetime64\[D\]: labels.astype\(object\)"):
        mf.propagate(PAIRS, labels)
    first = datetime.date(2020, 1, 1)
    assert mf.propagate(PAIRS, labels.astype(object)).labels.tolist() == [first] * 2 + [datetime.date(2021, 1, 1)] * 2


def test_text_among_numbers_is_refused_by_name():
    with pytest.raises(TypeError, match=r"kind 'soft' must be real numbers, got 'a' of type str"):
        mf.propagate(PAIRS, np.array([[1, "a"]] * 4, dtype=object))


def test_targets_come_back_as_they_are():
    targets = encode([1, -1, 2, -1], 4)
    assert encode(targets, 4) is targets
