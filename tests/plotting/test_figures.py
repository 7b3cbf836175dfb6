"""Figures: what is drawn is what the data say, nothing overlaps, and no state but the figure's own is touched."""

from io import BytesIO

import matplotlib as mpl
import numpy as np
import pytest
from cases import dense_scores, make_graph
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

import manifold as mf
from manifold import datasets, metrics, plotting, ranking
from manifold.discovery import mine
from manifold.neighbors import find_neighbors
from manifold.plotting._canvas import INK, PALE, PALETTE, RIGHT, WRONG
from manifold.plotting._neighborhood import heaviest_neighbors

MOONS = datasets.two_moons(80, rng=3)
PATH = mf.graph_from_affinity([[0, 1, 0, 0], [1, 0, 2, 0], [0, 2, 0, 0], [0, 0, 0, 0]])


@pytest.fixture(scope="module")
def moons():
    return mf.build_graph(MOONS.features, 6, metric="euclidean")


@pytest.fixture(scope="module")
def digits():
    return datasets.digits()


@pytest.fixture(scope="module")
def traces(moons):
    solvers = {**plotting.SOLVERS, "index": mf.DiffusionIndex(n_entries=20)}
    seeds = np.eye(80)[:, [3, 40]]
    return plotting.trace_convergence(moons.astype("float64"), seeds, solvers=solvers, iterations=(1, 5, 20, 90), k=10)


@pytest.fixture(scope="module")
def explained(digits):
    search = mf.ManifoldSearch(preset="plain-diffusion", solver="index").fit(digits.features[:400])
    query = digits.features[401]
    return ranking.explain(search, query, int(search.search(query, k=30).ids[-1]))


def lines_of(ax, *, marker=None):
    return [line for line in ax.lines if len(line.get_xdata()) and (marker is None or line.get_marker() == marker)]


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


ROWS = [
    {"solver": "cg 1e-2", "ms_p50": 3.0, "overlap": 0.95},
    {"solver": "cg 1e-3", "ms_p50": 5.0, "overlap": 1.0},
    {"solver": "power 1e-2", "ms_p50": 9.0, "overlap": 0.9},
    {"solver": "fsr", "ms_p50": 1.0, "overlap": 0.5},
    {"solver": "set aside", "ms_p50": None, "overlap": 1.0},
]


def certain(rng):
    certainty = rng.random(500)
    return certainty, rng.random(500) < 0.3 + 0.7 * certainty


