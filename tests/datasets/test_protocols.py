"""Ground truths from every kind of file, the figures of each protocol, and pickles that bite."""

import contextlib
import io
import json
import pickle
import struct
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from manifold import datasets, metrics
from manifold.cli import main
from manifold.datasets._protocols import PROTOCOLS
from manifold.datasets._unpickle import _StandIn
from manifold.errors import DatasetNotFoundError, ManifoldWarning

RNG = np.random.default_rng(20171)

# the ground truth of revisited Oxford and Paris, where it is at hand


@pytest.fixture(params=["roxford5k.json", "roxford5k.mat", "rparis6k.json", "rparis6k.mat"])
def truth(request):
    name, kind = request.param.split(".")
    path = datasets.data_folder() / "roxford_rparis" / f"gnd_{name}.{kind}"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in {datasets.data_folder()}")
    return datasets.ground_truth(name, path)


def test_revisited_counts(truth):
    counts = [sum(map(len, truth.lists[name])) for name in ("easy", "hard", "junk")]
    without_easy = sum(len(part) == 0 for part in truth.lists["easy"])
    assert (truth.n_items, truth.n_queries, *counts, without_easy) == {
        "roxford5k": (4993, 70, 3029, 2497, 1356, 2),
        "rparis6k": (6322, 70, 6874, 10350, 7153, 0),
    }[truth.name]
    assert len(truth.items) == truth.n_items
    assert set(truth.items).isdisjoint(truth.queries)
    assert truth.boxes.shape == (70, 4)


def test_revisited_kinds_of_files_agree():
    for name in ("roxford5k", "rparis6k"):
        try:
            one = datasets.ground_truth(name)
        except DatasetNotFoundError as error:
            pytest.skip(str(error))
        other = datasets.ground_truth(name, datasets.data_folder() / "roxford_rparis" / f"gnd_{name}.mat")
        assert (one.items, one.queries) == (other.items, other.queries)
        np.testing.assert_array_equal(one.boxes, other.boxes)
        for part, of in one.lists.items():
            assert all(np.array_equal(a, b) for a, b in zip(of, other.lists[part], strict=True))


def perfect(truth):
    """Junk first, then all that is relevant, then the rest."""
    everything, ranking = np.arange(truth.n_items), []
    for easy, hard, junk in zip(*(truth.lists[name] for name in ("easy", "hard", "junk")), strict=True):
        head = np.concatenate([junk, easy, hard])
        ranking.append(np.concatenate([head, np.setdiff1d(everything, head)]))
    return np.array(ranking)


def test_revisited_perfect_ranking_with_junk_first_is_one(truth):
    ranking = perfect(truth)
    figures = metrics.evaluate(ranking, truth)
    assert list(figures) == ["easy", "medium", "hard"]
    for of in figures.values():
        assert of == pytest.approx({"mAP": 1, "mP@1": 1, "mP@5": 1, "mP@10": 1}, abs=1e-12)
    answered = ~np.isnan(metrics.evaluate_queries(ranking, truth)["easy"]["mAP"])
    assert answered.sum() == {"roxford5k": 68, "rparis6k": 70}[truth.name]


def expected_of_a_random_order(truth, setting):
    """Closed form: place i holds a relevant item with probability r/n, and (i - 1)(r - 1)/(n - 1) stand before it."""
    values = []
    for relevant, junk in zip(*truth.judgements(setting), strict=True):
        r, n = len(relevant), truth.n_items - len(junk)
        if r:
            harmonic = (1 / np.arange(1, n + 1)).sum()
            right = ((r - 1) / (n - 1) * (n - harmonic) + harmonic) / n  # precision at the item, the AP of trec_eval
            values.append((right + r / n) / 2)  # and before it, 1 at the top
    return np.mean(values)


