"""Hubs held back, against the inverted softmax."""

from __future__ import annotations

import numpy as np
import pytest
from memory import peak_over_forecast

from manifold.reranking import hub_offsets, remove_hubs
from manifold.reranking import hubs as module


class TestHubs:
    def test_it_is_the_inverted_softmax(self, rng):
        bank, test = rng.uniform(-1, 1, size=(2, 40, 12))
        order = np.argsort(-bank, axis=1)
        offsets = hub_offsets(order, np.take_along_axis(bank, order, axis=1), n_items=12, beta=20)
        softmax = np.exp(20 * test) / np.exp(20 * bank).sum(axis=0)
        near = np.argsort(-test, axis=1)
        lists = near, np.take_along_axis(test, near, axis=1)
        ids, scores = remove_hubs(*lists, offsets=offsets)
        np.testing.assert_array_equal(ids, np.argsort(-softmax, axis=1))
        expected = np.log(np.take_along_axis(softmax, ids, axis=1)) / 20 + np.log(40) / 20
        np.testing.assert_allclose(scores, expected, atol=1e-12)
        hubs = np.isin(np.arange(12), order[:, 0]) & (np.arange(12) % 2 == 0)
        ids, scores = remove_hubs(*lists, offsets=offsets, hubs=hubs)
        alone = ~hubs[near[:, 0]]
        assert 0 < alone.sum() < 40
        np.testing.assert_array_equal(ids[alone], near[alone])
        np.testing.assert_array_equal(ids[~alone], np.argsort(-softmax, axis=1)[~alone])

    def test_short_lists_bound_what_they_do_not_show(self, rng):
        bank = rng.uniform(0, 1, size=(50, 30))
        order = np.argsort(-bank, axis=1)
        exact, short = (
            hub_offsets(order[:, :m], np.take_along_axis(bank, order, axis=1)[:, :m], n_items=30) for m in (30, 8)
        )
        assert (short >= exact - 1e-12).all()
        assert np.abs(short - exact).max() < 0.2

    def test_a_hub_loses_its_place(self):
        """An item near to everything comes first for all queries until its offset is taken off."""
        s = np.full((6, 6), 0.1) + 0.4 * np.eye(6)
        s[:, 0] = 0.55
        order = np.argsort(-s, axis=1, kind="stable")
        lists = order, np.take_along_axis(s, order, axis=1)
        assert (order[:, 0] == 0).all()
        ids, _ = remove_hubs(*lists, offsets=hub_offsets(*lists, n_items=6))
        assert ids[1:, 0].tolist() == [1, 2, 3, 4, 5]

    @pytest.mark.parametrize("work", ["offsets", "remove"])
    def test_the_forecast_covers_the_peak(self, monkeypatch, rng, work):
        ids = np.array([rng.permutation(3000)[:50] for _ in range(2000)])
        lists = ids, -np.sort(-rng.random((2000, 50)))
        offsets = hub_offsets(*lists, n_items=3000)
        jobs = {
            "offsets": lambda: hub_offsets(*lists, n_items=3000),
            "remove": lambda: remove_hubs(*lists, offsets=offsets),
        }
        assert 0.4 < peak_over_forecast(jobs[work], monkeypatch, module) <= 1

    def test_bad_input(self):
        with pytest.raises(ValueError, match="beta must be a positive"):
            hub_offsets([[0]], [[1.0]], n_items=1, beta=0)
        with pytest.raises(ValueError, match="bank holds no list"):
            hub_offsets([[-1]], [[1.0]], n_items=1)
        with pytest.raises(ValueError, match="must descend"):
            remove_hubs([[0, 1]], [[0.1, 0.2]], offsets=[0, 0])
        with pytest.raises(ValueError, match=r"lie in -1\.\.1"):
            remove_hubs([[0, 2]], [[0.2, 0.1]], offsets=[0, 0])
        with pytest.raises(ValueError, match="mask"):
            remove_hubs([[0]], [[0.2]], offsets=[0], hubs=[1])
