"""How solvers come near the exact scores, iteration by iteration: CG against the random walk, and all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import ArrayLike
from scipy import sparse

from manifold._checks import check_count
from manifold._typing import AnyArray, Floats, Ints
from manifold.backends import get_backend
from manifold.filters import Diffusion, Filter
from manifold.graph import Graph
from manifold.metrics import overlap_at_k
from manifold.plotting._canvas import INK, colour_of, finished, legend, mark_of, panels
from manifold.plotting._written import in_legend
from manifold.solvers import (
    Chebyshev,
    ConjugateGradient,
    FastSpectralRanking,
    Hybrid,
    Lanczos,
    PowerIteration,
    Solution,
    Solver,
    diffuse,
)
from manifold.solvers.system import check_seeds

_LEAST = 1e-17  # what is drawn for 0 on a logarithmic scale
_RTOL = 1e-12  # never reached before the iterations run out, which are what is drawn
SOLVERS: dict[str, Solver] = {
    "power (random walk)": PowerIteration(rtol=_RTOL),
    "chebyshev": Chebyshev(rtol=_RTOL),
    "cg": ConjugateGradient(rtol=_RTOL),
    "lanczos": Lanczos(rtol=_RTOL),
    "hybrid, rank 20": Hybrid(20, rtol=_RTOL),
    "fsr, rank 20": FastSpectralRanking(20, rtol=_RTOL),
}
ITERATIONS = (1, 2, 3, 5, 7, 10, 14, 20, 30, 45, 70, 110, 200, 400, 800)
_DEFAULT_FILTER = Diffusion(0.99)


@dataclass(frozen=True, eq=False)
class Trace:
    """A solver stopped after some numbers of iterations, each against the exact scores; means over the columns.

    Reference: guide *solvers*, "It did not converge".

    Attributes
    ----------
    solver : str
    iterations : (t,) int
        Products with S; 0 where the solver takes none that can be limited.
    residual : (t,)
        Relative residual, as the solution says it.
    error : (t,)
        max_i |F_i - scores_i| / max_i F_i, the true one.
    bound : (t,)
        The same, as the solution bounds it without knowing F.
    overlap : (t,)
        Share of the exact best k that are among its best k.
    k : int

    Examples
    --------
    >>> made = Trace("cg", *np.array([[1, 2], [0.1, 0.01], [0.2, 0.02], [0.3, 0.03], [0.9, 1.0]]), k=10)
    >>> bool((made.bound >= made.error).all())
    True
    """

    solver: str
    iterations: Ints
    residual: Floats
    error: Floats
    bound: Floats
    overlap: Floats
    k: int


def trace_convergence(
    graph: Graph,
    seeds: ArrayLike | sparse.sparray,
    *,
    filter: Filter = _DEFAULT_FILTER,
    solvers: Mapping[str, Solver] | None = None,
    iterations: Sequence[int] = ITERATIONS,
    k: int = 100,
) -> tuple[Trace, ...]:
    """Solve again and again, with more and more iterations, and compare with a direct solve.

    Reference: guide *solvers*, "It did not converge".

    Parameters
    ----------
    graph : Graph
        Up to some 20,000 nodes, for the direct solve; in float64 errors can be followed to the end.
    seeds : (n, q) array or sparse matrix
    filter : Filter
    solvers : mapping of name to settings, optional
        By default all that iterate, and fast spectral ranking with so many steps beside 20 eigenvectors.
    iterations : sequence of int
        Where to stop, ascending. Steps of fast spectral ranking end at 20.
    k : int
        Items of the lists that are compared.

    Returns
    -------
    tuple of Trace

    Notes
    -----
    Cost: the sum of `iterations` products with S a solver, and a direct solve.

    Examples
    --------
    >>> from manifold import build_graph, datasets
    >>> graph = build_graph(datasets.two_moons(100).features, 5, metric="euclidean").astype("float64")
    >>> seeds = np.eye(100)[:, :1]
    >>> both = {"cg": ConjugateGradient(1e-12), "walk": PowerIteration(1e-12)}
    >>> cg, walk = trace_convergence(graph, seeds, solvers=both, k=10)
    >>> bool(cg.error[-1] < 1e-9 < walk.error[-1])
    True
    """
    k = min(check_count(k, "k"), graph.n_nodes)
    columns, _ = check_seeds(seeds, graph.n_nodes)
    exact = diffuse(graph.astype(np.float64), columns, filter=filter, solver="direct").scores
    traces = []
    for name, settings in (SOLVERS if solvers is None else solvers).items():
        able = _with_spectrum(settings, graph, filter)
        stops = {t: limited for t in iterations if (limited := _limited(able, t)) is not None} or {0: able}
        facts = [
            _compare(diffuse(graph, columns, filter=filter, solver=limited, on_failure="ignore"), exact, k)
            for limited in stops.values()
        ]
        residual, error, bound, overlap = np.array(facts).T
        traces.append(Trace(name, np.array(list(stops)), residual, error, bound, overlap, k))
    return tuple(traces)


def convergence(
    traces: Sequence[Trace], *, title: str = "", figure: Figure | SubFigure | None = None
) -> Figure | SubFigure:
    """Draw how solvers converge: residual, true error with its bound, and overlap of the lists, by iterations.

    A solver that cannot be stopped early, such as a direct one, is a line across. Values do not converge as lists do:
    a ranking is right long before its scores are.

    Reference: Iscen et al. (2017), figure 3; guide *solvers*, "It did not converge".

    Parameters
    ----------
    traces : sequence of Trace
        What `trace_convergence` returned.
    title : str
    figure : matplotlib Figure or SubFigure, optional
        Where to draw; by default a new one.

    Examples
    --------
    >>> falling = np.array([0.1, 0.01])
    >>> one = Trace("cg", np.array([1, 2]), falling, falling, falling, 1 - falling, k=10)
    >>> convergence([one]).axes[-1].get_ylabel()
    'overlap of the best 10'
    """
    if not traces:
        raise ValueError("traces is empty: give what trace_convergence returned")
    figure, axes = panels(figure, (1, 3), size=(12.0, 3.6), title=title)
    residual, error, overlap = axes[0]
    for j, trace in enumerate(traces):
        for ax, values in ((residual, trace.residual), (error, trace.error), (overlap, trace.overlap)):
            _draw_line(ax, trace.iterations, values, colour=colour_of(j), mark=mark_of(j), name=trace.solver)
        _draw_line(error, trace.iterations, trace.bound, colour=colour_of(j))
    overlap.plot([], [], ":", color=INK, linewidth=1.2, label="bound on the error")
    residual.set(ylabel="relative residual $||b - A f||_2 / ||b||_2$", yscale="log")
    error.set(ylabel="largest error $|F_i - f_i|$, of the largest score", yscale="log")
    overlap.set(ylabel=f"overlap of the best {traces[0].k}", ylim=(-0.03, 1.03))
    for ax in axes[0]:
        ax.set(xlabel="iterations (products with $S$)", xscale="log")
    legend(overlap, outside=True)
    return finished(figure)


def _limited(settings: Solver, t: int) -> Solver | None:
    """Return settings that stop after t products with S; None where these cannot."""
    if isinstance(settings, PowerIteration | Chebyshev | ConjugateGradient | Lanczos | Hybrid):
        return replace(settings, max_iter=t)
    return replace(settings, n_steps=t) if isinstance(settings, FastSpectralRanking) and t <= 20 else None


def _with_spectrum(settings: Solver, graph: Graph, filter: Filter) -> Solver:
    """Return settings that hold their eigenvectors, which are then computed once."""
    # every number of iterations would compute them anew
    if isinstance(settings, FastSpectralRanking | Hybrid) and settings.spectrum is None:
        return replace(settings, spectrum=settings.prepare(graph, filter, get_backend("scipy")).spectrum)
    return settings


def _compare(solution: Solution, exact: AnyArray, k: int) -> tuple[float, float, float, float]:
    """Return residual, error, bound and overlap, means over the columns that are not zero."""
    scores = np.asarray(solution.scores, dtype=np.float64)
    largest = np.abs(exact).max(axis=0)
    some = largest > 0
    error = np.abs(exact - scores).max(axis=0)[some] / largest[some]
    lists = [np.argsort(-F[:, some], axis=0, kind="stable")[:k].T for F in (exact, scores)]
    bound = solution.error_bound[some] / largest[some]
    return solution.residual[some].mean(), error.mean(), bound.mean(), overlap_at_k(*lists)


def _draw_line(
    ax: Axes, iterations: Ints, values: Floats, *, colour: str, mark: str | None = None, name: str = ""
) -> None:
    """Draw what is finite, by iterations; across the axes where there are none. A line without a name is dotted."""
    known = np.isfinite(values)
    if not known.any():
        return
    label = in_legend(name) if name else None
    if not iterations.any():
        style = "--" if name else ":"
        ax.axhline(float(values[known][0]), color=colour, linestyle=style, linewidth=1.2, label=label)
    else:
        ax.plot(
            iterations[known], np.maximum(values[known], _LEAST), color=colour, linestyle="-" if name else ":",
            linewidth=1.2, marker=mark, markersize=3.5, label=label,
        )  # fmt: skip
