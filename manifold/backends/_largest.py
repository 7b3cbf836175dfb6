"""The largest entries of columns that lie side by side, compiled: 16 of each node in, a list of each column out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manifold._typing import AnyArray, Floats, Ints
from manifold.backends._compiled import compiled
from manifold.backends._lanes import exceeds, fma, load, zeros

LANES = 16  # columns side by side
_LARGE = 1e300
_NEARLY = 1 - 1e-9  # looked at more closely than 1


class Largest(NamedTuple):
    """The largest entries of some columns, and what is known of the others."""

    ids: Ints  # (q, k) ascending; where fewer nodes were touched, the first others with them
    values: Floats  # (q, k), 0 of those others
    n_found: Ints  # (q,) how many were touched
    n_labelled: Ints  # (q,) how many of the same label were touched
    beyond: Floats  # (q,) what no touched entry that is left out exceeds
    widest: Floats  # (q,) the largest v of those found


def largest_of_columns(x: Floats, v: Floats, nodes: Ints, *, k: int, near: AnyArray, least: Floats) -> Largest:
    """Return the k largest entries of each column, cut at 0, among the nodes of its own label.

    Parameters
    ----------
    x : (16 m,) float64
        Finite.
    v : (m,) float64
    nodes : (m,) int
        Their names; those of the columns first.
    near : (m,) int
        Their labels.
    least : (q,) float64
        Entries below `least` are passed over where k others are above.

    Examples
    --------
    >>> x = np.zeros(48)
    >>> x[::16] = 0.5, 0.1, 0.3
    >>> found = largest_of_columns(
    ...     x, np.ones(3), np.array([7, 8, 4]), k=2, near=np.zeros(3), least=np.zeros(1)
    ... )
    >>> found.ids.tolist(), found.values.tolist(), found.beyond.tolist()
    ([[4, 7]], [[0.3, 0.5]], [0.1])
    """
    q, limits = least.size, np.zeros(LANES)
    places, values, facts = np.zeros((q, k), np.int64), np.zeros((q, k)), np.zeros((2, q))
    n_found, n_labelled = np.zeros(q, np.int64), np.full(q, nodes.size)
    if (near != near[0]).any():
        n_labelled = np.array([np.count_nonzero(near == own) for own in near[:q]])
    limits[:q] = 1 / np.maximum(least, 1 / _LARGE)
    _cut(x, v, near, limits, least, n_labelled, places, values, n_found, facts)
    ids = nodes[places]
    for c in np.flatnonzero(n_found < k):
        ids[c, n_found[c] :] = np.setdiff1d(np.arange(k), ids[c, : n_found[c]])[: k - n_found[c]]
    order = np.argsort(ids, axis=1)
    ids, values = np.take_along_axis(ids, order, axis=1), np.take_along_axis(values, order, axis=1)
    return Largest(ids, values, n_found, n_labelled, facts[0], facts[1])


@compiled
def _cut(x, v, near, limits, least, n_labelled, places, values, n_found, facts):  # type: ignore[no-untyped-def]
    q, k = places.shape
    every, m = np.arange(v.size), 0
    some, limit = np.empty_like(every), load(limits, 0, LANES, LANES, False)
    for i in every:  # where any column is near its least, by one look at all of them
        here = load(x, LANES * i, LANES, LANES, False)
        if exceeds(fma(limit, here, zeros(here)), _NEARLY):
            some[m] = i
            m += 1
    for c in range(q):
        passed_over = least[c]
        at, entries = _above(x, some[:m], near, c, passed_over)
        if at.size <= k and at.size < n_labelled[c]:  # too many were passed over
            passed_over = 0.0
            at, entries = _above(x, every, near, c, -np.inf)
        n_found[c] = min(k, at.size)
        beyond = _pick(entries, at, places[c], values[c])
        facts[0, c] = max(passed_over, beyond) if at.size > k else 0.0
        for i in places[c, : n_found[c]]:
            facts[1, c] = max(facts[1, c], v[i])


@compiled
def _above(x, places, near, c, least):  # type: ignore[no-untyped-def]
    """Return the places of the label of column c whose entries are not below `least`, and those entries, cut at 0."""
    at, entries, m = np.empty(places.size, np.int64), np.empty(places.size), 0
    for i in places:
        entry = x[LANES * i + c]
        if entry >= least and near[i] == near[c]:
            at[m], entries[m] = i, max(entry, 0.0)
            m += 1
    return at[:m], entries[:m]


@compiled
def _pick(entries, at, places, values):  # type: ignore[no-untyped-def]
    """Write down the k largest entries, equal ones as they stand, and return the largest that is left out."""
    k, taken, beyond = places.size, 0, 0.0
    kth = -1.0 if entries.size <= k else _but(entries.copy(), k - 1)
    for i in range(entries.size):
        if entries[i] > kth:
            places[taken], values[taken] = at[i], entries[i]
            taken += 1
    for i in range(entries.size):
        if entries[i] == kth and taken < k:
            places[taken], values[taken] = at[i], entries[i]
            taken += 1
        elif entries[i] <= kth:
            beyond = max(beyond, entries[i])
    return beyond


@compiled
def _but(entries, k):  # type: ignore[no-untyped-def]
    """Return the entry that k others come before, by quickselect in place: NumPy's takes seconds to compile."""
    low, high = 0, entries.size - 1
    while low < high:
        pivot, i, j = entries[(low + high) // 2], low, high
        while i <= j:
            while entries[i] > pivot:
                i += 1
            while entries[j] < pivot:
                j -= 1
            if i <= j:
                entries[i], entries[j] = entries[j], entries[i]
                i, j = i + 1, j - 1
        if j < k < i:
            break
        if k <= j:
            high = j
        else:
            low = i
    return entries[k]
