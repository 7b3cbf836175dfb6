"""The one door to every solver: ``diffuse(graph, seeds, solver=name or settings)``, and the table of names."""

from __future__ import annotations

import logging
from dataclasses import replace
from os import PathLike

import numpy as np

from manifold.backends import Backend, backend_for, on_host, place
from manifold.errors import ConvergenceError, ConvergenceWarning, warn
from manifold.filters import Diffusion, Filter, check_filter
from manifold.graph import Graph, check_graph
from manifold.solvers.base import Callback, Prepared, Snapshot, Solution, Solver, Status, merge_reports, updated_report
from manifold.solvers.chebyshev import Chebyshev
from manifold.solvers.checkpointed import Checkpointed
from manifold.solvers.conjugate_gradient import ConjugateGradient
from manifold.solvers.direct import Direct
from manifold.solvers.fast_spectral_ranking import FastSpectralRanking
from manifold.solvers.hybrid import Hybrid
from manifold.solvers.lanczos import Lanczos, LanczosSolution
from manifold.solvers.local import Local
from manifold.solvers.on_cluster import OnCluster
from manifold.solvers.power_iteration import PowerIteration

_LOG = logging.getLogger(__name__)

__all__ = [
    "SOLVERS",
    "Chebyshev",
    "Checkpointed",
    "ConjugateGradient",
    "Direct",
    "FastSpectralRanking",
    "Hybrid",
    "Lanczos",
    "LanczosSolution",
    "Local",
    "OnCluster",
    "PowerIteration",
    "Prepared",
    "Snapshot",
    "Solution",
    "Solver",
    "Status",
    "check_solver",
    "diffuse",
    "get_solver",
    "merge_reports",
    "report_failures",
    "updated_report",
]

SOLVERS: dict[str, type[Solver]] = {
    "cg": ConjugateGradient,
    "chebyshev": Chebyshev,
    "direct": Direct,
    "fsr": FastSpectralRanking,
    "hybrid": Hybrid,
    "lanczos": Lanczos,
    "local": Local,
    "power": PowerIteration,
}

_DEFAULT_FILTER = Diffusion()
_TINY = 200  # nodes up to which a dense solve beats every iteration
_DENSE = 5_000  # nodes up to which all eigenvectors are worth computing


def check_solver(solver: str | Solver, *, extra: tuple[str, ...] = ()) -> str | Solver:
    """Return `solver` if it is "auto", a name in `SOLVERS` or settings.

    Reference: guide *solvers*.

    Parameters
    ----------
    solver : str or Solver
    extra : tuple of str
        Names that the caller serves beside those in `SOLVERS`.

    Raises
    ------
    ValueError
        For another name; it lists all that are served.
    TypeError
        For what has no `prepare`.

    Examples
    --------
    >>> check_solver("cg"), check_solver("index", extra=("index",))
    ('cg', 'index')
    """
    if isinstance(solver, str):
        if solver not in ("auto", *SOLVERS, *extra):
            raise ValueError(f"solver must be 'auto', one of {(*SOLVERS, *extra)} or its settings, got {solver!r}")
    elif isinstance(solver, type) or not callable(getattr(solver, "prepare", None)):
        raise TypeError(f"solver must be a name or settings such as ConjugateGradient(rtol=1e-3), got {solver!r}")
    return solver


def get_solver(solver: str | Solver, graph: Graph, filter: Filter) -> tuple[Solver, str]:
    """Return the settings of a solver and why it is this one: by name, as given, or chosen for a graph and a filter.

    Reference: guide *solvers*.

    Parameters
    ----------
    solver : str or Solver
        A name in `SOLVERS`; settings; or "auto", which looks at the filter first, then at the size of the graph.

    Raises
    ------
    ValueError
        For an unknown name.

    Examples
    --------
    >>> from manifold import Heat, graph_from_affinity
    >>> get_solver("auto", graph_from_affinity([[0, 1], [1, 0]]), Heat(2.0))[1]
    'direct, because a dense factor of 2 nodes costs less than iterating'
    """
    solver = check_solver(solver)
    check_graph(graph)
    check_filter(filter)
    if not isinstance(solver, str):
        return solver, "as given"
    name, reason = _choose(graph, filter) if solver == "auto" else (solver, "as named")
    _LOG.debug("solver %s, %s", name, reason.removeprefix(f"{name}, "))
    made: Solver = SOLVERS[name]()
    return made, reason


