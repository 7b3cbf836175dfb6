"""The table of figures by name: whoever adds a metric writes its function, and a row here.

In: the name of a figure as people write it, such as "nDCG@10". Out: what it computes of one query's list, and how deep
it looks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from manifold.metrics import _retrieval as of
from manifold.metrics._judged import Judged, check_k

Depth = Literal["first", "k", "all"]


class Figure(NamedTuple):
    """A row of the table."""

    value: Callable[..., float]  # of one query's `Judged` list, and of what it needs
    depth: Depth  # items of the list that it looks at: one, as many as the number after the @, all
    needs: tuple[Literal["k", "interpolation"], ...] = ("k",)
    is_error: bool = False  # less of it is better


FIGURES: dict[str, Figure] = {
    "mAP": Figure(of.averaged_precision, "all", ("interpolation",)),
    "mP@k": Figure(of.precision, "all"),
    "MRR": Figure(of.reciprocal, "all", ()),
    "MRR@k": Figure(of.reciprocal, "k"),
    "recall@k": Figure(of.recall, "k"),
    "hit@k": Figure(of.hit, "k"),
    "nDCG@k": Figure(of.ndcg, "k"),
    "binary nDCG@k": Figure(of.binary_ndcg, "k"),
    "bull's-eye@k": Figure(of.seen_by_bulls_eye, "k"),
    "1-NN accuracy": Figure(of.hit, "first"),
    "1-NN error": Figure(of.miss, "first", is_error=True),
}


class Asked(NamedTuple):
    """A figure as it was asked for, its number read."""

    figure: Figure
    k: int  # 0 where it has none

    @property
    def depth(self) -> int | None:
        """How many items of a list without junk it looks at, None for all."""
        return None if self.figure.depth == "all" else self.k

    def of_query(self, judged: Judged, interpolation: of.Interpolation) -> float:
        """Return its value for one query."""
        known = {"k": self.k, "interpolation": interpolation}
        return self.figure.value(judged, **{name: known[name] for name in self.figure.needs})


def parse(name: str) -> Asked:
    """Return what a name stands for; raise ValueError, with the names there are, for any other.

    >>> parse("nDCG@10").k, parse("mAP").depth
    (10, None)
    """
    kind, at, number = name.partition("@")
    row = f"{kind}@k" if at else kind
    if row not in FIGURES or (at and not (number.isascii() and number.isdigit())):
        raise ValueError(f"figures holds {name!r}, which is unknown: use {names()}, with a number for k")
    if at:
        check_k(int(number), name=f"k of {name!r}")
    figure = FIGURES[row]
    return Asked(figure, int(number) if at else int(figure.depth == "first"))


def names() -> str:
    """Return the names of the table as one text.

    >>> names().split(", ")[:2]
    ['mAP', 'mP@k']
    """
    return ", ".join(FIGURES)
