"""What a data set is: a collection, queries put to it, and what each of them should find."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from manifold._typing import Floats, Ints
from manifold.datasets._ground_truth import GroundTruth

Vectors: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, repr=False, eq=False)
class Dataset:
    """A collection to search, the queries to put to it, and what each should find.

    Unpacks as ``X, y = dataset``. Ids are row numbers of ``features``. Without ``queries`` the protocol is
    leave one out: every item queries all others, itself excluded by id, and ``relevant`` has a row an item.
    The usual mAP of these sets is `metrics.mean_average_precision`, as it stands.

    Reference: guide *judge*, "What is right for each query".

    Examples
    --------
    >>> from manifold.datasets import digits
    >>> X, y = digits()
    >>> X.shape, y.shape
    ((1797, 64), (1797,))
    """

    name: str
    features: Vectors  # (n, d), or (n, regions, d)
    labels: Ints | None = None  # (n,); -1 is a distractor
    queries: Vectors | None = None  # (q, d), not in the collection
    query_labels: Ints | None = None  # (q,)
    relevant: Sequence[Collection[object]] = ()  # (q,) ids, or mappings id -> gain
    junk: Sequence[Collection[object]] | None = None  # (q,) ids to take out before anything is counted
    metric: Literal["cosine", "euclidean", "manhattan"] = "cosine"  # of the baseline
    protocol: str = ""
    source: str = ""
    licence: str = ""
    items: Sequence[object] = ()  # (n,) texts (str), pixels (height, width) or encoded images (bytes)
    query_items: Sequence[object] = ()  # (q,)
    coordinates: Floats | None = None  # (n, p) where the item lies on its manifold
    boxes: Floats | None = None  # (regions, 4) y0, x0, y1, x1 as shares of height and width

    @property
    def truth(self) -> GroundTruth:
        """What each query should find, to be counted as trec_eval does.

        >>> from manifold.datasets import digits
        >>> digits().truth.n_queries
        1797
        """
        lists = {"relevant": self.relevant} | ({} if self.junk is None else {"junk": self.junk})
        return GroundTruth(self.name, lists, source=self.source, licence=self.licence)

    def regions(self) -> tuple[Vectors, Ints]:
        """Return the vectors of all regions of the collection (m, d) and the row of the image each belongs to (m,).

        An item of one vector is one region.

        >>> [part.shape for part in Dataset("two", np.zeros((2, 3, 4), np.float32)).regions()]
        [(6, 4), (6,)]
        """
        return _regions(self.features)

    def query_regions(self) -> tuple[Vectors, Ints]:
        """Return the same of the queries; raises ValueError where there are none.

        >>> view = np.zeros((1, 3, 4), np.float32)
        >>> Dataset("one", view, queries=view).query_regions()[1].tolist()
        [0, 0, 0]
        """
        if self.queries is None:
            raise ValueError(
                f"{self.name} with protocol={self.protocol!r} has no queries: its items ask, see regions()"
            )
        return _regions(self.queries)

    def __iter__(self) -> Iterator[Any]:
        yield self.features
        yield self.labels

    def __repr__(self) -> str:
        shape = " × ".join(map(str, self.features.shape))
        asked = "every item a query" if self.queries is None else f"{len(self.queries)} queries"
        n_classes = 0 if self.labels is None else np.unique(self.labels[self.labels >= 0]).size
        classes = f", {n_classes} classes" if n_classes else ""
        return (
            f"Dataset {self.name!r}: {shape} {self.features.dtype}{classes}, {asked}, {self.metric}\n"
            f"  protocol: {self.protocol}\n  source: {self.source} (licence: {self.licence})"
        )


def _regions(X: Vectors) -> tuple[Vectors, Ints]:
    m = 1 if X.ndim == 2 else X.shape[1]
    return X.reshape(-1, X.shape[-1]), np.repeat(np.arange(len(X)), m)
