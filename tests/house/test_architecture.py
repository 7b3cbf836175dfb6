"""The plan of the house, enforced from the syntax tree: what each room may import, and how big its parts may be."""

from __future__ import annotations

import ast
import inspect
import io
import re
import statistics
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import manifold

PACKAGE = Path(manifold.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
ROOT = PACKAGE.parent

# rooms in the order in which data flow; a room imports only what stands before it
FLOW = [
    "errors",
    "glossary",
    "_typing",
    "_moved",
    "storage",
    "_resources",
    "_progress",
    "_columns",
    "_arrays",
    "_checks",
    "_weights",
]
FLOW += ["backends", "distributed", "neighbors"]
FLOW += ["filters", "graph", "matching", "solvers", "index", "labels", "ranking", "reranking"]
FLOW += ["discovery", "evaluation", "stores"]
SIDE_BY_SIDE = {"labels", "ranking", "reranking"}  # import nothing of one another
AFTER_THEM = {"discovery", "evaluation", "stores"}
ALONE = {"storage", "metrics", "datasets"}  # import nothing of the house but errors, names of types, the one reader
FRONT = {
    "_load",
    "_versions",
    "site",
    "cli",
    "explorer",
    "plotting",
    "evaluation",
    "stores",
    "__init__",
    "__main__",
}  # may import façades
FACADES = {"manifold.ranking.search", "manifold.ranking.regional", "manifold.labels.estimator", "manifold.explorer"}
# called by machine code, which knows places only
COMPILED = {
    "backends/_lanes.py",
    "backends/cell_bounds.py",
    "backends/compiled_cells.py",
    "backends/compiled_edges.py",
    "backends/compiled_lists.py",
    "backends/far_sweeps.py",
    "backends/filled.py",
    "backends/hough_votes.py",
    "backends/match_lists.py",
    "backends/proved_lists.py",
    "backends/proved_members.py",
    "backends/proved_query.py",
    "backends/relaxation.py",
    "backends/spatial_inliers.py",
    "backends/symmetric_lists.py",
}
# an optional or heavy package -> the one file, or room, that imports it
ONLY = {
    "chromadb": ("stores/_chroma.py", "stores/_address.py"),
    "cupy": ("backends/_cupy.py",),
    "cupyx": ("backends/_cupy.py",),
    "dask": ("distributed/_dask.py",),
    "distributed": ("distributed/_dask.py",),
    "faiss": ("neighbors/_faiss.py",),
    "h5py": ("datasets/_readers.py",),
    "ipywidgets": ("explorer/_widgets.py",),
    "IPython": ("explorer/_widgets.py",),
    "lancedb": ("stores/_lance.py", "stores/_address.py"),
    "llvmlite": ("backends/_lanes.py",),
    "matplotlib": ("plotting/",),
    "networkx": ("graph/_networkx.py",),
    "numba": ("backends/",),
    "psycopg": ("stores/_pgvector.py",),
    "pynndescent": ("neighbors/_nn_descent.py",),
    "qdrant_client": ("stores/_qdrant.py", "stores/_address.py"),
    "qdrant_edge": ("stores/_qdrant_edge.py",),
    "shtab": ("cli/_completion.py",),
    "sphinx": ("site/",),
    "sklearn": ("labels/_facade.py", "datasets/_digits.py", "matching/regions.py", "discovery/whitening.py"),
    "tqdm": ("_progress.py",),
}


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def module_of(path: Path) -> str:
    return ".".join(("manifold", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}
TREES = {path: ast.parse(path.read_text()) for path in FILES}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, *, at_run_time: bool = False) -> set[str]:
    """Return the modules that a file imports, anywhere in it; those for the type checker may be left out."""
    found, skipped = set(), set()
    for node in ast.walk(TREES[path]):
        if at_run_time and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            skipped |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(TREES[path]):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            found |= submodules or {node.module or ""}
    return found


def rooms_imported(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("manifold.")}


# ---- who imports whom


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_room_imports_only_what_stands_before_it(path):
    room = room_of(path)
    if room in ALONE:
        allowed = {room, "errors", "_typing", "_arrays"}
    elif room in FLOW:
        allowed = set(FLOW[: FLOW.index(room) + 1]) - (SIDE_BY_SIDE - {room} if room not in AFTER_THEM else set())
        allowed |= ALONE - {"storage"} if room == "evaluation" else set()
    else:
        assert room in FRONT, f"{room} has no place in the plan"
        return
    assert rooms_imported(path) <= allowed


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_with_an_underscore_is_imported_in_its_own_folder_only(path):
    here = module_of(path).split(".") if path.name == "__init__.py" else module_of(path).split(".")[:-1]
    for name in imports(path) & MODULES.keys():
        *folder, file = name.split(".")
        assert not file.startswith("_") or here[: len(folder)] == folder, f"{name} is another folder's own"
        assert not any(part.startswith("_") for part in folder), name


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_private_name_crosses_a_room(path):
    """Names with an underscore are a file's own; those of a class are its room's."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("manifold."):
            private = [
                a.name for a in node.names if a.name.startswith("_") and f"{node.module}.{a.name}" not in MODULES
            ]
            assert not private, f"{node.module}: {private}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_heavy_packages_have_one_door(path):
    for package in {name.split(".")[0] for name in imports(path, at_run_time=True)} & set(ONLY):
        assert name_of(path).startswith(ONLY[package])


def test_only_the_front_imports_facades():
    for path in FILES:
        inside = {f for f in FACADES if module_of(path).startswith(f.rpartition(".")[0])}
        if room_of(path) not in FRONT:
            assert not (FACADES - inside) & imports(path), path
            assert not {"plotting", "explorer", "cli"} & rooms_imported(path), path


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


# ---- how big, how typed, how explained


def functions(path: Path) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(TREES[path]) if isinstance(node, ast.FunctionDef)]


def public_functions(path: Path) -> list[ast.FunctionDef]:
    """Functions and methods, but none defined inside another."""
    bodies = [TREES[path].body]
    bodies += [node.body for node in bodies[0] if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    found = [f for body in bodies for f in body if isinstance(f, ast.FunctionDef) and not f.name.startswith("_")]
    return [f for f in found if "overload" not in map(ast.unparse, f.decorator_list)]


def body_length(node: ast.FunctionDef) -> int:
    body = node.body
    if ast.get_docstring(node, clean=False) is not None:
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def docstring_lines(tree: ast.Module) -> int:
    count = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            count += node.body[0].end_lineno - node.body[0].lineno + 1
    return count


def comments(text: str) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    said = [t for t in tokens if t.type == tokenize.COMMENT and not re.match(r"# (noqa|type:|fmt:)", t.string)]
    return len({t.start[0] for t in said})


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
        if node.name != "set_params":  # scikit-learn's name and signature
            assert node.args.kwarg is None, f"{node.name} takes **{node.args.kwarg.arg}"
        for argument in (*node.args.args, *node.args.kwonlyargs):
            untyped = argument.annotation is not None and ast.unparse(argument.annotation) == "Any"
            assert not (argument.arg in ("self", "cls") and untyped), node.name


def test_types_are_said():
    """`Any` switches the checker off: at most 15 in 1,000 lines."""
    used = sum(isinstance(node, ast.Name) and node.id == "Any" for tree in TREES.values() for node in ast.walk(tree))
    lines = sum(path.read_text().count("\n") for path in FILES)
    assert used <= 15 * lines / 1000


def test_half_of_the_public_functions_show_a_number():
    found = [">>>" in (ast.get_docstring(f) or "") for path in FILES for f in public_functions(path)]
    assert sum(found) >= len(found) / 2


def test_comments_say_why():
    """At least four in a hundred lines of code; docstrings, which say what, are not counted among them."""
    texts = {path: path.read_text() for path in FILES}
    code = sum(sum(bool(line.strip()) for line in t.splitlines()) - docstring_lines(TREES[p]) for p, t in texts.items())
    assert sum(map(comments, texts.values())) >= 0.04 * code


def test_no_facade_is_put_together_of_mixins():
    for facade in (manifold.ManifoldSearch, manifold.RegionalSearch, manifold.LabelPropagation, manifold.Explorer):
        ours = [base for base in facade.__mro__[1:] if base.__module__.startswith("manifold")]
        assert len(ours) <= 1, f"{facade.__name__} inherits from {ours}"


# ---- what people see


def test_the_public_list_is_short_and_true():
    modules = {name for name in manifold.__all__ if inspect.ismodule(getattr(manifold, name))}
    assert len(set(manifold.__all__) - modules) <= 25  # names to learn; a module is a place to look for more
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} | {p.stem for p in PACKAGE.glob("[a-z]*.py")}
    assert modules == rooms - {"cli", "site"}  # every room is a name; these two are commands
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
    trees = {name: TREES[PACKAGE / "backends" / f"{name}.py"] for name in ("_base", "_scipy", "_cupy", "_sweeps")}

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


# ---- where to look


def test_the_plan_draws_every_file():
    plan = (PACKAGE / "ARCHITECTURE.md").read_text()
    table = [line for line in plan.splitlines() if line.startswith("| ")]
    words = set(re.findall(r"`(\w+)(?:\.py)?`", "\n".join(table)))
    missing = [name_of(p) for p in FILES if p.name not in ("__init__.py", "__main__.py") and p.stem not in words]
    assert not missing


def test_every_file_has_its_tests_in_the_folder_of_its_room():
    """`tests/README.md` has rows of files and of the tests that look at them; no file and no test is left out."""
    text = (ROOT / "tests" / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)/` \| (.*) \| (.*) \|$", text, re.MULTILINE)
    named = {room: set() for room, _, _ in rows} | {"house": set()}
    tested = set()
    for room, files, tests in rows:
        named[room] |= set(re.findall(r"`(\w+)`", files))
        found = re.findall(r"`(test_\w+)`", tests)
        assert found, (room, files)
        tested |= {f"{room}/{test}.py" for test in found}
    there = {room: set() for room in named}
    for path in FILES:
        room = room_of(path) if path.parent != PACKAGE or (ROOT / "tests" / path.stem).is_dir() else "house"
        if path.name not in ("__init__.py", "__main__.py"):
            there[room].add(path.stem)
    rest = {room for room, files, _ in rows if "`*`" in files}  # a row for all files that no other row names
    assert {room: there[room] - named[room] for room in there.keys() - rest if there[room] - named[room]} == {}
    assert {room: named[room] - there[room] for room in there if named[room] - there[room]} == {}
    assert tested == {str(p.relative_to(ROOT / "tests")) for p in (ROOT / "tests").rglob("test_*.py")}


def test_no_secrets_of_the_workshop():
    here = [p for folder in ("tests", "bench") for p in (ROOT / folder).rglob("*.py")]
    for path in [*FILES, *ROOT.glob("*.md"), *here]:
        text = path.read_text()
        assert "/wor" + "k/" not in text, path
        assert "TO" + "DO" not in text, path
