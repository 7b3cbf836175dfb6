"""The method that checks itself: settings are judged by the labels given, each left out in turn.

p_i = sum_s w_s p_i^(s),    w the shares under which the labels left out are likeliest      (`_mixture`)

Each p^(s) is calibrated by a power first, and their mean by a power and a bias of each class. With too few labels to
tell, the default is what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from manifold._checks import check_count
from manifold._typing import AnyArray, Floats, Ints
from manifold.filters import Diffusion
from manifold.labels._base import Problem, rows_to_one
from manifold.labels._diagonals import diagonals
from manifold.labels._left_out import harmonic_left_out, left_out, said_without, sample, without
from manifold.labels._mixture import Candidate, mixed
from manifold.labels._rival import NearestLabelled
from manifold.labels.balance import sinkhorn
from manifold.labels.calibration import logits_of
from manifold.labels.choice import Choice
from manifold.labels.harmonic import Harmonic
from manifold.labels.iterative import IterativeCleaning
from manifold.labels.mbo import ResolventMBO
from manifold.solvers import Solution

_SPARSE = 100  # points a label, beyond which harmonic functions are spikes at labels, and take the most iterations
_ENOUGH = 1e-6  # rtol of a harmonic function: probabilities move by some 1e-5, and no class of 60,000 points does


@dataclass(frozen=True)
class Auto:
    """A mixture of settings, and its certainty, that the given labels choose, each left out in turn.

        p_i = sum_s w_s p_i^(s),    w = argmax of the likelihood of the labels left out, and of a prior

    Candidates are local and global consistency and the harmonic function on each graph that `propagate` is given, and,
    where it is given points, the nearest labelled point. What K = h(S) says of a label without that label needs no
    further propagation: it is K minus its diagonal. The prior is worth a label for each. Where labels are fewer than
    one in a hundred points the harmonic function is left out, and that is said.

    Reference: Yao et al. (2018), for the mixture; Guo et al. (2017), for the power; Alexandari et al. (2020), for the
    bias; Calder et al. (2020), for harmonic functions of few labels; guide *labels*.

    Parameters
    ----------
    alphas : tuple of floats in [0, 1)
        Tried beside that of the filter; none where a filter is given, nor is the harmonic function then, or with
        weights or ``clamp=False``.
    least_labels : int
        Labels a class, on average, from which on there is a choice. Below, the filter as it is; with class sizes that
        are known (``classes="even"``, or `priors`), the mean of "ilpc", "resolvent_mbo" and balanced "lgc" on each
        graph. With more labels, half of such an answer is balanced.

    Notes
    -----
    Labels count by how many points their class seems to have. Probabilities are raised to the power under which the
    labels left out are likeliest, and classes that these are given too often get less. What was taken and why is
    `Propagation.choice`.
    Cost: for each graph two solves with a column a class, the diagonal of K at the labels, at most 128 of
    them, and a harmonic function with a column a label, to a hundredth. Of 480 labels or more a fifth, at most 128, are
    left out together, by two more solves with a column a class instead.

    Examples
    --------
    >>> from manifold import datasets, build_graph, propagate
    >>> from manifold.labels import Auto, calibration_error
    >>> X, y = datasets.digits()
    >>> few = np.where(np.arange(len(y)) < 60, y, -1)
    >>> result = propagate(build_graph(X, edges="sum"), few, method=Auto())
    >>> bool((result.labels == y).mean() > 0.9), len(result.choice.names)
    (True, 2)
    >>> free = few < 0
    >>> calibration_error(result.distributions[free], y[free]) < 0.05
    True
    """

    alphas: tuple[float, ...] = ()
    least_labels: int = 3

    diffuses: ClassVar[bool] = True
    averages: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count(self.least_labels, "least_labels")
        object.__setattr__(self, "alphas", tuple(Diffusion(alpha).alpha for alpha in self.alphas))

    def solve(self, problem: Problem, *, x0: AnyArray | None = None) -> Solution:
        """Return the scores of what is chosen: calibrated distributions, where something is."""
        return self.chosen(problem, x0=x0)[0]

    def chosen(self, problem: Problem, *, x0: AnyArray | None = None) -> tuple[Solution, Choice]:
        """Return the scores of what is chosen, and what was."""
        reason = self._unable(problem)
        if reason is None:
            return _compared(problem, self.alphas if problem.filter_is_default else ())
        if problem.sizes_are_known and not problem.signed:
            return _even(problem, reason)
        unchecked = " 'auto' is 'lgc' here, and was not compared with nearest neighbours"
        return problem.diffuse(problem.seeds, x0=x0), Choice((problem.name,), reason=f"{reason}:{unchecked}")

    def _unable(self, problem: Problem) -> str | None:
        """Return why labels cannot choose here, or None."""
        if problem.signed:
            return "numbers and several labels a point are averaged"
        if not isinstance(problem.filter, Diffusion):
            return f"{problem.filter} is no Diffusion, whose diagonal is known"
        c, m = problem.seeds.shape[1], int(problem.labelled.sum())
        if c < 2:
            return "there is one class"
        if m < self.least_labels * c:
            return f"{m} labels of {c} classes are fewer than {self.least_labels} a class, too few to choose by"
        return None


def _even(problem: Problem, reason: str) -> tuple[Solution, Choice]:
    """Return the mean of methods that hold class sizes: which of them is best differs from set to set."""
    plain, parts = None, {}
    for name, graph in {problem.name: problem.graph, **problem.others}.items():
        solution = replace(problem, graph=graph).diffuse(problem.seeds)
        plain = plain or solution
        parts[f"{name}, sinkhorn"] = _balanced(rows_to_one(solution.scores), problem.priors)
    for name, method in (("ilpc", IterativeCleaning()), ("resolvent_mbo", ResolventMBO())):
        parts[f"{problem.name}, {name}"] = rows_to_one(method.solve(problem).scores)
    assert plain is not None  # there is a graph
    P = sum(parts.values()) / len(parts)
    said = f"{reason}: class sizes are known, and the mean of {', '.join(parts)} is taken"
    made = Choice(tuple(parts), weights=(1 / len(parts),) * len(parts), reason=said)
    return replace(plain, scores=np.where(plain.scores.any(axis=1, keepdims=True), P, 0), solver="auto"), made


def _balanced(P: AnyArray, priors: Floats) -> AnyArray:
    """Return distributions at class sizes that are known, rows of zeros as they are."""
    there, Q = P.any(axis=1), P.copy()
    Q[there] = sinkhorn(P[there], priors, rtol=1e-2, max_iter=100, strict=False)
    return Q


def _compared(problem: Problem, alphas: tuple[float, ...]) -> tuple[Solution, Choice]:
    given = problem.given.tocsr()
    own = np.where(problem.labelled, np.asarray(given.argmax(axis=1)).ravel(), -1)
    known = np.flatnonzero(problem.labelled)
    rows = sample(known, own[known])
    truth, weights = own[rows], np.empty(0)
    candidates: list[Candidate] = []
    for name, solution, out in _propagated(problem, alphas, rows):
        if not candidates:
            weights = _class_sizes(solution, truth)
        candidates.append(Candidate.of(name, logits_of(out), truth=truth, weights=weights, solution=solution))
    rival = None
    if problem.points is not None:
        rival = NearestLabelled(problem.points, own, problem.given.shape[1])
        candidates.append(Candidate.of("nearest labelled point", rival.left_out(rows), truth=truth, weights=weights))
    solution, choice = mixed(candidates, rival, truth=truth, weights=weights)
    if _may_be_harmonic(problem) and _is_sparse(problem):
        few = f"{known.size} labels of {own.size} points are fewer than one in {_SPARSE}"
        choice = replace(choice, reason=f"{choice.reason}; 'harmonic' was left out: {few}")
    if problem.sizes_are_known:  # half of it: a sample has them nearly
        P = (solution.scores + _balanced(solution.scores, problem.priors)) / 2
        solution = replace(solution, scores=P)
        choice = replace(choice, reason=f"{choice.reason}; half of it at the class sizes that are known")
    return solution, choice


def _propagated(problem: Problem, alphas: tuple[float, ...], rows: Ints) -> Iterator[tuple[str, Solution, Floats]]:
    """Yield each graph and alpha, by name, with its solution, and what it says of the labels of rows without them."""
    first = problem.filter
    assert isinstance(first, Diffusion)  # `_unable` refuses the others
    tried = list(dict.fromkeys((first.alpha, *alphas)))
    seeds, given = problem.seeds.tocsr()[rows], problem.given.tocsr()[rows].toarray()
    sums, fewer = problem.given.sum(axis=0), without(problem, rows)
    for name, graph in {problem.name: problem.graph, **problem.others}.items():
        own = iter(diagonals(graph, rows, tried, backend=problem.backend) if fewer is None else ())
        for alpha in tried:
            h = Diffusion(alpha)
            solution = replace(problem, graph=graph, filter=h).diffuse(problem.seeds)
            if fewer is None:
                out = left_out(solution.scores[rows], next(own), seeds, sums=sums, given=given)
            else:
                told = replace(fewer, graph=graph, filter=h).diffuse(fewer.seeds)
                out = said_without(told.scores[rows], problem, fewer)
            yield f"{name}, alpha = {alpha:g}", solution, out
        if _may_be_harmonic(problem) and not _is_sparse(problem):
            held = replace(problem, graph=graph)
            solution = Harmonic(rtol=_ENOUGH).solve(held)
            if fewer is None:
                out = harmonic_left_out(held, solution.scores, rows)
            else:
                told = Harmonic(rtol=_ENOUGH).solve(replace(fewer, graph=graph))
                out = said_without(told.scores[rows], problem, fewer)
            yield f"{name}, harmonic", solution, out


def _may_be_harmonic(problem: Problem) -> bool:
    """Return whether the harmonic function is one of the settings: it has no filter, and holds labels to be right."""
    return problem.filter_is_default and problem.clamp and problem.weights is None


def _is_sparse(problem: Problem) -> bool:
    """Return whether labels are so few among the points that a harmonic function is spikes, and takes longest."""
    return bool(problem.labelled.size > _SPARSE * np.count_nonzero(problem.labelled))


def _class_sizes(default: Solution, truth: Ints) -> Floats:
    """Return the weight of each label that is left out (m,), of sum 1: half by how many points its class seems to have.

    Labels are often drawn evenly over classes that are not: a setting that is right in the small ones only is worth
    little. All by size would trust to the few labels of the largest.
    """
    c = default.scores.shape[1]
    heard = (default.scores > 0).any(axis=1)
    sizes = np.bincount(default.scores[heard].argmax(axis=1), minlength=c) + 1.0
    share = np.bincount(truth, minlength=c) / truth.size
    ratio = sizes[truth] / sizes.sum() / share[truth]
    weights = 0.5 + 0.5 * ratio
    return np.asarray(weights / weights.sum())
