"""Every public name says what it follows: a paper, a standard, or a page of the guide, by the names of one list."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import manifold
from manifold.site import public_names
from manifold.site._docstrings import references

GUIDE = Path(manifold.__file__).parent / "guide"
PAGES = {page.stem: page.read_text() for page in GUIDE.glob("*.md")}
LISTED = re.findall(r"^### (.+)$", PAGES["references"], re.MULTILINE)
NAMES = {
    f"{room}.{name}": value
    for room, names in public_names().items()
    for name, value in names.items()
    if (inspect.isclass(value) or inspect.isroutine(value)) and value.__module__.startswith("manifold")
}


def headings(page: str) -> set[str]:
    return set(re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL), re.MULTILINE))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_says_what_it_follows(name):
    found = references(inspect.getdoc(NAMES[name]) or "")
    assert found, f"{name}: no paragraph 'Reference: ...'"
    for work, page, heading in found:
        assert work in LISTED if work else page in PAGES, f"{name}: {work or page} is not listed"
        assert not heading or heading in headings(page), f"{name}: {page} has no part {heading!r}"


def test_what_is_listed_is_followed_somewhere():
    """No entry that nothing cites, and none twice."""
    said = " ".join(" ".join(path.read_text().split()) for path in GUIDE.parent.rglob("*.py"))
    assert [work for work in LISTED if work not in said] == []
    assert len(set(LISTED)) == len(LISTED) > 80


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A.\n\nReference: Katz (1953).", [("Katz (1953)", "", "")]),
        (
            'A.\n\nReference: Sakai (2006), section 3; guide *judge*, "What the\nfigures are".\n\nNotes',
            [("Sakai (2006)", "", ""), ("", "judge", "What the figures are")],
        ),
        ("A.\n\nReference: Hull, 1993.", [("Hull, 1993", "", "")]),
        ("A, after Katz (1953).", []),
    ],
)
def test_references_are_read_as_they_are_written(text, found):
    assert references(text) == found
