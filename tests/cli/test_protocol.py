"""`manifold evaluate --protocol` and TREC files through the command: figures, published rows, and every wrong input."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from manifold import ManifoldSearch, datasets, metrics
from manifold.cli import main

N, Q, D = 120, 8, 16


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A planted set of the revisited kind, and every file that goes with it."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(41)
    queries = rng.standard_normal((Q, D)).astype(np.float32)
    features = rng.standard_normal((N, D)).astype(np.float32)
    gnd = []
    for q in range(Q):
        parts = np.split(15 * q + np.arange(15), [4, 10])
        for part, share in zip(parts, (1.2, 0.6, 0.3), strict=True):
            features[part] += share * queries[q]
        gnd.append(dict(zip(("easy", "hard", "junk"), (part.tolist() for part in parts), strict=True)))
    names = [f"im{i}" for i in range(N)]
    Path("gnd.json").write_text(json.dumps({"imlist": names, "qimlist": [f"q{i}" for i in range(Q)], "gnd": gnd}))
    np.save("X.npy", features)
    np.save("Q.npy", queries)
    np.save("D.npy", rng.standard_normal((50, D)).astype(np.float32))
    np.save("y.npy", np.arange(N) // 15)
    np.save("yq.npy", np.arange(Q))
    Path("names.txt").write_text("".join(f"{name}\n" for name in names))
    return tmp_path


def run(capsys, *argv):
    assert main(["evaluate", "--json", *argv]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *argv):
    """Run a command that must fail for its input, and return its one line."""
    assert main(["evaluate", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("manifold: error: ")
    assert err.count("\n") == 1
    return err


OWN = ("--protocol=revisited", "--truth=gnd.json", "--features=X.npy", "--queries=Q.npy")


def by_cosine(X, queries):
    X, queries = (part / np.linalg.norm(part.astype(np.float64), axis=1, keepdims=True) for part in (X, queries))
    return np.argsort(-(queries @ X.T), axis=1, kind="stable")


def test_figures_are_those_of_the_rankings(folder, capsys):
    facts = run(capsys, *OWN)
    truth = datasets.ground_truth("revisited", "gnd.json")
    X, queries = np.load("X.npy"), np.load("Q.npy")
    assert facts["figures"]["neighbours"] == metrics.evaluate(by_cosine(X, queries), truth)
    for column, preset in (("published", "paper"), ("default", "default")):
        ranking = ManifoldSearch(preset=preset, on_failure="ignore").fit(X).search(queries, k=N)
        for setting, figures in metrics.evaluate(ranking.ids, truth).items():
            assert facts["figures"][column][setting] == pytest.approx(figures, abs=1e-12)
    assert (facts["n_items"], facts["n_distractors"], facts["n_queries"]) == (N, 0, Q)
    assert facts["converged"]["default"] == 1
    assert facts["published"] == []
    assert facts["figures"]["neighbours"]["medium"]["mAP"] < 1  # something is left to be won


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_lengths_near_the_ends_of_float32_change_nothing(folder, capsys, scale):
    """Squares of these under- or overflow: a norm of 0 or infinity would leave no cosine to rank by."""
    expected = run(capsys, *OWN)["figures"]
    X = np.load("X.npy")
    X[::2] *= scale
    np.save("X.npy", X)
    found = run(capsys, *OWN)["figures"]
    for column in expected:
        for setting in expected[column]:
            assert found[column][setting] == pytest.approx(expected[column][setting], abs=1e-6)


def test_rows_in_any_order_by_their_names(folder, capsys):
    expected = run(capsys, *OWN)["figures"]
    order, asked = np.random.default_rng(5).permutation(N), np.random.default_rng(6).permutation(Q)
    columns = {f"f{i}": column for i, column in enumerate(np.load("X.npy")[order].T)}
    parquet.write_table(pa.table({"id": [f"im{i}" for i in order], **columns}), "X.parquet")
    np.save("Q2.npy", np.load("Q.npy")[asked])
    np.save("names.npy", np.array([f"q{i}" for i in asked]))
    argv = ("--protocol=revisited", "--truth=gnd.json", "--features=X.parquet", "--queries=Q2.npy")
    found = run(capsys, *argv, "--query-ids=names.npy")["figures"]
    for column in expected:
        for setting in expected[column]:
            assert found[column][setting] == pytest.approx(expected[column][setting], abs=1e-6)


def test_distractors_are_never_relevant(folder, capsys):
    facts = run(capsys, *OWN, "--distractors=D.npy", "--figures", "mAP", "recall@20")
    X = np.concatenate([np.load("X.npy"), np.load("D.npy")])
    truth = datasets.ground_truth("revisited", "gnd.json")
    expected = metrics.evaluate(by_cosine(X, np.load("Q.npy")), truth, figures=["mAP", "recall@20"])
    assert facts["figures"]["neighbours"] == expected
    assert facts["n_distractors"] == 50
    assert facts["figures"]["neighbours"]["hard"]["mAP"] < run(capsys, *OWN)["figures"]["neighbours"]["hard"]["mAP"]


def planted(name):
    """Features by the real ground truth of a benchmark."""
    path = datasets.data_folder() / "roxford_rparis" / f"gnd_{name}.json"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in {datasets.data_folder()}")
    truth = datasets.ground_truth(name)
    rng = np.random.default_rng(3)
    X, queries = (rng.standard_normal((n, D)).astype(np.float32) for n in (truth.n_items, 70))
    for q in range(70):
        X[truth.lists["easy"][q]] += 2 * queries[q]
        X[truth.lists["hard"][q]] += queries[q]
    np.save("X.npy", X)
    np.save("Q.npy", queries)
    return truth, (f"--protocol={name}", "--features=X.npy", "--queries=Q.npy")


def test_revisited_paris_as_json(folder, capsys):
    truth, argv = planted("rparis6k")
    facts = run(capsys, *argv)
    expected = metrics.evaluate(by_cosine(np.load("X.npy"), np.load("Q.npy")), truth)
    for setting, figures in facts["figures"]["neighbours"].items():
        assert figures == pytest.approx(expected[setting], abs=1e-4)  # rounding may swap two of 6,322 cosines
    reference = facts["published"][0]
    assert reference["figures"]["medium"] == {"mAP": 0.772, "mP@1": 1.0, "mP@5": 0.9886, "mP@10": 0.9814}
    assert reference["source"].startswith("Radenović et al., CVPR 2018")


def test_revisited_oxford_beside_published_figures(folder, capsys):
    _, argv = planted("roxford5k")
    assert "but roxford5k judges 4993 items: give one row" in refused(capsys, argv[0], "--features=Q.npy", argv[2])
    assert main(["evaluate", *argv, "--figures", "mAP"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "roxford5k  4,993 items, 70 queries"
    assert lines[1].split() == ["easy", "medium", "hard"]
    assert lines[2].split() == ["mAP", "mAP", "mAP"]
    labels = ["nearest neighbours", "diffusion, published settings", "diffusion, default settings"]
    for line, label in zip(lines[3:6], labels, strict=True):  # beside them item, topic, tuned and fused
        assert line.startswith(label)
        assert all(0.01 < float(value) <= 1 for value in line.split()[-3:])
    assert lines[10] == "published, without distractors, each with features of its own:"
    assert " ".join(lines[11].split()) == "[1] nearest neighbours, ResNet-101 GeM, 2048 0.8481 0.6467 0.3847"
    assert "[1] Radenović et al., CVPR 2018, reference output of the official code" in lines


@pytest.mark.parametrize(
    ("protocol", "distractors", "known"),
    [
        ("instre", False, {"global diffusion": 0.805, "regional diffusion": 0.896, "fast spectral ranking": 0.885}),
        ("oxford5k", False, {"average query expansion": 0.896, "global diffusion": 0.871, "R-match": 0.881}),
        ("oxford5k", True, {"nearest neighbours": 0.808, "regional diffusion": 0.942, "fast spectral ranking": 0.930}),
        ("paris6k", True, {"global diffusion": 0.954, "regional diffusion": 0.953, "fast spectral ranking": 0.952}),
    ],
)
def test_published_figures_of_residual_networks(protocol, distractors, known):
    """By name of the method, the last row of its kind for R-MAC features of ResNet."""
    rows = [row for row in datasets.published(protocol, distractors=distractors) if "R-MAC" in row.features]
    found = {row.method: row.figures["all"]["mAP"] for row in rows}
    assert {method: found[method] for method in known} == known
    assert all(row.source for row in rows)


def test_labels_leave_out_the_item_and_not_its_copies(folder, capsys):
    """Copies of an item rank first and are found by others; the item itself is dropped by id, wherever it stands."""
    X, y = np.load("X.npy"), np.load("y.npy")
    X[1], X[2], y[2] = X[0], X[0], 7
    np.save("X.npy", X)
    np.save("y.npy", y)
    facts = run(capsys, "--protocol=labels", "--truth=y.npy", "--features=X.npy", "--figures", "hit@1", "hit@2", "mAP")
    unit = X / np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
    similarities = unit @ unit.T
    np.fill_diagonal(similarities, -np.inf)
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :-1]
    hits = [(y[order[:, :k]] == y[:, None]).any(axis=1)[np.bincount(y)[y] > 1].mean() for k in (1, 2)]
    figures = facts["figures"]["neighbours"]["all"]
    assert [figures["hit@1"], figures["hit@2"]] == pytest.approx(hits, abs=1e-12)
    shallow = run(capsys, "--protocol=labels", "--truth=y.npy", "--features=X.npy", "--figures", "hit@1", "hit@2")
    for column, of in shallow["figures"].items():  # lists cut where the figures end, and whole ones
        assert of["all"] == pytest.approx({k: facts["figures"][column]["all"][k] for k in of["all"]}, abs=0.02)
    assert shallow["figures"]["neighbours"]["all"] == {k: figures[k] for k in ("hit@1", "hit@2")}


def test_a_run_by_labels_leaves_the_item_out_by_its_name(folder, capsys):
    search = ManifoldSearch(on_failure="ignore").fit(np.load("X.npy"))
    ranking = search.similar(np.arange(N), k=N - 1)
    own = np.arange(N)[:, None]
    ids, scores = np.hstack([own, ranking.ids]), np.hstack([ranking.scores[:, :1] + 1, ranking.scores])
    argv = ("--protocol=labels", "--truth=y.npy", "--run=a.run", "--figures", "hit@1", "mAP")
    datasets.write_run("a.run", ids, scores, queries=range(N))
    with_item = run(capsys, *argv)["figures"]
    datasets.write_run("a.run", ranking.ids, ranking.scores, queries=range(N))
    assert run(capsys, *argv)["figures"] == with_item
    expected = metrics.evaluate(
        ranking.ids, datasets.ground_truth("labels", np.load("y.npy")), figures=["hit@1", "mAP"]
    )
    assert with_item["run"] == expected


def test_labels_of_both_sides(folder, capsys):
    facts = run(capsys, "--protocol=labels", "--truth", "y.npy", "yq.npy", "--features=X.npy", "--queries=Q.npy")
    nearest = np.load("y.npy")[by_cosine(np.load("X.npy"), np.load("Q.npy"))[:, :1]]
    assert facts["figures"]["neighbours"]["all"]["hit@1"] == (nearest[:, 0] == np.arange(Q)).mean()
    assert list(facts["figures"]["default"]["all"]) == ["hit@1", "hit@2", "hit@4", "hit@8"]


def test_texts_by_qrels_end_to_end(folder, capsys):
    """Judgements in, search out as a run, the run judged here and by trec_eval, and against features directly."""
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="needs pytrec-eval-terrier")
    main(
        [
            "evaluate",
            "--protocol=labels",
            "--truth",
            "y.npy",
            "yq.npy",
            "--output=a.qrels",
            "--features=X.npy",
            "--queries=Q.npy",
        ]
    )
    main(["search", "--features=X.npy", "--queries=Q.npy", "--output=a.run", f"-k{N}"])
    capsys.readouterr()
    judged = run(capsys, "--protocol=trec", "--truth=a.qrels", "--run=a.run", "--figures", "mAP", "nDCG@10")
    with open("a.qrels") as qrels, open("a.run") as ranked:
        evaluator = pytrec_eval.RelevanceEvaluator(pytrec_eval.parse_qrel(qrels), {"map", "ndcg_cut.10"})
        official = evaluator.evaluate(pytrec_eval.parse_run(ranked))
    means = [np.mean([of[name] for of in official.values()]) for name in ("map", "ndcg_cut_10")]
    assert list(judged["figures"]["run"]["all"].values()) == pytest.approx(means, abs=1e-9)
    direct = run(
        capsys, "--protocol=trec", "--truth=a.qrels", "--features=X.npy", "--queries=Q.npy", "--figures", "mAP"
    )
    assert direct["figures"]["default"]["all"]["mAP"] == pytest.approx(means[0], abs=1e-9)
    assert (direct["n_items"], direct["n_queries"]) == (N, Q)


def test_names_of_documents_and_topics(folder, capsys):
    Path("topics.txt").write_text("".join(f"topic-{i}\n" for i in range(Q)))
    lines = [f"topic-{i} 0 im{j} {1 + j % 3}\n" for i in range(Q) for j in range(15 * i, 15 * i + 10)]
    Path("a.qrels").write_text("".join(lines))
    main(
        [
            "search",
            "--features=X.npy",
            "--queries=Q.npy",
            "--output=a.run",
            f"-k{N}",
            "--ids=names.txt",
            "--query-ids=topics.txt",
        ]
    )
    assert Path("a.run").read_text().split()[:2] == ["topic-0", "Q0"]
    capsys.readouterr()
    of_run = run(capsys, "--protocol=trec", "--truth=a.qrels", "--run=a.run")["figures"]["run"]
    names = ("--ids=names.txt", "--query-ids=topics.txt")
    direct = run(capsys, "--protocol=trec", "--truth=a.qrels", "--features=X.npy", "--queries=Q.npy", *names)
    assert direct["figures"]["default"]["all"] == pytest.approx(of_run["all"], abs=1e-9)
    Path("b.qrels").write_text("".join([*lines[10:], "topic-x 0 im1 1\n", "topic-2 0 elsewhere 1\n"]))
    assert main(["evaluate", "--protocol=trec", "--truth=b.qrels", "--features=X.npy", "--queries=Q.npy", *names]) == 0
    err = capsys.readouterr().err
    assert "1 of 72 items that b.qrels judges are not in the collection (first: 'elsewhere')" in err
    assert "1 of 8 queries are not judged by b.qrels" in err
    assert "1 of 8 queries that b.qrels judges were not asked" in err


def test_a_run_of_named_images_by_a_ground_truth_of_rows(folder, capsys):
    main(["search", "--features=X.npy", "--queries=Q.npy", "--output=a.run", f"-k{N}", "--ids=names.txt"])
    capsys.readouterr()
    lines = [f"q{line}" for line in Path("a.run").read_text().splitlines(keepends=True)]
    Path("a.run").write_text("".join(lines))
    found = run(capsys, "--protocol=revisited", "--truth=gnd.json", "--run=a.run")["figures"]["run"]
    assert found == run(capsys, *OWN)["figures"]["default"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--features=X.npy"], "--features needs --protocol NAME"),
        (["orl", "--protocol=labels"], "leave NAME and --all out"),
        (["--protocol=roxford"], "protocol 'roxford' is unknown: use one of roxford5k"),
        (["--protocol=revisited"], "has no ground truth of its own"),
        (["--protocol=revisited", "--truth=absent.pkl"], "absent.pkl is not a file"),
        (["--protocol=revisited", "--truth=X.npy"], "not judged by labels"),
        (["--protocol=revisited", "--truth", "gnd.json", "gnd.json"], "--truth gnd.json must end in .npy"),
        (["--protocol=labels", "--truth", "y.npy", "y.npy", "y.npy"], "--truth takes one file, or the labels of both"),
        (["--protocol=roxford5k", "--truth=gnd.json"], "has 120 images, but roxford5k has 4993"),
        (["--protocol=labels", "--truth=X.npy"], r"--truth X.npy: labels are float32 of shape (120, 16)"),
        (["--protocol=labels", "--truth=gnd.json"], "--truth gnd.json must end in .npy, .npz, .csv, .txt"),
        (["--protocol=labels", "--truth=y.parquet"], "labels are read from npy, npz or txt"),
        (["--protocol=labels"], "has no ground truth of its own"),
        (["--protocol=trec", "--truth=."], ". is not a file: its lines should be query iteration item gain"),
        (["--protocol=revisited", "--truth=deep.json"], "deep.json is not JSON"),
        (["--protocol=revisited", "--truth=both.json"], "both.json lists 0 of query 0 as easy and as junk: keep one"),
        ([*OWN, "--ids=coded.txt"], "--ids coded.txt is not a text in UTF-8"),
        ([*OWN, "--features=zlib.npz"], "--features zlib.npz cannot be read"),
        ([*OWN, "--output=x.qrels"], "--output x.qrels is a folder"),
        (["--protocol=trec", "--truth=gnd.json"], "fields, not 4"),
        (OWN[:2], "--protocol needs --features FILE, or --run FILE"),
        (OWN[:3], "revisited judges 8 queries: give their features, --queries FILE"),
        ([*OWN[:3], "--queries=X.npy"], "--queries X.npy has 120 rows, but revisited judges 8"),
        ([*OWN, "--figures", "mAP", "P@5"], "figures holds 'P@5', which is unknown: use mAP, mP@k"),
        ([*OWN, "--figures", "hit@0"], "below 1"),
        ([*OWN, "--features=D.npy"], "--features D.npy has 50 rows, but revisited judges 120 items"),
        ([*OWN, "--distractors=wide.npy"], "--distractors wide.npy has 17 features and --features 16"),
        ([*OWN, "--queries=wide.npy"], "--queries wide.npy has 17 features and --features 16"),
        ([*OWN, "--queries=cube.npy"], "--queries cube.npy must have the 16 features"),
        ([*OWN, "--features=cube.npy"], "--features cube.npy must have 2 dimensions"),
        ([*OWN, "--features=nan.npy"], "--features nan.npy holds NaN or infinity in 1 of 120 rows, first in row 7"),
        ([*OWN, "--queries=nanq.npy"], "--queries nanq.npy holds NaN or infinity in 1 of 8 rows, first in row 3"),
        ([*OWN, "--distractors=nan.npy"], "--distractors nan.npy holds NaN"),
        ([*OWN, "--features=words.npy"], "--features words.npy must hold real numbers"),
        ([*OWN, "--ids=yq.npy"], r"--ids yq.npy holds names of shape (8,) for 120 rows"),
        ([*OWN, "--ids=y.npy"], "--ids (y.npy): items holds 120 names of which 8 differ"),
        ([*OWN, "--ids=other.txt"], "none of the 120 items"),
        ([*OWN, "--ids=absent.txt"], "--ids absent.txt is not a file"),
        ([*OWN, "--query-ids=yq.npy"], "none of the 8 queries ('0', ...) is one of the 8 of revisited ('q0', ...)"),
        ([*OWN, "--output=a.json"], "--output a.json must end in .qrels"),
        ([*OWN, "--output=no/a.qrels"], "folder no does not exist"),
        ([*OWN, "--output=a.qrels"], "settings easy, medium, hard"),
        ([*OWN[:2], "--run=a.run", "--features=X.npy"], "leave --features out"),
        ([*OWN[:2], "--run=absent.run"], "absent.run"),
        (
            [*OWN[:2], "--run=other.run"],
            "--run other.run ranks none of the 120 items that revisited judges ('im0', ...)",
        ),
        (["--protocol=labels", "--truth=y.npy", "--features=X.npy", "--ids=names.txt"], "leave it out"),
        (["--protocol=labels", "--truth=y.npy", "--features=D.npy"], "has 50 rows, but labels judges 120 items"),
        (["--protocol=labels", "--truth=y.npy", "--features=X.npy", "--queries=Q.npy"], "takes their labels"),
        (["--protocol=labels", "--truth=y.npy", "--features=X.npy", "--distractors=D.npy"], "needs --queries FILE"),
        (["--protocol=labels", "--truth=y.npy", "--features=X.npy", "--query-ids=y.npy"], "needs --queries FILE"),
        (
            ["--protocol=trec", "--truth=a.qrels", "--features=X.npy", "--queries=Q.npy"],
            "--ids (numbers from 0): none of the 1 items",
        ),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(folder, capsys, argv, message):
    np.save("wide.npy", np.zeros((Q, D + 1)))
    np.save("cube.npy", np.zeros((Q, D, 2)))
    np.save("words.npy", np.full((N, D), "a"))
    for name, file, row in (("nan", "X", 7), ("nanq", "Q", 3)):
        rows = np.load(f"{file}.npy")
        rows[row, 2] = np.nan
        np.save(f"{name}.npy", rows)
    np.savez_compressed("zlib.npz", np.load("X.npy"))
    damaged = bytearray(Path("zlib.npz").read_bytes())
    damaged[120:122] = b"\xff\xff"
    Path("zlib.npz").write_bytes(damaged)
    Path("x.qrels").mkdir()
    Path("coded.txt").write_bytes(b"\xff\n" * N)
    Path("deep.json").write_text("[" * 100_000)
    root = json.loads(Path("gnd.json").read_text())
    root["gnd"][0]["junk"] = root["gnd"][0]["easy"]
    Path("both.json").write_text(json.dumps(root))
    Path("other.txt").write_text("".join(f"other{i}\n" for i in range(N)))
    Path("other.run").write_text("q0 Q0 other1 1 1 x\n")
    Path("a.qrels").write_text("0 0 doc 1\n")
    assert message in refused(capsys, *argv)
    assert not Path("no").exists()


def test_help_names_the_protocols(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    for name in ("roxford5k", "rparis6k", "oxford5k", "paris6k", "instre", "labels", "trec", "--truth", "--run"):
        assert name in out
