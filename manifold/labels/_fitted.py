"""What a fit of `LabelPropagation` found, as one frozen object: made aside, put in place whole, saved and loaded.

In: weights of new points to the fitted ones. Out: distributions, the means of those of the fitted points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from manifold._arrays import as_array
from manifold._checks import check_count
from manifold._typing import AnyArray, Floats, Ints, Mask
from manifold._weights import checked_csr
from manifold.backends import get_backend
from manifold.graph import Graph
from manifold.graph.affinity import Affinity
from manifold.labels.result import Propagation
from manifold.labels.targets import names_of
from manifold.neighbors import PointSet, described_points, exact_search, stored_points
from manifold.storage import Stored, decode_names, encode_names


@dataclass(frozen=True, eq=False)
class Near:
    """How new points are weighed: the fitted ones, the kernel of their graph with its scale at each, and k."""

    points: PointSet
    kernel: Affinity
    scales: Floats
    n_neighbors: int

    def weights(self, queries: PointSet) -> sparse.csr_array:
        """Return the weights (m, n) of the nearest fitted points, each query for itself."""
        n = self.scales.size
        k = min(self.n_neighbors, n)
        host = get_backend("scipy")
        ids, similarities = exact_search(queries, self.points, k=k, drop_self=False, rows=None, backend=host)
        weights = self.kernel.weights(similarities, self.kernel.scales(similarities)[:, None], self.scales[ids])
        if self.kernel.metric == "euclidean":
            weights[~weights.any(axis=1), 0] = 1  # so far away that all underflow: the nearest decides, as in the limit
        indptr = np.arange(0, ids.size + 1, k)
        return sparse.csr_array((weights.ravel(), ids.ravel(), indptr), shape=(len(ids), n))


@dataclass(frozen=True, eq=False)
class Fitted:
    """The graph and what was propagated over it; never changed.

    Attributes
    ----------
    near : Near, optional
        None for a graph made elsewhere: then weights of new points are given.
    n_features : int
    feature_names : (d,) array, optional
        The columns of a frame.
    """

    graph: Graph
    result: Propagation
    unlabeled: object
    near: Near | None
    n_features: int
    feature_names: AnyArray | None = None

    def distributions(self, weights: sparse.csr_array) -> tuple[Floats, Mask]:
        """Return probabilities (m, c), uniform where nothing is near, and which rows have a reached neighbour."""
        P, reached = self.means(weights, self.result.distributions)
        return np.where(reached[:, None], P, 1 / P.shape[1]), reached

    def means(self, weights: sparse.csr_array, values: AnyArray) -> tuple[Floats, Mask]:
        """Return the means (m, q) of values (n, q) of the fitted points, and which rows have a reached neighbour."""
        known = self.result.reached
        # a neighbour that nothing is known of does not dilute those of which something is
        weights = sparse.csr_array(weights * known[None, :])
        mass = np.asarray(weights.sum(axis=1)).reshape(-1, 1)
        sums = np.asarray(weights @ np.where(known[:, None], values, 0).astype(np.float64))
        return np.divide(sums, mass, out=np.zeros_like(sums), where=mass > 0), mass[:, 0] > 0

    def names(self, columns: Ints) -> AnyArray:
        """Return the classes of columns (m,), the marker for -1."""
        return names_of(self.result.classes, columns, self.unlabeled)

    def given_weights(self, X: object) -> sparse.csr_array:
        """Return affinities (m, n) to the fitted points, checked."""
        affinity = X.affinity if isinstance(X, Graph) else X if sparse.issparse(X) else as_array(X, "X")
        n = self.graph.n_nodes
        shape: tuple[int, ...] = getattr(affinity, "shape", ())
        if len(shape) != 2 or shape[1] != n:
            raise ValueError(
                f"X must hold the affinities (m, {n}) of m points to the fitted ones, got shape {shape}: "
                "affinities.reshape(1, -1) is one point"
            )
        weights = checked_csr(affinity, "X")
        if not (np.isfinite(weights.data).all() and (weights.data >= 0).all()):
            raise ValueError("X holds affinities that are negative, NaN or infinite")
        return weights.astype(np.float64)

    def described(self) -> tuple[dict[str, AnyArray], dict[str, object]]:
        """Return arrays and parameters, from which `from_stored` makes the same again."""
        arrays, parameters = self.result._described()
        graph_arrays, graph_parameters = self.graph._described()
        arrays, parameters = {**arrays, **graph_arrays}, {**parameters, **graph_parameters}
        arrays["unlabeled"], parameters["unlabeled"] = encode_names(_one(self.unlabeled))
        parameters["n_features"] = self.n_features
        if self.feature_names is not None:
            arrays["feature_names"], parameters["feature_names"] = encode_names(self.feature_names)
        if self.near is not None:
            kernel = self.near.kernel
            held, columns = described_points(self.near.points)
            arrays, parameters = {**arrays, **held, "scales": self.near.scales}, {**parameters, **columns}
            parameters["kernel"] = [kernel.kind, kernel.gamma, kernel.metric, self.near.n_neighbors]
        return arrays, parameters

    @classmethod
    def from_stored(cls, stored: Stored) -> Fitted:
        """Return what `described` took apart; raise ValueError for what it would not have made."""
        arrays, parameters = stored.arrays, stored.parameters
        graph, result = Graph._from_stored(stored), Propagation._from_stored(stored)
        n, near, names = graph.n_nodes, None, None
        if "features" in arrays:
            kind, gamma, metric, k = parameters["kernel"]
            points, scales = stored_points(stored, metric), np.asarray(arrays["scales"])
            if scales.shape != (n,) or scales.dtype != np.float64 or not (np.isfinite(scales) & (scales > 0)).all():
                raise ValueError(f"scales must be a positive number for each of {n} nodes")
            near = Near(points, Affinity(kind, gamma, metric), scales, check_count(k, "n_neighbors"))
        size = n if near is None else near.points.X.shape[1]
        if "feature_names" in arrays:
            names = decode_names(arrays["feature_names"], parameters["feature_names"])
        # real values have columns, and no distributions
        c = result.distributions.shape[1] or len(result.classes)
        sizes = (result.reached.size, n if near is None else near.points.X.shape[0], len(result.classes))
        if sizes != (n, n, c) or parameters["n_features"] != size:
            raise ValueError(f"graph, labels and features must be of the same {n} points")
        if names is not None and names.shape != (size,):
            raise ValueError(f"feature_names must be {size} texts, got {names.shape}")
        marker = decode_names(arrays["unlabeled"], parameters["unlabeled"]).tolist()
        # every part was checked by its own room, and against the others above
        return cls(graph, result, marker[0], near, size, names)


def _one(value: object) -> AnyArray:
    """Return one object as an array (1,): numbers and texts as such, others as objects."""
    if isinstance(value, str | int | float | np.number) and not isinstance(value, bool):
        return np.asarray([value])
    found = np.empty(1, dtype=object)
    found[0] = value
    return found
