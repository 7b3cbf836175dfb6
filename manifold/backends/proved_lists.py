"""Compiled: what a patch of relaxed nodes proves of its best k, and how far its doubt has still to fall.

In: a `Patch` with its residual. Out: how far the residual lets scores be wrong, what a cut into the best k and all
others certainly parts, and the next threshold. A score is ``factor x``; of the exact one ``x + e`` is known
-low v <= e <= high v.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manifold.backends._compiled import compiled

_SLOP = 8 * 2.0**-53  # of the few products and sums below, each rounded once
_COARSER, _FINER, _AIM = 1 / 2, 1 / 8, 0.7  # by how much a threshold falls, and the share of what would just decide
_UNKNOWN = 1 / 4  # the same where fewer than k are known
_LEAST_NEEDED = 2.0**-12  # what is needed may be nothing, where scores are equal by chance


class Look(NamedTuple):
    """A cut of what is known: the k-th score, the next, and bounds on the list, what else is touched, and the rest."""

    kth: float
    less: float
    lower: float
    upper: float
    unseen: float


@compiled
def needed(look):  # type: ignore[no-untyped-def]
    """Return to what share of itself the doubt should fall for the cut to be certain, if scores stayed.

    >>> round(needed(Look(1.0, 0.9, 0.8, 1.1, 0.0)), 6)  # gap 0.1 of 0.4
    0.25
    """
    if look.kth <= 0:
        return _UNKNOWN / _AIM
    least = look.kth / max(look.kth - look.lower + look.unseen, look.kth)
    if look.less >= 0 and look.upper > 0:
        gap = look.kth - look.less
        least = min(least, gap / (look.upper - look.lower + gap) if gap > 0 else 0.0)
    return least


@compiled
def next_share(look):  # type: ignore[no-untyped-def]
    """Return to what share of itself the next threshold falls.

    >>> round(next_share(Look(1.0, 0.9, 0.8, 1.1, 0.0)), 6)
    0.175
    """
    return min(max(_AIM * needed(look), _FINER), _COARSER)


@compiled
def foreseen(look, met, before, fall):  # type: ignore[no-untyped-def]
    """Return how many nodes will be met, if thresholds go on to meet as many more as from `before` to `met`.

    `fall` is the share to which the threshold fell meanwhile.

    >>> round(foreseen(Look(1.0, 0.9, 0.8, 1.1, 0.0), 80, 40, 0.5))  # two halvings
    320
    """
    times = np.log(max(needed(look), _LEAST_NEEDED)) / np.log(fall)
    return met * (met / before) ** times


@compiled
def extremes(r, v, hidden):  # type: ignore[no-untyped-def]
    """Return the largest (r + hidden) / v and (hidden - r) / v, both at least 0: what is not touched has r = 0.

    >>> extremes(np.array([2.0, -1.0]), np.array([1.0, 2.0]), np.array([0.5, 0.0]))
    (2.5, 0.5)
    """
    up = down = 0.0
    for i in range(r.size):
        up, down = max(up, (r[i] + hidden[i]) / v[i]), max(down, (hidden[i] - r[i]) / v[i])
    return up, down


@compiled
def cut(x, v, factors, left_out, k, low, high):  # type: ignore[no-untyped-def]
    """Return the k-th largest score, the largest that is less, a lower bound on the first and an upper on the others.

    The third bounds the k best from below, the fourth all other touched nodes from above; scores equal to the k-th that
    are too many for k count among the others. (-1, -1, 0, inf) where fewer than k scores are positive.

    Parameters
    ----------
    x, v, factors : (m,) float64
    left_out : (m,) bool
        Nodes that are not to be listed.

    Examples
    --------
    >>> x, one, none = np.array([3.0, 1.0, 2.0]), np.ones(3), np.zeros(3, bool)
    >>> t, less, lower, upper = cut(x, one, one, none, 1, 0.25, 0.25)
    >>> t, less, round(lower, 6), round(upper, 6)
    (3.0, 2.0, 2.75, 2.25)
    """
    values, positive = np.empty(x.size), 0
    for i in range(x.size):
        values[i] = -1.0 if left_out[i] else max(x[i], 0.0) * factors[i]
        positive += values[i] > 0
    if positive < k:
        return -1.0, -1.0, 0.0, np.inf
    kth = np.partition(values, values.size - k)[values.size - k]
    least, most, less, listed = np.inf, 0.0, -1.0, 0
    for i in range(x.size):
        if values[i] < 0:
            continue
        upper = max(x[i] + abs(x[i]) * _SLOP + high * v[i] * (1 + _SLOP), 0.0) * factors[i] * (1 + _SLOP)
        if values[i] < kth:
            most, less = max(most, upper), max(less, values[i])
            continue
        listed += 1
        if values[i] == kth:
            tie = upper
        lower = (x[i] - abs(x[i]) * _SLOP - low * v[i] * (1 + _SLOP)) * factors[i] * (1 - _SLOP)
        least = min(least, max(lower, 0.0))
    if listed > k:  # one more than k is as good as the k-th
        most, less = max(most, tie), kth
    return kth, less, least, most


@compiled
def beyond(order, weights, components, reached, place):  # type: ignore[no-untyped-def]
    """Return the largest weight of a node in a reached component that is not touched, or what it is at most.

    Parameters
    ----------
    order : (t,) int
        Nodes by descending weight, as many as are looked at.
    weights : (t,) float64
        Theirs; those of all other nodes are no larger than the last.
    components : (n,) int
    reached : (c,) int
    place : (n,) int
        -1 of a node that is not touched.

    Examples
    --------
    >>> of_two = np.array([0, 0, 1])
    >>> beyond(np.array([2, 0, 1]), np.array([5.0, 4.0, 3.0]), of_two, np.array([0]), np.array([0, -1, -1]))
    3.0
    """
    for e in range(order.size):
        if place[order[e]] >= 0:
            continue
        for c in reached:
            if components[order[e]] == c:
                return weights[e]
    return weights[-1]
