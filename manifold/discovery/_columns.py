"""Pools as the columns that trainers of sentence-transformers read, in ids; `Mined.columns` puts the texts in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from manifold._typing import AnyArray, Ints
from manifold.discovery._pool import Pool

Texts: TypeAlias = Sequence[object] | Mapping[object, object] | AnyArray
Columns: TypeAlias = dict[str, list[object]]

FORMATS = ("triplet", "n-tuple", "labeled-pair", "labeled-list")


def columns_of(
    anchors: AnyArray, positives: Pool, negatives: Pool, *, format: str, n: int, rng: np.random.Generator
) -> Columns:
    """Return the columns of one format, ids where texts will stand.

    >>> one = Pool(np.array([4]), np.array([0, 1]), np.ones(1), np.ones(1), np.array([True]))
    >>> columns_of(np.array([7]), one, one, format="labeled-pair", n=1, rng=np.random.default_rng(5))
    {'anchor': [7, 7], 'passage': [4, 4], 'label': [1, 0]}
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {FORMATS}, got {format!r}")
    if format == "labeled-pair":
        owners = np.concatenate([positives.owners, negatives.owners])
        order = np.argsort(owners, kind="stable")
        passages = np.concatenate([positives.ids, negatives.ids])
        label = np.concatenate([np.ones(positives.ids.size, int), np.zeros(negatives.ids.size, int)])
        return {
            "anchor": anchors[owners[order]].tolist(),
            "passage": passages[order].tolist(),
            "label": label[order].tolist(),
        }
    if format == "labeled-list":
        listed = [(positives.of(i).tolist(), negatives.of(i).tolist()) for i in range(anchors.size)]
        return {
            "anchor": anchors.tolist(),
            "passages": [good + bad for good, bad in listed],
            "labels": [[1] * len(good) + [0] * len(bad) for good, bad in listed],
        }
    drawn = _one_of_each(positives, rng)
    if format == "triplet":
        kept = drawn[negatives.owners] >= 0
        owners = negatives.owners[kept]
        return {
            "anchor": anchors[owners].tolist(),
            "positive": positives.ids[drawn[owners]].tolist(),
            "negative": negatives.ids[kept].tolist(),
        }
    full = np.flatnonzero((drawn >= 0) & (negatives.sizes >= n))
    first = negatives.indptr[full]
    return {
        "anchor": anchors[full].tolist(),
        "positive": positives.ids[drawn[full]].tolist(),
        **{f"negative_{j + 1}": negatives.ids[first + j].tolist() for j in range(n)},
    }


def _one_of_each(pool: Pool, rng: np.random.Generator) -> Ints:
    """Return a member of each anchor, by its place in the pool; -1 for anchors without any."""
    sizes = pool.sizes
    drawn = pool.indptr[:-1] + rng.integers(np.maximum(sizes, 1))
    return np.where(sizes > 0, drawn, -1)
