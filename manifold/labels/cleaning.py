"""Cleaning of noisy labels: a few examples known to be clean, many doubtful ones in, a relevance in [0, 1] out.

Each class by itself, its clean and doubtful examples being the nodes of one graph:

    diffusion   r = h(S) 1_clean, scaled so that the largest is 1
    gcn         r = sigmoid(A relu(A X W_1) w_2),  A = (D + I)^-1 (W + I), trained to tell clean from doubtful
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import expit

from manifold._arrays import as_array, as_integers, as_numbers
from manifold._checks import check_count, check_features, generator
from manifold._resources import require_memory
from manifold._typing import AnyArray, RandomState
from manifold.errors import ManifoldDeprecationWarning, warn
from manifold.filters import Diffusion, Filter
from manifold.graph import Graph, build_graph
from manifold.solvers import Solver, diffuse

FloatArray: TypeAlias = NDArray[np.floating]
BoolArray: TypeAlias = NDArray[np.bool_]
Parameters: TypeAlias = tuple[FloatArray, FloatArray]  # W_1 (d, hidden), w_2 (hidden,)

RELEVANCES = ("gcn", "diffusion")
_DEFAULT_FILTER = Diffusion(0.99)
_EPSILON = 1e-6  # inside the logarithms, as published
_SHOTS = {1: 0.01, 2: 0.05, 5: 0.5, 10: 1.0, 20: 5.0}  # clean examples -> published weight of the doubtful ones


def clean_labels(
    features: object,
    labels: ArrayLike,
    clean: ArrayLike,
    *,
    relevance: str = "gcn",
    n_neighbors: int = 50,
    noise_weight: float | None = None,
    random_state: RandomState = None,
    method: str | None = None,
) -> FloatArray:
    """Say how far each doubtful label is to be believed, class by class.

    Reference: Iscen et al. (2020).

    Parameters
    ----------
    features : (n, d) array-like
        Examples; compared by cosine.
    labels : (n,) int array
        Labels given to them, some wrong; -1 for none.
    clean : (n,) bool array
        Whose label is known to be right: at least one example a class.
    relevance : {"gcn", "diffusion"}
        See `gcn_relevance` and `diffusion_relevance`.
    n_neighbors : int
        k of the mutual graph of each class, at most its size less one.
    noise_weight, random_state
        See `gcn_relevance`; every class starts from the same `random_state`.
    method : str, optional
        The old name of `relevance`, which warns.

    Returns
    -------
    (n,) float32 relevance in [0, 1]: 1 for clean examples, 0 for unlabelled ones.

    Raises
    ------
    ValueError
        For a class without clean examples, an unknown relevance, or arrays of different lengths.

    Examples
    --------
    >>> from manifold.datasets import digits
    >>> X, y = digits()
    >>> noisy = np.where(np.random.default_rng(3).random(y.size) < 0.5, (y + 1) % 10, y)
    >>> clean = np.zeros(y.size, dtype=bool)
    >>> for c in range(10):
    ...     clean[np.flatnonzero((y == c) & (noisy == c))[:5]] = True
    >>> r = clean_labels(X, noisy, clean, random_state=0)
    >>> for w in (np.ones(y.size), r):
    ...     right = (X @ weighted_prototypes(X, noisy, w).T).argmax(axis=1) == y
    ...     print(f"{right[~clean].mean():.1f}")
    0.5
    0.8
    """
    if method is not None:
        warn(
            "clean_labels(method=) is clean_labels(relevance=) now, and will go in the next version",
            ManifoldDeprecationWarning,
        )
        relevance = method
    if relevance not in RELEVANCES:
        raise ValueError(f"relevance must be one of {RELEVANCES}, got {relevance!r}")
    X = check_features(features, "features")
    given, sure = _integers(labels, len(X)), as_array(clean, "clean")
    if sure.shape != (len(X),) or sure.dtype != bool:
        raise ValueError(f"clean must be booleans ({len(X)},), got {sure.dtype} {sure.shape}")
    check_count(n_neighbors, "n_neighbors")
    out = np.zeros(len(X), dtype=X.dtype)
    for c in np.unique(given[given >= 0]):
        members = np.flatnonzero(given == c)
        known = sure[members]
        if not known.any():
            raise ValueError(f"class {c} has no clean example: give at least one, or set its labels to -1")
        if known.all():
            out[members] = 1
            continue
        k = min(n_neighbors, members.size - 1)
        # bridges would join outliers to the class, and these are what is looked for
        graph = build_graph(X[members], k, gamma=1, edges="mutual", bridge=0)
        if relevance == "gcn":
            out[members] = gcn_relevance(graph, X[members], known, noise_weight=noise_weight, random_state=random_state)
        else:
            out[members] = diffusion_relevance(graph, known)
    return out


def diffusion_relevance(
    graph: Graph, clean: ArrayLike, *, filter: Filter = _DEFAULT_FILTER, solver: str | Solver = "auto"
) -> FloatArray:
    """Diffuse from the clean examples of a class to the doubtful ones; nothing is trained.

        r = h(S) 1_clean / max over doubtful, and 1 for clean examples

    Parameters
    ----------
    graph : Graph
        n examples of one class.
    clean : (n,) bool array
    filter, solver
        See `manifold.diffuse`.

    Returns
    -------
    (n,) relevance in [0, 1]; exactly 0 where no clean example lies in the same component.

    Examples
    --------
    >>> from manifold import graph_from_affinity
    >>> path = graph_from_affinity([[0, 2, 0], [2, 0, 1], [0, 1, 0]])
    >>> diffusion_relevance(path, np.array([True, False, False])).round(2).tolist()
    [1.0, 1.0, 0.5699999928474426]
    """
    known = _check_clean(clean, graph.n_nodes)
    scores = np.maximum(diffuse(graph, known * 1.0, filter=filter, solver=solver).scores, 0)
    # the largest of the doubtful, not of all: clean examples hold their own seeds, and would dwarf the others
    largest = scores[~known].max(initial=0)
    out: FloatArray = np.where(known, 1, scores / largest if largest > 0 else 0).astype(graph.dtype)
    return out


def gcn_relevance(
    graph: Graph,
    features: object,
    clean: ArrayLike,
    *,
    noise_weight: float | None = None,
    hidden: int = 16,
    dropout: float = 0.5,
    learning_rate: float = 0.1,
    weight_decay: float = 5e-4,
    n_epochs: int = 100,
    random_state: RandomState = None,
) -> FloatArray:
    """Train a graph convolutional network of two layers to tell clean examples from doubtful ones.

        p = sigmoid(A relu(A X W_1) w_2)
        loss = -mean over clean of log(p + eps) - lambda mean over doubtful of log(1 - p + eps)

    A doubtful example that looks like the clean ones, and whose neighbours do, is told from them badly: its p is high.

    Reference: Iscen et al. (2020); Kipf and Welling (2017), for the layers.

    Parameters
    ----------
    graph : Graph
        n examples of one class.
    features : (n, d) array-like
        X; rows are scaled to unit length.
    clean : (n,) bool array
    noise_weight : float, optional
        lambda > 0; by default the published one for that many clean examples, from 0.01 at 1 to 5 at 20.
    hidden, dropout
        Width of the first layer, and the share of it left out in each step.
    learning_rate, weight_decay, n_epochs
        Of Adam; the rate is divided by 10 after each 30 epochs.
    random_state : int or numpy.random.Generator, optional
        For the first weights and the dropout.

    Returns
    -------
    (n,) relevance in [0, 1]; 1 for clean examples.

    Notes
    -----
    Cost: an epoch takes two products (n, d) x (d, hidden) and two of A with a vector; A X is computed once.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((60, 5)) + np.repeat([[4, 0, 0, 0, 0], [0, 4, 0, 0, 0]], 30, axis=0)
    >>> p = gcn_relevance(build_graph(X, 10, gamma=1), X, np.arange(60) < 5, random_state=0)
    >>> bool(p[5:30].min() > p[30:].max())
    True
    """
    known = _check_clean(clean, graph.n_nodes)
    X = check_features(features, "features")
    if len(X) != graph.n_nodes:
        raise ValueError(f"features must have {graph.n_nodes} rows, as the graph has nodes, got {len(X)}")
    if known.all():
        return np.ones(len(X), dtype=X.dtype)
    if noise_weight is None:
        noise_weight = _SHOTS[max(shots for shots in _SHOTS if shots <= known.sum())]
    if not 0 < noise_weight < np.inf:
        raise ValueError(f"noise_weight must be a positive number, got {noise_weight!r}: 0.01 to 5 are published")
    rng = generator(random_state)
    # A X does not change while the network learns: one product serves all epochs
    A = _row_normalized(graph).astype(X.dtype)
    network = _Network(A, A @ _unit(X), known, noise_weight)
    parameters = _glorot(rng, X.shape[1], hidden), _glorot(rng, hidden, 1)[:, 0]
    moments = [(np.zeros_like(x), np.zeros_like(x)) for x in parameters]
    for epoch in range(n_epochs):
        # scaled up while it trains, so that what is predicted with all units needs no factor
        kept = (rng.random((len(X), hidden)) >= dropout).astype(X.dtype) / (1 - dropout)
        _, gradients = network.loss(parameters, kept)
        rate = learning_rate * 0.1 ** (epoch // 30)
        for x, gradient, (first, second) in zip(parameters, gradients, moments, strict=True):
            _adam_step(x, gradient + weight_decay * x, first, second=second, rate=rate, n_steps=epoch + 1)
    return np.where(known, X.dtype.type(1), network.predict(parameters))


def weighted_prototypes(features: object, labels: ArrayLike, relevance: ArrayLike) -> FloatArray:
    """Return the unit mean (c, d) of the unit vectors of each class 0..c-1, weighted by relevance.

    The classifier of the paper: a query belongs to the prototype of the largest inner product. A class without
    relevance has a row of zeros.

    Examples
    --------
    >>> X = [[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]]
    >>> weighted_prototypes(X, np.array([0, 1, 0]), np.array([1.0, 1.0, 0.0])).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    X = check_features(features, "features")
    given, weights = _integers(labels, len(X)), as_numbers(relevance, "relevance")
    if weights.shape != given.shape:
        raise ValueError(f"relevance must be numbers ({len(X)},), got {weights.dtype} {weights.shape}")
    # in Python: an int8 label 127 plus one would be -128
    c = int(given.max()) + 1 if given.size and (given >= 0).any() else 0
    require_memory(4 * c * X.shape[1], purpose=f"prototypes of {c} classes", cure="number the classes from 0")
    rows = np.flatnonzero(given >= 0)
    assign = sparse.csr_array((weights[rows], (given[rows].astype(np.int64), rows)), shape=(c, len(X)))
    return _unit(assign @ _unit(X))


