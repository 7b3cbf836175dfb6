"""What a ground truth is: lists that annotators wrote, and the ways in which they count."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from manifold._typing import Floats, Ints
from manifold.datasets._lazy import Lazy
from manifold.errors import warn

ByQuery: TypeAlias = Sequence[Collection[object]]


@dataclass(frozen=True, repr=False, eq=False)
class GroundTruth:
    """Which items each query should find, which of them do not count, and by which figures that is judged.

    Annotators wrote `lists`; each of the `settings` says which lists are relevant in it and which are junk, to be
    taken out before anything is counted; `manifold.metrics.evaluate` gives the figures of a ranking by it.

    Reference: Philbin et al. (2007); Radenović et al. (2018), for relevant and junk; guide *judge*.

    Examples
    --------
    >>> truth = GroundTruth("two", {"easy": [[4], [5]], "hard": [[6], []]}, {"hard": (("hard",), ("easy",))})
    >>> truth.judgements("hard")
    ([[6], []], [[4], [5]])
    """

    name: str
    lists: Mapping[str, ByQuery]  # (q,) collections of ids, or of id -> gain; ids are rows, or names
    settings: Mapping[str, tuple[Sequence[str], Sequence[str]]] = field(
        default_factory=lambda: {"all": (("relevant",), ("junk",))}
    )
    figures: tuple[str, ...] = ("mAP",)
    interpolation: Literal["trapezoid", "step"] = "step"
    n_items: int | None = None  # rows of the collection, where that is known
    items: tuple[str, ...] = ()  # (n_items,) their names
    queries: tuple[str, ...] = ()  # (q,)
    boxes: Floats | None = None  # (q, 4) x0, y0, x1, y1 to crop the query image to, pixels
    source: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "lists", {name: _by_query(name, of) for name, of in self.lists.items()})
        counts = {name: len(lists) for name, lists in self.lists.items()}
        if len({*counts.values(), len(self.queries) or self.n_queries}) != 1:
            raise ValueError(f"lists of {counts} queries, and {len(self.queries)} names of them: give each the same")
        if self.items and len(self.items) != self.n_items:
            raise ValueError(f"n_items={self.n_items} and {len(self.items)} names in items: they must agree")
        wanted = {name for relevant, _ in self.settings.values() for name in relevant}
        if not wanted <= self.lists.keys():
            raise ValueError(f"lists are {', '.join(self.lists)}; settings need {', '.join(sorted(wanted))}")

    @property
    def n_queries(self) -> int:
        """How many queries are judged.

        >>> GroundTruth("two", {"relevant": [[4], [5]]}).n_queries
        2
        """
        return len(next(iter(self.lists.values())))

    @property
    def has_names(self) -> bool:
        """Whether ids are names of items; else they are numbers of rows.

        >>> GroundTruth("one", {"relevant": [["a"]]}).has_names, GroundTruth("one", {"relevant": [[0]]}).has_names
        (True, False)
        """
        first = next((i for of in self.lists.values() for some in of for i in some), None)
        return not isinstance(first, int | np.integer) if first is not None else self.n_items is None

    def judgements(self, setting: str) -> tuple[ByQuery, ByQuery | None]:
        """Return what is relevant to each query in a setting, and what is junk.

        >>> GroundTruth("one", {"good": [[4]], "ok": [[5]]}, {"all": (("good", "ok"), ())}).judgements("all")
        ([{4, 5}], None)
        """
        relevant, junk = (
            [self.lists[name] for name in names if name in self.lists] for names in self.settings[setting]
        )
        return _together(relevant), _together(junk) if junk else None

    def take(self, queries: Sequence[int] | Ints) -> GroundTruth:
        """Return the ground truth of some queries, by their positions.

        >>> GroundTruth("three", {"relevant": [[4], [5], [6]]}).take([2, 0]).lists["relevant"]
        [[6], [4]]
        """
        lists = {name: [of[i] for i in queries] for name, of in self.lists.items()}
        boxes = None if self.boxes is None else self.boxes[np.asarray(queries, dtype=np.int64)]
        return replace(self, lists=lists, boxes=boxes, queries=tuple(self.queries[i] for i in queries if self.queries))

    def match(self, queries: Iterable[object]) -> tuple[Ints, GroundTruth]:
        """Return which of the queries named are judged, and the ground truth of these in their order.

        The others, and those judged but not named, are left out, with a warning.

        >>> asked, truth = GroundTruth("two", {"relevant": [[4], [5]]}, queries=("a", "b")).match(["b", "a"])
        >>> asked.tolist(), truth.lists["relevant"]
        ([0, 1], [[5], [4]])
        """
        known = {name: i for i, name in enumerate(self.queries or map(str, range(self.n_queries)))}
        if len(known) != self.n_queries:
            raise ValueError(
                f"{self.name} names {self.n_queries} queries with {len(known)} names: give them by position"
            )
        names = [str(name) for name in queries]
        if len(set(names)) != len(names):
            raise ValueError(f"queries holds {len(names)} names of which {len(set(names))} differ: ask each once")
        judged = np.array([i for i, name in enumerate(names) if name in known], dtype=np.int64)
        if not judged.size:
            raise ValueError(
                f"none of the {len(names)} queries ({', '.join(map(repr, names[:1]))}, ...) is one of the {len(known)} "
                f"of {self.name} ({next(iter(known))!r}, ...): name them as the ground truth does"
            )
        if left := len(names) - judged.size:
            warn(f"{left} of {len(names)} queries are not judged by {self.name}: they are left out")
        if left := len(known) - judged.size:
            warn(f"{left} of {len(known)} queries that {self.name} judges were not asked: the means are over the rest")
        return judged, self.take([known[names[i]] for i in judged])

    def by_names(self) -> GroundTruth:
        """Return it with names of items for row numbers: those of `items`, or the numbers written as texts.

        >>> GroundTruth("one", {"relevant": [[1]]}, n_items=2, items=("a", "b")).by_names().lists["relevant"]
        [['b']]
        """
        if self.has_names:
            return self
        names: dict[object, str] = dict(enumerate(self.items))
        return self._renamed(lambda row: names.get(row, str(row)))

    def by_rows(self, items: Iterable[object]) -> GroundTruth:
        """Return it with row numbers for the names of items, which are given in the order of the rows.

        What is not among the items gets a number below -1, which no row has and no ranking is padded with: where it is
        relevant it counts as never found, and a warning says so.

        >>> GroundTruth("one", {"relevant": [["b"]]}).by_rows(["a", "b"]).lists["relevant"]
        [[1]]
        """
        names = tuple(map(str, items))
        rows = {name: row for row, name in enumerate(names)}
        if len(rows) != len(names):
            raise ValueError(f"items holds {len(names)} names of which {len(rows)} differ: give each item its own")
        judged = dict.fromkeys(str(name) for of in self.lists.values() for some in of for name in some)
        absent = [name for name in judged if name not in rows]
        if judged and len(absent) == len(judged):
            raise ValueError(
                f"none of the {len(judged)} items that {self.name} judges ({absent[0]!r}, ...) is among the "
                f"{len(names)} given ({next(iter(rows), '')!r}, ...): name the rows as the ground truth does"
            )
        if absent:
            warn(
                f"{len(absent)} of {len(judged)} items that {self.name} judges are not in the collection "
                f"(first: {absent[0]!r}): where they are relevant they count as never found"
            )
        rows |= {name: -2 - i for i, name in enumerate(absent)}
        return replace(self._renamed(lambda name: rows[str(name)]), n_items=len(names), items=names)

    def _renamed(self, new: Callable[[object], object]) -> GroundTruth:
        def rename(some: Collection[object]) -> Collection[object]:
            if isinstance(some, Mapping):
                return {new(i): gain for i, gain in some.items()}
            return [new(i) for i in some]

        return replace(self, lists={name: [rename(some) for some in of] for name, of in self.lists.items()})

    def __repr__(self) -> str:
        counts = ", ".join(f"{sum(map(len, of))} {name}" for name, of in self.lists.items())
        among = "" if self.n_items is None else f"{self.n_items} items, "
        return (
            f"GroundTruth {self.name!r}: {among}{self.n_queries} queries, {counts}\n"
            f"  source: {self.source} (licence: {self.licence})"
        )


def _by_query(name: str, of: ByQuery) -> ByQuery:
    """Return one collection a query, by place; one text or one number is one id."""
    if isinstance(of, Lazy):  # of one set, well formed; all its rows together may not fit the memory
        return of
    if isinstance(of, str | Mapping):
        raise TypeError(f"lists holds a {type(of).__name__} as {name!r}: give one collection of ids a query")
    return [some if isinstance(some, Collection) and not isinstance(some, str) else [some] for some in of]


def _together(lists: list[ByQuery]) -> ByQuery:
    """Join the lists of each query; one list stays as it is, with its gains."""
    if len(lists) == 1:
        return lists[0]
    return [{i for part in parts for i in _counted(part)} for parts in zip(*lists, strict=True)]


def _counted(part: Collection[object]) -> Iterable[object]:
    if isinstance(part, Mapping):
        return [i for i, gain in part.items() if gain > 0]
    return part.tolist() if isinstance(part, np.ndarray) else part