def test_revisited_random_ranking_is_at_its_expectation(truth):
    rng = np.random.default_rng(31)
    rankings = [np.array([rng.permutation(truth.n_items) for _ in truth.queries]) for _ in range(3)]
    found = [metrics.evaluate(ranking, truth, figures=["mAP"]) for ranking in rankings]
    about = {"roxford5k": [0.9, 1.5, 0.7], "rparis6k": [1.7, 4.1, 2.5]}[truth.name]  # as others report, per cent
    for setting, reported in zip(truth.settings, about, strict=True):
        expected = 100 * expected_of_a_random_order(truth, setting)
        assert 100 * np.mean([one[setting]["mAP"] for one in found]) == pytest.approx(expected, abs=0.09), setting
        assert expected == pytest.approx(reported, abs=0.2), setting


# small ground truths, written in every way


def annotated(n=40, q=6, names=("easy", "hard", "junk"), rng=RNG):
    """Disjoint lists of n images for q queries; the first query has nothing in the first list."""
    records = []
    for i in range(q):
        some = rng.permutation(n)[:15]
        lists = dict(zip(names, np.split(np.sort(some.reshape(3, 5), axis=1), 3), strict=True))
        records.append({name: of.ravel().tolist() for name, of in lists.items()} | {"bbx": [1.5, 2.0, 30.0, 40.0]})
        if i == 0:
            records[0][names[0]] = []
    return {"imlist": [f"im{i:02d}" for i in range(n)], "qimlist": [f"q{i}" for i in range(q)], "gnd": records}


ROOT = annotated()
OLD = annotated(names=("good", "ok", "junk"))


def write(path, root, protocol=4):
    if path.suffix == ".json":
        path.write_text(json.dumps(root))
    elif path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(root, protocol=protocol))
    else:
        lists = [name for name in root["gnd"][0] if name != "bbx"]
        gnd = np.array(
            [tuple([np.array(r[name]) + 1 for name in lists] + [r["bbx"]]) for r in root["gnd"]],
            dtype=[(name, object) for name in [*lists, "bbx"]],
        )
        images, queries = (np.array(root[key], dtype=object)[None, :] for key in ("imlist", "qimlist"))
        savemat(path, {"imlist": images, "qimlist": queries, "gnd": gnd})
    return path


def arrays(root, dtype=np.int64):
    """The same with arrays for lists, a scalar and a set: what people put into pickles."""
    gnd = [{key: np.array(value, dtype=dtype) for key, value in r.items()} for r in root["gnd"]]
    return {**root, "gnd": gnd, "imlist": np.array(root["imlist"]), "year": np.float64(2018), "tags": {"a", "b"}}


def same_truth(found, root):
    assert list(found.items) == root["imlist"]
    assert list(found.queries) == root["qimlist"]
    np.testing.assert_array_equal(found.boxes, [r["bbx"] for r in root["gnd"]])
    for name, of in found.lists.items():
        assert [list(some) for some in of] == [r[name] for r in root["gnd"]]


@pytest.mark.parametrize("kind", ["json", "mat", "pkl"])
def test_each_kind_of_file_says_the_same(tmp_path, kind):
    same_truth(datasets.ground_truth("revisited", write(tmp_path / f"gnd.{kind}", ROOT)), ROOT)
    same_truth(datasets.ground_truth("oxford", write(tmp_path / f"old.{kind}", OLD)), OLD)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", [np.int64, ">i4", np.uint16, np.float64])
def test_pickles_of_arrays_are_read_in_every_protocol(tmp_path, protocol, dtype):
    root = {**ROOT, "gnd": [{**r, "bbx": [1, 2, 30, 40]} for r in ROOT["gnd"]]}
    path = write(tmp_path / "gnd.pkl", OrderedDict(arrays(root, dtype)), protocol)
    same_truth(datasets.ground_truth("revisited", path), root)


