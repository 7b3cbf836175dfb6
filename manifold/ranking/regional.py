"""The façade of regional retrieval: images of several vectors each, on both sides.

In: regions and their owners. Out: a `Ranking` of images by G = P h(S) Y (Iscen et al., CVPR 2017, sections 3.3 and 4).
"""

from __future__ import annotations

from dataclasses import fields
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from manifold._checks import check_count
from manifold._progress import Progress
from manifold._typing import AnyArray, Facts, Floats, Ints, RandomState
from manifold.backends import Backend, get_backend
from manifold.filters import Diffusion
from manifold.graph import Graph
from manifold.graph.affinity import Affinity
from manifold.neighbors import InvertedFile, Neighbors, PointSet, SeedSearch, point_set
from manifold.ranking._allowed import Allowed
from manifold.ranking._base import Ranking
from manifold.ranking._change import joined
from manifold.ranking._facade import Facade, InForce
from manifold.ranking._fit import Collection, fit
from manifold.ranking._fitted import check_slack
from manifold.ranking._folded import PooledSpectrum
from manifold.ranking._regions import Asking, like_images
from manifold.ranking._settings import RegionSettings, SearchSettings, check_choice
from manifold.ranking.pooling import Pooling, check_owners
from manifold.solvers import ConjugateGradient, Solver, report_failures

TRUNCATIONS = ("early", "late")


