"""Negatives for pairs of a query and a positive: similar to the query, and on neither's manifold.

    N(q) = E(q) \\ {p} \\ M_m(p) \\ M_m(q)        E by falling similarity, M_m the m largest scores of h(S) y

Corpora hold more that is relevant than anyone has labelled. What ranks just behind the positive is mined as a
negative by its similarity alone; here it is left out where the positive, or the query, leads to it along the graph.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from manifold._checks import check_can, check_count
from manifold._progress import Progress, shown
from manifold.discovery._local_reach import serves
from manifold.discovery._looks import SIDES, Known, Looks
from manifold.discovery._mined import Mined
from manifold.discovery._pool import in_order
from manifold.errors import warn
from manifold.ranking import Fitted
from manifold.solvers import report_failures

_ROUNDS = 3  # of solves for what is open: another member may come in for one that proves to belong to a manifold


class Searched(Protocol):
    """A fitted search over items: `manifold.ManifoldSearch`."""

    @property
    def fitted_(self) -> Fitted:
        """What its fit made."""


def mine_negatives(
    search: Searched,
    Q: object,
    positives: object,
    *,
    n: int = 10,
    exclude: int = 20,
    of: str | tuple[str, ...] = SIDES,
    certify: bool = False,
    progress: Progress | bool | None = None,
) -> Mined:
    """Mine hard negatives for (query, positive) pairs that are safe against false ones.

    Of each query the items by falling similarity, but for its positives, the `exclude` items that each positive
    reaches best, and the `exclude` that the query itself does; then the first n.

    Reference: Iscen et al. (2018b), section 3, for whom a manifold leaves out; guide *notation*, "Own methods".

    Parameters
    ----------
    search : ManifoldSearch
        Fitted to the corpus; for texts ``preset="plain-diffusion"`` with ten neighbours, ``edges="union"``, alpha 0.8
        and ten seeds.
    Q : (q, d) array-like
        Queries, in the space of the corpus.
    positives : (q,) ids, or q lists of ids
        What is known to be relevant to each, by the names of the search; one at least. Rows of equal length may be
        padded with the missing marker (-1, or "").
    n : int
        Negatives a query.
    exclude : int
        m. More is safer and less hard: on Cranfield, of 10 negatives, 6 % are false with 10 (at a mean cosine of .50)
        and 4 % with 20 (.49), where skipping the ten first of the ranking leaves 10 % (.50).
    of : ("positive", "query") or one of them
        Whose manifold is left out.
    certify : bool
        Solve on for seeds with members that are not proved, in float64 to the last digits.
    progress : bool or callable(done, total), optional
        Shown the seeds that are solved for.

    Returns
    -------
    Mined
        `anchors` are the places 0..q-1 of the queries; `positives` those given; of `negatives` the weight is the
        largest score of a manifold left out, as exact as `diagnostics` say, and a certificate is a proof that the item
        is in none of them.

    Raises
    ------
    ValueError, TypeError
        For a search without features; another number of positives than of queries; a query without a positive; ids
        that the corpus does not hold.

    Warns
    -----
    ManifoldWarning
        With the number of queries that got fewer than n.

    Notes
    -----
    Cost: one exact search of the queries for their n + (exclude + positives) (1 + positives) nearest items, and a
    column of a solve for each query and each distinct positive, 64 at a time. On graphs of 20,000 nodes and more, up to
    alpha = 0.95, a walk in place of each column, which ends as soon as its candidates are decided: some thousand edges.

    Examples
    --------
    >>> from manifold import ManifoldSearch
    >>> line = np.column_stack([np.ones(8), np.r_[0:4, 5:9] / 9])  # two runs of four items
    >>> search = ManifoldSearch(preset="plain-diffusion", n_neighbors=2, n_seeds=2).fit(line, ids=list("abcdefgh"))
    >>> mined = mine_negatives(search, [[1.0, 0.25]], ["b"], n=2, exclude=3)
    >>> mined.negatives.of(0).tolist()  # the nearest that are not of the first run
    ['e', 'f']
    """
    n, exclude = check_count(n, "n"), check_count(exclude, "exclude")
    sides = (of,) if isinstance(of, str) else tuple(of)
    if not sides or set(sides) - set(SIDES):
        raise ValueError(f"of must be some of {SIDES}, got {of!r}")
    check_can(search, "fitted_", name="search", a="a fitted ManifoldSearch")
    fitted = search.fitted_
    points = fitted.require_points("negatives are looked for among the most similar items")
    queries, _ = points.asked(Q)
    known = Known.read(positives, fitted, queries.X.shape[0])
    most = n + int(known.sizes.max(initial=0)) * (1 + exclude * ("positive" in sides)) + exclude * ("query" in sides)
    near, similarities = fitted.nearest(queries, min(max(most, fitted.settings.n_seeds), fitted.graph.n_nodes))
    looks = Looks.of(known, fitted.seeds(near, similarities), sides=sides)
    near = near[:, :most].astype(np.int64)
    may = known.others(near)
    with shown(progress, "mining") as report:
        if serves(fitted.graph, fitted.settings.filter, fitted.backend):
            from manifold.discovery._local_looks import LocalLooks  # loads the compiler: only where it is asked for

            walks = LocalLooks(looks, fitted, near, may, exclude=exclude, n=n)
            found = walks.found(certify=certify, progress=report)
        else:
            found = looks.through(fitted, near, exclude=exclude, progress=report)
    for left in range(_ROUNDS if certify else 0, -1, -1):
        kept = may & ~looks.of_each_query(np.logical_or, found.inside)
        kept &= np.cumsum(kept, axis=1) <= n
        open_ = np.unique(looks.columns[(kept[looks.queries] & ~found.outside).any(axis=1)])
        if not open_.size or not left:
            break
        found = looks.through(fitted, near, exclude=exclude, only=open_, before=found)
    report_failures(found.report, fitted.settings.on_failure)
    proved = looks.of_each_query(np.logical_and, found.outside)
    weights = looks.of_each_query(np.maximum, found.scores)
    owners, at = np.nonzero(kept)
    columns = weights[kept], similarities[owners, at].astype(np.float64), proved[kept]
    negatives = in_order(owners, fitted.ids.names(near[kept]), n_anchors=len(near), limit=n, columns=columns)
    short = np.flatnonzero(negatives.sizes < n)
    if short.size:
        warn(
            f"{short.size} of {len(near)} queries have fewer than n={n} negatives (first: {short[0]}): the corpus has "
            f"too few items for exclude={exclude}"
        )
    return Mined(np.arange(len(near)), known.pool(fitted), negatives, found.report)
