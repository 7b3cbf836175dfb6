"""Why an item has its score: the seeds, the walks and the neighbours that carry it, as parts that add up to it.

F_i  = sum over seeds j of y_j K_ij,   K = h(S)           by seeds
K_ij = sum over walks from j to i of (1 - a) a^t S..S      by walks of t steps: the Neumann series of h
F_i  = (1 - a) y_i + a sum over neighbours j of S_ij F_j   by neighbours: the last step of the walk
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

from manifold._checks import check_count
from manifold._typing import AnyArray, Floats, Ints
from manifold.backends import get_backend, on_host
from manifold.filters import Diffusion, Filter, RegularizedDiffusion
from manifold.index import of_nodes
from manifold.index.entries import entry_bounds
from manifold.ranking._fitted import Fitted
from manifold.ranking._inputs import same_place
from manifold.ranking._shortlists import Shortlists
from manifold.ranking.search import ManifoldSearch
from manifold.ranking.seeds import unit_seeds
from manifold.solvers import ConjugateGradient, report_failures

_RTOL = 1e-11  # parts are to add up to the score


@dataclass(frozen=True)
class Path:
    """The strongest walk from one seed to the item, one of very many.

    Reference: guide *explore*, "Why does this item rank high?".

    Attributes
    ----------
    nodes : tuple of ids
        From the seed to the item.
    weight : float
        What it adds to the score: ``y_j (1 - a) a^t S..S``.
    share : float
        Of the score.

    >>> print(Path(nodes=("query's seed", "item"), weight=0.2, share=0.4).nodes[-1])
    item
    """

    nodes: tuple[object, ...]
    weight: float
    share: float

    def __str__(self) -> str:
        return " > ".join(map(str, self.nodes)) + f"  ({100 * self.share:.2g} %)"


@dataclass(frozen=True, eq=False)
class Explanation:
    """What carries the score of one item for one query; external ids throughout.

    Reference: guide *explore*, "Why does this item rank high?".

    Attributes
    ----------
    item : id
    score : float
        The exact score, as `Ranking.scores` gives it to the tolerance of its solver.
    seeds : (m,) ids
        Where the query entered, by what they contribute.
    weights : (m,) float64
        y_j, the weight of each seed.
    contributions : (m,) float64
        y_j K_ij, which add up to the score.
    stored : (m, 2) float64, optional
        What the stored columns of an index alone say of each contribution: no less, and no more.
    neighbors : (d,) ids
        Of the item in the graph, by what comes from them.
    flows : (d,) float64
        a S_ij F_j, what the last step of the walk brings from each.
    own : float
        (1 - a) y_i, what the item has as a seed: own and flows add up to the score.
    paths : tuple of Path
        The strongest walk from each of the seeds that reach the item, strongest first.

    Examples
    --------
    >>> from manifold import ManifoldSearch
    >>> X = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]]
    >>> search = ManifoldSearch(n_neighbors=1, alpha=0.5, n_seeds=2).fit(X)
    >>> made = explain(search, [1.0, 0.0], 1)
    >>> bool(abs(made.contributions.sum() - made.score) < 1e-6)
    True
    """

    item: object
    score: float
    seeds: AnyArray
    weights: Floats
    contributions: Floats
    stored: Floats | None
    neighbors: AnyArray
    flows: Floats
    own: float
    paths: tuple[Path, ...]

    def __str__(self) -> str:
        if not self.score:
            return f"{self.item}: score 0, no walk from the seeds reaches it"
        whole = 100 / self.score
        lines = [f"{self.item}: score {self.score:.4g}"]
        lines += _table("seeds", self.seeds, whole * self.contributions)
        lines += _table("last step", self.neighbors, whole * self.flows)
        if self.own:
            lines.append(f"own       {whole * self.own:.3g} % as a seed")
        return "\n".join(lines + [f"path      {path}" for path in self.paths[:3]])


def explain(search: ManifoldSearch, query: ArrayLike, item: object, *, n_paths: int = 5) -> Explanation:
    """Explain the score of an item for a query: by seeds, by neighbours, and by the strongest walks.

    Reference: guide *explore*, "Why does this item rank high?".

    Parameters
    ----------
    search : ManifoldSearch
        A fitted one, with `Diffusion` or `RegularizedDiffusion` for a filter.
    query : (d,) features, an id, or a pair (ids, similarities)
        As for its `search`, `similar` and `rerank`, one query.
    item : id
        An item of the collection.
    n_paths : int
        Paths to return at most, one a seed.

    Returns
    -------
    Explanation
        With a degree exponent, every part is divided by degree^p as the score is.

    Raises
    ------
    TypeError, ValueError
        For another filter, a query of a wrong shape, or an id that is not in the collection.

    Notes
    -----
    Since K is symmetric, one solve from the item, K e_i, holds the share of every seed, and one from the seeds that of
    every neighbour: two columns, in float64. A path is a shortest one for the length -log(a S_ij), over the whole
    graph; walks of `RegularizedDiffusion` have an even number of steps. Its share is small, for there are very many
    like it. What an `Adaptation` adds to the order of a list is no part of a score, and is not explained.

    Examples
    --------
    >>> from manifold import ManifoldSearch
    >>> X = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]]
    >>> search = ManifoldSearch(preset="plain-diffusion", n_neighbors=1, alpha=0.5, n_seeds=1).fit(X)
    >>> print(explain(search, [1.0, 0.0], 1))
    1: score 0.3333
    seeds     0: 100 %
    last step 0: 100 %
    path      0 > 1  (75 %)
    """
    if not isinstance(search, ManifoldSearch):
        raise TypeError(f"search must be a ManifoldSearch, got {type(search).__name__}")
    fitted = search.fitted_  # what joins or leaves meanwhile changes nothing here
    row = fitted.ids.rows(item)
    if row.ndim or row < 0:
        raise ValueError(f"item must be one id of the collection, got {item!r}")
    seeds = _seeds_of(fitted, query)
    return _explained(fitted, seeds, int(row), check_count(n_paths, "n_paths"))


def _seeds_of(fitted: Fitted, query: ArrayLike) -> sparse.csc_array:
    """Return y (n, 1) for features, an id, or a shortlist."""
    n = fitted.graph.n_nodes
    if isinstance(query, tuple) and len(query) == 2 and np.ndim(query[0]) == 1:
        ids, similarities = query
        lists = Shortlists.read(fitted, ids, similarities)
        return fitted.seeds(lists.rows, lists.similarities)
    if np.ndim(query) == 0:
        own = fitted.ids.rows(query)
        if own < 0:
            raise ValueError(f"query must name an item of the collection, got {query!r}")
        return unit_seeds(own[None], n)
    points = fitted.require_points("pass an id, or (ids, similarities)")
    here = on_host(same_place(query, fitted.home), fitted.backend)
    asked, single = points.asked(here, "query")
    if not single:
        raise ValueError(f"query must be one, of shape (d,), got {asked.X.shape}: explain them one by one")
    return fitted.seeds(*fitted.entering(asked, min(fitted.settings.n_seeds, n)))


def _explained(fitted: Fitted, seeds: sparse.csc_array, item: int, n_paths: int) -> Explanation:
    ranker, graph, name = fitted.ranker, fitted.graph, fitted.ids.names
    a, stride = series(ranker.filter)
    factor = float(graph.scale(ranker.degree_exponent)[item])
    nodes, y = seeds.indices.astype(np.int64), seeds.data.astype(np.float64)
    S, from_item, from_seeds = _solved(fitted, seeds, item)
    parts = factor * y * from_item[nodes]
    for _ in range(stride - 1):  # the walk is one of double steps: what is there half a step before the last
        from_seeds = S @ from_seeds
    around = slice(S.indptr[item], S.indptr[item + 1])
    near = S.indices[around].astype(np.int64)
    flows = factor * a * S.data[around] * from_seeds[near]
    order, by_flow = (np.argsort(-x, kind="stable") for x in (parts, flows))
    stored = None
    if of_nodes(ranker.prepared):
        bounds = np.stack(entry_bounds(ranker.prepared, np.array([item]), nodes), axis=-1)[0]
        stored = (factor * y[:, None] * bounds)[order]
    found = strongest_paths(S, item, nodes, a=a, stride=stride)
    score = float(parts.sum())
    weighted = [(factor * y[j] * (1 - a) * strength, walk) for j, (strength, walk) in enumerate(found) if walk]
    paths = [Path(tuple(name(np.array(walk)).tolist()), w, w / score) for w, walk in weighted if w > 0]
    return Explanation(
        item=name(np.array([item])).tolist()[0], score=score, seeds=name(nodes[order]), weights=y[order],
        contributions=parts[order], stored=stored, neighbors=name(near[by_flow]), flows=flows[by_flow],
        own=factor * (1 - a) * float(y[nodes == item].sum()),
        paths=tuple(sorted(paths, key=lambda path: -path.weight)[:n_paths]),
    )  # fmt: skip


def series(filter: Filter) -> tuple[float, int]:
    """Return a and r of a filter that is the geometric series (1 - a) sum of a^t x^(r t); raise ValueError for others.

    >>> series(Diffusion(0.9)), series(RegularizedDiffusion(0.9))
    ((0.9, 1), (0.9, 2))
    """
    if isinstance(filter, Diffusion | RegularizedDiffusion):
        return float(filter.alpha), 2 if isinstance(filter, RegularizedDiffusion) else 1
    raise ValueError(f"explain needs Diffusion or RegularizedDiffusion, whose walks can be counted, got {filter}")


def strongest_paths(
    S: sparse.csr_array, item: int, nodes: Ints, *, a: float, stride: int = 1
) -> list[tuple[float, tuple[int, ...]]]:
    """Return of each node the walk to the item with the largest product of a S over its steps, and that product.

    With a stride of 2 walks have an even number of steps, of sqrt(a) S each. No walk: 0 and an empty one.

    >>> path = sparse.csr_array(np.array([[0, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0]]))
    >>> strongest_paths(path, 2, np.array([0]), a=0.5)
    [(0.0625, (0, 1, 2))]
    """
    n = S.shape[0]
    steps = sparse.csr_array(S, dtype=np.float64, copy=True)
    with np.errstate(divide="ignore"):  # a step of weight 0 has infinite length, and is never taken
        steps.data = -np.log(a ** (1 / stride) * steps.data)
    if stride == 2:  # two copies of the graph, each step from one to the other: back in the first after an even number
        steps = sparse.block_array([[None, steps], [steps, None]], format="csr")
    lengths, before = dijkstra(steps, indices=item, return_predecessors=True)
    found = []
    for node in nodes.tolist():
        walk, at = [], node
        while np.isfinite(lengths[node]) and at >= 0:
            walk.append(int(at) % n)
            at = before[at]
        strength = float(np.prod([a ** (1 / stride) * S[i, j] for i, j in pairwise(walk)]))
        found.append((strength if walk else 0.0, tuple(walk)))
    return found


def _solved(fitted: Fitted, seeds: sparse.csc_array, item: int) -> tuple[sparse.csr_array, Floats, Floats]:
    """Return S in float64, h(S) e_item and h(S) y."""
    graph = fitted.graph.astype(np.float64)
    prepared = ConjugateGradient(rtol=_RTOL).prepare(graph, fitted.settings.filter, get_backend("scipy"))
    solution = prepared.solve(sparse.hstack([unit_seeds(np.array([item]), graph.n_nodes), seeds], format="csc"))
    report_failures(solution, fitted.settings.on_failure)
    scores = np.maximum(solution.scores, 0)  # exact ones are not negative
    return prepared.system.host, scores[:, 0], scores[:, 1]


def _table(name: str, ids: AnyArray, shares: Floats) -> list[str]:
    """Return a line with the first few shares."""
    if not ids.size:
        return []
    shown = [f"{i}: {share:.3g} %" for i, share in zip(ids[:5].tolist(), shares[:5], strict=True)]
    rest = [f"{ids.size - 5} more: {shares[5:].sum():.3g} %"] if ids.size > 5 else []
    return [f"{name:<9} " + ", ".join(shown + rest)]
