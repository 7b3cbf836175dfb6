"""What is asked of a vector store: three questions, in the words of every store, and what their numbers mean.

In: ids and filters as the store has them. Out: rows, and similarities of the metric, higher is nearer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isnan
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Vectors: TypeAlias = NDArray[np.float32]
Lists: TypeAlias = tuple[list[list[object]], list[list[float]]]

BATCH = 10_000  # items that a scan holds at a time

# what a store answers -> the similarity of its metric: cosine, inner product, -(Euclidean distance)^2
_FORMS = {"v": (0.0, 1.0), "1 - v": (1.0, -1.0), "-v": (0.0, -1.0)}


@runtime_checkable
class Store(Protocol):
    """A collection of vectors that lives elsewhere: anything with these members will do.

    Reference: guide *stores*, "What a store is asked".

    >>> from manifold.stores import Arrays
    >>> isinstance(Arrays(["a", "b"], np.eye(2)), Store)
    True
    """

    @property
    def metric(self) -> str:
        """By which metric the store compares: "cosine", "inner_product" or "euclidean"."""

    def batches(self) -> Iterator[tuple[Sequence[object], Vectors]]:
        """Yield ids and vectors (m, d) of every item that has a vector, each once, in any order, m <= 10,000."""

    def search(self, Q: Vectors, k: int, where: object = None) -> Lists:
        """Return ids and similarities of the k nearest items of each row of Q (q, d) that satisfy a filter, best first.

        Lists are as short as the store makes them.
        """

    def keep(self, ids: Sequence[object] | None, where: object = None) -> set[object]:
        """Return those of some ids, or of all (None), that have a vector there and satisfy a filter."""


@runtime_checkable
class Versioned(Protocol):
    """A store that can say whether anything moved.

    Reference: guide *stores*, "In step with inserts and deletes".

    >>> from manifold.stores import Arrays, LanceDB
    >>> isinstance(LanceDB("a table"), Versioned), isinstance(Arrays(["a"], [[1.0]]), Versioned)
    (True, False)
    """

    def version(self) -> object:
        """Return what is equal to what it was only where nothing was written in between."""


def listed(ids: Iterable[object], values: Iterable[float], form: str) -> tuple[list[object], list[float]]:
    """Return one list with the similarities that its values mean; what compares with nothing (NaN) is left out.

    `form` is the similarity as a formula of the value v: "v", "1 - v", "-v", or "-v^2" of plain distances.

    >>> listed(["a", "b"], [0.25, float("nan")], "1 - v")
    (['a'], [0.75])
    """
    pairs = [(name, value) for name, value in zip(ids, values, strict=True) if not isnan(value)]
    names = [name for name, _ in pairs]
    if form == "-v^2":
        return names, [-value * value for _, value in pairs]
    start, slope = _FORMS[form]
    return names, [start + slope * value for _, value in pairs]


def together(lists: Iterable[tuple[list[object], list[float]]]) -> Lists:
    """Return lists of many queries, ids and similarities apart.

    >>> together([(["a"], [0.5]), ([], [])])
    ([['a'], []], [[0.5], []])
    """
    pairs = list(lists)
    return [names for names, _ in pairs], [values for _, values in pairs]


def form_of(forms: dict[str, tuple[str, str]], metric: object, *, store: str) -> tuple[str, str]:
    """Return the row of a table of metrics; raise ValueError for a metric that has none.

    >>> form_of({"cosine": ("<=>", "1 - v")}, "cosine", store="pgvector")
    ('<=>', '1 - v')
    """
    if metric not in forms:
        raise ValueError(f"metric must be one of {tuple(forms)} for {store}, got {metric!r}: compare by one of these")
    return forms[str(metric)]
