"""What propagation says of each point, and how sure it is: an object that is read, saved and loaded."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from manifold._typing import AnyArray, Floats, Ints, Mask
from manifold.labels.certainty import class_weights
from manifold.labels.choice import Choice
from manifold.solvers import Solution, Status
from manifold.storage import Stored, decode_names, encode_names, save_arrays

_OF_POINTS = ("distributions", "certainty", "reached", "labelled")
_OF_COLUMNS = ("n_iter", "residual", "error_bound")


@dataclass(frozen=True, eq=False)
class Propagation:
    """What propagation says of each point, and how sure it is.

    Reference: Iscen et al. (2019), eqs. 8 and 11; guide *labels*, "Which points to believe".

    Attributes
    ----------
    labels : (n,) classes, (n, q) 0/1 for "multilabel", or real values for "values"
        The given label where there is one; the marker (-1, NaN for values) where no label reaches. Real values are
        float64.
    distributions : (n, c) float
        Rows of sum 1 ("multilabel": the probability of each label; "values": empty). Uniform where no label reaches.
    certainty : (n,) float
        1 - H(p) / log c in [0, 1], 1 for points of a given class and 0 for unreached ones; for "multilabel" the mean of
        1 - H(p_ij) / log 2 over its labels, for "values" 1 less the local variance over that of all labels.
    reached : (n,) bool
        Whether any label reaches the point: there is one in its component, and not so far away that nothing of it is
        left in float64.
    labelled : (n,) bool
        Whether the point had a label.
    classes : (c,)
        The class of each column of `distributions`.
    solution : Solution
        The verdict on each column of the solve: status, iterations, residual, error bound.
    choice : Choice, optional
        What ``method="auto"`` chose, and why; None for other methods.
    """

    labels: AnyArray
    distributions: AnyArray
    certainty: AnyArray
    reached: Mask
    labelled: Mask
    classes: AnyArray
    solution: Solution
    choice: Choice | None = None

    @property
    def scores(self) -> AnyArray:
        """What the method computed, before rows were normalised: the start, `x0`, of a refresh.

        Examples
        --------
        >>> from manifold import graph_from_affinity, propagate
        >>> pairs = graph_from_affinity(np.kron(np.eye(2), [[0, 1], [1, 0]]))
        >>> propagate(pairs, [7, -1, 9, -1]).scores.astype(float).round(2).tolist()[::2]
        [[0.51, 0.0], [0.0, 0.51]]
        """
        scores: AnyArray = self.solution.scores
        return scores

    @property
    def columns(self) -> Ints:
        """The column of `classes` of each point (n,), -1 where no label reaches.

        Raises
        ------
        ValueError
            For real values and several labels a point, which are no columns.

        Examples
        --------
        >>> from manifold import graph_from_affinity, propagate
        >>> pairs = graph_from_affinity(np.kron(np.eye(2), [[0, 1], [1, 0]]))
        >>> propagate(pairs, [7, -1, 9, -1]).columns.tolist()
        [0, 0, 1, 1]
        """
        if self.labels.ndim > 1 or not self.distributions.shape[1]:
            raise ValueError("columns are those of classes: real values and several labels a point have none")
        return np.where(self.reached, self.distributions.argmax(axis=1), -1)

    @property
    def class_weights(self) -> Floats:
        """Weight of each class in a loss (c,), inverse to its size, of mean 1; see `manifold.labels.class_weights`.

        Examples
        --------
        >>> from manifold import graph_from_affinity, propagate
        >>> pairs = graph_from_affinity(np.kron(np.eye(2), [[0, 1], [1, 0]]))
        >>> propagate(pairs, [7, -1, 9, -1]).class_weights.tolist()
        [1.0, 1.0]
        """
        return class_weights(self.columns, self.classes.size)

    def save(self, path: str | PathLike[str]) -> Path:
        """Save the propagation as a folder; `manifold.load` gives it back, memory-mapped, to the bit.

        Raises
        ------
        TypeError
            For classes that are objects other than None, booleans, numbers and texts.
        FileExistsError, OSError
            See `manifold.storage.save_arrays`.

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> from manifold import graph_from_affinity, load, propagate
        >>> result = propagate(graph_from_affinity(np.kron(np.eye(2), [[0, 1], [1, 0]])), [7, -1, 9, -1])
        >>> with TemporaryDirectory() as folder:
        ...     load(result.save(f"{folder}/labels")).labels.tolist()
        [7, 7, 9, 9]
        """
        arrays, parameters = self._described()
        return save_arrays(path, kind="propagation", arrays=arrays, parameters=parameters)

    def _described(self) -> tuple[dict[str, AnyArray], dict[str, object]]:
        """Return arrays and parameters, from which `_from_stored` makes the same again."""
        solution = self.solution
        arrays: dict[str, AnyArray] = {name: getattr(self, name) for name in _OF_POINTS}
        arrays |= {name: getattr(solution, name) for name in _OF_COLUMNS} | {"scores": solution.scores}
        parameters: dict[str, object] = {"solver": solution.solver, "status": [s.name for s in solution.status]}
        parameters["choice"] = None if self.choice is None else self.choice.facts()
        # names of any kind become plain numbers: nothing is ever pickled
        arrays["labels"], parameters["labels"] = encode_names(self.labels)
        arrays["classes"], parameters["classes"] = encode_names(self.classes)
        return arrays, parameters

    @classmethod
    def _from_stored(cls, stored: Stored) -> Propagation:
        arrays, parameters = {name: np.asarray(array) for name, array in stored.arrays.items()}, stored.parameters
        labels, classes = (decode_names(arrays[name], parameters[name]) for name in ("labels", "classes"))
        n, q = arrays["scores"].shape
        c = arrays["distributions"].shape[1]
        shapes = {"distributions": (n, c), **dict.fromkeys(_OF_POINTS[1:], (n,)), **dict.fromkeys(_OF_COLUMNS, (q,))}
        if any(arrays[name].shape != shape for name, shape in shapes.items()):
            raise ValueError(f"arrays must have the shapes {shapes}")
        fits = len(labels) == n and c in (0, len(classes)) and len(classes) <= q == len(parameters["status"])
        if not fits:  # averages solve for moments beside their classes: q may be larger
            raise ValueError(f"labels, classes and status must be those of {n} points and {q} columns")
        if arrays["reached"].dtype != bool or arrays["labelled"].dtype != bool:
            raise ValueError("reached and labelled must be booleans")
        solution = Solution(
            scores=arrays["scores"],
            status=tuple(Status[name] for name in parameters["status"]),
            solver=parameters["solver"],
            **{name: arrays[name] for name in _OF_COLUMNS},
        )
        # folders of earlier versions have none
        chosen = parameters.get("choice")
        choice = None if chosen is None else Choice.of(chosen)
        parts = {name: arrays[name] for name in _OF_POINTS}
        return cls(labels=labels, classes=classes, solution=solution, choice=choice, **parts)

    def __repr__(self) -> str:
        n, labelled = self.reached.size, int(self.labelled.sum())
        missed = int(n - self.reached.sum())
        return (
            f"Propagation: {n:,} points, {labelled:,} labelled, {self.classes.size:,} classes, "
            f"{missed:,} unreached, mean certainty {self.certainty.mean():.2f}"
        )
