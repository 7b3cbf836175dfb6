"""Leading eigenpairs of one connected component: a block Krylov space, restarted with its best vectors.

In: products with S and the eigenvector sqrt(d) of eigenvalue 1. Out: the eigenpairs of largest algebraic eigenvalue.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from manifold.backends import Array, Backend

BLOCK = 16  # columns multiplied together: the largest multiplicity that is found for certain
_CHECKS = 8  # looks at the residuals between two restarts
_STANDS_OFF = 1e-2  # squared singular value above which one projection leaves rounding only
_PROJECTIONS = 3  # twice is enough, once more where QR had to complete the block
_GRAM_RANGE = 1e-4  # squared condition number up to which a Gram matrix normalises to rounding


def basis_size(n: int, rank: int) -> int:
    """Return the number of basis vectors held at most: twice the rank and ten blocks.

    >>> basis_size(10_000, 100), basis_size(1000, 100)
    (360, 360)
    """
    return min(2 * rank + 10 * BLOCK, n - 2 * BLOCK)


def leading_pairs(
    multiply: Callable[[Array], Array],
    known: Array,
    rank: int,
    *,
    tol: float,
    max_products: int,
    backend: Backend,
    rng_seed: int,
) -> tuple[Array, Array, float]:
    """Return eigenvalues (rank + 1,), eigenvectors of the first `rank` as columns, and the least Ritz value met.

    Block Lanczos with full orthogonalisation and thick restarts (Wu and Simon, SIAM J. Matrix Anal. Appl. 22, 2000):

        S V = V T + Q B E',    T = V' S V,    S V z - theta V z = Q B z_last    where T z = theta z

    so that the residual of a Ritz pair is known without a product. It reaches the tolerance with far fewer products
    than the same block iterated in place, since no earlier product is thrown away.

    Parameters
    ----------
    multiply : callable
        (n, b) block -> S block.
    known : (n,)
        The unit eigenvector of eigenvalue 1; in the basis from the start, so that no product is spent on it.
    rank : int < n / 3
    tol : float
        Stops when ||S u - theta u||_2 <= tol for all `rank` pairs, or after `max_products` columns.

    Notes
    -----
    Cost: b-column products, and 8 n m b operations for each, m <= `basis_size`; memory n (m + rank).

    Examples
    --------
    >>> from manifold.backends import get_backend
    >>> n = 200
    >>> ring = lambda X: (np.roll(X, 1, axis=0) + np.roll(X, -1, axis=0)) / 2  # eigenvalues cos(2 pi j / n)
    >>> how = {"tol": 1e-10, "max_products": 5000, "backend": get_backend(), "rng_seed": 0}
    >>> eigenvalues, _, _ = leading_pairs(ring, np.full(n, n**-0.5), 3, **how)
    >>> (np.arccos(np.minimum(eigenvalues[:3], 1)) * n / (2 * np.pi)).round(4).tolist()
    [0.0, 1.0, 1.0]
    """
    xp, n, limit = backend.xp, known.shape[0], basis_size(known.shape[0], rank)
    V = xp.empty((limit + BLOCK, n), dtype=known.dtype)  # one basis vector a row: what is filled is contiguous
    T = xp.zeros((limit + BLOCK, limit + BLOCK), dtype=np.float64)
    V[0], T[0, 0], m = known, 1.0, 1
    start = backend.asarray(np.random.default_rng(rng_seed).standard_normal((n, BLOCK)), dtype=known.dtype)
    Q, _ = _orthonormal(start - V[:m].T @ (V[:m] @ start), V[:m], backend)
    products, look, lowest = 0, rank + 2 * BLOCK, 1.0
    while True:
        V[m : m + BLOCK] = Q.T
        rest = multiply(Q)
        column = V[: m + BLOCK] @ rest
        T[: m + BLOCK, m : m + BLOCK] = column
        T[m : m + BLOCK, : m + BLOCK] = column.T
        m, products = m + BLOCK, products + BLOCK
        Q, B = _orthonormal(rest - V[:m].T @ column, V[:m], backend)
        if m < min(look, limit):
            continue
        theta, Z = xp.linalg.eigh((T[:m, :m] + T[:m, :m].T) / 2)
        theta, Z = theta[::-1], Z[:, ::-1]
        residuals = xp.sqrt(xp.sum((B @ Z[m - BLOCK :, :rank]) ** 2, axis=0))
        worst, least = backend.to_host(xp.stack([residuals.max(), theta[-1]]))
        lowest = min(lowest, float(least))
        if worst <= tol or products >= max_products:
            return theta[: rank + 1], V[:m].T @ Z[:, :rank].astype(V.dtype), lowest
        if m >= limit:  # restart: the best vectors, and some beyond the rank that shield them from the rest
            m = rank + (limit - rank) // 3
            V[:m] = Z[:, :m].T.astype(V.dtype) @ V[: Z.shape[0]]
            T[:] = 0
            T[:m, :m] = xp.diag(theta[:m])
        look = m + max((limit - rank) // _CHECKS, BLOCK)


def _orthonormal(block: Array, V: Array, backend: Backend) -> tuple[Array, Array]:
    """Return Q (n, b) orthonormal and orthogonal to the rows of V, and B (b, b) with Q B = block, beside V.

    The block comes projected once, which is enough while it stands well off from V (S has norm 1). Otherwise it is
    normalised, projected again and normalised again; QR completes what is of deficient rank with fresh directions.
    """
    Q, B, least = _normalise(block, backend)
    for _ in range(_PROJECTIONS):
        if least >= _STANDS_OFF:
            break
        Q, again, least = _normalise(Q - V.T @ (V @ Q), backend)
        B = again @ B
    return Q, B


def _normalise(block: Array, backend: Backend) -> tuple[Array, Array, float]:
    """Return Q, B with Q B = block, Q' Q = I, and the least squared singular value of the block.

    By the eigenvectors of the Gram matrix, many times faster than QR on a tall block, where it is well conditioned.
    """
    xp = backend.xp
    w, E = xp.linalg.eigh((block.T @ block).astype(np.float64))
    least, largest = (float(x) for x in backend.to_host(w)[[0, -1]])
    if least < _GRAM_RANGE * largest or largest < _GRAM_RANGE:
        Q, B = xp.linalg.qr(block)
        return Q, B.astype(np.float64), 0.0
    root = xp.sqrt(w)
    return block @ (E / root).astype(block.dtype), root[:, None] * E.T, least