def test_settings_say_which_lists_count(tmp_path):
    revisited = datasets.ground_truth("revisited", write(tmp_path / "gnd.json", ROOT))
    for setting, wanted, ignored in (
        ("easy", ["easy"], ["junk", "hard"]),
        ("medium", ["easy", "hard"], ["junk"]),
        ("hard", ["hard"], ["junk", "easy"]),
    ):
        for found, names in zip(revisited.judgements(setting), (wanted, ignored), strict=True):
            assert [set(some) for some in found] == [set().union(*(r[n] for n in names)) for r in ROOT["gnd"]]
    old = datasets.ground_truth("oxford", write(tmp_path / "old.json", OLD))
    relevant, junk = old.judgements("all")
    assert [set(some) for some in relevant] == [{*r["good"], *r["ok"]} for r in OLD["gnd"]]
    assert [list(some) for some in junk] == [r["junk"] for r in OLD["gnd"]]
    one = datasets.GroundTruth(
        "one", {"easy": [[6]], "hard": [[5]], "junk": [[4]]}, revisited.settings, interpolation="trapezoid"
    )
    figures = metrics.evaluate([[4, 5, 9, 6]], one, figures=["mAP"])
    assert {name: value["mAP"] for name, value in figures.items()} == {
        "easy": 0.25,  # 9, 6
        "medium": pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2),  # 5, 9, 6
        "hard": 1.0,  # 5, 9
    }


def test_good_and_ok_in_one_list_and_queries_among_the_images(tmp_path):
    newer = {
        **OLD,
        "gnd": [{"ok": sorted(r["good"] + r["ok"]), "junk": r["junk"]} for r in OLD["gnd"]],
        "qidx": [3, 1, 4, 0, 5, 9],
    }
    del newer["qimlist"]
    found = datasets.ground_truth("oxford", write(tmp_path / "gnd.json", newer))
    assert found.queries == ("im03", "im01", "im04", "im00", "im05", "im09")
    ranking = np.array([RNG.permutation(40) for _ in range(6)])
    old = datasets.ground_truth("oxford", write(tmp_path / "old.json", OLD))
    assert metrics.evaluate(ranking, found) == metrics.evaluate(ranking, old)


def changed(root, **change):
    return json.loads(json.dumps({**root, **change}))


def with_record(root, **change):
    return changed(root, gnd=[{**root["gnd"][0], **change}, *root["gnd"][1:]])


