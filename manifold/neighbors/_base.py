"""The object every neighbour method makes: who is near whom, and how similar.

Similarities (higher is nearer), always of the float32 rows x and z:

    cosine          x.z / (|x| |z|), 0 where either is the zero vector
    inner_product   x.z
    euclidean       -|x - z|^2
    precomputed     what the caller gave
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from html import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from manifold._arrays import as_array, as_integers, as_numbers
from manifold._checks import check_count
from manifold._typing import AnyArray, Facts
from manifold.neighbors._promises import check_ids, check_rows, check_stored
from manifold.storage import Stored, save_arrays

if TYPE_CHECKING:
    import pandas

METRICS = ("cosine", "inner_product", "euclidean")
KIND = "neighbors"  # of a saved folder
_SHOWN = 8  # rows and neighbours that a notebook shows

Number = TypeVar("Number", np.int32, np.float32)


class Partition(NamedTuple):
    """Cells that a search put its points into: centres (c, d) as `PointSet.centred`, and the nearest of each point."""

    centres: NDArray[np.float32]
    cell: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The k nearest other points of each of n points, best first.

    Reference: guide *notation*, "How the parts meet".

    Parameters
    ----------
    indices : (n, k) int32
        Row i holds neighbours of i, never i itself (removed by id); -1 pads a short row at its end.
    similarities : (n, k) float32
        Their similarities, in descending order within a row; ``-inf`` beside a -1.
    metric : {"cosine", "inner_product", "euclidean", "precomputed"}
        Which similarity it is.
    method : str
        Who found them.
    n_repaired : int
        Rows an approximate method left incomplete, searched again exactly.
    facts : mapping
        What else is known of the search, texts and numbers: the recall of an approximate one, why it was chosen.
    partition : Partition, optional
        Cells that the search put the points into, where it did.

    Raises
    ------
    ValueError
        Where a shape, an id, an order or a self-neighbour breaks these promises.

    Examples
    --------
    >>> pair = Neighbors(np.array([[1], [0]]), np.array([[0.9], [0.9]]), metric="cosine", method="by hand")
    >>> len(pair), pair.n_neighbors
    (2, 1)
    >>> pair
    Neighbors(n_nodes=2, n_neighbors=1, metric='cosine', method='by hand')
    """

    indices: NDArray[np.int32]
    similarities: NDArray[np.float32]
    metric: str
    method: str
    n_repaired: int = 0
    facts: Facts = field(default_factory=dict)
    partition: Partition | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        given = as_integers(self.indices, "indices")
        similarities = _single(self.similarities)
        if given.ndim != 2 or given.shape != similarities.shape:
            raise ValueError(
                f"indices and similarities must share one shape (n, k), got {given.shape} and {similarities.shape}"
            )
        check_ids(given, given.shape[0])
        indices = np.array(given, dtype=np.int32)
        similarities[indices < 0] = -np.inf
        check_rows(indices, similarities)
        _check_metric(self.metric)
        object.__setattr__(self, "indices", _read_only(indices))
        object.__setattr__(self, "similarities", _read_only(similarities))

    @classmethod
    def _trusted(
        cls,
        indices: NDArray[np.int32],
        similarities: NDArray[np.float32],
        *,
        metric: str,
        method: str,
        n_repaired: int = 0,
        facts: Facts | None = None,
        partition: Partition | None = None,
    ) -> Neighbors:
        """Take lists that the house made, and that keep the promises: no look, no copy, read-only from here on."""
        made = object.__new__(cls)
        vars(made).update(indices=_read_only(indices), similarities=_read_only(similarities), metric=metric)
        vars(made).update(method=method, n_repaired=n_repaired, facts={} if facts is None else facts)
        vars(made).update(partition=partition)
        return made

    def save(self, path: str | PathLike[str]) -> Path:
        """Save the lists as a folder, in place of an older save or not at all; `manifold.load` gives them back.

        Reference: NumPy file format (NEP 1); guide *scale*, "Keep what was expensive".

        Raises
        ------
        TypeError, FileExistsError, OSError
            See `manifold.storage.save_arrays`; facts are texts and numbers.

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     Neighbors([[1], [0]], [[0.5], [0.5]], "cosine", "by hand").save(f"{folder}/pair").name
        'pair'
        """
        arrays: dict[str, AnyArray] = {"indices": self.indices, "similarities": self.similarities}
        if self.partition is not None:
            arrays |= self.partition._asdict()
        told = {name: getattr(self, name) for name in ("metric", "method", "n_repaired")} | {"facts": dict(self.facts)}
        return save_arrays(path, kind=KIND, arrays=arrays, parameters=told)

    @classmethod
    def _from_stored(cls, stored: Stored) -> Neighbors:
        """Take the arrays as they are, once they were looked through: kernels believe what lists promise."""
        told, found = stored.parameters, stored.arrays
        metric, facts = told["metric"], told["facts"]
        check_stored(found)
        _check_metric(metric)
        method = told.get("method", "inverted_file")  # folders of searches on disk once left it out
        if not isinstance(facts, dict) or not isinstance(method, str):
            raise ValueError(f"method must be a text and facts a mapping, got {method!r} and {facts!r}")
        partition = Partition(found["centres"], found["cell"]) if "cell" in found else None
        repaired = check_count(told["n_repaired"], "n_repaired", minimum=0)
        known = {"metric": metric, "method": method, "n_repaired": repaired, "facts": facts, "partition": partition}
        return cls._trusted(found["indices"], found["similarities"], **known)

    def __reduce__(self) -> tuple[object, ...]:  # a pickle forgets that arrays are read-only
        known = {"metric": self.metric, "method": self.method, "n_repaired": self.n_repaired, "facts": self.facts}
        known |= {"partition": self.partition}
        remade: Callable[..., Neighbors] = Neighbors._trusted
        return partial(remade, **known), (self.indices, self.similarities)

    def _with_lists(
        self,
        indices: NDArray[np.int32],
        similarities: NDArray[np.float32],
        *,
        facts: Facts | None = None,
        partition: Partition | None = None,
    ) -> Neighbors:
        """Return other lists that the house made of these, with what is known of the search, or more."""
        return Neighbors._trusted(
            indices,
            similarities,
            metric=self.metric,
            method=self.method,
            n_repaired=self.n_repaired,
            facts=self.facts if facts is None else facts,
            partition=partition,
        )

    def __len__(self) -> int:
        return self.n_nodes

    def __repr__(self) -> str:
        told = {"n_nodes": self.n_nodes, "n_neighbors": self.n_neighbors, "metric": self.metric, "method": self.method}
        told |= {"n_repaired": self.n_repaired} if self.n_repaired else {}
        return f"Neighbors({', '.join(f'{name}={value!r}' for name, value in {**told, **self.facts}.items())})"

    def _repr_html_(self) -> str:
        rows = []
        for i, (ids, similarities) in enumerate(zip(self.indices[:_SHOWN], self.similarities[:_SHOWN], strict=True)):
            listed = zip(ids[:_SHOWN].tolist(), similarities[:_SHOWN].tolist(), strict=True)
            cells = "".join(f"<td>{j} <small>({value:.3g})</small></td>" for j, value in listed if j >= 0)
            rows.append(f"<tr><th>{i}</th>{cells}</tr>")
        return f"<p>{escape(repr(self))}</p><table>{''.join(rows)}</table>"

    @property
    def n_nodes(self) -> int:
        """Number of points.

        >>> Neighbors([[1], [0]], [[0.5], [0.5]], "cosine", "by hand").n_nodes
        2
        """
        return int(self.indices.shape[0])

    @property
    def n_neighbors(self) -> int:
        """Width k of the lists.

        >>> Neighbors([[1], [0]], [[0.5], [0.5]], "cosine", "by hand").n_neighbors
        1
        """
        return int(self.indices.shape[1])

    def first(self, k: int) -> Neighbors:
        """Return the lists cut to their k nearest, or as they are: one search serves every smaller graph.

        Notes
        -----
        Cost: none; the lists are a view of these, which stay in memory with them.

        Examples
        --------
        >>> wide = Neighbors([[1, 2], [0, 2], [1, 0]], [[0.9, 0.8], [0.9, 0.7], [0.7, 0.6]], "cosine", "by hand")
        >>> wide.first(1).indices.tolist()
        [[1], [0], [1]]
        """
        k = check_count(k, "k", minimum=0)
        return self._with_lists(self.indices[:, :k], self.similarities[:, :k], partition=self.partition)

    def with_similarities(self, similarities: ArrayLike, *, metric: str = "precomputed") -> Neighbors:
        """Return the same lists with similarities from elsewhere, sorted anew: verified edges, or a mask of edges.

        Parameters
        ----------
        similarities : (n, k)
            Of the pairs in `indices`, such as inliers of a spatial verification or scores of a cross-encoder, higher
            is nearer; ``-inf`` drops a pair. What stands beside a -1 is not looked at.
        metric : str
            What they are; leave it "precomputed" but where they are those of `self`, some dropped.

        Raises
        ------
        ValueError
            For another shape, NaN or infinity, or an unknown metric.

        Examples
        --------
        >>> found = Neighbors([[1, 2], [0, 2], [1, 0]], [[0.9, 0.8], [0.9, 0.7], [0.7, 0.6]], "cosine", "by hand")
        >>> inliers = np.array([[3, 40], [3, 12], [12, 40]])
        >>> found.with_similarities(inliers).indices.tolist()
        [[2, 1], [2, 0], [0, 1]]
        >>> masked = np.where(inliers < 5, -np.inf, found.similarities)
        >>> found.with_similarities(masked, metric="cosine").indices.tolist()
        [[2, -1], [2, -1], [1, 0]]
        """
        _check_metric(metric)
        values = _single(similarities)
        if values.shape != self.indices.shape:
            raise ValueError(f"similarities must be one a pair, {self.indices.shape}, got {values.shape}")
        values[self.indices < 0] = -np.inf
        if np.isnan(values).any() or np.isposinf(values).any():
            raise ValueError("similarities hold NaN or infinity: -inf drops a pair")
        kept = np.where(np.isneginf(values), -1, self.indices)
        indices, values = sort_rows(kept, values, drop_self=False)
        return Neighbors._trusted(indices, values, metric=metric, method=f"{self.method}, similarities given")

    def to_scipy(self) -> sparse.csr_array:
        """Return the similarities as a sparse (n, n) float32 matrix: row i holds the neighbours of i.

        A similarity of 0 is stored like any other, so that what is not stored is no neighbour.

        Examples
        --------
        >>> pair = Neighbors([[1], [0]], [[0.5], [0.5]], "cosine", "by hand")
        >>> pair.to_scipy().toarray().tolist()
        [[0.0, 0.5], [0.5, 0.0]]
        """
        listed = self.indices >= 0
        ends = np.concatenate([[0], np.cumsum(listed.sum(axis=1))])
        entries = self.similarities[listed], self.indices[listed], ends
        matrix = sparse.csr_array(entries, shape=(self.n_nodes, self.n_nodes))
        matrix.sort_indices()
        return matrix

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table with a row for each pair that is listed: ``id``, ``neighbor`` and ``similarity``.

        Raises
        ------
        ImportError
            Where pandas is not installed.

        Examples
        --------
        >>> pair = Neighbors([[1], [0]], [[0.5], [0.5]], "cosine", "by hand")
        >>> pair.to_pandas().similarity.sum().item()
        1.0
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install pandas, or use to_scipy()") from error
        listed = self.indices >= 0
        rows = np.repeat(np.arange(self.n_nodes), listed.sum(axis=1))
        return pandas.DataFrame({"id": rows, "neighbor": self.indices[listed], "similarity": self.similarities[listed]})


