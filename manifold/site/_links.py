"""Links within built pages: does each lead to a file that is there, and to a heading that it has?"""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """The anchors of a page, and where its links lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value and tag in ("a", "img", "script", "link"):
                self.links.append(value)


def broken_links(folder: Path | str) -> list[str]:
    """Return the links of a folder's pages that lead nowhere, as ``page -> link``; other sites are not asked.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.html").write_text('<h1 id="here">A</h1> <a href="#here">1</a> <a href="b.html">2</a>')
    >>> broken_links(folder)
    ['a.html -> b.html']
    """
    root = Path(folder)
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in sorted(root.rglob("*.html"))}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            anchors = pages[root / target.relative_to(root.resolve())].anchors if _is_page(target, root) else None
            lost = parts.fragment and anchors is not None and unquote(parts.fragment) not in anchors
            if lost or not target.exists():
                broken.append(f"{path.relative_to(root)} -> {link}")
    return broken


def _is_page(target: Path, root: Path) -> bool:
    return target.suffix == ".html" and target.exists() and target.is_relative_to(root.resolve())
