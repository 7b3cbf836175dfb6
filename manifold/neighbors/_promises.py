"""What lists of neighbours promise, whoever made them: ids and similarities in, or a ValueError that names the row."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from manifold._typing import AnyArray

_LOOKED = 1 << 22  # ids that are looked through at once: lists that are mapped are never in memory whole


def check_stored(found: Mapping[str, AnyArray]) -> None:
    """Raise ValueError for arrays of a folder that are no lists of neighbours, a part at a time.

    >>> check_stored({"indices": np.array([[1], [0]], np.int32), "similarities": np.ones((2, 1), np.float32)})
    """
    ids, similarities = found["indices"], found["similarities"]
    kinds = ids.dtype == np.int32 and similarities.dtype == np.float32
    if not kinds or ids.ndim != 2 or ids.shape != similarities.shape:
        raise ValueError(f"lists are {ids.dtype} {ids.shape} and {similarities.dtype} {similarities.shape}")
    step = max(1, _LOOKED // max(1, ids.shape[1]))
    for start in range(0, len(ids), step):
        part = slice(start, start + step)
        check_ids(ids[part], len(ids))
        check_rows(ids[part], similarities[part], first=start)
    if "cell" in found:
        _check_cells(found["centres"], found["cell"], len(ids))


def _check_cells(centres: AnyArray, cell: AnyArray, n: int) -> None:
    """Raise ValueError for what is no cell of each of n points."""
    if centres.ndim != 2 or centres.dtype != np.float32 or cell.shape != (n,) or cell.dtype != np.int32:
        raise ValueError(f"cells are {centres.dtype} {centres.shape}, and those of points {cell.dtype} {cell.shape}")
    if n and not 0 <= cell.min() <= cell.max() < len(centres):
        raise ValueError(f"cells must lie in 0..{len(centres) - 1}, got {cell.min()}..{cell.max()}")


def check_ids(ids: AnyArray, n: int) -> None:
    """Raise ValueError for ids that are none of n points, nor -1."""
    if ids.size and not (ids.min() >= -1 and ids.max() < n):
        raise ValueError(f"indices must lie in -1..{n - 1}, got {ids.min()}..{ids.max()}")


def check_rows(indices: AnyArray, similarities: AnyArray, *, first: int = 0) -> None:
    """Raise ValueError where rows, from the `first` point on, do not keep what lists promise."""
    missing = indices < 0
    own = np.flatnonzero((indices == np.arange(first, first + len(indices))[:, None]).any(axis=1))
    if own.size:
        raise ValueError(f"indices row {first + own[0]} names the point itself: remove self by id")
    together = np.sort(indices, axis=1)
    twice = ((together[:, 1:] == together[:, :-1]) & (together[:, 1:] >= 0)).any(axis=1)
    if twice.any():
        raise ValueError(f"indices row {first + np.flatnonzero(twice)[0]} names a neighbour twice")
    if not np.isfinite(similarities[~missing]).all() or not np.isneginf(similarities[missing]).all():
        raise ValueError("similarities hold NaN or infinity beside a valid id")
    if (similarities[:, 1:] > similarities[:, :-1]).any():
        raise ValueError("similarities must descend within each row (-1 last)")
