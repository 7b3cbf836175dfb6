"""Local features of activation maps: peaks of each channel, whose word is the channel.

In: tensors (H, W, K) of a convolutional network, non-negative. Out: `LocalFeatures` in cells, for `verify`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from manifold._arrays import as_numbers
from manifold._checks import check_count
from manifold._typing import AnyArray, Floats, Ints
from manifold.matching.features import LocalFeatures

_AROUND = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))


def activation_features(activations: Iterable[object], *, per_channel: int = 10, total: int = 300) -> LocalFeatures:
    """Return the peaks of activation maps as local features: x, y in cells, of scale 1 and angle 0; words are channels.

    A peak is larger than all eight cells around it; its place is the centroid of the nine, weighted by activation:
    ``p = sum_c a_c p_c / sum_c a_c``, the centre of the first cell at (0, 0).

    Reference: Siméoni et al. (2019), where peaks stand in for their maximally stable regions.

    Parameters
    ----------
    activations : (N, H, W, K) array-like, or sequence of N (H_i, W_i, K)
        Finite and >= 0, as after a rectifier.
    per_channel, total : int
        Strongest peaks kept of each channel, and of an image.

    Returns
    -------
    LocalFeatures
        Without descriptors. Such frames have no scale of their own: verify them with
        ``FastSpatial(tolerance=1.0, scales=(0.5, 0.71, 1.0, 1.41, 2.0))``, in cells.

    Raises
    ------
    TypeError, ValueError
        For shapes that differ in K, values that are negative or not finite, naming the image.

    Notes
    -----
    Cost: nine passes over each map, and a sort of its peaks.

    Examples
    --------
    >>> maps = np.zeros((1, 5, 6, 2))
    >>> maps[0, 1, 2, 0], maps[0, 1, 3, 0], maps[0, 3, 4, 1] = 3.0, 1.0, 2.0
    >>> found = activation_features(maps)
    >>> found.geometry[:, :2].tolist(), found.words.tolist()
    ([[2.25, 1.0], [4.0, 3.0]], [0, 1])
    """
    per_channel, total = check_count(per_channel, "per_channel"), check_count(total, "total")
    places, words, counts, width = [np.empty((0, 2))], [np.empty(0, np.int64)], [0], None
    for i, given in enumerate(activations):
        x = as_numbers(given, f"activations[{i}]")
        if x.ndim != 3 or not x.size or width not in (None, x.shape[2]):
            like = "(H, W, K)" if width is None else f"(H, W, {width})"
            raise ValueError(f"activations[{i}] must have shape {like}, got {x.shape}")
        if not (np.isfinite(x).all() and x.min() >= 0):
            raise ValueError(f"activations[{i}] must be finite and >= 0: take them after the rectifier")
        width = x.shape[2]
        place, word = _peaks(x, per_channel, total)
        places.append(place)
        words.append(word)
        counts.append(len(word))
    return LocalFeatures(np.concatenate(places), None, np.cumsum(counts), np.concatenate(words))


def _peaks(x: Floats, per_channel: int, total: int) -> tuple[Floats, Ints]:
    """Return the places (m, 2) and channels (m,) of the strongest peaks, by channel."""
    around = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    H, W, _ = x.shape

    def shifted(dy: int, dx: int) -> AnyArray:
        return around[1 + dy : 1 + dy + H, 1 + dx : 1 + dx + W]

    peak = x > 0
    for dy, dx in _AROUND:
        if dy or dx:
            peak &= x > shifted(dy, dx)
    row, column, channel = np.nonzero(peak)
    strength = x[row, column, channel]
    order = np.lexsort((column, row, -strength, channel))
    channel = channel[order]
    order = order[np.arange(channel.size) - np.searchsorted(channel, channel) < per_channel]
    order = np.sort(order[np.argsort(-strength[order], kind="stable")[:total]])
    row, column = row[order], column[order]
    channel = np.nonzero(peak)[2][order]
    # of the largest, so that nine values at the end of float64 have a sum
    mass = np.stack([shifted(*step)[row, column, channel] for step in _AROUND]) / strength[order]
    with np.errstate(under="ignore"):
        offsets = (mass[:, :, None] * np.array(_AROUND)[:, None, ::-1]).sum(axis=0) / mass.sum(axis=0)[:, None]
    by_channel = np.argsort(channel, kind="stable")
    return (np.stack([column, row], axis=1) + offsets)[by_channel], channel[by_channel]
