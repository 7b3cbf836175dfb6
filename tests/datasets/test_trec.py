"""TREC's files: what is written is read back in the same order, and judged as trec_eval judges it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold import datasets, metrics
from manifold.errors import DatasetNotFoundError, ManifoldWarning


def trec_eval(qrels_path, run_path):
    """Both files, read by pytrec_eval and judged by trec_eval."""
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="needs pytrec-eval-terrier")
    with open(qrels_path) as file:
        qrels = pytrec_eval.parse_qrel(file)
    with open(run_path) as file:
        run = pytrec_eval.parse_run(file)
    by_query = pytrec_eval.RelevanceEvaluator(qrels, {"map", "recip_rank", "ndcg_cut.10", "recall.100"}).evaluate(run)
    return {
        name: np.mean([of[name] for of in by_query.values()])
        for name in ("map", "recip_rank", "ndcg_cut_10", "recall_100")
    }


SCORES = st.lists(
    st.one_of(st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from([0.0, 1.0, 1e-45, -1e-40])),
    min_size=1,
    max_size=30,
)


@given(SCORES)
def test_a_run_keeps_its_order_whatever_the_scores(tmp_path_factory, scores):
    """Equal scores too, though every reader orders them by name: names here are drawn to be in the way."""
    scores = np.sort(np.array(scores, dtype=np.float32))[::-1]
    scores = np.minimum(scores, np.float32(3e38))
    names = np.random.default_rng(len(scores)).permutation([f"d{i}" for i in range(len(scores))])
    path = tmp_path_factory.getbasetemp() / "one.run"
    scores = np.maximum(scores, np.float32(-3e38))
    datasets.write_run(path, [names], [scores], queries=["q"])
    found = datasets.read_run(path)
    assert found.ids.tolist() == [names.tolist()]
    assert (np.diff(found.scores.astype(np.float32)) < 0).all()
    different = np.flatnonzero(np.diff(scores) == 0)
    if not different.size and (np.abs(scores[scores != 0]) > 2e-38).all():
        np.testing.assert_array_equal(found.scores[0].astype(np.float32), scores)  # written as they were


def text_collection(rng, n=80, q=9):
    docs, queries = [f"doc-{i:03d}" for i in rng.permutation(n)], [f"t{i}" for i in rng.permutation(q)]
    judged = [rng.choice(n, 12, replace=False) for _ in queries]
    gains = [{docs[i]: int(g) for i, g in zip(some, rng.integers(0, 4, 12), strict=True)} for some in judged]
    for some in gains:
        some[next(iter(some))] = 2  # trec_eval counts a query without relevant documents as 0, we leave it out
    return docs, queries, gains


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_round_trip_through_trec_files_agrees_with_trec_eval(tmp_path_factory, seed):
    rng, folder = np.random.default_rng(seed), tmp_path_factory.getbasetemp()
    docs, queries, gains = text_collection(rng)
    lines = [f"{query} 0 {doc} {gain}\n" for query, of in zip(queries, gains, strict=True) for doc, gain in of.items()]
    (folder / "a.qrels").write_text("".join(rng.permutation(lines)))
    ids = np.array([rng.permutation(docs)[:60] for _ in queries])
    ids[1, 40:] = ""
    scores = -np.sort(-rng.integers(0, 8, ids.shape).astype(np.float32), axis=1)  # full of ties, zeros at the end
    datasets.write_run(folder / "a.run", ids, scores, queries=queries)
    truth, run = datasets.read_qrels(folder / "a.qrels"), datasets.read_run(folder / "a.run")
    assert run.queries == tuple(queries)
    np.testing.assert_array_equal(run.ids, ids)
    asked, judged = truth.match(run.queries)
    assert asked.tolist() == list(range(len(queries)))
    found = metrics.evaluate(run.ids, judged)["all"]
    official = trec_eval(folder / "a.qrels", folder / "a.run")
    assert list(found.values()) == pytest.approx(list(official.values()), abs=1e-9)
    datasets.write_qrels(folder / "b.qrels", truth)
    again = datasets.read_qrels(folder / "b.qrels")
    assert dict(zip(again.queries, again.lists["relevant"], strict=True)) == dict(
        zip(truth.queries, truth.lists["relevant"], strict=True)
    )


def test_cranfield_through_trec_files(tmp_path):
    """The figures known for cosine neighbours of these abstracts, by way of both files, here and by trec_eval."""
    try:
        data = datasets.load("cranfield")
    except DatasetNotFoundError as error:
        pytest.skip(str(error))
    with np.errstate(under="ignore"):
        X, asked = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (data.features, data.queries))
    similarities = asked.astype(np.float64) @ X.T
    order = np.argsort(-similarities, axis=1, kind="stable")
    scores = np.take_along_axis(similarities, order, axis=1)
    datasets.write_run(tmp_path / "a.run", order, scores, queries=range(len(order)))
    datasets.write_qrels(tmp_path / "a.qrels", data.truth)
    run = datasets.read_run(tmp_path / "a.run")
    _, truth = datasets.read_qrels(tmp_path / "a.qrels").match(run.queries)
    found = metrics.evaluate(run.ids, truth)["all"]
    assert {name: round(value, 3) for name, value in found.items()} == {
        "mAP": 0.422,
        "nDCG@10": 0.427,
        "MRR": 0.773,
        "recall@100": 0.791,
    }
    official = trec_eval(tmp_path / "a.qrels", tmp_path / "a.run")
    assert list(found.values()) == pytest.approx(list(official.values()), abs=1e-9)


def test_a_run_of_others_is_read_as_trec_eval_reads_it(tmp_path):
    """By score, not by rank or line; equal scores, in single precision, by descending name."""
    (tmp_path / "a.run").write_text(
        "t2 Q0 d1 1 0.5 x\nt1 Q0 a 1 1.0 x\nt1 Q0 c 9 1.00000000001 x\nt1 Q0 b 2 1e0 x\nt1 Q0 z 3 -2 x\nt1 Q0 y 4 7 x\n"
    )
    (tmp_path / "a.qrels").write_text("t1 0 b 1\nt1 0 z 3\nt1 0 q -1\nt2 0 d2 1\n")
    run = datasets.read_run(tmp_path / "a.run")
    assert run.queries == ("t2", "t1")
    assert run.ids.tolist() == [["d1", "", "", "", ""], ["y", "c", "b", "a", "z"]]
    _, truth = datasets.read_qrels(tmp_path / "a.qrels").match(run.queries)
    found = metrics.evaluate(run.ids, truth)["all"]
    official = trec_eval(tmp_path / "a.qrels", tmp_path / "a.run")
    assert list(found.values()) == pytest.approx(list(official.values()), abs=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t1 Q0 a 1 0.5\n", r"line 1 has 5 fields, not 6: query Q0 item rank score tag"),
        ("t1 Q0 a 1 0.5 x\nt1 Q0 a 2 0.4 x\n", r"line 2 ranks 'a' of query 't1' a second time"),
        ("t1 Q0 a 1 nan x\n", r"line 1 holds 'nan' where a finite number"),
        ("t1 Q0 a 1 high x\n", r"line 1 holds 'high'"),
        ("t1 Q0 a 1 1_0 x\n", r"line 1 holds '1_0'"),
        ("t1 Q0 a 1 1e999 x\n", r"line 1 holds '1e999'"),
        ("\n", "holds no ranking"),
    ],
)
def test_a_run_that_is_damaged(tmp_path, text, message):
    (tmp_path / "a.run").write_text(text)
    with pytest.raises(ValueError, match=message):
        datasets.read_run(tmp_path / "a.run")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t1 a 1\n", r"line 1 has 3 fields, not 4: query iteration item gain"),
        ("t1 0 a 1\nt1 0 a 0\n", r"line 2 judges 'a' of query 't1' a second time"),
        ("t1 0 a 1.5\n", r"holds '1.5' where an integer gain"),
        ("t1 0 a 1_0\n", r"holds '1_0' where an integer gain"),
        ("t1 0 a ١\n", r"where an integer gain"),
        ("t1 0 a 0\n", "judges no item relevant"),
        ("", "judges no item relevant"),
    ],
)
def test_qrels_that_are_damaged(tmp_path, text, message):
    (tmp_path / "a.qrels").write_text(text)
    with pytest.raises(ValueError, match=message):
        datasets.read_qrels(tmp_path / "a.qrels")


def test_names_in_another_coding_survive(tmp_path):
    line = "t1 0 Büro 1\n".encode("latin-1")
    (tmp_path / "a.qrels").write_bytes(line)
    datasets.write_qrels(tmp_path / "b.qrels", datasets.read_qrels(tmp_path / "a.qrels"))
    assert (tmp_path / "b.qrels").read_bytes() == line


def test_what_trec_files_cannot_say_is_refused(tmp_path):
    path = tmp_path / "a.run"
    for ids, scores, queries, message in (
        ([["a b"]], [[1]], ["q"], "'a b' is empty or has blanks"),
        ([["a"]], [[1]], ["q 1"], "'q 1' is empty"),
        ([["a", "b"]], [[1, 2]], ["q"], "a row that ascends"),
        ([["a"]], [[np.nan]], ["q"], "NaN"),
        ([["a"]], [[1, 0]], ["q"], r"ids \(1, 1\), scores \(1, 2\) and 1 queries"),
        ([["a"]], [[1]], [], "0 queries"),
    ):
        with pytest.raises(ValueError, match=message):
            datasets.write_run(path, ids, scores, queries=queries)
    assert not path.exists()
    junk = datasets.GroundTruth("junk", {"relevant": [[1]], "junk": [[2]]})
    with pytest.raises(ValueError, match="which qrels cannot say"):
        datasets.write_qrels(tmp_path / "a.qrels", junk)
    for relevant, queries, message in (
        ([{"a": 1.5}], ["q"], r"gain 1.5 of query 'q' is no whole number"),
        ([{"a": np.nan}], ["q"], "gain nan"),
        ([["a"], ["b"]], ["q", "q"], "queries hold 'q' twice"),
        ([["a", "a"]], ["q"], "judgements of query 'q' hold 'a' twice"),
        ([[], []], ["p", "q"], "no query has a judged item"),
    ):
        with pytest.raises(ValueError, match=message):
            datasets.write_qrels(
                tmp_path / "a.qrels", datasets.GroundTruth("one", {"relevant": relevant}, queries=tuple(queries))
            )
    for ids, queries, message in (
        ([["a", "a"]], ["q"], "ids of query 'q' hold 'a' twice"),
        ([["a"], ["b"]], ["q", "q"], "queries hold 'q' twice"),
        ([["a"]], ["\ufeffq"], "byte-order mark"),
        ([["\ud800"]], ["q"], "half a character"),
        ([["\udcc3\udca9"]], ["q"], "half a character"),  # the bytes of another name
        ([["", ""]], ["q"], "no query has a item"),
    ):
        with pytest.raises(ValueError, match=message):
            datasets.write_run(path, ids, np.linspace(1, 0, np.size(ids)).reshape(np.shape(ids)), queries=queries)
    assert not path.exists()
    assert not (tmp_path / "a.qrels").exists()


def test_a_ragged_run_is_read_and_written_and_read(tmp_path):
    (tmp_path / "a.run").write_text("q1 Q0 a 1 2 x\nq1 Q0 b 2 1 x\nq2 Q0 c 1 1 x\n")
    run = datasets.read_run(tmp_path / "a.run")
    assert np.isnan(run.scores[1, 1])
    datasets.write_run(tmp_path / "b.run", run.ids, run.scores, queries=run.queries)
    assert same_run(datasets.read_run(tmp_path / "b.run"), run)
    datasets.write_run(
        tmp_path / "c.run", [[7, -1, 8], [-1, -5, -1]], [[3, np.nan, 1], [np.nan, 2, np.inf]], queries=run.queries
    )
    assert datasets.read_run(tmp_path / "c.run").ids.tolist() == [["7", "8"], ["-5", ""]]


def same_run(one, other):
    return (
        one.queries == other.queries
        and one.ids.tolist() == other.ids.tolist()
        and np.array_equal(one.scores, other.scores, equal_nan=True)
    )


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    (tmp_path / "a.qrels").write_text("q1 0 a 1\n", encoding="utf-8-sig")
    (tmp_path / "a.run").write_text("q1 Q0 a 1 2 x\n", encoding="utf-8-sig")
    assert datasets.read_qrels(tmp_path / "a.qrels").queries == ("q1",)
    assert datasets.read_run(tmp_path / "a.run").queries == ("q1",)


def test_queries_that_a_file_cannot_name_are_said(tmp_path):
    with pytest.warns(ManifoldWarning, match="1 of 2 queries have no item: a run file"):
        datasets.write_run(tmp_path / "a.run", [["a"], [""]], [[1], [0]], queries=["p", "q"])
    assert datasets.read_run(tmp_path / "a.run").queries == ("p",)
    truth = datasets.GroundTruth("two", {"relevant": [["a"], []]}, queries=("p", "q"))
    with pytest.warns(ManifoldWarning, match="1 of 2 queries have no judged item: a qrels file"):
        datasets.write_qrels(tmp_path / "a.qrels", truth)
    assert datasets.read_qrels(tmp_path / "a.qrels").queries == ("p",)


NAME = st.text(st.characters(exclude_categories=["Cs", "Z", "Cc"]), min_size=1, max_size=6).filter(
    lambda name: name.split() == [name] and not name.startswith("\ufeff")
)
RUN = st.dictionaries(NAME, st.lists(NAME, min_size=1, max_size=5, unique=True), min_size=1, max_size=4)
QRELS = st.dictionaries(NAME, st.dictionaries(NAME, st.integers(1, 9), min_size=1, max_size=5), min_size=1, max_size=4)


@given(RUN, st.data())
def test_a_run_is_read_as_it_was_written(tmp_path_factory, lists, data):
    m = max(map(len, lists.values()))
    ids = [row + [""] * (m - len(row)) for row in lists.values()]
    scores = [
        sorted(data.draw(st.lists(st.floats(-1e6, 1e6, width=32), min_size=m, max_size=m)), reverse=True) for _ in lists
    ]
    scores = np.where(np.array(ids) == "", np.nan, scores)
    path = tmp_path_factory.getbasetemp() / "inverse.run"
    datasets.write_run(path, ids, scores, queries=list(lists))
    found = datasets.read_run(path)
    assert (list(found.queries), found.ids.tolist()) == (list(lists), ids)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5, atol=1e-30)
    datasets.write_run(path, found.ids, found.scores, queries=found.queries)
    assert same_run(datasets.read_run(path), found)


@given(QRELS)
def test_qrels_are_read_as_they_were_written(tmp_path_factory, judged):
    path = tmp_path_factory.getbasetemp() / "inverse.qrels"
    datasets.write_qrels(path, datasets.GroundTruth("some", {"relevant": list(judged.values())}, queries=tuple(judged)))
    found = datasets.read_qrels(path)
    assert dict(zip(found.queries, found.lists["relevant"], strict=True)) == judged


@pytest.mark.parametrize("seed", range(20))
def test_a_thousand_random_runs_agree_with_trec_eval(tmp_path, seed):
    """Graded, zero and negative gains, ties, rows of every length, queries that only one side has; by way of files."""
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="needs pytrec-eval-terrier")
    rng = np.random.default_rng(seed)
    measures = {"map": "mAP", "recip_rank": "MRR", "ndcg_cut_10": "nDCG@10", "recall_100": "recall@100"}
    for _ in range(50):
        docs = [f"d{i}" for i in rng.permutation(40)]
        qrels = {
            f"q{q}": {d: int(g) for d, g in zip(rng.permutation(docs)[:12], rng.integers(-2, 4, 12), strict=True)}
            for q in rng.choice(8, 6, replace=False)
        }
        run = {
            f"q{q}": {str(d): float(rng.integers(0, 5)) for d in rng.permutation(docs)[: rng.integers(1, 40)]}
            for q in rng.choice(8, 6, replace=False)
        }
        asked = [q for q in run if q in qrels and max(qrels[q].values()) > 0]
        rows = [sorted(run[q], key=lambda d, q=q: (run[q][d], d), reverse=True) for q in asked]
        m = max(map(len, rows))
        ranking = np.array([row + [""] * (m - len(row)) for row in rows])
        truth = datasets.GroundTruth("random", {"relevant": [qrels[q] for q in asked]})
        found = metrics.evaluate_queries(ranking, truth, figures=list(measures.values()))["all"]
        judged = datasets.GroundTruth("random", {"relevant": list(qrels.values())}, queries=tuple(qrels))
        datasets.write_qrels(tmp_path / "a.qrels", judged)
        scores = np.array([[run[q].get(d, 0.0) for d in row] for q, row in zip(asked, ranking, strict=True)])
        datasets.write_run(tmp_path / "a.run", ranking, scores, queries=asked)
        with open(tmp_path / "a.qrels") as file:
            assert pytrec_eval.parse_qrel(file) == qrels
        with open(tmp_path / "a.run") as file:
            written = pytrec_eval.parse_run(file)
        assert {q: set(of) for q, of in written.items()} == {q: set(run[q]) for q in asked}
        official = pytrec_eval.RelevanceEvaluator(qrels, {"map", "recip_rank", "ndcg_cut.10", "recall.100"}).evaluate(
            run
        )
        again = pytrec_eval.RelevanceEvaluator(qrels, {"map", "recip_rank", "ndcg_cut.10", "recall.100"}).evaluate(
            written
        )
        for name, figure in measures.items():
            assert found[figure].tolist() == pytest.approx([official[q][name] for q in asked], abs=1e-9), name
            assert found[figure].tolist() == pytest.approx([again[q][name] for q in asked], abs=1e-9), name
