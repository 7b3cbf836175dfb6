"""The documentation as pages: guides, notebooks, and every public name, built without a network.

    python -m manifold.site OUT

Sphinx makes the pages (``pip install 'manifold-search[docs]'``); what is written stands where it belongs: guides in
``manifold/guide``, docstrings beside the code, notebooks with their stored outputs. A warning is an error.
"""

from manifold.site._build import build
from manifold.site._links import broken_links
from manifold.site._pages import public_names

__all__ = ["broken_links", "build", "public_names"]
