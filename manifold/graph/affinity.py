"""Similarities to edge weights: the kernel w(s) of the graph, used again for the seeds of a query.

In: similarities of `Neighbors`. Out: weights >= 0, by one of

    power         w_ij = max(s_ij, 0)^gamma                     (Iscen et al., CVPR 2017, section 5.1)
    self_tuning   w_ij = exp(-d_ij^2 / (sigma_i sigma_j))       (Zelnik-Manor and Perona, NIPS 2004)
    ranked        w_ij over r_ij, the place of j in the list of i

Of two ranked weights the mutual rule keeps the smaller, w / max(r_ij, r_ji): what is far down either list counts for
little, so that lists may be longer than a class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manifold._typing import AnyArray, Floats, Ints

KERNELS = ("power", "self_tuning", "ranked")
SCALE_RANK = 7  # sigma_i is the distance to the 7th neighbour, as in the paper


def default_gamma(metric: str) -> float:
    """Return the exponent that doors take where none is given: similarities made elsewhere are weights as they are.

    >>> default_gamma("cosine"), default_gamma("precomputed")
    (3.0, 1.0)
    """
    return 1.0 if metric == "precomputed" else 3.0


@dataclass(frozen=True)
class Affinity:
    """A kernel that turns similarities of one metric into weights.

    Reference: Iscen et al. (2017), section 3.1, for powers; Zelnik-Manor and Perona (2004), section 2, for self-tuning
    scales; guide *notation*, "Own methods", for ranks.

    Parameters
    ----------
    kind : {"auto", "power", "self_tuning", "ranked"}
        "auto" is "self_tuning" for Euclidean similarities (which are negative) and "power" for the others; "ranked" is
        the same over the place in the list, of which equal similarities share the first.
    gamma : float
        Exponent of powers, > 0; larger trusts near neighbours more.
    metric : {"cosine", "inner_product", "euclidean", "precomputed"}
        What the similarities are.

    Raises
    ------
    ValueError
        For an unknown kind, a gamma that is not positive, or a kind that does not fit the metric.

    Examples
    --------
    >>> float(Affinity().weights(np.array([0.5]))[0])
    0.125
    """

    kind: str = "auto"
    gamma: float = 3.0
    metric: str = "cosine"

    def __post_init__(self) -> None:
        if self.kind == "auto":
            object.__setattr__(self, "kind", "self_tuning" if self.metric == "euclidean" else "power")
        if self.kind not in KERNELS:
            raise ValueError(f"affinity must be one of {('auto', *KERNELS)}, got {self.kind!r}")
        if not (isinstance(self.gamma, int | float | np.number) and np.isfinite(self.gamma) and self.gamma > 0):
            raise ValueError(f"gamma must be a positive number, got {self.gamma!r}")
        if self.kind == "power" and self.metric == "euclidean":
            raise ValueError("affinity='power' would clip every Euclidean similarity to 0: use 'self_tuning'")
        if self.kind == "self_tuning" and self.metric not in ("euclidean", "cosine"):
            raise ValueError(f"affinity='self_tuning' needs distances, not metric={self.metric!r}: use 'power'")

    def __str__(self) -> str:
        return self.kind if self.is_scaled else f"{self.kind}, gamma={self.gamma:g}"

    @property
    def is_scaled(self) -> bool:
        """Whether a weight depends on the scales of both its ends.

        >>> Affinity().is_scaled, Affinity("ranked").is_scaled, Affinity("ranked", metric="euclidean").is_scaled
        (False, False, True)
        """
        return self.kind == "self_tuning" or self.metric == "euclidean"

    def scales(self, similarities: NDArray[np.float32]) -> Floats:
        """Return sigma (n,): the distance to the 7th neighbour of each row, or to the last of a shorter one.

        Where that distance is 0 (copies), the smallest positive distance of the row stands in; where there is
        none, 1, which no distance is divided by.

        >>> Affinity(metric="euclidean").scales(-np.array([[1.0, 4.0, 9.0]], dtype=np.float32)).tolist()
        [3.0]
        """
        n, k = similarities.shape
        if not self.is_scaled or k == 0:
            return np.ones(n)
        squares = self._squared_distances(similarities)
        found = np.isfinite(squares)
        last = np.minimum(found.sum(axis=1), SCALE_RANK) - 1
        sigma = np.sqrt(np.where(last >= 0, squares[np.arange(n), np.maximum(last, 0)], 0.0))
        nearest = np.sqrt(np.where(found & (squares > 0), squares, np.inf).min(axis=1))
        return np.where(sigma > 0, sigma, np.where(np.isfinite(nearest), nearest, 1.0))

    def weights(
        self,
        similarities: AnyArray,
        row_scales: Floats | float = 1.0,
        column_scales: Floats | float = 1.0,
        *,
        ranks: AnyArray | None = None,
    ) -> Floats:
        """Return weights >= 0 of the shape of `similarities`; a missing neighbour (-inf) gets 0.

        The scales are sigma of the two ends of each pair, broadcast; only kernels that are scaled look at them. The
        ranks are by default those of the last axis, which "ranked" alone looks at. A cosine that is not positive gets 0
        from every kernel, so that the zero vector, of cosine 0 to all, is isolated.

        >>> Affinity(metric="euclidean").weights(np.array([[-4.0, -np.inf]]), 2.0, 2.0).round(4).tolist()
        [[0.3679, 0.0]]
        >>> Affinity("ranked", gamma=1.0).weights(np.array([[0.9, 0.8]])).tolist()
        [[0.9, 0.4]]
        """
        with np.errstate(under="ignore"):
            if self.is_scaled:
                weights = np.exp(-self._squared_distances(similarities) / (row_scales * column_scales))
                weights = weights if self.metric == "euclidean" else np.where(similarities > 0, weights, 0.0)
            else:
                weights = np.asarray(np.maximum(similarities, 0).astype(np.float64) ** self.gamma)
            if self.kind != "ranked":
                return weights
            return np.asarray(weights / (ranks_of(similarities) if ranks is None else ranks))

    def _squared_distances(self, similarities: AnyArray) -> Floats:
        s = similarities.astype(np.float64)
        return np.maximum(-s if self.metric == "euclidean" else 2 - 2 * s, 0.0)


def ranks_of(similarities: AnyArray) -> Ints:
    """Return the rank (..., k) of each entry in its list, best first: 1 for the first, and the same for equal ones.

    Copies are so of one weight, whatever their order.

    >>> ranks_of(np.array([[0.9, 0.8, 0.8, 0.5]])).tolist()
    [[1, 2, 2, 4]]
    """
    places = np.arange(1, similarities.shape[-1] + 1)
    first = np.ones(similarities.shape, dtype=bool)
    first[..., 1:] = similarities[..., 1:] != similarities[..., :-1]
    ranks: Ints = np.maximum.accumulate(np.where(first, places, 0), axis=-1)
    return ranks
