"""Settings of a search, as data: the presets, and the settings that tuning tries."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from itertools import product

import numpy as np

from manifold._checks import check_count, check_random_state
from manifold._typing import Facts, RandomState
from manifold.backends import Backend
from manifold.filters import Diffusion, Filter, RegularizedDiffusion
from manifold.graph.affinity import Affinity, default_gamma
from manifold.index import DiffusionIndex
from manifold.neighbors import InvertedFile, SeedSearch, choose_seed_search
from manifold.ranking._adaptation import Adaptation
from manifold.ranking.pooling import POOLINGS
from manifold.ranking.seeds import Y_MODES
from manifold.solvers import ConjugateGradient, Solver, check_solver

_ADAPTED: Facts = {"n_neighbors": 7, "gamma": 6.0, "bridge": 1, "solver": "auto", "degree_exponent": 0.5}
# chosen on the 37 sets of `bench quality`; `bench choices` chooses on all sets but one, and asks that one
_SAFE = Adaptation(fusion=4.0, lead=5, reciprocal=False, exchanged=10)
_NEAR = Adaptation(fusion=6.0, lead=3, reciprocal=False, exchanged=5)
PRESETS: dict[str, Facts] = {
    "default": {**_ADAPTED, "n_seeds": 20, "alpha": 0.95, "adaptation": _SAFE},
    "item": {**_ADAPTED, "n_seeds": 100, "alpha": 0.2, "adaptation": _NEAR},
    "adaptive": {**_ADAPTED, "n_seeds": 20, "alpha": 0.99, "adaptation": Adaptation()},
    "plain-diffusion": {"n_neighbors": 10, "n_seeds": 5, "alpha": 0.95, "gamma": 3.0, "bridge": 1, "solver": "auto"},
    "paper": {
        "n_neighbors": 50,
        "n_seeds": 10,
        "alpha": 0.99,
        "gamma": 3.0,
        "bridge": 0,
        "solver": ConjugateGradient.preset("paper"),
    },
}


PURPOSES: dict[str | None, str] = {
    None: "default",
    "item": "item",
    "topic": "adaptive",
}
ON_FAILURE = ("warn", "raise", "ignore")
_TUNED = ("n_neighbors", "n_seeds", "alpha", "gamma", "bridge", "degree_exponent")  # and what goes with them
_OF_PRESETS = (*_TUNED, "solver", "adaptation")


def preset_setting(preset: str, given: Facts) -> Facts:
    """Return a preset with what was given (not None) in its place; raise ValueError for an unknown one.

    >>> preset_setting("paper", {"alpha": 0.9, "gamma": None})["alpha"]
    0.9
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {tuple(PRESETS)}, got {preset!r}")
    plain = {"degree_exponent": 0.0, "adaptation": None}
    return {**plain, **PRESETS[preset], **{name: value for name, value in given.items() if value is not None}}


