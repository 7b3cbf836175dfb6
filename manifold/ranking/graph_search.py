"""Search a graph of named things, of which some have features: passages and entities, documents and their terms.

In: a graph, features of some nodes, queries, seeds by name. Out: a `Ranking` by personalised PageRank.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Self

import numpy as np

from manifold._checks import check_count, check_number
from manifold._typing import AnyArray, Floats, Ints
from manifold.backends import get_backend
from manifold.errors import NotFittedError
from manifold.graph import Graph
from manifold.neighbors import exact_search, names_in, point_set
from manifold.ranking._allowed import Allowed
from manifold.ranking._base import Ranking
from manifold.ranking._inputs import good_queries
from manifold.ranking._linked import Linked, with_edges, with_nodes, without_edges, without_nodes
from manifold.ranking._saved import restored_linked, save_linked
from manifold.ranking._stored import Answer
from manifold.ranking.pagerank import check_damping, named_graph, named_seeds, seeds_of_each, walked
from manifold.storage import Stored

_CHANGE = Lock()  # one change begins where another has ended


class GraphSearch:
    """Search a graph by a walk that returns to what is near a query, and to nodes that are named.

        p = damping W D^-1 p + (1 - damping) y,    y_i ~ max(cos(x_i, q), 0)^gamma of the nearest, + weights of seeds

    Reference: Haveliwala (2002), eq. 5; Gutierrez et al. (2024), section 2.3, for passages and entities.

    Parameters
    ----------
    damping : float in [0, 1)
        The share of steps that do not return.
    n_seeds : int
        Nearest nodes through which a query enters.
    gamma : float
        Exponent of their similarities, >= 0.

    Notes
    -----
    Lists are proved: no other node that is allowed has a larger p. A change makes another graph, at the cost of a pass
    over its edges; a search that runs meanwhile goes on with the one before. Scores are to about a hundredth, see
    `manifold.personalized_pagerank`.

    Examples
    --------
    >>> cites = np.array([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]])
    >>> search, names = GraphSearch(), ["p1", "p2", "flutter", "wing"]
    >>> ids, scores = search.fit(cites, [[1.0, 0.0], [0.0, 1.0]], nodes=names, ids=["p1", "p2"]).search([1.0, 0.2], k=2)
    >>> ids.tolist(), scores.round(2).tolist()
    (['p1', 'p2'], [0.55, 0.25])
    >>> search.link([("p2", "wing", 4.0)])
    >>> search.search(seeds={"wing": 1.0}, k=1, allowed=["p1", "p2"]).ids.tolist()
    ['p2']
    """

    def __init__(self, *, damping: float = 0.5, n_seeds: int = 20, gamma: float = 1.0) -> None:
        check_damping(damping)
        n_seeds = check_count(n_seeds, "n_seeds")
        if not (np.isfinite(check_number(gamma, "gamma")) and gamma >= 0):
            raise ValueError(f"gamma must be a finite number >= 0, got {gamma!r}: 1 weighs by the similarities")
        self.damping, self.n_seeds, self.gamma = float(damping), n_seeds, float(gamma)
        self._state: Linked | None = None

    def __repr__(self) -> str:
        fitted = "not fitted" if self._state is None else f"fitted to {self._state.graph.n_nodes:,} nodes"
        return f"GraphSearch(damping={self.damping}, n_seeds={self.n_seeds}, gamma={self.gamma}), {fitted}"

    def fit(
        self, graph: object, X: object = None, *, nodes: object = None, ids: object = None, edges: str | None = None
    ) -> Self:
        """Take a graph, names of its nodes, and features of some of them.

        Parameters
        ----------
        graph : Graph, or (n, n) array, sparse matrix or networkx graph
            Undirected; see `manifold.personalized_pagerank`.
        X : (m, d), optional
            Features, compared by cosine. Without, only nodes that are named are seeds.
        nodes : (n,) integers, strings or UUIDs, optional
            Names of the nodes; by default those of a networkx graph, or 0..n-1.
        ids : (m,), optional
            The nodes that the rows of X belong to, or a column of the file X; not needed where all n have features.
        edges : {None, "mutual", "union", "sum"}
            How a directed graph is made undirected; None refuses one.

        Raises
        ------
        TypeError, ValueError
            As `manifold.personalized_pagerank`; for ids that are no nodes, or repeat, or are as many as X has rows not.

        Examples
        --------
        >>> len(GraphSearch().fit([[0, 1], [0, 0]], edges="union"))
        2
        """
        taken, names = named_graph(graph, nodes, edges=edges)
        if X is None:
            if ids is not None:
                raise ValueError("ids name the rows of X: pass nodes= to name those of the graph")
            self._state = Linked(graph=taken, names=names, nodes=np.empty(0, dtype=np.int64))
            return self
        points, n = point_set(X, beside=ids), len(names)
        rows = np.arange(n) if ids is None else np.atleast_1d(names.present(names_in(X, ids)))
        if rows.shape != points.X.shape[:1] or np.unique(rows).size != rows.size:
            raise ValueError(
                f"ids must name the node of each of the {points.X.shape[0]} rows of X, once, got "
                f"{rows.size if ids is not None else f'none, and a graph of {n} nodes'}"
            )
        self._state = Linked(graph=taken, names=names, points=points, nodes=rows)
        return self

    @property
    def _fitted(self) -> Linked:
        if self._state is None:
            raise NotFittedError("this GraphSearch is not fitted: call fit(graph) first")
        return self._state

    @property
    def graph_(self) -> Graph:
        """The graph as it is now; raises NotFittedError before a fit.

        >>> search = GraphSearch().fit([[0, 1], [1, 0]])
        >>> search, search.graph_.n_edges
        (GraphSearch(damping=0.5, n_seeds=20, gamma=1.0), fitted to 2 nodes, 1)
        """
        return self._fitted.graph

    @property
    def ids_(self) -> AnyArray:
        """Names of the nodes, in the order of rows of the graph.

        >>> GraphSearch().fit([[0, 1], [1, 0]], nodes=["a", "b"]).ids_.tolist()
        ['a', 'b']
        """
        return self._fitted.names.values

    def __len__(self) -> int:
        """Return how many nodes there are; 0 before a fit."""
        return 0 if self._state is None else len(self._state.names)

    def __bool__(self) -> bool:
        """Return True: a search without nodes is still a search."""
        return True

    def search(self, Q: object = None, k: int = 10, *, seeds: object = None, allowed: object = None) -> Ranking:
        """Rank nodes for queries, for seeds by name, or for both together.

        Parameters
        ----------
        Q : (d,) or (q, d), optional
            A query adds its nearest nodes, with their similarities for weights, to the seeds.
        k : int
        seeds : names, mapping of names to weights, or a sequence of such, one for each query
            Weights are in the unit of similarities: 1 weighs as much as an item that is equal to the query.
        allowed : ids, (n,) bool or callable, optional
            What may be listed, see `ManifoldSearch.search`: all nodes are walked on.

        Returns
        -------
        Ranking
            ``slack`` 0 where the list is proved to be the best of what is allowed; scores within
            ``diagnostics.error_bound``. A query that nothing is near, without seeds, scores 0 and has infinite slack.

        Raises
        ------
        TypeError, ValueError
            For features of another width, names that no node has, neither queries nor seeds, as many seeds as there
            are queries not.

        Examples
        --------
        >>> search = GraphSearch().fit([[0, 1, 0], [1, 0, 1], [0, 1, 0]], nodes=["a", "b", "c"])
        >>> search.search(seeds=["a"], k=1).scores.round(2).tolist()  # 7 twelfths
        [0.58]
        """
        state, k = self._fitted, check_count(k, "k")
        queries, single = self._restarts(state, Q, seeds)
        may = Allowed.read(state.names, allowed)

        def ranked(depth: int) -> Answer:
            mask, most = (None, len(state.names)) if may is None else (may.mask, int(may.mask.sum()))
            return walked(state.graph, queries, self.damping, k=min(depth, most), allowed=mask)

        if may is not None and may.is_open:
            may.settle(min(k, len(state.names)), lambda depth: ranked(depth)[0], q=len(queries))
        rows, scores, slack, report = ranked(k)
        found = state.names.names(rows)
        return Ranking(found[0] if single else found, scores[0] if single else scores, slack, report)

    def link(self, edges: object) -> None:
        """Set the weights of edges: new ones, or in place of those that were there.

        Parameters
        ----------
        edges : sequence of (name, name, weight > 0)
            Of nodes that are there; without direction, so that each pair is named once.

        Raises
        ------
        TypeError, ValueError
            For names that no node has, a pair that is named twice, a weight that is not finite and > 0; nothing has
            changed then.

        Examples
        --------
        >>> search = GraphSearch().fit([[0, 1], [1, 0]], nodes=["a", "b"])
        >>> search.link([("a", "b", 2.5)])
        >>> search.graph_.degrees.tolist()
        [2.5, 2.5]
        """
        with _CHANGE:
            self._state = with_edges(self._fitted, edges)

    def unlink(self, edges: object) -> None:
        """Cut edges.

        Parameters
        ----------
        edges : sequence of (name, name)

        Raises
        ------
        TypeError, ValueError
            For names that no node has, nodes that have no edge, a pair that is named twice; nothing has changed then.

        Examples
        --------
        >>> search = GraphSearch().fit([[0, 1], [1, 0]], nodes=["a", "b"])
        >>> search.unlink([("b", "a")])
        >>> search.graph_.n_edges
        0
        """
        with _CHANGE:
            self._state = without_edges(self._fitted, edges)

    def add(self, ids: object, X: object = None) -> None:
        """Let nodes join, without edges yet: `link` them.

        Parameters
        ----------
        ids : (m,) or one
            Names that no node has.
        X : (m, d), optional
            Their features; without, they are entities that no query enters through.

        Raises
        ------
        TypeError, ValueError
            For names that are taken, or of another kind; for features of another number or width.

        Examples
        --------
        >>> search = GraphSearch().fit([[0, 1], [1, 0]], nodes=["a", "b"])
        >>> search.add("c")
        >>> search.ids_.tolist()
        ['a', 'b', 'c']
        """
        with _CHANGE:
            self._state = with_nodes(self._fitted, ids, X)

    def remove(self, ids: object) -> None:
        """Let nodes leave, with their edges; the others keep their names, and their rows close up in order.

        Parameters
        ----------
        ids : (m,) or one

        Raises
        ------
        TypeError, ValueError
            For names that no node has, or that repeat.

        Examples
        --------
        >>> search = GraphSearch().fit([[0, 1], [1, 0]], nodes=["a", "b"])
        >>> search.remove("a")
        >>> search.ids_.tolist()
        ['b']
        """
        with _CHANGE:
            self._state = without_nodes(self._fitted, ids)

    def save(self, path: str | PathLike[str]) -> Path:
        """Save graph, names, features and settings as a folder; `manifold.load` gives the same answers to the bit.

        Raises
        ------
        NotFittedError
            Before a fit.
        TypeError, FileExistsError, OSError
            See `manifold.storage.save_arrays`: an older save is replaced as a whole, or stays as it was.

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> from manifold import load
        >>> search = GraphSearch().fit([[0, 1], [1, 0]], nodes=["a", "b"])
        >>> with TemporaryDirectory() as folder:
        ...     load(search.save(f"{folder}/walks")).search(seeds="a", k=1).scores.round(2).tolist()
        [0.67]
        """
        settings = {"damping": self.damping, "n_seeds": self.n_seeds, "gamma": self.gamma}
        return save_linked(self._fitted, path, settings=settings)

    @classmethod
    def _from_stored(cls, stored: Stored) -> Self:
        search = cls(**stored.parameters["settings"])
        search._state = restored_linked(stored)
        return search

    def _restarts(self, state: Linked, Q: object, seeds: object) -> tuple[list[tuple[Ints, Floats]], bool]:
        """Return the rows and weights that the walk of each query returns to, and whether there is only one."""
        given, single = ([], True) if seeds is None else seeds_of_each(seeds)
        named = [named_seeds(one, state.names) for one in given]
        if Q is None:
            if not named:
                raise ValueError("search needs queries Q, seeds, or both")
            return named, single
        if state.points is None:
            raise ValueError("Q cannot enter a graph without features: pass seeds, or fit with X")
        queries, one, _ = good_queries(Q, "raise", points=state.points, missing=state.names.missing)
        q, k = queries.X.shape[0], min(self.n_seeds, state.points.X.shape[0])
        if not single and len(named) != q:
            raise ValueError(f"seeds must be those of all queries together, or of each of the {q}, got {len(named)}")
        near, similarities = exact_search(queries, state.points, k=k, backend=get_backend("scipy"))
        weights = np.where(similarities > 0, np.maximum(similarities, 0).astype(np.float64) ** self.gamma, 0)
        if single:
            named = named * q if named else [(np.empty(0, dtype=np.int64), np.empty(0))] * q
        both = [
            (np.concatenate([state.nodes[ids], rows]), np.concatenate([own, more]))
            for ids, own, (rows, more) in zip(near, weights, named, strict=True)
        ]
        return both, one and single
