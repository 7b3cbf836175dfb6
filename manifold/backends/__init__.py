"""Where arrays live: ``backend="auto" | "scipy" | "cupy"`` or any object that follows `Backend`."""

from __future__ import annotations

from typing import Any

from manifold.backends._base import Array, Backend, SparseMatrix, rounding_unit
from manifold.backends._scipy import ScipyBackend

__all__ = ["Array", "Backend", "ScipyBackend", "SparseMatrix", "get_backend", "rounding_unit"]

_SCIPY = ScipyBackend()


def get_backend(backend: str | Backend = "auto", *arrays: Any) -> Backend:
    """Return the backend asked for; ``"auto"`` follows the arrays: device arrays in, device backend out.

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
        return backend
    if backend == "auto":
        backend = "cupy" if any(type(x).__module__.split(".")[0] == "cupy" for x in arrays) else "scipy"
    if backend == "scipy":
        return _SCIPY
    if backend == "cupy":
        from manifold.backends._cupy import cupy_backend

        return cupy_backend()
    raise ValueError(f"backend must be 'auto', 'scipy', 'cupy' or a Backend object, got {backend!r}")
