"""Classifiers and transforms of stacked few-shot episodes: t tasks of one shape in one call.

    V_i = x_i / ||x_i||    A_ij = max(V_i V_j', 0)^gamma, j among the k nearest of i    W = A + A'
    Z = (1 - alpha) (I - alpha S)^-1 Y        for every episode, S its own graph, Y its support

In: support (t, c, s, d) and queries (t, m, d). Out: distributions (t, m, c), or both, transformed.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from manifold._checks import check_count, check_features
from manifold.filters import Diffusion

FloatArray: TypeAlias = NDArray[np.floating]


def propagated(
    support: FloatArray, queries: FloatArray, *, n_neighbors: int = 15, alpha: float = 0.8, gamma: float = 3.0
) -> FloatArray:
    """Propagate the labels of the support over the graph of each episode: transductive inference.

        Z = (1 - alpha) (I - alpha S)^-1 Y, rows of the queries, scaled to sum 1

    Reference: Lazarou et al. (2021), for the graph and its settings.

    Parameters
    ----------
    support, queries : (t, c, s, d), (t, m, d)
    n_neighbors : int
        k neighbours of each point, by cosine; ties at the k-th are all kept. W = A + A'.
    alpha, gamma
        See `manifold.Diffusion` and `manifold.graph.affinity.Affinity`.

    Returns
    -------
    (t, m, c) distributions; uniform where no label reaches a query.

    Examples
    --------
    >>> s, q = np.array([[[[1.0, 0.0]], [[0.0, 1.0]]]]), np.array([[[0.9, 0.1], [0.2, 0.8]]])
    >>> propagated(s, q, n_neighbors=1).argmax(axis=-1).tolist()
    [[0, 1]]
    """
    t, c, s, _ = support.shape
    W = _neighbor_graphs(_unit(_joined(support, queries)), check_count(n_neighbors, "n_neighbors"), gamma)
    Y = np.zeros((W.shape[1], c), dtype=W.dtype)
    Y[np.arange(c * s), np.repeat(np.arange(c), s)] = 1
    Z = np.maximum(_diffused(W, np.broadcast_to(Y, (t, *Y.shape)), alpha)[:, c * s :], 0)
    mass = Z.sum(axis=-1, keepdims=True)
    out: FloatArray = np.divide(Z, mass, out=np.full_like(Z, 1 / c), where=mass > 0)
    return out


def prototypes(support: FloatArray, queries: FloatArray, *, scale: float = 10.0) -> FloatArray:
    """Assign each query to the nearest class mean: softmax of -scale ||q - mean||^2, on unit vectors.

    Reference: Snell et al. (2017), eqs. 1 and 2.

    Examples
    --------
    >>> s, q = np.array([[[[1.0, 0.0]], [[0.0, 1.0]]]]), np.array([[[0.9, 0.1]]])
    >>> prototypes(s, q).argmax(axis=-1).tolist()
    [[0]]
    """
    means, queries = _unit(support).mean(axis=2), _unit(queries)
    squares = (means**2).sum(axis=-1)[:, None, :] - 2 * queries @ means.swapaxes(1, 2)  # ||q||^2 decides nothing
    out: FloatArray = softmax(-scale * squares, axis=-1)
    return out


def imprinted_weights(
    support: FloatArray, queries: FloatArray, *, scale: float = 10.0, n_steps: int = 0, step: float = 0.1
) -> FloatArray:
    """Classify by cosine with weights imprinted from the support, tuned by gradient descent if asked for.

        w_j = unit mean of the unit vectors of class j,    P = softmax(scale V w')

    Reference: Qi et al. (2018).

    Parameters
    ----------
    support, queries : (t, c, s, d), (t, m, d)
    scale : float
        Inverse temperature.
    n_steps, step : int, float
        Steps on the mean cross-entropy of the support, and their length; weights return to the sphere after each.

    Examples
    --------
    >>> s, q = np.array([[[[1.0, 0.0]], [[0.0, 1.0]]]]), np.array([[[0.9, 0.1]]])
    >>> imprinted_weights(s, q, n_steps=10).argmax(axis=-1).tolist()
    [[0]]
    """
    t, c, s, d = support.shape
    V = _unit(support)
    weights = _unit(V.mean(axis=2))
    V = V.reshape(t, c * s, d)
    Y = np.repeat(np.eye(c, dtype=V.dtype), s, axis=0)
    for _ in range(n_steps):
        errors = softmax(scale * V @ weights.swapaxes(1, 2), axis=-1) - Y
        weights = _unit(weights - step * scale / (c * s) * errors.swapaxes(1, 2) @ V)
    out: FloatArray = softmax(scale * _unit(queries) @ weights.swapaxes(1, 2), axis=-1)
    return out


def power_transform(X: object, *, beta: float = 0.5) -> FloatArray:
    """Make features more Gaussian, row by row: x -> sign(x) |x|^beta, scaled to unit length.

    Reference: Hu et al. (2021), where features are non-negative.

    Parameters
    ----------
    X : (n, d) array-like
        Features; those after a rectifier, which are skewed, gain most.
    beta : float in (0, 1]

    Examples
    --------
    >>> power_transform([[9.0, 16.0]]).round(3).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    if not 0 < beta <= 1:
        raise ValueError(f"beta must lie in (0, 1], got {beta!r}: 0.5 is usual")
    rows = check_features(X)
    return _unit(np.sign(rows) * np.abs(rows) ** np.float32(beta))


def centred(support: FloatArray, queries: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Subtract the mean of each episode's unit vectors, and scale back to unit length: a transform.

    Examples
    --------
    >>> s, q = centred(np.array([[[[1.0, 0.0]], [[0.0, 1.0]]]]), np.array([[[1.0, 0.0], [0.0, 1.0]]]))
    >>> q.round(3).tolist()
    [[[0.707, -0.707], [-0.707, 0.707]]]
    """
    V = _unit(_joined(support, queries))
    return _split(_unit(V - V.mean(axis=1, keepdims=True)), support.shape)


def embedding_propagated(
    support: FloatArray, queries: FloatArray, *, alpha: float = 0.5
) -> tuple[FloatArray, FloatArray]:
    """Smooth the features of each episode over its own full graph: a transform.

        A_ij = exp(-||x_i - x_j||^2 / sigma),    X <- (1 - alpha) (I - alpha S)^-1 X

    with sigma the standard deviation of the squared distances of the episode, so that the unit of X does not matter.

    Reference: Rodríguez et al. (2020).

    Examples
    --------
    >>> s, q = embedding_propagated(np.array([[[[1.0, 0.0]], [[0.0, 1.0]]]]), np.array([[[0.9, 0.1], [0.2, 0.8]]]))
    >>> s.shape, q.shape
    ((1, 2, 1, 2), (1, 2, 2))
    """
    X = _joined(support, queries)
    squares = (X**2).sum(axis=-1)
    distances = np.maximum(squares[:, :, None] + squares[:, None, :] - 2 * X @ X.swapaxes(1, 2), 0)
    off = ~np.eye(X.shape[1], dtype=bool)
    sigma = distances[:, off].std(axis=1)[:, None, None]
    W = np.exp(-distances / np.where(sigma > 0, sigma, 1)) * off
    return _split(_diffused(W, X, alpha), support.shape)


def _joined(support: FloatArray, queries: FloatArray) -> FloatArray:
    t, c, s, d = support.shape
    return np.concatenate([support.reshape(t, c * s, d), queries], axis=1)


def _split(X: FloatArray, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    _, c, s, _ = shape
    return X[:, : c * s].reshape(shape), X[:, c * s :]


def _unit(X: FloatArray) -> FloatArray:
    """Scale rows to unit length; a row of zeros stays."""
    norms: FloatArray = np.linalg.norm(X, axis=-1, keepdims=True)
    return np.divide(X, norms, out=np.zeros_like(X), where=norms > 0)


def _neighbor_graphs(V: FloatArray, k: int, gamma: float) -> FloatArray:
    """Return W = A + A' (t, N, N) of unit vectors V (t, N, d)."""
    N = V.shape[1]
    similarities = V @ V.swapaxes(1, 2)
    similarities[:, np.arange(N), np.arange(N)] = -np.inf  # no point is its own neighbour
    if k < N - 1:
        least = np.partition(similarities, N - k, axis=-1)[:, :, N - k, None]
        similarities[similarities < least] = -np.inf
    # max(-inf, 0) is 0: who is no neighbour weighs nothing
    A = np.maximum(similarities, 0) ** V.dtype.type(gamma)
    return A + A.swapaxes(1, 2)


def _diffused(W: FloatArray, Y: FloatArray, alpha: float) -> FloatArray:
    """Return (1 - alpha) (I - alpha S)^-1 Y for stacked graphs (t, N, N); an isolated node keeps (1 - alpha) Y."""
    ((scale, alpha),) = Diffusion(alpha).resolvents
    degrees = W.sum(axis=-1)
    # 0 for an isolated node: its row of S is empty, and it keeps its own seed
    root = np.divide(1, np.sqrt(degrees), out=np.zeros_like(degrees), where=degrees > 0)
    system = -W.dtype.type(alpha) * root[:, :, None] * W * root[:, None, :]
    diagonal = np.arange(W.shape[1])
    system[:, diagonal, diagonal] += 1
    return np.linalg.solve(system, W.dtype.type(scale) * Y)