@pytest.fixture(scope="module")
def figures(moons, digits, traces, explained):
    """One figure of every kind, at its default size."""
    rng = np.random.default_rng(5)
    X, y = digits
    F = mf.diffuse(moons.astype("float64"), np.eye(80)[3], solver=mf.solvers.ConjugateGradient(1e-3))
    texts = [f"item {i} " + "of several words " * 10 for i in range(12)]
    ten = (np.arange(12), np.linspace(1, 0.001, 12))
    near = find_neighbors(X[:300], 40)
    rough = mf.solvers.ConjugateGradient(1e-2)  # so that some are proved, and others are not
    mined = mine(mf.build_graph(X[:300]), near, [9], n_positive=15, n_negative=40, solver=rough)
    tuning = ranking.tune(X[:300], settings=[ranking.Setting(), ranking.Setting(n_neighbors=5)])
    return {
        "embedding of classes": plotting.embedding(moons, labels=MOONS.labels, marked=[1], title="a title").figure,
        "embedding of many classes": plotting.embedding(moons, MOONS.features, labels=np.arange(80) // 2).figure,
        "embedding of values": plotting.embedding(moons, MOONS.features, values=F.scores, marked=[3]).figure,
        "diffusion": plotting.diffusion(moons, [3, 4], MOONS.features, title="a title"),
        "score decay": plotting.score_decay(F.scores, relevant=MOONS.labels == 1, title="a title").figure,
        "spectrum": plotting.spectrum(moons, filters=[mf.Diffusion(0.9), mf.Heat(3.0)], title="a title"),
        "convergence": plotting.convergence(traces, title="a title"),
        "degrees": plotting.degrees(moons, title="a title").figure,
        "hubness": plotting.hubness(find_neighbors(X[:300], 5), title="a title").figure,
        "components": plotting.components(make_graph("disconnected"), title="a title").figure,
        "neighborhood": plotting.neighborhood(moons, 3, labels=MOONS.labels, title="a title").figure,
        "comparison": plotting.ranking_comparison(
            ten, ten, query=X[0].reshape(8, 8), items=digits.items, relevant={1, 2}, title="a title"
        ).figure,
        "comparison of texts": plotting.ranking_comparison(
            ten, ten, query="what?", items=texts, relevant={1}, title="a title"
        ).figure,
        "pools": plotting.pools(
            mined, 0, items=digits.items, relevant=np.flatnonzero(y == y[9]), title="a title"
        ).figure,
        "pools of texts": plotting.pools(mined, 0, items=[texts[i % 12] for i in range(300)], relevant=[3]).figure,
        "intervals": plotting.certified_intervals(*plotting.score_intervals(F), k=10, title="a title").figure,
        "intervals with ids": plotting.certified_intervals(*plotting.score_intervals(F), k=9, ids=np.arange(80)).figure,
        "label certainty": plotting.label_certainty(*certain(rng), title="a title"),
        "confusion": plotting.confusion(y[:300], np.roll(y[:300], 7)).figure,
        "tuning": plotting.tuning_landscape(tuning, title="a title").figure,
        "time and accuracy": plotting.time_accuracy(ROWS, title="a title").figure,
        "explanation": plotting.explanation(explained, items=digits.items),
        "explanation by ids": plotting.explanation(explained, title="a title"),
    }


class TestAll:
    def test_no_text_lies_on_another_or_leaves_the_figure_and_no_setting_changes(self, figures, monkeypatch):
        """Every text that is drawn, by the box of its ink."""
        drawn = {}  # the last drawing of each text counts
        draw = Text.draw

        def note(self, renderer):
            if self.get_visible() and self.get_text().strip():
                drawn[id(self)] = self.get_text(), self.get_window_extent(renderer)
            draw(self, renderer)

        monkeypatch.setattr(Text, "draw", note)
        settings = dict(mpl.rcParams)
        for name, figure in figures.items():
            drawn.clear()
            assert figure._repr_png_().startswith(b"\x89PNG")
            texts = [text for text, _ in drawn.values()]
            boxes = np.array([box.extents for _, box in drawn.values()])
            low, high = boxes[:, :2], boxes[:, 2:]
            outside = (low < -1).any(axis=1) | (high > figure.bbox.size + 1).any(axis=1)
            assert not outside.any(), (name, texts[np.argmax(outside)])
            common = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
            overlap = np.triu(common.min(axis=2) > 2, k=1)  # pixels
            assert not overlap.any(), (name, [texts[i] for i in np.argwhere(overlap)[0]])
            assert not hasattr(figure, "number")  # pyplot does not know of it
        assert dict(mpl.rcParams) == settings

    def test_axes_that_have_scales_say_what_they_measure(self, figures):
        for name, figure in figures.items():
            for ax in figure.axes:
                if ax.axison and (ax.get_xticks().size or ax.get_yticks().size) and name != "diffusion":
                    assert ax.get_ylabel() or ax.get_xlabel() or "explanation" in name, name

    def test_crowds_are_pixels_in_a_figure_of_lines(self, figures):
        for name in ("embedding of classes", "diffusion"):
            assert all(c.get_rasterized() for ax in figures[name].axes[:1] for c in ax.collections[:2])

    def test_one_panel_is_drawn_into_the_axes_given(self, moons):
        low, high = np.linspace(1, 0, 80), np.linspace(1.1, 0.1, 80)
        for draw in (
            lambda ax: plotting.embedding(moons, MOONS.features, ax=ax),
            lambda ax: plotting.score_decay(low, ax=ax),
            lambda ax: plotting.degrees(moons, ax=ax),
            lambda ax: plotting.hubness([1, 2], ax=ax),
            lambda ax: plotting.components(moons, ax=ax),
            lambda ax: plotting.neighborhood(moons, 0, ax=ax),
            lambda ax: plotting.certified_intervals(low, high, k=5, ax=ax),
            lambda ax: plotting.confusion([0, 1], [0, 1], ax=ax),
            lambda ax: plotting.time_accuracy(ROWS, ax=ax),
        ):
            ax = Figure().add_subplot()
            assert draw(ax) is ax

    def test_several_panels_are_drawn_into_the_figure_given(self, moons, traces, explained):
        for draw in (
            lambda figure: plotting.diffusion(moons, [1], MOONS.features, iterations=(0, 9), figure=figure),
            lambda figure: plotting.spectrum(moons, rank=5, figure=figure),
            lambda figure: plotting.convergence(traces, figure=figure),
            lambda figure: plotting.label_certainty([0.5], [True], figure=figure),
            lambda figure: plotting.explanation(explained, figure=figure),
        ):
            part = Figure().subfigures(1, 2)[1]
            assert draw(part) is part
            assert part.axes


class TestEmbedding:
    def test_every_node_stands_where_it_is_told_in_the_colour_of_its_class(self, moons):
        labels = np.where(np.arange(80) < 70, MOONS.labels, -1)
        ax = plotting.embedding(moons, MOONS.features, labels=labels, marked=[5, 9])
        edges, none, zero, one, rings = ax.collections
        assert len(edges.get_segments()) == moons.n_edges
        for drawn, here, colour in ((none, -1, PALE), (zero, 0, PALETTE[0]), (one, 1, PALETTE[1])):
            np.testing.assert_allclose(drawn.get_offsets(), MOONS.features[labels == here])
            assert to_hex(drawn.get_facecolor()[0]) == to_hex(colour)
        np.testing.assert_allclose(rings.get_offsets(), MOONS.features[[5, 9]])
        assert legend_of(ax) == ["no class", "0", "1", "marked"]
        assert not np.array_equal(zero.get_paths()[0].vertices, one.get_paths()[0].vertices)  # a mark of its own too

    def test_values_are_colours_and_the_largest_lie_on_top(self, moons, rng):
        values = rng.random(80)
        drawn = plotting.embedding(moons, MOONS.features, values=values, edges=False).collections[0]
        order = np.argsort(values)
        np.testing.assert_array_equal(drawn.get_array(), values[order])
        np.testing.assert_allclose(drawn.get_offsets(), MOONS.features[order])

    def test_spectral_coordinates_unroll_a_path_and_keep_components_apart(self):
        n = 30
        W = np.diag(np.ones(n - 1), 1)
        graph = mf.graph_from_affinity(np.kron(np.eye(2), W + W.T))
        xy = plotting.spectral_coordinates(graph)
        assert abs(np.corrcoef(xy[:n, 0], np.arange(n))[0, 1]) > 0.999  # the second eigenvector is monotone
        boxes = [(xy[part].min(axis=0), xy[part].max(axis=0)) for part in (slice(n), slice(n, 2 * n))]
        assert (boxes[0][0] > boxes[1][1]).any() or (boxes[1][0] > boxes[0][1]).any()
        again = plotting.spectral_coordinates(mf.graph_from_affinity(np.kron(np.eye(2), W + W.T)))
        np.testing.assert_array_equal(xy, again)

    @pytest.mark.parametrize("name", ["empty", "one node", "two nodes", "no edges", "complete", "isolated nodes"])
    def test_awkward_graphs_have_places(self, name):
        graph = make_graph(name)
        xy = plotting.spectral_coordinates(graph)
        assert xy.shape == (graph.n_nodes, 2)
        assert np.isfinite(xy).all()
        for draw in (plotting.embedding, plotting.degrees, plotting.components):
            draw(graph).figure.savefig(BytesIO(), format="png")
        if name == "no edges":
            assert len(np.unique(xy, axis=0)) == graph.n_nodes

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"labels": np.zeros(80), "values": np.zeros(80)}, "give one of them"),
            ({"labels": np.zeros(3)}, r"labels must have the shape \(80,\)"),
            ({"coordinates": np.zeros((80, 3))}, r"coordinates must have the shape \(80, 2\)"),
        ],
    )
    def test_bad_arguments_are_named(self, moons, given, message):
        with pytest.raises(ValueError, match=message):
            plotting.embedding(moons, **given)


