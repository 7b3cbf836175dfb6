"""The method that checks itself: settings are judged by the labels given, each left out in turn.

p_i = sum_s w_s p_i^(s),    w_s  proportional to  exp(-m loss_s / 4)        loss_s the mean of -log p of the m left out

Each p^(s) is calibrated by a power first, and so is their mean. It takes the place of the default only where it is
better beyond doubt; with too few labels to tell, the default is what it is.
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
from manifold.labels._left_out import diagonals, harmonic_left_out, left_out, sample
from manifold.labels._rival import NearestLabelled
from manifold.labels.balance import sinkhorn
from manifold.labels.calibration import fitted_power, log_losses, logits_of, softmax
from manifold.labels.choice import Choice
from manifold.labels.harmonic import Harmonic
from manifold.labels.iterative import IterativeCleaning
from manifold.labels.mbo import ResolventMBO
from manifold.solvers import Solution

_TEMPER = 0.25  # of the likelihood: labels that are left out share all the others, and say less than as many alone
_DOUBT = 2.5  # standard errors by which a mixture must be better than the default
_LEAST_WEIGHT = 0.01  # in a mixture: below it a setting changes nothing


@dataclass(frozen=True)
class Auto:
    """Local and global consistency whose graph, alpha and certainty the given labels choose, each left out in turn.

    Candidates are the graphs that `propagate` is given, with each alpha, the harmonic function on the first, and, where
    it is given points, the nearest labelled point. What K = h(S) says of a label without that label needs no further
    propagation: it is K minus its diagonal.

    Reference: Guo et al. (2017), for the power; guide *labels*.

    Parameters
    ----------
    alphas : tuple of floats in [0, 1)
        Tried beside that of the filter; none where a filter is given, nor is the harmonic function then, or with
        weights or ``clamp=False``.
    least_labels : int
        Labels a class, on average, from which on there is a choice. Below, the filter as it is; with class sizes that
        are known (``classes="even"``, or `priors`), the mean of "ilpc", "resolvent_mbo" and balanced "lgc".

    Notes
    -----
    A mixture of candidates replaces the default where its loss on the labels left out is less by 2.5 standard errors,
    and as many of them are right. Labels count by how many points their class seems to have. Probabilities are raised
    to the power under which the labels left out are likeliest. What was chosen and why is `Propagation.choice`.
    Cost: for each graph and alpha a solve with a column a class, and for each graph some 60 products with a column
    a label, of at most 128 labels; the harmonic function has a column a label, too.

    Examples
    --------
    >>> from manifold import datasets, build_graph, propagate
    >>> from manifold.labels import Auto, calibration_error
    >>> X, y = datasets.digits()
    >>> few = np.where(np.arange(len(y)) < 60, y, -1)
    >>> result = propagate(build_graph(X, edges="sum"), few, method=Auto())
    >>> bool((result.labels == y).mean() > 0.9), len(result.choice.names)
    (True, 5)
    >>> free = few < 0
    >>> calibration_error(result.distributions[free], y[free]) < 0.05
    True
    """

    alphas: tuple[float, ...] = (0.5, 0.8, 0.99)
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
    """Return the mean of three methods that hold class sizes: which of them is best differs from set to set."""
    plain = problem.diffuse(problem.seeds)
    P = rows_to_one(plain.scores)
    there = P.any(axis=1)
    P[there] = sinkhorn(P[there], problem.priors, rtol=1e-2, max_iter=100, strict=False)
    for method in (IterativeCleaning(), ResolventMBO()):
        P += rows_to_one(method.solve(problem).scores)
    names = ("lgc, sinkhorn", "ilpc", "resolvent_mbo")
    said = f"{reason}: class sizes are known, and the mean of {', '.join(names)} is taken"
    return replace(plain, scores=P / 3, solver="auto"), Choice(names, weights=(1 / 3,) * 3, reason=said)


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A setting, what it says of labels that are left out (logits (m, c), calibrated), and how it says the rest."""

    name: str
    logits: Floats
    power: float
    solution: Solution | None = None

    def distributions(self, rival: NearestLabelled | None) -> AnyArray:
        """Return its distributions of all points (n, c), calibrated; rows of zeros where nothing is known."""
        if self.solution is None:
            assert rival is not None  # the candidate was made from it
            return softmax(self.power * rival.everywhere())
        P = rows_to_one(self.solution.scores)
        return np.where(P.any(axis=1, keepdims=True), softmax(self.power * logits_of(P)), 0).astype(P.dtype)