def _check_metric(metric: object) -> None:
    if metric not in (*METRICS, "precomputed"):
        raise ValueError(f"metric must be one of {(*METRICS, 'precomputed')}, got {metric!r}")


def _read_only(array: NDArray[Number]) -> NDArray[Number]:
    """Return a view that cannot be written to; whoever made the array may still do so, and should not."""
    view = array.view()
    view.flags.writeable = False
    return view


def _single(similarities: object) -> NDArray[np.float32]:
    """Return a float32 copy of similarities of any kind."""
    values = as_array(similarities, "similarities")
    if values.dtype.kind not in "biuf":
        values = as_numbers(values, "similarities")
    return values.astype(np.float32)


def sort_rows(
    indices: NDArray[np.int32] | NDArray[np.int64], similarities: NDArray[np.float32], *, drop_self: bool
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Sort rows by (-similarity, id), each id once, invalid entries (-1, and self if asked) last as -1.

    Of an id listed twice the larger similarity stays.

    >>> sort_rows(np.array([[0, 1, 1]]), np.array([[0.9, 0.2, 0.5]], np.float32), drop_self=True)[0].tolist()
    [[1, -1, -1]]
    """
    n = indices.shape[0]
    ids = np.array(indices, dtype=np.int64)
    sims = np.array(similarities, dtype=np.float32)
    invalid = ids < 0
    if drop_self:
        invalid |= ids == np.arange(n)[:, None]
    sims[invalid], ids[invalid] = -np.inf, np.iinfo(np.int64).max
    order = np.lexsort((-sims, ids))  # by id, the larger similarity first: repeats stand together
    ids, sims = np.take_along_axis(ids, order, axis=1), np.take_along_axis(sims, order, axis=1)
    repeated = np.zeros_like(ids, dtype=bool)
    repeated[:, 1:] = ids[:, 1:] == ids[:, :-1]
    sims[repeated], ids[repeated] = -np.inf, np.iinfo(np.int64).max
    order = np.lexsort((ids, -sims))
    ids, sims = np.take_along_axis(ids, order, axis=1), np.take_along_axis(sims, order, axis=1)
    ids[np.isneginf(sims)] = -1
    return ids.astype(np.int32), sims