class TestDiffusion:
    @pytest.mark.parametrize("alpha", [0.0, 0.9, 0.99])
    def test_steps_are_those_of_the_recurrence(self, moons, alpha):
        S = dense_matrix(moons)
        y = np.zeros(80)
        y[[3, 50]] = 1
        found = plotting.diffusion_steps(moons, [3, 50], alpha=alpha, iterations=(0, 1, 2, 7, 200))
        f, expected = y, []
        for t in range(201):
            if t in (0, 1, 2, 7, 200):
                expected.append(f)
            f = alpha * S @ f + (1 - alpha) * y
        np.testing.assert_allclose(found, expected, atol=1e-12)
        np.testing.assert_allclose(plotting.diffusion_steps(moons, y, alpha=alpha, iterations=[7])[0], expected[3])

    def test_after_many_steps_they_are_the_scores(self, moons):
        last = plotting.diffusion_steps(moons, [3], alpha=0.9, iterations=(400,))[0]
        F = dense_scores(moons, np.eye(80)[3], mf.Diffusion(0.9))
        np.testing.assert_allclose(last, F, atol=1e-9)

    def test_each_panel_has_its_scores_and_the_seeds_ringed(self, moons):
        figure = plotting.diffusion(
            moons, [3, 50], MOONS.features, alpha=0.95, iterations=(0, 30, 60, 90, 120, 150, 180)
        )
        steps = plotting.diffusion_steps(moons, [3, 50], alpha=0.95, iterations=(0, 30, 60, 90, 120, 150, 180))
        assert [ax.get_title() for ax in figure.axes if ax.get_title()] == [f"{t} steps" for t in range(0, 181, 30)]
        order = np.argsort(steps[-1], kind="stable")
        for ax, f in zip(figure.axes, steps, strict=False):
            _, dots, rings = ax.collections
            np.testing.assert_allclose(dots.get_array(), np.maximum(f / f.max(), 1e-5)[order])
            np.testing.assert_allclose(dots.get_offsets(), MOONS.features[order])
            np.testing.assert_allclose(rings.get_offsets(), MOONS.features[[3, 50]])
        start = figure.axes[0].collections[1]
        colours = [to_hex(colour) for colour in start.to_rgba(start.get_array())]
        assert colours.count(to_hex(PALE)) == 78  # nothing but the seeds has a score at first
        assert figure.axes[-1].get_ylabel() == "score / largest score"

    def test_the_animation_shows_the_steps_one_by_one(self, moons, tmp_path):
        moving = plotting.diffusion_animation(moons, [3], MOONS.features, iterations=(0, 5, 10), title="a walk")
        shown = []
        moving.save(tmp_path / "walk.gif", writer="pillow", progress_callback=lambda i, n: shown.append((i, n)))
        assert shown == [(0, 3), (1, 3), (2, 3)]
        assert (tmp_path / "walk.gif").read_bytes().startswith(b"GIF")
        ax = moving._fig.axes[0]
        assert ax.get_title() == "a walk 10 steps"
        last = plotting.diffusion_steps(moons, [3], iterations=(10,))[0]
        np.testing.assert_allclose(np.sort(ax.collections[1].get_array()), np.sort(np.maximum(last / last.max(), 1e-5)))

    @pytest.mark.parametrize(
        ("seeds", "iterations", "message"),
        [
            ([80], (0,), r"seeds must be nodes 0..79, got \[80\]"),
            ([], (0,), "seeds must"),
            (np.zeros(80), (0,), "not all 0"),
            (np.ones(3), (0,), r"seeds must have the shape \(80,\)"),
            ([1], (5, 3), "iterations must ascend"),
            ([1], (-1,), "iterations must ascend"),
        ],
    )
    def test_bad_arguments_are_named(self, moons, seeds, iterations, message):
        with pytest.raises(ValueError, match=message):
            plotting.diffusion_steps(moons, seeds, iterations=iterations)


