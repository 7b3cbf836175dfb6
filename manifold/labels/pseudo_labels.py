"""The semi-supervised loop: features of a network and a few labels in, weighted labels for its next epoch out.

    y_i = argmax_j z_ij        omega_i = certainty of i over the largest one        zeta_j ~ 1 / n_j, of mean 1
    loss = sum over labelled of zeta l  +  sum over the others of omega zeta l

with Z the propagation of the labels over the graph of the features, built anew when they change.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from manifold._typing import AnyArray, Floats, Mask
from manifold.filters import Diffusion
from manifold.labels._base import Method
from manifold.labels.candidates import label_graphs
from manifold.labels.certainty import class_weights
from manifold.labels.propagation import propagate
from manifold.labels.result import Propagation
from manifold.labels.targets import encode, label_array
from manifold.solvers import Solver
from manifold.storage import write_atomically


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """What a training loop needs of each point; keep it for the next refresh.

    Reference: Iscen et al. (2019), eqs. 11 and 12.

    Attributes
    ----------
    labels : (n,)
        The label given, or the pseudo-label; the marker (-1) where no label reaches.
    omega : (n,) float
        Certainty in [0, 1]: 1 where a label was given, 0 where none reaches.
    zeta : (c,) float64
        Weight of each of `classes`, inverse to how many points have it, of mean 1.
    classes : (c,)
    labelled : (n,) bool
        Where a label was given.
    propagation : Propagation
        Distributions, scores and the verdict of the solve.
    """

    labels: AnyArray
    omega: AnyArray
    zeta: Floats
    propagation: Propagation

    @property
    def classes(self) -> AnyArray:
        """The classes (c,), sorted.

        Examples
        --------
        >>> X = [[0.0], [0.1], [0.2], [5.0], [5.1]]
        >>> found = pseudo_labels(X, ["a", None, None, "b", None], n_neighbors=1)
        >>> found.classes.tolist(), found.labels.tolist()
        (['a', 'b'], ['a', 'a', 'a', 'b', 'b'])
        """
        return self.propagation.classes

    @property
    def labelled(self) -> Mask:
        """Where a label was given (n,)."""
        return self.propagation.labelled

    @property
    def weights(self) -> Floats:
        """omega_i zeta_{y_i} of each point (n,): what its loss is multiplied by; 0 where no label reaches.

        Examples
        --------
        >>> X = [[0.0], [0.1], [0.2], [5.0], [5.1]]
        >>> found = pseudo_labels(X, ["a", None, None, "b", None], n_neighbors=1)
        >>> found.weights.round(3).tolist()
        [0.8, 0.8, 0.8, 1.2, 1.2]
        """
        columns = self.propagation.columns
        return np.where(columns >= 0, self.omega * self.zeta[columns], 0.0)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one row a point, by the ending of the name: ``.csv``, ``.parquet`` or ``.npz``.

        Columns (arrays): ``label``, ``omega``, ``zeta`` (that of its class; 0 where no label reaches), ``weight``
        (their product) and ``labelled``. The file is written beside `path` and moved there, so that a training loop
        that reads it at any moment finds one epoch's labels, whole.

        Raises
        ------
        ValueError
            For another ending.
        ImportError
            For ``.parquet`` without pyarrow.

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> X = [[0.0], [0.1], [0.2], [5.0], [5.1]]
        >>> found = pseudo_labels(X, ["a", None, None, "b", None], n_neighbors=1)
        >>> with TemporaryDirectory() as folder:
        ...     print(found.save(f"{folder}/labels.csv").read_text().splitlines()[1])
        a,1.0,0.8,0.8,True
        """
        path = Path(path)
        if path.suffix not in _WRITERS:
            raise ValueError(f"path must end in {', '.join(_WRITERS)}, got {path.name!r}")
        columns = self.propagation.columns
        table = {
            # objects would be pickled, and a pickle runs what it holds
            "label": self.labels.astype(str) if self.labels.dtype.kind == "O" else self.labels,
            "omega": self.omega,
            "zeta": np.where(columns >= 0, self.zeta[columns], 0.0),
            "weight": self.weights,
            "labelled": self.labelled,
        }
        # a loop that reads meanwhile finds one epoch or the other, whole
        write_atomically(path, lambda file: _WRITERS[path.suffix](file, table))
        return path


