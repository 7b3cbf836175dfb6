"""Activations of a convolutional network in, whitened vectors of regions out.

In: tensors (H, W, K), non-negative. Out: boxes on the grid, one vector for each box by one of the descriptors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manifold._arrays import as_integers, as_numbers
from manifold._checks import check_count, check_random_state
from manifold._typing import Ints
from manifold.matching.descriptors import DESCRIPTORS, Descriptor

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def rmac_regions(height: int, width: int, *, levels: int = 3, overlap: float = 0.4) -> Ints:
    """Return the boxes (r, 4) of the R-MAC grid of a map of height x width cells, as y0, x0, y1, x1.

    The whole map comes first. At level l squares of side 2 min(H, W) / (l + 1) stand in l rows along the short side and
    l + m - 1 along the long one, spread evenly; m is the number of largest squares whose overlap is nearest to the one
    asked for.

    Reference: Tolias et al. (2016), section 3.2.

    Parameters
    ----------
    height, width : int
        H, W >= 1.
    levels : int
        L; 3 gives 14 boxes on a square map, of which the whole is one, and 21 on a map of 4:3.
    overlap : float in [0, 1)
        Part of a largest square that its neighbour shares.

    Raises
    ------
    ValueError
        For an overlap out of range.

    Examples
    --------
    >>> rmac_regions(30, 40).shape, rmac_regions(30, 30).shape
    ((21, 4), (14, 4))
    >>> rmac_regions(6, 6, levels=2).tolist()
    [[0, 0, 6, 6], [0, 0, 4, 4], [0, 2, 4, 6], [2, 0, 6, 4], [2, 2, 6, 6]]
    """
    height, width, levels = (check_count(*pair) for pair in ((height, "height"), (width, "width"), (levels, "levels")))
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must lie in [0, 1), got {overlap!r}: 0.4 in the paper")
    short, long = min(height, width), max(height, width)
    extra = 0
    if long > short:
        steps = (long - short) / ((1 - overlap) * short)  # from the first square to the last, each 1 - overlap long
        counts = np.array([max(1, np.floor(steps)), max(1, np.ceil(steps))])
        extra = int(counts[np.argmin(np.abs(1 - (long - short) / (counts * short) - overlap))])
    boxes = [(0, 0, height, width)]
    for level in range(1, levels + 1):
        side = max(1, 2 * short // (level + 1))
        rows = _starts(height, side, level + extra * (height > width))
        columns = _starts(width, side, level + extra * (width > height))
        boxes += [(y, x, y + side, x + side) for y in rows for x in columns]
    return np.array(list(dict.fromkeys(boxes)), dtype=np.int64)


def _starts(length: int, side: int, count: int) -> list[int]:
    """Return where `count` squares begin that spread evenly over a length."""
    return [(length - side) * i // max(1, count - 1) for i in range(count)]


def region_vectors(
    activations: ArrayLike, boxes: ArrayLike | None = None, *, descriptor: str | Descriptor = "mac"
) -> NDArray[np.float32]:
    """Return one vector of unit length for each box of an image: (r, K); by default for the boxes of `rmac_regions`.

    ``v_b = p_b / ||p_b||_2`` with p_b the descriptor of the activations inside box b.

    Reference: Tolias et al. (2016), section 3.2, for regions and "mac", and what the other descriptors name.

    Parameters
    ----------
    activations : (H, W, K) array-like
        Finite and >= 0, as after a rectifier.
    boxes : (r, 4) int, optional
        y0, x0, y1, x1 in cells; ends are excluded.
    descriptor : {"mac", "spoc", "gem", "crow"} or callable
        How the cells of a box become one vector; a callable takes (h, w, K), such as
        ``functools.partial(generalized_mean_pool, p=5)``.

    Raises
    ------
    ValueError
        For activations or boxes of a wrong shape, negative or not finite, or a box that holds no cell.

    Notes
    -----
    Cost: the cells of all boxes, times K. A box without activation has the zero vector.

    Examples
    --------
    >>> region_vectors(np.ones((6, 6, 4)), [[0, 0, 2, 2]]).tolist()
    [[0.5, 0.5, 0.5, 0.5]]
    """
    x = as_numbers(activations, "activations")
    if x.ndim != 3 or not x.size:
        raise ValueError(f"activations must have shape (H, W, K), got {x.shape}")
    if not (np.isfinite(x).all() and x.min() >= 0):
        raise ValueError("activations must be finite and >= 0: take them after the rectifier")
    cells = rmac_regions(*x.shape[:2]) if boxes is None else as_integers(boxes, "boxes")
    if cells.ndim != 2 or cells.shape[1] != 4:
        raise ValueError(f"boxes must be integers (r, 4), got {cells.dtype} {cells.shape}")
    inside = (cells[:, :2] >= 0) & (cells[:, :2] < cells[:, 2:]) & (cells[:, 2:] <= np.array(x.shape[:2]))
    if not inside.all():
        wrong = cells[~inside.all(axis=1)][0].tolist()
        raise ValueError(
            f"box {wrong} (y0, x0, y1, x1) holds no cell of the {x.shape[0]} x {x.shape[1]} map, or leaves it"
        )
    if isinstance(descriptor, str) and descriptor not in DESCRIPTORS:
        raise ValueError(f"descriptor must be one of {tuple(DESCRIPTORS)} or a callable, got {descriptor!r}")
    pool = DESCRIPTORS[descriptor] if isinstance(descriptor, str) else descriptor
    vectors = np.array([pool(x[y0:y1, x0:x1]) for y0, x0, y1, x1 in cells]).reshape(len(cells), x.shape[2])
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)


def pca_whitening(n_components: int | None = None, *, random_state: int | None = None) -> Pipeline:
    """Return the usual whitening of descriptors, as a scikit-learn pipeline: unit length, PCA whitening, unit length.

    ``fit`` it on vectors of other images than those that are searched, or on the collection; ``transform`` the rest.

    Reference: Jégou and Chum (2012).

    Parameters
    ----------
    n_components : int, optional
        Dimensions kept; by default as many as there are.
    random_state : int, optional
        For the randomised solver that scikit-learn takes for large matrices.

    Notes
    -----
    ``y = P (x / ||x||_2 - m)``, then to unit length; P holds the leading eigenvectors of the covariance, each divided
    by the root of its eigenvalue. Cost: n d^2 to fit.

    Examples
    --------
    >>> vectors = np.random.default_rng(5).random((50, 8))
    >>> pca_whitening(4).fit(vectors).transform(vectors).shape
    (50, 4)
    """
    check_random_state(random_state)
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    return make_pipeline(Normalizer(), PCA(n_components, whiten=True, random_state=random_state), Normalizer())
