"""Warnings and errors of the package; each message names the argument, the value met and the cure."""

from __future__ import annotations

import sys
import warnings
from typing import ClassVar


class _GuidedError(Exception):
    """An error that the guide has a part on; a traceback ends with where."""

    guide: ClassVar[str] = ""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.add_note(f"see {self.guide}")


class ManifoldWarning(UserWarning):
    """Something was handled, not ignored: the message says what, how often, and what to do about it.

    Reference: guide *notation*, "How the parts meet".
    """


class ConvergenceWarning(ManifoldWarning):
    """At least one column of a solve did not reach the tolerance that was asked for.

    Reference: guide *solvers*, "It did not converge".
    """

    guide: ClassVar[str] = "manifold/guide/solvers.md, 'It did not converge'"


class ConvergenceError(_GuidedError, RuntimeError):
    """Raised instead of `ConvergenceWarning` when ``on_failure="raise"``.

    Reference: guide *solvers*, "It did not converge".
    """

    guide = ConvergenceWarning.guide


class ManifoldDeprecationWarning(FutureWarning):
    """A name that will go in the next version was used: the message says what to write instead.

    Reference: Semantic versioning (2.0.0).
    """


class NotFittedError(ValueError, AttributeError):
    """A fit is needed first; the message says of what.

    Reference: Buitinck et al. (2013).
    """


class BackendError(_GuidedError, RuntimeError):
    """The array backend asked for cannot be used here; the message names the missing piece.

    Reference: guide *solvers*, "No GPU".
    """

    guide = "manifold/guide/solvers.md, 'No GPU'"


class MemoryBudgetError(MemoryError, _GuidedError):  # in this order its `__new__`, which picklers call, is its own
    """A forecast exceeds the memory that is available; raised before anything is allocated.

    Reference: guide *scale*, "It does not fit".
    """

    guide = "manifold/guide/scale.md, 'It does not fit'"
    __init__ = _GuidedError.__init__


class WorkerLostError(_GuidedError, RuntimeError):
    """A process of a cluster ended, or did not answer in time; the message names it and how to go on.

    Reference: guide *cluster*, "A worker is lost".

    Attributes
    ----------
    can_go_on : bool
        Whether the cluster is there still, so that what is asked again may be answered.
    """

    guide = "manifold/guide/cluster.md, 'A worker is lost'"

    def __init__(self, message: str, can_go_on: bool = True) -> None:
        super().__init__(message)
        self.can_go_on = can_go_on


class DatasetNotFoundError(FileNotFoundError):
    """A data set is not on this machine; the message names its source and the folder looked in.

    Reference: guide *notation*, "How the parts meet".
    """


class CorruptFileError(_GuidedError, ValueError):
    """A saved file is damaged, hostile, or not what was asked for; the message names the file and the array.

    Reference: guide *scale*, "A save is refused".
    """

    guide = "manifold/guide/scale.md, 'A save is refused'"


def warn(message: str, category: type[Warning] = ManifoldWarning) -> None:
    """Warn at the first line outside this package, however deep the call that found the reason.

    Reference: guide *notation*, "How the parts meet".
    """
    level, frame = 2, sys._getframe(1)
    inside = {__package__, "numpy"}  # `np.errstate` stands between a function and its caller
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in inside:
        level, frame = level + 1, frame.f_back
    guide = getattr(category, "guide", "")
    warnings.warn(f"{message} (see {guide})" if guide else message, category, stacklevel=level)