def dense_matrix(graph):
    d = np.where(graph.degrees > 0, graph.degrees, 1)
    return graph.affinity.toarray().astype(np.float64) / np.sqrt(np.outer(d, d))


def test_score_decay_sorts_and_marks_what_is_relevant(rng):
    scores, relevant = rng.random((2, 30)), rng.random((2, 30)) < 0.3
    scores[0, :4] = [0, -1, 0, 0]
    ax = plotting.score_decay(scores, names=["first", "second"], relevant=relevant)
    first, its, second, their = lines_of(ax)
    np.testing.assert_array_equal(first.get_ydata(), np.sort(scores[0, 4:])[::-1])
    np.testing.assert_array_equal(second.get_xdata(), np.arange(1, 31))
    np.testing.assert_array_equal(np.sort(their.get_ydata()), np.sort(scores[1, relevant[1]]))
    assert len(its.get_xdata()) == relevant[0, 4:].sum()
    assert legend_of(ax) == ["first", "second", "relevant"]
    assert ax.get_xscale() == ax.get_yscale() == "log"
    with pytest.raises(ValueError, match="relevant must have the shape"):
        plotting.score_decay(scores, relevant=relevant[0])


class TestSpectrum:
    def test_eigenvalues_are_those_of_a_dense_decomposition(self, moons):
        scree, transfer = plotting.spectrum(moons, rank=20).axes
        exact = np.linalg.eigvalsh(dense_matrix(moons))[::-1][:20]
        np.testing.assert_allclose(scree.lines[0].get_ydata(), exact, atol=1e-5)
        np.testing.assert_allclose(transfer.lines[1].get_xdata(), exact, atol=1e-5)
        assert legend_of(scree) == [f"{np.count_nonzero(exact > 1 - 1e-5)} of 20 are 1"]

    def test_filters_are_drawn_as_they_are_computed(self):
        filters = [mf.Diffusion(0.99), mf.LowPass(0.3), mf.Polynomial((1.0,))]
        transfer = plotting.spectrum([1.0, 0.2, -1.0], filters=filters).axes[1]
        for line, filter in zip(transfer.lines, filters, strict=False):
            x = line.get_xdata()
            np.testing.assert_allclose(line.get_ydata(), filter(x))
            assert x.min() == -1
            assert x.max() == 1
        assert legend_of(transfer)[:3] == [str(filter) for filter in filters]

    def test_a_spectrum_serves_too_and_other_shapes_do_not(self, moons):
        from manifold.backends import get_backend

        prepared = mf.solvers.FastSpectralRanking(rank=7).prepare(moons, mf.Diffusion(), get_backend("scipy"))
        drawn = plotting.spectrum(prepared.spectrum).axes[0].lines[0].get_ydata()
        np.testing.assert_array_equal(drawn, prepared.spectrum.eigenvalues)
        with pytest.raises(ValueError, match=r"graph must be a Graph, a Spectrum or eigenvalues \(r,\)"):
            plotting.spectrum(np.eye(3))


