"""What mining answers: anchors with a pool of positives and a pool of negatives each, and their way to a trainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from manifold._checks import check_count, generator
from manifold._typing import AnyArray, Ints, RandomState
from manifold.discovery._columns import Texts, columns_of
from manifold.discovery._pool import Pool
from manifold.solvers import Solution


@dataclass(frozen=True, eq=False)
class Mined:
    """Anchors with their pools of positives and negatives.

    Reference: Iscen et al. (2018b), section 3.

    Attributes
    ----------
    anchors : (a,)
        Nodes of a graph, or the places 0..a-1 of queries.
    positives, negatives : Pool
        What belongs to each anchor, and what does not.
    diagnostics : Solution
        The verdict on each column that was solved; no scores.

    Examples
    --------
    >>> one = Pool(np.array([4]), np.array([0, 1]), np.ones(1), np.ones(1), np.array([True]))
    >>> nothing = Solution(np.empty(0), (), np.empty(0, int), np.empty(0), np.empty(0))
    >>> mined = Mined(np.array([7]), one, one, nothing)
    >>> mined
    Mined: 1 anchors, 0 with an empty pool, 1 positives (100% certified), 1 negatives (100% certified)
    """

    anchors: AnyArray
    positives: Pool
    negatives: Pool
    diagnostics: Solution

    def __len__(self) -> int:
        return self.anchors.size

    def __repr__(self) -> str:
        told = (
            f"{pool.ids.size:,} {name} ({pool.certified.mean() if pool.ids.size else 0.0:.0%} certified)"
            for pool, name in ((self.positives, "positives"), (self.negatives, "negatives"))
        )
        return f"Mined: {len(self):,} anchors, {self.empty.size:,} with an empty pool, {', '.join(told)}"

    @property
    def empty(self) -> Ints:
        """Places of the anchors without a positive or without a negative: they are in no triplet.

        >>> one = Pool(np.array([4]), np.array([0, 1]), np.ones(1), np.ones(1), np.array([True]))
        >>> nothing = Solution(np.empty(0), (), np.empty(0, int), np.empty(0), np.empty(0))
        >>> Mined(np.array([7]), one, one.only(np.array([False])), nothing).empty.tolist()
        [0]
        """
        return np.flatnonzero((self.positives.sizes == 0) | (self.negatives.sizes == 0))

    def certified(self) -> Mined:
        """Return the members alone that are proved.

        >>> two = Pool(np.array([4, 5]), np.array([0, 2]), np.ones(2), np.ones(2), np.array([True, False]))
        >>> nothing = Solution(np.empty(0), (), np.empty(0, int), np.empty(0), np.empty(0))
        >>> Mined(np.array([7]), two, two, nothing).certified().negatives.ids.tolist()
        [4]
        """
        positives, negatives = (pool.only(pool.certified) for pool in (self.positives, self.negatives))
        return Mined(self.anchors, positives, negatives, self.diagnostics)

    def pairs(self, n: int = 1, rng: RandomState = None) -> AnyArray:
        """Return (m, 2) anchors and positives: of each anchor n of its pool drawn at random, all where it has fewer.

        >>> two = Pool(np.array([4, 5]), np.array([0, 2]), np.ones(2), np.ones(2), np.array([True, False]))
        >>> nothing = Solution(np.empty(0), (), np.empty(0, int), np.empty(0), np.empty(0))
        >>> Mined(np.array([7]), two, two, nothing).pairs(5, rng=3).tolist()
        [[7, 4], [7, 5]]
        """
        n, rng = check_count(n, "n"), generator(rng, "rng")
        pool = self.positives
        order = np.lexsort((rng.random(pool.ids.size), pool.owners))
        place = np.arange(order.size) - pool.indptr[pool.owners]
        drawn = np.sort(order[place < n])  # a pool's best first, as they stand
        return np.column_stack([self.anchors[pool.owners[drawn]], pool.ids[drawn]])

    def triplets(self, n: int = 1, rng: RandomState = None) -> AnyArray:
        """Return (m, 3) anchor, positive, negative: n a anchor with both pools, each drawn uniformly.

        >>> two = Pool(np.array([4, 5]), np.array([0, 2]), np.ones(2), np.ones(2), np.array([True, False]))
        >>> nothing = Solution(np.empty(0), (), np.empty(0, int), np.empty(0), np.empty(0))
        >>> Mined(np.array([7]), two.only(two.certified), two, nothing).triplets(2, rng=5).tolist()
        [[7, 4, 5], [7, 4, 5]]
        """
        n, rng = check_count(n, "n"), generator(rng, "rng")
        able = np.repeat(np.setdiff1d(np.arange(len(self)), self.empty), n)
        sides = [
            pool.ids[pool.indptr[able] + rng.integers(pool.sizes[able])] for pool in (self.positives, self.negatives)
        ]
        return np.column_stack([self.anchors[able], *sides])

    def columns(
        self,
        texts: Texts,
        anchors: Texts | None = None,
        *,
        format: str = "triplet",
        n: int = 1,
        rng: RandomState = None,
    ) -> dict[str, list[object]]:
        """Return columns that trainers of embeddings read, such as ``datasets.Dataset.from_dict``.

        Parameters
        ----------
        texts : sequence or mapping
            What each id stands for: texts, images, file names.
        anchors : sequence or mapping, optional
            The same for anchors, where these are queries; by default `texts`.
        format : {"triplet", "n-tuple", "labeled-pair", "labeled-list"}
            The four formats of sentence-transformers: one row a negative (anchor, positive, negative); one an anchor
            and positive with `n` negatives (negative_1, ...), anchors with fewer left out; one a pair (anchor,
            passage, label); one an anchor (anchor, passages, labels).
        n : int
            Negatives of each row of an "n-tuple".
        rng
            For the positive of each row, drawn from those of its anchor.

        Raises
        ------
        ValueError, LookupError
            For an unknown format; for ids that `texts` does not hold.

        Examples
        --------
        >>> two = Pool(np.array([1, 2]), np.array([0, 2]), np.ones(2), np.ones(2), np.array([True, False]))
        >>> nothing = Solution(np.empty(0), (), np.empty(0, int), np.empty(0), np.empty(0))
        >>> mined = Mined(np.array([0]), two.only(two.certified), two.only(~two.certified), nothing)
        >>> mined.columns(["a bee", "a wasp", "a bean"])
        {'anchor': ['a bee'], 'positive': ['a wasp'], 'negative': ['a bean']}
        """
        named = texts if anchors is None else anchors
        rows = columns_of(self.anchors, self.positives, self.negatives, format=format, n=n, rng=generator(rng, "rng"))
        return {
            name: [_text(named if name == "anchor" else texts, value, name) for value in values]
            for name, values in rows.items()
        }


def _text(texts: Texts, value: Any, name: str) -> object:
    if name in ("label", "labels"):
        return value
    if isinstance(value, list):
        return [texts[one] for one in value]
    return texts[value]
