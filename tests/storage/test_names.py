"""Names of every kind as plain numbers, and back."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import pytest

from manifold.storage import decode_names, encode_names, load_arrays, save_arrays


@pytest.mark.parametrize(
    "names",
    [
        np.array(["a", "żółć", "", "🗺", "x" * 40]),
        np.array([], dtype="U5"),
        np.array([True, 1, 1.0, None, "1", -(2**70), False], dtype=object),
        np.array([3, -1]),
        np.array([0.5, np.nan]),
        np.array(["swapped"]).astype(">U9"),
        np.array(["a", "b\0", "c" * 300], dtype=object),
        np.array(["a", "żółć"], dtype=np.dtypes.StringDType()),
        np.array([2**64, -(2**70)], dtype=object),
        np.array([UUID(int=3), UUID(int=2**127)], dtype=object),
        np.array(["lone \ud800"]),
    ],
    ids=str,
)
def test_names_come_back(names):
    arrays, how = encode_names(names)
    stored = load_arrays(save_arrays("n", kind="names", arrays={"n": arrays}, parameters={"how": how}))
    back = decode_names(stored.arrays["n"], stored.parameters["how"])
    assert back.dtype.kind == names.dtype.kind
    assert [type(x) for x in back.tolist()] == [type(x) for x in names.tolist()]
    np.testing.assert_array_equal(back, names)


@pytest.mark.parametrize("names", [np.array([{}], dtype=object), np.array([np.nan], dtype=object), np.array([b"x"])])
def test_names_that_no_file_could_give_back(names):
    with pytest.raises(TypeError, match=r"names must be|no file gives back"):
        encode_names(names)


@pytest.mark.parametrize(
    ("array", "how", "match"),
    [
        (np.zeros(3, np.uint8), "utf-8", "behind their number"),
        (np.frombuffer(np.array([5], "<i8").tobytes(), np.uint8), "utf-8", "bytes for 5 texts"),
        (np.frombuffer(np.array([-1, 0], "<i8").tobytes(), np.uint8), "utf-8", "bytes for -1 texts"),
        (np.frombuffer(np.array([2, 1, 0], "<i8").tobytes() + b"ab", np.uint8), "utf-8", "in order"),
        (np.frombuffer(np.array([1, 1], "<i8").tobytes() + b"ab", np.uint8), "utf-8 objects", "last byte"),
        (np.frombuffer(np.array([1, 1], "<i8").tobytes() + b"g", np.uint8), "integers", "invalid literal"),
        (np.zeros((2, 15), np.uint8), "uuids", "rows of 16 bytes"),
        (np.zeros(2, np.uint8), "words", "objects must be a list"),
    ],
)
def test_names_that_no_save_made_are_refused(array, how, match):
    with pytest.raises(ValueError, match=match):
        decode_names(array, how)


def test_a_text_that_would_widen_all_others_comes_back_as_an_object():
    texts = ["a"] * 1000 + ["b" * 100_000]
    array, how = encode_names(np.array(texts[-2:]))
    assert decode_names(array, how).dtype.kind == "U"
    array, how = encode_names(np.array(texts, dtype=object))
    back = decode_names(array, "utf-8")  # as if it had been of fixed width: 400 MB
    assert back.dtype == object
    assert back.tolist() == texts
    assert how == "utf-8 objects"
