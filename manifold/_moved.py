"""Names that have moved: the old place answers for one version, with a warning that names the new one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from manifold.errors import ManifoldDeprecationWarning, warn


def moved(old: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """Return the ``__getattr__`` of a module `old` whose `names` are now in the modules they are mapped to.

    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as met:
    ...     warnings.simplefilter("always")
    ...     moved("manifold.somewhere", {"fuse_rankings": "manifold.reranking"})("fuse_rankings").__name__
    'fuse_rankings'
    >>> str(met[0].message)[:69]
    'manifold.somewhere.fuse_rankings is manifold.reranking.fuse_rankings '
    """

    def lookup(name: str) -> object:
        """Return what has moved, with a warning that says where to; raise AttributeError for any other name."""
        if name not in names:
            raise AttributeError(f"module {old!r} has no attribute {name!r}")
        new = f"{names[name]}.{name}"
        warn(f"{old}.{name} is {new} now, and will go from here in the next version", ManifoldDeprecationWarning)
        return getattr(import_module(names[name]), name)

    return lookup
