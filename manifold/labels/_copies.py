"""Points that are identical: each of them gets all of their labels in equal parts, for no graph can tell them apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse

from manifold._typing import AnyArray
from manifold.errors import warn
from manifold.labels.targets import Targets


def averaged_over_copies(X: AnyArray, targets: Targets) -> Targets:
    """Return targets in which identical points have all of their labels in equal parts."""
    rows = np.flatnonzero(targets.labelled)
    _, copy = np.unique(X[rows], axis=0, return_inverse=True)
    Y = targets.Y.tocsr()[rows]
    n, m = rows.size, int(copy.max()) + 1
    gather = sparse.csr_array((np.ones(n), (copy, np.arange(n))), shape=(m, n))
    sums = sparse.csr_array(gather @ Y)
    conflicting = np.flatnonzero((np.diff(sums.indptr) > 1)[copy])
    if not conflicting.size:
        return targets
    warn(
        f"{conflicting.size} identical points have different labels (first: row {rows[conflicting[0]]}): "
        "each of them gets all of their labels in equal parts; remove or relabel the copies"
    )
    means = sums * (1 / np.bincount(copy))[:, None]
    place = sparse.csr_array((np.ones(n), (rows, copy)), shape=(targets.labelled.size, m))
    return replace(targets, Y=sparse.csc_array(place @ means))
