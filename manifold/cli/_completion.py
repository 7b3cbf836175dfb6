"""`manifold completion`: the name of a shell in, the script that completes commands, options and names in it out."""

from __future__ import annotations

import argparse

from manifold._typing import Facts


def run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> tuple[Facts, str]:
    """Return the script of a shell for the commands of a parser."""
    try:
        import shtab
    except ImportError as error:
        raise ImportError("completion is written by shtab: pip install 'manifold-search[completion]'") from error
    script = str(shtab.complete(parser, args.shell))
    return {"shell": args.shell, "script": script}, script