@dataclass(frozen=True)
class RegionSettings:
    """What a search over regions has besides, see `manifold.ranking.RegionalSearch`."""

    n_largest: int
    y_mode: str
    pooling: str
    regularization: float

    def __post_init__(self) -> None:
        check_count(self.n_largest, "n_largest")
        check_choice(self.y_mode, "y_mode", Y_MODES)
        check_choice(self.pooling, "pooling", POOLINGS)
        if not (np.isfinite(self.regularization) and self.regularization > 0):
            raise ValueError(f"regularization must be a finite number > 0, got {self.regularization!r}: 1 in the paper")


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """All that decides what a fit makes and how a fitted search answers: ``search.settings``; checked when made.

    The attributes are the parameters of `manifold.ManifoldSearch`, with the preset and the names resolved: `filter` has
    alpha, `affinity` has kind, gamma and metric, and `regions` what only a `RegionalSearch` has.

    Reference: guide *notation*, for the papers' names of the settings.

    Examples
    --------
    >>> search_settings({"preset": "paper", "alpha": 0.9}).filter
    Diffusion(alpha=0.9)
    """

    n_neighbors: int
    n_seeds: int
    filter: Filter
    affinity: Affinity
    bridge: int = 1
    degree_exponent: float = 0.0
    edges: str = "mutual"
    method: str | InvertedFile = "auto"
    solver: str | Solver = "auto"
    backend: str | Backend = "auto"
    preset: str = "default"
    purpose: str | None = None
    tune: bool = False
    adaptation: Adaptation | None = None
    on_failure: str = "warn"
    random_state: RandomState = None
    regions: RegionSettings | None = None
    seed_search: str | SeedSearch = "auto"

    def __post_init__(self) -> None:
        choose_seed_search(self.seed_search, None)  # raises for what it does not know
        check_choice(self.on_failure, "on_failure", ON_FAILURE)
        if not isinstance(self.adaptation, Adaptation | None):
            raise TypeError(f"adaptation must be an Adaptation(...) or None, got {self.adaptation!r}")
        check_count(self.n_neighbors, "n_neighbors")
        check_count(self.n_seeds, "n_seeds")
        check_random_state(self.random_state)
        solver = DiffusionIndex() if self.solver == "index" else check_solver(self.solver, extra=("index",))
        object.__setattr__(self, "solver", solver)
        object.__setattr__(self, "degree_exponent", check_degree_exponent(self.degree_exponent))

    @property
    def width(self) -> int:
        """Neighbours of each point that are looked at.

        >>> search_settings({}).width, search_settings({"preset": "adaptive"}).width
        (7, 14)
        """
        return self.n_neighbors * (2 if self.adaptation is not None and self.adaptation.reciprocal else 1)

    @property
    def n_nearest(self) -> int:
        """Nearest items of a query that are looked at for their own sake.

        >>> search_settings({}).n_nearest, search_settings({"preset": "adaptive"}).n_nearest
        (100, 3)
        """
        return 0 if self.adaptation is None else self.adaptation.n_nearest

    def tuned(self, setting: Setting) -> SearchSettings:
        """Return these settings with what tuning chose.

        >>> search_settings({"tune": True}).tuned(Setting(n_neighbors=5)).n_neighbors
        5
        """
        assert self.adaptation is not None  # tuning starts from a preset that adapts
        return replace(
            self,
            n_neighbors=setting.n_neighbors,
            n_seeds=setting.n_seeds,
            filter=setting.filter,
            affinity=replace(self.affinity, gamma=setting.gamma),
            degree_exponent=setting.degree_exponent,
            adaptation=replace(self.adaptation, one_sided=setting.one_sided),
        )


def search_settings(given: Facts) -> SearchSettings:
    """Return the settings that parameters of `ManifoldSearch` mean: what is None is the preset's.

    >>> search_settings({"preset": "adaptive", "gamma": None}).affinity.gamma
    6.0
    """
    chosen = dict(given)
    affinity, metric = chosen.pop("affinity", "auto"), chosen.pop("metric", "cosine")
    if chosen.get("tune"):
        refuse_chosen(chosen)
    preset, purpose = chosen.get("preset", "default"), chosen.get("purpose")
    check_choice(purpose, "purpose", PURPOSES)
    if purpose is not None and preset != "default":
        raise ValueError(f"purpose={purpose!r} chooses the preset: leave out preset={preset!r}, or purpose")
    preset = PURPOSES[purpose] if preset == "default" else preset
    chosen |= preset_setting(preset, {name: chosen.get(name) for name in _OF_PRESETS})
    gamma = chosen.pop("gamma")
    if metric == "precomputed" and given.get("gamma") is None:
        gamma = default_gamma(metric)
    kernel = Affinity(affinity, gamma, metric)
    return SearchSettings(filter=Diffusion(chosen.pop("alpha")), affinity=kernel, **chosen)


def parameters_of(s: SearchSettings) -> dict[str, object]:
    """Return parameters of a search that mean these settings; a filter that no parameter makes is left out.

    >>> parameters_of(search_settings({"alpha": 0.9}))["alpha"]
    0.9
    """
    alpha = s.filter.alpha if isinstance(s.filter, Diffusion) else None
    chosen: dict[str, object] = {"n_neighbors": s.n_neighbors, "n_seeds": s.n_seeds, "alpha": alpha}
    chosen |= {"gamma": s.affinity.gamma, "bridge": s.bridge, "degree_exponent": s.degree_exponent}
    if s.regions is None:
        chosen |= {"adaptation": s.adaptation}
    elif alpha is None:
        raise ValueError(f"a search over regions has a Diffusion for a filter, not {s.filter}")
    if s.tune:
        chosen = dict.fromkeys(chosen)
    common = ("edges", "method", "solver", "backend", "on_failure", "random_state", "seed_search")
    chosen |= {name: getattr(s, name) for name in common}
    if s.regions is not None:
        return chosen | asdict(s.regions)
    chosen |= {"metric": s.affinity.metric, "affinity": s.affinity.kind, "preset": s.preset, "tune": s.tune}
    return chosen | {"purpose": s.purpose}


