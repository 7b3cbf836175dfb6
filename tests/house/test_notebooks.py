"""The notebooks run, use names that exist, and are stored with outputs that belong to their code."""

from __future__ import annotations

import ast
import inspect
import re
from base64 import b64decode
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest

import manifold
from notebooks import GALLERY, code_cells, digest, execute, figures, paths, read, tree

PATHS = paths()
each = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
NEEDED = {"ipykernel", "nbclient"}
AGAIN = "run `python tests/notebooks.py` to store it anew"


def imported(module: ast.Module) -> set[str]:
    """Top-level packages that the code imports."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def house(module: ast.Module) -> dict[str, Any]:
    """Names that the code gives to parts of the package; an import that fails is an AttributeError."""
    names: dict[str, Any] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {alias.asname: manifold for alias in node.names if alias.name == "manifold" and alias.asname}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "manifold":
            names |= {alias.asname or alias.name: part(node.module, alias.name) for alias in node.names}
    return names


def part(room: str, name: str) -> Any:
    module = import_module(room)
    return getattr(module, name) if hasattr(module, name) else import_module(f"{room}.{name}")


def resolve(node: ast.AST, names: dict[str, Any]) -> Any:
    """What an attribute chain means: None where it does not begin in the package or leaves its modules and classes."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = resolve(node.value, names)
        return getattr(owner, node.attr) if isinstance(owner, ModuleType | type) else None
    return None


def strangers(module: ast.Module) -> Iterator[str]:
    """Yield names and keywords that the package does not have."""
    try:
        names = house(module)
    except (AttributeError, ImportError) as error:
        yield str(error)
        return
    for node in ast.walk(module):
        try:
            called = resolve(node.func if isinstance(node, ast.Call) else node, names)
        except AttributeError as error:
            yield str(error)
            continue
        if not isinstance(node, ast.Call) or not callable(called):
            continue
        takes = inspect.signature(called).parameters
        yield from (f"{called.__name__}({k.arg}=)" for k in node.keywords if k.arg and k.arg not in takes)


@pytest.mark.parametrize(
    ("code", "stranger"),
    [
        ("import manifold as mf\nmf.bulid_graph(X)", "bulid_graph"),
        ("import manifold as mf\nmf.datasets.mnist()", "mnist"),
        ("import manifold as mf\nmf.solvers.ConjugateGradient.preset('x', y=1)", "preset(y=)"),
        ("from manifold import plotting\nplotting.ranking_comparison(a, b, relevnt=c)", "relevnt="),
        ("from manifold.ranking import remove_hub", "remove_hub"),
        ("import manifold as mf\nmf.ManifoldSearch(alhpa=1).fit(X)", "ManifoldSearch(alhpa=)"),
    ],
)
def test_a_name_that_is_not_there_is_found(code, stranger):
    assert [said for said in strangers(ast.parse(code)) if stranger in said]


@each
def test_names_and_keywords_exist(path):
    assert not list(strangers(tree(read(path))))


@each
def test_only_public_names_and_no_drawing_by_hand(path):
    code = tree(read(path))
    modules = [node.module or "" for node in ast.walk(code) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in modules if name.startswith("manifold") and "._" in name]
    drawn = [n.attr for n in ast.walk(code) if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "plt"]
    assert set(drawn) <= {"subplots"}


@each
def test_runs(path, tmp_path):
    missing = sorted(name for name in imported(tree(read(path))) | NEEDED if find_spec(name) is None)
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: pip install 'manifold-search[examples]'")
    fresh = execute(path, tmp_path)
    said = [o for cell in code_cells(fresh) for o in cell["outputs"] if o.get("name") == "stderr"]
    assert not said, said[0]["text"]


@each
def test_stored_outputs_belong_to_the_code(path):
    notebook = read(path)
    assert notebook["metadata"].get("manifold", {}).get("code") == digest(notebook), AGAIN
    assert [cell["execution_count"] for cell in code_cells(notebook)] == [*range(1, len(code_cells(notebook)) + 1)]
    outputs = [output for cell in code_cells(notebook) for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert len(list(figures(notebook))) >= 2


@each
def test_stored_outputs_say_nothing_of_the_machine(path):
    texts = []
    for cell in code_cells(read(path)):
        for output in cell["outputs"]:
            data = output.get("data", {})
            texts += ["".join(part) for part in (output.get("text", ""), data.get("text/plain", ""))]
    for text in texts:
        assert not re.search(r"(?<![\w.:/<])/\w+/\w+|[A-Z]:\\|0x[0-9a-f]{6,}", text), text
        assert text.count("\n") <= 25, text


@each
def test_is_short_and_ends_with_a_pinned_number(path):
    notebook = read(path)
    assert path.stat().st_size <= 600_000
    assert notebook["cells"][0]["source"].startswith("# ")
    pinned = ast.parse(code_cells(notebook)[-1]["source"]).body
    assert isinstance(pinned[-1], ast.Assert)
    words = sum(len(cell["source"].split()) for cell in notebook["cells"])
    assert words <= 2000  # ten minutes


def test_links_between_notebooks_lead_somewhere():
    for path in PATHS:
        text = "\n".join(cell["source"] for cell in read(path)["cells"] if cell["cell_type"] == "markdown")
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_every_picture_of_the_gallery_is_made_by_a_notebook():
    made = [cell["metadata"].get("gallery") for path in PATHS for cell, _ in figures(read(path))]
    names = [name for name in made if name]
    assert len(names) == len(set(names))
    assert {path.stem for path in GALLERY.glob("*")} == set(names)
    assert all(path.stat().st_size <= 60_000 for path in GALLERY.glob("*"))


def test_figures_are_pictures():
    for path in PATHS:
        for _, data in figures(read(path)):
            assert b64decode("".join(data["image/png"])).startswith(b"\x89PNG")
