"""The guide runs as printed; what points into it arrives; its words are those of the code."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import manifold as mf
from manifold import errors
from manifold.cli import main
from manifold.datasets import write_run
from manifold.glossary import TERMS

PACKAGE = Path(mf.__file__).parent
ROOT = PACKAGE.parent
PAGES = sorted((PACKAGE / "guide").glob("*.md"))
TEXTS = [*PAGES, ROOT / "README.md", *sorted((ROOT / ".github").glob("*.md")), ROOT / "bench" / "results" / "README.md"]


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def headings(path: Path) -> dict[str, str]:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    return {slug(title): title for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "references"], ids=lambda page: page.stem)
def test_code_runs_as_printed(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    session: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    assert blocks
    if "import faiss" in blocks[0]:
        pytest.importorskip("faiss", reason="the page takes lists from FAISS: pip install faiss-cpu")
    if "mf.distributed" in blocks[0]:
        pytest.importorskip("distributed", reason="pip install 'manifold-search[distributed]'")
    for block in blocks:
        exec(compile(block, page.name, "exec"), session)
    assert capsys.readouterr().out


COMMANDS = {page: re.findall(r"^manifold .*$", page.read_text(), re.MULTILINE) for page in PAGES}


@pytest.mark.parametrize("page", [page for page in PAGES if COMMANDS[page]], ids=lambda page: page.stem)
def test_commands_run_as_printed(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    X, _ = mf.datasets.digits()
    names, queries = [f"scan-{i}" for i in range(300)], X[300:310].astype(np.float32)
    np.save("X.npy", X[:300])
    np.save("Q.npy", queries)
    Path("names.txt").write_text("".join(f"{name}\n" for name in names))
    parquet.write_table(pa.table({f"f{i}": column for i, column in enumerate(queries.T)}), "Q.parquet")
    write_run("lists.run", [["scan-7", "scan-9"]], [[0.9, 0.8]], queries=["q"])
    if any("lancedb:" in line for line in COMMANDS[page]):
        lancedb = pytest.importorskip("lancedb", reason="pip install 'manifold-search[stores]'")
        lancedb.connect("shop").create_table("items", pa.table({"id": names, "vector": X[:300].tolist()}))
    for line in COMMANDS[page]:
        assert main(shlex.split(line.partition(" # ")[0])[1:]) == 0, line
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_links_arrive(path):
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists() or target == PACKAGE / "guide" / "glossary.md", link
        assert not anchor or target.suffix != ".md" or anchor in headings(target), link


GUIDED = [error for error in vars(errors).values() if getattr(error, "guide", "")]


@pytest.mark.parametrize("error", GUIDED, ids=lambda error: error.__name__)
def test_errors_point_into_the_guide(error):
    page, heading = re.fullmatch(r"manifold/(guide/\w+\.md), '(.*)'", error.guide).groups()
    assert heading in headings(PACKAGE / page).values()
    if issubclass(error, Warning):
        with pytest.warns(error, match=heading):
            errors.warn("something", error)
    else:
        assert error("something").__notes__ == [f"see {error.guide}"]


def test_words_are_explained_once():
    assert len(TERMS) >= 30
    for term in ("seeds", "affinity", "degree", "transfer function", "slack", "certified"):
        assert len(TERMS[term]) > 10
    assert mf.glossary.TERMS is TERMS
    with pytest.raises(TypeError):
        TERMS["slack"] = "something else"


def test_the_program_that_type_checkers_read_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "tests" / "user_program.py"), run_name="__main__")
    assert capsys.readouterr().out.splitlines()[-1] == f"True {mf.__version__}"


def test_versions_are_shown(capsys):
    mf.show_versions()
    shown = capsys.readouterr().out
    assert f"manifold      {mf.__version__}" in shown
    assert "GPU" in shown


def test_choices_are_logged(caplog):
    X, _ = mf.datasets.digits()
    with caplog.at_level("DEBUG", logger="manifold"):
        mf.ManifoldSearch().fit(X[:200])
    said = caplog.text
    assert "by exact: auto" in said
    assert "solver" in said
    assert "of the processor" in said
    assert "MiB" in said
