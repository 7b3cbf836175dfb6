"""The documentation builds without a warning, every link in it arrives, and every public name has its place."""

from __future__ import annotations

import inspect
import re
from importlib import import_module

import pytest

import manifold
from manifold.site import broken_links
from manifold.site.__main__ import main
from manifold.site._build import gather, run_sphinx

pytest.importorskip("sphinx", reason="pages are built by Sphinx: pip install 'manifold-search[docs]'")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    assert main([str(out)]) == 0
    return out


def test_every_link_arrives(pages):
    assert len(list(pages.rglob("*.html"))) > 30
    assert broken_links(pages) == []


def test_a_link_to_a_missing_page_or_heading_is_found(tmp_path):
    (tmp_path / "b.html").write_text('<h1 id="there">B</h1>')
    links = ["b.html", "b.html#there", "b.html#gone", "c.html", "#nowhere", "https://example.org/x", "mailto:a@b"]
    (tmp_path / "a.html").write_text("".join(f'<a href="{link}">x</a>' for link in links))
    assert broken_links(tmp_path) == [f"a.html -> {link}" for link in ("b.html#gone", "c.html", "#nowhere")]


def public_names():
    """Yield where each public name has its entry, and what it is; a room does not list again what is at the top."""
    top = {name: getattr(manifold, name) for name in manifold.__all__}
    top = {name: value for name, value in top.items() if not inspect.ismodule(value)}
    yield from ((f"manifold.{name}", value) for name, value in top.items())
    for room in set(manifold.__all__) - set(top):
        module = import_module(f"manifold.{room}")
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if not inspect.ismodule(value) and all(value is not known for known in top.values()):
                yield f"manifold.{room}.{name}", value


def test_every_public_name_has_a_place(pages):
    anchors = set(re.findall(r'id="(manifold[\w.]*)"', "".join(p.read_text() for p in (pages / "api").glob("*.html"))))
    assert {name for name, _ in public_names()} - anchors == set()


def test_every_public_name_has_an_example():
    def examples(value):
        members = vars(value).values() if inspect.isclass(value) else ()
        return any(">>>" in (getattr(part, "__doc__", None) or "") for part in (value, *members))

    callables = [(name, value) for name, value in public_names() if inspect.isclass(value) or inspect.isroutine(value)]
    callables = [(name, value) for name, value in callables if value.__module__ != "typing"]  # names of types
    made = {"manifold.neighbors.Entrance"}  # by a search, for which `Cells` has the example
    made |= {"manifold.distributed.local", "manifold.distributed.check"}  # start processes: the guide's are executed
    errors = made | {name for name, value in callables if inspect.isclass(value) and issubclass(value, BaseException)}
    assert [name for name, value in callables if not examples(value) and name not in errors] == []


def test_equations_stay_as_they_were_written(pages):
    page = (pages / "api" / "manifold.html").read_text()
    assert re.search(r"scores = h\(S\) Y / degree\^p", re.sub(r"<[^>]*>", "", page))
    assert "system-message" not in page


def test_notebooks_show_their_outputs(pages):
    page = (pages / "notebooks" / "01_quickstart.html").read_text()
    assert "cell_output" in page
    assert "<img" in page


def test_what_does_not_build_is_said(tmp_path):
    (tmp_path / "index.md").write_text("# A\n[gone](nowhere.md)")
    with pytest.raises(RuntimeError, match=r"nowhere\.md"):
        run_sphinx(tmp_path, tmp_path / "out")


def test_an_installed_package_has_guides_and_names_without_the_checkout(tmp_path):
    gather(tmp_path, tmp_path / "none")
    assert "notebooks" not in (tmp_path / "index.md").read_text()
    assert all("../notebooks" not in page.read_text() for page in (tmp_path / "guide").glob("*.md"))
    assert (tmp_path / "api" / "solvers.rst").is_file()
