"""Targets that are numbers: each point gets the average of those of the labelled points, weighted by the kernel h(S).

    value_i = sum_j h(S)_ij y_j / sum_j h(S)_ij                over the labelled j

For one-hot targets this is the distribution of `propagate`; for a constant target it is that constant.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold.labels._base import Problem
from manifold.labels.certainty import certainty
from manifold.labels.targets import Targets


def moments(targets: Targets) -> sparse.csc_array:
    """Return the columns to average: 1, y, and for real values, which are standardised, y^2."""
    Y = targets.Y.toarray()
    if targets.kind == "values":
        mean, scale = _standard(targets)
        Z = np.where(targets.labelled[:, None], (Y - mean) / scale, 0)
        Y = np.hstack([Z, Z * Z])
    return sparse.csc_array(np.hstack([targets.labelled[:, None].astype(np.float64), Y]))


def averages(scores: NDArray[Any], problem: Problem, targets: Targets) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return averages (n, q) and certainties (n,); NaN (1/2 for "multilabel") and 0 where no label reaches."""
    q, reached = targets.Y.shape[1], problem.in_labelled_component
    heard = scores[:, 0] > 0  # else its labels are too far away for the precision of the solve: their mean stands in
    A = np.where(heard[:, None], scores[:, 1:] / np.where(heard, scores[:, 0], 1)[:, None], 0)
    if targets.kind == "multilabel":
        A[reached & ~heard] = targets.Y.sum(axis=0) / targets.labelled.sum()
        A[~reached] = 0.5
        A = np.clip(A, 0, 1)
        each = certainty(np.stack([A, 1 - A], axis=2).reshape(-1, 2)).reshape(A.shape)
        return A, each.mean(axis=1)
    mean, scale = _standard(targets)
    local = np.maximum(A[:, q:] - A[:, :q] ** 2, 0)  # variance among the labels a point hears of, over that of all
    sure = np.where(heard, np.clip(1 - local.mean(axis=1), 0, 1), 0)
    return np.where(reached[:, None], A[:, :q] * scale + mean, np.nan).astype(scores.dtype), sure.astype(scores.dtype)


def _standard(targets: Targets) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    known = targets.Y.tocsr()[targets.labelled].toarray()
    scale = known.std(axis=0)
    return known.mean(axis=0), np.where(scale > 0, scale, 1)
