"""Eigenpairs of S held component by component: U' Y in, U C out, with no score across components.

S U = U Lambda,   largest algebraic eigenvalues first,   every vector zero outside its own component
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np

from manifold._resources import require_memory
from manifold._typing import AnyArray, DType, Floats, Ints
from manifold.backends import Array, Backend, get_backend
from manifold.storage import Stored, save_arrays

# field of a block -> name of its array in a saved spectrum
_FIELDS = {
    "nodes": "nodes",
    "U": "vectors",
    "eigenvalues": "eigenvalues",
    "residuals": "residuals",
    "beyond": "beyond",
}


@dataclass(frozen=True, eq=False)
class Block:
    """The eigenpairs of c components of s nodes each; a giant component is a block of its own."""

    nodes: Array  # (c, s) ids
    U: Array  # (c, s, r) orthonormal columns
    eigenvalues: Array  # (c, r), descending
    residuals: Array  # (c, r), ||S u - lambda u||_2
    beyond: Array  # (c,) the largest eigenvalue left out, -1 where there is none

    @property
    def full(self) -> bool:
        """Whether no eigenpair of these components is left out.

        >>> one = np.ones((1, 1))
        >>> Block(np.zeros((1, 1), int), one[None], one, one, -np.ones(1)).full
        True
        """
        return bool(self.U.shape[1] == self.U.shape[2])

    def truncate(self, rank: int) -> Block:
        """Return the `rank` leading eigenpairs out of these.

        >>> values = np.array([[1.0, 0.5]])
        >>> block = Block(np.arange(2)[None], np.eye(2)[None], values, np.zeros((1, 2)), -np.ones(1))
        >>> block.truncate(1).beyond.tolist()
        [0.5]
        """
        if rank >= self.U.shape[2]:
            return self
        values, kept = self.eigenvalues, slice(rank)
        return Block(self.nodes, self.U[:, :, kept], values[:, kept], self.residuals[:, kept], values[:, rank])


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The `rank` leading eigenpairs of each component of S.

    The rank counts for each component: memory is at most that of one (n, rank) array, no component is crowded out by
    others (each has an eigenvalue 1 of its own), and one of up to `rank` nodes is complete. An isolated node is a
    component of one node and eigenvalue 0.

    Attributes
    ----------
    rank : int
    blocks : tuple of Block
        Components of equal size together, ascending.
    lowest : float
        The least eigenvalue met, an estimate from above of the least of S.
    digest : str
        Of the S it belongs to; solvers refuse it for any other.

    Examples
    --------
    >>> from manifold import Diffusion, graph_from_affinity
    >>> from manifold.solvers import FastSpectralRanking
    >>> from manifold.backends import get_backend
    >>> two_pairs = graph_from_affinity(np.kron(np.eye(2), [[0, 1], [1, 0]])).astype("float64")
    >>> prepared = FastSpectralRanking(rank=1).prepare(two_pairs, Diffusion(), get_backend())
    >>> prepared.spectrum.eigenvalues.round(6).tolist()
    [1.0, 1.0]
    """

    rank: int
    blocks: tuple[Block, ...]
    lowest: float
    backend: Backend
    dtype: DType
    owner: Ints  # (n,) the block a node is in
    position: Ints  # (n,) its place there
    digest: str

    @property
    def n_nodes(self) -> int:
        """Number of nodes n.

        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> from manifold.solvers.eigenpairs import NormalizedAffinity, leading_eigenpairs
        >>> triangle = graph_from_affinity(1 - np.eye(3)).astype("float64")
        >>> spectrum = leading_eigenpairs(NormalizedAffinity(triangle, get_backend()), 2)
        >>> spectrum.n_nodes
        3
        """
        return int(self.owner.size)

    @property
    def full(self) -> bool:
        """Whether all n eigenpairs are here.

        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> from manifold.solvers.eigenpairs import NormalizedAffinity, leading_eigenpairs
        >>> triangle = graph_from_affinity(1 - np.eye(3)).astype("float64")
        >>> spectrum = leading_eigenpairs(NormalizedAffinity(triangle, get_backend()), 2)
        >>> spectrum.full, spectrum.truncate(1).full
        (False, False)
        """
        return all(block.full for block in self.blocks)

    @property
    def eigenvalues(self) -> Floats:
        """Eigenvalues of all components, descending, on the host: (R,).

        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> from manifold.solvers.eigenpairs import NormalizedAffinity, leading_eigenpairs
        >>> triangle = graph_from_affinity(1 - np.eye(3)).astype("float64")
        >>> spectrum = leading_eigenpairs(NormalizedAffinity(triangle, get_backend()), 2)
        >>> spectrum.eigenvalues.round(6).tolist()
        [1.0, -0.5]
        """
        return np.sort(self._gather("eigenvalues"))[::-1]

    @property
    def residuals(self) -> Floats:
        """Residuals ||S u - lambda u||_2 in the order of `eigenvalues`: (R,).

        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> from manifold.solvers.eigenpairs import NormalizedAffinity, leading_eigenpairs
        >>> triangle = graph_from_affinity(1 - np.eye(3)).astype("float64")
        >>> spectrum = leading_eigenpairs(NormalizedAffinity(triangle, get_backend()), 2)
        >>> spectrum.residuals.round(12).tolist()
        [0.0, 0.0]
        """
        ordered: Floats = self._gather("residuals")[self._order()]
        return ordered

    @property
    def remainder(self) -> tuple[float, float]:
        """The interval in which the eigenvalues left out lie, as far as is known.

        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> from manifold.solvers.eigenpairs import NormalizedAffinity, leading_eigenpairs
        >>> triangle = graph_from_affinity(1 - np.eye(3)).astype("float64")
        >>> spectrum = leading_eigenpairs(NormalizedAffinity(triangle, get_backend()), 2)
        >>> [round(end, 6) for end in spectrum.remainder]
        [-0.5, -0.5]
        """
        ends = [float(self.backend.to_host(b.beyond.max())) for b in self.blocks if not b.full]
        return self.lowest, max([self.lowest, *ends])

    def _gather(self, name: str) -> Floats:
        parts = [self.backend.to_host(getattr(b, name)).ravel().astype(np.float64) for b in self.blocks]
        return np.concatenate([np.zeros(0), *parts])

    def _order(self) -> Ints:
        return np.argsort(-self._gather("eigenvalues"), kind="stable")

    def vectors(self) -> AnyArray:
        """Return U (n, R) dense on the host, in the order of `eigenvalues`: for looking at, not for solving.

        Raises
        ------
        MemoryBudgetError
            Where it would not fit; R may exceed the rank by far on a graph of many components.

        Examples
        --------
        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> from manifold.solvers.eigenpairs import NormalizedAffinity, leading_eigenpairs
        >>> triangle = graph_from_affinity(1 - np.eye(3)).astype("float64")
        >>> spectrum = leading_eigenpairs(NormalizedAffinity(triangle, get_backend()), 2)
        >>> spectrum.vectors()[:, 0].round(6).tolist()  # sqrt(degree), of length 1
        [0.57735, 0.57735, 0.57735]
        """
        R = sum(b.eigenvalues.size for b in self.blocks)
        require_memory(2 * self.dtype.itemsize * self.n_nodes * R, purpose="dense eigenvectors", cure="lower the rank")
        dense = np.zeros((self.n_nodes, R), dtype=self.dtype)
        first = 0
        for block in self.blocks:
            c, _, r = block.U.shape
            columns = first + np.arange(c * r).reshape(c, 1, r)
            dense[self.backend.to_host(block.nodes)[:, :, None], columns] = self.backend.to_host(block.U)
            first += c * r
        return dense[:, self._order()]

    def truncate(self, rank: int) -> Spectrum:
        """Return the `rank` leading eigenpairs of each component out of these; shares memory.

        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> from manifold.solvers.eigenpairs import NormalizedAffinity, leading_eigenpairs
        >>> triangle = graph_from_affinity(1 - np.eye(3)).astype("float64")
        >>> spectrum = leading_eigenpairs(NormalizedAffinity(triangle, get_backend()), 2)
        >>> spectrum.truncate(1).eigenvalues.round(6).tolist()
        [1.0]
        """
        blocks = tuple(block.truncate(rank) for block in self.blocks)
        return replace(self, rank=min(rank, self.rank), blocks=blocks)

    def renumbered(self, ids: AnyArray | None) -> Spectrum:
        """Return the same eigenpairs for nodes of other numbers, node i being ids[i] now; itself for None.

        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> from manifold.solvers.eigenpairs import NormalizedAffinity, leading_eigenpairs
        >>> pair = graph_from_affinity(1 - np.eye(2)).astype("float64")
        >>> spectrum = leading_eigenpairs(NormalizedAffinity(pair, get_backend()), 2)
        >>> turned = spectrum.renumbered(np.array([1, 0]))
        >>> bool((turned.vectors() == spectrum.vectors()[::-1]).all())
        True
        """
        if ids is None:
            return self
        ids = ids.astype(np.int64)
        nodes = [self.backend.asarray(ids[self.backend.to_host(block.nodes)]) for block in self.blocks]
        blocks = tuple(replace(block, nodes=at) for block, at in zip(self.blocks, nodes, strict=True))
        owner, position = np.empty_like(self.owner), np.empty_like(self.position)
        owner[ids], position[ids] = self.owner, self.position
        return replace(self, blocks=blocks, owner=owner, position=position)

    def on(self, backend: Backend) -> Spectrum:
        """Return these eigenpairs on another backend; itself where they are there.

        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> from manifold.solvers.eigenpairs import NormalizedAffinity, leading_eigenpairs
        >>> triangle = graph_from_affinity(1 - np.eye(3)).astype("float64")
        >>> spectrum = leading_eigenpairs(NormalizedAffinity(triangle, get_backend()), 2)
        >>> spectrum.on(get_backend()) is spectrum
        True
        """
        if backend == self.backend:
            return self
        host = self.backend.to_host
        blocks = tuple(
            Block(**{name: backend.asarray(host(getattr(block, name))) for name in _FIELDS}) for block in self.blocks
        )
        return replace(self, blocks=blocks, backend=backend)

    def save(self, path: str | PathLike[str]) -> Path:
        """Save the eigenpairs as a folder; `manifold.load` gives them back, memory-mapped, for ``spectrum=``.

        Raises
        ------
        FileExistsError, OSError
            See `manifold.storage.save_arrays`.

        Examples
        --------
        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> from manifold.solvers.eigenpairs import NormalizedAffinity, leading_eigenpairs
        >>> triangle = graph_from_affinity(1 - np.eye(3)).astype("float64")
        >>> spectrum = leading_eigenpairs(NormalizedAffinity(triangle, get_backend()), 2)
        >>> from tempfile import TemporaryDirectory
        >>> from manifold import load
        >>> with TemporaryDirectory() as folder:
        ...     load(spectrum.save(f"{folder}/spectrum")).eigenvalues.round(6).tolist()
        [1.0, -0.5]
        """
        arrays: dict[str, AnyArray] = {
            "shapes": np.array([b.U.shape for b in self.blocks], dtype=np.int64).reshape(-1, 3)
        }
        for field, name in _FIELDS.items():
            dtype = {"nodes": np.dtype(np.int64), "vectors": self.dtype}.get(name, np.dtype(np.float64))
            parts = [self.backend.to_host(getattr(block, field)).astype(dtype).ravel() for block in self.blocks]
            arrays[name] = np.concatenate([np.empty(0, dtype), *parts])
        parameters = {"rank": self.rank, "lowest": self.lowest, "digest": self.digest}
        return save_arrays(path, kind="spectrum", arrays=arrays, parameters=parameters)

    @classmethod
    def _from_stored(cls, stored: Stored) -> Spectrum:
        arrays, ends, blocks = stored.arrays, dict.fromkeys(_FIELDS.values(), 0), []
        for c, s, r in arrays["shapes"].tolist():
            parts = {}
            for (field, name), shape in zip(_FIELDS.items(), ((c, s), (c, s, r), (c, r), (c, r), (c,)), strict=True):
                first, ends[name] = ends[name], ends[name] + int(np.prod(shape))
                parts[field] = arrays[name][first : ends[name]].reshape(shape)
            blocks.append(Block(**parts))
        nodes, dtype = arrays["nodes"], arrays["vectors"].dtype
        if any(arrays[name].size != end for name, end in ends.items()) or dtype.kind != "f":
            raise ValueError(
                f"shapes ask for {ends} entries, there are { ({n: arrays[n].size for n in ends}) }, {dtype}"
            )
        if not np.array_equal(np.sort(nodes), np.arange(nodes.size)):
            raise ValueError("nodes must name each node once")
        if stored.verified and not all(
            np.isfinite([a.min(initial=0), a.max(initial=0)]).all() for a in arrays.values()
        ):
            raise ValueError("eigenpairs must be finite")
        owner, position = (np.zeros(nodes.size, dtype=np.int64) for _ in range(2))
        for k, block in enumerate(blocks):
            owner[block.nodes], position[block.nodes] = k, np.arange(block.nodes.shape[1])
        rank, lowest, digest = (stored.parameters[name] for name in ("rank", "lowest", "digest"))
        return cls(rank, tuple(blocks), lowest, get_backend("scipy"), dtype, owner, position, digest)

    def project(self, Y: Array, rows: Ints | None = None) -> list[Array | None]:
        """Return U'Y block by block, (c, r, q) each; None where Y is zero on the block.

        `rows` are the ids, on the host, outside which Y (n, q) is zero; r operations for each non-zero row then.

        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> from manifold.solvers.eigenpairs import NormalizedAffinity, leading_eigenpairs
        >>> pair = graph_from_affinity(1 - np.eye(2)).astype("float64")
        >>> spectrum = leading_eigenpairs(NormalizedAffinity(pair, get_backend()), 2)
        >>> (c,) = spectrum.project(np.array([[1.0], [1.0]]))
        >>> c.round(6).ravel().tolist()  # sqrt(2) along the first, nothing along the other
        [1.414214, 0.0]
        """
        xp = self.backend.xp
        found: list[Array | None] = []
        for k, block in enumerate(self.blocks):
            U, nodes = block.U, block.nodes
            if rows is not None:
                mine = rows[self.owner[rows] == k]
                if not mine.size:
                    found.append(None)
                    continue
                if len(U) == 1:  # a giant: only the rows of its seeds are read
                    at = self.backend.asarray(self.position[mine])
                    U, nodes = U[:, at], self.backend.asarray(mine)[None]
            found.append(xp.matmul(U.swapaxes(1, 2), Y[nodes]))
        return found

    def add(self, coefficients: list[Array | None], to: Array) -> Array:
        """Add U c to `to` (n, q), in place.

        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> from manifold.solvers.eigenpairs import NormalizedAffinity, leading_eigenpairs
        >>> pair = graph_from_affinity(1 - np.eye(2)).astype("float64")
        >>> spectrum = leading_eigenpairs(NormalizedAffinity(pair, get_backend()), 2)
        >>> Y = np.array([[3.0], [1.0]])
        >>> spectrum.add(spectrum.project(Y), np.zeros((2, 1))).round(6).ravel().tolist()  # U U' Y = Y
        [3.0, 1.0]
        """
        xp = self.backend.xp
        for block, c in zip(self.blocks, coefficients, strict=True):
            if c is not None:
                to[block.nodes] += xp.matmul(block.U, c)
        return to

    def scale(self, coefficients: list[Array | None], transfer: Callable[[Array], Array]) -> list[Array | None]:
        """Return transfer(Lambda) c.

        >>> from manifold import graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> from manifold.solvers.eigenpairs import NormalizedAffinity, leading_eigenpairs
        >>> pair = graph_from_affinity(1 - np.eye(2)).astype("float64")
        >>> spectrum = leading_eigenpairs(NormalizedAffinity(pair, get_backend()), 2)
        >>> Y = np.array([[3.0], [1.0]])
        >>> c = spectrum.scale(spectrum.project(Y), lambda x: x)
        >>> spectrum.add(c, np.zeros((2, 1))).round(6).ravel().tolist()  # S Y
        [1.0, 3.0]
        """
        return [
            None if c is None else transfer(block.eigenvalues)[:, :, None].astype(self.dtype) * c
            for block, c in zip(self.blocks, coefficients, strict=True)
        ]
