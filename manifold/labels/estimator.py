"""The façade for scikit-learn: ``LabelPropagation().fit(X, y)``, where y holds the marker -1 for "not labelled".

In: features, or a graph made elsewhere. Out: labels of the fitted points by `propagate`; labels of new points as the
mean of the distributions of their nearest fitted points, weighted by the kernel of the graph.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from manifold._arrays import as_numbers
from manifold._typing import AnyArray, Floats, RandomState
from manifold.errors import warn
from manifold.filters import Diffusion
from manifold.labels._base import Method
from manifold.labels._copies import averaged_over_copies
from manifold.labels._facade import ClassifierMixin, GraphEstimator, check_consistent_length, column_or_1d
from manifold.labels._fitted import Fitted
from manifold.labels.candidates import most_used
from manifold.labels.propagation import propagate
from manifold.labels.targets import encode, label_array
from manifold.solvers import Solver


class LabelPropagation(ClassifierMixin, GraphEstimator):  # type: ignore[misc]
    """Learn from a few labels and many points without one.

    Reference: Zhou et al. (2003a), section 2; Buitinck et al. (2013), for the interface; guide *labels*.

    Parameters
    ----------
    n_neighbors : int or "auto"
        Neighbours of each point in the graph, and of a new point among the fitted ones. "auto" is 10; with
        ``method="auto"`` the labels choose among 5, 10 and 20.
    method : str or Method
        Of propagation: a name in `manifold.labels.METHODS`, or settings. "auto" leaves labels out to mix graphs and
        methods with the nearest labelled point, and calibrates: see `choice_`.
    alpha : float in [0, 1), optional
        How far labels diffuse; that of `manifold.Diffusion` by default, for methods that diffuse.
    metric : {"euclidean", "cosine", "inner_product", "precomputed"}
        "cosine" suits embeddings. With "precomputed", `fit` takes a `manifold.Graph` or an affinity (n, n), dense or
        sparse, made symmetric by `edges`, and `predict` affinities (m, n) to the fitted points.
    affinity, gamma, edges, random_state
        See `manifold.build_graph`.
    search : {"auto", "exact", "inverted_file", "nn_descent", "faiss"}
        How neighbours are found: the `method` of `manifold.build_graph`.
    normalize_seeds, balance, priors, classes, clamp, solver, on_failure
        See `manifold.propagate`.
    unlabeled : object
        The value of y that means "not labelled"; None, NaN and other missing values always do.

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
        The one that was chosen; of a mixture, the one with most weight.
    choice_ : Choice or None
        What "auto" chose, and why.
    n_features_in_ : int
    feature_names_in_ : (d,)
        Of a frame whose columns have texts for names.

    Notes
    -----
    A fit that is refused or interrupted leaves what was fitted before, with the settings it was fitted with: those set
    since count from the next fit on.

    Examples
    --------
    >>> from manifold import datasets
    >>> X, y = datasets.digits()
    >>> few = np.where(np.arange(len(y)) < 50, y, -1)
    >>> model = LabelPropagation().fit(X[:1500], few[:1500])
    >>> bool((model.transduction_ == y[:1500]).mean() > 0.9), bool(model.score(X[1500:], y[1500:]) > 0.85)
    (True, True)
    """

    _KIND = "label_propagation"

    def __init__(
        self,
        *,
        n_neighbors: int | str = "auto",
        method: str | Method = "auto",
        alpha: float | None = None,
        metric: str = "euclidean",
        affinity: str = "auto",
        gamma: float = 3.0,
        edges: str = "sum",
        search: str = "auto",
        normalize_seeds: bool = True,
        balance: str | None = None,
        priors: str | ArrayLike = "estimated",
        classes: str | None = None,
        clamp: bool = True,
        unlabeled: object = -1,
        solver: str | Solver = "auto",
        on_failure: str = "warn",
        random_state: RandomState = None,
    ) -> None:
        self.n_neighbors, self.method, self.alpha = n_neighbors, method, alpha
        self.metric, self.affinity, self.gamma, self.edges, self.search = metric, affinity, gamma, edges, search
        self.normalize_seeds, self.balance, self.priors = normalize_seeds, balance, priors
        self.classes, self.clamp, self.unlabeled = classes, clamp, unlabeled
        self.solver, self.on_failure, self.random_state = solver, on_failure, random_state

    @property
    def classes_(self) -> AnyArray:
        """The classes met (c,), sorted."""
        return self._state.result.classes

    @property
    def transduction_(self) -> AnyArray:
        """A label for each fitted point (n,)."""
        return self._state.result.labels

    @property
    def label_distributions_(self) -> AnyArray:
        """The distribution of each fitted point (n, c)."""
        return self._state.result.distributions

    def fit(self, X: object, y: object, sample_weight: ArrayLike | None = None) -> Self:
        """Build the graph of X and propagate the labels that y has.

        Parameters
        ----------
        X : (n, d) array-like or frame; Graph or (n, n) affinity for ``metric="precomputed"``
        y : (n,) array-like
            Integers, strings or any sortable classes, and the marker of what is not labelled.
        sample_weight : (n,) array, optional
            How much each label counts, see `manifold.propagate`; 0 leaves a label out, not its point.

        Raises
        ------
        ValueError, TypeError
            As `manifold.build_graph` and `manifold.propagate` do; then the object is as it was before.

        Warns
        -----
        ManifoldWarning
            With the count, where points are not reached, and where identical points have different labels: each of
            them then has all of their labels in equal parts.

        Examples
        --------
        >>> model = LabelPropagation(n_neighbors=1).fit([[0.0], [0.1], [5.0], [5.1]], ["a", None, "b", None])
        >>> model.transduction_.tolist()
        ['a', 'a', 'b', 'b']
        """
        if y is None:
            raise ValueError("fit requires y to be passed, but the target y is None: -1 marks what is not labelled")
        graphs, near, columns = self._graphs_of(X, method=self.method)
        n = next(iter(graphs.values())).n_nodes
        y = _one_column(y)
        check_consistent_length(range(n), y)
        targets = encode(y, n, unlabeled=self.unlabeled)
        result = propagate(
            graphs,
            targets if near is None else averaged_over_copies(near.points.X, targets),
            method=self.method,
            filter=None if self.alpha is None else Diffusion(self.alpha),
            solver=self.solver,
            normalize_seeds=self.normalize_seeds,
            balance=self.balance,
            priors=self.priors,
            classes=self.classes,
            clamp=self.clamp,
            sample_weight=sample_weight,
            points=None if near is None else near.points,
            on_failure=self.on_failure,
        )
        names = getattr(columns, "feature_names_in_", None)
        self._fitted = Fitted(most_used(graphs, result), result, self.unlabeled, near, columns.n_features_in_, names)
        return self

    def predict(self, X: object) -> AnyArray:
        """Return the likeliest class of each row of X (m,); the marker where no neighbour was reached by a label.

        Warns
        -----
        ManifoldWarning
            With the count of such rows.

        Examples
        --------
        >>> model = LabelPropagation(n_neighbors=1).fit([[0.0], [0.1], [5.0], [5.1]], ["a", None, "b", None])
        >>> model.predict([[4.0], [0.2]]).tolist()
        ['b', 'a']
        """
        weights = self._weights_of(X)
        state = self._state
        P, reached = state.distributions(weights)
        if not reached.all():
            warn(
                f"{(~reached).sum()} of {reached.size} points have no neighbour that a label reaches "
                f"(first: {np.flatnonzero(~reached)[0]}): they get {state.unlabeled!r}"
            )
        return state.names(np.where(reached, P.argmax(axis=1), -1))

    def predict_proba(self, X: object) -> Floats:
        """Return class probabilities (m, c): means of `label_distributions_` over neighbours; uniform without any.

        Examples
        --------
        >>> model = LabelPropagation(n_neighbors=1).fit([[0.0], [0.1], [5.0], [5.1]], ["a", None, "b", None])
        >>> model.predict_proba([[4.0]]).tolist()
        [[0.0, 1.0]]
        """
        weights = self._weights_of(X)
        return self._state.distributions(weights)[0]

    def score(self, X: object, y: object, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy over the rows of y that are labelled.

        Examples
        --------
        >>> model = LabelPropagation(n_neighbors=1).fit([[0.0], [0.1], [5.0], [5.1]], ["a", None, "b", None])
        >>> model.score([[4.0], [0.2], [0.3]], ["b", "b", None])
        0.5
        """
        y = _one_column(y)
        labelled = encode(y, y.size, unlabeled=self.unlabeled).labelled
        right = np.asarray(self.predict(X) == y, dtype=np.float64)[labelled]
        return float(
            np.average(
                right, weights=None if sample_weight is None else as_numbers(sample_weight, "sample_weight")[labelled]
            )
        )


def _one_column(y: object) -> AnyArray:
    """Return y as (n,), whatever is missing in it as it is."""
    values = label_array(y)
    return values if values.ndim == 1 else np.asarray(column_or_1d(values, warn=True))
