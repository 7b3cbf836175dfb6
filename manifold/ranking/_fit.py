"""How a fit makes its state: of points, of lists of neighbours, or of a graph made elsewhere.

In: settings, and what there is of a collection. Out: `Fitted`, with its solver prepared.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from manifold._progress import Progress, check_progress
from manifold._resources import give_back
from manifold._typing import Ints
from manifold.backends import Backend
from manifold.graph import Change, Graph, check_graph, followed_graph, lists_of, one_sided_weight, soft_mutual_graph
from manifold.neighbors import Cells, Neighbors, PointSet, find_neighbors
from manifold.ranking._adaptation import NeighborReach, spread_of
from manifold.ranking._collection import Ids
from manifold.ranking._entrance import seed_cells
from manifold.ranking._fitted import Fitted
from manifold.ranking._inputs import check_neighbors
from manifold.ranking._settings import SearchSettings
from manifold.ranking.pooling import Pooling, region_weights
from manifold.ranking.tuning import WIDTH, Tuning, tune

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class Collection:
    """What a fit is given, each part checked: points, lists of neighbours or a graph; of regions, their images."""

    backend: Backend
    home: str = "cpu"
    points: PointSet | None = None
    neighbors: Neighbors | None = None
    graph: Graph | None = None
    images: Ints | None = None

    @property
    def n_nodes(self) -> int:
        """How many points there are; raises ValueError where nothing was given.

        >>> from manifold.backends import get_backend
        >>> Collection(backend=get_backend("scipy"), neighbors=Neighbors([[1], [0]], [[1], [1]], "cosine", "-")).n_nodes
        2
        """
        if self.points is not None:
            return int(self.points.X.shape[0])
        if self.graph is not None:
            check_graph(self.graph)
        given = self.neighbors if self.neighbors is not None else self.graph
        if given is None:
            raise ValueError("fit needs X, neighbors or a graph")
        return given.n_nodes


def fit(settings: SearchSettings, given: Collection, ids: object, *, progress: Progress | bool | None = None) -> Fitted:
    """Return the state that a fit makes: of the graph or the lists that are given, else of a search for neighbours.

    >>> from manifold import graph_from_affinity
    >>> from manifold.backends import get_backend
    >>> from manifold.ranking._settings import search_settings
    >>> pair = Collection(backend=get_backend("scipy"), graph=graph_from_affinity([[0, 1], [1, 0]]))
    >>> fit(search_settings({}), pair, ["a", "b"]).graph.n_edges
    1
    """
    check_progress(progress)
    start = time.process_time()
    n, graph, neighbors = given.n_nodes, given.graph, given.neighbors
    names = Ids(ids, n if given.images is None else int(given.images.max()) + 1)  # wrong ids are met before long work
    if graph is not None:
        check_graph(graph)
        if neighbors is not None or settings.tune:
            raise ValueError("neighbors and tune are for a graph that the fit makes: leave out graph")
        if n != graph.n_nodes:
            raise ValueError(f"X has {n} rows but the graph has {graph.n_nodes} nodes")
        fitted = _of_graph(settings, graph, names, given)
    else:
        if neighbors is not None:
            check_neighbors(neighbors, given.points, settings)
        else:
            neighbors = _found(settings, given, progress)
        fitted = _tuned(settings, neighbors, names, given=given, progress=progress)
    _ = fitted.ranker  # what the solver refuses is refused here
    give_back()
    _LOG.debug("fit of %d nodes took %.3f s of the processor: %s", n, time.process_time() - start, fitted.graph)
    return fitted


def _of_graph(settings: SearchSettings, graph: Graph, names: Ids, given: Collection) -> Fitted:
    """Return the state of a graph made elsewhere, with the lists that lie beside it, if the points are known."""
    points = given.points
    lists = None if points is None else lists_of(graph)
    if lists is not None and lists.metric != settings.affinity.metric:
        lists = None  # near by another metric than queries are
    if lists is not None and lists.n_neighbors >= settings.n_neighbors:
        check_neighbors(lists, points, settings)
        return of_lists(settings, lists, names, given=given)
    return Fitted(
        settings=settings,
        ids=names,
        graph=graph,
        backend=given.backend,
        home=given.home,
        points=points,
        spread=_spread(settings, points),
        pooling=region_pooling(settings, points, given.images, backend=given.backend),
        cells=seed_cells(settings, points, None, graph=graph),
    )


def _found(settings: SearchSettings, given: Collection, progress: Progress | bool | None) -> Neighbors:
    """Search for the neighbours that the settings, or tuning, will look at."""
    points = given.points
    assert points is not None  # neither lists nor a graph
    width = min(WIDTH if settings.tune else settings.width, max(given.n_nodes - 1, settings.n_neighbors))
    return find_neighbors(
        points,
        width,
        method=settings.method,
        metric=points.metric,
        backend=given.backend,
        random_state=settings.random_state,
        progress=progress,
    )


def _tuned(
    settings: SearchSettings,
    neighbors: Neighbors,
    ids: Ids,
    *,
    given: Collection,
    progress: Progress | bool | None,
) -> Fitted:
    """Choose settings where asked to, and make all that a search is of lists of neighbours."""
    tuning = None
    if settings.tune:
        tuning = tune(neighbors, affinity=settings.affinity.kind, backend=given.backend, progress=progress)
        settings = settings.tuned(tuning.setting)
    return of_lists(settings, without_reserve(neighbors, settings), ids, given=given, tuning=tuning)


def of_lists(
    settings: SearchSettings,
    neighbors: Neighbors,
    ids: Ids,
    *,
    given: Collection,
    tuning: Tuning | None = None,
    cells: Cells | None = None,
    before: tuple[Fitted, Ints, Ints] | None = None,
) -> Fitted:
    """Return the state that lists of neighbours make, or a `given` graph and its lists; no solver is prepared yet.

    `cells` in which seeds are looked for are made where there are none, or they are outgrown. Of a state `before` whose
    rows these were, ascending, then -1, and of which some lists are touched, the graph follows where only those have
    changed it.
    """
    lists = without_reserve(neighbors, settings)
    nearest, adaptation = lists.first(settings.n_neighbors), settings.adaptation
    one_sided = 0.0 if adaptation is None else adaptation.one_sided
    one_sided = one_sided_weight(nearest) if one_sided is None else one_sided
    graph = _graph(settings, nearest, one_sided, before) if given.graph is None else given.graph
    return Fitted(
        settings=settings,
        ids=ids,
        graph=graph,
        backend=given.backend,
        home=given.home,
        points=given.points,
        neighbors=neighbors,
        one_sided=one_sided,
        scales=settings.affinity.scales(nearest.similarities) if settings.affinity.is_scaled else None,
        reach=NeighborReach.of(lists, settings.n_neighbors),
        spread=_spread(settings, given.points),
        tuning=tuning,
        pooling=region_pooling(settings, given.points, given.images, backend=given.backend),
        cells=seed_cells(settings, given.points, neighbors, graph=graph, before=cells),
    )


def _graph(
    settings: SearchSettings, nearest: Neighbors, one_sided: float, before: tuple[Fitted, Ints, Ints] | None
) -> Graph:
    s = settings
    if before is None or before[0].neighbors is None:
        return soft_mutual_graph(nearest, affinity=s.affinity, edges=s.edges, bridge=s.bridge, one_sided=one_sided)
    fitted, rows, touched = before
    was = without_reserve(before[0].neighbors, s).first(s.n_neighbors)
    change = Change(was, rows, touched)
    return followed_graph(
        fitted.graph, nearest, change, affinity=s.affinity, edges=s.edges, bridge=s.bridge, one_sided=one_sided
    )


def _spread(settings: SearchSettings, points: PointSet | None) -> float:
    """Return the spread of similarities where lists are ordered by it; 0 where nobody asks, or nothing is known."""
    return spread_of(points) if settings.adaptation is not None and isinstance(points, PointSet) else 0.0


def without_reserve(neighbors: Neighbors, settings: SearchSettings) -> Neighbors:
    """Return lists as wide as the settings look at."""
    return neighbors.first(min(settings.width, max(neighbors.n_nodes - 1, 0)))


def region_pooling(
    settings: SearchSettings, points: PointSet | None, images: Ints | None, *, backend: Backend
) -> Pooling | None:
    """Return how scores of regions become those of images, in a search over regions."""
    regions = settings.regions
    if regions is None or points is None or images is None:
        return None
    weights = region_weights(points, images, pooling=regions.pooling, regularization=regions.regularization)
    return Pooling(images, weights, backend, maximum=regions.pooling == "max")
