"""Where arrays live: ``backend="auto" | "scipy" | "cupy"`` or any object that follows `Backend`."""

from __future__ import annotations

from collections.abc import Mapping

from manifold.backends._base import Array, Backend, SparseMatrix, rounding_unit
from manifold.backends._blocks import in_blocks
from manifold.backends._scipy import DENSE_LIMIT, ScipyBackend

__all__ = [
    "DENSE_LIMIT",
    "Array",
    "Backend",
    "ScipyBackend",
    "SparseMatrix",
    "backend_for",
    "get_backend",
    "gpu_state",
    "in_blocks",
    "on_host",
    "place",
    "rounding_unit",
]

_SCIPY = ScipyBackend()
_DEVICES = {2: "cuda", 7: "vulkan", 8: "metal", 10: "rocm", 13: "cuda", 14: "oneapi"}  # numbers of the DLPack standard
_HOST_MEMORY = (1, 3, 11)  # plain, and pinned by a device


def get_backend(backend: str | Backend = "auto", *arrays: object) -> Backend:
    """Return the backend asked for; ``"auto"`` follows the arrays: device arrays in, device backend out.

    Reference: guide *solvers*, "No GPU".

    Parameters
    ----------
    backend : {"auto", "scipy", "cupy"} or Backend
        A GPU asked for by name and not usable is an error, never a quiet change to the CPU.
    *arrays
        What the computation will be given; looked at only by ``"auto"``.

    Raises
    ------
    ValueError
        For an unknown name.
    BackendError
        For ``"cupy"`` where the package, the driver or a library is missing; the message says which.

    Examples
    --------
    >>> get_backend("auto").name
    'scipy'
    """
    if not isinstance(backend, str):
        if isinstance(backend, type) or not hasattr(backend, "spmm"):
            raise TypeError(f"backend must be 'auto', 'scipy', 'cupy' or a Backend object, got {backend!r}")
        return backend
    if backend == "auto":  # recognised by the name of the module: nothing is imported to ask
        backend = "cupy" if any(type(x).__module__.split(".")[0] == "cupy" for x in arrays) else "scipy"
    if backend == "scipy":
        return _SCIPY
    if backend == "cupy":
        from manifold.backends._cupy import cupy_backend

        return cupy_backend()
    raise ValueError(f"backend must be 'auto', 'scipy', 'cupy' or a Backend object, got {backend!r}")


def backend_for(backend: str | Backend, arrays: Mapping[str, object]) -> Backend:
    """Return the backend asked for, once it is known that the arrays of one call are in one place, and it reads them.

    Host arrays are in place for every backend: one asked for by name brings them over. None stands for no array.

    Reference: guide *solvers*, "No GPU".

    Raises
    ------
    TypeError
        For arrays in different places, or on a device that is not that of the backend; it names both places.
    ValueError, BackendError
        As `get_backend`.

    Examples
    --------
    >>> import numpy as np
    >>> backend_for("auto", {"seeds": np.ones(3), "x0": None}).name
    'scipy'
    """
    given = {name: x for name, x in arrays.items() if x is not None}
    places = {name: place(x) for name, x in given.items()}
    if len(set(places.values())) > 1:
        where = ", ".join(f"{name} on {here}" for name, here in places.items())
        raise TypeError(f"arrays in different places: {where}; bring them to one, with cupy.asarray(x) or x.get()")
    chosen = get_backend(backend, *given.values())
    for name, here in places.items():
        if here != "cpu" and not chosen.owns(given[name]):
            raise TypeError(
                f"{name} is on {here} ({type(given[name]).__name__}) but backend={chosen.name!r} works elsewhere: "
                f"pass {name}.get() for the CPU, or a cupy.ndarray with backend='cupy'"
            )
    return chosen


def on_host(x: Array, backend: Backend) -> Array:
    """Return what is on the device of a backend as a NumPy array, and anything else as it is.

    Reference: Python array API (2022), for devices.

    >>> import numpy as np
    >>> on_host(np.ones(3), get_backend("scipy")).sum(), on_host(None, get_backend("scipy"))
    (np.float64(3.0), None)
    """
    return x if x is None or place(x) == "cpu" else backend.to_host(x)


def place(x: object) -> str:
    """Return where an array lives: "cpu", or a device and its number, such as "cuda:0".

    Reference: Python array API (2022), for devices.

    >>> import numpy as np
    >>> place(np.zeros(3)), place([1, 2])
    ('cpu', 'cpu')
    """
    if type(x).__module__.split(".")[0] == "cupyx":  # a sparse matrix: where its entries are
        x = getattr(x, "data", x)
    where = getattr(x, "__dlpack_device__", None)
    if where is None or str(getattr(x, "device", "")) == "meta":  # which holds nothing, and is refused by its name
        return "cpu"
    kind, number = (int(part) for part in where())
    return "cpu" if kind in _HOST_MEMORY else f"{_DEVICES.get(kind, 'device')}:{number}"


def gpu_state() -> str:
    """Return the GPU that ``backend="cupy"`` uses, with its memory and versions.

    Reference: guide *solvers*, "No GPU".

    Raises
    ------
    BackendError
        Where it is not usable, saying what is missing, and the line that fixes it.

    Examples
    --------
    >>> from manifold.errors import BackendError
    >>> try:
    ...     state = gpu_state()
    ... except BackendError as error:
    ...     state = str(error)
    >>> len(state) > 10  # the device, or what is missing
    True
    """
    from manifold.backends._cupy import describe_gpu

    return describe_gpu()
