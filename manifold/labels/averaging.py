"""Estimators for what is no single class: several labels a point, and real values, which new points get too.

value_i = sum_j h(S)_ij y_j / sum_j h(S)_ij  over the labelled j;  a new point has the mean over its nearest fitted
points, weighted by the kernel of the graph.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from manifold._arrays import as_numbers
from manifold._typing import AnyArray, Floats, Mask, RandomState
from manifold.errors import warn
from manifold.filters import Diffusion
from manifold.labels._base import Method
from manifold.labels._facade import (
    ClassifierMixin,
    GraphEstimator,
    MultiOutputMixin,
    RegressorMixin,
    check_consistent_length,
)
from manifold.labels._fitted import Fitted
from manifold.labels.propagation import propagate
from manifold.labels.targets import encode
from manifold.solvers import Solver


class _Averaging(GraphEstimator):
    """What both have: the parameters, and a fit of one kind of labels."""

    _LABELS: ClassVar[str]  # the kind, see `manifold.labels.targets`

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
        clamp: bool = True,
        solver: str | Solver = "auto",
        on_failure: str = "warn",
        random_state: RandomState = None,
    ) -> None:
        self.n_neighbors, self.method, self.alpha = n_neighbors, method, alpha
        self.metric, self.affinity, self.gamma, self.edges, self.search = metric, affinity, gamma, edges, search
        self.clamp, self.solver, self.on_failure, self.random_state = clamp, solver, on_failure, random_state

    def fit(self, X: object, y: object, sample_weight: ArrayLike | None = None) -> Self:
        """Build the graph of X and average the labels that y has.

        Parameters
        ----------
        X : (n, d) array-like or frame; Graph or (n, n) affinity for ``metric="precomputed"``
        y : (n,) or (n, q) array-like
            0 and 1, or real values; NaN in rows that are not labelled, and -1 in those of 0 and 1.
        sample_weight : (n,) array, optional
            How much each label counts, see `manifold.propagate`.

        Raises
        ------
        ValueError, TypeError
            As `manifold.build_graph` and `manifold.propagate` do; then the object is as it was before.

        Examples
        --------
        >>> model = LabelPropagationRegressor(n_neighbors=1).fit([[0.0], [0.1], [5.0]], [1.0, np.nan, 3.0])
        >>> model.transduction_.tolist()
        [1.0, 1.0, 3.0]
        """
        if y is None:
            raise ValueError("fit requires y to be passed, but the target y is None: NaN marks what is not labelled")
        # averages are taken over one graph: nothing chooses among several
        graphs, near, columns = self._graphs_of(X, method="lgc")
        (graph,) = graphs.values()
        targets = encode(y, graph.n_nodes, kind=self._LABELS)
        check_consistent_length(range(graph.n_nodes), targets.labelled)
        result = propagate(
            graph,
            targets,
            method=self.method,
            filter=None if self.alpha is None else Diffusion(self.alpha),
            solver=self.solver,
            clamp=self.clamp,
            sample_weight=sample_weight,
            on_failure=self.on_failure,
        )
        names = getattr(columns, "feature_names_in_", None)
        self._fitted = Fitted(graph, result, -1, near, columns.n_features_in_, names)
        return self

    @property
    def transduction_(self) -> AnyArray:
        """The labels of the fitted points, (n,) or (n, q)."""
        return self._state.result.labels

    def _averages(self, X: object, values: AnyArray, missing: float) -> tuple[Floats, Mask]:
        """Return the means (m, q) of values over the nearest fitted points, and where there is one."""
        weights = self._weights_of(X)
        means, reached = self._state.means(weights, values)
        if not reached.all():
            warn(
                f"{(~reached).sum()} of {reached.size} points have no neighbour that a label reaches "
                f"(first: {np.flatnonzero(~reached)[0]}): they get {missing}"
            )
            means[~reached] = missing
        return means, reached


class LabelPropagationRegressor(MultiOutputMixin, RegressorMixin, _Averaging):  # type: ignore[misc]
    """Learn real values from a few and many points without one; predict those of new points.

    Reference: Zhou et al. (2003a), section 2, for h(S).

    Parameters
    ----------
    n_neighbors : int or "auto"
        Neighbours of each point in the graph, and of a new point among the fitted ones; "auto" is 10.
    method : {"auto", "lgc", "harmonic"} or Method
        One that averages; "auto" is "lgc".
    alpha : float in [0, 1), optional
        How far values are averaged; that of `manifold.Diffusion` by default. Values that change fast want less.
    metric, affinity, gamma, edges, search, clamp, solver, on_failure, random_state
        See `manifold.LabelPropagation`.

    Attributes
    ----------
    transduction_ : (n,) or (n, q) float64
        A value for each fitted point; NaN where no label reaches.
    certainty_, reached_, graph_, n_features_in_, feature_names_in_
        See `manifold.LabelPropagation`; certainty is 1 less the local variance over that of all labels.

    Notes
    -----
    Cost: a solve of 1 + 2 q columns; a new point costs its search.

    Examples
    --------
    >>> t = np.linspace(0, 3, 200)
    >>> y = np.where(np.arange(200) % 8 == 0, np.sin(t), np.nan)
    >>> model = LabelPropagationRegressor(n_neighbors=6, alpha=0.8).fit(np.c_[np.cos(t), t], y)
    >>> model.score(np.c_[np.cos(t), t][1::2], np.sin(t)[1::2]) > 0.95
    True
    """

    _KIND = "label_propagation_regressor"
    _LABELS = "values"

    def predict(self, X: object) -> Floats:
        """Return the value of each row of X, (m,) or (m, q): NaN, with a warning, where no neighbour was reached.

        Examples
        --------
        >>> model = LabelPropagationRegressor(n_neighbors=1).fit([[0.0], [0.1], [5.0]], [1.0, np.nan, 3.0])
        >>> model.predict([[4.0], [0.2]]).tolist()
        [3.0, 1.0]
        """
        values = np.asarray(self.transduction_, dtype=np.float64)
        means, _ = self._averages(X, values.reshape(len(values), -1), np.nan)
        return means[:, 0] if values.ndim == 1 else means

    def score(self, X: object, y: object, sample_weight: ArrayLike | None = None) -> float:
        """Return R^2 over the rows of y that are labelled.

        Examples
        --------
        >>> model = LabelPropagationRegressor(n_neighbors=1).fit([[0.0], [0.1], [5.0]], [1.0, np.nan, 3.0])
        >>> model.score([[4.0], [0.2], [0.3]], [3.0, 1.0, np.nan])
        1.0
        """
        predicted = np.asarray(self.predict(X))
        targets = encode(y, len(predicted), kind="values")
        known = targets.labelled
        truth = targets.Y.toarray()[known]
        weights = np.ones(len(truth)) if sample_weight is None else as_numbers(sample_weight, "sample_weight")[known]
        off = weights @ (truth - predicted.reshape(len(predicted), -1)[known]) ** 2
        spread = weights @ (truth - np.average(truth, axis=0, weights=weights)) ** 2
        # a constant is met or it is not
        ratio = np.where(spread > 0, off / np.where(spread > 0, spread, 1), (off > 0) * 1.0)
        return float((1 - ratio).mean())


class MultiLabelPropagation(MultiOutputMixin, ClassifierMixin, _Averaging):  # type: ignore[misc]
    """Learn several labels a point, each column a question of its own, from a few points that have them.

    Reference: Zhou et al. (2003a), section 2, for h(S).

    Parameters
    ----------
    n_neighbors, method, alpha, metric, affinity, gamma, edges, search, clamp, solver, on_failure, random_state
        See `LabelPropagationRegressor`.

    Attributes
    ----------
    classes_ : (q,)
        The columns, 0..q-1.
    transduction_ : (n, q)
        0 and 1 for each fitted point; -1 where no label reaches.
    label_distributions_ : (n, q)
        The probability of each label; 1/2 where no label reaches.
    certainty_, reached_, graph_, n_features_in_, feature_names_in_
        See `manifold.LabelPropagation`.

    Notes
    -----
    Cost: a solve of 1 + q columns; a new point costs its search.

    Examples
    --------
    >>> from manifold import datasets
    >>> X, y = datasets.digits()
    >>> Y = np.c_[y % 2 == 0, y > 4] * 1.0  # even, and large
    >>> Y[100:] = -1
    >>> model = MultiLabelPropagation().fit(X[:1500], Y[:1500])
    >>> bool((model.predict(X[1500:]) == np.c_[y % 2 == 0, y > 4][1500:]).mean() > 0.9)
    True
    """

    _KIND = "multi_label_propagation"
    _LABELS = "multilabel"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class, tags.classifier_tags.multi_label = False, True
        tags.target_tags.single_output = False
        return tags

    @property
    def classes_(self) -> AnyArray:
        """The columns of labels, 0..q-1."""
        return self._state.result.classes

    @property
    def label_distributions_(self) -> AnyArray:
        """The probability of each label of each fitted point (n, q)."""
        return self._state.result.distributions

    def predict_proba(self, X: object) -> Floats:
        """Return the probability of each label (m, q): 1/2, with a warning, where no neighbour was reached.

        Examples
        --------
        >>> model = MultiLabelPropagation(n_neighbors=1).fit([[0.0], [0.1], [5.0]], [[1, 1], [-1, -1], [0, 1]])
        >>> model.predict_proba([[4.0]]).tolist()
        [[0.0, 1.0]]
        """
        return self._averages(X, self.label_distributions_, 0.5)[0]

    def predict(self, X: object) -> AnyArray:
        """Return 0 or 1 of each label (m, q); -1 where no neighbour was reached by a label.

        Examples
        --------
        >>> model = MultiLabelPropagation(n_neighbors=1).fit([[0.0], [0.1], [5.0]], [[1, 1], [-1, -1], [0, 1]])
        >>> model.predict([[4.0], [0.2]]).tolist()
        [[0, 1], [1, 1]]
        """
        P, reached = self._averages(X, self.label_distributions_, 0.5)
        return np.where(reached[:, None], P >= 0.5, -1)

    def score(self, X: object, y: object, sample_weight: ArrayLike | None = None) -> float:
        """Return the share of rows of y, of those that are labelled, all of whose labels are right.

        Examples
        --------
        >>> model = MultiLabelPropagation(n_neighbors=1).fit([[0.0], [0.1], [5.0]], [[1, 1], [-1, -1], [0, 1]])
        >>> model.score([[4.0], [0.2]], [[0, 1], [1, 0]])
        0.5
        """
        predicted = self.predict(X)
        targets = encode(y, len(predicted), kind="multilabel")
        known = targets.labelled
        right = (predicted[known] == targets.Y.toarray()[known]).all(axis=1)
        weights = None if sample_weight is None else as_numbers(sample_weight, "sample_weight")[known]
        return float(np.average(right, weights=weights))
