"""The sliders of an explorer, in JupyterLab and wherever ipywidgets live; the only file that imports ipywidgets.

In: an `Explorer`. Out: a widget that writes the explorer's settings, and shows what they give.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from types import ModuleType
from typing import Protocol

from manifold._typing import AnyArray, Mask
from manifold.explorer._exploration import CHOICES, Answer, Exploration, Settings
from manifold.filters import Diffusion, Filter, Heat, RegularizedDiffusion


class Widget(Protocol):
    """What a notebook asks of sliders."""

    def _repr_mimebundle_(self) -> dict[str, object]: ...


class _Shown(Protocol):
    """What is asked of an `Explorer`, which imports this file."""

    settings: Settings
    exploration: Exploration

    @property
    def judged(self) -> bool:
        """Whether it is known what is right."""

    def explain(self, answer: Answer) -> str:
        """Return an answer in words."""

    def label(self, name: object) -> object:
        """Return the label of an item."""

    def png(self, answer: Answer) -> bytes:
        """Return the picture of an answer."""

    def pools_png(self) -> bytes | None:
        """Return the picture of what was mined for the query that is shown; None where nothing was."""

    def right(self, answer: Answer, ids: AnyArray) -> Mask:
        """Return which items are right."""

    def why_png(self, rank: int) -> bytes:
        """Return the picture of why an item has its rank."""


_OF_ALPHA: dict[str, Callable[[float], Filter]] = {"Diffusion": Diffusion, "RegularizedDiffusion": RegularizedDiffusion}
_CELL = "padding: 0 1em 0 0; text-align: left"


def ipywidgets() -> ModuleType:
    """Return the package, or raise ImportError that names the extra."""
    try:
        import ipywidgets
    except ImportError as error:
        raise ImportError("the sliders need ipywidgets: pip install 'manifold-search[notebook]'") from error
    package: ModuleType = ipywidgets
    return package


def build(explorer: _Shown) -> Widget:
    """Return sliders beside the lists they give, pictures below; what cannot be done is said where the words are."""
    widgets = ipywidgets()
    controls = Controls(explorer.settings, explorer.exploration.n_queries)
    rank = widgets.IntSlider(0, min=0, max=explorer.exploration.k, description="why rank")
    words, lists = widgets.HTML(), widgets.HTML()
    picture, why, pools = (widgets.Image(format="png") for _ in range(3))

    def show(_: object = None) -> None:
        """Answer for what the controls say, or say why that cannot be."""
        settings = controls.read()
        try:
            answer = explorer.exploration.answer(settings)
        except (ValueError, MemoryError) as error:  # such as a filter that the solver cannot serve
            words.value = _refused(error, f"shown below: {explorer.settings}")
            return
        explorer.settings = settings
        words.value = f"<div style='line-height: 1.5'>{escape(explorer.explain(answer)).replace(chr(10), '<br>')}</div>"
        lists.value, picture.value = table(explorer, answer), explorer.png(answer)
        mined = explorer.pools_png()
        pools.value, pools.layout.display = mined or b"", "" if mined else "none"
        show_why()

    def show_why(_: object = None) -> None:
        why.layout.display = "none"
        if rank.value:
            try:
                why.value, why.layout.display = explorer.why_png(rank.value), ""
            except ValueError as error:  # such as a filter whose score is no sum over walks
                words.value += _refused(error)

    show()
    controls.observe(show)
    rank.observe(show_why, "value")
    for part, name in (
        (words, "words"),
        (lists, "lists"),
        (picture, "picture"),
        (rank, "rank"),
        (why, "why"),
        (pools, "pools"),
    ):
        part.add_class(f"manifold-{name}")
    picture.layout.max_width = why.layout.max_width = pools.layout.max_width = "100%"
    words.layout.margin, controls.box.layout.margin = "0 0 1em 0", "0 2em 0 0"
    controls.box.children += (rank,)
    beside = widgets.HBox([controls.box, widgets.VBox([words, lists])])
    whole: Widget = widgets.VBox([beside, picture, why, pools])
    return whole


def _refused(error: Exception, more: str = "") -> str:
    return f"<div style='line-height: 1.5'><b>{escape(str(error))}</b><br>{escape(more)}</div>"


class Controls:
    """One widget a setting."""

    def __init__(self, settings: Settings, n_queries: int) -> None:
        widgets = ipywidgets()
        filter, t = settings.filter, getattr(settings.filter, "t", 10.0)
        alpha, p = getattr(filter, "alpha", 0.95), settings.degree_exponent
        known = [*_OF_ALPHA, "Heat"]
        served = type(filter).__name__ in known and t > 0
        self.given = {} if served else {str(filter): filter}  # one that has no slider
        chosen = type(filter).__name__ if served else str(filter)
        self.query = widgets.BoundedIntText(settings.query, min=0, max=n_queries - 1, description="query")
        self.filter = widgets.Dropdown(options=[*known, *self.given], value=chosen, description="filter")
        self.alpha = widgets.FloatSlider(alpha, min=0.0, max=max(0.99, alpha), step=0.01, description="alpha")
        power = math.log10(t) if t > 0 else 0.0
        ends = {"min": min(0.0, power), "max": max(1.7, power)}
        self.t = widgets.FloatLogSlider(t or 1.0, **ends, step=0.05, description="t", readout_format=".3g")
        self.n_seeds = widgets.IntSlider(settings.n_seeds, min=1, max=max(30, settings.n_seeds), description="n_seeds")
        self.degree_exponent = widgets.FloatSlider(p, min=0.0, max=max(1.0, p), step=0.05, description="degree^-p")
        self.solver = widgets.Dropdown(options=CHOICES, value=settings.solver, description="solver")
        self.all = (self.query, self.filter, self.alpha, self.t, self.n_seeds, self.degree_exponent, self.solver)
        for control in self.all:
            control.add_class(f"manifold-{control.description.split('^')[0]}")
        self.box = widgets.VBox(self.all)
        self._serve(chosen)

    def observe(self, changed: Callable[[object], None]) -> None:
        """Call `changed` after every change."""
        self.filter.observe(lambda change: self._serve(change["new"]), "value")
        for control in self.all:
            control.observe(changed, "value")

    def _serve(self, name: str) -> None:
        self.alpha.disabled, self.t.disabled = name not in _OF_ALPHA, name != "Heat"

    def read(self) -> Settings:
        """Return the settings as they stand."""
        return Settings(
            self.query.value, self._filter(), self.n_seeds.value, _short(self.degree_exponent.value), self.solver.value
        )

    def _filter(self) -> Filter:
        name = self.filter.value
        if name in _OF_ALPHA:
            return _OF_ALPHA[name](_short(self.alpha.value))
        return Heat(_short(self.t.value)) if name == "Heat" else self.given[name]


def _short(value: float) -> float:
    """Return what a slider means by 0.39000000000000007."""
    return float(f"{value:.4g}")


def table(explorer: _Shown, answer: Answer) -> str:
    """Return the two lists of an answer as a table: rank, and of each item its id, label, a tick or a cross.

    >>> from manifold import ManifoldSearch, datasets
    >>> from manifold.explorer import Explorer
    >>> X, y = datasets.digits()
    >>> explorer = Explorer(ManifoldSearch(preset="plain-diffusion").fit(X[:200]), X[:200], labels=y[:200], k=3)
    >>> table(explorer, explorer.answer()).count("<tr>")
    4
    """
    before, after = answer.nearest[0], answer.ranking.ids
    columns = [_column(explorer, answer, ids) for ids in (before, after)]
    new = ["new" if name not in set(before.tolist()) else "" for name in after.tolist()]
    head = "".join(f"<th style='{_CELL}'>{name}</th>" for name in ("", "nearest neighbours", "after diffusion", ""))
    rows = "".join(
        "<tr>" + "".join(f"<td style='{_CELL}'>{cell}</td>" for cell in (rank, *cells)) + "</tr>"
        for rank, cells in enumerate(zip(*columns, new, strict=True), 1)
    )
    return f"<table style='line-height: 1.3'><tr>{head}</tr>{rows}</table>"


def _column(explorer: _Shown, answer: Answer, ids: AnyArray) -> list[str]:
    if not explorer.judged:
        return [escape(str(name)) for name in ids.tolist()]
    marks = ["✓" if good else "✗" for good in explorer.right(answer, ids)]
    return [escape(f"{mark} {name} ({explorer.label(name)})") for mark, name in zip(marks, ids.tolist(), strict=True)]
