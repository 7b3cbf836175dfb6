"""Hubs, items that are near to every query, held back by what a bank of queries says of them.

s'_i = s_i - o_i        o_i = log(mean over the queries b of a bank of exp(beta s_bi)) / beta
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from manifold._arrays import as_array, as_numbers
from manifold._checks import check_count
from manifold._resources import require_memory
from manifold._typing import Floats
from manifold.reranking._lists import Lists, check_lists


def hub_offsets(ids: ArrayLike, similarities: ArrayLike, *, n_items: int, beta: float = 20.0) -> Floats:
    """Return how near each item is to all queries of a bank: the log of its normaliser in an inverted softmax.

    ``o_i = log(mean over b of exp(beta s_bi)) / beta``; `remove_hubs` takes it off.

    Reference: Bogolin et al. (2022), section 3.

    Parameters
    ----------
    ids, similarities : (b, m)
        Lists of a bank of queries that stand for those to come (training queries, say), best first; -1 pads. An item
        that is not listed counts as near as the last that is; with m = n_items the offsets are exact.
    n_items : int
        Items of the collection.
    beta : float
        > 0, the inverse temperature; 20 for cosine similarities.

    Returns
    -------
    (n_items,) float64

    Raises
    ------
    ValueError, TypeError
        For lists that do not descend or leave the collection, a bank without any, a beta that is not positive.
    MemoryBudgetError
        Where the work on the lists would not fit.

    Notes
    -----
    Cost: b m exponentials; memory 56 bytes an entry of the lists, and 16 an item.

    Examples
    --------
    >>> hub_offsets([[0, 1], [0, 1]], [[0.9, 0.1], [0.8, 0.1]], n_items=2).round(3).tolist()
    [0.872, 0.1]
    """
    if not (np.isfinite(beta) and beta > 0):
        raise ValueError(f"beta must be a positive number, got {beta!r}")
    rows, values = check_lists(ids, similarities, check_count(n_items, "n_items"))
    _require(rows.size, n_items)
    valid = rows >= 0
    if not valid.any():
        raise ValueError("the bank holds no list: give the neighbours of at least one query")
    top = values[valid].max()
    powers = np.where(valid, np.exp(beta * (np.where(valid, values, top) - top)), np.inf)
    last = powers.min(axis=1, initial=np.inf)
    last = np.where(np.isfinite(last), last, 0)
    above = np.bincount(rows[valid], weights=(powers - last[:, None])[valid], minlength=n_items)
    total = np.maximum(above + last.sum(), np.finfo(np.float64).tiny)
    return np.asarray(top + np.log(total / rows.shape[0]) / beta)


def remove_hubs(ids: ArrayLike, similarities: ArrayLike, *, offsets: ArrayLike, hubs: ArrayLike | None = None) -> Lists:
    """Rerank lists by similarity less the offset of each item: the ranks of querybank normalisation.

    ``s'_i = s_i - o_i``, the logarithm of the inverted softmax ``exp(beta s_i) / sum_b exp(beta s_bi)`` over beta.

    Reference: Bogolin et al. (2022), section 3.

    Parameters
    ----------
    ids, similarities : (q, m)
        Lists, best first; -1 pads.
    offsets : (n,)
        What `hub_offsets` returned.
    hubs : (n,) bool, optional
        Only queries whose first item is one of these are reranked (the *dynamic* inverted softmax, for which they are
        the items that are first for some query of the bank); all queries by default.

    Returns
    -------
    ids, scores : (q, m)
        Best first; -1 and ``-inf`` last. Scores of queries left alone are their similarities.

    Raises
    ------
    ValueError, TypeError
        For lists that do not descend, offsets that are not finite or not one an item, hubs that are no such mask.
    MemoryBudgetError
        Where the work on the lists would not fit.

    Notes
    -----
    Cost: a sort of each row; memory 56 bytes an entry of the lists.

    Examples
    --------
    >>> remove_hubs([[0, 1]], [[0.7, 0.6]], offsets=[0.5, 0.1])[0].tolist()
    [[1, 0]]
    """
    o = as_numbers(offsets, "offsets")
    if o.ndim != 1 or not np.isfinite(o).all():
        raise ValueError(f"offsets must be finite, one an item (n,), got shape {o.shape}")
    rows, values = check_lists(ids, similarities, o.size)
    _require(rows.size, o.size)
    held = values - np.where(rows >= 0, o[rows], 0)
    if hubs is not None:
        marked = as_array(hubs, "hubs")
        if marked.shape != o.shape or marked.dtype != bool:
            raise ValueError(f"hubs must be a mask {o.shape} of booleans, got {marked.dtype} {marked.shape}")
        held = np.where((marked[rows[:, :1]] & (rows[:, :1] >= 0)), held, values)
    order = np.lexsort((np.where(rows >= 0, rows, o.size), -held))
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(held, order, axis=1)


def _require(n_entries: int, n_items: int) -> None:
    needed = 56 * n_entries + 16 * n_items
    require_memory(needed, purpose=f"{n_entries} entries of lists", cure="give shorter lists, or some at a time")
