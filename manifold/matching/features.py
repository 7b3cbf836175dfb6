"""Local features of a collection: keypoints, descriptors and words of all images in one array each.

In: what a detector gives for each image (SIFT, SuperPoint, DISK, ALIKED). Out: `LocalFeatures`, checked once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from manifold._arrays import as_array, as_integers, as_numbers
from manifold._typing import AnyArray, Ints
from manifold.errors import CorruptFileError
from manifold.storage import Stored, save_arrays

_ROWS = 1 << 16  # rows looked at together: what is mapped is never loaded whole
_ARRAYS = ("geometry", "descriptors", "indptr", "words")


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """The local features of N images: rows ``indptr[i] : indptr[i + 1]`` are those of image i.

    Reference: Lowe (2004), for keypoints and their geometry.

    Parameters
    ----------
    geometry : (m, 4) or (m, 2) float
        x, y in pixels (y down), scale > 0, angle in degrees. Of detectors without scale and angle x, y alone: every
        scale is then 1 and every angle 0.
    descriptors : (m, d), optional
        uint8, float16, float32 or float64; kept as they are.
    indptr : (N + 1,) int
        Where the rows of each image begin; an image may have none.
    words : (m,) int, optional
        The visual word of each row, -1 for none.

    Raises
    ------
    TypeError, ValueError
        For shapes that differ, NaN or infinity, a scale that is not positive, ends that fall, words below -1.

    Notes
    -----
    Cost: one look at every row. Arrays of a saved folder are mapped, and looked at in blocks.

    Examples
    --------
    >>> frames = [[10.0, 20.0, 4.0, 30.0], [3.0, 4.0, 1.0, 0.0], [2.3, 41.6, 8.0, 60.0]]
    >>> LocalFeatures(frames, None, [0, 2, 3])
    LocalFeatures(n_images=2, n_features=3, descriptors=None, words=False)
    """

    geometry: NDArray[np.float32]
    descriptors: AnyArray | None
    indptr: Ints
    words: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        geometry = _frames(self.geometry)
        m = geometry.shape[0]
        indptr = as_integers(self.indptr, "indptr").astype(np.int64)
        if indptr.ndim != 1 or not indptr.size or indptr[0] != 0 or indptr[-1] != m or (np.diff(indptr) < 0).any():
            raise ValueError(f"indptr must ascend from 0 to the {m} rows of geometry, got {_briefly(indptr)}")
        object.__setattr__(self, "geometry", geometry)
        object.__setattr__(self, "indptr", indptr)
        if self.descriptors is not None:
            object.__setattr__(self, "descriptors", _descriptors(self.descriptors, m))
        if self.words is not None:
            object.__setattr__(self, "words", _words(self.words, m))

    def __repr__(self) -> str:
        told = None if self.descriptors is None else f"{self.descriptors.dtype} x {self.descriptors.shape[1]}"
        return (
            f"LocalFeatures(n_images={self.n_images}, n_features={len(self.geometry)}, descriptors={told}, "
            f"words={self.words is not None})"
        )

    def __len__(self) -> int:
        return self.n_images

    @property
    def n_images(self) -> int:
        """Number N of images.

        >>> LocalFeatures(np.empty((0, 2)), None, [0, 0, 0]).n_images
        2
        """
        return self.indptr.size - 1

    @property
    def counts(self) -> Ints:
        """Number of features (N,) of each image.

        >>> LocalFeatures(np.ones((3, 2)), None, [0, 2, 3]).counts.tolist()
        [2, 1]
        """
        return np.diff(self.indptr)

    def rows(self, image: int) -> slice:
        """Return where the features of an image stand.

        >>> LocalFeatures(np.ones((3, 2)), None, [0, 2, 3]).rows(1)
        slice(2, 3, None)
        """
        if not 0 <= image < self.n_images:
            raise IndexError(f"image must lie in 0..{self.n_images - 1}, got {image}")
        return slice(int(self.indptr[image]), int(self.indptr[image + 1]))

    def with_words(self, words: object) -> LocalFeatures:
        """Return the same features with visual words (m,), such as `Vocabulary.words` gives.

        >>> LocalFeatures(np.ones((3, 2)), None, [0, 2, 3]).with_words([4, 0, 4]).words.tolist()
        [4, 0, 4]
        """
        return replace(self, words=_words(words, len(self.geometry)))

    def take(self, images: object) -> LocalFeatures:
        """Return the features of some images, in the order asked for.

        >>> LocalFeatures(np.ones((3, 2)), None, [0, 2, 3], [7, 8, 9]).take([1, 0]).words.tolist()
        [9, 7, 8]
        """
        chosen = as_integers(images, "images")
        if chosen.ndim != 1 or (chosen.size and not (chosen.min() >= 0 and chosen.max() < self.n_images)):
            raise ValueError(f"images must be numbers (r,) in 0..{self.n_images - 1}, got {_briefly(chosen)}")
        counts = self.counts[chosen]
        ends = np.concatenate([[0], np.cumsum(counts)])
        rows = np.arange(ends[-1]) + np.repeat(self.indptr[chosen] - ends[:-1], counts)
        descriptors, words = (None if x is None else x[rows] for x in (self.descriptors, self.words))
        return LocalFeatures(self.geometry[rows], descriptors, ends, words)

    def append(self, other: LocalFeatures) -> LocalFeatures:
        """Return the features of these images and then of others: queries beside a collection, say.

        >>> one = LocalFeatures(np.ones((2, 2)), None, [0, 2])
        >>> one.append(one).indptr.tolist()
        [0, 2, 4]
        """
        joined: list[AnyArray | None] = []
        for name in ("geometry", "descriptors", "words"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if (mine is None) != (theirs is None) or (mine is not None and mine.shape[1:] != theirs.shape[1:]):
                raise ValueError(f"both must have {name} of one width, or neither: one of them cannot be appended")
            joined.append(None if mine is None else np.concatenate([mine, theirs]))
        assert joined[0] is not None  # there is always a geometry
        ends = np.concatenate([self.indptr, self.indptr[-1] + other.indptr[1:]])
        return LocalFeatures(joined[0], joined[1], ends, joined[2])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save them as a folder, which `manifold.load` maps.

        >>> from tempfile import TemporaryDirectory
        >>> import manifold as mf
        >>> with TemporaryDirectory() as folder:
        ...     mf.load(LocalFeatures(np.ones((3, 2)), None, [0, 2, 3]).save(f"{folder}/features")).n_images
        2
        """
        arrays = {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}
        return save_arrays(path, kind="local_features", arrays=arrays, parameters={})

    @classmethod
    def _from_stored(cls, stored: Stored) -> LocalFeatures:
        return cls(*(stored.arrays.get(name) for name in _ARRAYS))  # type: ignore[arg-type]  # refused if missing