@pytest.mark.parametrize(
    ("root", "message"),
    [
        (with_record(ROOT, easy=[40]), r"'easy' of query 0 holds image 40, but images count from 0 to 39"),
        (with_record(ROOT, junk=[-1]), r"'junk' of query 0 holds image -1"),
        (with_record(ROOT, easy=[1.5]), "holds image 1.5"),
        (with_record(ROOT, easy=["im01"]), "holds a str, 'im01'"),
        (with_record(ROOT, easy=[[1]]), "holds a list"),
        (changed(ROOT, imlist=[1, 2]), "imlist holds a int, '1'"),
        (changed(ROOT, qimlist=["q0"]), "names 1 queries and gnd holds 6 records"),
        ({"gnd": ROOT["gnd"]}, "lacks 'imlist'"),
        ({"imlist": []}, "lacks 'gnd'"),
        ([1], "lacks list indices"),
        ({**ROOT, "gnd": 7}, "gnd holds a int"),
        (with_record(ROOT, easy=[10**400]), "too large"),
        (OLD, "holds the lists good, ok, junk, but revisited needs easy, hard"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, root, message):
    path = write(tmp_path / "gnd.json", root)
    with pytest.raises(ValueError, match=message) as caught:
        datasets.ground_truth("revisited", path)
    assert str(path) in str(caught.value)


def test_a_file_of_another_benchmark_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "gnd.json", ROOT)
    with pytest.raises(ValueError, match=r"has 40 images, but roxford5k has 4993: .* name the protocol revisited"):
        datasets.ground_truth("roxford5k", path)
    with pytest.raises(ValueError, match=r"6 queries, but oxford5k has 55"):
        datasets.ground_truth("oxford5k", write(tmp_path / "old.json", OLD))
    with pytest.raises(ValueError, match="protocol 'roxford' is unknown: use one of roxford5k, rparis6k"):
        datasets.ground_truth("roxford")
    with pytest.raises(ValueError, match="has no ground truth of its own"):
        datasets.ground_truth("revisited")
    with pytest.raises(ValueError, match="not judged by labels"):
        datasets.ground_truth("rparis6k", [1, 2])
    monkeypatch.setenv("MANIFOLD_DATA", str(tmp_path))
    with pytest.raises(DatasetNotFoundError, match=r"gnd_instre.json.* set MANIFOLD_DATA .*Wang"):
        datasets.ground_truth("instre")
    with pytest.raises(FileNotFoundError, match=r"absent.mat is not a file"):
        datasets.ground_truth("oxford", tmp_path / "absent.mat")
    for name in ("gnd.mat", "gnd.json"):
        (tmp_path / name).write_bytes(b"\x00\xffnothing")
        with pytest.raises(ValueError, match=name):
            datasets.ground_truth("oxford", tmp_path / name)


# pickles that bite


class Asks:
    """Pickles as a call of `function`."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def forged_array(dtype):
    """What numpy pickles, with a dtype of the forger's choice."""
    return pickle.dumps(np.arange(3, dtype=np.int64)).replace(b"i8", dtype)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (Asks(print, "run"), "builtins.print"),
        (Asks(eval, "1 + 1"), "builtins.eval"),
        (Asks(__import__, "os"), "builtins.__import__"),
        (Asks(np.load, "x.npy"), "numpy.load"),
        (Asks(getattr, {}, "keys"), "builtins.getattr"),
        ([np.arange(3), {"easy": Asks(io.open, "x")}], "open"),
        (np.array([Asks(print, "run")], dtype=object), "builtins.print"),
        (np.arange(3).astype(object).view(np.recarray), "numpy"),
        (np.ma.masked_array([1]), "numpy.ma"),
        (datasets.two_moons, "manifold.datasets"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_a_pickle_that_asks_for_more_is_refused(tmp_path, capsys, content, named, protocol):
    path = tmp_path / "gnd.pkl"
    path.write_bytes(pickle.dumps({**ROOT, "more": content}, protocol=protocol))
    named = named.replace("builtins", "__builtin__") if protocol == 2 else named
    with pytest.raises(ValueError, match=rf"gnd.pkl asks to load [\w.]*{named}.*only NumPy arrays.*\.json"):
        datasets.ground_truth("revisited", path)
    assert capsys.readouterr().out == ""


def test_a_pickle_that_calls_the_system_runs_nothing(tmp_path, capsys):
    trace = tmp_path / "trace"
    (tmp_path / "gnd.pkl").write_bytes(b"cos\nsystem\n(S'touch " + str(trace).encode() + b"'\ntR.")
    argv = ["evaluate", "--protocol=revisited", f"--truth={tmp_path / 'gnd.pkl'}", "--features=X.npy"]
    assert main(argv) == 2
    assert "asks to load os.system" in capsys.readouterr().err
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        pickle.dumps(ROOT)[:-20],
        b"\x80\x04P1\n.",  # an object of another file
        b"\x80\x04\x82\x01.",  # an extension
        pickle.dumps({**arrays(ROOT), "x": forged_array(b"i8")})[:-3],
        forged_array(b"V8"),
        forged_array(b"O8"),
        forged_array(b"M8"),
        forged_array(b"q9"),
        pickle.dumps(np.arange(6).reshape(2, 3)).replace(b"K\x02K\x03\x86", b"K\x63K\x63\x86"),  # another shape
        b"\x80\x04cnumpy\nndarray\n}\x8c\x01aK\x01sb.",  # state for a class
        b"\x80\x04cnumpy\ndtype\nN}\x8c\x08__init__K\x01s\x86b.",  # attributes for a class
        b"\x80\x04cnumpy\nndarray\n(K\x02\x85tR.",  # an array that is not rebuilt
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00utf-8\x86R.",
        struct.pack("<BBBQ", 0x80, 4, 0x95, 2**62) + b".",  # a frame of 4 EiB
        b"\x80\x04" + struct.pack("<BBI", ord("N"), ord("r"), 2**32 - 1) + b".",  # a memo of 32 GiB
        b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b".",  # a text of 1 EiB
    ],
)
def test_a_damaged_or_forged_pickle_is_a_value_error(tmp_path, content):
    path = tmp_path / "gnd.pkl"
    path.write_bytes(content)
    before = dict(vars(_StandIn))
    with pytest.raises(ValueError, match=r"gnd\.pkl"):
        datasets.ground_truth("revisited", path)
    assert vars(_StandIn) == before


