"""The façade for scikit-learn: ``LabelPropagation().fit(X, y)``, where y holds the marker -1 for "not labelled".

In: features, or a graph made elsewhere. Out: labels of the fitted points by `propagate`; labels of new points as the
mean of the distributions of their nearest fitted points, weighted by the kernel of the graph.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from manifold._checks import check_count, check_queries
from manifold._weights import checked_csr
from manifold.backends import get_backend
from manifold.errors import warn
from manifold.filters import Diffusion
from manifold.graph import Graph, graph_from_affinity, graph_from_neighbors
from manifold.graph.affinity import Affinity
from manifold.labels._base import Method
from manifold.labels.propagation import propagate
from manifold.labels.targets import Targets, encode
from manifold.neighbors import PointSet, exact_search, find_neighbors, point_set
from manifold.solvers import Solver


class LabelPropagation(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Learn from a few labels and many points without one.

    Parameters
    ----------
    n_neighbors : int
        Neighbours of each point in the graph, and of a new point among the fitted ones.
    method : str or Method
        Of propagation, see `manifold.propagate`.
    alpha : float in [0, 1), optional
        How far labels diffuse; 0.95 by default, for methods that diffuse.
    metric : {"euclidean", "cosine", "inner_product", "precomputed"}
        "cosine" suits embeddings. With "precomputed", `fit` takes a `manifold.Graph` or an affinity (n, n), dense or
        sparse, made symmetric by `edges`, and `predict` affinities (m, n) to the fitted points.
    affinity, gamma, edges, random_state
        See `manifold.build_graph`.
    search : {"auto", "exact", "inverted_file", "nn_descent", "faiss"}
        How neighbours are found: the `method` of `manifold.build_graph`.
    normalize_seeds, balance, priors, clamp, solver, on_failure
        See `manifold.propagate`.
    unlabeled : object
        The value of y that means "not labelled"; None and NaN always do.

    Attributes
    ----------
    classes_ : (c,)
    transduction_ : (n,)
        A label for each fitted point; the marker where no label reaches.
    label_distributions_ : (n, c)
        Rows of sum 1; uniform where no label reaches.
    certainty_ : (n,)
        1 - H / log c; 0 where no label reaches.
    reached_ : (n,) bool
    graph_ : Graph
    n_features_in_ : int

    Examples
    --------
    >>> from manifold import datasets
    >>> X, y = datasets.digits()
    >>> few = np.where(np.arange(len(y)) < 50, y, -1)
    >>> model = LabelPropagation().fit(X[:1500], few[:1500])
    >>> bool((model.transduction_ == y[:1500]).mean() > 0.9), bool(model.score(X[1500:], y[1500:]) > 0.85)
    (True, True)
    """

    def __init__(
        self,
        *,
        n_neighbors: int = 10,
        method: str | Method = "lgc",
        alpha: float | None = None,
        metric: str = "euclidean",
        affinity: str = "auto",
        gamma: float = 3.0,
        edges: str = "sum",
        search: str = "auto",
        normalize_seeds: bool = True,
        balance: str | None = None,
        priors: Any = "estimated",
        clamp: bool = True,
        unlabeled: Any = -1,
        solver: str | Solver = "auto",
        on_failure: str = "warn",
        random_state: Any = None,
    ) -> None:
        self.n_neighbors, self.method, self.alpha = n_neighbors, method, alpha
        self.metric, self.affinity, self.gamma, self.edges, self.search = metric, affinity, gamma, edges, search
        self.normalize_seeds, self.balance, self.priors = normalize_seeds, balance, priors
        self.clamp, self.unlabeled = clamp, unlabeled
        self.solver, self.on_failure, self.random_state = solver, on_failure, random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = tags.input_tags.sparse = self.metric == "precomputed"
        return tags

    def fit(self, X: Any, y: Any) -> Self:
        """Build the graph of X and propagate the labels that y has.

        Parameters
        ----------
        X : (n, d) array-like or frame; Graph or (n, n) affinity for ``metric="precomputed"``
        y : (n,) array-like
            Integers, strings or any sortable classes, and the marker of what is not labelled.

        Raises
        ------
        ValueError, TypeError
            As `manifold.build_graph` and `manifold.propagate` do.

        Warns
        -----
        ManifoldWarning
            With the count, where points are not reached, and where identical points have different labels: each of
            them then has all of their labels in equal parts.
        """
        if y is None:
            raise ValueError("fit requires y to be passed, but the target y is None: -1 marks what is not labelled")
        X = self._fitted_graph(X)
        y = _one_column(y)
        check_consistent_length(range(self.graph_.n_nodes), y)
        targets = encode(y, self.graph_.n_nodes, unlabeled=self.unlabeled)
        result = propagate(
            self.graph_,
            targets if X is None else _averaged_over_copies(X, targets),
            method=self.method,
            filter=None if self.alpha is None else Diffusion(self.alpha),
            solver=self.solver,
            normalize_seeds=self.normalize_seeds,
            balance=self.balance,
            priors=self.priors,
            clamp=self.clamp,
            on_failure=self.on_failure,
        )
        self.classes_, self._targets = result.classes, targets
        self.transduction_, self.label_distributions_ = result.labels, result.distributions
        self.certainty_, self.reached_ = result.certainty, result.reached
        return self

    def _fitted_graph(self, X: Any) -> NDArray[np.float32] | None:
        """Set `graph_` and what `predict` needs of the points; return the features, where there are any."""
        if self.metric == "precomputed":
            self.graph_ = X if isinstance(X, Graph) else graph_from_affinity(X, edges=self.edges)
            self.n_features_in_ = self.graph_.n_nodes
            return None
        points = point_set(validate_data(self, X, dtype=(np.float32, np.float64)), self.metric)
        k = min(check_count(self.n_neighbors, "n_neighbors"), max(points.X.shape[0] - 1, 1))
        neighbors = find_neighbors(points, k, method=self.search, metric=self.metric, random_state=self.random_state)
        self._kernel = Affinity(self.affinity, self.gamma, self.metric)
        self.graph_ = graph_from_neighbors(neighbors, affinity=self._kernel.kind, gamma=self.gamma, edges=self.edges)
        self._points, self._scales = points, self._kernel.scales(neighbors.similarities)
        return points.X

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likeliest class of each row of X (m,); the marker where no neighbour was reached by a label.

        Warns
        -----
        ManifoldWarning
            With the count of such rows.
        """
        P, reached = self._mean_distributions(X)
        if not reached.all():
            warn(
                f"{(~reached).sum()} of {reached.size} points have no neighbour that a label reaches "
                f"(first: {np.flatnonzero(~reached)[0]}): they get {self._targets.missing!r}"
            )
        return self._targets.names(np.where(reached, P.argmax(axis=1), -1))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return class probabilities (m, c): means of `label_distributions_` over neighbours; uniform without any."""
        return self._mean_distributions(X)[0]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy over the rows of y that are labelled."""
        y = _one_column(y)
        labelled = encode(y, y.size, unlabeled=self.unlabeled).labelled
        right = np.asarray(self.predict(X) == y, dtype=np.float64)[labelled]
        return float(np.average(right, weights=None if sample_weight is None else np.asarray(sample_weight)[labelled]))

    def _mean_distributions(self, X: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return probabilities (m, c) and which rows have a neighbour that a label reaches."""
        check_is_fitted(self)
        weights = self._precomputed_weights(X) if self.metric == "precomputed" else self._kernel_weights(X)
        weights = sparse.csr_array(weights * self.reached_[None, :])
        P = np.asarray(weights @ self.label_distributions_.astype(np.float64))
        mass = P.sum(axis=1, keepdims=True)
        reached = mass[:, 0] > 0
        return np.where(mass > 0, P / np.where(mass > 0, mass, 1), 1 / P.shape[1]), reached

    def _precomputed_weights(self, X: Any) -> sparse.csr_array:
        affinity = X.affinity if isinstance(X, Graph) else X if sparse.issparse(X) else np.asarray(X)
        if affinity.ndim != 2 or affinity.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X must hold the affinities (m, {self.n_features_in_}) of m points to the fitted ones, got shape "
                f"{affinity.shape}: affinities.reshape(1, -1) is one point"
            )
        weights = checked_csr(affinity, "X")
        if not (np.isfinite(weights.data).all() and (weights.data >= 0).all()):
            raise ValueError("X holds affinities that are negative, NaN or infinite")
        return weights.astype(np.float64)

    def _kernel_weights(self, X: Any) -> sparse.csr_array:
        """Return the weights (m, n) of the nearest fitted points, each row for itself."""
        rows = validate_data(self, X, dtype=(np.float32, np.float64), reset=False)
        Q, _ = check_queries(rows, self.n_features_in_, "X")
        n = self.graph_.n_nodes
        k = min(self.n_neighbors, n)
        queries = PointSet(Q, self.metric)
        ids, similarities = exact_search(
            queries, self._points, k=k, drop_self=False, rows=None, backend=get_backend("scipy")
        )
        scales = self._kernel.scales(similarities)[:, None]
        weights = self._kernel.weights(similarities, scales, self._scales[ids])
        if self.metric == "euclidean":
            weights[~weights.any(axis=1), 0] = 1  # so far away that all underflow: the nearest decides, as in the limit
        indptr = np.arange(0, ids.size + 1, k)
        return sparse.csr_array((weights.ravel(), ids.ravel(), indptr), shape=(Q.shape[0], n))


