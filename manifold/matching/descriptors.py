"""Activations of a box to one vector: MAC, SPoC, GeM and CroW, by name.

In: tensors (..., H, W, K), non-negative. Out: (..., K), one number a channel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from manifold._typing import AnyArray, Floats

_EPS = 1e-6
Descriptor: TypeAlias = Callable[[AnyArray], Floats]


def max_pool(X: AnyArray) -> Floats:
    """Return the largest activation (..., K) of each channel: MAC.

    Reference: Razavian et al. (2014).

    >>> max_pool(np.arange(8.0).reshape(2, 2, 2)).tolist()
    [6.0, 7.0]
    """
    return np.asarray(X.max(axis=(-3, -2)), dtype=np.float64)


def sum_pool(X: AnyArray) -> Floats:
    """Return the sum (..., K) of the activations of each channel: SPoC without the prior of the centre (ICCV 2015).

    >>> sum_pool(np.arange(8.0).reshape(2, 2, 2)).tolist()
    [12.0, 16.0]
    """
    return np.asarray(X.sum(axis=(-3, -2), dtype=np.float64))


@np.errstate(under="ignore")
def generalized_mean_pool(X: AnyArray, p: float = 3.0) -> Floats:
    """Return (mean of max(x, 1e-6)^p)^(1/p) (..., K): GeM.

    p = 1 is the mean, large p the maximum.

    Reference: Radenović et al. (2019), eq. 3.

    >>> generalized_mean_pool(np.array([[[1.0], [2.0]]])).round(6).tolist()
    [1.650964]
    """
    if not (np.isfinite(p) and p > 0):
        raise ValueError(f"p must be a finite number > 0, got {p!r}: 3 is usual")
    x = np.maximum(np.asarray(X, dtype=np.float64), _EPS)
    largest = x.max(axis=(-3, -2), keepdims=True)  # x^p of a large p would overflow
    mean = ((x / largest) ** p).mean(axis=(-3, -2))
    return np.asarray(largest[..., 0, 0, :] * mean ** (1 / p))


def cross_dimensional_pool(X: AnyArray) -> Floats:
    """Return activations weighted by place and by channel, then summed (..., K): CroW.

    The weight of a place is sqrt(s / ||s||_2), s the sum of its channels; that of channel k is
    log((K e + sum of Q) / (e + Q_k)), Q_k the share of places where it is not 0: rare channels count more.

    Reference: Kalantidis et al. (2016).

    >>> cross_dimensional_pool(np.array([[[1.0, 0.0], [1.0, 1.0]]])).round(4).tolist()
    [0.6546, 1.039]
    """
    x = np.asarray(X, dtype=np.float64)
    s = x.sum(axis=-1, keepdims=True)
    norm = np.sqrt((s**2).sum(axis=(-3, -2), keepdims=True))
    weighted = (x * np.sqrt(s / np.where(norm > 0, norm, 1))).sum(axis=(-3, -2))
    Q = (x > 0).mean(axis=(-3, -2))
    rarity = np.log((x.shape[-1] * _EPS + Q.sum(axis=-1, keepdims=True)) / (_EPS + Q))
    return np.asarray(weighted * rarity)


DESCRIPTORS: dict[str, Descriptor] = {
    "mac": max_pool,
    "spoc": sum_pool,
    "gem": generalized_mean_pool,
    "crow": cross_dimensional_pool,
}
