"""A solver for one reader: the Lanczos basis of the seeds at hand is kept, and answers for every filter.

In: seeds Y, the same again and again, and a filter that changes. Out: F = h(S) Y by `LanczosSolution.refilter`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from scipy import sparse

from manifold.backends import Backend
from manifold.filters import Filter, RegularizedDiffusion
from manifold.graph import Graph
from manifold.solvers import Lanczos, LanczosSolution, Prepared, Solution, Solver
from manifold.solvers.base import Callback

_KEPT = 8  # bases of the seeds that were looked at last
_ROUGHEST = RegularizedDiffusion(0.99)  # its poles, at +-1 / 0.995, ask for a longer basis than what is usual


@dataclass(eq=False)
class SharedBasis(Solver):
    """Lanczos whose bases outlive a solve: products with S are paid once for each block of seeds, whatever the filter.

    Parameters
    ----------
    lanczos : Lanczos
        How bases are grown.

    Attributes
    ----------
    n_grown : int
        Bases grown so far.

    Notes
    -----
    A basis is grown for both poles at 1 / 0.995, and again where a pole turns out to need more; it holds some 60
    vectors, and the heat kernel of t = 100 needs 40. Memory: the bases of
    the last 8 blocks of seeds, m n q entries each: 5 MB for m = 64, n = 20,000, q = 1.

    Examples
    --------
    >>> from manifold import Diffusion, Heat, ManifoldSearch, datasets
    >>> X, _ = datasets.digits()
    >>> search, shared = ManifoldSearch(preset="plain-diffusion").fit(X[100:]), SharedBasis()
    >>> answers = [search.with_settings(filter=h, solver=shared).search(X[0]) for h in (Diffusion(0.9), Heat(10.0))]
    >>> [ranking.diagnostics.converged for ranking in answers], shared.n_grown
    ([True, True], 1)
    """

    lanczos: Lanczos = field(default_factory=Lanczos)
    n_grown: int = field(default=0, init=False)
    _graph: Graph | None = field(default=None, init=False, repr=False)
    _rough: Prepared = field(init=False, repr=False)
    _kept: OrderedDict[tuple[bytes, ...], LanczosSolution] = field(default_factory=OrderedDict, init=False, repr=False)

    def prepare(self, graph: Graph, filter: Filter, backend: Backend) -> Prepared:
        """Normalise the affinity of a graph, once for all filters; another graph starts afresh.

        >>> from manifold import Heat, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> pair = graph_from_affinity([[0, 1], [1, 0]]).astype("float64")
        >>> prepared = SharedBasis().prepare(pair, Heat(1.0), get_backend("scipy"))
        >>> prepared.solve(sparse.csc_array([[1.0], [0.0]])).scores.round(3).ravel().tolist()
        [0.568, 0.432]
        """
        if graph is not self._graph:
            self._kept.clear()
            self._graph, self._rough = graph, self.lanczos.prepare(graph, _ROUGHEST, backend)
        return _Refiltering(self, filter, partial(self.lanczos.prepare, graph, filter, backend))

    def refilter(self, seeds: sparse.csc_array, filter: Filter, longer: Callable[[], Prepared]) -> Solution:
        """Return F = h(S) seeds from the basis kept for them; `longer` prepares one where the filter asks for more."""
        key = tuple(part.tobytes() for part in (seeds.indptr, seeds.indices, seeds.data))
        if key not in self._kept:
            self._grow(key, self._rough.solve(seeds))
        self._kept.move_to_end(key)
        answer = self._kept[key].refilter(filter)
        if answer.converged or filter.resolvents is None:  # without poles: what is left is rounding
            return answer
        return self._grow(key, longer().solve(seeds))

    def _grow(self, key: tuple[bytes, ...], solution: Solution) -> Solution:
        assert isinstance(solution, LanczosSolution)  # what Lanczos answers
        self._kept[key], self.n_grown = solution, self.n_grown + 1
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]


@dataclass(frozen=True, eq=False)
class _Refiltering(Prepared):
    """A filter, ready for seeds."""

    shared: SharedBasis
    filter: Filter
    longer: Callable[[], Prepared]

    def solve(self, seeds: object, *, x0: object = None, callback: Callback | None = None) -> Solution:
        """Return F = h(S) seeds; `x0` and `callback` are of no use to a basis that is there already."""
        if not isinstance(seeds, sparse.csc_array):
            raise TypeError(f"seeds must be a csc_array (n, q), as a search makes them, got {type(seeds).__name__}")
        return self.shared.refilter(seeds, self.filter, self.longer)
