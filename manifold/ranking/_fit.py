"""How a fit makes its state: of points, of lists of neighbours, or of a graph made elsewhere.

In: settings, and what there is of a collection. Out: `Fitted`, with its solver prepared.
"""

from __future__ import annotations

from manifold._progress import Progress
from manifold._typing import Ints
from manifold.backends import Backend
from manifold.graph import Graph, one_sided_weight, soft_mutual_graph
from manifold.neighbors import Neighbors, PointSet, find_neighbors
from manifold.ranking._adaptation import NeighborReach
from manifold.ranking._collection import Ids
from manifold.ranking._fitted import Fitted
from manifold.ranking._settings import SearchSettings
from manifold.ranking.pooling import Pooling, region_weights
from manifold.ranking.tuning import WIDTH, Tuning, tune


def fit_graph(
    settings: SearchSettings,
    graph: Graph,
    ids: Ids,
    *,
    backend: Backend,
    home: str = "cpu",
    points: PointSet | None = None,
    images: Ints | None = None,
) -> Fitted:
    """Return the state of a graph made elsewhere: its neighbours are not known.

    >>> from manifold import graph_from_affinity
    >>> from manifold.backends import get_backend
    >>> from manifold.ranking._settings import search_settings
    >>> pair, names = graph_from_affinity([[0, 1], [1, 0]]), Ids(["a", "b"], 2)
    >>> fit_graph(search_settings({}), pair, names, backend=get_backend("scipy")).graph.n_edges
    1
    """
    n = graph.n_nodes if points is None else points.X.shape[0]
    if n != graph.n_nodes:
        raise ValueError(f"X has {n} rows but the graph has {graph.n_nodes} nodes")
    fitted = Fitted(
        settings=settings,
        ids=ids,
        graph=graph,
        backend=backend,
        home=home,
        points=points,
        pooling=region_pooling(settings, points, images, backend=backend),
    )
    _ = fitted.ranker
    return fitted


def fit_points(
    settings: SearchSettings,
    points: PointSet,
    ids: Ids,
    *,
    backend: Backend,
    home: str = "cpu",
    neighbors: Neighbors | None = None,
    images: Ints | None = None,
    progress: Progress | bool | None = None,
) -> Fitted:
    """Search for the neighbours of points, unless they are given; choose settings where asked to; build and prepare."""
    n = points.X.shape[0]
    width = min(WIDTH if settings.tune else settings.width, max(n - 1, settings.n_neighbors))
    if neighbors is None:
        neighbors = find_neighbors(
            points,
            width,
            method=settings.method,
            metric=points.metric,
            backend=backend,
            random_state=settings.random_state,
            progress=progress,
        )
    return fit_neighbors(
        settings, neighbors, ids, points=points, backend=backend, home=home, images=images, progress=progress
    )


def fit_neighbors(
    settings: SearchSettings,
    neighbors: Neighbors,
    ids: Ids,
    *,
    backend: Backend,
    home: str = "cpu",
    points: PointSet | None = None,
    images: Ints | None = None,
    progress: Progress | bool | None = None,
) -> Fitted:
    """Choose settings where asked to, and make all that a search is of lists of neighbours."""
    tuning = None
    if settings.tune:
        tuning = tune(neighbors, affinity=settings.affinity.kind, backend=backend, progress=progress)
        settings = settings.tuned(tuning.setting)
    lists = without_reserve(neighbors, settings)
    made = of_lists(settings, lists, ids, points=points, backend=backend, home=home, images=images, tuning=tuning)
    _ = made.ranker
    return made


def of_lists(
    settings: SearchSettings,
    neighbors: Neighbors,
    ids: Ids,
    *,
    backend: Backend,
    home: str,
    points: PointSet | None,
    images: Ints | None = None,
    tuning: Tuning | None = None,
) -> Fitted:
    """Return the state that lists of neighbours make; its solver is prepared when it is first asked for."""
    lists = without_reserve(neighbors, settings)
    nearest, adaptation = lists.first(settings.n_neighbors), settings.adaptation
    given = 0.0 if adaptation is None else adaptation.one_sided
    one_sided = one_sided_weight(nearest) if given is None else given
    graph = soft_mutual_graph(
        nearest, affinity=settings.affinity, edges=settings.edges, bridge=settings.bridge, one_sided=one_sided
    )
    return Fitted(
        settings=settings,
        ids=ids,
        graph=graph,
        backend=backend,
        home=home,
        points=points,
        neighbors=neighbors,
        one_sided=one_sided,
        scales=settings.affinity.scales(nearest.similarities),
        reach=NeighborReach.of(lists, settings.n_neighbors),
        tuning=tuning,
        pooling=region_pooling(settings, points, images, backend=backend),
    )


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
