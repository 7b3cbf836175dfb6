"""What stores answer, in all of its forms, as lists that are reranked."""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import manifold as mf
from manifold.ranking import hits

IDS, SCORES = ["c", "a", "d"], [0.9, 0.5, 0.25]
Scored = namedtuple("Scored", ["payload", "id", "score"])


class Row(dict):
    """A row that is asked by name or by place, as drivers of databases have them."""

    def __getitem__(self, name):
        return list(self.values())[name] if isinstance(name, int) else super().__getitem__(name)


FORMS = {
    "dicts": (lambda i, s: [{"id": a, "score": b} for a, b in zip(i, s, strict=True)], {}),
    "tuples": (lambda i, s: list(zip(i, s, strict=True)), {}),
    "longer tuples": (lambda i, s: [(0, b, a) for a, b in zip(i, s, strict=True)], {"id": 2, "score": 1}),
    "named tuples": (lambda i, s: [Scored({}, a, b) for a, b in zip(i, s, strict=True)], {}),
    "objects": (lambda i, s: [SimpleNamespace(id=a, score=b) for a, b in zip(i, s, strict=True)], {}),
    "answer with points": (
        lambda i, s: SimpleNamespace(points=[SimpleNamespace(id=a, score=b) for a, b in zip(i, s, strict=True)]),
        {},
    ),
    "parts of parts": (
        lambda i, s: [SimpleNamespace(uuid=a, metadata=SimpleNamespace(near=b)) for a, b in zip(i, s, strict=True)],
        {"id": "uuid", "score": "metadata.near"},
    ),
    "rows of a driver": (lambda i, s: [Row(key=a, near=b) for a, b in zip(i, s, strict=True)], {"id": 0, "score": 1}),
    "columns": (lambda i, s: {"ids": i, "_score": np.array(s)}, {"id": "ids", "score": "_score"}),
    "pandas": (lambda i, s: pd.DataFrame({"id": i, "score": s}, index=range(5, 5 + len(i))), {}),
    "polars": (lambda i, s: pl.DataFrame({"id": i, "score": s}), {}),
    "arrow": (lambda i, s: pa.table({"id": i, "_distance": s}), {"score": "_distance"}),
    "a cursor": (lambda i, s: iter(list(zip(i, s, strict=True))), {}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_ids_and_scores(form):
    make, names = FORMS[form]
    assert hits(make(IDS, SCORES), **names) == (IDS, SCORES)
    if form not in ("columns", "a cursor"):  # which are of one query
        several = hits([make(IDS, SCORES), make(IDS[:1], SCORES[:1])], **names)
        assert several == ([IDS, IDS[:1]], [SCORES, SCORES[:1]])


def test_nested_columns_are_several_queries():
    found = {"ids": [["a", "b"], ["c"]], "distances": [[0.1, 0.2], [0.3]]}
    assert hits(found, id="ids", score="distances") == (found["ids"], found["distances"])
    assert hits([]) == ([], [])
    assert hits([[], [("a", 0.5)]]) == ([[], ["a"]], [[], [0.5]])


def test_hits_are_reranked_in_one_line():
    X = np.random.default_rng(0).normal(size=(9, 3))
    search = mf.ManifoldSearch(n_neighbors=2).fit(X, list("abcdefghi"))
    found = [[("a", 0.9), ("b", 0.5)], [("c", 0.75)]]
    assert (
        search.rerank(*hits(found)).ids.tolist()
        == search.rerank([["a", "b"], ["c"]], [[0.9, 0.5], [0.75]]).ids.tolist()
    )


@pytest.mark.parametrize(
    ("found", "match"),
    [
        ([{"key": 1, "score": 0.5}], r"a hit has no 'id', it has \['key', 'score'\]: pass id= and score="),
        ([SimpleNamespace(key=1)], r"a hit has no 'id', it has \['key'\]"),
        ({"ids": [1]}, r"found has no column 'id', it has \['ids'\]"),
        (3, "found must be hits or columns, got a int"),
    ],
)
def test_what_has_no_such_part_is_named(found, match):
    with pytest.raises(ValueError, match=match):
        hits(found)
