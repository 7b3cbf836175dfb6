"""``python -m manifold``: the same as the `manifold` command."""

import sys

from manifold.cli import main

sys.exit(main())