def _one_column(y: Any) -> NDArray[Any]:
    """Return y as (n,), None and NaN among strings kept as they are."""
    if isinstance(y, list | tuple) and any(isinstance(value, str) or value is None for value in y):
        y = np.array(y, dtype=object)
    y = np.asarray(y)
    column: NDArray[Any] = column_or_1d(y, warn=True) if y.ndim != 1 else y
    return column


def _averaged_over_copies(X: NDArray[np.float32], targets: Targets) -> Targets:
    """Return targets in which identical points have all of their labels in equal parts."""
    rows = np.flatnonzero(targets.labelled)
    _, copy = np.unique(X[rows], axis=0, return_inverse=True)
    Y = targets.Y.tocsr()[rows]
    n, m = rows.size, int(copy.max()) + 1
    gather = sparse.csr_array((np.ones(n), (copy, np.arange(n))), shape=(m, n))
    sums = sparse.csr_array(gather @ Y)
    conflicting = np.flatnonzero((np.diff(sums.indptr) > 1)[copy])
    if not conflicting.size:
        return targets
    warn(
        f"{conflicting.size} identical points have different labels (first: row {rows[conflicting[0]]}): "
        "each of them gets all of their labels in equal parts; remove or relabel the copies"
    )
    means = sums * (1 / np.bincount(copy))[:, None]
    place = sparse.csr_array((np.ones(n), (rows, copy)), shape=(targets.labelled.size, m))
    return replace(targets, Y=sparse.csc_array(place @ means))
