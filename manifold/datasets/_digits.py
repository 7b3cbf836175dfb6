"""The one real set that comes with a dependency."""

from __future__ import annotations

import numpy as np

from manifold.datasets._dataset import Dataset
from manifold.datasets._lazy import same_class, squares


def digits() -> Dataset:
    """Handwritten digits bundled with scikit-learn, 8 × 8 pixels in 0..16, leave one out by class.

    Reference: Alpaydin and Kaynak (1998).

    Examples
    --------
    >>> float(digits().features.max())
    16.0
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    X, y = bunch.data.astype(np.float32), bunch.target.astype(np.int64)
    return Dataset(
        "digits",
        X,
        labels=y,
        relevant=same_class(y),
        protocol="leave-one-out",
        source="UCI optical recognition of handwritten digits, in scikit-learn",
        licence="CC BY 4.0",
        items=squares(X),
    )
