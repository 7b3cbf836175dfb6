"""What a method of propagation is asked and answers: a problem in, a `Solution` with one column a class out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._typing import AnyArray, Floats, Mask
from manifold.backends import Backend
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.labels._far import solved_on
from manifold.neighbors import PointSet
from manifold.solvers import Prepared, Solution, Solver
from manifold.solvers.base import Callback

Seeds: TypeAlias = sparse.csc_array | AnyArray  # (n, c)


@dataclass(frozen=True, eq=False)
class Problem:
    """A graph, seeds, and how to solve on it.

    Attributes
    ----------
    graph : Graph
    given : (n, c) csc_array
        The labels themselves: rows of sum 1 for classes, empty rows where there is no label.
    seeds : (n, c) csc_array
        Y: the labels at the scale at which they are diffused.
    labelled : (n,) bool
    priors : (c,) float64
        The share of each class, of sum 1, for methods that hold class sizes fixed.
    signed : bool
        Whether seeds have signs, but for those of the first column: moments of numbers, not classes.
    weights : (n,) float64, optional
        How much each label counts, 0 where there is none.
    name, others
        What the graph is called, and other graphs of the same points by name, of which a method may choose.
    points : PointSet, optional
        The nodes as points, for a method that compares itself with nearest neighbours.
    sizes_are_known : bool
        Whether the priors are what someone knows, not an estimate.
    clamp : bool
        Whether labels are held to be right.
    filter_is_default : bool
        Whether a method may try others.
    """

    graph: Graph
    given: sparse.csc_array
    seeds: sparse.csc_array
    labelled: Mask
    priors: Floats
    filter: Filter
    solver: Solver
    backend: Backend
    callback: Callback | None = None
    signed: bool = False
    weights: Floats | None = None
    name: str = "the graph"
    others: Mapping[str, Graph] = field(default_factory=dict)
    points: PointSet | None = None
    sizes_are_known: bool = False
    clamp: bool = True
    filter_is_default: bool = False

    @property
    def counted(self) -> sparse.csc_array:
        """The labels themselves, each as much as it counts (n, c)."""
        return self.given if self.weights is None else sparse.csc_array(sparse.diags_array(self.weights) @ self.given)

    @cached_property
    def in_labelled_component(self) -> Mask:
        """Whether a label can reach the node (n,)."""
        held = np.zeros(self.graph.n_components, dtype=bool)
        held[self.graph.components[self.labelled]] = True
        return held[self.graph.components]

    @property
    def starts(self) -> bool:
        """Whether a solve can start from earlier scores: there is one system, not one for each of several poles."""
        return len(self.filter.resolvents or ()) == 1

    @cached_property
    def _prepared(self) -> Prepared:
        return self.solver.prepare(self.graph, self.filter, self.backend)

    def diffuse(self, seeds: Seeds, *, x0: AnyArray | None = None) -> Solution:
        """Return h(S) seeds, with scores on the host, 0 in rows where nothing arrives; S is prepared once."""

        def solve(columns: Seeds, start: AnyArray | None = None) -> Solution:
            solution = self._prepared.solve(columns, x0=start, callback=self.callback)
            return replace(solution, scores=self.backend.to_host(solution.scores))

        return solved_on(
            solve(seeds, x0),
            seeds,
            self.graph,
            filter=self.filter,
            again=lambda residual: solve(residual).scores,
            reached=self.in_labelled_component,
            signed=self.signed,
        )


def rows_to_one(scores: AnyArray) -> AnyArray:
    """Return the positive part of scores (n, c), a new array, in rows of sum 1; a row without one stays 0.

    >>> rows_to_one(np.array([[3.0, 1.0], [2.0, -1.0], [0.0, -1.0]])).tolist()
    [[0.75, 0.25], [1.0, 0.0], [0.0, 0.0]]
    """
    P: AnyArray = np.maximum(scores, 0)
    mass = P.sum(axis=1, keepdims=True)
    P /= np.where(mass > 0, mass, 1)
    return P


class Method(Protocol):
    """Settings of a method; scores may be of any sign, and the largest of a row is its class."""

    #: whether the method takes a filter and a solver
    diffuses: ClassVar[bool]
    #: whether the scores of several labels a point, or of real values, are means of them
    averages: ClassVar[bool]

    def solve(self, problem: Problem, *, x0: AnyArray | None = None) -> Solution:
        """Return scores (n, c) with a verdict for each column; a row of zeros, of a method that diffuses, says
        that nothing of a label arrived there.
        """


def label_means(seeds: sparse.csc_array, components: NDArray[np.int32]) -> Floats:
    """Return the mean seed of each component (m, c): rows of sum 1, or 0 in components without a label.

    >>> seeds = sparse.csc_array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    >>> label_means(seeds, np.array([0, 0, 1])).tolist()
    [[0.5, 0.5], [0.0, 0.0]]
    """
    n, m = components.size, int(components.max(initial=-1)) + 1
    gather = sparse.csr_array((np.ones(n), (components, np.arange(n))), shape=(m, n))
    sums = (gather @ seeds).toarray()
    mass = sums.sum(axis=1, keepdims=True)
    return np.asarray(sums / np.where(mass > 0, mass, 1))
