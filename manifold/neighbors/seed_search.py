"""How the nearest points of a query are found: the settings, and what "auto" takes.

In: what is asked for, and the points. Out: settings, or None where all points are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

from manifold._checks import check_count
from manifold.neighbors._shortlists import plain_rows
from manifold.neighbors.points import PointSet

WAYS = ("exact", "cells", "walk")
_FEW = 1 << 22  # numbers that an exact search passes over in a millisecond or two


@dataclass(frozen=True)
class SeedSearch:
    """How the nearest points of a query are found, where not all are compared. ``seed_search="cells"`` or ``"walk"``.

    Reference: Jégou et al. (2011), section IV, for cells; Arya and Mount (1993), for walks.

    Parameters
    ----------
    way : {"cells", "walk"}
        Scan the cells around a query, until enough were or all that is wanted is proved; or scan the first, and go on
        along the lists of neighbours and the edges of the graph.
    recall : float
        Share of the nearest that is found: sets `n_probes` and `breadth` so that held-out points find as much, and what
        so few may be off by, nine times in ten.
    n_cells : int, optional
        By default the cells that the points were put into when neighbours were searched for, else sqrt(n).
    n_probes : int, optional
        Cells that are scanned, at most. By default the least of 1, 2, 3, 4, 6, 8, 12, ... that reaches `recall`, or all
        of them where to prove everything takes less than twice as many comparisons.
    breadth : int, optional
        Points that a walk keeps and goes on from.

    Raises
    ------
    TypeError, ValueError
        For settings out of range.

    Examples
    --------
    >>> SeedSearch("walk", n_probes=2).recall
    0.995
    """

    way: str = "cells"
    recall: float = 0.995
    n_cells: int | None = None
    n_probes: int | None = None
    breadth: int | None = None

    def __post_init__(self) -> None:
        if self.way not in WAYS[1:]:
            raise ValueError(f"way must be one of {WAYS[1:]}, got {self.way!r}")
        if not 0 < self.recall <= 1:
            raise ValueError(f"recall must lie in (0, 1], got {self.recall!r}")
        for name in ("n_cells", "n_probes", "breadth"):
            if getattr(self, name) is not None:
                check_count(getattr(self, name), name)
        if self.way == "cells" and self.breadth is not None:
            raise ValueError(f"breadth={self.breadth} is of a walk: choose way='walk', or leave it out")


def choose_seed_search(asked: str | SeedSearch, points: PointSet | None) -> tuple[SeedSearch | None, str]:
    """Return how seeds are searched for, None where exactly, and why.

    "auto" is exact where that takes a millisecond or two, and where only that serves; a walk from cells elsewhere.

    Reference: guide *scale*, "The search for neighbours".

    >>> from manifold.neighbors import point_set
    >>> choose_seed_search("auto", point_set([[1.0, 0.0], [0.0, 1.0]]))
    (None, '2 x 2 numbers are soon compared')
    """
    if isinstance(asked, SeedSearch):
        return asked, "as given"
    if asked not in ("auto", *WAYS):
        raise ValueError(f"seed_search must be 'auto', one of {WAYS} or SeedSearch(...), got {asked!r}")
    if asked != "auto":
        return (None if asked == "exact" else SeedSearch(asked)), "as named"
    if points is None or points.metric == "inner_product":
        return None, "cells need the features, and a distance between them"
    n, d = points.X.shape
    if n * d <= _FEW:
        return None, f"{n:,} x {d:,} numbers are soon compared"
    if not plain_rows(points):
        return None, "the rows of the features are not contiguous, or their norms are extreme"
    return SeedSearch("walk"), f"{n:,} x {d:,} numbers are many for each query"
