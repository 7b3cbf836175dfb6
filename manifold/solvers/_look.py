"""What a query sees when it looks at what is touched: a cut, and how far the doubt has still to fall.

In: bounds on the list and on all others. Out: the next threshold, and how much of the graph it will come to.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

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

    @property
    def outside(self) -> float:
        """An upper bound on all that is not in the list."""
        return max(self.upper, self.unseen)

    def needed(self) -> float:
        """Return to what share of itself the doubt should fall for the cut to be certain, if scores stayed."""
        if self.kth <= 0:
            return _UNKNOWN / _AIM
        least = self.kth / max(self.kth - self.lower + self.unseen, self.kth)
        if self.less >= 0 and self.upper > 0:
            gap = self.kth - self.less
            least = min(least, gap / (self.upper - self.lower + gap) if gap > 0 else 0.0)
        return least

    def share(self) -> float:
        """Return to what share of itself the next threshold falls."""
        return min(max(_AIM * self.needed(), _FINER), _COARSER)

    def foreseen(self, met: int, before: int, fall: float) -> float:
        """Return how many nodes will be met, if thresholds go on to meet as many more as from `before` to `met`.

        `fall` is the share to which the threshold fell meanwhile.

        >>> round(Look(1.0, 0.9, 0.8, 1.1, 0.0).foreseen(80, 40, 0.5))  # gap 0.1 of 0.4: two halvings
        320
        """
        times = np.log(max(self.needed(), _LEAST_NEEDED)) / np.log(fall)
        return float(met * (met / before) ** times)