def local_features(
    geometries: Sequence[object], descriptors: Sequence[object] | None = None, words: Sequence[object] | None = None
) -> LocalFeatures:
    """Join the arrays of single images, as detectors give them, into `LocalFeatures`.

    Reference: Lowe (2004), for keypoints and their geometry.

    Parameters
    ----------
    geometries : sequence of (m_i, 4) or (m_i, 2)
        Of each image; see `LocalFeatures`. None stands for an image without features.
    descriptors : sequence of (m_i, d), optional
    words : sequence of (m_i,), optional

    Raises
    ------
    TypeError, ValueError
        For sequences or rows of different lengths, naming the image; and as `LocalFeatures`.

    Examples
    --------
    >>> local_features([[[1, 2], [3, 4]], None, [[5, 6]]], [[[1, 0], [0, 1]], None, [[1, 1]]]).counts.tolist()
    [2, 0, 1]
    """
    frames = [None if g is None else as_numbers(g, f"geometries[{i}]") for i, g in enumerate(geometries)]
    sizes = [0 if frame is None else len(np.atleast_1d(frame)) for frame in frames]
    joined: list[AnyArray | None] = []
    for name, given in (("geometries", frames), ("descriptors", descriptors), ("words", words)):
        if given is None:
            joined.append(None)
            continue
        if len(given) != len(sizes):
            raise ValueError(f"{name} must be one an image, got {len(given)} for {len(sizes)} images")
        parts = []
        for i, (part, size) in enumerate(zip(given, sizes, strict=True)):
            array = None if part is None else as_array(part, f"{name}[{i}]")
            if (0 if array is None else len(np.atleast_1d(array))) != size:
                raise ValueError(f"{name}[{i}] must have the {size} rows of geometries[{i}]")
            if array is not None and size:
                parts.append(array)
        if len({part.shape[1:] for part in parts}) > 1:
            raise ValueError(f"{name} must have rows of one width, got {sorted({part.shape[1:] for part in parts})}")
        empty = np.empty((0, 4) if name == "geometries" else (0, 1) if name == "descriptors" else 0, np.int64)
        joined.append(np.concatenate(parts) if parts else empty)
    assert joined[0] is not None
    return LocalFeatures(joined[0], joined[1], np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), joined[2])


