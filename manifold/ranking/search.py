"""The façade of retrieval: fit a collection once, then search it, or rerank what another search found.

In: features and queries, or ids and similarities of a shortlist. Out: a `Ranking` by F = h(S) Y.
"""

from __future__ import annotations

from typing import Self

from numpy.typing import ArrayLike

from manifold._progress import Progress
from manifold._typing import AnyArray, Facts, Features, RandomState
from manifold.backends import Backend, backend_for, on_host, place
from manifold.graph import Graph
from manifold.neighbors import InvertedFile, Neighbors, PointSet, SeedSearch, names_in, point_set
from manifold.ranking._adaptation import Adaptation
from manifold.ranking._base import Ranking
from manifold.ranking._change import joined, updated
from manifold.ranking._facade import Facade, InForce
from manifold.ranking._fit import Collection, fit
from manifold.ranking._questions import like, searched
from manifold.ranking._reranked import reranked
from manifold.ranking._settings import SearchSettings, search_settings
from manifold.ranking._shortlists import Shortlists
from manifold.ranking.tuning import Tuning
from manifold.solvers import Solver


class ManifoldSearch(Facade):
    """Search a collection along its manifold: features in, better ranked ids out.

        scores = h(S) Y / degree^p,    S = D^-1/2 W D^-1/2

    Reference: Zhou et al. (2003b), section 2; Iscen et al. (2017), section 3; guide *rerank*.

    Parameters
    ----------
    n_neighbors : int
        Neighbours of each point in the graph; 7, or 50 in the paper.
    n_seeds : int
        Nearest points through which a query enters (k_q); 20, 100 for an item, or 10 in the paper.
    alpha : float in [0, 1)
        How far to diffuse; 0.95, 0.2 for an item, 0.99 for a topic and in the paper.
    gamma : float
        Exponent of the kernel; 6, or 3 in the paper.
    bridge : int
        Neighbours of each point that are joined even if not mutual; 1, or 0 in the paper.
    degree_exponent : float
        p >= 0: scores are divided by degree^p before they are ranked, which holds back hubs; 1/2, or 0 in the paper.
    edges, metric, affinity, method, random_state
        See `manifold.build_graph`.
    solver : str or Solver
        See `manifold.diffuse`, or "index": a `manifold.DiffusionIndex`, built by `fit`, that answers from stored
        columns in under a millisecond. "auto" is conjugate gradients to a relative residual of 1e-3, which ranks as
        exact scores do, or local solves on a large graph where `fit` finds that they list sooner: see `explain`.
    preset : {"default", "item", "adaptive", "plain-diffusion", "paper"}
        What the parameters left out are. "default" keeps the first 5 nearest items, orders the others by similarity and
        diffusion together, and lets diffusion bring at most 10 others into the first 100. "item" and "adaptive" are
        those of the two purposes. "plain-diffusion" lists by diffusion alone, with proofs of each list; "paper" is the
        published setting (k = 50 mutual, gamma = 3, alpha = 0.99, 10 seeds, 20 CG iterations).
    purpose : {"item", "topic"}, optional
        What is searched for, which no data shows: the item itself, of which there is one or few ("item": close to the
        nearest neighbours); or all of its kind ("topic": diffusion leads, but for reciprocal first places). Left out,
        the default serves both: nearest neighbours stay in front, and diffusion fills the tail.
    tune : bool
        Let `fit` choose n_neighbors, gamma, the filter and n_seeds without labels: see `manifold.ranking.tune`.
    adaptation : Adaptation, optional
        What a query keeps of its plain ranking; by default that of the preset. Lists are then in the order of the fused
        scores, and what is proved is proved of the best 200 (100, or k) by diffusion: `Ranking.pool_slack`.
    backend, on_failure
        See `manifold.diffuse`.
    seed_search : {"auto", "exact", "cells", "walk"} or SeedSearch
        How the nearest items of a query are found: all are compared; or those of the cells around it, until the nearest
        are proved or enough are scanned; or those that a walk along the lists meets. `explain` says what share held-out
        items found, and how many are proved. "auto" compares all where that takes a millisecond or two.

    Attributes
    ----------
    fitted_ : Fitted
        Everything that the fit made, in one frozen state; the attributes below are parts of it.
    graph_, ids_ : Graph, (n,) external ids
    tuning_ : Tuning
        What was tried and chosen, with `tune`.
    n_neighbors, n_seeds, filter, ...
        The settings in force: of the fit, where there is one; `get_params` has the parameters as they were given.

    Examples
    --------
    >>> from manifold import datasets
    >>> X, y = datasets.digits()
    >>> ids, scores = ManifoldSearch().fit(X[100:]).search(X[:2], k=3)
    >>> (y[100:][ids] == y[:2, None]).mean()
    np.float64(1.0)
    """

    preset = InForce[str]()
    purpose = InForce["str | None"]()
    tune = InForce[bool]()
    method = InForce["str | InvertedFile"]()
    backend = InForce["str | Backend"]()
    adaptation = InForce["Adaptation | None"]()
    random_state = InForce["RandomState"]()

    def __init__(
        self,
        *,
        n_neighbors: int | None = None,
        n_seeds: int | None = None,
        alpha: float | None = None,
        gamma: float | None = None,
        bridge: int | None = None,
        degree_exponent: float | None = None,
        edges: str = "mutual",
        metric: str = "cosine",
        affinity: str = "auto",
        method: str | InvertedFile = "auto",
        solver: str | Solver | None = None,
        backend: str | Backend = "auto",
        preset: str = "default",
        purpose: str | None = None,
        tune: bool = False,
        adaptation: Adaptation | None = None,
        on_failure: str = "warn",
        random_state: RandomState = None,
        seed_search: str | SeedSearch = "auto",
    ) -> None:
        super().__init__(locals())

    @classmethod
    def _settings_of(cls, given: Facts) -> SearchSettings:
        return search_settings(given)

    def __repr__(self) -> str:
        s = self.settings
        fitted = f", fitted to {len(self):,} items" if self._fitted is not None else ""
        return (
            f"ManifoldSearch(n_neighbors={s.n_neighbors}, n_seeds={s.n_seeds}, filter={s.filter}, "
            f"gamma={s.affinity.gamma:g}, edges={s.edges!r}, bridge={s.bridge}, metric={s.affinity.metric!r}, "
            f"solver={s.solver}){fitted}"
        )

    @property
    def tuning_(self) -> Tuning:
        """What was tried and chosen; raises AttributeError where nothing was."""
        if self.fitted_.tuning is None:
            raise AttributeError("this ManifoldSearch was fitted without tune=True: it has no tuning_")
        return self.fitted_.tuning

    def fit(
        self,
        X: Features | PointSet | None = None,
        ids: object = None,
        *,
        neighbors: Neighbors | None = None,
        graph: Graph | None = None,
        progress: Progress | bool | None = None,
    ) -> Self:
        """Build the graph of a collection and prepare the solver.

        Parameters
        ----------
        X : (n, d) array-like, path of a file (mapped) or PointSet, optional
            Features; may be left out where neighbours or a graph are given: then only `rerank` and `similar` work.
        ids : (n,) integers, strings or UUIDs, optional
            Distinct names of the items, of one kind or integers beside UUIDs, or a column of the file X; 0..n-1 by
            default. Integers of any size, but for -1, which marks a missing item as "" and None do.
        neighbors : Neighbors, optional
            Lists that another search found, of a vector store say, over the same n items: nothing is searched for.
        graph : Graph, optional
            One made elsewhere over the same n items; with that of a folder come the lists and cells that lie beside it.
        progress : bool or callable(done, total), optional
            Shown the search for neighbours, then the settings tried; see `manifold.neighbors.find_neighbors`.

        Raises
        ------
        TypeError, ValueError, MemoryBudgetError
            As `build_graph` does; for ids that repeat or do not match; and for neighbours of other points, of another
            metric, or fewer than the settings ask for. The object is unchanged then, as it is after an interrupt.

        Examples
        --------
        >>> len(ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]))
        3
        """
        settings = self._settings
        backend, home = backend_for(settings.backend, {"X": X}), place(X)
        points = None if X is None else point_set(on_host(X, backend), settings.affinity.metric, beside=ids)
        given = Collection(backend=backend, home=home, points=points, neighbors=neighbors, graph=graph)
        self._fitted = fit(settings, given, names_in(X, ids), progress=progress)
        return self

    def add(self, X: ArrayLike, ids: object = None) -> AnyArray:
        """Let items join the collection.

        Parameters
        ----------
        X : (m, d) array-like
            Their features, where those of `fit` were; of no items, nothing changes.
        ids : (m,) integers, strings or UUIDs, optional
            Names that are not in the collection; by default the integers after the largest it ever held.

        Returns
        -------
        (m,) array
            The ids of the new items; their rows follow those that are there.

        Raises
        ------
        TypeError, ValueError, MemoryBudgetError
            As `fit` does; for ids of another kind, that repeat or are taken; and for a search without features or
            fitted with ``graph=``, whose neighbours are not known. The object is unchanged then, as it is after an
            interrupt.

        Notes
        -----
        The search is then that of a `fit` to all items, in the order of their rows: the same graph and the same
        answers to the bit, where neighbours were searched for exactly. What an approximate method found stays, and what
        joins is searched for in the cells around it, if there are some. A setting that was tuned is kept. Columns of an
        index hold, see `manifold.index.updated_columns`: those of touched nodes are solved, and some of the others,
        whose bounds have become wide, when a query first starts from them.

        Cost: two products of X with the collection, or the cells around it, and one copy of lists, graph and, at first,
        features, into memory even where they were mapped from a file: add many at a time.
        Searches go on meanwhile, on the collection as it was; of changes at once each follows the one before.

        Examples
        --------
        >>> search = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> search.add([[0.1, 0.9]]).tolist()
        [3]
        >>> search.search([0.0, 1.0], k=2).ids.tolist()
        [2, 3]
        """
        return self._change(lambda fitted: joined(fitted, X, ids))

    def update(self, X: ArrayLike | None = None, ids: object = None, *, gone: object = ()) -> None:
        """Let items join, change and leave in one step, as `remove` and then `add` would, at the cost of one graph.

        Parameters
        ----------
        X : (m, d) array-like, optional
            Features of items that are new, or have others from now on.
        ids : (m,) integers, strings or UUIDs, optional
            Their names: those that the collection holds have changed, and go behind all others as new ones do.
        gone : (g,) or one id
            Items that leave, none of which `ids` names.

        Raises
        ------
        TypeError, ValueError, MemoryBudgetError
            As for `add` and `remove`; the object is unchanged then, as it is after an interrupt.

        Examples
        --------
        >>> search = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], ids=["a", "b", "c"])
        >>> search.update([[0.1, 0.9], [0.2, 0.8]], ["b", "d"], gone="a")
        >>> search.ids_.tolist()
        ['c', 'b', 'd']
        """
        self._change(lambda fitted: (updated(fitted, X, ids, gone=gone), None))

    def explain(self) -> str:
        """Return what the search does with a query, line by line, and why this solver does it.

        Examples
        --------
        >>> print(ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).explain())
        seeds    the 20 nearest items of a query, weighted by power, gamma=6
                 found exactly, because 3 x 2 numbers are soon compared
        filter   Diffusion(alpha=0.95)
        solver   direct, because a dense factor of 3 nodes costs less than iterating
                 Direct()
        scores   F / degree^0.5 x exp(4 similarity / spread)
        edges    and seeds that are not listed back count 0.025 (67% are; hubness 0.0)
        kept     the first 5 nearest items, in their order (Ranking.kept)
        tail     of the first 100 places at most 10 go to items that are not so near
        """
        fitted = self.fitted_
        return f"seeds    the {fitted.settings.n_seeds} nearest items of a query, {fitted.explain()}"

    def search(
        self,
        Q: ArrayLike,
        k: int = 100,
        *,
        allowed: object = None,
        avoid: object = None,
        slack: float | None = None,
        on_bad: str = "raise",
    ) -> Ranking:
        """Rank the collection for queries that are not in it.

        Parameters
        ----------
        Q, avoid : (q, d) or (d,) array-like
            Query features, where those of `fit` were: on the host, or on their device; what each query leads away from,
            see `manifold.ranking.by_examples`: by diffusion alone then.
        k : int
            Items to return; all n where k is larger.
        allowed : ids, (n,) bool mask or callable(ids) -> (m,) bool, optional
            What may be listed; ids that the collection does not hold allow nothing. Scores stay those of the whole
            collection, through seeds that are not allowed too, and the list is that of the best allowed, proved like
            any other. A callable, such as a store's filter, is asked about those ids alone that come up.
        slack : float, optional
            Solve on, in float64, until each list is proved to this slack: 0 certifies the set, 0.01 is often ten times
            cheaper. What is left at rounding is a tie, see `Ranking.tied`.
        on_bad : {"raise", "skip"}
            Refuse queries with NaN or infinity, or answer them with -1 (or "") and scores of 0, with a warning.

        Notes
        -----
        Cost: one product of Q with X, or the cells around Q; then products with S, 64 queries at a time, one an
        iteration, and memory of 64 n scores; or what a local solve touches.

        Examples
        --------
        >>> search = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> search.search([0.0, 1.0], k=1).ids.tolist()
        [2]
        >>> search.search([0.0, 1.0], k=1, allowed=[0, 1]).ids.tolist()
        [1]
        """
        return searched(self.fitted_, Q, k, allowed=allowed, avoid=avoid, slack=slack, on_bad=on_bad)

    def rerank(
        self,
        ids: object,
        similarities: object = None,
        k: int = 100,
        *,
        distances: object = None,
        candidates: str = "shortlist",
        unknown: str = "raise",
        allowed: object = None,
        slack: float | None = None,
    ) -> Ranking:
        """Rerank what another search found, from its ids and similarities alone.

        Parameters
        ----------
        ids : (q, m) or (m,)
            Shortlist of each query, any order; -1 (or "", or None) pads a short one. Lists of different lengths serve.
        similarities : as `ids`
            Of the metric of the graph, higher is nearer: cosines, inner products, or negated squared Euclidean
            distances. The best `n_seeds` of each row become its seeds.
        k : int
            Items to return; all m (or n) where k is larger.
        distances : as `ids`
            In place of similarities, lower is nearer: 1 - cosine, or the plain Euclidean distance d (its similarity is
            -d^2; of squared ones, as FAISS gives them, take the root first).
        candidates : {"shortlist", "subgraph", "all"}
            Reorder the shortlist, also by a diffusion on its own subgraph, or rank all: what was missed comes in.
        unknown : {"raise", "drop", "behind"}
            Refuse ids that the collection does not hold, leave them out, or put them behind the ranked ones, in the
            order given and with score 0 (`Ranking.n_unknown`); they are seeds of nothing.
        allowed, slack
            As for `search`; what is allowed of unknown ids is put behind, too.

        Raises
        ------
        TypeError, ValueError
            For shapes that differ, NaN, an id twice in a row or one that is not in the collection, distances of inner
            products, lists that are worst first all along, and what the metric cannot give: cosines above 1, say.

        Examples
        --------
        >>> search = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], ids=["a", "b", "c"])
        >>> search.rerank(["b", "c"], [0.8, 0.7], k=2, candidates="all").ids.tolist()
        ['b', 'c']
        >>> search.rerank([["gone", "c"], ["b"]], distances=[[0.1, 0.3], [0.2]], unknown="behind").ids.tolist()
        [['c', 'gone'], ['b', '']]
        """
        if unknown == "behind" and candidates == "all":
            raise ValueError("unknown='behind' is for the ids of a shortlist: with candidates='all', choose 'drop'")
        fitted = self.fitted_
        lists = Shortlists.read(fitted, ids, similarities, distances=distances, unknown=unknown)
        return reranked(fitted, lists, k, candidates=candidates, allowed=allowed, slack=slack)

    def similar(
        self, ids: object, k: int = 100, *, allowed: object = None, avoid: object = None, slack: float | None = None
    ) -> Ranking:
        """Rank the collection for items that are in it, themselves left out: "more like this".

        Parameters
        ----------
        ids : (q,) or one id
            Items; each is the seed of its own query.
        k : int
            Items to return; all n - 1 others where k is larger.
        allowed, avoid, slack
            As for `search`; what to avoid by its ids.

        Examples
        --------
        >>> search = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> search.similar(0, k=1).ids.tolist()
        [1]
        """
        return like(self.fitted_, ids, k, allowed=allowed, avoid=avoid, slack=slack)
