"""Folders that version 0.1 saved (format 1) load and answer as that version did; format 2 is refused by it, by name."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

import manifold as mf
from manifold._load import KINDS
from manifold.errors import CorruptFileError
from manifold.storage import _manifest

SAVES = Path(__file__).with_name("saves_0_1.zip")
SEEDS = np.eye(24)[:, :2]


def searched(search, kept):
    found = search.search(kept["Q"], k=8)
    alike = search.similar(search.ids_[:2], k=5).ids
    # where items are put in another order, version 0.1 gave the scores of the diffusion, and the slack of its pool
    scores = found.scores if found.diffusion is None else found.diffusion
    slack = found.slack if found.pool_slack is None else found.pool_slack
    return {"ids": found.ids, "scores": scores, "slack": slack, "similar": alike}


def ranked(search, kept, k):
    found = search.search(kept["Q"], k=k)
    return {"ids": found.ids, "scores": found.scores}


# folder -> its name among the kept answers, and the answers of what was loaded
ANSWERS = {
    "graph": ("graph", lambda graph, _: {"data": graph.affinity.data, "degrees": graph.degrees}),
    "spectrum": ("spectrum", lambda spectrum, _: {"values": spectrum.eigenvalues}),
    "index": ("index", lambda index, _: {"tail": index.tail, "scores": index.solve(SEEDS).scores}),
    "pooled_index": ("pooled", lambda index, _: {"scores": index.solve(SEEDS).scores}),
    "propagation": ("propagation", lambda found, _: {"labels": found.labels, "certainty": found.certainty}),
    "search": ("search", searched),
    "search_adaptive": ("search_adaptive", searched),
    "search_index": ("search_index", searched),
    "search_changed": ("search_changed", lambda search, kept: ranked(search, kept, 8)),
    "regional_search": ("regional_search", lambda search, kept: ranked(search, kept, 4)),
    "regional_index": ("regional_index", lambda search, kept: ranked(search, kept, 4)),
}


@pytest.fixture
def kept():
    with zipfile.ZipFile(SAVES) as saves:
        saves.extractall()
    with np.load("expected.npz") as answers:
        return dict(answers)


def test_every_kind_and_every_answer_was_kept(kept):
    folders = {path.parent.name for path in Path().glob("*/manifest.json")}
    assert folders == set(ANSWERS)
    kinds = {json.loads(Path(folder, "manifest.json").read_text())["kind"] for folder in folders}
    assert kinds == set(KINDS) - {
        "graph_search",
        "label_propagation",
        "lazy_index",
        "label_propagation_regressor",
        "multi_label_propagation",
        "pair_whitening",
        "local_features",
        "neighbors",
        "vocabulary",
    }  # which format 1 had not
    names = {name.rsplit("_", 1)[0] for name in kept if "_" in name}
    assert names == {name for name, _ in ANSWERS.values()}


@pytest.mark.parametrize("verify", ["full", "lazy"])
@pytest.mark.parametrize("folder", ANSWERS)
def test_a_folder_of_format_1_answers_as_the_version_that_wrote_it(folder, verify, kept):
    assert json.loads(Path(folder, "manifest.json").read_text())["version"] == 1
    name, answers = ANSWERS[folder]
    for found in (mf.load(folder, verify=verify), mf.load(mf.load(folder).save("again"), verify=verify)):
        got = answers(found, kept)
        assert {f"{name}_{what}" for what in got} == {key for key in kept if key.rsplit("_", 1)[0] == name}
        for what, values in got.items():
            assert np.asarray(values).dtype == kept[f"{name}_{what}"].dtype
            np.testing.assert_array_equal(values, kept[f"{name}_{what}"])
    manifest = json.loads(Path("again/manifest.json").read_text())
    assert manifest["version"] == _manifest.VERSION == 2
    assert ("components" in manifest["arrays"]) == ("indptr" in manifest["arrays"])


def test_a_version_that_knows_format_1_alone_refuses_format_2_by_name(monkeypatch):
    path = mf.graph_from_affinity([[0, 1], [1, 0]]).save("graph")
    monkeypatch.setattr(_manifest, "VERSION", 1)
    with pytest.raises(CorruptFileError, match=r"graph.*is of format 2, written with .* formats up to 1: upgrade"):
        mf.load(path)
    with pytest.raises(FileExistsError, match=r"graph is in the way .*format 2"):
        mf.graph_from_affinity([[0, 1], [1, 0]]).save("graph")