def read_local_features(path: str | os.PathLike[str]) -> LocalFeatures:
    """Read an ``.npz`` file of the arrays geometry, indptr and, where there are, descriptors and words; no pickles.

    Reference: NumPy file format (NEP 1), in a zip.

    Raises
    ------
    CorruptFileError
        For what is no such file, lacks an array, or holds what `LocalFeatures` refuses.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/features.npz", geometry=np.ones((3, 4)), indptr=[0, 1, 3])
    ...     read_local_features(f"{folder}/features.npz").n_images
    2
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _ARRAYS if name in file.files}
        missing = {"geometry", "indptr"} - arrays.keys()
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        return LocalFeatures(*(arrays.get(name) for name in _ARRAYS))  # type: ignore[arg-type]  # None where absent
    except (ValueError, TypeError, EOFError, AttributeError, OSError) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise CorruptFileError(f"{os.fspath(path)} holds no local features: {error}") from error


def _frames(geometry: object) -> NDArray[np.float32]:
    given = as_array(geometry, "geometry")
    given = given.reshape(0, 4) if given.shape == (0,) else given
    if given.ndim != 2 or given.shape[1] not in (2, 4) or given.dtype.kind not in "biuf":
        raise ValueError(
            f"geometry must be numbers (m, 4), x, y, scale, angle, or (m, 2), got {given.dtype} {given.shape}"
        )
    if given.shape[1] == 2:
        given = np.concatenate([given, np.broadcast_to(np.array([1.0, 0.0]), given.shape)], axis=1)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        frames = given.astype(np.float32, copy=False)
    for start in range(0, len(frames), _ROWS):
        block = frames[start : start + _ROWS]
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if bad.size:
            raise ValueError(f"geometry row {start + bad[0]} holds NaN or infinity: leave that keypoint out")
        bad = np.flatnonzero(~(block[:, 2] > 0))
        if bad.size:
            raise ValueError(
                f"geometry row {start + bad[0]} has scale {block[bad[0], 2]}: a scale must be > 0, or none given"
            )
    return frames


def _descriptors(descriptors: object, m: int) -> AnyArray:
    given = as_array(descriptors, "descriptors")
    if given.dtype.kind not in "biuf":
        raise TypeError(f"descriptors must hold real numbers, got dtype {given.dtype}: convert them to float32")
    if given.dtype not in (np.uint8, np.float16, np.float32, np.float64):
        with np.errstate(over="ignore"):  # what float64 cannot hold is refused below
            given = given.astype(np.float64)
    if given.ndim != 2 or given.shape[0] != m or not given.shape[1]:
        raise ValueError(f"descriptors must be (m, d) with the {m} rows of geometry, got {given.shape}")
    for start in range(0, m if given.dtype.kind == "f" else 0, _ROWS):
        bad = np.flatnonzero(~np.isfinite(given[start : start + _ROWS]).all(axis=1))
        if bad.size:
            raise ValueError(f"descriptors row {start + bad[0]} holds NaN or infinity: leave that keypoint out")
    return given


def _words(words: object, m: int) -> NDArray[np.int32]:
    given = as_integers(words, "words")
    if given.shape != (m,):
        raise ValueError(f"words must be one a feature, ({m},), got {given.shape}")
    if m and not (given.min() >= -1 and given.max() < np.iinfo(np.int32).max):
        raise ValueError(f"words must lie in -1..{np.iinfo(np.int32).max - 1}, got {given.min()}..{given.max()}")
    return given.astype(np.int32, copy=False)


def _briefly(values: AnyArray) -> str:
    return f"{values.dtype} {values.shape}" + (f" {values.min()}..{values.max()}" if values.size else "")


def check_local_features(features: object) -> None:
    """Raise TypeError for what are no `LocalFeatures`.

    >>> check_local_features(LocalFeatures(np.empty((0, 2)), None, [0, 0]))
    """
    if not isinstance(features, LocalFeatures):
        raise TypeError(
            f"features must be LocalFeatures, got {type(features).__name__}: make LocalFeatures(frames, X, indptr)"
        )