SMALL = pickle.dumps(arrays(annotated(20, 2, rng=np.random.default_rng(5))), protocol=4)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_pickle_with_bytes_changed_is_read_or_refused(tmp_path_factory, data):
    whole = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "gnd.pkl"
    path.write_bytes(bytes(whole))
    with contextlib.suppress(ValueError):  # any other error, or a crash, is a failure
        datasets.ground_truth("revisited", path)


# Oxford and Paris as first published, INSTRE, labels


def landmarks(folder, prefix="oxc1_"):
    """11 landmarks of 5 queries; lists by name. The relevant images of one landmark are those of all its queries."""
    rng = np.random.default_rng(7)
    folder.mkdir()
    names = [f"im_{i:06d}" for i in range(330)]
    lists = {}
    for j in range(11):
        own = rng.permutation(names[30 * j : 30 * j + 30]).tolist()
        good, ok, junk = own[:8], own[8:15], own[15:20]
        for i in range(1, 6):
            (folder / f"place_{j}_{i}_query.txt").write_text(f"{prefix}{good[i]} 1.5 2 30 40\n")
            for kind, of in (("good", good), ("ok", ok), ("junk", junk)):
                (folder / f"place_{j}_{i}_{kind}.txt").write_text("".join(f"{name}\n" for name in of))
            lists[f"place_{j}_{i}"] = ({*good, *ok}, set(junk))
    return names, [lists[name] for name in sorted(lists)]


def test_oxford_lists_by_name(tmp_path):
    names, lists = landmarks(tmp_path / "gt")
    truth = datasets.ground_truth("oxford5k", tmp_path / "gt")
    assert (truth.n_queries, truth.has_names, truth.boxes.tolist()[0]) == (55, True, [1.5, 2, 30, 40])
    assert all(query in names for query in truth.queries)
    relevant, junk = truth.judgements("all")
    assert [(set(r), set(j)) for r, j in zip(relevant, junk, strict=True)] == lists
    by_rows = truth.by_rows(names)
    ranking = np.array([RNG.permutation(330) for _ in range(55)])
    figures = metrics.evaluate(ranking, by_rows)
    assert figures == metrics.evaluate(np.array(names)[ranking], truth)
    shuffled = RNG.permutation(330)  # rows in another order, and the ranking with them
    other = truth.by_rows(np.array(names)[shuffled])
    assert metrics.evaluate(np.argsort(shuffled)[ranking], other) == figures
    perfect = [[*sorted(j), *sorted(r)] for r, j in lists]
    assert metrics.evaluate(perfect, truth)["all"]["mAP"] == 1
    assert metrics.evaluate([row[5:10] for row in perfect], truth)["all"]["mAP"] == pytest.approx(5 / 15)


def test_images_that_are_not_there_count_as_never_found(tmp_path):
    names, lists = landmarks(tmp_path / "gt")
    truth = datasets.ground_truth("paris6k", tmp_path / "gt")
    gone = sorted(lists[0][0])[:3]
    kept = [name for name in names if name not in gone]
    with pytest.warns(
        UserWarning, match=rf"3 of 220 items that paris6k judges are not in .* \(first: '({'|'.join(gone)})'"
    ):
        there = truth.by_rows(kept)
    row = [kept.index(name) for name in sorted(lists[0][0] - set(gone))]
    assert metrics.evaluate([row], there.take([0]))["all"]["mAP"] == pytest.approx(12 / 15)
    with pytest.raises(ValueError, match=r"none of the 220 items .* is among the 2 given \('x', ...\)"):
        truth.by_rows(["x", "y"])
    with pytest.raises(ValueError, match=r"330 names of which 329 differ"):
        truth.by_rows([*names[:-1], names[0]])


