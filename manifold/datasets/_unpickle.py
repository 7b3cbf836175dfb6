"""Pickles of arrays and plain containers in, arrays and plain containers out; nothing else is ever loaded.

A pickle is a program. It may only name what stands in `_ALLOWED`, and gets a stand-in that remembers what it was
told: not even NumPy's own reconstruction runs on what the file says, for its checks were not made for hostile files.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections import OrderedDict
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from manifold._typing import AnyArray

_PLAIN = "biufUS"  # kinds of numbers and texts


def load_plain_pickle(path: Path) -> Any:
    """Return what a pickle holds: dicts, lists, tuples, sets, texts, numbers, and arrays as `PickledArray`.

    Raises
    ------
    ValueError
        Where it asks for anything else, naming what; and where it is damaged.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "gnd.pkl"
    >>> _ = path.write_bytes(pickle.dumps({"easy": [1, 2]}))
    >>> load_plain_pickle(path)
    {'easy': [1, 2]}
    """
    content = path.read_bytes()
    try:
        _check_sizes(content)
        return _PlainUnpickler(content, path).load()
    except _RefusedError as refused:
        raise ValueError(str(refused)) from None
    except Exception as error:  # a damaged pickle may raise anything
        raise ValueError(f"{path} is no pickle of arrays and plain containers ({error})") from error


def _check_sizes(content: bytes) -> None:
    """Raise for lengths and places that the content cannot have, before memory is taken for them."""
    for operation, argument, _ in pickletools.genops(content):
        if operation.name in ("PUT", "LONG_BINPUT") and not 0 <= (argument or 0) <= len(content):
            raise ValueError(f"it remembers an object as number {argument}")


class _RefusedError(Exception):
    """The pickle asks for what it must not have."""


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, content: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")  # in which Python 2 wrote the bytes of its arrays
        self._path = path

    def find_class(self, module: str, name: str) -> type:
        try:
            return _ALLOWED[module.replace("numpy._core", "numpy.core"), name]
        except KeyError:
            raise _RefusedError(
                f"{self._path} asks to load {module}.{name}: only NumPy arrays and plain containers are read, since a "
                "pickle may run any program; write the ground truth as .json"
            ) from None

    def persistent_load(self, pid: object) -> NoReturn:
        raise _RefusedError(f"{self._path} asks for the outside object {pid!r}: write the ground truth as .json")


class _StandIn:
    """What a pickle gets for a name; with a `__setstate__`, so that its state is never set as attributes."""

    def __setstate__(self, state: tuple[object, ...]) -> None:
        raise TypeError(f"unexpected state {type(state).__name__}")


class _Dtype(_StandIn):
    def __init__(self, code: str, align: object = False, copy: object = True) -> None:
        self.code, self.order = code, "|"

    def __setstate__(self, state: tuple[object, ...]) -> None:
        _, order, *_ = state  # sizes and fields are not believed: the code says all of a plain kind
        self.order = str(order)

    def read(self, data: object) -> AnyArray:
        """Return the numbers or texts (m,) that bytes hold; Python 2 wrote them as a text."""
        dtype = np.dtype(self.order.replace("|", "=") + self.code)
        if dtype.kind not in _PLAIN:
            raise TypeError(f"array of {dtype}")
        return np.frombuffer(data.encode("latin1") if isinstance(data, str) else _buffer(data), dtype)


def _buffer(data: object) -> memoryview:
    if not isinstance(data, bytes | bytearray | memoryview | pickle.PickleBuffer):
        raise TypeError(f"array of {type(data).__name__}")
    return memoryview(data)


class PickledArray(_StandIn):
    """An array as a pickle describes it; `array` reads it, or raises for a description that does not add up."""

    array: AnyArray | list[object]

    def __init__(self, subtype: object, shape: object, code: object) -> None:
        if subtype is not PickledArray:
            raise TypeError(f"array of class {subtype!r}")

    def __setstate__(self, state: tuple[object, ...]) -> None:
        _, shape, dtype, by_columns, data = state
        if isinstance(data, list):  # of objects, which were unpickled by the same rules
            self.array = data
            return
        if not (isinstance(dtype, _Dtype) and isinstance(shape, tuple)):
            raise TypeError(f"array of shape {shape!r} and {type(dtype).__name__}")
        self.array = dtype.read(data).reshape(shape, order="F" if by_columns else "C")


class _Buffer(_StandIn):
    """Pickle protocol 5 writes arrays in this way."""

    def __new__(cls, data: object, dtype: _Dtype, shape: object, order: str) -> Any:
        made = PickledArray(PickledArray, shape, "")
        made.__setstate__((1, shape, dtype, order == "F", data))
        return made


class _Scalar(_StandIn):
    def __new__(cls, dtype: _Dtype, data: object) -> Any:
        return dtype.read(data)[0].item()


class _Encoded(_StandIn):
    """Pickle protocol 2 writes bytes in this way."""

    def __new__(cls, text: str, encoding: str) -> Any:
        if encoding != "latin1":
            raise TypeError(f"bytes in {encoding!r}")
        return text.encode("latin1")


class _NoBytes(_StandIn):
    """Pickle protocol 2 writes no bytes in this way."""

    def __new__(cls) -> Any:
        return b""


_ALLOWED: dict[tuple[str, str], type] = {
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("__builtin__", "bytes"): _NoBytes,
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): PickledArray,
    ("numpy.core.multiarray", "_reconstruct"): PickledArray,
    ("numpy.core.multiarray", "scalar"): _Scalar,
    ("numpy.core.numeric", "_frombuffer"): _Buffer,
    ("_codecs", "encode"): _Encoded,
}