class TestConvergence:
    def test_traces_are_those_of_single_solves(self, moons, traces):
        graph, Y = moons.astype("float64"), np.eye(80)[:, [3, 40]]
        F = dense_scores(graph, Y, mf.Diffusion(0.99))
        walk, cg = (next(t for t in traces if t.solver.startswith(name)) for name in ("power", "cg"))
        assert cg.iterations.tolist() == [1, 5, 20, 90]
        solved = mf.diffuse(
            graph, Y, filter=mf.Diffusion(0.99), solver=mf.solvers.ConjugateGradient(1e-12, 20), on_failure="ignore"
        )
        error = (np.abs(F - solved.scores).max(axis=0) / F.max(axis=0)).mean()
        assert cg.error[2] == pytest.approx(error, rel=1e-6)
        assert cg.residual[2] == pytest.approx(solved.residual.mean())
        best = [np.argsort(-scores, axis=0, kind="stable")[:10].T for scores in (F, solved.scores)]
        assert cg.overlap[2] == metrics.overlap_at_k(*best)
        assert 1e7 * cg.error[-1] < 1e-2 < walk.error[-1]

    def test_the_bound_is_never_below_the_error_and_lists_come_before_values(self, traces):
        for trace in traces:
            assert (trace.bound >= trace.error).all(), trace.solver
        cg = next(trace for trace in traces if trace.solver == "cg")
        assert cg.overlap[2] > 0.8
        assert cg.error[2] > 1e-6

    def test_lines_are_the_traces_and_what_takes_no_iterations_lies_across(self, traces):
        residual, error, overlap = plotting.convergence(traces).axes
        n = len(traces)
        for trace, line in zip(traces[:-1], residual.lines, strict=False):
            np.testing.assert_array_equal(line.get_xdata(), trace.iterations)
            np.testing.assert_allclose(line.get_ydata(), np.maximum(trace.residual, 1e-17))
        assert traces[-1].solver == "index"
        assert traces[-1].iterations.tolist() == [0]
        assert len(set(residual.lines[n - 1].get_ydata())) == 1
        assert len(error.lines) == 2 * n  # each with its bound
        dotted = [line for line in error.lines if line.get_linestyle() == ":"]
        assert len(dotted) == n
        for trace, line in zip(traces, dotted, strict=True):
            np.testing.assert_allclose(np.unique(line.get_ydata()), np.unique(trace.bound))
        assert legend_of(overlap) == [*(trace.solver for trace in traces), "bound on the error"]
        assert overlap.get_ylabel() == "overlap of the best 10"
        colours = [line.get_color() for line in residual.lines]
        assert len(set(colours)) == n

    def test_steps_of_a_spectral_solver_end_at_its_limit_and_seeds_are_one_column_too(self, moons):
        (trace,) = plotting.trace_convergence(
            moons, np.eye(80)[3], solvers={"fsr": mf.solvers.FastSpectralRanking(5)}, iterations=(1, 20, 21), k=500
        )
        assert trace.iterations.tolist() == [1, 20]
        assert trace.k == 80
        with pytest.raises(ValueError, match="traces is empty"):
            plotting.convergence([])