def test_oxford_folder_that_is_damaged(tmp_path):
    landmarks(tmp_path / "gt")
    with pytest.raises(FileNotFoundError, match=r"holds no \*_query.txt"):
        datasets.ground_truth("oxford", tmp_path)
    (tmp_path / "gt" / "place_3_2_ok.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"place_3_2_ok\.txt"):
        datasets.ground_truth("oxford5k", tmp_path / "gt")
    for text in ("", "name 1 2 3", "name a b c d"):
        (tmp_path / "gt" / "place_3_1_query.txt").write_text(text)
        with pytest.raises(ValueError, match=r"place_3_1_query.txt must hold a name and x0 y0 x1 y1"):
            datasets.ground_truth("oxford5k", tmp_path / "gt")


def test_instre_by_its_file_and_by_labels(tmp_path):
    """250 classes, 5 queries each, 27,293 images: the file lists what the labels of both sides say."""
    labels = np.concatenate([np.arange(250), RNG.integers(0, 250, 27293 - 250)])
    query_labels = np.repeat(np.arange(250), 5)
    gnd = np.array(
        [(np.flatnonzero(labels == c) + 1, [1, 2, 3, 4]) for c in query_labels], dtype=[("ok", object), ("bbx", object)]
    )
    images, queries = ([f"{kind}{i}" for i in range(n)] for kind, n in (("im", 27293), ("q", 1250)))
    names = {"imlist": np.array(images, dtype=object), "qimlist": np.array(queries, dtype=object)}
    savemat(tmp_path / "gnd_instre.mat", {**names, "gnd": gnd})
    published = datasets.ground_truth("instre", tmp_path / "gnd_instre.mat")
    by_labels = datasets.ground_truth("instre", (labels, query_labels))
    assert (published.n_items, published.n_queries) == (by_labels.n_items, by_labels.n_queries) == (27293, 1250)
    relevant, other = (truth.judgements("all")[0] for truth in (published, by_labels))
    assert all(a == set(b.tolist()) for a, b in zip(relevant, other, strict=True))
    ranking = RNG.permutation(27293)[None, :]
    assert metrics.evaluate(ranking, published.take([7])) == metrics.evaluate(ranking, by_labels.take([7]))
    with pytest.raises(ValueError, match="has 1249 queries, but instre has 1250"):
        datasets.ground_truth("instre", (labels, query_labels[1:]))


def test_labels_leave_the_item_itself_out():
    truth = datasets.ground_truth("labels", np.array(["a", "b", "a", "a"]))
    assert [list(some) for some in truth.lists["relevant"]] == [[2, 3], [], [0, 3], [0, 2]]
    pair = datasets.ground_truth("labels", ([5, 7, 5, -1], [7, 5, 9, -1]))
    assert [list(some) for some in pair.lists["relevant"]] == [[1], [0, 2], [], []]
    assert list(datasets.ground_truth("labels", [-1, 2, -1, 2]).lists["relevant"][0]) == []
    for marked in (
        ["-1", "b", "", "b"],
        ["-1", "b", None, "b"],
        [None, 2, np.nan, 2],
        [-1, 2, None, 2],
        np.array(["-1", "b", np.nan, "b"], dtype=np.dtypes.StringDType(na_object=np.nan)),
        pd.Series(["-1", "b", None, "b"], index=[3, 2, 1, 0]),
        pd.Series([pd.NA, 2, -1, 2], dtype="Int64"),
    ):
        found = datasets.ground_truth("labels", marked)
        assert [list(some) for some in found.lists["relevant"]] == [[], [3], [], [1]], marked
    wide = ([2**60 + 1, 2**60 + 3, 2**60 + 1], np.array([2**60 + 3, 2**63], dtype=np.uint64))
    assert [list(some) for some in datasets.ground_truth("labels", wide).lists["relevant"]] == [[1], []]
    for labels, message in (
        ([1.5, 2], "float64"),
        ([1.5, None], "object"),
        ([b"a"], "S1"),
        ([[1, 2]], r"shape \(1, 2\)"),
        ([], "shape"),
        (([1, 2], ["a"]), "same kind"),
    ):
        with pytest.raises(ValueError, match=message):
            datasets.ground_truth("labels", labels)
    with pytest.raises(ValueError, match="needs the labels themselves, got the path"):
        datasets.ground_truth("labels", "labels.npy")


def test_queries_are_matched_by_name():
    truth = datasets.GroundTruth("two", {"relevant": [[1], [2]]}, queries=("a", "b"))
    with pytest.warns(ManifoldWarning) as warned:
        rows, some = truth.match(["c", "b"])
    assert [str(w.message) for w in warned] == [
        "1 of 2 queries are not judged by two: they are left out",
        "1 of 2 queries that two judges were not asked: the means are over the rest",
    ]
    assert (rows.tolist(), some.lists["relevant"], some.queries) == ([1], [[2]], ("b",))
    with pytest.raises(ValueError, match=r"none of the 1 queries \('x', ...\) is one of the 2 of two \('a', ...\)"):
        truth.match(["x"])
    with pytest.raises(ValueError, match="2 names of which 1 differ"):
        truth.match(["a", "a"])
    with pytest.raises(ValueError, match="names 2 queries with 1 names"):
        replace(truth, queries=("a", "a")).match(["a"])


def test_published_protocols_ask_for_their_trapezoids_and_no_other_does():
    asked = {name: protocol.interpolation for name, protocol in PROTOCOLS.items()}
    assert asked == {name: "step" if name in ("labels", "trec") else "trapezoid" for name in PROTOCOLS}
    assert datasets.GroundTruth("own", {"relevant": [[1]]}).interpolation == "step"


def test_every_figure_of_a_protocol_is_known_to_the_metrics():
    for protocol in PROTOCOLS.values():
        metrics.list_depth(protocol.figures)


@pytest.mark.parametrize("kind", ["json", "folder"])
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path, kind):
    if kind == "json":
        path = write(tmp_path / "gnd.json", ROOT)
        path.write_text(path.read_text(), encoding="utf-8-sig")
        same_truth(datasets.ground_truth("revisited", path), ROOT)
        return
    names, lists = landmarks(tmp_path / "gt")
    for path in (tmp_path / "gt").iterdir():
        path.write_text(path.read_text(), encoding="utf-8-sig")
    truth = datasets.ground_truth("oxford5k", tmp_path / "gt")
    assert [set(some) for some in truth.judgements("all")[0]] == [relevant for relevant, _ in lists]
    assert all(query in names for query in truth.queries)


