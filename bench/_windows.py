"""Windows of 11 x 11 pixels of images of Fashion-MNIST, their mean removed: any number to twenty million, in no order.

Curved surfaces where it is not installed, or few are wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import manifold as mf
from bench.pipeline import collection
from manifold.errors import DatasetNotFoundError

SIDE, _TOGETHER = 11, 1 << 17  # pixels of a window; windows that are cut together
_STEP = 14_017_931  # some .618 of all windows
_FEW = 20_000  # rows up to which nothing real is looked for


def windows(total: int) -> Iterator[tuple[Any, Any]]:
    """Yield at least `total` rows (m, 121), float32 within 255 of 0, and the classes of their images.

    Those that are nearly blank are left out: what is left of them in bytes of half the scale says nothing.
    """
    try:
        data = None if total < _FEW else mf.datasets.load("fashion_mnist")
    except DatasetNotFoundError:
        data = None
    if data is None:
        Y, surface, _ = collection(total)
        scale = 254 / np.abs(Y).max()
        yield np.asarray(Y[:, : SIDE**2] * scale, dtype=np.float32), (surface % 10).astype(np.uint8)
        return
    images, labels = np.asarray(data.features, np.uint8).reshape(-1, 28, 28), np.asarray(data.labels)
    views = np.lib.stride_tricks.sliding_window_view(images, (SIDE, SIDE), axis=(1, 2))
    each = views.shape[1] * views.shape[2]
    every = len(images) * each
    assert np.gcd(_STEP, every) == 1  # so that the multiples of one are all the others, each once, in no order
    for start in range(0, every, _TOGETHER):
        image, place = np.divmod(np.arange(start, min(every, start + _TOGETHER)) * _STEP % every, each)
        y, x = np.divmod(place, views.shape[2])
        rows = views[image, y, x].reshape(image.size, -1).astype(np.float32)
        rows -= rows.mean(axis=1, keepdims=True)
        kept = np.abs(np.rint(rows / 2)).max(axis=1) >= 8
        yield rows[kept], labels[image[kept]].astype(np.uint8)