class TestStructure:
    def test_degrees_are_counted(self, moons):
        ax = plotting.degrees(moons)
        counts = np.diff(moons.affinity.indptr)
        for bar in ax.patches:
            assert bar.get_height() == np.count_nonzero(counts == round(bar.get_x() + bar.get_width() / 2))
        assert sum(bar.get_height() for bar in ax.patches) == 80
        assert legend_of(ax) == [f"median {np.median(counts):g}", "0 of 80 nodes isolated"]
        assert "1 of 4 nodes isolated" in legend_of(plotting.degrees(PATH))

    def test_hubness_is_that_of_the_lists(self, digits):
        neighbors = find_neighbors(digits.features[:500], 10)
        counts = metrics.k_occurrences(neighbors.indices, 500)
        ax = plotting.hubness(neighbors)
        assert sum(bar.get_height() for bar in ax.patches) == 500
        assert f"skewness {metrics.hubness(counts):.2f}" in legend_of(ax)
        assert f"largest {counts.max()}, never listed {np.count_nonzero(counts == 0)}" in legend_of(ax)
        assert ax.get_xlabel() == "lists of the 10 nearest that an item stands in"
        with pytest.raises(ValueError, match="counts"):
            plotting.hubness(np.zeros((2, 2)))

    def test_many_different_counts_share_bars(self):
        counts = np.arange(1000)
        bars = plotting.hubness(counts).patches
        assert len(bars) <= 60
        assert sum(bar.get_height() for bar in bars) == 1000

    def test_sizes_of_components_descend(self):
        ax = plotting.components(make_graph("isolated nodes"))
        assert ax.lines[0].get_ydata().tolist() == [3, 1, 1, 1, 1]
        assert legend_of(ax) == ["5 components, 4 of one node", "42.9 % of the nodes in the largest"]

    def test_a_neighbourhood_has_the_heaviest_edges_and_frames_by_class(self, digits):
        graph = mf.build_graph(digits.features[:300], 10, edges="union")
        labels = digits.labels[:300]
        near, weights = heaviest_neighbors(graph, 7, 6)
        row = graph.affinity[[7]].toarray()[0]
        np.testing.assert_array_equal(np.sort(weights), np.sort(row)[-6:])
        ax = plotting.neighborhood(graph, 7, items=digits.items, labels=labels, k=6)
        assert len(ax.images) == 7
        np.testing.assert_array_equal(ax.images[0].get_array(), digits.items[7])
        assert [text.get_text() for text in ax.texts] == [f"{w:#.3g}" for w in weights]
        frames = [p for p in ax.patches if hasattr(p, "get_boxstyle")]
        colours = [to_hex(p.get_edgecolor()).upper() for p in frames]
        assert colours == [INK, *(RIGHT if labels[i] == labels[7] else WRONG for i in near)]
        spokes = [line for line in ax.lines if line.get_linewidth() > 1]
        assert len(spokes) == 6
        among = graph.affinity[near][:, near].nnz // 2
        assert len(ax.lines) == 6 + among
        with pytest.raises(ValueError, match=r"node must lie in 0..299, got 300"):
            plotting.neighborhood(graph, 300)

    def test_a_node_without_neighbours_stands_alone(self):
        ax = plotting.neighborhood(PATH, 3)
        assert [text.get_text() for text in ax.texts] == ["3"]


