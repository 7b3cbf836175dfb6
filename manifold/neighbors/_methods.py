"""The table of methods of finding neighbours, and which of them "auto" takes.

In: a name or settings, and what is known of the points. Out: settings, whose `search` makes `Neighbors`.
"""

from __future__ import annotations

import logging
from typing import Protocol

from manifold._progress import Progress
from manifold._typing import RandomState
from manifold.backends import Backend
from manifold.neighbors._all_pairs import Exact
from manifold.neighbors._base import Neighbors
from manifold.neighbors._faiss import Faiss
from manifold.neighbors._inverted_file import InvertedFile
from manifold.neighbors._nn_descent import NNDescent
from manifold.neighbors.points import PointSet

_LOG = logging.getLogger(__name__)


class Method(Protocol):
    """Settings of a way to find neighbours: a frozen dataclass, which says itself what it does not serve.

    Reference: guide *scale*, "The search for neighbours".

    >>> settings: Method = InvertedFile(recall=0.99)
    >>> settings.memory_forecast(60_000, 784, 50) < 300e6
    True
    """

    def search(
        self,
        points: PointSet,
        k: int,
        *,
        backend: Backend,
        random_state: RandomState = None,
        progress: Progress | None = None,
    ) -> Neighbors:
        """Return k others of each point, every row complete; raise ValueError for a metric that is not served."""

    def memory_forecast(self, n: int, d: int, k: int) -> int:
        """Return the bytes, at most, that finding k neighbours of n points of d features takes beside the points."""


METHODS: dict[str, type[Method]] = {
    "exact": Exact,
    "inverted_file": InvertedFile,
    "nn_descent": NNDescent,
    "faiss": Faiss,
}

_HOST_WORK = 1 << 41  # n^2 d up to which the exact search is worth its wait: a quarter of a minute on two cores
_DEVICE_WORK = 1 << 47  # and on a GPU
_FEW_CELLS = 64  # of 4 k points: with fewer, most of them would be searched


def check_method(method: object) -> None:
    """Raise for what is not "auto", a name in `METHODS` or settings.

    >>> check_method(InvertedFile(n_probes=8))
    """
    if isinstance(method, str):
        if method not in ("auto", *METHODS):
            raise ValueError(f"method must be one of {('auto', *METHODS)} or its settings, got {method!r}")
    elif isinstance(method, type) or not all(hasattr(method, name) for name in ("search", "memory_forecast")):
        raise TypeError(f"method must be a name or settings such as InvertedFile(recall=0.99), got {method!r}")


def get_method(
    method: str | Method, *, n: int, d: int, k: int, metric: str = "cosine", on_host: bool = True
) -> tuple[Method, str]:
    """Return the settings of a method and why it is this one: as given, by name, or chosen by `choose_method`.

    Raises
    ------
    ValueError, TypeError
        For an unknown name, and for what are no settings.

    Examples
    --------
    >>> get_method("auto", n=1000, d=64, k=10)
    (Exact(), 'auto: 1000^2 x 64 is little enough for an exact search')
    """
    check_method(method)
    if not isinstance(method, str):
        return method, "as given"
    name, why = choose_method(n, d, k, metric=metric, on_host=on_host) if method == "auto" else (method, "as named")
    _LOG.debug("neighbours of %d x %d, k = %d, by %s: %s", n, d, k, name, why)
    return METHODS[name](), why


def choose_method(n: int, d: int, k: int, *, metric: str = "cosine", on_host: bool = True) -> tuple[str, str]:
    """Return the method that "auto" takes, and why.

    Exact where n^2 d operations take seconds, where lists are long for the number of points, and for the inner product;
    the inverted file elsewhere. NN-descent is never chosen: it compiles for longer than the others search.

    Reference: guide *scale*, "The search for neighbours".

    >>> choose_method(60_000, 784, 50)
    ('inverted_file', 'auto: 60000^2 x 784 is much for an exact search')
    """
    limit = _HOST_WORK if on_host else _DEVICE_WORK
    if metric == "inner_product":
        return "exact", "auto: only the exact search serves the inner product"
    if n * n * d <= limit:
        return "exact", f"auto: {n}^2 x {d} is little enough for an exact search"
    if n < 4 * k * _FEW_CELLS:
        return "exact", f"auto: lists of {k} are long for an inverted file of {n} points"
    return "inverted_file", f"auto: {n}^2 x {d} is much for an exact search"


def memory_forecast(n: int, d: int, k: int, *, method: str | Method = "auto") -> int:
    """Return the bytes, at most, that finding k neighbours of n points of d features takes beside the features.

    Each method says so itself: lists with the copies in which they become neighbours, the tiles of the search, and
    whatever copies of the points it makes.

    Reference: guide *scale*, "How much memory, before you start".

    >>> memory_forecast(60_000, 784, 50) < 300e6
    True
    """
    return get_method(method, n=n, d=d, k=k)[0].memory_forecast(n, d, k)