def _compared(problem: Problem, alphas: tuple[float, ...]) -> tuple[Solution, Choice]:
    given = problem.given.tocsr()
    own = np.where(problem.labelled, np.asarray(given.argmax(axis=1)).ravel(), -1)
    known = np.flatnonzero(problem.labelled)
    rows = sample(known, own[known])
    truth = own[rows]
    rival = None if problem.points is None else NearestLabelled(problem.points, own, problem.given.shape[1])
    weights = np.empty(0)
    candidates: list[_Candidate] = []
    for name, solution, out in _propagated(problem, alphas, rows):
        if not candidates:
            weights = _class_sizes(solution, truth)
        logits = logits_of(out)
        power = fitted_power(logits, truth, weights)
        candidates.append(_Candidate(name, power * logits, power, solution))
    if problem.filter_is_default and problem.clamp and problem.weights is None:
        solution = Harmonic().solve(problem)
        logits = logits_of(harmonic_left_out(problem, solution.scores, rows))
        power = fitted_power(logits, truth, weights)
        candidates.append(_Candidate(f"{problem.name}, harmonic", power * logits, power, solution))
    if rival is not None:
        logits = rival.left_out(rows)
        power = fitted_power(logits, truth, weights)
        candidates.append(_Candidate("nearest labelled point", power * logits, power))
    return _mixed(candidates, rival, truth, weights)


def _propagated(problem: Problem, alphas: tuple[float, ...], rows: Ints) -> Iterator[tuple[str, Solution, Floats]]:
    """Yield each graph and alpha, by name, with its solution, and what it says of the labels of rows without them."""
    first = problem.filter
    assert isinstance(first, Diffusion)  # `_unable` refuses the others
    tried = list(dict.fromkeys((first.alpha, *alphas)))
    seeds, given = problem.seeds.tocsr()[rows], problem.given.tocsr()[rows].toarray()
    sums = problem.given.sum(axis=0)
    for name, graph in {problem.name: problem.graph, **problem.others}.items():
        diagonal = diagonals(graph, rows, tried, backend=problem.backend)
        for alpha, own in zip(tried, diagonal, strict=True):
            solution = replace(problem, graph=graph, filter=Diffusion(alpha)).diffuse(problem.seeds)
            yield (
                f"{name}, alpha = {alpha:g}",
                solution,
                left_out(solution.scores[rows], own, seeds, sums=sums, given=given),
            )


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


def _mixed(
    candidates: list[_Candidate], rival: NearestLabelled | None, truth: Ints, weights: Floats
) -> tuple[Solution, Choice]:
    """Return the mixture of candidates where it is better than the first beyond doubt, else the first, calibrated."""
    losses = np.array([weights @ log_losses(one.logits, truth) for one in candidates])
    right = np.array([weights @ (one.logits.argmax(axis=1) == truth) for one in candidates])
    shares = np.exp(-_TEMPER * truth.size * (losses - losses.min()))
    shares = np.where(shares >= _LEAST_WEIGHT * shares.max(), shares, 0)
    shares /= shares.sum()
    mixture = sum(share * softmax(one.logits) for share, one in zip(shares, candidates, strict=True))
    mixed = logits_of(np.asarray(mixture))
    default = candidates[0].logits
    gains = log_losses(default, truth) - log_losses(mixed, truth)
    gain = float(weights @ gains)
    error = float(np.sqrt((weights**2) @ (gains - gain) ** 2))
    better = gain > _DOUBT * error and weights @ (mixed.argmax(axis=1) == truth) >= right[0]
    if not better:
        shares, mixed = np.eye(len(candidates))[0], default
    power = fitted_power(mixed, truth, weights)
    used = [i for i in range(len(candidates)) if shares[i] > 0]
    P = sum(shares[i] * candidates[i].distributions(rival) for i in used)
    plain = candidates[0].distributions(None)
    # a node that only other settings reach is not reached, and one that only the default does is as it says
    heard = plain.any(axis=1, keepdims=True)
    P = np.where(heard & ~np.asarray(P).any(axis=1, keepdims=True), plain, np.where(heard, P, 0))
    P = np.where(heard, softmax(power * logits_of(P)), 0).astype(plain.dtype)
    reports = [one.solution for i in used if (one := candidates[i]).solution is not None]
    report = max(reports or [_solved(candidates[0])], key=lambda solution: len(solution.failures()))
    choice = Choice(
        tuple(one.name for one in candidates),
        accuracy=tuple(right.tolist()),
        loss=tuple(losses.tolist()),
        weights=tuple(shares.tolist()),
        power=power,
        reason=_reason(candidates, right, gain, error, better=better, compared=rival is not None),
    )
    return replace(report, scores=P, solver="auto"), choice


def _solved(candidate: _Candidate) -> Solution:
    assert candidate.solution is not None  # the first one is always propagated
    return candidate.solution


def _reason(
    candidates: list[_Candidate], right: Floats, gain: float, error: float, *, better: bool, compared: bool
) -> str:
    """Return a sentence: what was chosen, by how much, and whether nearest neighbours were asked."""
    says = f"{gain:.3f} +- {error:.3f} nats a label"
    if better:
        text = f"a mixture is better than {candidates[0].name}, by {says} of those left out"
    else:
        text = f"{candidates[0].name} stays: a mixture gains {says} of those left out, which could be chance"
    if not compared:
        return f"{text}; not compared with nearest neighbours, for no points were given"
    below = " (so the default may be below it)" if not better and right[-1] > right[0] else ""
    return (
        f"{text}; the nearest labelled point is right in {right[-1]:.0%} of them, the default in {right[0]:.0%}{below}"
    )