def test_lists_are_read_by_place_and_a_text_is_one_id():
    one = datasets.GroundTruth("texts", {"relevant": ["doc1", "doc2"]})
    assert one.lists["relevant"] == [["doc1"], ["doc2"]]
    assert one.has_names
    assert metrics.evaluate([["doc1"], ["doc2"]], one)["all"]["mAP"] == 1
    frame = pd.Series([["a"], ["b", "c"]], index=[1, 0])
    assert datasets.GroundTruth("series", {"relevant": frame}).lists["relevant"] == [["a"], ["b", "c"]]
    assert datasets.GroundTruth("rows", {"relevant": np.array([3, 5])}).by_names().lists["relevant"] == [["3"], ["5"]]
    for of in ("doc1", {"q": ["doc1"]}):
        with pytest.raises(TypeError, match="give one collection of ids a query"):
            datasets.GroundTruth("one", {"relevant": of})


def test_joined_lists_leave_out_what_is_judged_not_relevant():
    graded = {"easy": [{1: 2, 2: 0, 3: -1}], "hard": [{4: 1}], "junk": [[5]]}
    settings = {"both": (("easy", "hard"), ("junk",))}
    assert datasets.GroundTruth("graded", graded, settings).judgements("both")[0] == [{1, 4}]


def test_an_absent_item_is_not_what_pads_a_ranking():
    truth = datasets.GroundTruth("names", {"relevant": [["a", "gone"]]})
    with pytest.warns(ManifoldWarning, match="1 of 2 items"):
        rows = truth.by_rows(["a", "b"])
    assert metrics.evaluate([[1, 0, -1]], rows)["all"]["mAP"] == 0.25
    assert rows.by_names().lists["relevant"] == [["a", "-2"]]
    numbers = datasets.GroundTruth("numbers", {"relevant": [{10: 2}]}).by_rows([20, 10])
    assert numbers.lists["relevant"] == [{1: 2}]
