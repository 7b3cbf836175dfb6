"""The leading eigenpairs of S, component by component: a system in, a `Spectrum` out.

Small components are decomposed whole, many of one size at once; a giant one in a block Krylov space.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._checks import check_count
from manifold._resources import require_memory
from manifold._typing import Ints
from manifold.backends import Array
from manifold.errors import warn
from manifold.solvers._krylov import basis_size, leading_pairs
from manifold.solvers.spectrum import Block, Spectrum
from manifold.solvers.system import NormalizedAffinity

DENSE_LIMIT = 1000  # components up to this size are decomposed whole
_STACK_BYTES = 2**26  # of dense matrices of equal size decomposed together


@np.errstate(under="ignore")
def leading_eigenpairs(
    system: NormalizedAffinity,
    rank: int,
    *,
    tol: float = 1e-4,
    max_products: int | None = None,
    rng_seed: int = 0,
) -> Spectrum:
    """Return the `rank` eigenpairs of largest algebraic eigenvalue of each component of S.

    Components up to `DENSE_LIMIT` nodes, and those of less than four times the rank, are decomposed whole in float64;
    larger ones by `leading_pairs`, in the dtype of the system, from the eigenvector sqrt(d) of eigenvalue 1.

    Parameters
    ----------
    system : NormalizedAffinity
    rank : int >= 0
        Of n or more: all eigenpairs.
    tol : float
        Absolute, on ||S u - lambda u||_2; an eigenvalue is then off by at most tol, and by tol^2 / gap where it stands
        alone. Rounding ends at about 2e-6 in float32 and 1e-14 in float64.
    max_products : int, optional
        Columns multiplied for one component, by default 20 rank + 1000.
    rng_seed : int
        Of the start, on the host: the same eigenpairs on every run, their signs fixed by the largest entry.

    Raises
    ------
    MemoryBudgetError
        Before anything is allocated: n rank numbers, and for the largest component n (4 rank + 160), or 5 n^2 in
        float64 where it is decomposed whole.

    Warns
    -----
    ManifoldWarning
        Where `max_products` ran out; the pairs are returned with their residuals.

    Examples
    --------
    >>> from manifold import graph_from_affinity
    >>> from manifold.backends import get_backend
    >>> two_pairs = graph_from_affinity(np.kron(np.eye(2), [[0, 1], [1, 0]])).astype("float64")
    >>> leading_eigenpairs(NormalizedAffinity(two_pairs, get_backend()), rank=1).eigenvalues.round(6).tolist()
    [1.0, 1.0]

    Notes
    -----
    Cost: some 8 rank columns of S and 30 n rank^2 operations. The Fashion-MNIST set (n = 60,000, k = 50) takes 816
    columns for rank 100 at 1e-4.
    """
    if rank == 0:
        return leading_eigenpairs(system, 1, tol=1.0).truncate(0)
    check_count(rank, "rank")
    groups = _components_by_size(system.components)
    _forecast(system, groups, rank)
    owner, position = (np.zeros(system.n_nodes, dtype=np.int64) for _ in range(2))
    blocks: list[Block] = []
    lowest = 0.0
    for nodes in groups:
        owner[nodes], position[nodes] = len(blocks), np.arange(nodes.shape[1])
        if _is_dense(nodes.shape[1], rank):
            block, least = _decompose(system, nodes, rank)
        else:
            budget = 20 * rank + 1000 if max_products is None else max_products
            block, least = _iterate(system, nodes, rank, tol=tol, max_products=budget, rng_seed=rng_seed)
        lowest = min(lowest, least)
        blocks.append(block)
    found = Spectrum(rank, tuple(blocks), lowest, system.backend, system.dtype, owner, position, system.digest)
    return found.renumbered(system.order)


def _is_dense(size: int, rank: int) -> bool:
    return size <= max(DENSE_LIMIT, 4 * rank)


def _components_by_size(components: NDArray[np.int32]) -> list[Ints]:
    """Return the nodes of all components of each size, (c, s); those beyond the dense limit one by one."""
    if not components.size:
        return []
    sizes = np.bincount(components)
    order = np.lexsort((components, sizes[components]))
    groups: list[Ints] = []
    first = 0
    for size, count in zip(*np.unique(sizes[sizes > 0], return_counts=True), strict=True):
        stack = order[first : first + size * count].reshape(count, size)
        first += size * count
        groups += [stack] if size <= DENSE_LIMIT else list(stack[:, None])
    return groups


def _forecast(system: NormalizedAffinity, groups: list[Ints], rank: int) -> None:
    item, peak = system.dtype.itemsize, 0
    for nodes in groups:
        size = nodes.shape[1]
        work = 5 * 8 * size * size if _is_dense(size, rank) else item * size * (basis_size(size, rank) + 2 * rank)
        peak = max(peak, work)
    kept = sum(item * nodes.size * min(rank, nodes.shape[1]) for nodes in groups)
    require_memory(kept + peak, purpose=f"{rank} eigenvectors of {system.n_nodes} nodes", cure="lower the rank")


def _decompose(system: NormalizedAffinity, nodes: Ints, rank: int) -> tuple[Block, float]:
    """Decompose components of equal size whole, by dense eigenvectors in float64, many at once."""
    backend, xp, (count, size) = system.backend, system.backend.xp, nodes.shape
    place = np.zeros(system.n_nodes, dtype=np.int64)
    place[nodes] = np.arange(size)
    kept, lowest, step = [], 0.0, max(1, _STACK_BYTES // (8 * size * size))
    for first in range(0, count, step):
        some = nodes[first : first + step]
        rows = sparse.coo_array(system.entries[some.ravel()])
        dense = np.zeros((len(some), size, size))
        dense[rows.row // size, rows.row % size, place[rows.col]] = rows.data
        S = backend.asarray(dense)
        eigenvalues, vectors = xp.linalg.eigh(S)
        least = float(backend.to_host(eigenvalues.min()))
        lowest = min(lowest, least)
        # eigenvalues of a rounded S may pass 1 by its rounding; filters are not defined there
        theta = xp.clip(eigenvalues[:, ::-1], -1.0, 1.0)
        beyond = theta[:, rank] if rank < size else xp.full(len(some), -1.0)
        theta = theta[:, :rank]
        U = _signed(vectors[:, :, ::-1][:, :, :rank], xp).astype(system.dtype)
        residuals = xp.sqrt(xp.sum((xp.matmul(S, U) - theta[:, None] * U) ** 2, axis=1))
        kept.append((U, theta, residuals, beyond))
    return Block(backend.asarray(nodes), *(xp.concatenate(list(parts)) for parts in zip(*kept, strict=True))), lowest


def _iterate(
    system: NormalizedAffinity, nodes: Ints, rank: int, *, tol: float, max_products: int, rng_seed: int
) -> tuple[Block, float]:
    """Compute the leading eigenpairs of one large component in a block Krylov space."""
    backend, xp, members = system.backend, system.backend.xp, nodes[0]
    at = backend.asarray(members)
    whole = members.size == system.n_nodes
    S = system.matrix if whole else backend.csr(system.entries[members][:, members], dtype=system.dtype)
    known = system.weights[at, 0]
    known = (known / xp.sqrt(xp.sum(known * known))).astype(system.dtype)
    theta, U, lowest = leading_pairs(
        lambda X: backend.spmm(S, X),
        known,
        rank,
        tol=tol,
        max_products=max_products,
        backend=backend,
        rng_seed=rng_seed,
    )
    theta, U = xp.clip(theta, -1.0, 1.0), xp.ascontiguousarray(_signed(U[None], xp))
    residuals = []
    for first in range(0, rank, 64):  # the true ones, of the rounded vectors
        part = slice(first, min(first + 64, rank))
        vectors = xp.ascontiguousarray(U[0, :, part])
        rest = backend.spmm(S, vectors) - vectors * theta[part].astype(system.dtype)
        residuals.append(xp.sqrt(backend.column_dots(rest, rest)))
    block = Block(at[None], U, theta[None, :rank], xp.concatenate(residuals)[None], theta[rank:])
    worst = float(backend.to_host(block.residuals.max()))
    if worst > 2 * tol + 256 * float(np.finfo(system.dtype).eps):
        warn(f"eigenpairs reached a residual of {worst:.1e}, not tol={tol}: raise max_products={max_products}")
    return block, lowest


def _signed(U: Array, xp: ModuleType) -> Array:
    """Flip the columns of (c, s, r) so that the first entry of (almost) the largest size is positive."""
    size = xp.abs(U)
    first = xp.argmax(size > 0.999 * size.max(axis=1, keepdims=True), axis=1)
    return U * xp.sign(xp.take_along_axis(U, first[:, None, :], axis=1))
