"""Names of any kind -- numbers, texts, UUIDs, objects -- as plain numbers and what JSON holds, and back to the bit.

texts    where each ends (8 bytes a text), then their UTF-8: a long one widens no other
UUIDs    16 bytes each;   integers beyond 64 bits    as texts, hexadecimal
integers beside UUIDs, as such or as texts    as texts, a letter before each for what it is
objects  of other kinds    a list of them, and their places in it
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias
from uuid import UUID

import numpy as np

from manifold._typing import AnyArray

Name: TypeAlias = bool | int | float | str | None
Reading: TypeAlias = str | list[Name] | None  # of UUIDs, texts or integers; of objects; of numbers

_TEXTS, _STRINGS, _TEXT_OBJECTS, _INTEGERS, _UUIDS = "utf-8", "utf-8 strings", "utf-8 objects", "integers", "uuids"
_MIXED = "integers and uuids"
_LETTERS = {int: "i", str: "s", UUID: "u"}
_TEXTS_OF_VERSION_1 = "text"  # a row of code points each, as wide as the longest
_LAST_CODE_POINT = 0x10FFFF
_END = np.dtype("<i8")
_WIDENED = 128  # times its bytes that texts may take as an array of fixed width; they become objects beyond


def encode_names(values: AnyArray) -> tuple[AnyArray, Reading]:
    """Return an array that can be stored, and how to read it: None for numbers, a word, or the list of its objects.

    Raises TypeError for objects that no file gives back, all but None, booleans, numbers, texts and UUIDs.

    Reference: guide *scale*, "Keep what was expensive".

    >>> array, how = encode_names(np.array(["no", "yes"]))
    >>> array.nbytes, decode_names(array, how).tolist()
    (29, ['no', 'yes'])
    """
    if values.dtype.kind in "biuf":
        return values, None
    if values.dtype.kind not in "UTO" or values.ndim != 1:
        raise TypeError(f"names must be numbers, texts, UUIDs or objects (n,), got {values.dtype} {values.shape}")
    names = values.tolist()
    kinds = set(map(type, names))
    if values.dtype.kind == "U" or kinds == {str} or (values.dtype.kind == "T" and not kinds):
        return _joined(names), {"U": _TEXTS, "T": _STRINGS}.get(values.dtype.kind, _TEXT_OBJECTS)
    if kinds == {UUID}:
        return np.frombuffer(b"".join(name.bytes for name in names), dtype=np.uint8).reshape(-1, 16), _UUIDS
    if kinds == {int}:
        return _joined([f"{name:x}" for name in names]), _INTEGERS
    if kinds <= _LETTERS.keys() and len(kinds) > 1 and len(set(names)) == len(names):  # names, rather than labels
        return _joined([f"{_LETTERS[type(name)]}{name}" for name in names]), _MIXED
    return _places(names)


def decode_names(array: AnyArray, how: object) -> AnyArray:
    """Return the names that `encode_names` took apart; raise ValueError for what it would not have made.

    Reference: guide *scale*, "Keep what was expensive".

    >>> decode_names(np.array([1, 0, 1]), ["no", "yes"]).tolist()
    ['yes', 'no', 'yes']
    """
    if how is None:
        return np.asarray(array)
    if how == _TEXTS_OF_VERSION_1:
        return _texts_of_version_1(array)
    if how == _UUIDS:
        if array.dtype != np.uint8 or array.shape[1:] != (16,):
            raise ValueError(f"UUIDs must be rows of 16 bytes, got {array.dtype} {array.shape}")
        return _objects([UUID(bytes=row.tobytes()) for row in array])
    if how == _MIXED:
        return _objects([_name(text) for text in _split(array)])
    if how in (_TEXTS, _STRINGS, _TEXT_OBJECTS, _INTEGERS):
        return _read_texts(_split(array), how, most=_WIDENED * array.nbytes)
    if not isinstance(how, list) or array.ndim != 1 or array.dtype.kind != "i":
        raise ValueError("objects must be a list, and their places integers")
    if array.size and not 0 <= array.min() <= array.max() < len(how):
        raise ValueError(f"places of objects must lie in 0..{len(how) - 1}")
    return np.asarray(_objects(how)[array])


def _joined(texts: Sequence[str]) -> AnyArray:
    """Return the number of texts, where each ends, and their bytes, in one array of bytes."""
    parts = [text.encode("utf-8", "surrogatepass") for text in texts]
    ends = np.concatenate([[len(parts)], np.cumsum([len(part) for part in parts], dtype=_END)]).astype(_END)
    return np.frombuffer(ends.tobytes() + b"".join(parts), dtype=np.uint8)


def _split(array: AnyArray) -> list[str]:
    """Return the texts that were joined."""
    if array.dtype != np.uint8 or array.ndim != 1 or array.size < _END.itemsize:
        raise ValueError(f"texts must be bytes behind their number, got {array.dtype} {array.shape}")
    data = np.ascontiguousarray(array)
    n = int(data[: _END.itemsize].view(_END)[0])
    start = _END.itemsize * (1 + n)
    if not (n >= 0 and start <= data.size):
        raise ValueError(f"texts must be bytes behind their ends, got {data.size} bytes for {n} texts")
    ends = np.concatenate([[0], data[_END.itemsize : start].view(_END)])
    if (ends[1:] < ends[:-1]).any() or ends[-1] != data.size - start:
        raise ValueError("texts must end in order, the last with the last byte")
    blob = data[start:].tobytes()
    return [blob[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(ends.tolist())]


def _read_texts(texts: Sequence[str], how: object, *, most: int) -> AnyArray:
    """Return texts as what they were; as objects where an array of fixed width took more than `most` bytes."""
    if how == _INTEGERS:
        return _objects([int(text, 16) for text in texts])
    if how == _STRINGS:
        return np.array(texts, dtype=np.dtypes.StringDType())
    narrow = 4 * len(texts) * max(map(len, texts), default=0) <= most
    return np.array(texts, dtype=np.str_) if how == _TEXTS and narrow else _objects(texts)


def _name(text: str) -> object:
    """Return a name from the letter of its kind and itself."""
    for kind, letter in _LETTERS.items():
        if text.startswith(letter):
            return kind(text[1:])
    raise ValueError(f"a name must begin with one of {', '.join(_LETTERS.values())}, got {text[:1]!r}")


def _texts_of_version_1(array: AnyArray) -> AnyArray:
    if array.dtype != np.uint32 or array.ndim != 2 or array.max(initial=0) > _LAST_CODE_POINT:
        raise ValueError("texts must be rows of code points")
    width = max(array.shape[1], 1)
    return np.ascontiguousarray(array, dtype="<u4").reshape(-1).view(f"<U{width}").reshape(len(array))


def _places(names: Sequence[object]) -> tuple[AnyArray, Reading]:
    """Return the place of each object in a list of the different ones, and that list."""
    codes = np.empty(len(names), dtype=np.int64)
    places: dict[tuple[type, Name], int] = {}
    for i, value in enumerate(names):
        plain = value.item() if isinstance(value, np.generic) else value
        if not (plain is None or isinstance(plain, bool | int | float | str)) or plain != plain:  # noqa: PLR0124 -- NaN
            raise TypeError(f"{value!r} is a {type(value).__name__}, which no file gives back: use numbers or texts")
        # by type as well: True == 1 == 1.0, and each must come back as what it was
        codes[i] = places.setdefault((type(plain), plain), len(places))
    return codes, [value for _, value in places]


def _objects(values: Sequence[object]) -> AnyArray:
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects
