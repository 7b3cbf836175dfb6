"""The collection's ids: external names to rows and back, exactly.

Names are integers of any size, texts or UUIDs, whatever holds them; integers and UUIDs, as such or as texts, may stand
beside each other. One array keeps them: integers and short texts as NumPy has them, all else as objects, so that no
name is rounded, cut, or widened by another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from math import isnan
from typing import Self
from uuid import UUID

import numpy as np

from manifold._arrays import as_array, is_tensor
from manifold._typing import AnyArray, DType, Ints, Mask

INTEGERS, TEXTS, UUIDS, MIXED = "integers", "strings", "UUIDs", "integers and UUIDs"
# what stands where there is no answer
MISSING: dict[str, int | str | None] = {INTEGERS: -1, TEXTS: "", UUIDS: None, MIXED: None}

_HELD: dict[str, tuple[type, ...]] = {TEXTS: (str,), INTEGERS: (int, np.integer), UUIDS: (UUID,)}
_WIDEST = 256  # characters of the longest text that an array of fixed width is made for


class Ids:
    """Distinct names of n items, integers or texts or UUIDs, looked up in O(log n).

    Parameters
    ----------
    ids : (n,) integers, strings or UUIDs, or None
        By default 0..n-1.
    n : int
    following : int
        The least integer that new items may be named; at least the largest id plus one.
    kind : {"integers", "strings", "UUIDs"}, optional
        What names are where there are none to tell.

    Raises
    ------
    TypeError, ValueError
        For names of another kind or shape, that repeat, or that mark a missing item: -1, "" and None.

    Examples
    --------
    >>> Ids(["x", "y"], 2).rows(["y", "x"]).tolist()
    [1, 0]
    """

    def __init__(self, ids: object, n: int, *, following: int = 0, kind: str | None = None) -> None:
        names, found = (np.arange(n), INTEGERS) if ids is None else as_names(ids)
        if names.shape != (n,):
            raise ValueError(f"ids must name each of the {n} items, got shape {names.shape}")
        self._held: AnyArray | Callable[[], AnyArray] = names
        self.kind, self._least = found or kind or INTEGERS, following
        if (found is None and n) or is_missing(names).any():
            raise ValueError(f"ids must not be {self.missing!r}, which marks a missing item: choose other names")
        if ids is not None:
            repeated = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
            if repeated.size:
                again = self.values[self._order[repeated[:1]]].tolist()[0]
                raise ValueError(f"ids must be distinct, {again!r} occurs twice or more")

    @classmethod
    def trusted(cls, values: AnyArray | Callable[[], AnyArray], *, following: int = 0, kind: str = INTEGERS) -> Self:
        """Return ids that were checked when they were saved: nothing is looked at, or read, before it is asked for.

        >>> Ids.trusted(lambda: np.array(["a", "b"]), kind="strings").rows("b").tolist()
        1
        """
        ids = cls.__new__(cls)
        ids._held, ids._least, ids.kind = values, following, kind
        return ids

    @property
    def values(self) -> AnyArray:
        """The names (n,) in the order of rows.

        >>> Ids(["x", "y"], 2).values.tolist()
        ['x', 'y']
        """
        if callable(self._held):
            self._held = self._held()
        return self._held

    def __len__(self) -> int:
        return self.values.size

    @cached_property
    def following(self) -> int:
        """The integer that no item is named, nor ever was.

        >>> Ids([3, 7], 2).following, Ids([2**63], 1).following == 2**63 + 1
        (8, True)
        """
        largest = int(self.values.max()) if self.kind == INTEGERS and len(self) else -1
        return max(self._least, largest + 1)

    @cached_property
    def _keys(self) -> AnyArray:
        return _comparable(self.values) if self.kind == MIXED else self.values

    @cached_property
    def _order(self) -> Ints:
        return np.argsort(self._keys, kind="stable")

    @cached_property
    def _sorted(self) -> AnyArray:
        return self._keys[self._order]

    def with_more(self, ids: object, m: int) -> Ids:
        """Return these ids and m more: integers that follow where none are given.

        >>> Ids([3, 7], 2).only([0]).with_more(None, 2).values.tolist()
        [3, 8, 9]
        """
        if ids is None and self.kind != INTEGERS:
            raise TypeError(f"ids of a collection with {self.kind} for names must be given, one for each new item")
        more = Ids(range(self.following, self.following + m) if ids is None else ids, m, kind=self.kind)
        if not self._goes_with(more.values, more.kind):
            raise TypeError(f"ids must be {self.kind}, got dtype {more.values.dtype}: name new items as the others are")
        kind = self.kind if self.kind == more.kind else MIXED
        asked = more.values if ids is not None else more.values[:0]  # those that follow are nobody's
        taken = np.flatnonzero(self.look_up(asked)[1] >= 0)
        if taken.size:
            first = more.values[taken[:1]].tolist()[0]
            raise ValueError(f"{taken.size} ids are in the collection already, first {first!r}")
        return Ids.trusted(joined(self.values, more.values), following=max(self.following, more.following), kind=kind)

    def only(self, rows: Ints | list[int]) -> Ids:
        """Return the ids of some rows.

        >>> Ids(["x", "y"], 2).only([1]).values.tolist()
        ['y']
        """
        return Ids.trusted(self.values[rows], following=self.following, kind=self.kind)

    @property
    def missing(self) -> int | str | None:
        """What stands in a row that has no answer: -1, the empty string, or None among UUIDs.

        >>> Ids([5], 1).missing, Ids(["x"], 1).missing, Ids([UUID(int=1)], 1).missing
        (-1, '', None)
        """
        return MISSING[self.kind]

    def rows(self, ids: object) -> Ints:
        """Return the rows of the ids given, any shape; -1 for the missing marker.

        Raises ValueError for an id that is not in the collection.

        >>> Ids([30, 10, 20], 3).rows([[20, -1]]).tolist()
        [[2, -1]]
        """
        names, rows, unknown = self.look_up(ids)
        refuse_unknown(names[unknown])
        return rows

    def look_up(self, ids: object) -> tuple[AnyArray, Ints, Mask]:
        """Return the ids given, their rows, and which of them the collection does not hold; those have row -1 too.

        Raises TypeError for names of another kind.

        >>> [part.tolist() for part in Ids([30, 10], 2).look_up([10, 5, -1])]
        [[10, 5, -1], [1, -1, -1], [False, True, False]]
        """
        names, kind = as_names(ids)
        if kind is None:
            return names, np.full(names.shape, -1), np.zeros(names.shape, dtype=bool)
        if not self._goes_with(names, kind):
            raise TypeError(f"ids must be {self.kind}, got dtype {names.dtype}: give them as fit was given them")
        absent = is_missing(names)
        rows = np.full(names.shape, -1)
        if self.kind in (kind, MIXED):
            rows[~absent] = self._found(names[~absent])
        elif kind == MIXED:  # of which some may be of the one kind that is held
            own = np.reshape([isinstance(x, _HELD[self.kind]) for x in names.flat], names.shape) & ~absent
            rows[own] = self._found(as_names(names[own])[0])
        return names, rows, np.logical_not(absent | (rows >= 0))

    def present(self, ids: object, *, name: str = "ids") -> Ints:
        """Return the rows of ids that must be there; raise ValueError for the missing marker too.

        >>> Ids(["x", "y"], 2).present("y").tolist()
        1
        """
        rows = self.rows(ids)
        if (rows < 0).any():
            raise ValueError(f"{name} must name items of the collection, not the missing marker")
        return rows

    def names(self, rows: Ints) -> AnyArray:
        """Return the external ids of rows, the missing marker for -1.

        >>> Ids([7, 5], 2).names(np.array([1, -1])).tolist()
        [5, -1]
        """
        named: AnyArray = self.values[rows]
        absent = rows < 0
        if absent.any():
            if named.dtype.kind in "iu":  # unsigned integers have no -1
                beyond = named.dtype == np.uint64 and named.max() > np.iinfo(np.int64).max
                named = named.astype(object if beyond else np.int64)
            named[absent] = self.missing
        return named

    def _goes_with(self, names: AnyArray, kind: str) -> bool:
        """Whether names may stand beside these: of one kind, or integers and UUIDs, as such or as texts."""
        if kind == self.kind or {kind, self.kind} == {TEXTS, UUIDS}:  # a UUID and its text are taken for each other
            return kind == self.kind
        texts = names if kind == TEXTS else self.values if self.kind == TEXTS else np.empty(0)
        return _are_uuids(texts.ravel().tolist())

    def _found(self, names: AnyArray) -> Ints:
        """Return the rows of names of this kind, -1 for those that are not held."""
        if not len(self):
            return np.full(names.shape, -1, dtype=np.int64)
        names = _comparable(names) if self.kind == MIXED else names
        alike, fits = _as_held(names, self._keys.dtype)
        at = np.minimum(np.searchsorted(self._sorted, alike), len(self) - 1)
        return np.where(fits & (self._sorted[at] == alike).astype(bool), self._order[at], -1)


def refuse_unknown(names: AnyArray) -> None:
    """Raise ValueError for names (m,) that the collection does not hold, where there are any.

    >>> refuse_unknown(np.array([], dtype=int))
    """
    if names.size:
        raise ValueError(f"{names.size} ids are not in the collection, first {names[:1].tolist()[0]!r}")


def as_names(ids: object) -> tuple[AnyArray, str | None]:
    """Return ids as an array, exactly, and their kind; None where all are missing.

    Markers of a missing item are -1, "" and None, and those of pandas for it: they come back as that of the kind.

    Raises TypeError for what are no names: floats, booleans, dates, or names of two kinds.

    >>> as_names([2**64, None])[0].tolist(), as_names(np.array(["a", "bc"], dtype=object))[0].dtype
    ([18446744073709551616, -1], dtype('<U2'))
    """
    if isinstance(ids, np.ma.MaskedArray):  # what is masked is missing
        mask, ids = np.ma.getmaskarray(ids), np.array(ids.data, dtype=object)
        ids[mask] = None
    if is_tensor(ids):
        ids = as_array(ids, "ids")
    given = np.asarray(ids) if hasattr(ids, "dtype") else np.asarray(ids, dtype=object)
    if given.dtype.kind == "f" and not isinstance(ids, np.ndarray):  # integers of a frame, some of them missing
        given = np.asarray(ids, dtype=object)
    if not given.size:
        return given if given.dtype.kind in "iuUO" else given.astype(np.int64), None
    if given.dtype.kind in "iu":
        return given, INTEGERS
    if given.dtype.kind == "U" and given.dtype.itemsize <= 4 * _WIDEST:
        return given, TEXTS
    if given.dtype.kind not in "OTU":
        raise TypeError(f"ids must be integers or strings, got dtype {given.dtype}, or UUIDs: choose one of them")
    values = given.ravel().tolist()
    known = values if set(map(type, values)) <= {str, int, UUID} else [x for x in values if not _is_nothing(x)]
    kind = _kind_of(known)
    if kind is None:
        return given, None
    if len(known) < len(values):
        values = [MISSING[kind] if _is_nothing(x) else x for x in values]
    names = _texts(values) if kind == TEXTS else _integers(values) if kind == INTEGERS else _objects(values)
    return names.reshape(given.shape), kind


def is_missing(names: AnyArray) -> Mask:
    """Return which names mark a missing item.

    >>> is_missing(np.array([3, -1])).tolist(), is_missing(np.array(["", "a"])).tolist()
    ([False, True], [True, False])
    """
    if names.dtype.kind == "O":
        marks = [x is None or (isinstance(x, int | str) and x in (-1, "")) for x in names.ravel()]
        return np.array(marks, dtype=bool).reshape(names.shape)
    return np.equal(names, "" if names.dtype.kind == "U" else -1)


def joined(names: AnyArray, more: AnyArray) -> AnyArray:
    """Return names and more of their kind in one array, in the dtype of the first where that holds all.

    >>> joined(np.array([2**63], dtype=np.uint64), np.array([5])).dtype
    dtype('uint64')
    """
    if not names.size:
        return more
    kinds = names.dtype.kind, more.dtype.kind
    if ("U" in kinds and kinds[0] != kinds[1]) or (
        kinds[1] == "O" and not {str, UUID}.isdisjoint(map(type, more.flat))
    ):
        return _objects([*names.tolist(), *more.tolist()])
    alike, fits = _as_held(more, names.dtype)
    if fits.all():
        return np.concatenate([names, alike])
    every = [*names.tolist(), *more.tolist()]
    return _texts(every) if names.dtype.kind == "U" else _integers(every)


def _as_held(names: AnyArray, dtype: DType) -> tuple[AnyArray, Mask]:
    """Return names of one kind in the dtype of others, and which of them it can hold."""
    if names.dtype == dtype or dtype.kind == "O":
        return names.astype(dtype, copy=False), np.ones(names.shape, dtype=bool)
    if dtype.kind == "U":
        width = dtype.itemsize // 4
        short = [len(name) <= width and not name.endswith("\0") for name in names.ravel().tolist()]
        fits = np.array(short, dtype=bool).reshape(names.shape)
        return np.where(fits, names, "").astype(dtype), fits
    limits = np.iinfo(dtype)
    fits = np.logical_and(names >= int(limits.min), names <= int(limits.max)).astype(bool)
    return np.where(fits, names, 0).astype(dtype), fits


def _comparable(names: AnyArray) -> AnyArray:
    """Return a text for each of the names of several kinds, another for every other.

    >>> _comparable(np.array([7, "7", UUID(int=7)], dtype=object)).tolist()
    ['int 7', 'str 7', 'UUID 00000000-0000-0000-0000-000000000007']
    """
    kinds = {TEXTS: "str", INTEGERS: "int", UUIDS: "UUID"}
    held = [(next(kind for kind, types in _HELD.items() if isinstance(x, types)), x) for x in names.flat]
    return _texts([f"{kinds[kind]} {x}" for kind, x in held]).reshape(names.shape)


def _are_uuids(texts: Sequence[object]) -> bool:
    """Return whether each of some texts is a UUID as `str` writes it."""
    for text in texts:
        try:
            if str(UUID(str(text))) != text:
                return False
        except ValueError:
            return False
    return True


def _kind_of(known: Sequence[object]) -> str | None:
    types = set(map(type, known))
    for kind, held in _HELD.items():
        if types and all(issubclass(t, held) and t is not bool for t in types):
            return kind
    together = all(issubclass(t, (str, int, np.integer, UUID)) and t is not bool for t in types)
    if types and together and _are_uuids([x for x in known if isinstance(x, str)]):
        return MIXED
    if types:
        seen = sorted(t.__name__ for t in types)
        dtype = f"dtype {np.asarray(known).dtype}" if types <= {int, float, bool} else " and ".join(seen[:3])
        raise TypeError(f"ids must be integers or strings, got {dtype}, or UUIDs: choose one of them")
    return None


def _is_nothing(value: object) -> bool:
    """Return whether a value marks a missing one: None, NaN, and those of pandas."""
    nothing = value is None or type(value).__name__ in ("NAType", "NaTType")
    return nothing or (isinstance(value, float) and isnan(value))


def _texts(values: Sequence[str]) -> AnyArray:
    """Return texts in an array of fixed width; as objects where one is long, or ends in NUL, which that would drop."""
    if max(map(len, values), default=0) <= _WIDEST and not any(text.endswith("\0") for text in values):
        return np.array(values, dtype=np.str_)
    return _objects([str(text) for text in values])


def _integers(values: Sequence[int]) -> AnyArray:
    """Return integers as int64, or uint64, or as Python's own, which hold what no other can."""
    whole = [int(value) for value in values]
    for dtype in (np.int64, np.uint64):
        try:
            return np.array(whole, dtype=dtype)
        except OverflowError:
            continue
    return _objects(whole)


def _objects(values: Sequence[object]) -> AnyArray:
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects
