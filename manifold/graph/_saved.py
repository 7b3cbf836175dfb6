"""A graph's arrays as a folder holds them: taken as they are, and what is looked through before they are believed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from manifold._typing import AnyArray, Floats
from manifold._weights import check_affinity, check_indices, row_sums
from manifold.errors import CorruptFileError
from manifold.graph._order import is_order
from manifold.storage import Stored

Labels: TypeAlias = NDArray[np.int32]

_COMPILED_FROM = 8192  # nodes from which on loading the compiler pays
CSR = ("data", "indices", "indptr")


class Known(NamedTuple):
    """What is known of the nodes (n,) of a graph: found out when it is first asked for, and saved."""

    degrees: Floats | None = None
    components: Labels | None = None
    order: Labels | None = None


def read_arrays(stored: Stored) -> tuple[sparse.csr_array, Known]:
    """Return W and what is known of its nodes, none of it copied or looked through; folders of format 1 hold W alone.

    Raises ValueError for dtypes and shapes that no graph has.
    """
    data, indices, indptr = (np.asarray(stored.arrays[name]) for name in CSR)
    if indices.dtype.kind != "i" or indptr.dtype.kind != "i" or data.dtype not in (np.float32, np.float64):
        raise ValueError(f"{', '.join(CSR)} have the dtypes {data.dtype}, {indices.dtype} and {indptr.dtype}")
    n = indptr.size - 1
    W = sparse.csr_array((n, n), dtype=data.dtype)
    W.data, W.indices, W.indptr = data, indices, indptr  # its constructor would look through those of int64
    W.check_format(full_check=False)  # at the ends of indptr only
    if W.nnz != indices.size:
        raise ValueError(f"indptr ends with {W.nnz}, and there are {indices.size} entries")
    degrees = _of_nodes(stored, "degrees", np.float64, n)
    return W, Known(degrees, _of_nodes(stored, "components", np.int32, n), _of_nodes(stored, "node_order", np.int32, n))


def _of_nodes(stored: Stored, name: str, dtype: type, n: int) -> AnyArray | None:
    if name not in stored.arrays:
        return None
    array = np.asarray(stored.arrays[name])
    if array.shape != (n,) or array.dtype != dtype:
        raise ValueError(f"{name} must be {np.dtype(dtype)} ({n},), got {array.dtype} {array.shape}")
    return array


def component_labels(W: sparse.csr_array) -> Labels:
    """Return the label (n,) of the connected component of each node, by their least nodes; W is symmetric.

    >>> component_labels(sparse.csr_array([[0, 0, 1], [0, 0, 0], [1, 0, 0]])).tolist()
    [0, 1, 0]
    """
    if W.shape[0] < _COMPILED_FROM or find_spec("numba") is None:
        labels: Labels = connected_components(W, directed=False)[1].astype(np.int32)
        return labels
    from manifold.backends.symmetric_lists import join, label  # loads the compiler

    parents = np.arange(W.shape[0], dtype=np.int32)
    join(W.indptr, W.indices, 0, parents)
    labels = np.empty_like(parents)
    label(parents, labels)
    return labels


def check_content(W: sparse.csr_array, known: Known, *, self_loops: bool) -> None:
    """Raise ValueError where W is not what a graph promises, or the others are not those of W.

    >>> W = sparse.csr_array([[0.0, 1.0], [1.0, 0.0]])
    >>> check_content(W, Known(np.ones(2), np.zeros(2, dtype=np.int32)), self_loops=False)
    """
    check_indices(W)
    check_affinity(W, self_loops=self_loops)
    degrees, components, order = known
    if order is not None and not is_order(order):
        raise ValueError("order must hold each node once")
    # another machine may have added in another order
    if degrees is not None and not np.allclose(degrees, row_sums(W), rtol=1e-12, atol=0):
        raise ValueError("degrees are not the row sums of the affinity")
    if components is None or not components.size:
        return
    labels = component_labels(W)
    named = np.full(int(labels.max()) + 1, -1)
    named[labels] = components  # the same nodes together, whatever the labels are called
    if not (np.array_equal(named[labels], components) and np.array_equal(np.sort(named), np.arange(named.size))):
        raise ValueError("components are not those of the affinity")


@contextmanager
def believed(folder: str) -> Iterator[None]:
    """Raise CorruptFileError, naming the folder, for what a look at its arrays refuses.

    >>> with believed("graph"):
    ...     check_reach(sparse.csr_array([[0, 1], [1, 0]]))
    """
    try:
        yield
    except ValueError as error:
        raise CorruptFileError(f"{folder} holds no valid graph: {error}") from None


def check_reach(W: sparse.csr_array, order: Labels | None = None) -> None:
    """Raise ValueError where W, or an order of its nodes, could lead out of an array: one pass, without a copy.

    >>> check_reach(sparse.csr_array([[0, 1], [1, 0]]))
    """
    if order is not None and not is_order(order):
        raise ValueError("order must hold each node once")
    check_indices(W)
    if not W.has_canonical_format:  # what adds two matrices relies on it
        raise ValueError("indices are out of order, or stored twice")


def check_nodes(n: int, known: Known) -> None:
    """Raise ValueError where something that is known of n nodes could lead out of an array, or is no number.

    >>> check_nodes(2, Known(np.ones(2), np.zeros(2, dtype=np.int32)))
    """
    degrees, components, _ = known
    if components is not None and n and not 0 <= components.min() <= components.max() < n:
        raise ValueError(f"components must lie in 0..{n - 1}")
    if degrees is not None and n and not 0 <= degrees.min() <= degrees.max() < np.inf:
        raise ValueError("degrees must be finite and non-negative")
