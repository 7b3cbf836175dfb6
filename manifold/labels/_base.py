"""What a method of propagation is asked and answers: a problem in, a `Solution` with one column a class out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold.backends import Backend
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.solvers import Prepared, Solution, Solver
from manifold.solvers.base import Callback


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
    """

    graph: Graph
    given: sparse.csc_array
    seeds: sparse.csc_array
    labelled: NDArray[np.bool_]
    priors: NDArray[np.float64]
    filter: Filter
    solver: Solver
    backend: Backend
    callback: Callback | None = None

    @cached_property
    def in_labelled_component(self) -> NDArray[np.bool_]:
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

    def diffuse(self, seeds: Any, *, x0: Any = None) -> Solution:
        """Return h(S) seeds, with scores on the host; S is prepared once."""
        solution = self._prepared.solve(seeds, x0=x0, callback=self.callback)
        return replace(solution, scores=self.backend.to_host(solution.scores))


def rows_to_one(scores: NDArray[Any]) -> NDArray[Any]:
    """Return the positive part of scores (n, c), a new array, in rows of sum 1; a row without one stays 0."""
    P: NDArray[Any] = np.maximum(scores, 0)
    mass = P.sum(axis=1, keepdims=True)
    P /= np.where(mass > 0, mass, 1)
    return P


class Method(Protocol):
    """Settings of a method; scores may be of any sign, and the largest of a row is its class."""

    #: whether the method takes a filter and a solver
    diffuses: ClassVar[bool]

    def solve(self, problem: Problem, *, x0: Any = None) -> Solution:
        """Return scores (n, c) with a verdict for each column."""
