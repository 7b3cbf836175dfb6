"""Places: positions on the globe, covered by few, such that each is within a radius of one of them.

In: latitudes and longitudes. Out: a `Cover`, whose balls say which items it is worth to compare.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from manifold._arrays import as_numbers
from manifold._checks import check_number
from manifold._typing import Floats, Ints
from manifold.discovery.covering import Cover, covered

EARTH = 6371.0088  # km, mean radius (IUGG)


def cover_places(coordinates: object, radius: float) -> Cover:
    """Choose few items such that each lies within a radius of one of them: the first of two steps to views.

    d(a, b) = 2 R arcsin(|u_a - u_b| / 2), u the unit vectors of two positions, R = 6371.0088 km. The second step
    compares only what is near one same centre: ``cover(similarities, threshold, within=places)``, or, where a
    comparison is dear, ``verify(places.pairs(), features)``.

    Reference: Avrithis et al. (2010).

    Parameters
    ----------
    coordinates : (n, 2) array-like
        Latitude and longitude in degrees, of WGS84 or the like; on a sphere, which is right to 0.6 %.
    radius : float
        Kilometres along the surface; above 0. Two items of one ball are at most twice as far apart.

    Returns
    -------
    Cover

    Raises
    ------
    ValueError, TypeError
        For other shapes, latitudes beyond 90 or longitudes beyond 360 degrees, values that are not finite, and a
        radius that is not positive.

    Notes
    -----
    Cost: n log n and the pairs within the radius, 16 bytes each.

    Examples
    --------
    >>> athens, piraeus, brno, paris = (37.98, 23.73), (37.94, 23.65), (49.20, 16.61), (48.86, 2.35)
    >>> places = cover_places([athens, piraeus, brno, paris], radius=10)
    >>> len(places), places.of(0).tolist(), places.pairs().tolist()
    (3, [0, 1], [[0, 1]])
    """
    degrees = as_numbers(coordinates, "coordinates").astype(np.float64)
    if degrees.ndim != 2 or degrees.shape[1] != 2:
        raise ValueError(f"coordinates must be (n, 2), latitude and longitude, got {degrees.shape}")
    if not np.isfinite(degrees).all():
        raise ValueError("coordinates hold NaN or infinity: leave items without a position out")
    if (abs(degrees) > (90, 360)).any():
        first = np.flatnonzero((abs(degrees) > (90, 360)).any(axis=1))[0]
        raise ValueError(
            f"coordinates must be latitude in -90..90, then longitude in degrees, got {degrees[first]} in row {first}"
        )
    if not (np.isfinite(check_number(radius, "radius")) and radius > 0):
        raise ValueError(f"radius must be above 0 km, got {radius!r}")
    near, n = _within(degrees, radius), len(degrees)
    rows, columns = (np.concatenate([near[:, i], near[:, 1 - i], np.arange(n)]) for i in (0, 1))
    K = sparse.csr_array((np.ones(rows.size, dtype=bool), (rows, columns)), shape=(n, n))
    K.sort_indices()
    return covered(K, "greedy")


def _within(degrees: Floats, radius: float) -> Ints:
    """Return the pairs (p, 2), i < j, within a radius."""
    latitude, longitude = np.radians(degrees.T)
    u = np.stack([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=1)
    # the chord grows with the angle up to half a turn, which is as far as two places are apart
    chord = 2 * np.sin(min(radius / EARTH, np.pi) / 2)
    pairs = cKDTree(u).query_pairs(chord, output_type="ndarray") if len(u) else np.empty((0, 2))
    return np.asarray(pairs, dtype=np.int64)
