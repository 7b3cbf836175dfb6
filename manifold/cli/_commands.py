"""The `manifold` command: arguments in, a text (or, with --json, one JSON object) on stdout, an exit code out.

Exit codes: 0 done, 1 the work failed, 2 the command or its input is wrong. Each command returns its facts and the
same facts as a text; `main` prints one of the two, and turns errors and warnings into one line each on stderr.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from manifold.cli._parser import make_parser
from manifold.cli._texts import one_line
from manifold.errors import BackendError, ConvergenceError, ManifoldWarning

if TYPE_CHECKING:  # the rest is imported by the commands, so that --help and usage errors are quick
    from manifold._progress import Progress
    from manifold._typing import Facts

    Answer = tuple[Facts, str]

_BAD_INPUT = (ValueError, TypeError, ImportError, FileNotFoundError, PermissionError, BackendError)
_FAILED = (MemoryError, OSError, ConvergenceError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `argv` defaults to the arguments of the process.

    Examples
    --------
    >>> main(["search", "--features", "absent.npy", "--queries", "q.npy", "--output", "r.csv"])
    2
    """
    args = _parser().parse_args(argv)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ManifoldWarning)
        try:
            facts, text = args.command(args)
            code = 0
        except KeyboardInterrupt:
            code, message = 1, "interrupted: no output was written"
        except (*_BAD_INPUT, *_FAILED) as error:
            code = 2 if isinstance(error, _BAD_INPUT) else 1
            message = str(error) or type(error).__name__
    notes = list(dict.fromkeys(one_line(str(warning.message)) for warning in caught))
    for note in notes:
        print(f"manifold: warning: {note}", file=sys.stderr)
    if code:
        print(f"manifold: error: {one_line(message)}", file=sys.stderr)
        return code
    if args.json:
        from manifold.cli._written import to_json

        text = to_json({**facts, "warnings": notes}, indent=2)
    try:
        print(text, flush=True)
    except BrokenPipeError:  # whoever reads has seen enough: what is left goes nowhere, also at the end of the process
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    commands = (demo, fit, search, rerank, sync, propagate, mine, evaluate, info, completion)
    return make_parser({command.__name__: command for command in commands})


def demo(args: argparse.Namespace) -> Answer:
    """Hold 100 digits out, search for them by nearest neighbours and along the manifold, draw one of them."""
    from manifold.cli import _demo

    return _demo.run(args)


def fit(args: argparse.Namespace) -> Answer:
    """Make a search of the points of a file, and save it."""
    from manifold.cli import _fit

    return _fit.run(args, _progress)


def search(args: argparse.Namespace) -> Answer:
    """Rank the points of a file, or of a saved search, for the queries of another."""
    from manifold.cli import _search

    return _search.run(args, _progress)


def rerank(args: argparse.Namespace) -> Answer:
    """Put lists that another search found in a better order, by a saved search."""
    from manifold.cli import _rerank

    return _rerank.run(args)


def sync(args: argparse.Namespace) -> Answer:
    """Bring a saved search in step with the vector store that it was made of."""
    from manifold.cli import _sync

    return _sync.run(args)


def propagate(args: argparse.Namespace) -> Answer:
    """Label all points of a file from a few labels."""
    from manifold.cli import _propagate

    return _propagate.run(args, _progress)


def mine(args: argparse.Namespace) -> Answer:
    """Mine hard negatives of queries with a known positive each, safe against false ones."""
    from manifold.cli import _mine

    return _mine.run(args, _progress)


def evaluate(args: argparse.Namespace) -> Answer:
    """Measure nearest neighbours and diffusion: on real sets, or your features by the protocol of a benchmark."""
    from manifold.cli import _evaluate, _protocol

    if args.protocol is not None:
        if args.names or args.all:
            raise ValueError("--protocol evaluates features of your own: leave NAME and --all out")
        return _protocol.evaluate(args, _progress)
    _protocol.refuse_options(args)
    return _evaluate.evaluate(_evaluate.NAMES if args.all else args.names, _progress, per_query=args.per_query)


def info(args: argparse.Namespace) -> Answer:
    """Say what is installed here, and what a GPU would still need."""
    from manifold.cli import _info

    return _info.run()


def completion(args: argparse.Namespace) -> Answer:
    """Say how a shell completes all this."""
    from manifold.cli import _completion

    return _completion.run(args, _parser())


def _progress(label: str) -> Progress | None:
    """Return a callback that keeps one line of progress on stderr, or None where no one is looking."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        end = "\r\x1b[K" if done >= total else ""  # the line is wiped when it is done
        print(f"\r{label} {done:,}/{total:,} ({done / max(total, 1):.0%}) {end}", end="", file=sys.stderr, flush=True)

    return show
