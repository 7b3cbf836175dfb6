"""The façade for scikit-learn: ``LabelPropagation().fit(X, y)``, where y holds the marker -1 for "not labelled".

In: features, or a graph made elsewhere. Out: labels of the fitted points by `propagate`; labels of new points as the
mean of the distributions of their nearest fitted points, weighted by the kernel of the graph. This is the only file of
its room that imports scikit-learn, and nothing imports it before `LabelPropagation` is used.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from manifold._arrays import as_array, as_numbers, as_table, is_frame, is_tensor
from manifold._typing import AnyArray, Floats, Mask, RandomState
from manifold.errors import warn
from manifold.filters import Diffusion
from manifold.graph import Graph, graph_from_affinity
from manifold.graph.affinity import Affinity
from manifold.labels._base import Method
from manifold.labels._candidates import graphs_of, most_used, widths_of
from manifold.labels._copies import averaged_over_copies
from manifold.labels._fitted import Fitted, Near
from manifold.labels._methods import METHODS
from manifold.labels.choice import Choice
from manifold.labels.propagation import propagate
from manifold.labels.targets import encode, label_array
from manifold.neighbors import find_neighbors, point_set
from manifold.solvers import SOLVERS, Solver
from manifold.storage import Stored, save_arrays
from manifold.storage.settings import by_name, from_json, to_json

_KNOWN = by_name(*METHODS.values(), *SOLVERS.values())


class _Columns(BaseEstimator):  # type: ignore[misc]
    """Where scikit-learn writes down the columns that it sees in a fit: not on the object that is fitted."""

    n_features_in_: int


_Columns.__name__ = "LabelPropagation"  # which its messages name


class LabelPropagation(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Learn from a few labels and many points without one.

    Parameters
    ----------
    n_neighbors : int or "auto"
        Neighbours of each point in the graph, and of a new point among the fitted ones. "auto" is 10; with
        ``method="auto"`` the labels choose among 5, 10 and 20.
    method : str or Method
        Of propagation: a name in `manifold.labels.METHODS`, or settings. "auto" leaves labels out to choose the graph
        and alpha, compares them with the nearest labelled point, and calibrates: see `choice_`.
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = tags.input_tags.sparse = self.metric == "precomputed"
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fitted")

    @property
    def _state(self) -> Fitted:
        if not hasattr(self, "_fitted"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit(X, y) first")
        return self._fitted

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

    @property
    def certainty_(self) -> AnyArray:
        """How sure the label of each fitted point is (n,), in [0, 1]."""
        return self._state.result.certainty

    @property
    def reached_(self) -> Mask:
        """Whether a label reaches each fitted point (n,)."""
        return self._state.result.reached

    @property
    def graph_(self) -> Graph:
        """The graph of the fitted points."""
        return self._state.graph

    @property
    def choice_(self) -> Choice | None:
        """What "auto" chose, and why; None for other methods."""
        return self._state.result.choice

    @property
    def n_features_in_(self) -> int:
        """Columns of the X that was fitted."""
        return self._state.n_features

    @property
    def feature_names_in_(self) -> AnyArray:
        """Names of the columns of the frame that was fitted."""
        if self._state.feature_names is None:
            raise AttributeError("feature_names_in_ exists where X was a frame whose columns have texts for names")
        return self._state.feature_names

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
        graphs, near, columns = self._graphs_of(X)
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

    def _graphs_of(self, X: object) -> tuple[dict[str, Graph], Near | None, _Columns]:
        """Return graphs of X by name, what `predict` needs of its points where there are any, and its columns."""
        columns = _Columns()
        if self.metric == "precomputed":
            graph = X if isinstance(X, Graph) else graph_from_affinity(X, edges=self.edges)
            columns.n_features_in_ = graph.n_nodes
            return {"the graph": graph}, None, columns
        # float64 first: whole numbers far from the origin are centred before they are rounded
        points = point_set(validate_data(columns, _for_scikit_learn(X), dtype=(np.float64, np.float32)), self.metric)
        kernel = Affinity(self.affinity, self.gamma, self.metric)
        asked = widths_of(self.n_neighbors, len(points.X), method=self.method)
        # a new point has n neighbours, a fitted one n - 1
        widths = tuple(min(k, max(len(points.X) - 1, 1)) for k in asked)
        neighbors = find_neighbors(
            points, max(widths), method=self.search, metric=self.metric, random_state=self.random_state
        )
        graphs = graphs_of(neighbors, widths, affinity=kernel, edges=self.edges)
        near = Near(points, kernel, kernel.scales(neighbors.first(widths[0]).similarities), asked[0])
        return graphs, near, columns

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
        check_is_fitted(self)
        state = self._fitted
        P, reached = self._mean_distributions(state, X)
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
        check_is_fitted(self)
        return self._mean_distributions(self._fitted, X)[0]

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

    def _mean_distributions(self, state: Fitted, X: object) -> tuple[Floats, Mask]:
        if state.near is None:
            return state.distributions(state.given_weights(X))
        rows = validate_data(self, _for_scikit_learn(X), dtype=(np.float64, np.float32), reset=False)
        return state.distributions(state.near.weights(state.near.points.asked(rows, "X")[0]))

    def save(self, path: str | PathLike[str]) -> Path:
        """Save the fitted model as a folder; `manifold.load` gives it back, with the same answers to the bit.

        Parameters
        ----------
        path : str or path
            A new folder, or an older save, which is replaced as a whole.

        Raises
        ------
        ValueError
            Where it is not fitted.
        TypeError
            For a method or solver that is none of this package, and classes or a marker that JSON does not give back.
        FileExistsError, OSError
            See `manifold.storage.save_arrays`.

        Notes
        -----
        Settings go by the names of their classes, and only those of `manifold.labels.METHODS` and
        `manifold.solvers.SOLVERS` are made again; a generator in `random_state` is loaded as None.

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> from manifold import load
        >>> model = LabelPropagation(n_neighbors=1).fit([[0.0], [0.1], [5.0], [5.1]], ["a", None, "b", None])
        >>> with TemporaryDirectory() as folder:
        ...     load(model.save(f"{folder}/model")).predict([[4.0]]).tolist()
        ['b']
        """
        arrays, parameters = self._state.described()
        settings = self.get_params(deep=False)
        settings["unlabeled"] = None  # what it was fitted with is saved with what was fitted
        if not isinstance(self.random_state, int | np.integer):
            settings["random_state"] = None
        if not isinstance(self.priors, str):
            arrays["priors"], settings["priors"] = as_numbers(self.priors, "priors"), None
        parameters["settings"] = to_json(settings, _KNOWN)
        return save_arrays(path, kind="label_propagation", arrays=arrays, parameters=parameters)

    @classmethod
    def _from_stored(cls, stored: Stored) -> Self:
        settings, fitted = from_json(stored.parameters["settings"], _KNOWN), Fitted.from_stored(stored)
        if not isinstance(settings, dict):
            raise ValueError(f"settings must be a table, got {settings!r}")
        settings["unlabeled"] = fitted.unlabeled
        if "priors" in stored.arrays:
            settings["priors"] = np.asarray(stored.arrays["priors"])
        model = cls(**settings)
        model._fitted = fitted
        return model


def _for_scikit_learn(X: object) -> object:
    """Return tensors, masked arrays and columns of lists as arrays; the others scikit-learn reads by itself."""
    if is_tensor(X) or isinstance(X, np.ma.MaskedArray):
        return as_array(X, "X")
    table = as_table(X, "X") if is_frame(X) else None
    # the names of columns are scikit-learn's to compare, and those of a frame of one column of lists are no names
    return X if table is None or table.names is not None else table.values


def _one_column(y: object) -> AnyArray:
    """Return y as (n,), whatever is missing in it as it is."""
    values = label_array(y)
    return values if values.ndim == 1 else np.asarray(column_or_1d(values, warn=True))