class RegionalSearch(Facade):
    """Search images that have several vectors each: small objects are found by the region that shows them.

    The graph is over regions. Each region of a query enters through its nearest regions, the weights of all add up and
    the largest stay; diffused scores of regions are pooled to scores of images.

    Reference: Iscen et al. (2017), sections 3.3 and 4.

    Parameters
    ----------
    n_neighbors : int
        Neighbours of each region in the graph; 50 for 5 regions an image, 200 for 21 in the paper.
    n_seeds : int
        Nearest regions through which each region of a query enters.
    n_largest : int
        Seeds kept of each query, all its regions together.
    y_mode : {"sum_of_powers", "power_of_sum"}
        See `regional_seeds`.
    pooling : {"generalized_max", "sum", "max"}
        How scores of regions become those of images, see `manifold.ranking.pooling`.
    regularization : float
        lambda of generalised max pooling.
    alpha, gamma, bridge, degree_exponent, edges, method, solver, backend, on_failure, random_state, seed_search
        See `ManifoldSearch`. Linear pooling is folded in offline by ``solver="index"``, which stores columns of images
        (a saved `manifold.index.PooledColumns` serves too), and by ``FastSpectralRanking(certify=False)``.

    Attributes
    ----------
    graph_ : Graph
        Over the regions.
    ids_ : (N,) external ids of the images
    images_ : (n,) row of the image of each region
    pooling_ : Pooling

    Notes
    -----
    Memory: the graph of all regions; 64 n scores in a search.

    Examples
    --------
    >>> regions = np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.1, -0.9], [0.2, 0.9]])
    >>> search = RegionalSearch(n_neighbors=2, n_seeds=2).fit(regions, images=[0, 0, 1, 1, 2], ids=["a", "b", "c"])
    >>> search.search([[0.95, 0.05]], k=2).ids.tolist()
    ['a', 'b']
    """

    method = InForce["str | InvertedFile"]()
    backend = InForce["str | Backend"]()
    random_state = InForce["RandomState"]()
    n_largest = InForce[int](of="regions")
    y_mode = InForce[str](of="regions")
    pooling = InForce[str](of="regions")
    regularization = InForce[float](of="regions")
    _pools = True

    def __init__(
        self,
        *,
        n_neighbors: int = 50,
        n_seeds: int = 200,
        n_largest: int = 200,
        y_mode: str = "sum_of_powers",
        pooling: str = "generalized_max",
        regularization: float = 1.0,
        alpha: float = 0.99,
        gamma: float = 3.0,
        bridge: int = 0,
        degree_exponent: float = 0.0,
        edges: str = "mutual",
        method: str | InvertedFile = "auto",
        solver: str | Solver = "auto",
        backend: str | Backend = "auto",
        on_failure: str = "warn",
        random_state: RandomState = None,
        seed_search: str | SeedSearch = "auto",
    ) -> None:
        super().__init__(locals())

    @classmethod
    def _settings_of(cls, given: Facts) -> SearchSettings:
        chosen = dict(given)
        regions = RegionSettings(**{part.name: chosen.pop(part.name) for part in fields(RegionSettings)})
        filter, affinity = Diffusion(chosen.pop("alpha")), Affinity("power", chosen.pop("gamma"), "cosine")
        return SearchSettings(**chosen, filter=filter, affinity=affinity, regions=regions)

    @property
    def regions(self) -> RegionSettings:
        """The settings of seeds and pooling.

        >>> RegionalSearch().regions.n_largest
        200
        """
        regions = self.settings.regions
        assert regions is not None
        return regions

    @property
    def pooling_(self) -> Pooling:
        """How the scores of regions become those of images.

        >>> regions = [[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]]
        >>> search = RegionalSearch(n_neighbors=1, pooling="sum").fit(regions, images=[0, 1, 1])
        >>> search.pooling_.weights.tolist()
        [1.0, 1.0, 1.0]
        """
        pooling = self.fitted_.pooling
        assert pooling is not None
        return pooling

    @property
    def images_(self) -> Ints:
        """Row (n,) of the image of each region.

        >>> regions = [[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]]
        >>> search = RegionalSearch(n_neighbors=1, pooling="sum").fit(regions, images=[0, 1, 1])
        >>> search.images_.tolist()
        [0, 1, 1]
        """
        return self.pooling_.owners

    def __repr__(self) -> str:
        s, r = self.settings, self.regions
        fitted = f", fitted to {len(self):,} images" if self._fitted is not None else ""
        return (
            f"RegionalSearch(n_neighbors={s.n_neighbors}, n_seeds={s.n_seeds}, n_largest={r.n_largest}, "
            f"y_mode={r.y_mode!r}, pooling={r.pooling!r}, filter={s.filter}, gamma={s.affinity.gamma:g}, "
            f"edges={s.edges!r}, bridge={s.bridge}, solver={s.solver}){fitted}"
        )

    def fit(
        self,
        X: ArrayLike | PointSet,
        images: ArrayLike | None = None,
        *,
        ids: object = None,
        neighbors: Neighbors | None = None,
        graph: Graph | None = None,
        progress: Progress | bool | None = None,
    ) -> Self:
        """Build the graph of all regions, the weights of the pooling, and what the solver prepares.

        Parameters
        ----------
        X : (n, d) array-like or PointSet
            Vectors of regions, compared by cosine.
        images : (n,) int
            The image 0..N-1 of each region, in any order; by default one region each.
        ids : (N,) integers, strings or UUIDs
            External ids of the images; by default 0..N-1.
        neighbors : Neighbors, optional
            Lists that another search found over the rows of X.
        graph : Graph, optional
            Made elsewhere, over the rows of X.
        progress
            See `manifold.build_graph`.

        Raises
        ------
        TypeError, ValueError, MemoryBudgetError
            As `manifold.build_graph`; for an image without a region, or ids that are not one for each image. The
            object is unchanged then, as it is after an interrupt.

        Examples
        --------
        >>> len(RegionalSearch(n_neighbors=1).fit([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]], images=[0, 1, 1]))
        2
        """
        points, backend = point_set(X, "cosine"), get_backend(self._settings.backend, X)
        owners = check_owners(images, points.X.shape[0], name="images")
        given = Collection(backend=backend, points=points, neighbors=neighbors, graph=graph, images=owners)
        self._fitted = fit(self._settings, given, ids, progress=progress)
        return self

    def add(self, X: ArrayLike, images: ArrayLike | None = None, *, ids: object = None) -> AnyArray:
        """Let images join the collection.

        Parameters
        ----------
        X : (m, d) array-like
            Vectors of their regions.
        images : (m,) int
            The new image 0, 1, ... of each region; by default one region each.
        ids : one for each new image, optional
            Names that are not in the collection; by default the integers after the largest it ever held.

        Returns
        -------
        array
            The ids of the new images.

        Raises
        ------
        TypeError, ValueError, MemoryBudgetError
            As `ManifoldSearch.add`, whose notes hold here too; stored columns of images are solved anew.

        Examples
        --------
        >>> search = RegionalSearch(n_neighbors=1, n_seeds=1).fit(np.eye(3), images=[0, 0, 1])
        >>> search.add([[0.1, 0.0, 0.9], [0.0, 0.9, 0.1]], images=[0, 1]).tolist()
        [2, 3]
        >>> search.search([[0.0, 0.0, 1.0]], k=2).ids.tolist()
        [1, 2]
        """
        return self._change(lambda fitted: joined(fitted, X, ids, images=images))

    def explain(self) -> str:
        """Return what the search does with a query, line by line, and why this solver does it.

        Examples
        --------
        >>> print(RegionalSearch(n_neighbors=1).fit(np.eye(2)).explain())
        seeds    the 200 nearest regions of each of a query's, the 200 largest sums kept, weighted by power, gamma=3
                 found exactly, because 2 x 2 numbers are soon compared
        filter   Diffusion(alpha=0.99)
        solver   direct, because a dense factor of 2 nodes costs less than iterating
                 Direct()
        scores   F
        pooling  generalized_max of 2 regions to 2 images
        """
        fitted, regions = self.fitted_, self.regions
        seeds = f"the {fitted.settings.n_seeds} nearest regions of each of a query's"
        kept = f"the {regions.n_largest} largest sums kept"
        n, images = fitted.graph.n_nodes, len(fitted.ids)
        pooled = f"pooling  {regions.pooling} of {n:,} regions to {images:,} images"
        return f"seeds    {seeds}, {kept}, {fitted.explain()}\n{pooled}"

    def search(
        self,
        Q: ArrayLike,
        queries: ArrayLike | None = None,
        k: int = 100,
        *,
        allowed: object = None,
        slack: float | None = None,
        shortlist: int | None = None,
        truncation: str = "early",
    ) -> Ranking:
        """Rank the images for queries that are not among them.

        Parameters
        ----------
        Q : (r, d) array-like
            Vectors of the regions of all queries.
        queries : (r,) int, optional
            The query 0..q-1 each region belongs to; without it, all are regions of one query.
        k : int
            Images to return; all N where k is larger.
        allowed, slack
            See `ManifoldSearch.search`; the shortlist is of what is allowed.
        shortlist : int, optional
            Diffusion only orders so many images, the best by `region_match`; the others follow in that order.
        truncation : {"early", "late"}
            Diffuse on the regions of the shortlist alone, with degrees and seeds of their own, or on all regions.

        Returns
        -------
        Ranking
            Images with a score of 0 follow in the order of `region_match`. With a shortlist, slack compares its images
            with each other, and "early" by their scores on the regions of the shortlist.

        Notes
        -----
        Cost: one product of Q with X, then as many products with S as the solver takes iterations, 64 queries at a
        time. An early truncation prepares a solver for each query.

        Examples
        --------
        >>> regions = [[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]]
        >>> search = RegionalSearch(n_neighbors=1, pooling="sum").fit(regions, images=[0, 1, 1])
        >>> search.search([[1.0, 0.0]], k=1).ids.tolist()
        [0]
        """
        fitted = self.fitted_
        check_choice(truncation, "truncation", TRUNCATIONS)
        check_slack(slack)
        asked, single = Asking.of(fitted, Q, queries)
        k, may = min(check_count(k, "k"), len(fitted.ids)), Allowed.read(fitted.ids, allowed)
        size = None if shortlist is None else check_count(shortlist, "shortlist")
        early = truncation == "early"
        return asked.ranked(k, allowed=may, slack=slack, single=single, shortlist=size, early=early)

    def similar(self, ids: object, k: int = 100, *, allowed: object = None, slack: float | None = None) -> Ranking:
        """Rank the images for images that are among them, themselves left out: each of their regions is a seed.

        Parameters
        ----------
        ids : (q,) or one id
            Images.
        k : int
            Images to return; all N - 1 others where k is larger.
        allowed, slack
            See `ManifoldSearch.search`.

        Examples
        --------
        >>> regions = np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.1, -0.9], [0.2, 0.9]])
        >>> search = RegionalSearch(n_neighbors=2).fit(regions, images=[0, 0, 1, 1, 2], ids=["a", "b", "c"])
        >>> search.similar("c", k=1).ids.tolist()
        ['a']
        """
        return like_images(self.fitted_, ids, k, allowed=allowed, slack=slack)

    def region_scores(self, Q: ArrayLike, queries: ArrayLike | None = None) -> Floats:
        """Return w_j F_j for each region: what it adds to the score of its image, or what the maximum is taken of.

        Parameters
        ----------
        Q, queries
            See `search`.

        Returns
        -------
        (q, n), or (n,) for one query
            Rows in the order of the regions that were fitted.

        Examples
        --------
        >>> search = RegionalSearch(n_neighbors=1, n_seeds=1, pooling="sum", alpha=0.5).fit([[1.0, 0.0], [0.9, 0.1]])
        >>> search.region_scores([[1.0, 0.0]]).round(4).tolist()
        [0.6667, 0.3333]
        """
        fitted, pooling = self.fitted_, self.pooling_
        asked, single = Asking.of(fitted, Q, queries)
        prepared = fitted.ranker.prepared
        if isinstance(prepared, PooledSpectrum):
            prepared = prepared.prepared
        elif prepared.is_pooled:
            prepared = ConjugateGradient().prepare(fitted.graph, fitted.settings.filter, pooling.backend)
        solution = prepared.solve(asked.seeds())
        report_failures(solution, fitted.settings.on_failure)
        scores = np.maximum(pooling.backend.to_host(solution.scores).astype(np.float64), 0)
        weights = pooling.scaled(fitted.graph.scale(fitted.settings.degree_exponent)).weights
        weighted: Floats = (scores * weights[:, None]).T
        return weighted[0] if single else weighted
