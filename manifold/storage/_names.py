"""Names of any kind -- numbers, texts, objects -- as plain numbers and what JSON holds, and back to the bit."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from manifold._typing import AnyArray

Name: TypeAlias = bool | int | float | str | None
Reading: TypeAlias = str | list[Name] | None  # of numbers, of texts, of objects

_LAST_CODE_POINT = 0x10FFFF


def encode_names(values: AnyArray) -> tuple[AnyArray, Reading]:
    """Return an array that can be stored, and how to read it: None for numbers, "text", or the list of its objects.

    Raises TypeError for objects that JSON does not give back, all but None, booleans, numbers and texts.

    >>> array, how = encode_names(np.array(["no", "yes"]))
    >>> array.shape, decode_names(array, how).tolist()
    ((2, 3), ['no', 'yes'])
    """
    if values.dtype.kind in "biuf":
        return values, None
    if values.dtype.kind == "U" and values.ndim == 1:
        plain = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
        return plain.view("<u4").reshape(values.size, -1 if values.size else 0), "text"
    if values.dtype.kind != "O" or values.ndim != 1:
        raise TypeError(f"names must be numbers, texts or objects (n,), got {values.dtype} {values.shape}")
    codes = np.empty(values.size, dtype=np.int64)
    places: dict[tuple[type, Name], int] = {}
    for i, value in enumerate(values):
        plain = value.item() if isinstance(value, np.generic) else value
        if not (plain is None or isinstance(plain, bool | int | float | str)) or plain != plain:  # noqa: PLR0124 -- NaN
            raise TypeError(f"{value!r} is a {type(value).__name__}, which no file gives back: use numbers or texts")
        codes[i] = places.setdefault((type(plain), plain), len(places))
    return codes, [value for _, value in places]


def decode_names(array: AnyArray, how: object) -> AnyArray:
    """Return the names that `encode_names` took apart; raise ValueError for what it would not have made.

    >>> decode_names(np.array([1, 0, 1]), ["no", "yes"]).tolist()
    ['yes', 'no', 'yes']
    """
    if how is None:
        return np.asarray(array)
    if how == "text":
        if array.dtype != np.uint32 or array.ndim != 2 or array.max(initial=0) > _LAST_CODE_POINT:
            raise ValueError("texts must be rows of code points")
        width = max(array.shape[1], 1)
        return np.ascontiguousarray(array, dtype="<u4").reshape(-1).view(f"<U{width}").reshape(len(array))
    if not isinstance(how, list) or array.ndim != 1 or array.dtype.kind != "i":
        raise ValueError("objects must be a list, and their places integers")
    if array.size and not 0 <= array.min() <= array.max() < len(how):
        raise ValueError(f"places of objects must lie in 0..{len(how) - 1}")
    objects = np.empty(len(how), dtype=object)
    objects[:] = how
    return np.asarray(objects[array])
