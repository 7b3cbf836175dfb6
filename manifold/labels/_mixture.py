"""Settings that are judged by labels left out -> how much of each is taken, and what they say together.

    w maximises  sum_i v_i log sum_s w_s p_i^(s) + sum_s log w_s        p_i^(s) what s says of the truth of label i

Shares of distributions by what they say of labels left out are stacking (Yao et al., Bayesian Analysis 2018). The
prior, a label more for each, keeps the mixture near their mean where few labels can tell.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from manifold._typing import AnyArray, Floats, Ints
from manifold.labels._base import rows_to_one
from manifold.labels._rival import NearestLabelled
from manifold.labels.calibration import fitted_bias, fitted_power, log_losses, logits_of, softmax
from manifold.labels.choice import Choice
from manifold.solvers import Solution

_LEAST_WEIGHT = 0.01  # of the largest: below it a setting changes nothing
_ROUNDS = 100


@dataclass(frozen=True, eq=False)
class Candidate:
    """A setting, what it says of labels that are left out (logits (m, c), calibrated), and how it says the rest."""

    name: str
    logits: Floats
    power: float
    solution: Solution | None = None

    @classmethod
    def of(
        cls, name: str, logits: Floats, *, truth: Ints, weights: Floats, solution: Solution | None = None
    ) -> Candidate:
        """Return a candidate whose logits are raised to the power that the truth fits."""
        power = fitted_power(logits, truth, weights)
        return cls(name, power * logits, power, solution)

    def distributions(self, rival: NearestLabelled | None) -> AnyArray:
        """Return its distributions of all points (n, c), calibrated; rows of zeros where nothing is known."""
        if self.solution is None:
            assert rival is not None  # the candidate was made from it
            return softmax(self.power * rival.everywhere())
        P = rows_to_one(self.solution.scores)
        return np.where(P.any(axis=1, keepdims=True), softmax(self.power * logits_of(P)), 0).astype(P.dtype)


def stacked(likelihoods: Floats, weights: Floats) -> Floats:
    """Return the shares (k,) of k settings under which labels left out are likeliest, by expectation maximisation.

    The prior is that of a label more for each setting, which it alone explains.

    Parameters
    ----------
    likelihoods : (k, m)
        What each says of the truth.
    weights : (m,)
        Of the labels, of sum m.

    Examples
    --------
    >>> stacked(np.array([[0.5, 0.5], [0.5, 0.5]]), np.ones(2)).round(3).tolist()  # nothing tells them
    [0.5, 0.5]
    >>> stacked(np.array([[0.1] * 50, [0.9] * 50]), np.ones(50)).round(2).tolist()
    [0.02, 0.98]
    """
    shares = np.full(len(likelihoods), 1 / len(likelihoods))
    for _ in range(_ROUNDS):
        explained = shares[:, None] * likelihoods
        explained *= weights / explained.sum(axis=0)
        shares = 1 + explained.sum(axis=1)
        shares /= shares.sum()
    return np.asarray(shares)


def mixed(
    candidates: list[Candidate], rival: NearestLabelled | None, *, truth: Ints, weights: Floats
) -> tuple[Solution, Choice]:
    """Return distributions of all points as scores, by the mixture of candidates, and the evidence for it."""
    each = np.array([log_losses(one.logits, truth) for one in candidates])
    right = np.array([weights @ (one.logits.argmax(axis=1) == truth) for one in candidates])
    shares = stacked(np.exp(-each), weights * truth.size)
    shares = np.where(shares >= _LEAST_WEIGHT * shares.max(), shares, 0)
    shares /= shares.sum()
    used = [i for i in range(len(candidates)) if shares[i] > 0]
    together = logits_of(np.asarray(sum(shares[i] * softmax(candidates[i].logits) for i in used)))
    power = fitted_power(together, truth, weights)
    bias = fitted_bias(power * together, truth, weights)
    together = power * together + bias
    P = np.asarray(sum(shares[i] * candidates[i].distributions(rival) for i in used))
    plain = candidates[0].distributions(None)
    # a node that only other settings reach is not reached, and one that only the default does is as it says
    heard = plain.any(axis=1, keepdims=True)
    P = np.where(heard & ~P.any(axis=1, keepdims=True), plain, np.where(heard, P, 0))
    P = np.where(heard, softmax(power * logits_of(P) + bias.astype(P.dtype)), 0).astype(plain.dtype)
    reports = [one.solution for i in {0, *used} if (one := candidates[i]).solution is not None]
    report = max(reports, key=lambda solution: len(solution.failures()))
    choice = Choice(
        tuple(one.name for one in candidates),
        accuracy=tuple(right.tolist()),
        loss=tuple((each @ weights).tolist()),
        weights=tuple(shares.tolist()),
        power=power,
        reason=_reason(each, together, right, truth=truth, weights=weights, compared=rival is not None),
    )
    return replace(report, scores=P, solver="auto"), choice


def _reason(losses: Floats, together: Floats, right: Floats, *, truth: Ints, weights: Floats, compared: bool) -> str:
    """Return a sentence: what the mixture gains, and whether nearest neighbours were asked."""
    gains = losses[0] - log_losses(together, truth)
    gain = float(weights @ gains)
    error = float(np.sqrt((weights**2) @ (gains - gain) ** 2))
    ours = float(weights @ (together.argmax(axis=1) == truth))
    text = (
        f"a mixture gains {gain:.3f} +- {error:.3f} nats a label on the default, of {truth.size} left out, and is "
        f"right in {ours:.0%} of them, the default in {right[0]:.0%}"
    )
    if not compared:
        return f"{text}; not compared with nearest neighbours, for no points were given"
    below = ": the mixture may be below it" if right[-1] > ours else ""
    return f"{text}, the nearest labelled point in {right[-1]:.0%}{below}"
