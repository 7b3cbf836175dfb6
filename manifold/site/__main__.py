"""``python -m manifold.site OUT``: build the documentation into a folder, and check its links."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from manifold.site import broken_links, build


def main(arguments: list[str] | None = None) -> int:
    """Build the pages, then follow every link within them; return 0 if all arrive."""
    parser = argparse.ArgumentParser(prog="python -m manifold.site", description=__doc__)
    parser.add_argument("out", type=Path, help="folder that the pages are written to")
    parser.add_argument("--notebooks", type=Path, help="folder of the notebooks; by default that of the checkout")
    options = parser.parse_args(arguments)
    first = build(options.out, notebooks=options.notebooks)
    broken = broken_links(options.out)
    for line in broken:
        sys.stderr.write(f"broken link: {line}\n")
    sys.stdout.write(f"{first}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
