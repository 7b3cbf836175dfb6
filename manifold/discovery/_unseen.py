"""Classes that nobody has labelled: clusters without labels, or next to none, each a class of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifold._typing import AnyArray, Floats, Ints
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
    priors : (q,) float64
        The share of each class of `labels`, in sorted order: of a new one that of its cluster, of those given what is
        left, by their numbers of labels.

    Examples
    --------
    >>> from manifold import graph_from_affinity
    >>> found = new_classes(graph_from_affinity(np.kron(np.eye(2), [[0, 1], [1, 0]])), ["cat", None, None, None])
    >>> found, found.priors.tolist()
    (NewClasses: 1 of 4 points: 'new 1', [0.5, 0.5])
    """

    labels: AnyArray
    names: AnyArray
    nodes: Ints
    clusters: Clusters
    priors: Floats

    def __len__(self) -> int:
        return self.nodes.size

    def __repr__(self) -> str:
        named = ", ".join(map(repr, self.names[:5].tolist())) + (" ..." if len(self) > 5 else "")
        return f"NewClasses: {len(self):,} of {self.labels.size:,} points{': ' * bool(named)}{named}"


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

    Propagated with the others they compete for every point, and end where these begin:

        found = new_classes(graph, y)
        result = propagate(graph, found.labels, priors=found.priors)

    Two steps, for what is new is to be looked at before it is believed: `nodes` show a point of each, and a class that
    turns out to be known is named so, or given the marker, in `labels`.

    Reference: guide *notation*, "Own methods".

    Parameters
    ----------
    graph, labels, unlabeled
        See `novelty`; integers or texts.
    hops, filter, solver
        See `cluster`: fewer hops find more and smaller classes, of known things, too. 3 serve mutual graphs; in a
        "sum" graph things have fewer modes: take 2.
    min_size : int
        Smaller clusters are none.

    Raises
    ------
    ValueError, TypeError
        As `novelty`; for classes that are neither integers nor texts.

    Notes
    -----
    Measured with three of ten digits hidden, 20 labels of each other one, six draws: eight new classes (a digit may
    have several modes) take 92 % of the hidden and 1 % of the known; with five labels, ten take 95 % and 5 %. Of
    groceries, 21 of 81 hidden: 73 % and 10 %.
    Cost: that of `cluster`.

    Examples
    --------
    >>> from manifold import graph_from_affinity, propagate
    >>> pairs = graph_from_affinity(np.kron(np.eye(3), [[0, 1], [1, 0]]))
    >>> found = new_classes(pairs, [7, -1, -1, -1, 5, -1])
    >>> found.names.tolist(), propagate(pairs, found.labels, priors=found.priors).labels.tolist()
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
    together = class_targets(labels, graph, targets.missing)
    sizes = together.Y.sum(axis=0)  # of labels, one of each new class
    new = np.isin(together.classes, names)
    mass = clusters.sizes[free] / graph.n_nodes
    sizes[~new] *= max(1 - mass.sum(), np.count_nonzero(targets.labelled) / graph.n_nodes) / sizes[~new].sum()
    sizes[new] = mass[np.argsort(names, kind="stable")]
    return NewClasses(labels, names, clusters.modes[free], clusters, sizes / sizes.sum())


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
