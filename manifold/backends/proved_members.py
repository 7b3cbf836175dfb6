"""Compiled: of which nodes it is proved that they are, or are not, among the k that some seeds reach best.

In: a system, seeds and candidates of many columns. Out: what the walk of each column proves of its candidates. It ends
as soon as all of them are decided: what is far from the cut takes a hundredth of the edges of a list that is proved.
With w = 1 residuals that begin at 0 and above stay there: errors have one sign, and bounds half the width.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from manifold._typing import Floats, Ints
from manifold.backends._compiled import compiled
from manifold.backends.proved_lists import extremes
from manifold.backends.relaxation import MET, WORK, begin, forget, refresh, relax

OPEN, INSIDE, OUTSIDE = range(3)
_FIRST = 1 / 32  # of the largest seed, over its root of degree and 1 / (1 - a): the first threshold
_FALL = 1 / 2
_LEAST = 1e-14  # of the first threshold, from which on rounding is all that is left of a residual
_SLOP = 8 * 2.0**-53  # of the few products and sums of a bound, each rounded once


class Columns(NamedTuple):
    """Seeds and candidates, nodes in the order of S: of column c what stands at ``starts[c]:starts[c + 1]``."""

    seed_starts: Ints
    seeds: Ints
    b: Floats  # > 0
    own: Ints  # (c,) a node that is in no list; -1: none
    starts: Ints
    candidates: Ints  # nodes of the components of the seeds, which hold more than k others


class Terms(NamedTuple):
    """What is the same for all columns."""

    names: Ints  # (n,) of two nodes of one score the smaller name comes first
    order: Ints  # (t,) nodes by falling v, as many as are looked at
    weights: Floats  # (t,) theirs; those of all other nodes are no larger than the last
    a: float
    further: float  # of a residual, how far it lets x + r be wrong, both in units of v: a / (1 - a)
    k: int
    budget: float  # edges of a walk


class Answers(NamedTuple):
    """Of each candidate what is proved, whether it is listed by what is known, and its score; how each walk went."""

    proved: NDArray[np.int8]
    listed: NDArray[np.bool_]
    scores: Floats
    edges: Ints
    residual: Floats  # ||b - A x||_2
    doubt: Floats  # of scores, in units of v


@compiled
def decide(matrix, patch, terms, columns, answers, first, last):  # type: ignore[no-untyped-def]
    """Decide the candidates of columns first..last-1; return how far it came, and 2 or 3 where places ran out."""
    for c in range(first, last):
        code = _walk(matrix, patch, terms, columns, answers, c)
        if code > 0:
            return c, code
    return last, 0


@compiled
def _walk(matrix, patch, terms, columns, answers, c):  # type: ignore[no-untyped-def]
    seeds = slice(columns.seed_starts[c], columns.seed_starts[c + 1])
    if patch.nodes.size < seeds.stop - seeds.start:
        return 2
    forget(patch)
    begin(matrix, patch, columns.seeds[seeds], columns.b[seeds])
    eps = 0.0
    for i in range(patch.counts[MET]):
        eps = max(eps, patch.b[i] / patch.v[i] * (1 - terms.a) * _FIRST)
    least = eps * _LEAST
    while True:
        code = relax(matrix, patch, terms.a, 1.0, eps, eps, terms.budget)
        if code > 1:
            return code
        m, last = patch.counts[MET], code == 1 or eps <= least
        hidden = np.zeros(m)
        if not last:
            high, low = extremes(patch.r[:m], patch.v[:m], hidden)
            last = _look(matrix, patch, terms, columns, answers, c, high * terms.further, low * terms.further) == 0
        if last:  # the residual that was kept has rounded: nothing is proved by it
            refresh(matrix, patch, terms.a, hidden)
            high, low = extremes(patch.r[:m], patch.v[:m], hidden)
            most = norm = 0.0
            for i in range(m):
                most, norm = max(most, hidden[i] / patch.v[i]), norm + patch.r[i] ** 2
            high, low = high * terms.further + most, low * terms.further + most
            n_open = _look(matrix, patch, terms, columns, answers, c, high, low)
            if n_open == 0 or code == 1 or eps <= least:
                answers.edges[c] = patch.counts[WORK]
                answers.residual[c], answers.doubt[c] = np.sqrt(norm), max(high, low)
                return 0
        eps *= _FALL


@compiled
def _look(matrix, patch, terms, columns, answers, c, high, low):  # type: ignore[no-untyped-def]
    """Compare the candidates with the cut, for -low v <= exact - (x + r) <= high v; return how many are undecided."""
    k, m, own, n_open = terms.k, patch.counts[MET], columns.own[c], 0
    lower, upper, best = np.zeros(k), np.zeros(k + 1), np.zeros(k)  # the largest, descending
    high, low = high * (1 + _SLOP), low * (1 + _SLOP)
    for i in range(m):
        if patch.nodes[i] != own:
            score = patch.x[i] + patch.r[i]
            _put(lower, score - abs(score) * _SLOP - low * patch.v[i])
            _put(upper, score + abs(score) * _SLOP + high * patch.v[i])
            _put(best, score)
    seen = 0
    while seen < terms.order.size - 1 and patch.place[terms.order[seen]] >= 0:
        seen += 1
    outside = max(upper[k], high * terms.weights[seen])
    for e in range(columns.starts[c], columns.starts[c + 1]):
        node = columns.candidates[e]
        at, v = np.int64(patch.place[node]), matrix.roots[node]
        score = max(patch.x[at] + patch.r[at], 0.0) if at >= 0 else 0.0
        # of k others it is proved that they are larger; or of all others but k - 1 that they are smaller
        is_out = score * (1 + _SLOP) + high * v < lower[k - 1]
        is_in = score * (1 - _SLOP) - low * v > outside
        answers.proved[e] = OUTSIDE if is_out else INSIDE if is_in else OPEN
        answers.scores[e] = score
        before = 0
        for j in range(m if 0 < score == best[k - 1] else 0):  # of equal ones, those of smaller names come first
            other = patch.x[j] + patch.r[j]
            same = other == score and terms.names[patch.nodes[j]] < terms.names[node]
            before += patch.nodes[j] != own and (other > score or same)
        answers.listed[e] = score > 0 and score >= best[k - 1] and before < k
        n_open += answers.proved[e] == OPEN
    return n_open


@compiled
def _put(best, value):  # type: ignore[no-untyped-def]
    """Put a value among the largest, which stand in descending order."""
    i = best.size - 1
    if value <= best[i]:
        return
    while i > 0 and best[i - 1] < value:
        best[i] = best[i - 1]
        i -= 1
    best[i] = value