def _integers(labels: ArrayLike, n: int) -> AnyArray:
    given = as_integers(labels, "labels")
    if given.shape != (n,):
        raise ValueError(f"labels must be integers ({n},), got {given.dtype} {given.shape}")
    return given


def _unit(X: FloatArray) -> FloatArray:
    """Scale rows to unit length; a row of zeros stays."""
    norms: FloatArray = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(norms > 0, norms, 1)


class _Network:
    """The two layers on one graph, with the loss and its gradients by hand."""

    def __init__(self, A: sparse.csr_array, AX: FloatArray, clean: BoolArray, noise_weight: float) -> None:
        self.A, self.transposed, self.AX, self.clean = A, A.T.tocsr(), AX, clean
        # d loss / d log of each example: the two means, with lambda
        self.share = np.where(clean, 1 / clean.sum(), noise_weight / (~clean).sum()).astype(AX.dtype)

    def predict(self, parameters: Parameters, kept: FloatArray | float = 1) -> FloatArray:
        """Return p (n,), with the hidden units thinned out by `kept` (n, hidden)."""
        p: FloatArray = expit(self.A @ (np.maximum(self.AX @ parameters[0], 0) * kept @ parameters[1]))
        return p

    def loss(self, parameters: Parameters, kept: FloatArray | float = 1) -> tuple[float, Parameters]:
        """Return the loss and its gradients with respect to W_1 and w_2."""
        W1, w2 = parameters
        H = self.AX @ W1
        active = (H > 0) * kept
        H *= active
        p = expit(self.A @ (H @ w2))
        likely = np.where(self.clean, p, 1 - p) + _EPSILON
        value = -float((self.share * np.log(likely)).sum())
        slope = np.where(self.clean, -1, 1) * self.share / likely * p * (1 - p)  # d loss / d logit
        back = self.transposed @ slope.astype(H.dtype)
        return value, (self.AX.T @ (back[:, None] * w2 * active), H.T @ back)


