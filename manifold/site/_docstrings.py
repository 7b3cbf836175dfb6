"""Docstrings as Sphinx reads them: equations stand indented in ours, and bars are absolute values."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_PAGE = r'guide \*(\w+)\*(?:, "([^"]+)")?'
_PROSE = (None, "Notes", "Examples")  # sections in which an indent is an equation, not the text of a parameter


def setup(application: Sphinx) -> dict[str, bool]:
    """Register this file as an extension of Sphinx: before the sections are taken apart, and after."""
    properties: dict[str, list[str]] = {}

    def before(_app: object, what: str, name: str, _value: object, _options: object, lines: list[str]) -> None:
        of_sklearn = name.endswith(("_request", ".get_metadata_routing"))  # generated, with references to its own pages
        lines[:] = [] if of_sklearn else as_restructured(lines)
        if what == "property":
            properties[name] = list(lines)

    def after(_app: object, what: str, name: str, _value: object, _options: object, lines: list[str]) -> None:
        if what == "property":  # what stands before a colon would be taken for its type
            lines[:] = properties.pop(name)

    application.connect("autodoc-process-docstring", before, priority=100)
    application.connect("autodoc-process-docstring", after, priority=900)
    return {"parallel_read_safe": True}


def references(docstring: str) -> list[tuple[str, str, str]]:
    """Return what the paragraph "Reference: ..." names: works, or else pages of the guide and headings in them.

    >>> references('A.\\n\\nReference: Katz (1953), section 2; guide *judge*, "What the figures are".')
    [('Katz (1953)', '', ''), ('', 'judge', 'What the figures are')]
    """
    said = re.search(r"^Reference: (.*?)\.?$", _joined(docstring.splitlines()), re.MULTILINE)
    found = []
    for item in said[1].split("; ") if said else ():
        page = re.match(_PAGE, item)
        work = re.match(r".+?\)(?=,|:|$)", item)
        found.append(("", page[1], page[2] or "") if page else (work[0] if work else item, "", ""))
    return found


def label(page: str, heading: str) -> str:
    """Return what a heading of the guide is called in links to it.

    >>> label("references", "Siméoni et al. (2018)")
    'references-simeoni-et-al-2018'
    """
    plain = unicodedata.normalize("NFKD", f"{page} {heading}").encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def with_labels(page: str, text: str) -> str:
    """Return a page of the guide whose headings names can be linked from; comments of its code are none."""
    parts = re.split(r"(```.*?```)", text, flags=re.DOTALL)
    heading = re.compile(r"^##+ (.*)$", re.MULTILINE)
    parts[::2] = (heading.sub(lambda found: f"({label(page, found[1])})=\n{found[0]}", part) for part in parts[::2])
    return "".join(parts)


def as_restructured(lines: list[str]) -> list[str]:
    """Return the lines with indented equations as literal blocks, and bars and stars of mathematics kept as they are.

    >>> as_restructured(["Return it.", "", "    F = h(S) Y", "", "At most |r| / (1 - a)."])
    ['Return it.', '', '.. code-block:: text', '', '    F = h(S) Y', '', 'At most \\\\|r\\\\| / (1 - a).']
    """
    lines = _joined(lines).splitlines()
    made: list[str] = []
    section, literal = None, False
    for i, line in enumerate(lines):
        if i + 1 < len(lines) and re.fullmatch(r"\s*-{3,}\s*", lines[i + 1]):
            section = line.strip()
        indented = line.startswith("    ") and bool(line.strip())
        if literal and line.strip() and not indented:
            literal = False
            if made[-1].strip():
                made.append("")
        starts = indented and section in _PROSE and not (made and made[-1].strip()) and ">>>" not in line
        if starts and not literal:
            made += [".. code-block:: text", ""]
            literal = True
        said = _linked(line) if line.startswith("Reference: ") else _escaped(line)
        made.append(line if literal or line.lstrip().startswith(">>>") else said)
    return made


def _escaped(line: str) -> str:
    """Escape the bars and stars that stand outside of backticks."""
    parts = re.split(r"(``.*?``|`[^`]*`)", line)
    return "".join(part if part.startswith("`") else re.sub(r"([|*])", r"\\\1", part) for part in parts)


def _joined(lines: list[str]) -> str:
    """Return the lines as a text in which the paragraph of references is one line."""
    paragraph = re.compile(r"^Reference: .+(?:\n.+)*", re.MULTILINE)
    return paragraph.sub(lambda found: " ".join(found[0].split()), "\n".join(lines))


def _linked(line: str) -> str:
    """Return the line of references with links to the list of works and to the guide."""
    for work, page, heading in references(line):
        said, link = work, f":ref:`{work} <{label('references', work)}>`"
        if heading:
            said, link = f'guide *{page}*, "{heading}"', f":ref:`{heading} <{label(page, heading)}>`"
        elif page:
            said, link = f"guide *{page}*", f":doc:`/guide/{page}`"
        line = line.replace(said, link)
    return line
