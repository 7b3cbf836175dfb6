"""Targets that are numbers: each point gets the average of those of the labelled points, weighted by the kernel h(S).

    value_i = sum_j h(S)_ij y_j / sum_j h(S)_ij                over the labelled j

For one-hot targets this is the distribution of `propagate`; for a constant target it is that constant.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from manifold._typing import AnyArray, Floats, Mask
from manifold.labels.certainty import certainty
from manifold.labels.targets import Targets


def moments(targets: Targets) -> sparse.csc_array:
    """Return the columns to average: 1, y, and for real values, which are standardised, y^2.

    >>> from manifold.labels.targets import encode
    >>> moments(encode([1.0, np.nan, 5.0], 3, kind="values")).toarray().tolist()
    [[1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    """
    Y = targets.Y.toarray()
    if targets.kind == "values":
        unit, mean, scale = _standard(targets)
        Z = np.where(targets.labelled[:, None], (Y / unit - mean) / scale, 0)
        Y = np.hstack([Z, Z * Z])
    return sparse.csc_array(np.hstack([targets.labelled[:, None].astype(np.float64), Y]))


def averages(scores: AnyArray, targets: Targets, reached: Mask) -> tuple[AnyArray, AnyArray]:
    """Return averages (n, q) and certainties (n,); NaN (1/2 for "multilabel") and 0 where no label is heard of.

    Real values come in float64, whatever the precision of the solve: theirs is the range of what was given.
    """
    q = targets.Y.shape[1]
    A = np.where(reached[:, None], scores[:, 1:] / np.where(reached, scores[:, 0], 1)[:, None], 0)
    if targets.kind == "multilabel":
        A[~reached] = 0.5
        # an average of 0 and 1 lies between them, but for the tolerance of the solve
        A = np.clip(A, 0, 1)
        each = certainty(np.stack([A, 1 - A], axis=2).reshape(-1, 2)).reshape(A.shape)
        return A, each.mean(axis=1)
    unit, mean, scale = _standard(targets)
    local = np.maximum(A[:, q:] - A[:, :q] ** 2, 0)  # variance among the labels a point hears of, over that of all
    sure = np.where(reached, np.clip(1 - local.mean(axis=1), 0, 1), 0)
    return np.where(reached[:, None], (A[:, :q] * scale + mean) * unit, np.nan), sure.astype(scores.dtype)


def _standard(targets: Targets) -> tuple[Floats, Floats, Floats]:
    """Return a power of two of each column's size, and the mean and deviation of its labels in that unit."""
    known = targets.Y.tocsr()[targets.labelled].toarray()
    unit = np.ldexp(1.0, np.frexp(abs(known).max(axis=0, initial=0))[1] - 1)
    scale = (known / unit).std(axis=0)
    return unit, (known / unit).mean(axis=0), np.where(scale > 0, scale, 1)
