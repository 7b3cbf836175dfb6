"""Pictures of results: drawn without global state, right and wrong told apart by more than colour."""

import json
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from cases import dense_scores, make_graph
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.patches import Rectangle
from sklearn.metrics import confusion_matrix

import manifold as mf
from manifold import datasets
from manifold.plotting import (
    certified_intervals,
    confusion,
    confusion_counts,
    explanation,
    label_certainty,
    ranking_comparison,
    regional_matches,
    score_intervals,
    stored_intervals,
    time_accuracy,
)
from manifold.plotting._canvas import INK, RIGHT, WRONG
from manifold.plotting._explanation import walk_tree
from manifold.ranking import Explanation, explain
from manifold.ranking import Path as Walk

PIXELS = [np.full((8, 6), float(i)) for i in range(12)]
BEFORE = (np.arange(12), np.linspace(1, 0.1, 12))
AFTER = (np.arange(12)[::-1], np.linspace(1, 0.1, 12))


def draw(**more):
    given = {"query": PIXELS[0], "items": PIXELS, "relevant": {0, 1, 11}, **more}
    return ranking_comparison(BEFORE, AFTER, **given)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_rows_say_rank_score_and_how_many_are_right():
    ax = draw(title="a title")
    written = texts(ax)
    assert len(ax.images) == 21  # the query and twice ten
    assert "  2 of 10 right" in written
    assert "  1 of 10 right" in written
    assert [str(rank) for rank in range(1, 11)] == [t for t in written if t.isdigit()][:10]
    assert "1.00" in written
    assert "a title" in written


def test_wrong_frames_differ_in_style_and_mark_not_only_in_colour():
    frames = draw().patches[1:]  # the first is that of the query
    styles = {(to_hex(f.get_edgecolor()).upper(), str(f.get_linestyle())) for f in frames}
    assert {colour for colour, _ in styles} == {RIGHT, WRONG}
    assert len({style for _, style in styles}) == 2


def test_draws_into_the_axes_given_and_returns_them():
    ax = Figure().add_subplot()
    assert draw(ax=ax) is ax


def test_texts_encoded_images_and_colour_are_items_too():
    encoded = BytesIO()
    imsave(encoded, np.random.default_rng(7).random((5, 9, 3)), format="png")
    items = {"a": "a text of several words " * 20, "b": encoded.getvalue(), "c": np.zeros((4, 4, 3))}
    pair = (np.array(["a", "b", "c", ""]), np.array([3.0, 2.0, 1.0, 0.0]))  # "" pads
    ax = ranking_comparison(pair, pair, query="what?", items=items, relevant=["b"])
    assert len(ax.images) == 4
    assert "  1 of 3 right" in texts(ax)
    ax.figure.savefig(BytesIO(), format="png")


def test_png_is_no_blank_and_settings_stay_as_they_were():
    settings = dict(mpl.rcParams)
    file = BytesIO()
    draw().figure.savefig(file, format="png")
    assert len(file.getvalue()) > 10_000
    assert dict(mpl.rcParams) == settings


