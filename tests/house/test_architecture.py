"""The plan of the house, enforced from the syntax tree: what each room may import, and how big its parts may be."""

from __future__ import annotations

import ast
import inspect
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import manifold

PACKAGE = Path(manifold.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
ROOT = PACKAGE.parent

# rooms in the order in which data flow; a room imports only what stands before it
FLOW = [
    "errors",
    "_typing",
    "_moved",
    "storage",
    "_resources",
    "_progress",
    "_checks",
    "_weights",
    "backends",
    "neighbors",
]
FLOW += ["filters", "graph", "matching", "solvers", "index", "labels", "ranking", "reranking", "evaluation"]
SIDE_BY_SIDE = {"labels", "ranking", "reranking"}  # import nothing of one another
ALONE = {"storage", "metrics", "datasets"}  # import nothing of the house but errors
FRONT = {"_load", "cli", "explorer", "plotting", "evaluation", "__init__", "__main__"}  # may import façades
COMPILED = {"backends/_lanes.py", "backends/compiled_lists.py"}  # called by machine code, which knows places only
ONLY = {
    "cupy": "backends/_cupy.py",
    "cupyx": "backends/_cupy.py",
    "matplotlib": "plotting/",
    "ipywidgets": "explorer/_widgets.py",
    "IPython": "explorer/_widgets.py",
}


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def module_of(path: Path) -> str:
    return ".".join(("manifold", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def room_of(path: Path) -> str:
    part = path.relative_to(PACKAGE).parts[0]
    return part.removesuffix(".py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            found |= submodules or {node.module or ""}
    return found


def rooms_imported(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("manifold.")}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_room_imports_only_what_stands_before_it(path):
    room = room_of(path)
    if room in FRONT:
        return
    if room in ALONE:
        allowed = {room, "errors", "_typing"}
    else:
        assert room in FLOW, f"{room} has no place in the plan"
        allowed = set(FLOW[: FLOW.index(room) + 1]) - (SIDE_BY_SIDE - {room})
    assert rooms_imported(path) <= allowed


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_heavy_packages_have_one_door(path):
    for package in {name.split(".")[0] for name in imports(path)} & set(ONLY):
        assert name_of(path).startswith(ONLY[package])


def test_nothing_imports_the_facades():
    for path in FILES:
        if room_of(path) not in FRONT | {"ranking"}:
            assert not {"ranking", "plotting", "explorer"} & rooms_imported(path)
        if room_of(path) not in FRONT:
            assert not {name for name in rooms_imported(path) if "cli" in name}


def test_no_cycles_between_files():
    edges = {name: (imports(path) & MODULES.keys()) - {name} for name, path in MODULES.items()}
    edges["manifold"] = set()  # its imports are lazy, or for the type checker
    state: dict[str, int] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert state.get(name) != 1, f"import cycle: {' -> '.join((*trail, name))}"
        if name not in state:
            state[name] = 1
            for other in edges[name]:
                visit(other, (*trail, name))
            state[name] = 2

    for name in MODULES:
        visit(name, ())


def functions(path: Path) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]


def public_functions(path: Path) -> list[ast.FunctionDef]:
    """Functions and methods, but none defined inside another."""
    bodies = [ast.parse(path.read_text()).body]
    bodies += [node.body for node in bodies[0] if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    found = [f for body in bodies for f in body if isinstance(f, ast.FunctionDef) and not f.name.startswith("_")]
    return [f for f in found if "overload" not in map(ast.unparse, f.decorator_list)]


def body_length(node: ast.FunctionDef) -> int:
    body = node.body
    if ast.get_docstring(node, clean=False) is not None:
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_files_and_functions_stay_small():
    lengths = {name_of(path): path.read_text().count("\n") for path in FILES}
    assert max(lengths.values()) <= 400, max(lengths.items(), key=lambda item: item[1])
    assert statistics.median(lengths.values()) <= 150
    bodies = {f"{name_of(path)}:{f.name}": body_length(f) for path in FILES for f in functions(path)}
    assert max(bodies.values()) <= 80, max(bodies.items(), key=lambda item: item[1])
    assert statistics.median(bodies.values()) <= 12
    assert statistics.quantiles(bodies.values(), n=10)[-1] <= 40


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_signatures(path):
    for node in public_functions(path):
        positional = [a.arg for a in (*node.args.posonlyargs, *node.args.args) if a.arg not in ("self", "cls")]
        assert len(positional) <= 3 or name_of(path) in COMPILED, f"{node.name} takes {positional} by position"
        assert ast.get_docstring(node), f"{node.name} has no docstring"
        assert node.args.kwarg is None, f"{node.name} takes **{node.args.kwarg.arg}"


def test_the_public_list_is_short_and_true():
    modules = {name for name in manifold.__all__ if inspect.ismodule(getattr(manifold, name))}
    assert len(set(manifold.__all__) - modules) <= 25  # names to learn; a module is a place to look for more
    for name in manifold.__all__:
        assert getattr(manifold, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = manifold.nonsense


def test_import_is_light():
    heavy = ["cupy", "matplotlib", "ipywidgets", "IPython", "sklearn", "pynndescent", "numba", "scipy.sparse"]
    code = f"import sys, manifold; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_whole_solving_path_loads_no_optional_package():
    heavy = ["cupy", "matplotlib", "sklearn", "pynndescent", "numba"]
    code = (
        "import sys, numpy as np, manifold as mf;"
        "mf.ManifoldSearch(n_neighbors=2).fit(np.eye(5) + 0.1).search(np.eye(5));"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_both_backends_have_the_members_of_the_protocol():
    trees = {
        name: ast.parse((PACKAGE / "backends" / f"{name}.py").read_text())
        for name in ("_base", "_scipy", "_cupy", "_sweeps")
    }

    def signatures(tree: ast.Module, cls: str) -> dict[str, str]:
        node = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == cls)
        return {
            f.name: ", ".join(a.arg for a in (*f.args.args, *f.args.kwonlyargs))
            for f in node.body
            if isinstance(f, ast.FunctionDef) and not f.name.startswith("_") and not f.decorator_list
        }

    protocol = signatures(trees["_base"], "Backend")
    plain = signatures(trees["_sweeps"], "Sweeps")
    assert plain | signatures(trees["_scipy"], "ScipyBackend") == protocol
    assert plain | signatures(trees["_cupy"], "CupyBackend") == protocol
    assert len(protocol) <= 14


def test_the_plan_draws_every_file():
    plan = (PACKAGE / "ARCHITECTURE.md").read_text()
    missing = [name_of(p) for p in FILES if p.name not in ("__init__.py", "__main__.py") and p.stem not in plan]
    assert not missing


def test_no_secrets_of_the_workshop():
    for path in [*FILES, *ROOT.glob("*.md"), *(ROOT / "tests").glob("*.py"), *(ROOT / "bench").rglob("*.py")]:
        text = path.read_text()
        assert "/wor" + "k/" not in text, path
        assert "TO" + "DO" not in text, path