def _choose(graph: Graph, filter: Filter) -> tuple[str, str]:
    n = graph.n_nodes
    if n <= _TINY:
        return "direct", f"direct, because a dense factor of {n} nodes costs less than iterating"
    if filter.resolvents is not None:
        return "cg", "cg, because the filter has poles: fewest products with S, and each column stops for itself"
    if filter.smooth:  # a polynomial near a step would need a degree that grows without end
        return "chebyshev", "chebyshev, because the filter is smooth without poles: the degree is known beforehand"
    if n <= _DENSE:
        return "direct", f"direct, because the filter has a step, and all eigenvectors of {n} nodes can be had"
    return "fsr", "fsr, because the filter has a step: only eigenvectors serve it, the leading ones here"


@np.errstate(under="ignore")
def diffuse(
    graph: Graph,
    seeds: object,
    *,
    filter: Filter = _DEFAULT_FILTER,
    solver: str | Solver = "cg",
    backend: str | Backend = "auto",
    on_failure: str = "warn",
    x0: object = None,
    callback: Callback | None = None,
    cluster: object = None,
    checkpoint: str | PathLike[str] | None = None,
) -> Solution:
    """Diffuse seeds over a graph: F = h(S) Y, S = D^-1/2 W D^-1/2.

    Reference: Zhou et al. (2003b), section 2, for h of one pole; Iscen et al. (2018a), section 4, for any h.

    Parameters
    ----------
    graph : Graph
        n nodes; its dtype is the precision of the solve.
    seeds : (n,) or (n, q) array or sparse matrix
        Y, one column a query, class or anchor. Never written to. Scores come back where the seeds are: on the host
        for host arrays, on their device for device arrays.
    filter : Filter
        h; by default ``Diffusion(alpha=0.95)``.
    solver : str or Solver
        A name, settings such as ``ConjugateGradient(rtol=1e-6)``, or "auto", see `get_solver`.
    backend : {"auto", "scipy", "cupy"} or Backend
        Where the solve runs; "auto" follows `seeds`.
    on_failure : {"warn", "raise", "ignore"}
        What to do about a column that did not converge or is not finite; the solution says it in any case.
    x0 : (n, q), optional
        Scores to start from, such as those of a slightly different graph; used by iterative solvers.
    callback : callable(Snapshot), optional
        Shown the residuals every few iterations; what it raises ends the solve.
    cluster : distributed.Client, or `manifold.distributed.check` of it, optional
        Whose processes solve, for a graph that was loaded from a folder; see `OnCluster`.
    checkpoint : path, optional
        A folder that keeps finished blocks of columns, from which a call that was stopped goes on; see `Checkpointed`.

    Returns
    -------
    Solution
        Scores, and per column status, iterations, residual and error bound.

    Raises
    ------
    ValueError, TypeError
        For seeds of a wrong shape or dtype, unknown names, a filter the solver cannot serve, or seeds and x0 in
        different places (TypeError, naming both).
    ConvergenceError
        With ``on_failure="raise"``, naming the columns.

    Warns
    -----
    ConvergenceWarning
        With ``on_failure="warn"``.

    Examples
    --------
    >>> from manifold import graph_from_affinity
    >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
    >>> F = diffuse(path, [1.0, 0.0, 0.0], filter=Diffusion(0.5), solver=ConjugateGradient.preset("exact")).scores
    >>> (F / 0.5).round(6).tolist()
    [1.166667, 0.471405, 0.166667]
    """
    if on_failure not in ("warn", "raise", "ignore"):
        raise ValueError(f"on_failure must be 'warn', 'raise' or 'ignore', got {on_failure!r}")
    settings, _ = get_solver(solver, graph, filter)
    settings = settings if cluster is None else OnCluster(settings, cluster)
    settings = settings if checkpoint is None else Checkpointed(settings, checkpoint)
    chosen = backend_for(backend, {"seeds": seeds, "x0": x0})
    solution = settings.prepare(graph, filter, chosen).solve(seeds, x0=x0, callback=callback)
    # scores come back where the seeds were, whatever backend was asked for by name
    if place(seeds) == "cpu":
        solution = replace(solution, scores=on_host(solution.scores, chosen))
    report_failures(solution, on_failure)
    return solution


def report_failures(solution: Solution, on_failure: str) -> None:
    """Warn of, raise or ignore the columns of a solution that failed.

    Reference: guide *solvers*, "It did not converge".

    >>> from manifold import graph_from_affinity
    >>> F = diffuse(graph_from_affinity([[0, 1], [1, 0]]), [np.nan, 0.0], on_failure="ignore")
    >>> try:
    ...     report_failures(F, "raise")
    ... except ConvergenceError as error:
    ...     print(str(error).splitlines()[1][:38])
    NONFINITE in 1 columns (first: 0): NaN
    """
    if on_failure == "ignore" or not solution.failures():
        return
    if on_failure == "raise":
        raise ConvergenceError(solution.explain())
    warn(solution.explain(), ConvergenceWarning)
