"""How sure a propagated label is, and how much each class should count: weights for a training loop.

certainty     omega_i = 1 - H(p_i) / log c                      (Iscen et al., CVPR 2019, equation 11)
class weight  zeta_j  proportional to 1 / n_j                   (section 5.2)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr

from manifold._arrays import as_array, as_integers, as_numbers
from manifold._checks import check_count
from manifold._typing import AnyArray, Floats


@np.errstate(under="ignore")
def certainty(distributions: ArrayLike) -> AnyArray:
    """Return 1 - H(p) / log c of each row p: 1 for one class, 0 for the uniform row and for a row of zeros.

    Reference: Iscen et al. (2019), eq. 11.

    Parameters
    ----------
    distributions : (n, c) array
        Non-negative rows of sum 1, or 0 for points that nothing is known of.

    Returns
    -------
    (n,) float
        In [0, 1]; 1 everywhere but in zero rows where c = 1.

    Examples
    --------
    >>> certainty([[0.9, *[0.1 / 9] * 9], [0.1] * 10]).round(6).tolist()
    [0.763394, 0.0]
    """
    P = as_array(distributions, "distributions")
    if P.dtype.kind == "O" or not P.dtype.isnative or P.dtype.itemsize > 8:
        P = as_numbers(P, "distributions")
    if P.ndim != 2 or P.dtype.kind != "f":
        raise ValueError(f"distributions must be (n, classes) floats, got {P.dtype} of shape {P.shape}")
    c = P.shape[1]
    sure = 1 - entr(P).sum(axis=1) / np.log(max(c, 2))
    known = P.any(axis=1) & ((P[:, :1] != P).any(axis=1) | (c == 1))  # rounding would leave a uniform row an ulp off 0
    return np.where(known, np.clip(sure, 0, 1), 0).astype(P.dtype)


def class_weights(columns: ArrayLike, n_classes: int, *, mode: str = "paper") -> Floats:
    """Return the weight of each class in a loss, inverse to how often it occurs: zeta_j ~ 1 / n_j.

    Reference: Iscen et al. (2019), section 5.2.

    Parameters
    ----------
    columns : (n,) integers
        Class of each point in 0..n_classes-1; -1 is not counted.
    mode : {"paper", "code"}
        Scale the mean over classes to 1 (Iscen et al., CVPR 2019, section 5.2), or the mean over the points
        counted, as the authors' code does.

    Returns
    -------
    (n_classes,) float64
        0 for a class that does not occur, which takes no part in the mean.

    Examples
    --------
    >>> class_weights([0, 0, 0, 1], 2).tolist()
    [0.5, 1.5]
    """
    if mode not in ("paper", "code"):
        raise ValueError(f"mode must be 'paper' or 'code', got {mode!r}")
    ids, c = as_integers(columns, "columns"), check_count(n_classes, "n_classes")
    if ids.ndim != 1 or ids.max(initial=0) >= c:
        raise ValueError(
            f"columns must be integers (n,) below n_classes={c}, -1 for none, got {ids.dtype} {ids.shape} up to "
            f"{ids.max(initial=0)}"
        )
    counts = np.bincount(ids[ids >= 0].astype(np.int64), minlength=c).astype(np.float64)
    met = counts > 0
    weights = np.divide(1.0, counts, out=np.zeros_like(counts), where=met)
    total = met.sum() / weights.sum() if mode == "paper" and met.any() else counts.sum() / max(met.sum(), 1)
    return np.asarray(weights * total)
