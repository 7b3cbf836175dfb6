"""Docstrings as Sphinx reads them: equations stand indented in ours, and bars are absolute values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

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


def as_restructured(lines: list[str]) -> list[str]:
    """Return the lines with indented equations as literal blocks, and bars and stars of mathematics kept as they are.

    >>> as_restructured(["Return it.", "", "    F = h(S) Y", "", "At most |r| / (1 - a)."])
    ['Return it.', '', '.. code-block:: text', '', '    F = h(S) Y', '', 'At most \\\\|r\\\\| / (1 - a).']
    """
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
        made.append(line if literal or line.lstrip().startswith(">>>") else _escaped(line))
    return made


def _escaped(line: str) -> str:
    """Escape the bars and stars that stand outside of backticks."""
    parts = re.split(r"(``.*?``|`[^`]*`)", line)
    return "".join(part if part.startswith("`") else re.sub(r"([|*])", r"\\\1", part) for part in parts)