@pytest.mark.parametrize(
    ("change", "message"),
    [({"k": 0}, "k must be at least 1, got 0"), ({"query": np.zeros(3)}, r"an item must be .* shape \(3,\)")],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        draw(**change)


def test_a_ranking_of_several_queries_is_refused():
    with pytest.raises(ValueError, match=r"after must hold .*ranking.ids\[i\]"):
        ranking_comparison(BEFORE, (np.zeros((2, 3)), np.zeros((2, 3))), query="", items=PIXELS, relevant=())


def test_pyplot_is_never_imported():
    code = "import sys, manifold.plotting; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


QUARTERS = np.array([[0, 0, 0.5, 0.5], [0, 0.5, 0.5, 1], [0.5, 0, 1, 0.5], [0.5, 0.5, 1, 1]])
MATCHES = {i: (QUARTERS, np.array([2.0, 5.0, -1.0, 3.0]) / (i + 1)) for i in range(12)}


class TestRegionalMatches:
    def draw(self, **more):
        given = {"query": PIXELS[0], "items": PIXELS, "relevant": {0, 2}, "k": 3, "n_regions": 2, **more}
        return regional_matches(BEFORE, MATCHES, **given)

    def test_boxes_of_the_largest_contributions_stand_where_they_are(self):
        ax = self.draw()
        boxes = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
        assert len(boxes) == 6  # two on each of three
        assert [t for t in texts(ax) if "%" in t] == ["30 %", "50 %"] * 3  # shares of 2 + 5 + 3; less than 0 is nothing
        left, right, low, high = ax.images[1].get_extent()  # image 0 is the query; 8 x 6 pixels, upright
        assert right - left == pytest.approx(6 / 8)
        second, first = boxes[:2]  # the largest on top
        assert first.get_xy() == pytest.approx(((left + right) / 2, (low + high) / 2))
        assert second.get_xy() == pytest.approx(((left + right) / 2, low))
        assert first.get_width() == pytest.approx((right - left) / 2)
        assert first.get_linewidth() > second.get_linewidth()

    def test_what_adds_nothing_is_no_match(self):
        ax = regional_matches(([0], [0.0]), {0: (QUARTERS, np.zeros(4))}, query="a jar", items=PIXELS)
        assert not [patch for patch in ax.patches if isinstance(patch, Rectangle)]

    def test_without_photos_boxes_stand_in_empty_frames(self):
        ax = self.draw(items=None, relevant=None, title="a title")
        assert len(ax.images) == 1
        assert {to_hex(p.get_edgecolor()).upper() for p in ax.patches if not isinstance(p, Rectangle)} == {INK}
        assert "a title" in texts(ax)
        file = BytesIO()
        ax.figure.savefig(file, format="png")
        assert len(file.getvalue()) > 10_000

    def test_draws_into_the_axes_given(self):
        ax = Figure().add_subplot()
        assert self.draw(ax=ax) is ax

    @pytest.mark.parametrize(
        ("change", "message"),
        [({"k": 0}, "k must be at least 1"), ({"n_regions": 0}, "n_regions must be at least 1, got 0")],
    )
    def test_bad_arguments_are_named(self, change, message):
        with pytest.raises(ValueError, match=message):
            self.draw(**change)

    def test_boxes_and_contributions_must_agree(self):
        with pytest.raises(ValueError, match=r"what each adds \(r,\), got \(4, 4\) \(3,\)"):
            regional_matches(([0], [1.0]), {0: (QUARTERS, np.ones(3))}, query="a jar")


class TestTexts:
    ITEMS = tuple(f"item {i}: " + "several words " * 20 for i in range(12))

    def draw(self, **more):
        given = {"query": "what?", "items": self.ITEMS, "relevant": {0, 1, 11}, "k": 4, **more}
        return ranking_comparison(BEFORE, AFTER, **given)

    def test_two_columns_hold_the_beginnings_of_the_texts(self):
        ax = self.draw(title="a title")
        written = texts(ax)
        assert written[:2] == ["a title", "query: what?"]
        begun = [text.split(":")[0] for text in written if text.startswith("item")]
        assert begun == [f"item {i}" for i in (0, 1, 2, 3, 11, 10, 9, 8)]
        assert all(len(line) <= 58 for text in written for line in text.splitlines())
        assert {"  2 of 4 right", "  1 of 4 right"} <= set(written)
        places = [text.get_position()[0] for text in ax.texts if text.get_text().startswith("item")]
        assert len(set(places)) == 2
        assert places == sorted(places)
        marks = [line.get_color() for line in ax.lines if line.get_marker() == "o"]
        assert marks == [RIGHT, RIGHT, WRONG, WRONG, RIGHT, WRONG, WRONG, WRONG]
        assert not ax.images

    def test_one_picture_among_them_makes_thumbnails(self):
        assert len(self.draw(query=PIXELS[0]).images) == 1


class TestIntervals:
    LOW, HIGH = np.array([0.1, 0.5, 0.30, 0.05]), np.array([0.2, 0.6, 0.34, 0.32])

    def test_a_cut_that_no_interval_reaches_across_is_certified(self):
        ax = certified_intervals(self.LOW, self.HIGH, k=1)
        assert ax.get_title(loc="right") == "certified"
        least, outside = (line.get_ydata()[0] for line in ax.lines[-2:])
        assert (least, outside) == (0.5, 0.34)
        assert "undecided" not in [text.get_text() for text in ax.get_legend().get_texts()]

    def test_what_reaches_across_is_undecided_on_both_sides(self):
        ax = certified_intervals(self.LOW, self.HIGH, k=2, ids=["a", "b", "c", "d"])
        assert ax.get_title(loc="right") == "2 undecided"
        drawn = {box.get_label(): box for box in ax.containers}
        points, _, (bars,) = drawn["undecided"]
        assert points.get_xdata().tolist() == [2, 3]  # c is listed, d might have to be
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        np.testing.assert_allclose(ends, [[0.30, 0.34], [0.05, 0.32]])
        assert drawn["certainly among the best 2"][0].get_xdata().tolist() == [1]
        assert drawn["certainly not"][0].get_xdata().tolist() == [4]
        assert [label.get_text() for label in ax.get_xticklabels()] == ["b", "c", "d", "a"]

    def test_only_the_items_around_the_cut_are_drawn(self):
        values = np.linspace(1, 0.1, 1000)
        ax = certified_intervals(values, values, k=500, n_shown=20)
        ranks = np.concatenate([box[0].get_xdata() for box in ax.containers])
        assert sorted(ranks) == list(range(491, 511))

    @pytest.mark.parametrize("k", [3, 10, 40])
    def test_the_verdict_is_that_of_the_search(self, k):
        X, _ = datasets.digits()
        search = mf.ManifoldSearch(preset="plain-diffusion", solver=mf.solvers.ConjugateGradient(1e-4)).fit(X[:500])
        entered = explain(search, X[500], 0)
        seeds = np.zeros(500)
        seeds[entered.seeds] = entered.weights
        solution = mf.diffuse(search.graph_, seeds, filter=search.filter, solver=search.solver)
        ax = certified_intervals(*score_intervals(solution), k=k)
        assert (ax.get_title(loc="right") == "certified") == bool(search.search(X[500], k=k).certified)

    @pytest.mark.parametrize("n_entries", [3, 200])
    def test_stored_columns_hold_the_exact_scores(self, n_entries):
        graph = make_graph("clusters")
        y = np.zeros(graph.n_nodes)
        y[[3, 8, 90]] = [1.0, 0.2, 0.5]
        low, high = stored_intervals(mf.DiffusionIndex(n_entries=n_entries).build(graph), y)
        exact = dense_scores(graph, y, mf.Diffusion())
        assert (low <= exact * (1 + 1e-6) + 1e-12).all()
        assert (exact <= high * (1 + 1e-6) + 1e-12).all()
        widest = (high - low).max()
        assert widest < 1e-3 if n_entries == 200 else widest > 1e-3  # what is not stored is only bounded
        with pytest.raises(ValueError, match="seeds must be 150 numbers >= 0"):
            stored_intervals(mf.DiffusionIndex(n_entries=3).build(graph), -y)

    def test_intervals_hold_the_exact_scores(self):
        graph = make_graph("clusters")
        Y = np.eye(graph.n_nodes)[:, [3, 8]]
        solution = mf.diffuse(graph, Y, solver=mf.solvers.ConjugateGradient(1e-2))
        for column in (0, 1):
            low, high = score_intervals(solution, column)
            exact = dense_scores(graph, Y[:, column], mf.Diffusion())
            assert (low <= exact + 1e-15).all()
            assert (exact <= high + 1e-15).all()
            assert (low >= 0).all()

    @pytest.mark.parametrize(
        ("low", "high", "k", "message"),
        [
            ([1.0], [0.0], 1, "lower <= upper"),
            ([[1.0]], [[1.0]], 1, "one number an item"),
            ([1.0], [1.0], 2, "k=2 but there are 1 items"),
            ([1.0], [1.0], 0, "k must be at least 1"),
        ],
    )
    def test_bad_arguments_are_named(self, low, high, k, message):
        with pytest.raises(ValueError, match=message):
            certified_intervals(low, high, k=k)


class TestLabels:
    def test_bars_count_right_and_wrong_and_points_are_shares(self, rng):
        certainty = np.append(rng.random(400), [0.0, 1.0])
        correct = rng.random(402) < 0.2 + 0.8 * certainty
        bars, shares = label_certainty(certainty, correct, n_bins=5).axes
        right, wrong = bars.containers
        for j in range(5):
            here = (certainty >= j / 5) & ((certainty < (j + 1) / 5) | (j == 4))
            assert right[j].get_height() == (here & correct).sum()
            assert wrong[j].get_height() == (here & ~correct).sum()
            assert wrong[j].get_y() == right[j].get_height()
            assert shares.lines[0].get_ydata()[j] == pytest.approx(correct[here].mean())
        assert to_hex(right[0].get_facecolor()).upper() == RIGHT
        assert wrong[0].get_hatch()
        assert not right[0].get_hatch()
        assert shares.get_legend().get_texts()[0].get_text() == f"all points, {correct.mean():.3f}"

    def test_without_truth_there_is_one_panel(self, rng):
        (ax,) = label_certainty(rng.random(50), n_bins=4).axes
        assert sum(bar.get_height() for bar in ax.patches) == 50
        assert ax.get_legend() is None

    def test_confusion_is_that_of_scikit_learn(self, rng):
        truth, made = rng.integers(0, 4, 200), rng.integers(-1, 4, 200)
        classes, counts = confusion_counts(truth, made)
        np.testing.assert_array_equal(counts, confusion_matrix(truth, made, labels=classes))
        ax = confusion(truth, made, classes=["none", "a", "b", "c", "d"])
        np.testing.assert_allclose(ax.images[0].get_array()[1:], confusion_matrix(truth, made, normalize="true")[1:])
        assert not ax.images[0].get_array()[0].any()  # nothing truly has no class
        assert [label.get_text() for label in ax.get_xticklabels()] == ["none", "a", "b", "c", "d"]
        assert {text.get_text() for text in ax.texts} == {str(count) for count in counts.ravel() if count}
        assert ax.get_title() == f"{100 * (truth == made).mean():.1f} % right"

    def test_many_classes_are_shades_alone(self):
        assert not confusion(np.arange(40), np.arange(40)).texts

    @pytest.mark.parametrize(
        ("work", "message"),
        [
            (lambda: label_certainty([0.5], [1.0]), "correct must hold booleans, got dtype float64"),
            (lambda: label_certainty([0.5], [True, False]), r"both be \(n,\), got \(1,\) and \(2,\)"),
            (lambda: label_certainty([1.5]), r"certainty must lie in \[0, 1\]"),
            (lambda: confusion([1], [1, 2]), "labels of the same points"),
            (lambda: confusion([1], [2], classes=["a"]), "classes must name the 2 classes"),
        ],
    )
    def test_bad_arguments_are_named(self, work, message):
        with pytest.raises(ValueError, match=message):
            work()


class TestTimeAndAccuracy:
    ROWS = (
        {"solver": "cg 1e-3", "ms_p50": 5.0, "overlap": 1.0},
        {"solver": "cg 1e-2", "ms_p50": 3.0, "overlap": 0.95},
        {"solver": "power 1e-2", "ms_p50": 9.0, "overlap": 0.9},
        {"solver": "fsr", "ms_p50": 1.0, "overlap": 0.5},
        {"solver": "left out", "ms_p50": None, "overlap": 1.0},
    )

    def test_a_line_a_method_by_time_and_rings_around_what_nothing_beats(self):
        ax = time_accuracy(self.ROWS)
        lines = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
        assert lines == {
            "fsr": [[1.0, 0.5]],
            "cg: 1e-2, 1e-3": [[3.0, 0.95], [5.0, 1.0]],
            "power: 1e-2": [[9.0, 0.9]],
            "not beaten in both": [[1.0, 0.5], [3.0, 0.95], [5.0, 1.0]],
        }
        assert ax.get_xlabel() == "median time of a query (ms)"
        assert ax.get_xscale() == "log"

    def test_near_one_each_nine_has_the_same_room(self):
        height = time_accuracy(self.ROWS).transData.transform
        nine = [height((1.0, share))[1] for share in (0.9, 0.99, 0.999)]
        assert nine[1] - nine[0] == pytest.approx(nine[2] - nine[1], rel=0.15)
        worse = [row | {"overlap": 0.5} for row in self.ROWS]
        assert time_accuracy(worse).get_yscale() == "linear"

    @pytest.mark.parametrize("name", ["solvers", "labels"])
    def test_rows_are_those_of_the_records(self, name):
        records = sorted((Path(__file__).parents[2] / "bench" / "results").glob(f"*-{name}.json"))
        rows = json.loads(records[-1].read_text())["rows"]
        columns = {"solvers": {}, "labels": {"time": "s", "accuracy": "mean", "name": "method"}}[name]
        ax = time_accuracy(rows, **columns)
        drawn = [line for line in ax.lines if line.get_label() != "not beaten in both"]
        wanted = [columns.get("time", "ms_p50"), columns.get("accuracy", "overlap"), columns.get("name", "solver")]
        whole = [row for row in rows if all(row.get(key) is not None for key in wanted)]
        assert sum(len(line.get_xdata()) for line in drawn) == len(whole) > 5

    def test_unknown_columns_are_named(self):
        with pytest.raises(ValueError, match="no row has all of 'hours', 'overlap' and 'solver'"):
            time_accuracy(self.ROWS, time="hours")


class TestExplanation:
    MADE = Explanation(
        item=9, score=0.5, seeds=np.array([4, 2]), weights=np.array([1.0, 0.5]), contributions=np.array([0.4, 0.1]),
        stored=np.array([[0.39, 0.41], [0.0, 0.2]]), neighbors=np.array([7, 6]), flows=np.array([0.3, 0.15]), own=0.05,
        paths=(Walk((4, 7, 9), 0.1, 0.2), Walk((2, 8, 7, 9), 0.05, 0.1)),
    )  # fmt: skip

    def test_bars_are_shares_with_the_proved_intervals(self):
        seeds, _, last = explanation(self.MADE).axes
        assert [bar.get_width() for bar in seeds.patches] == pytest.approx([80, 20])
        assert [label.get_text() for label in seeds.get_yticklabels()] == ["4", "2"]
        assert [bar.get_width() for bar in last.patches] == pytest.approx([60, 30, 10])
        assert [label.get_text() for label in last.get_yticklabels()] == ["7", "6", "itself, a seed"]
        segments = next(c for c in seeds.collections).get_segments()
        np.testing.assert_allclose([segment[:, 0] for segment in segments], [[78, 82], [0, 40]])

    def test_the_tree_ends_at_the_item_and_says_the_share_of_each_walk(self):
        ax = explanation(self.MADE, title="why").axes[1]
        boxes = {text.get_text(): text.get_position() for text in ax.texts}
        assert set(boxes) == {"9", "7", "8", "4", "2", "20 %", "10 %"}
        assert boxes["9"][0] > boxes["7"][0] > boxes["8"][0] == pytest.approx(boxes["4"][0])
        assert boxes["2"][0] < boxes["8"][0]
        edges = [line for line in ax.lines if len(line.get_xdata()) == 2]
        assert len(edges) == 4  # the step from 7 to 9 is one, though both walks take it
        joined = {tuple(np.round(line.get_xdata(), 6)) for line in edges}
        assert (round(boxes["7"][0], 6), round(boxes["9"][0], 6)) in joined
        assert ax.get_figure().get_suptitle() == "why"

    def test_many_parts_are_summed_and_items_are_thumbnails(self):
        ten = np.arange(10)
        made = replace(self.MADE, neighbors=ten, flows=np.full(10, 0.045), stored=None)
        figure = explanation(made, items=PIXELS)
        assert figure.axes[2].get_yticklabels()[6].get_text() == "4 more"
        assert figure.axes[2].patches[6].get_width() == pytest.approx(36)
        assert len(figure.axes[1].images) == 5
        named = explanation(made, items=[f"a text of number {i}" for i in range(12)])
        assert named.axes[0].get_yticklabels()[0].get_text() == "a text of number 4"

    def test_walks_that_part_have_rows_of_their_own(self):
        places, shares = walk_tree(self.MADE.paths)
        assert shares == {(9, 7, 4): 0.2, (9, 7): 0.2, (9,): 0.2, (9, 7, 8, 2): 0.1, (9, 7, 8): 0.1}
        assert places[(9,)] == (0.0, -0.5)
        assert places[(9, 7)] == (-1.0, -0.5)
        assert {places[(9, 7, 4)][1], places[(9, 7, 8, 2)][1]} == {0.0, -1.0}

    def test_no_walk_is_said(self):
        nothing = replace(self.MADE, score=0.0, contributions=np.zeros(2), flows=np.zeros(2), own=0.0, paths=())
        figure = explanation(replace(nothing, stored=None))
        assert figure.axes[1].get_title() == "no walk from the seeds"
        figure.savefig(BytesIO(), format="png")


def test_without_matplotlib_the_library_works_and_says_what_is_missing():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import numpy as np, manifold as mf\n"
        "search = mf.ManifoldSearch(preset='plain-diffusion', n_neighbors=1).fit(np.eye(4) + 0.1)\n"
        "print(search.search(np.ones(4), k=2).ids.size)\n"
        "try:\n    mf.plotting\nexcept ImportError as error:\n    print(error)"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True).stdout
    assert out.splitlines() == [
        "2",
        "manifold.plotting needs matplotlib: pip install matplotlib (nothing else here does)",
    ]
