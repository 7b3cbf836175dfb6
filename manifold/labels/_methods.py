"""The table of methods: name -> settings. A method of your own needs `solve`, see `manifold.labels._base.Method`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from manifold._typing import AnyArray
from manifold.labels._base import Method, Problem
from manifold.labels.auto import Auto
from manifold.labels.harmonic import Harmonic
from manifold.labels.iterative import IterativeCleaning
from manifold.labels.mbo import PoissonMBO, ResolventMBO
from manifold.labels.poisson import Poisson
from manifold.solvers import Solution


@dataclass(frozen=True)
class LocalGlobalConsistency:
    """Local and global consistency: F = h(S) Y.

    With the default filter, F minimises
    alpha/2 sum_ij w_ij |F_i / sqrt(d_i) - F_j / sqrt(d_j)|^2 + (1 - alpha) |F - Y|^2 up to its scale.

    Reference: Zhou et al. (2003a), sections 2 and 3; Iscen et al. (2019), eq. 8.

    Examples
    --------
    >>> from manifold import graph_from_affinity, propagate
    >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> propagate(path, [0, -1, 1], method=LocalGlobalConsistency()).distributions[1].tolist()
    [0.5, 0.5]
    """

    diffuses: ClassVar[bool] = True
    averages: ClassVar[bool] = True

    def solve(self, problem: Problem, *, x0: AnyArray | None = None) -> Solution:
        """Diffuse the seeds."""
        return problem.diffuse(problem.seeds, x0=x0)


METHODS: dict[str, type[Method]] = {
    "auto": Auto,
    "lgc": LocalGlobalConsistency,
    "harmonic": Harmonic,
    "poisson": Poisson,
    "poisson_mbo": PoissonMBO,
    "resolvent_mbo": ResolventMBO,
    "ilpc": IterativeCleaning,
}


def get_method(method: str | Method) -> Method:
    """Return the settings of a method: as given, or the defaults of a name.

    >>> get_method("lgc")
    LocalGlobalConsistency()
    """
    if not isinstance(method, str):
        if isinstance(method, type) or not hasattr(method, "solve"):
            raise TypeError(f"method must be one of {tuple(METHODS)} or its settings, got {method!r}")
        return method
    if method not in METHODS:
        raise ValueError(f"method must be one of {tuple(METHODS)} or its settings, got {method!r}")
    return METHODS[method]()
