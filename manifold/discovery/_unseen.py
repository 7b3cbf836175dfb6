"""Classes that nobody has labelled: clusters without labels, or next to none, each a class of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifold._typing import AnyArray, Ints
from manifold.discovery._novelty import class_targets
from manifold.discovery.clusters import Clusters, cluster
from manifold.filters import Diffusion, Filter
from manifold.graph import Graph
from manifold.labels.targets import names_of
from manifold.solvers import Solver

_DEFAULT_FILTER = Diffusion(0.9)
_STRAY = 0.25  # of the labels that the size of a cluster lets expect


@dataclass(frozen=True, eq=False)
class NewClasses:
    """Labels with new classes among them, each by the mode of a cluster without labels.

    Reference: guide *notation*, "Own methods".

    Attributes
    ----------
    labels : (n,)
        Those given, and of each new class one point: what `manifold.propagate` takes next.
    names : (c,)
        The new classes: integers after the largest, or "new 1", "new 2", ... beside texts.
    nodes : (c,) int64
        The point that each is named by.
    clusters : Clusters
        Of the whole collection.

    Examples
    --------
    >>> from manifold import graph_from_affinity
    >>> found = new_classes(graph_from_affinity(np.kron(np.eye(2), [[0, 1], [1, 0]])), ["cat", None, None, None])
    >>> len(found), found.names.tolist()
    (1, ['new 1'])
    """

    labels: AnyArray
    names: AnyArray
    nodes: Ints
    clusters: Clusters

    def __len__(self) -> int:
        return self.nodes.size


def new_classes(
    graph: Graph,
    labels: object,
    *,
    hops: int = 3,
    min_size: int = 2,
    filter: Filter = _DEFAULT_FILTER,
    solver: str | Solver = "cg",
    unlabeled: object = -1,
) -> NewClasses:
    """Find classes that nobody has labelled: clusters of no labels, or a quarter of those to expect, by their size.

    Propagated with the others they compete for every point: ``propagate(graph, new_classes(graph, y).labels)``.

    Reference: guide *notation*, "Own methods".

    Parameters
    ----------
    graph, labels, unlabeled
        See `novelty`; integers or texts.
    hops, filter, solver
        See `cluster`: fewer hops find more and smaller classes, of known things, too. 3 serve mutual graphs: of digits
        with three of ten hidden, 20 labels of each other one, 93 % of the hidden come into new classes (of which there
        are eight, digits having several modes) and 1 % of the known. In a "sum" graph things have fewer modes: take 2.
    min_size : int
        Smaller clusters are none.

    Raises
    ------
    ValueError, TypeError
        As `novelty`; for classes that are neither integers nor texts.

    Examples
    --------
    >>> from manifold import graph_from_affinity, propagate
    >>> pairs = graph_from_affinity(np.kron(np.eye(3), [[0, 1], [1, 0]]))
    >>> found = new_classes(pairs, [7, -1, -1, -1, 5, -1])
    >>> found.names.tolist(), propagate(pairs, found.labels).labels.tolist()
    ([8], [7, 7, 8, 8, 5, 5])
    """
    targets = class_targets(labels, graph, unlabeled)
    clusters = cluster(graph, hops=hops, filter=filter, solver=solver)
    inside = clusters.labels[targets.labelled]
    n_labels = np.bincount(inside[inside >= 0], minlength=len(clusters))
    expected = clusters.sizes * (np.count_nonzero(targets.labelled) / graph.n_nodes)
    # one label that strayed into a cluster does not make it known
    unknown = (n_labels < _STRAY * expected) | (n_labels == 0)
    unknown[np.isin(clusters.modes, np.flatnonzero(targets.labelled))] = False
    free = np.flatnonzero(unknown & (clusters.sizes >= min_size))
    free = free[np.lexsort((free, -clusters.sizes[free]))]
    names = _names(targets.classes, free.size)
    place = np.where(targets.labelled, np.asarray(targets.Y.tocsr().argmax(axis=1)).ravel(), -1)
    place[clusters.modes[free]] = targets.classes.size + np.arange(free.size)
    labels = names_of(np.concatenate([targets.classes, names]), place, targets.missing)
    return NewClasses(labels, names, clusters.modes[free], clusters)


def _names(classes: AnyArray, n: int) -> AnyArray:
    """Return n names that no class has, of the kind of the others."""
    if classes.dtype.kind in "iu":
        return np.arange(n) + int(classes.max()) + 1
    if all(isinstance(name, str) for name in classes.tolist()):
        taken = set(classes.tolist())
        unused = (f"new {i}" for i in range(1, n + len(taken) + 1) if f"new {i}" not in taken)
        return np.array(
            [name for name, _ in zip(unused, range(n), strict=False)], dtype=classes.dtype if not n else None
        )
    raise TypeError(f"labels must be integers or texts for new ones to be named, got {classes[:3].tolist()}")
