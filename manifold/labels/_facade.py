"""What estimators for scikit-learn share: graphs of X, weights of new points, one fitted state, saved and loaded.

In: features, or a graph made elsewhere. Out: `Fitted`. This is the only file of its room that imports scikit-learn, and
nothing imports it before an estimator is used.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from manifold._arrays import as_array, as_numbers, as_table, is_frame, is_tensor
from manifold._typing import AnyArray, Mask, RandomState
from manifold.graph import Graph, graph_from_affinity
from manifold.graph.affinity import Affinity
from manifold.labels._base import Method
from manifold.labels._fitted import Fitted, Near
from manifold.labels._methods import METHODS
from manifold.labels.candidates import graphs_of, widths_of
from manifold.labels.choice import Choice
from manifold.neighbors import find_neighbors, point_set
from manifold.solvers import SOLVERS, Solver
from manifold.storage import Stored, save_arrays
from manifold.storage.settings import by_name, from_json, to_json

__all__ = [
    "ClassifierMixin",
    "GraphEstimator",
    "MultiOutputMixin",
    "RegressorMixin",
    "check_consistent_length",
    "column_or_1d",
]

_KNOWN = by_name(*METHODS.values(), *SOLVERS.values())


class _Columns(BaseEstimator):  # type: ignore[misc]
    """Where scikit-learn writes down the columns that it sees in a fit: not on the object that is fitted."""

    n_features_in_: int


class GraphEstimator(BaseEstimator):  # type: ignore[misc]
    """An estimator whose fitted points are the nodes of a graph, and whose new points are weighed to them."""

    _KIND: ClassVar[str]  # of a folder
    _fitted: Fitted

    # parameters that all of them have
    n_neighbors: int | str
    method: str | Method
    solver: str | Solver
    metric: str
    affinity: str
    gamma: float
    edges: str
    search: str
    random_state: RandomState
    unlabeled: object
    priors: str | ArrayLike

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

    def _graphs_of(self, X: object, *, method: str | Method) -> tuple[dict[str, Graph], Near | None, _Columns]:
        """Return graphs of X, as a method asks for them, what `predict` needs of points, if any, and columns of X."""
        columns = type(type(self).__name__, (_Columns,), {})()  # its messages name the estimator
        if self.metric == "precomputed":
            graph = X if isinstance(X, Graph) else graph_from_affinity(X, edges=self.edges)
            columns.n_features_in_ = graph.n_nodes
            return {"the graph": graph}, None, columns
        # float64 first: whole numbers far from the origin are centred before they are rounded
        points = point_set(validate_data(columns, _for_scikit_learn(X), dtype=(np.float64, np.float32)), self.metric)
        kernel = Affinity(self.affinity, self.gamma, self.metric)
        asked = widths_of(self.n_neighbors, len(points.X), method=method)
        # a new point has n neighbours, a fitted one n - 1
        widths = tuple(min(k, max(len(points.X) - 1, 1)) for k in asked)
        neighbors = find_neighbors(
            points, max(widths), method=self.search, metric=self.metric, random_state=self.random_state
        )
        graphs = graphs_of(neighbors, widths, affinity=kernel, edges=self.edges)
        near = Near(points, kernel, kernel.scales(neighbors.first(widths[0]).similarities), asked[0])
        return graphs, near, columns

    def _weights_of(self, X: object) -> sparse.csr_array:
        """Return the weights (m, n) of new points to the fitted ones."""
        check_is_fitted(self)
        state = self._fitted
        if state.near is None:
            return state.given_weights(X)
        rows = validate_data(self, _for_scikit_learn(X), dtype=(np.float64, np.float32), reset=False)
        return state.near.weights(state.near.points.asked(rows, "X")[0])

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
        >>> from manifold import LabelPropagation, load
        >>> model = LabelPropagation(n_neighbors=1).fit([[0.0], [0.1], [5.0], [5.1]], ["a", None, "b", None])
        >>> with TemporaryDirectory() as folder:
        ...     load(model.save(f"{folder}/model")).predict([[4.0]]).tolist()
        ['b']
        """
        arrays, parameters = self._state.described()
        settings = self.get_params(deep=False)
        if "unlabeled" in settings:
            settings["unlabeled"] = None  # what it was fitted with is saved with what was fitted
        if not isinstance(self.random_state, int | np.integer):
            settings["random_state"] = None
        if not isinstance(settings.get("priors", ""), str):
            arrays["priors"], settings["priors"] = as_numbers(self.priors, "priors"), None
        parameters["settings"] = to_json(settings, _KNOWN)
        return save_arrays(path, kind=self._KIND, arrays=arrays, parameters=parameters)

    @classmethod
    def _from_stored(cls, stored: Stored) -> Self:
        settings, fitted = from_json(stored.parameters["settings"], _KNOWN), Fitted.from_stored(stored)
        if not isinstance(settings, dict):
            raise ValueError(f"settings must be a table, got {settings!r}")
        if "unlabeled" in settings:
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
