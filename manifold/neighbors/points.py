"""The rows that are searched: looked at once, and passed on as they are.

In: what a user calls features, and a metric. Out: a `PointSet`, which every search takes: rows, and what its metric
needs of each, a norm. Norms and the centre are made when they are first used, or come with a collection that was saved.
Rows of float16, int8 and uint8 stay as they are stored: what is computed with is float32, a block at a time, and as
float32 holds each of their numbers, every answer has the bits that a float32 copy would give.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from manifold._checks import check_queries, read_features
from manifold._typing import AnyArray, Ints, Mask
from manifold.backends import Array, Backend, get_backend
from manifold.neighbors._base import METRICS
from manifold.neighbors._room import Room, appended
from manifold.neighbors._stored_rows import STORED, bytes_by_row, centre_of, stored_as
from manifold.neighbors.sources import read_file

Floats = NDArray[np.float32]

GATHER = 1 << 22  # numbers of candidates, or of rows under conversion, held at a time: 16 MiB
_LEAST = 1e-24  # similarities of sets whose largest is below this lose their small ones to underflow
_TINY = 1e-30  # norms beyond this, or its inverse, are divided by in float64
_HOST = get_backend("scipy")


def point_set(X: object, metric: str = "cosine", *, name: str = "X", beside: object = None) -> PointSet:
    """Return the points of a search: features are checked here, once, and a `PointSet` comes back as it is.

    Cost: one pass over X, which looks for NaN and infinity; norms take another when they are first used.

    Reference: guide *notation*, "How the parts meet".

    Parameters
    ----------
    X : (n, d) array-like of numbers, PointSet, or path of a file that `open_features` reads
        Never written to; an array or map of float32, float16, int8 or uint8 is read in place.
    metric : {"cosine", "inner_product", "euclidean"}
    name : str
        What the caller's argument is called, for its errors.
    beside : object, optional
        Where it is a text, the column of a file that names the rows, and is no feature.

    Raises
    ------
    TypeError, ValueError
        For input that is not finite real numbers of the right shape, an unknown metric, or points made for another.

    Examples
    --------
    >>> points = point_set([[3, 4], [0, 2]])
    >>> points.norms.tolist()
    [5.0, 2.0]
    >>> point_set(points) is points
    True
    >>> point_set(np.array([[3, 4]], np.uint8)).X.dtype  # left as it is: a quarter of the memory
    dtype('uint8')
    """
    if isinstance(X, PointSet):
        if X.metric != metric:
            raise ValueError(f"{name} holds points for metric={X.metric!r}, got metric={metric!r}: ask for the same")
        return X
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {METRICS}, got {metric!r}")
    X = read_file(X, beside=beside) if isinstance(X, str | PathLike) else X
    rows, names, offset = read_features(X, name, centred=metric == "euclidean", compact=True)
    points = PointSet(rows, metric)
    points.names, points.offset = names, offset
    return points


class PointSet:
    """The rows that are searched, with what their metric needs of each: a scale, and a squared norm.

    Reference: guide *notation*, "How the parts meet".

    Parameters
    ----------
    X : (n, d) float32, float16, int8 or uint8
        Finite rows, such as `point_set` makes of anything else; taken as they are, without a copy or a look.
    metric : {"cosine", "inner_product", "euclidean"}

    Attributes
    ----------
    names : tuple of str or None
        Columns of the frame that the points came in; `asked` puts frames in their order.
    offset : (d,) or None
        What was taken from points far from the origin before they were rounded to float32; distances do not know it.
    compact : PointSet or None
        The same points in a smaller form, in which candidates are found: see `compact_points`.

    Raises
    ------
    TypeError
        For rows of another dtype or number of dimensions.

    Examples
    --------
    >>> PointSet(np.array([[3, 4], [0, 2]], np.float32), "cosine").rows(slice(1)).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """

    room: Room | None = None  # behind the rows, once some have joined
    compact: PointSet | None = None

    def __init__(self, X: AnyArray, metric: str) -> None:
        if not isinstance(X, np.ndarray) or X.dtype not in STORED or X.ndim != 2:
            got = f"{X.dtype} {X.shape}" if isinstance(X, np.ndarray) else type(X).__name__
            raise TypeError(f"X must be (n, d) float32, float16, int8 or uint8, got {got}: point_set(X) reads others")
        self.X, self.metric = X, metric
        self.names: tuple[str, ...] | None = None
        self.offset: NDArray[np.float64] | None = None

    @classmethod
    def _trusted(
        cls, X: AnyArray, metric: str, *, norms: NDArray[np.float64] | None = None, centre: Floats | None = None
    ) -> PointSet:
        """Take norms (n,) that such a set of the same rows has made; those of distances are from its centre (d,)."""
        points = cls(X, metric)
        if norms is not None and metric == "euclidean" and centre is None:
            raise ValueError("norms of a euclidean set are distances from its centre: give centre too")
        if norms is not None:
            vars(points)["norms"] = norms
        if centre is not None:
            vars(points)["centre"] = centre
        return points

    def __repr__(self) -> str:
        n, d = self.X.shape
        return f"PointSet({n:,} points of {d:,} features, metric={self.metric!r})"

    @cached_property
    def centre(self) -> Floats | None:
        """The mean of the points, (d,), for distances; None for products. Where a few far ones draw it away, a median.

        It keeps distances exact where all points lie far from the origin.

        >>> point_set([[3.0, 4.0], [1.0, 2.0]], "euclidean").centre.tolist()
        [2.0, 3.0]
        """
        if self.metric != "euclidean" or not self.X.shape[0]:
            return None
        return centre_of(self.X, most=GATHER // 4)  # in float64, and once more while it is worked on

    @property
    def proposing(self) -> PointSet:
        """What candidates are found in: the compact form, or these points where there is none.

        >>> points = point_set([[0.0]])
        >>> points.proposing is points
        True
        """
        return self if self.compact is None else self.compact

    @property
    def largest(self) -> np.float32:
        """No similarity is larger: 1 for cosines, 0 for negated squared distances, inf for inner products.

        >>> float(point_set([[0.0]], "euclidean").largest)
        0.0
        """
        return np.float32({"cosine": 1, "euclidean": 0}.get(self.metric, np.inf))

    @cached_property
    def norms(self) -> NDArray[np.float64]:
        """Length of each point, (n,); for distances that of its difference to the centre.

        >>> point_set([[3.0, 4.0], [3.0, 2.0]], "euclidean").norms.tolist()
        [1.0, 1.0]
        """
        squares = [self.squares(self.X[rows]) for rows in self.parts(self.X.shape[0])]
        norms: NDArray[np.float64] = np.sqrt(np.concatenate([np.empty(0), *squares]))
        return norms

    @cached_property
    def longest(self) -> float:
        """The largest of the norms, 0 of no points."""
        return float(self.norms.max(initial=0))

    @property
    def plain(self) -> tuple[AnyArray, Floats, np.float32]:
        """Rows, divisors and `largest` for compiled code: of one type whatever holds them, so that it is made once.

        Rows of float16 are their bits, uint16, which is how compiled code can read them.
        """
        X = np.asarray(self.X).view(np.uint16 if self.X.dtype == np.float16 else self.X.dtype)
        X.flags.writeable = False
        return X, self.divisors, self.largest

    @cached_property
    def divisors(self) -> Floats:
        """What rows are divided by (n,): their norms, or 1, also of the zero vector.

        >>> point_set([[3.0, 4.0], [0.0, 0.0]]).divisors.tolist()
        [5.0, 1.0]
        """
        return np.where((self.norms > 0) & (self.metric == "cosine"), self.norms, 1).astype(np.float32)

    @cached_property
    def has_extremes(self) -> bool:
        """Whether a norm is so small or large that rows are divided by it in float64."""
        return self.metric == "cosine" and bool(_extreme(self.norms).any())

    def asked(self, Q: object, name: str = "Q") -> tuple[PointSet, bool]:
        """Return queries of these points, read as the points were, and whether one 1-D query was given.

        Parameters
        ----------
        Q : (q, d) or (d,) array-like
            A frame is put in the order of the columns of the points, where those had names.

        Raises
        ------
        TypeError, ValueError
            As `point_set`; for another number of features, or other columns.

        Examples
        --------
        >>> points = point_set([[1e9, 0.0], [1e9 + 0.25, 0.0]], "euclidean")
        >>> points.asked([1e9 + 0.25, 0.0])[0].X.tolist()
        [[0.125, 0.0]]
        """
        rows, single = check_queries(Q, self.X.shape[1], name, names=self.names, offset=self.offset)
        return PointSet(rows, self.metric), single

    def joining(self, X: object, name: str = "X") -> PointSet:
        """Return points (m, d) that may join these, read as they were; m may be 0.

        Raises
        ------
        TypeError, ValueError
            As `asked`; for one point that is no row.

        Examples
        --------
        >>> point_set([[1e9, 0.0], [1e9 + 0.25, 0.0]], "euclidean").joining([[1e9 + 0.5, 0.0]]).X.tolist()
        [[0.375, 0.0]]
        """
        none = isinstance(X, list | tuple) and not X  # which does not say of how many features
        points, single = self.asked(np.empty((0, self.X.shape[1])) if none else X, name)
        if single:
            raise ValueError(f"{name} is one point, not rows of points: it must have 2 dimensions (points, features)")
        return points

    def with_rows(self, X: AnyArray) -> PointSet:
        """Return the points and others after them; of norms that are known only those of the others are computed.

        Raises
        ------
        ValueError
            For another number of features, and for numbers that the rows here, if they are no float32, cannot hold.

        Notes
        -----
        Cost: of the new rows; a copy of all where there is no room behind them yet (`_room`). The sum of a row does not
        depend on what stands beside it, so that norms have the bits that they have in a set made anew; distances stay
        from the centre of the points as they were, which changes no similarity.

        Examples
        --------
        >>> points = point_set([[3.0, 4.0]])
        >>> points.with_rows(np.array([[6, 8]], np.float32)).norms.tolist()
        [5.0, 10.0]
        """
        if X.shape[1] != self.X.shape[1]:
            raise ValueError(f"X has {X.shape[1]} features, but the points have {self.X.shape[1]}")
        X = stored_as(X, self.X.dtype)
        centre, norms = vars(self).get("centre"), None
        if "norms" in vars(self) and self.X.shape[0]:  # an empty set has no centre that others could be measured from
            norms = np.concatenate([self.norms, PointSet._trusted(X, self.metric, centre=centre).norms])
        rows, room = appended(self.room, self.X, X)
        together = self._like(PointSet._trusted(rows, self.metric, norms=norms, centre=centre), room)
        together.compact = None if self.compact is None else self.compact.with_rows(bytes_by_row(X))
        return together

    def only(self, rows: Ints) -> PointSet:
        """Return a copy of some of the points, with the norms that are known; distances stay from the same centre.

        Examples
        --------
        >>> point_set([[3.0, 4.0], [0.0, 2.0]]).only(np.array([1])).norms.tolist()
        [2.0]
        """
        norms = self.norms[rows] if "norms" in vars(self) else None
        some = self._like(PointSet._trusted(self.X[rows], self.metric, norms=norms, centre=vars(self).get("centre")))
        some.compact = None if self.compact is None else self.compact.only(rows)
        return some

    def _like(self, points: PointSet, room: Room | None = None) -> PointSet:
        points.names, points.offset, points.room = self.names, self.offset, room
        return points

    def squares(self, rows: AnyArray) -> NDArray[np.float64]:
        """Return the squared lengths of rows, less the centre where the metric has one, each summed in one order."""
        # float64: 1e30 is a valid float32 feature and its square is not
        rows = np.ascontiguousarray(rows if self.centre is None else rows - self.centre)  # one order of every sum
        squares: NDArray[np.float64] = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
        return squares

    def parts(self, n: int) -> Iterator[slice]:
        """Return slices of 0..n-1, each of as many rows as may be copied at once.

        >>> len(list(point_set(np.ones((1, 4096))).parts(3_000)))
        3
        """
        return slices(n, max(1, GATHER // self.X.shape[1]))

    def rows(self, which: slice | Ints) -> Floats:
        """Return rows as the metric compares them: unit length for cosine.

        >>> point_set([[3.0, 4.0]], "euclidean").rows(slice(None)).tolist()
        [[3.0, 4.0]]
        """
        X: AnyArray = self.X[which]
        if self.metric != "cosine":
            return X.astype(np.float32, copy=False)
        norms = self.norms[which]
        extreme = _extreme(norms)
        # row by row the same bits, whatever rows are asked for together
        with np.errstate(under="ignore"):
            unit: AnyArray = X / np.where((norms > 0) & ~extreme, norms, 1.0).astype(np.float32)[..., None]
            if extreme.any():
                unit[extreme] = X[extreme] / norms[extreme, None]
        return unit

    def centred(self, which: slice | Ints) -> Floats:
        """Return rows as the metric compares them, less the centre where it has one: what cells are made of."""
        rows = self.rows(which)
        return rows if self.centre is None else rows - self.centre

    def propose(self, queries: Array, tile: slice | Ints, backend: Backend, *, rows: Array = None) -> Array:
        """Return scores (b, t) on the backend that order the points as the similarity does, up to rounding."""
        queries = backend.asarray(queries)
        if rows is None and self.metric == "cosine" and not self.has_extremes and len(queries) < self.X.shape[1]:
            norms = self.norms[tile]  # scores are fewer than features: they are divided instead
            scores = queries @ backend.asarray(self.X[tile].astype(np.float32, copy=False)).T
            scores *= backend.asarray((1 / np.where(norms > 0, norms, np.inf)).astype(np.float32))
            return scores
        rows = backend.asarray(self.rows(tile)) if rows is None else rows
        if self.centre is None:
            return queries @ rows.T
        centre = backend.asarray(self.centre)
        products = (2 * (queries - centre)) @ (rows - centre).T
        products -= backend.asarray((self.norms[tile] ** 2).astype(np.float32))  # in place: a tile is large
        return products

    def compare(self, points: Array, queries: Array, backend: Backend = _HOST) -> Array:
        """Return the similarities (b, c) of points (b, c, d) to queries (b, d), each summed in one order.

        Examples
        --------
        >>> points = point_set([[0.0, 0.0], [3.0, 4.0]], "euclidean")
        >>> points.compare(points.rows(slice(None))[None], points.rows(slice(1))).tolist()
        [[0.0, -25.0]]
        """
        if self.metric != "euclidean":
            products = backend.row_dots(points, queries[:, None, :])
            # rounding takes the cosine of copies beyond 1: the angle would be no number
            return products if self.metric != "cosine" else backend.xp.clip(products, -self.largest, self.largest)
        difference = points - queries[:, None, :]
        return np.float32(0) - backend.row_dots(difference, difference)

    def check_range(self, queries: PointSet) -> None:
        """Raise ValueError where a similarity of these points to `queries` would overflow float32.

        >>> points = point_set([[1e20, 0.0]], "inner_product")
        >>> points.check_range(points)
        Traceback (most recent call last):
        ValueError: features of norm 1.0e+20 overflow float32 under metric='inner_product': rescale them
        """
        if self.metric == "cosine" or not (self.X.shape[0] and queries.X.shape[0]):
            return
        here = there = self.longest
        if queries is not self:
            there = max(float(np.sqrt(self.squares(queries.X[rows])).max()) for rows in self.parts(len(queries.X)))
        largest = here * there if self.metric == "inner_product" else (here + there) ** 2
        too_large = largest > float(np.finfo(np.float32).max) / 2
        if too_large or 0 < largest < _LEAST:
            how = f"{'over' if too_large else 'under'}flow float32 under metric={self.metric!r}"
            raise ValueError(f"features of norm {max(here, there):.1e} {how}: rescale them")


def _extreme(norms: NDArray[np.float64]) -> Mask:
    return (norms > 0) & ((norms < _TINY) | (norms > 1 / _TINY))


def slices(n: int, step: int) -> Iterator[slice]:
    """Return slices of `step` that cover 0..n-1."""
    return (slice(start, min(start + step, n)) for start in range(0, n, step))