def check_choice(value: object, name: str, allowed: Collection[object]) -> None:
    """Raise ValueError for a name that is not one of those allowed."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {tuple(allowed)}, got {value!r}")


def refuse_chosen(given: Facts) -> None:
    """Raise ValueError where something is given that tuning chooses."""
    names = [name for name in _TUNED if given.get(name) is not None]
    names += ["preset"] * (given.get("preset", "default") != "default")
    names += ["edges"] * (given.get("edges", "mutual") != "mutual")
    if names:
        raise ValueError(f"tune=True chooses the setting: leave out {', '.join(names)}, or tune=True")


@dataclass(frozen=True)
class Setting:
    """What decides a ranking, but for its solver; the default is the one that all others have to beat.

    Reference: guide *notation*, for the papers' names of the settings.

    Parameters
    ----------
    n_neighbors, n_seeds : int
        k of the graph, and k_q of a query.
    gamma : float
        Exponent of the kernel; of no effect on Euclidean similarities.
    one_sided : float in [0, 1], optional
        Weight of edges and seeds that are not reciprocal; by default `one_sided_weight` of the neighbours.
    filter : Filter
    degree_exponent : float
        p >= 0: scores are divided by degree^p.

    Examples
    --------
    >>> print(Setting())
    k=7, gamma=6, n_seeds=20, Diffusion(alpha=0.99), degree^-0.5
    """

    n_neighbors: int = 7
    gamma: float = 6.0
    one_sided: float | None = None
    n_seeds: int = 20
    filter: Filter = field(default_factory=lambda: Diffusion(0.99))
    degree_exponent: float = 0.5

    def __str__(self) -> str:
        weighted = "" if self.one_sided is None else f", one_sided={self.one_sided:g}"
        return (
            f"k={self.n_neighbors}, gamma={self.gamma:g}{weighted}, n_seeds={self.n_seeds}, "
            f"{self.filter}, degree^-{self.degree_exponent:g}"
        )

    @property
    def graph(self) -> tuple[int, float, float | None]:
        """What the graph depends on.

        >>> Setting().graph
        (7, 6.0, None)
        """
        return self.n_neighbors, self.gamma, self.one_sided


def grid(*, wide: bool = False) -> list[Setting]:
    """Return the settings that `tune` tries, the default first: five graphs, two k_q and four filters.

    The wide ones are of 20 neighbours, all of them mutual: two graphs.

    The degree exponent is that of the default: cohesion alone favours lists of hubs, which are near to many points, and
    would choose 0 where that loses.

    >>> len(grid()), len(grid(wide=True))
    (40, 16)
    """
    filters: tuple[Filter, ...] = (Diffusion(0.99), RegularizedDiffusion(0.99), Diffusion(0.95), Diffusion(0.9))
    graphs = [(20, 6.0), (20, 3.0)] if wide else [(7, 6.0), (5, 6.0), (10, 6.0), (15, 6.0), (7, 3.0)]
    one_sided = 0.0 if wide else None
    return [
        Setting(n_neighbors=k, gamma=gamma, one_sided=one_sided, n_seeds=n_seeds, filter=filter)
        for (k, gamma), n_seeds, filter in product(graphs, (20, 5), filters)
    ]


def check_degree_exponent(value: float) -> float:
    """Return p of degree^p, or raise ValueError.

    >>> check_degree_exponent(1 / 2)
    0.5
    """
    if not (np.isfinite(value) and value >= 0):
        raise ValueError(f"degree_exponent must be a finite number >= 0, got {value!r}: 0 or 0.5")
    return float(value)