def test_saliency_shows_the_map_over_its_image():
    values = np.linspace(0, 1, 12).reshape(3, 4)
    image = np.full((30, 40, 3), 200, dtype=np.uint8)
    ax = plotting.saliency(values, image, boxes=[[0, 1, 2, 3], [1, 0, 2, 1]], title="OS_1 x FS")
    picture, shown = ax.images
    np.testing.assert_array_equal(shown.get_array(), values)
    assert list(picture.get_extent()) == list(shown.get_extent())
    boxes = sorted(ax.patches, key=lambda box: -box.get_linewidth())
    left, right, low, high = shown.get_extent()
    x, y = boxes[0].get_xy()
    np.testing.assert_allclose([x, boxes[0].get_width()], [left + (right - left) / 4, (right - left) / 2])
    np.testing.assert_allclose([y, boxes[0].get_height()], [high - 2 * (high - low) / 3, 2 * (high - low) / 3])
    assert ax.get_title(loc="left") == "OS_1 x FS"
    assert len(plotting.saliency(values).images) == 1
    with pytest.raises(ValueError, match=r"finite numbers \(H, W\)"):
        plotting.saliency([[np.nan]])
    with pytest.raises(ValueError, match=r"boxes must be integers \(r, 4\)"):
        plotting.saliency(values, boxes=[1, 2, 3, 4])
