"""Lists and labellings compared with each other: overlap, hubs, mutual information."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from manifold._typing import AnyArray, Ints
from manifold.metrics._judged import as_rows, check_k, known_mean, unpad


def overlap_at_k(a: ArrayLike, b: ArrayLike, *, k: int | None = None) -> float:
    """Mean set overlap of two rankings of the same queries, ``|A_k ∩ B_k| / max(|A_k|, |B_k|)``.

    ``k`` defaults to the whole rows. Rows where both are empty are skipped.

    Reference: Fagin et al. (2003), for distances of such lists.

    Examples
    --------
    >>> overlap_at_k([[1, 2, 3, 4]], [[4, 3, 9, 8]])
    0.5
    """
    if k is not None:
        check_k(k)
    rows_a, rows_b = as_rows(a, name="a"), as_rows(b, name="b")
    if len(rows_a) != len(rows_b):
        raise ValueError(f"a ranks {len(rows_a)} queries and b {len(rows_b)}: give both the same queries")
    sets_a, sets_b = ([set(unpad(row[:k]).tolist()) for row in rows] for rows in (rows_a, rows_b))
    # the longer list is the measure: a short one inside it is no agreement
    pairs = [(x, y) for x, y in zip(sets_a, sets_b, strict=True) if x or y]
    return known_mean([len(x & y) / max(len(x), len(y)) for x, y in pairs])


def k_occurrences(neighbors: ArrayLike, n_items: int) -> Ints:
    """How often each item stands in the neighbour lists, ``N_k(i) = #{q : i in row q}``, (n_items,) int64.

    Reference: Radovanović et al. (2010), section 2.

    Examples
    --------
    >>> k_occurrences([[0, 1], [0, -1]], 3)
    array([2, 1, 0])
    """
    ids = unpad(as_rows(neighbors, name="neighbors").ravel())
    if ids.size and (ids.dtype.kind not in "iu" or not 0 <= ids.min() <= ids.max() < n_items):
        raise ValueError(f"neighbors holds item {ids.max()} but n_items={n_items}: give rows 0..{n_items - 1}, -1 pads")
    return np.bincount(ids, minlength=n_items).astype(np.int64)


def hubness(counts: ArrayLike) -> float:
    """Skewness of the k-occurrences, ``mean((N - mean)^3) / var^{3/2}``, population moments; 0 if all equal.

    Reference: Radovanović et al. (2010).

    Examples
    --------
    >>> round(hubness([0, 0, 1, 1, 2, 6]), 4)
    1.3746
    """
    deviation = _values(counts, name="counts").astype(np.float64)
    if deviation.size == 0:
        raise ValueError("counts is empty: give the count of at least one item, see k_occurrences")
    deviation = deviation - deviation.mean()
    # population moments, as in the paper; the unbiased ones differ by a factor near 1
    variance = float(np.mean(deviation**2))
    return float(np.mean(deviation**3)) / variance**1.5 if variance else 0.0


def normalized_mutual_information(
    a: ArrayLike, b: ArrayLike, *, average: Literal["arithmetic", "geometric"] = "arithmetic"
) -> float:
    """Mutual information of two labellings over the mean of their entropies, ``2 I / (H_a + H_b)``.

    ``average="geometric"`` divides by ``sqrt(H_a H_b)`` instead. Two labellings of one class each agree: 1; one of one
    class tells nothing of one of several: 0.

    Reference: Strehl and Ghosh (2002), section 3.1, for "geometric".

    Examples
    --------
    >>> round(normalized_mutual_information([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2]), 4)
    0.5158
    """
    one, other = _values(a, name="a"), _values(b, name="b")
    if one.shape != other.shape or one.ndim != 1 or one.size == 0:
        raise ValueError(f"a {one.shape} and b {other.shape}: give two (n,) labellings of the same items")
    if average not in ("arithmetic", "geometric"):
        raise ValueError(f"average={average!r} is unknown: use 'arithmetic' or 'geometric'")
    rows, columns = _numbered(one, name="a"), _numbered(other, name="b")
    joint = np.unique(np.stack([rows, columns]), axis=1, return_counts=True)[1]
    h_a, h_b, h_ab = (_entropy(counts) for counts in (np.bincount(rows), np.bincount(columns), joint))
    if h_a == 0 or h_b == 0:
        return float(h_a == h_b)  # by definition: two constants agree, one tells nothing of the other
    mean = (h_a + h_b) / 2 if average == "arithmetic" else (h_a * h_b) ** 0.5
    return min(max((h_a + h_b - h_ab) / mean, 0.0), 1.0)  # rounding


def _numbered(labels: AnyArray, *, name: str) -> Ints:
    """Return the number of each item's class."""
    try:
        return np.unique(labels, return_inverse=True)[1].astype(np.int64)
    except TypeError:
        raise TypeError(f"{name} holds labels of several kinds: give integers alone, or texts alone") from None


def _values(given: ArrayLike, *, name: str) -> AnyArray:
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise TypeError(f"{name} is a masked array with masked entries: fill them, {name}.filled(...), first")
    try:
        return np.asarray(given)
    except (TypeError, RuntimeError) as error:  # tensors of what NumPy has not, or with a gradient
        raise TypeError(f"{name} is {type(given).__name__}, which is no array ({error})") from None


def _entropy(counts: AnyArray) -> float:
    """Return log n - sum c log c / n of the sizes c of classes of n items, exactly 0 for a single one."""
    if counts.size == 1:
        return 0.0
    n = counts.sum()  # whole numbers: shares would add up to a little more or less than 1
    return float(np.log(n) - (counts * np.log(counts)).sum() / n)
