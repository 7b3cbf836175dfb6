"""What `propagate` is asked, read and checked: graphs by name, weights of labels, shares of classes, and seeds.

In: what a user gave. Out: seeds Y (n, c), whose column j adds up to the share of class j, and these shares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from manifold._arrays import as_numbers
from manifold._typing import Floats
from manifold.graph import Graph
from manifold.labels._base import Method, Problem
from manifold.labels.auto import Auto
from manifold.labels.balance import check_priors, estimated_priors
from manifold.labels.harmonic import Harmonic
from manifold.labels.targets import Targets
from manifold.neighbors import PointSet

PRIORS = ("estimated", "uniform", "propagated")


def asked_graphs(graph: Graph | Mapping[str, Graph], method: Method, points: PointSet | None) -> Mapping[str, Graph]:
    """Return graphs by name, checked: of the same points, one of them but for "auto"."""
    graphs = {"the graph": graph} if not isinstance(graph, Mapping) else graph
    odd = next((one for one in graphs.values() if not isinstance(one, Graph)), None)
    if odd is not None or not graphs:
        raise TypeError(f"graph must be a Graph, got {type(odd).__name__}: manifold.build_graph(X, edges='sum')")
    sizes = {one.n_nodes for one in graphs.values()} | ({points.X.shape[0]} if points is not None else set())
    if len(sizes) > 1:
        raise ValueError(f"graphs and points must be of the same points, got {sorted(sizes)} of them")
    if not isinstance(method, Auto) and len(graphs) > 1:
        raise ValueError(f"method 'auto' chooses among graphs, got {len(graphs)} for {method}: pass one")
    return graphs


def weighed(targets: Targets, weights: ArrayLike | None, method: Method) -> tuple[Targets, Floats | None]:
    """Return targets without the labels of weight 0, and the weights (n,), checked; None where all are of one size."""
    if weights is None:
        return targets, None
    w = as_numbers(weights, "sample_weight")
    n = targets.labelled.size
    if w.shape != (n,) or not (np.isfinite(w[targets.labelled]).all() and (w[targets.labelled] >= 0).all()):
        raise ValueError(f"sample_weight must be {n} finite numbers >= 0, got shape {w.shape} and {weights!r}")
    if isinstance(method, Harmonic):
        raise ValueError("method 'harmonic' holds labels fixed, so that they have no weight: leave out sample_weight")
    kept = targets.labelled & (w > 0)
    if not kept.any():
        raise ValueError("sample_weight must contain at least one non-zero number: every label weighs 0")
    targets = replace(targets, Y=sparse.csc_array(sparse.diags_array(kept * 1.0) @ targets.Y), labelled=kept)
    if (w[kept] == w[kept][0]).all():
        return targets, None
    w = np.where(kept, w, 0)
    # relative to their mean, so that only their ratios count
    return targets, w / w[kept].mean()


def class_shares(priors: str | ArrayLike, seeds: sparse.csc_array, classes: str | None) -> tuple[Floats, bool]:
    """Return the share of each class, and whether it is known."""
    c = seeds.shape[1]
    if classes not in (None, "even"):
        raise ValueError(f"classes must be None or 'even', got {classes!r}: pass shares that are known as priors")
    if not isinstance(priors, str):
        if classes is not None:
            raise ValueError("classes='even' and an array of priors say two things: pass one of them")
        return check_priors(priors, c), True
    if priors not in PRIORS:
        raise ValueError(f"priors must be one of {PRIORS} or an array ({c},), got {priors!r}")
    even = classes == "even" or priors == "uniform"
    # a class whose labels all weigh 0 has none left
    return (np.full(c, 1 / c) if even else estimated_priors(seeds.sum(axis=0))), classes == "even"


def with_propagated_sizes(problem: Problem) -> Problem:
    """Return the problem with the shares that classes have among the labels of "lgc", each with a point more."""
    scores = problem.diffuse(problem.seeds).scores
    sizes = np.bincount(scores[scores.any(axis=1)].argmax(axis=1), minlength=problem.priors.size) + 1.0
    return replace(problem, priors=sizes / sizes.sum())


def rows_of_shares(Y: sparse.csc_array) -> sparse.csc_array:
    """Return soft labels in rows of sum 1, of any size: by a power of two first, which is exact."""
    largest = Y.max(axis=1).toarray()
    Y = sparse.csc_array((np.ldexp(Y.data, -np.frexp(largest)[1][Y.indices]), Y.indices, Y.indptr), shape=Y.shape)
    mass = Y.sum(axis=1)
    return sparse.csc_array(Y * np.divide(1, mass, out=np.zeros_like(mass), where=mass > 0)[:, None])


def normalized(Y: sparse.csc_array, priors: Floats) -> sparse.csc_array:
    """Return seeds whose columns add up to their priors, at the scale of Y; a class without seeds stays empty."""
    sums = Y.sum(axis=0)
    factors = np.divide(sums.sum() * priors, sums, out=np.zeros_like(priors), where=sums > 0)
    return sparse.csc_array(Y * factors[None, :])
