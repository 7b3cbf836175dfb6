"""`Neighbors`: what the house made is taken as it is; length, looks, tables and pickles."""

from __future__ import annotations

import pickle
import sys
from copy import copy, deepcopy

import numpy as np
import pytest

from manifold.neighbors import Neighbors, find_neighbors, from_precomputed


@pytest.fixture
def found(rng):
    return find_neighbors(rng.normal(size=(40, 5)), 6)


@pytest.fixture
def short():
    """Lists of different length."""
    return Neighbors(
        [[2, 1], [0, -1], [0, -1]], [[0.75, 0.5], [0.5, 0], [0.75, 0]], "cosine", "by <hand>", facts={"a": 1}
    )


class TestTrusted:
    def test_arrays_are_taken_without_a_copy_and_cannot_be_written_to(self):
        ids, similarities = np.array([[1], [0]], np.int32), np.array([[0.5], [0.5]], np.float32)
        made = Neighbors._trusted(ids, similarities, metric="cosine", method="by hand", n_repaired=2, facts={"a": 1})
        assert (made.metric, made.method, made.n_repaired, made.facts) == ("cosine", "by hand", 2, {"a": 1})
        for array, given in ((made.indices, ids), (made.similarities, similarities)):
            assert np.shares_memory(array, given)
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
            assert given.flags.writeable  # the caller's own array stays as it was

    def test_nothing_is_validated(self):
        wrong = Neighbors._trusted(np.full((2, 1), 9, np.int32), np.ones((2, 1), np.float32), metric="x", method="y")
        assert wrong.indices.tolist() == [[9], [9]]

    def test_facts_are_of_each_alone(self):
        one, other = (
            Neighbors._trusted(np.zeros((1, 0), np.int32), np.zeros((1, 0), np.float32), metric="cosine", method="m")
            for _ in range(2)
        )
        assert one.facts == {}
        assert one.facts is not other.facts


class TestFirst:
    def test_is_a_view_that_knows_what_the_whole_knows(self, short):
        cut = short.first(1)
        assert np.shares_memory(cut.indices, short.indices)
        assert np.shares_memory(cut.similarities, short.similarities)
        assert not cut.indices.flags.writeable
        assert cut.indices.tolist() == [[2], [0], [0]]
        assert (cut.metric, cut.method, cut.facts) == (short.metric, short.method, short.facts)
        assert short.first(9).indices.shape == (3, 2)
        assert short.first(0).indices.shape == (3, 0)

    @pytest.mark.parametrize(("k", "kind"), [(-1, ValueError), (1.0, TypeError), (True, TypeError)])
    def test_a_k_that_counts_nothing_is_refused(self, k, kind, short):
        with pytest.raises(kind, match=r"^k must be"):
            short.first(k)


def test_similarities_from_elsewhere_keep_the_promises(found, rng):
    values = rng.normal(size=found.indices.shape)
    values[rng.random(values.shape) < 0.3] = -np.inf
    given = found.with_similarities(values)
    strict = Neighbors(given.indices, given.similarities, metric="precomputed", method="by hand")
    np.testing.assert_array_equal(strict.indices, given.indices)
    np.testing.assert_array_equal(strict.similarities, given.similarities)
    assert (given.indices.dtype, given.similarities.dtype) == (np.int32, np.float32)
    with pytest.raises(ValueError, match=r"metric must be one of .* got 'l2'"):
        found.with_similarities(values, metric="l2")


class TestLooks:
    def test_length_is_that_of_the_points(self, found):
        assert len(found) == found.n_nodes == 40

    def test_repr_says_what_is_known(self, short):
        assert repr(short) == "Neighbors(n_nodes=3, n_neighbors=2, metric='cosine', method='by <hand>', a=1)"
        repaired = Neighbors([[1], [0]], [[1.0], [1.0]], "cosine", "faiss", n_repaired=1)
        assert repr(repaired) == "Neighbors(n_nodes=2, n_neighbors=1, metric='cosine', method='faiss', n_repaired=1)"

    def test_a_notebook_shows_the_first_lists(self, short, found):
        html = short._repr_html_()
        assert "by &lt;hand&gt;" in html
        assert "<tr><th>0</th><td>2 <small>(0.75)</small></td><td>1 <small>(0.5)</small></td></tr>" in html
        assert "<tr><th>1</th><td>0 <small>(0.5)</small></td></tr>" in html
        assert found._repr_html_().count("<tr>") == 8  # and no more, however many there are


class TestTables:
    def test_a_sparse_matrix_holds_each_pair(self, found, short):
        matrix = found.to_scipy()
        assert (matrix.shape, matrix.dtype, matrix.has_canonical_format) == ((40, 40), np.float32, True)
        dense = np.zeros((40, 40), np.float32)
        np.put_along_axis(dense, found.indices.astype(np.int64), found.similarities, axis=1)
        np.testing.assert_array_equal(matrix.toarray(), dense)
        assert short.to_scipy().toarray().tolist() == [[0, 0.5, 0.75], [0.5, 0, 0], [0.75, 0, 0]]

    def test_it_can_be_read_back(self, found, short):
        for one in (found, short):
            again = from_precomputed(one.to_scipy(), one.n_neighbors)
            np.testing.assert_array_equal(again.indices, one.indices)
            np.testing.assert_array_equal(again.similarities, one.similarities)

    def test_a_similarity_of_0_is_stored(self):
        pair = Neighbors([[1], [0]], [[0.0], [0.0]], "euclidean", "by hand")
        assert pair.to_scipy().nnz == 2

    def test_nobody(self):
        alone = Neighbors(np.empty((3, 0), np.int32), np.empty((3, 0)), "cosine", "by hand")
        assert alone.to_scipy().nnz == 0
        assert len(alone.to_pandas()) == 0

    def test_a_frame_has_a_row_for_each_pair(self, short):
        frame = short.to_pandas()
        assert frame.columns.tolist() == ["id", "neighbor", "similarity"]
        assert frame.values.tolist() == [[0, 2, 0.75], [0, 1, 0.5], [1, 0, 0.5], [2, 0, 0.75]]

    def test_the_absence_of_pandas_names_the_cure(self, short, monkeypatch):
        monkeypatch.setitem(sys.modules, "pandas", None)
        with pytest.raises(ImportError, match="pip install pandas, or use to_scipy"):
            short.to_pandas()


@pytest.mark.parametrize("again", [copy, deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_and_pickles_are_read_only_too(again, short):
    other = again(short.first(1))
    assert other.indices.tolist() == [[2], [0], [0]]
    assert (other.metric, other.method, other.n_repaired, other.facts) == ("cosine", "by <hand>", 0, {"a": 1})
    with pytest.raises(ValueError, match="read-only"):
        other.indices[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        other.similarities[0] = 1
