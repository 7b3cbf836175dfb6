"""A device made of NumPy that catches what would be slow or wrong on a GPU.

`DeviceArray` wraps an ndarray and refuses to become one unasked: NumPy functions, operators and indexing reject host
arrays beside it, `np.asarray` raises, and each of the ways a device value can reach the host (`to_host`, `bool`,
`float`, `int`, iteration) is counted as a synchronisation.

A green run proves that an algorithm stays on its device, names its transfers, and synchronises as often as counted.
It does not prove speed, that CuPy has each function with the same keywords, that device memory suffices, what rounding
the device does, or anything about streams and several GPUs.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from manifold.backends import ScipyBackend
from manifold.backends._sweeps import Sweeps


class DeviceArray(NDArrayOperatorsMixin):
    """An array of the strict device."""

    def __init__(self, data: np.ndarray, device: StrictBackend) -> None:
        self._data, self._device = data, device

    shape = property(lambda self: self._data.shape)
    dtype = property(lambda self: self._data.dtype)
    ndim = property(lambda self: self._data.ndim)
    size = property(lambda self: self._data.size)
    T = property(lambda self: DeviceArray(self._data.T, self._device))

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("implicit transfer of a device array to the host")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 12, 0  # an extension device, of which there is one

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return self._device.call(getattr(ufunc, method), *inputs, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} was called on a device array: use xp")

    def __getitem__(self, key: Any) -> DeviceArray:
        for part in key if isinstance(key, tuple) else (key,):
            if str(getattr(part, "dtype", "")) == "bool":
                raise TypeError("a boolean mask waits for the device to learn its size: index with ids")
        return self._device.wrap(self._data[self._device.unwrap(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._data[self._device.unwrap(key)] = self._device.unwrap(value)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._data, name)
        if not callable(method):
            raise AttributeError(name)
        return lambda *args, **kwargs: self._device.call(method, *args, **kwargs)

    def _scalar(self, kind: type) -> Any:
        self._device.n_syncs += 1
        return kind(self._data)

    def __bool__(self) -> bool:
        return self._scalar(bool)

    def __float__(self) -> float:
        return self._scalar(float)

    def __int__(self) -> int:
        return self._scalar(int)

    def __index__(self) -> int:
        return self._scalar(int)

    def __iter__(self) -> Any:
        raise TypeError("iterating over a device array synchronises once an element")

    def __len__(self) -> int:
        return len(self._data)


class _Namespace:
    """`xp`: NumPy's functions, taking and giving device arrays."""

    def __init__(self, device: StrictBackend, module: ModuleType = np) -> None:
        self._device, self._module = device, module

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._module, name)
        if isinstance(attribute, ModuleType):
            return _Namespace(self._device, attribute)
        if isinstance(attribute, type) or not callable(attribute):
            return attribute  # dtypes and constants
        if name in ("asarray", "array"):
            return self._device.asarray
        if name in ("nonzero", "flatnonzero", "unique", "argwhere"):
            self._device.n_syncs += 1  # the size of the result depends on the data
        return lambda *args, **kwargs: self._device.call(attribute, *args, **kwargs)


class StrictBackend(Sweeps):
    """The strict device as a backend; `n_syncs` counts what a GPU would wait for."""

    name = "strict"
    column_block = 32
    out_of_memory: tuple[type[BaseException], ...] = ()

    def __init__(self, check_every: int = 4) -> None:
        self.check_every, self.n_syncs = check_every, 0
        self.xp = _Namespace(self)
        self._host = ScipyBackend()

    def wrap(self, x: Any) -> Any:
        if isinstance(x, tuple):
            return tuple(self.wrap(part) for part in x)
        return DeviceArray(np.asarray(x), self) if isinstance(x, np.ndarray | np.generic) else x

    def unwrap(self, x: Any) -> Any:
        if isinstance(x, DeviceArray):
            if x._device is not self:
                raise TypeError("arrays of two devices in one operation")
            return x._data
        if isinstance(x, np.ndarray):
            raise TypeError(f"implicit transfer of a host array {x.shape} to the device")
        if isinstance(x, tuple | list):
            return type(x)(self.unwrap(part) for part in x)
        return x

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        out = kwargs.get("out")
        result = function(
            *(self.unwrap(a) for a in args), **{name: self.unwrap(value) for name, value in kwargs.items()}
        )
        return (out[0] if isinstance(out, tuple) else out) if out is not None else self.wrap(result)

    def owns(self, x: object) -> bool:
        return isinstance(x, DeviceArray)

    def asarray(self, x: Any, *, dtype: Any = None) -> DeviceArray:
        data = x._data if isinstance(x, DeviceArray) else np.array(x)
        return DeviceArray(np.asarray(data, dtype=dtype), self)

    def to_host(self, x: DeviceArray) -> np.ndarray:
        self.n_syncs += 1
        return self.unwrap(x).copy()

    def csr(self, matrix: Any, *, dtype: Any) -> Any:
        return _DeviceMatrix(self._host.csr(matrix, dtype=dtype))

    def _multiply(self, matrix: _DeviceMatrix, block: DeviceArray) -> DeviceArray:
        return self.wrap(self._host.spmm(matrix.host, self.unwrap(block)))

    def column_dots(self, x: DeviceArray, y: DeviceArray) -> DeviceArray:
        return self.call(self._host.column_dots, x, y)

    def row_dots(self, x: DeviceArray, y: DeviceArray) -> DeviceArray:
        return self.call(self._host.row_dots, x, y)

    def top_k(self, values: DeviceArray, k: int) -> tuple[DeviceArray, DeviceArray]:
        return self.call(self._host.top_k, values, k)

    def factorize(self, matrix: _DeviceMatrix) -> Callable[[DeviceArray], DeviceArray]:
        solve = self._host.factorize(matrix.host)
        return lambda block: self.call(solve, block)

    def free_memory(self) -> int:
        return self._host.free_memory()


class _DeviceMatrix:
    """A sparse matrix only the backend may touch."""

    def __init__(self, host: Any) -> None:
        self.host = host
