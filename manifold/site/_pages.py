"""Sources of the pages that no one writes by hand: the index, the glossary, and one page of names for each room."""

from __future__ import annotations

import inspect
from importlib import import_module
from types import ModuleType

import manifold
from manifold.glossary import TERMS

_GUIDES = ("rerank", "labels", "explore", "judge", "certificates", "solvers", "scale", "cluster", "stores", "notation")
_LISTS = ("references", "glossary")


def index_page(notebooks: list[str], rooms: list[str], *, records: bool) -> str:
    """Return the first page: what it is, then the guides, the notebooks and the names."""
    parts = {
        "Guides": [f"guide/{name}" for name in _GUIDES + _LISTS],
        "Notebooks": [f"notebooks/{name}" for name in notebooks],
        "Records": ["records"] if records else [],
        "Names": [f"api/{room}" for room in rooms],
    }
    page = [
        "# manifold",
        "",
        "Search along the manifold, not across it: nearest-neighbour graphs, diffusion with error bounds,",
        "reranking and label propagation.",
        "",
        "| you have | call | read |",
        "| --- | --- | --- |",
        "| vectors, and queries | `ManifoldSearch().fit(X).search(Q, k=10)` | [certificates](guide/certificates.md) |",
        "| a shortlist of another index | `search.rerank(ids, similarities)` | [rerank a shortlist](guide/rerank.md) |",
        "| few labels, many points | `LabelPropagation().fit(X, y)` | [propagate labels](guide/labels.md) |",
        "| a collection to look at | `Explorer(search, X)` | [explore](guide/explore.md) |",
        "| a graph of your own | `diffuse(graph, seeds)` | [choose a solver](guide/solvers.md) |",
        "",
    ]
    for caption, entries in parts.items():
        if entries:
            page += ["```{toctree}", f":caption: {caption}", ":maxdepth: 1", "", *entries, "```", ""]
    return "\n".join(page)


def glossary_page() -> str:
    """Return the page of the terms, a heading each, so that others can link to it."""
    lines = ["# Glossary", "", "`manifold.glossary.TERMS` has these in a session.", ""]
    for term, meaning in sorted(TERMS.items()):
        lines += [f"## {term}", "", meaning, ""]
    return "\n".join(lines)


def public_names() -> dict[str, dict[str, object]]:
    """Return room -> the functions, classes and constants that it names as public, by name; "manifold" is the top."""
    rooms: dict[str, dict[str, object]] = {"manifold": {name: getattr(manifold, name) for name in _top_names()}}
    for room in (name for name in manifold.__all__ if name not in _top_names()):
        rooms[room] = _public(import_module(f"manifold.{room}"))
    return rooms


def api_pages() -> dict[str, str]:
    """Return room -> its page."""
    rooms = public_names()
    pages = {"manifold": _page("manifold", rooms.pop("manifold"))}
    return pages | {room: _page(f"manifold.{room}", names) for room, names in rooms.items()}


def _top_names() -> list[str]:
    return [name for name in manifold.__all__ if not isinstance(getattr(manifold, name), ModuleType)]


def _public(module: ModuleType) -> dict[str, object]:
    names = getattr(module, "__all__", None)
    if names is None:  # a file that is a room: what it defines itself
        names = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
        ]
    at_the_top = {id(getattr(manifold, name)) for name in _top_names()}
    found = {name: getattr(module, name) for name in names}
    return {name: value for name, value in found.items() if id(value) not in at_the_top and not inspect.ismodule(value)}


def _page(module: str, names: dict[str, object]) -> str:
    """Return the page of a room: its head and names, then those of each of its doors, whose heads have equations."""
    doors: dict[str, list[str]] = {module: []}
    for name, value in names.items():
        home = str(getattr(value, "__module__", module))
        inside = home.startswith(f"{module}.") and "._" not in home and module != "manifold"
        doors.setdefault(home if inside else module, []).append(name)
    lines: list[str] = []
    for door, held in doors.items():
        lines += [door, ("=" if door == module else "-") * len(door), "", f".. automodule:: {door}"]
        lines += [""] if door == module else ["   :no-index:", ""]  # a door may be called as a function that it holds
        for name in held:
            lines += _entry(module, name, names[name])
    return "\n".join(lines)


def _entry(module: str, name: str, value: object) -> list[str]:
    if inspect.isclass(value):
        return [f".. autoclass:: {module}.{name}", "   :members:", ""]
    if inspect.isroutine(value):
        return [f".. autofunction:: {module}.{name}", ""]
    return [f".. py:data:: {name}", f"   :module: {module}", ""]