def _glorot(rng: np.random.Generator, n_in: int, n_out: int) -> NDArray[np.float32]:
    """First weights of a layer: uniform, of variance 2 / (n_in + n_out), after Glorot and Bengio (2010)."""
    bound = (6 / (n_in + n_out)) ** 0.5
    return rng.uniform(-bound, bound, (n_in, n_out)).astype(np.float32)


def _adam_step(
    x: FloatArray, gradient: FloatArray, first: FloatArray, *, second: FloatArray, rate: float, n_steps: int
) -> None:
    """One step of Adam, that of Kingma and Ba (2015), in place, with its published decay rates."""
    first += 0.1 * (gradient - first)
    second += 0.001 * (gradient**2 - second)
    x -= rate * (first / (1 - 0.9**n_steps)) / (np.sqrt(second / (1 - 0.999**n_steps)) + 1e-8)


def _row_normalized(graph: Graph) -> sparse.csr_array:
    """Return (D + I)^-1 (W + I), whose rows sum to 1."""
    W = graph.affinity + sparse.eye_array(graph.n_nodes, dtype=graph.dtype, format="csr")
    return sparse.csr_array(sparse.diags_array(1 / (graph.degrees + 1)) @ W)


def _check_clean(clean: ArrayLike, n: int) -> BoolArray:
    known: BoolArray = as_array(clean, "clean")
    if known.shape != (n,) or known.dtype != bool or not known.any():
        raise ValueError(f"clean must be booleans ({n},), one of them true at least, got {known.dtype} {known.shape}")
    return known
