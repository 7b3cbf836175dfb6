"""Thresholding in turn with diffusion (Merriman, Bence and Osher, 1992), with class sizes held at their priors.

scores U (n, c)  ->  X one-hot at argmax_j (u_ij - lambda_j), n pi_j points in class j  ->  U by diffusion of X
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from manifold._checks import check_count
from manifold._typing import AnyArray, Floats, Ints, Mask
from manifold.errors import ConvergenceWarning, warn
from manifold.labels._base import Problem, label_means, rows_to_one
from manifold.labels._far import heard
from manifold.labels.poisson import Poisson, poisson_sources
from manifold.solvers import Solution

_SWEEPS = 30
_TOLERANCE = 1e-3  # of the points: how far from its due the size of a class may be
_GAP = 1e-2  # of the points: how far before it is said


def prices(scores: AnyArray, sizes: Ints, start: Floats | None = None) -> Floats:
    """Return lambda (c,) of sum 0 such that argmax_j (scores_ij - lambda_j) gives class j its due number of points.

    They are the dual variables of the assignment of largest total score under these sizes. Each class in turn is given
    the price at which it takes exactly its due, until all do, to a thousandth of the points.

    >>> prices(np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]]), np.array([1, 2])).round(2).tolist()
    [0.35, -0.35]
    """
    n, c = scores.shape
    lambdas = np.zeros(c) if start is None else np.array(start)
    if c == 1 or n == 0:
        return lambdas
    for _ in range(_SWEEPS):
        excess = np.bincount((scores - lambdas).argmax(axis=1), minlength=c) - sizes
        wrong = np.flatnonzero(abs(excess) > _TOLERANCE * n)
        if not wrong.size:
            break
        for j in wrong[np.argsort(-abs(excess[wrong]), kind="stable")]:
            others = scores - lambdas
            others[:, j] = -np.inf
            lambdas[j] = _exceeded_by(scores[:, j] - others.max(axis=1), int(sizes[j]))
    return np.asarray(lambdas - lambdas.mean())


def _exceeded_by(margins: AnyArray, size: int) -> float:
    """Return a number that the `size` largest margins exceed and the others do not, but for ties."""
    last = margins.size - size
    if size == 0 or last == 0:
        return float(margins.max() + 1 if size == 0 else margins.min() - 1)
    ends = np.partition(margins, (last - 1, last))
    return float(ends[last - 1] / 2 + ends[last] / 2)


class Volumes:
    """The classes of unlabelled points at sizes that follow from the priors; labelled points keep their label.

    Points of components without a label take no part, and a point gets no class that its component has no label of.
    """

    def __init__(self, problem: Problem) -> None:
        reached = problem.in_labelled_component
        self.free = np.flatnonzero(reached & ~problem.labelled)
        self.given = problem.counted.toarray()
        self._possible = (label_means(problem.given, problem.graph.components) > 0)[problem.graph.components]
        # labels count towards the share of their class; a class that has more of them than is due asks for no more
        due = np.maximum(problem.priors * reached.sum() - problem.given.sum(axis=0), 0)
        exact = due / max(due.sum(), 1e-300) * self.free.size
        self.sizes = np.floor(exact).astype(np.int64)
        rest = self.free.size - int(self.sizes.sum())
        self.sizes[np.argsort(self.sizes - exact, kind="stable")[:rest]] += 1  # largest remainders
        self._lambdas: Floats | None = None

    def priced(self, scores: AnyArray) -> Floats:
        """Return scores less the prices of classes, so that argmax meets the sizes; prices start from the last."""
        out = scores.astype(np.float64)
        if self.free.size:
            # below all that prices could make up for, while they are found
            out[~self._possible] = 2 * out.min() - out.max() - 1
            self._lambdas = prices(out[self.free], self.sizes, self._lambdas)
            out[self.free] -= self._lambdas
            out[~self._possible] = out.min() - 1  # whatever the prices
        return out

    def one_hot(self, priced: Floats, heard: Mask | None = None) -> Floats:
        """Return the rows of what the labels and the argmax say; zeros for free points that nothing was heard at."""
        X: Floats = self.given.copy()
        rows = self.free if heard is None else self.free[heard[self.free]]
        X[rows, priced[rows].argmax(axis=1)] = 1
        return X

    def warn_of_gap(self, priced: Floats) -> None:
        """Warn where a class is further than a hundredth of the points, and than one, from its due."""
        sizes = np.bincount(priced[self.free].argmax(axis=1), minlength=self.sizes.size)
        gap = abs(sizes - self.sizes)
        if gap.max() > max(1, _GAP * self.free.size):
            j = int(gap.argmax())
            warn(
                f"class {j} has {sizes[j]} unlabelled points, its prior {self.sizes[j]}: components that hold no label "
                "of a class get none of it; pass other priors, or join the components",
                ConvergenceWarning,
            )


@dataclass(frozen=True)
class PoissonMBO:
    """PoissonMBO: Poisson learning, then MBO with sources.

        u  <-  u - (L u - mu b) / max degree,  `n_steps` times from the one-hot rows of the last threshold

    Reference: Calder et al. (2020).

    Parameters
    ----------
    n_rounds, n_steps : int
        Thresholds, and heat steps between them; rounds end where nothing changes.
    fidelity : float
        mu, the strength of the sources.

    Notes
    -----
    Cost: n_rounds n_steps products with W in float64; thresholds are found on the host. It needs to know the class
    sizes: with wrong `priors` it is worse than Poisson learning.

    Examples
    --------
    >>> from manifold import datasets, build_graph, propagate
    >>> X, y = datasets.two_moons(400, noise=0.12)
    >>> result = propagate(build_graph(X, metric="euclidean", edges="sum"), [0, 1] + [-1] * 398, method=PoissonMBO())
    >>> bool((result.labels == y).mean() > 0.95)
    True
    """

    n_rounds: int = 20
    n_steps: int = 40
    fidelity: float = 1.0

    diffuses: ClassVar[bool] = False
    averages: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_count(self.n_rounds, "n_rounds")
        check_count(self.n_steps, "n_steps")
        if not (np.isfinite(self.fidelity) and self.fidelity >= 0):
            raise ValueError(f"fidelity must be a finite number >= 0, got {self.fidelity!r}")

    def solve(self, problem: Problem, *, x0: AnyArray | None = None) -> Solution:
        """Alternate heat steps and thresholds, from the scores of Poisson learning."""
        backend, host_degrees = problem.backend, problem.graph.degrees
        # in float64: hundreds of explicit steps add up, and float32 would drift
        W = backend.csr(problem.graph.affinity, dtype=np.float64)
        step = 1 / max(float(host_degrees.max(initial=0)), float(np.finfo(np.float64).tiny))
        degrees = backend.asarray(host_degrees[:, None])
        inflow = backend.asarray(self.fidelity * poisson_sources(problem))
        # as published: MBO starts from Poisson learning, not from the bare labels
        solution = Poisson().solve(problem, x0=x0)
        volumes = Volumes(problem)
        X = volumes.one_hot(volumes.priced(solution.scores))
        for _ in range(self.n_rounds):
            u = backend.asarray(X)
            for _ in range(self.n_steps):
                u = u - step * (degrees * u - backend.spmm(W, u) - inflow)
            priced = volumes.priced(backend.to_host(u))
            before, X = X, volumes.one_hot(priced)
            if np.array_equal(X, before):
                break
        volumes.warn_of_gap(priced)
        return replace(solution, scores=priced.astype(problem.graph.dtype), solver="poisson_mbo")


@dataclass(frozen=True)
class ResolventMBO:
    """MBO whose diffusion is h(S): propagate, threshold at the class sizes, propagate what came out, and again.

        U = h(S) X,    X <- one-hot at argmax_j (p_ij - lambda_j), p_i the row of U in sum 1, lambda from `prices`

    Prices hold class sizes as in PoissonMBO. A round is one block solve where PoissonMBO takes 40 explicit steps, and
    the solver, its precision and its device are those of any diffusion.

    Reference: Merriman et al. (1992), for thresholds in turn with diffusion; Calder et al. (2020), for class sizes.

    Parameters
    ----------
    n_rounds : int
        Rounds end where nothing changes.

    Notes
    -----
    Cost: a solve a round with a column a class. It needs to know the class sizes: with wrong `priors` it is worse than
    "lgc".

    Examples
    --------
    >>> from manifold import Diffusion, datasets, build_graph, propagate
    >>> X, y = datasets.two_moons(400, noise=0.12)
    >>> graph = build_graph(X, metric="euclidean", edges="sum")
    >>> result = propagate(graph, [0, 1] + [-1] * 398, method=ResolventMBO(), filter=Diffusion(0.99))
    >>> bool((result.labels == y).mean() > 0.95)
    True
    """

    n_rounds: int = 15

    diffuses: ClassVar[bool] = True
    averages: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_count(self.n_rounds, "n_rounds")

    def solve(self, problem: Problem, *, x0: AnyArray | None = None) -> Solution:
        """Alternate solves and thresholds."""
        volumes = Volumes(problem)
        solution = problem.diffuse(problem.seeds, x0=x0)
        priced, there = volumes.priced(rows_to_one(solution.scores)), heard(solution.scores)
        X = volumes.one_hot(priced, there)
        for _ in range(self.n_rounds):
            solution = problem.diffuse(X, x0=solution.scores if problem.starts else None)
            priced, there = volumes.priced(rows_to_one(solution.scores)), heard(solution.scores)
            before, X = X, volumes.one_hot(priced, there)
            if np.array_equal(X, before):
                break
        volumes.warn_of_gap(priced)
        priced[~there] = 0
        return replace(solution, scores=priced.astype(problem.graph.dtype), solver="resolvent_mbo")