def pseudo_labels(
    features: object,
    labels: object,
    *,
    n_neighbors: int | str = "auto",
    metric: str = "euclidean",
    alpha: float | None = None,
    gamma: float = 3.0,
    method: str | Method = "auto",
    classes: str | None = None,
    solver: str | Solver = "auto",
    unlabeled: object = -1,
    class_weight: str = "paper",
    previous: PseudoLabels | None = None,
) -> PseudoLabels:
    """Label all points from a few, with weights for a training loop in any framework.

    Reference: Iscen et al. (2019), eqs. 8 to 12 and section 5.2.

    Parameters
    ----------
    features : (n, d) array-like
        Embeddings by the network as it is now.
    labels : (n,) array-like
        Classes of any kind; `unlabeled`, None and NaN mean none.
    n_neighbors, metric, gamma
        Of the sum graph, see `manifold.build_graph`; "auto" is 10, or with ``method="auto"`` the labels
        choose among 5, 10 and 20.
    alpha : float, optional
        See `manifold.Diffusion`, whose default it is.
    method, classes, solver, unlabeled
        See `manifold.labels.propagate`; a name in `manifold.labels.METHODS` means the defaults of its class.
    class_weight : {"paper", "code"}
        Scale of zeta: mean 1 over classes, or over points; see `manifold.labels.class_weights`.
    previous : PseudoLabels, optional
        Those of the last epoch, of the same points and classes: where the features have moved little, the solve
        starts near its end and takes fewer iterations. Answers do not depend on it beyond the solver's tolerance. For
        methods that are one solve: "lgc", "harmonic", "poisson".

    Returns
    -------
    PseudoLabels

    Raises
    ------
    ValueError
        Where `previous` holds other classes or another number of points; and as `build_graph` and `propagate`.

    Notes
    -----
    Cost: that of the graph (exact neighbours: O(n^2 d)) and of one solve with a column a class.

    Examples
    --------
    A loop, with a multilayer perceptron for the network. It learns from 20 labels; its hidden layer gives features;
    their graph labels the other points; it learns again from all of them, weighted. On points that neither the
    loop nor the graph has seen, its accuracy rises:

    >>> from manifold.datasets import digits
    >>> from sklearn.neural_network import MLPClassifier
    >>> X, y = digits()
    >>> X, y, X_test, y_test = X[:1200] / 16, y[:1200], X[1200:] / 16, y[1200:]
    >>> rng = np.random.default_rng(0)
    >>> known = np.concatenate([rng.choice(np.flatnonzero(y == c), 2, replace=False) for c in range(10)])
    >>> labels = np.full(y.size, -1)
    >>> labels[known] = y[known]
    >>> network = MLPClassifier(64, alpha=1e-2, max_iter=200, tol=1e-3, random_state=0).fit(X[known], y[known])
    >>> alone = network.score(X_test, y_test)
    >>> pseudo = None
    >>> for epoch in range(3):
    ...     hidden = np.maximum(X @ network.coefs_[0] + network.intercepts_[0], 0)
    ...     pseudo = pseudo_labels(hidden, labels, n_neighbors=10, previous=pseudo)
    ...     _ = network.fit(X, pseudo.labels, sample_weight=pseudo.weights)
    >>> bool(network.score(X_test, y_test) > alone + 0.05)
    True
    """
    if previous is not None:
        _check_previous(previous, labels, unlabeled)
    graphs, points = label_graphs(features, n_neighbors, method=method, metric=metric, gamma=gamma)
    result = propagate(
        graphs,
        labels,
        kind="classes",
        method=method,
        filter=None if alpha is None else Diffusion(alpha),
        classes=classes,
        points=points,
        solver=solver,
        unlabeled=unlabeled,
        x0=None if previous is None else previous.propagation.scores,
    )
    # equation 11's certainties are small where classes are many: the surest point is to count in full
    largest = result.certainty[~result.labelled].max(initial=0)
    omega = np.where(result.labelled, 1, result.certainty / (largest if largest > 0 else 1))
    zeta = class_weights(result.columns, result.classes.size, mode=class_weight)
    return PseudoLabels(result.labels, omega.astype(result.certainty.dtype), zeta, result)


def _check_previous(previous: PseudoLabels, labels: object, unlabeled: object) -> None:
    n, given = len(previous.labels), label_array(labels)
    if len(given) != n:
        raise ValueError(f"previous holds {n} points, labels {len(given)}: leave it out")
    classes = encode(labels, n, unlabeled=unlabeled, kind="classes").classes
    if not np.array_equal(previous.classes, classes):
        raise ValueError(f"previous holds the classes {previous.classes}, labels {classes}: leave it out")


def _write_csv(file: IO[bytes], table: dict[str, AnyArray]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))
    # else the wrapper, once collected, would close a file that is not its own
    text.detach()


def _write_npz(file: IO[bytes], table: dict[str, AnyArray]) -> None:
    np.savez(file, allow_pickle=False, **table)


def _write_parquet(file: IO[bytes], table: dict[str, AnyArray]) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            "a .parquet file needs pyarrow: pip install 'manifold-search[parquet]', or save as .csv or .npz"
        ) from error
    parquet.write_table(pyarrow.table({name: pyarrow.array(column) for name, column in table.items()}), file)


_WRITERS: dict[str, Callable[[IO[bytes], dict[str, AnyArray]], None]] = {
    ".csv": _write_csv,
    ".npz": _write_npz,
    ".parquet": _write_parquet,
}
