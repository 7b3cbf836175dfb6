"""A folder of sources, gathered from the package, and Sphinx run over it."""

from __future__ import annotations

import re
import shutil
import tempfile
import warnings
from io import StringIO
from pathlib import Path

import manifold
from manifold.site._docstrings import with_labels
from manifold.site._pages import api_pages, glossary_page, index_page

_PACKAGE = Path(manifold.__file__).parent
_SETTINGS: dict[str, object] = {
    "project": "manifold",
    "version": manifold.__version__,
    "release": manifold.__version__,
    "extensions": "sphinx.ext.autodoc,sphinx.ext.napoleon,sphinx.ext.mathjax,myst_nb,manifold.site._docstrings",
    "html_theme": "furo",
    "html_title": f"manifold {manifold.__version__}",
    "html_show_sourcelink": "0",
    "html_copy_source": "0",
    "default_role": "py:obj",
    "autodoc_typehints": "none",
    "autodoc_member_order": "bysource",
    "napoleon_google_docstring": "0",
    "napoleon_use_ivar": "1",
    "suppress_warnings": "ref.python",  # a parameter may be called as several attributes are: it links to none
    "myst_heading_anchors": "3",
    "nb_execution_mode": "off",  # a notebook shows the outputs that are stored in it
    "nb_merge_streams": "1",
}


def build(out: Path | str, *, notebooks: Path | str | None = None) -> Path:
    """Build the pages of the guides, the notebooks and all public names into a folder.

    Parameters
    ----------
    out : path
        Made if it is missing; pages of an earlier build are written over.
    notebooks : path, optional
        Folder of notebooks; by default the one beside the package, and none where there is no such folder.

    Returns
    -------
    Path
        ``out/index.html``.

    Raises
    ------
    ImportError
        Without the extra ``docs``.
    RuntimeError
        If a docstring, a guide or a notebook makes Sphinx warn; the message is what it said.

    Notes
    -----
    Cost: about half a minute on one core; nothing is executed or fetched.
    """
    out = Path(out)
    folder = Path(notebooks) if notebooks is not None else _PACKAGE.parent / "notebooks"
    with tempfile.TemporaryDirectory() as sources:
        gather(Path(sources), folder)
        run_sphinx(Path(sources), out)
    return out / "index.html"


def run_sphinx(sources: Path, out: Path) -> None:
    """Make pages of a folder of sources; raise RuntimeError with all that Sphinx warned of."""
    try:
        from sphinx.application import Sphinx
        from sphinx.util.console import nocolor
        from sphinx.util.docutils import docutils_namespace, patch_docutils
    except ImportError as error:
        raise ImportError("building the pages needs Sphinx: pip install 'manifold-search[docs]'") from error
    nocolor()
    warned = StringIO()
    with warnings.catch_warnings(), patch_docutils(), docutils_namespace():
        for category in (DeprecationWarning, PendingDeprecationWarning):  # what Sphinx's parts say of one another
            warnings.simplefilter("ignore", category)
        Sphinx(
            srcdir=sources,
            confdir=None,
            outdir=out,
            doctreedir=sources / ".doctrees",
            buildername="html",
            confoverrides=_SETTINGS,
            status=None,
            warning=warned,
        ).build(force_all=True)
    if warned.getvalue():
        raise RuntimeError(f"the pages do not build cleanly:\n{warned.getvalue()}")


def gather(sources: Path, notebooks: Path) -> None:
    """Write what Sphinx reads: an index, guides, notebooks with their pictures, and a page for each room."""
    names = []
    if notebooks.is_dir():
        shutil.copytree(notebooks, sources / "notebooks", ignore=shutil.ignore_patterns(".*"))
        names = sorted(path.stem for path in notebooks.glob("[0-9]*.ipynb"))
    records = _PACKAGE.parent / "bench" / "results" / "README.md"
    if records.is_file():
        (sources / "records.md").write_text(records.read_text(encoding="utf-8"), encoding="utf-8")
    for path in (sources / "notebooks").glob("*.ipynb"):
        text = path.read_text(encoding="utf-8").replace("../manifold/guide/", "../guide/")
        if records.is_file():
            text = text.replace("../bench/results/README.md", "../records.md")
        path.write_text(text, encoding="utf-8")
    guides = sources / "guide"
    guides.mkdir()
    for path in sorted((_PACKAGE / "guide").glob("*.md")):
        text = path.read_text(encoding="utf-8").replace("../../notebooks/", "../notebooks/")
        text = with_labels(path.stem, text if names else _without_notebooks(text))
        (guides / path.name).write_text(text, encoding="utf-8")
    (guides / "glossary.md").write_text(glossary_page(), encoding="utf-8")
    (sources / "api").mkdir()
    pages = api_pages()
    for room, page in pages.items():
        (sources / "api" / f"{room}.rst").write_text(page, encoding="utf-8")
    (sources / "index.md").write_text(index_page(names, list(pages), records=records.is_file()), encoding="utf-8")


def _without_notebooks(text: str) -> str:
    """Leave out the rows of a table that show what an installed package does not have."""
    return re.sub(r"^\|.*\.\./notebooks/.*\n", "", text, flags=re.MULTILINE)
