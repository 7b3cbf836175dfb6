"""Several vectors an image: how the scores of regions become the score of their image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def pooling_weights(regions: NDArray[Any], *, regularization: float = 1.0) -> NDArray[np.float64]:
    """Return the weights (m,) of generalised max pooling, w = (Phi Phi' + lambda I)^-1 1.

    The score of an image is the sum of w_j f_j over its regions: regions that repeat each other share one vote
    (Iscen et al., CVPR 2017, eq. 13-14).

    Parameters
    ----------
    regions : (m, d)
        Phi, the unit vectors of one image.
    regularization : float
        lambda > 0; large values approach sum pooling.

    Raises
    ------
    ValueError
        For a regularization that is not positive: the Gram matrix of repeated regions is singular.

    Examples
    --------
    >>> pooling_weights(np.ones((3, 1))).round(6).tolist()
    [0.25, 0.25, 0.25]
    """
    if not regularization > 0:
        raise ValueError(f"regularization must be positive, got {regularization!r}")
    Phi = np.asarray(regions, dtype=np.float64)
    gram = Phi @ Phi.T + regularization * np.eye(Phi.shape[0])
    return np.asarray(np.linalg.solve(gram, np.ones(Phi.shape[0])), dtype=np.float64)
