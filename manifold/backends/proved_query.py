"""Compiled: one query relaxed to ever smaller thresholds, until the cut into its best k nodes and all others is proved.

In: a system, the workspace where a query was begun, what may be listed. Out: what is proved, and the best nodes. From
the first threshold to the last without the interpreter, so that queries on several threads do not wait for it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manifold._typing import Floats, Ints, Mask
from manifold.backends._compiled import compiled
from manifold.backends.proved_lists import Look, beyond, cut, extremes, foreseen, next_share
from manifold.backends.relaxation import MET, refresh, relax

ROUNDING = 1e-12  # of the first threshold, from which on rounding may be all that is left of a residual
SPENT = 2  # times what rounding hides of a residual, at which relaxing further proves nothing more


class Asked(NamedTuple):
    """Which nodes may be listed, in the order of S, and what bounds those that are not touched."""

    factors: Floats  # (n,) a score is ``factor x``
    order: Ints  # (t,) nodes of the largest ``factor v``, see `beyond`
    weights: Floats
    components: Ints  # (n,)
    reached: Ints  # (c,) those of the seeds
    n_reached: float  # nodes in them
    allowed: Mask  # (n,), or (0,): all
    among: Ints  # the only nodes, where there is `only_these`
    only_these: bool
    left_out: Ints


class Aim(NamedTuple):
    """What a query is asked for, and what it may cost."""

    k: int
    slack: float
    residual: float  # length of r below which a list that is certain is in order, too
    budget: float  # entries of S
    inverse: float  # of the norm of (I - a S)^-1
    most_met: float  # nodes: where more are foreseen to be met, something else goes on


class State(NamedTuple):
    """How far a query has come, and what it knows in the end: what it needs to go on where places ran out."""

    eps: Floats  # (2,) the threshold, and the first
    before: Floats  # (2,) how many nodes the threshold before met, and by what share it has fallen since
    known: Floats  # (7,) `Look`, the doubt, and whether the list is decided


@compiled
def prove(matrix, patch, a, omega, asked, aim, state):  # type: ignore[no-untyped-def]
    """Relax until the list is certain, a tie, or too dear; return 0, or 2 or 3 where places run out (`Relaxation`).

    A tie: what rounding hides is half of the doubt, at least.
    """
    while True:
        eps, code = state.eps[0], 0
        if not eps <= 0:
            code = relax(matrix, patch, a, omega, eps, eps, aim.budget)
            if code > 1:
                return code
        m = patch.counts[MET]
        r, v, hidden = patch.r[:m], patch.v[:m], np.zeros(m)
        high, low = extremes(r, v, hidden)
        high, low, most = high * aim.inverse, low * aim.inverse, 0.0
        seen = look(matrix, patch, asked, aim.k, high, low)
        certain = max(seen.upper, seen.unseen) <= seen.lower * (1 + aim.slack)
        if certain and code == 0 and np.sqrt((r * r).sum()) > aim.residual:
            state.eps[0] = eps / 2
            continue
        ended = decided = False
        if certain or code == 1 or eps <= ROUNDING * state.eps[1]:
            refresh(matrix, patch, a, hidden)
            high, low = extremes(r, v, hidden)
            high, low = high * aim.inverse, low * aim.inverse
            for i in range(m):
                most = max(most, hidden[i] / v[i])
            seen = look(matrix, patch, asked, aim.k, high, low)
            decided = max(seen.upper, seen.unseen) <= seen.lower * (1 + aim.slack)
            decided = decided or max(high, low) <= SPENT * most * aim.inverse
            ended = decided or code == 1 or not eps > 0
        fall = next_share(seen)
        if not ended and state.before[0] > 0:
            ended = foreseen(seen, m, state.before[0], state.before[1]) > aim.most_met
        if ended:
            for i in range(5):
                state.known[i] = seen[i]
            state.known[5], state.known[6] = max(high, low), decided
            return 0
        state.before[0], state.before[1] = m, fall
        state.eps[0] *= fall


@compiled
def look(matrix, patch, asked, k, high, low):  # type: ignore[no-untyped-def]
    """Cut what is touched into the best k and the others."""
    m, n = patch.counts[MET], asked.factors.size
    out, factors, listed = unlisted(patch, asked), np.empty(m), 0
    known = m >= asked.n_reached
    if not known:
        known = True
        for i in range(m):
            known = known and patch.start[i] >= 0  # the rows of all that is touched are open
    for i in range(m):
        factors[i] = asked.factors[patch.nodes[i] % n]
        listed += not out[i]
    unseen = 0.0
    if asked.only_these:
        for node in asked.among:
            if patch.place[node] < 0 and not known:
                unseen = max(unseen, matrix.roots[node] * asked.factors[node])
        unseen *= high
        if asked.among.size <= k:  # all of them are listed: nothing is to be proved
            return Look(0.0, -1.0, 0.0, 0.0, 0.0)
    elif known:
        k = min(k, listed)
        if not k:
            return Look(0.0, -1.0, np.inf, 0.0, unseen)
    else:
        unseen = high * beyond(asked.order, asked.weights, asked.components, asked.reached, patch.place)
    kth, less, lower, upper = cut(patch.x[:m], patch.v[:m], factors, out, k, low, high)
    return Look(kth, less, lower, upper, unseen)


@compiled
def unlisted(patch, asked):  # type: ignore[no-untyped-def]
    """Return which of the touched nodes (m,) are not to be listed."""
    m, n, place = patch.counts[MET], asked.factors.size, patch.place
    out = np.empty(m, np.bool_)
    for i in range(m):
        node = patch.nodes[i]
        out[i] = node >= n or asked.only_these or (asked.allowed.size > 0 and not asked.allowed[node])
    for node in asked.among:
        if place[node] >= 0:
            out[place[node]] = False
    for node in asked.left_out:
        if place[node] >= 0:
            out[place[node]] = True
    return out


@compiled
def taken(patch, asked, names, k):  # type: ignore[no-untyped-def]
    """Return the k nodes of the largest scores > 0, in no order, with all that equal the last, and these scores.

    And the nodes where x is not 0, and x. Nodes are called by `names` (n,), those of the graph; (0,): by their places.
    """
    m, n, few, n_moved = patch.counts[MET], asked.factors.size, 0, 0
    out, rows, scores = unlisted(patch, asked), np.empty(m, np.int64), np.empty(m)
    moved, x = np.empty(m, np.int64), np.empty(m)
    for i in range(m):
        node, at = patch.nodes[i], patch.x[i]
        if node >= n or at == 0:
            continue
        name = np.int64(names[node]) if names.size else node
        moved[n_moved], x[n_moved] = name, at
        n_moved += 1
        if not out[i] and at > 0:
            rows[few], scores[few] = name, at * asked.factors[node]
            few += 1
    if few > k:
        kth, kept = np.partition(scores[:few], few - k)[few - k], 0
        for i in range(few):
            if scores[i] >= kth:
                rows[kept], scores[kept] = rows[i], scores[i]
                kept += 1
        few = kept
    return rows[:few], scores[:few], moved[:n_moved], x[:n_moved]
