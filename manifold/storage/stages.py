"""Long work in stages of units: a unit is a pure task, its result a folder of arrays that appears whole.

In: a folder, a fingerprint of the work, and per stage a list of tasks, each a function of what is on disk. Out: the
arrays of every task, at ``folder/<stage>/<i>``. A unit is done where it is there, belongs to this work, and its bytes
have the checksums that they were written with; all others are done, or done again. Who does them -- this process, a
pool, a cluster that sees the folder -- and in what order leaves no trace, and finished units outlive whatever stops it.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from manifold._typing import AnyArray
from manifold.errors import CorruptFileError, warn
from manifold.storage import load_arrays, save_arrays
from manifold.storage._files import writing
from manifold.storage._manifest import MANIFEST
from manifold.storage.checkpoint import note

_LOG = logging.getLogger(__name__)
_KIND = "unit"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Task(Protocol):
    """One unit of work: a small picklable object, such as a frozen dataclass, whose call gives the same arrays always.

    >>> class Squares:
    ...     def __call__(self, folder): return {"x": np.arange(3) ** 2}
    >>> task: Task = Squares()
    """

    def __call__(self, folder: Path) -> Mapping[str, ArrayLike]:
        """Return named arrays, from the task's own fields and from units of earlier stages in the folder alone."""


class Stages:
    """Work that is open: see `open_stages`.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from tempfile import TemporaryDirectory
    >>> @dataclass(frozen=True)
    ... class Range:
    ...     stop: int
    ...     def __call__(self, folder): return {"x": np.arange(self.stop)}
    >>> with TemporaryDirectory() as folder, open_stages(f"{folder}/work", fingerprint="") as stages:
    ...     stages.run("ranges", [Range(2), Range(3)])
    ...     int(stages.arrays("ranges", 1)["x"].sum())
    3
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder, self._fingerprint = folder, fingerprint

    def run(
        self,
        stage: str,
        tasks: Sequence[Task],
        *,
        executor: Executor | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Do those tasks of a stage that are not done, here or on an executor; all are on disk when this returns.

        Parameters
        ----------
        stage : str
            Of a-z, 0-9 and "_".
        tasks : sequence of Task
            All of them, in the same order at every run.
        executor : concurrent.futures.Executor, optional
            Its workers see the folder under the same path. By default tasks run here, one after the other.
        progress : callable(done, total), optional
            Called once for the units that were done already, and after each one that is.

        Raises
        ------
        Exception
            The first that a task raised; tasks that have not begun are cancelled, and finished ones stay.

        Notes
        -----
        Cost: that of the tasks, and a checksum of all that was there before.
        """
        _check_name(stage)
        if self._dropped(stage).exists():  # what was made of it is on disk
            shutil.rmtree(self.folder / stage, ignore_errors=True)
            return
        (self.folder / stage).mkdir(exist_ok=True)
        todo = [i for i in range(len(tasks)) if not self._is_done(stage, i, of=len(tasks))]
        done = len(tasks) - len(todo)
        if progress is not None and done:
            progress(done, len(tasks))
        units = [_Unit(self.folder, stage, i, tasks[i], self._mark(stage, i, of=len(tasks))) for i in todo]
        for _ in map(_perform, units) if executor is None else _in_any_order(executor, units):
            done += 1
            if progress is not None:
                progress(done, len(tasks))

    def arrays(self, stage: str, unit: int) -> Mapping[str, AnyArray]:
        """Return the arrays of a finished unit, mapped from their files, read-only.

        Raises
        ------
        CorruptFileError, FileNotFoundError
            Where it is not whole, or not there.
        """
        return unit_arrays(self.folder, stage, unit)

    def drop(self, stage: str) -> None:
        """Delete what a stage made, once nobody needs it any more: from now on it counts as done."""
        _check_name(stage)
        save_arrays(self._dropped(stage), kind="dropped", arrays={}, parameters={"stage": stage})
        shutil.rmtree(self.folder / stage, ignore_errors=True)

    def _dropped(self, stage: str) -> Path:
        return self.folder / f"{stage}.dropped"

    def _mark(self, stage: str, unit: int, *, of: int) -> dict[str, object]:
        return {"fingerprint": self._fingerprint, "stage": stage, "unit": unit, "of": of}

    def _is_done(self, stage: str, unit: int, *, of: int) -> bool:
        """Say whether a unit is whole and of this work; remove, with a warning, one that is there and is not."""
        folder = self.folder / stage / str(unit)
        if not os.path.lexists(folder / MANIFEST):  # never begun, or broken off: a save sweeps what that left
            return False
        try:
            mark = load_arrays(folder, kind=_KIND).parameters
            reason = "" if mark == self._mark(stage, unit, of=of) else "it belongs to another build, or another unit"
        except (CorruptFileError, FileNotFoundError) as error:
            reason = str(error)
        if reason:
            warn(f"unit {unit} of stage {stage!r} in {self.folder} is done again: {reason}")
            shutil.rmtree(folder)
        return not reason


@contextmanager
def open_stages(folder: str | os.PathLike[str], *, fingerprint: str) -> Iterator[Stages]:
    """Open the folder of a piece of work in stages, new or as far as it came.

    Reference: guide *scale*, "Keep what was expensive".

    Parameters
    ----------
    folder : path
        Made if absent, with its parents, and held until the end: another process that opens it waits.
    fingerprint : str
        Of everything that the results depend on, such as `storage.checkpoint.fingerprint` makes.

    Raises
    ------
    ValueError
        For a folder that holds other work, or something else; a CorruptFileError where its note is damaged.
    OSError
        As the system has it; finished units stay.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, open_stages(f"{folder}/work", fingerprint="") as stages:
    ...     stages.run("none", [])
    """
    folder = Path(folder).resolve()  # workers may stand elsewhere
    folder.parent.mkdir(parents=True, exist_ok=True)
    with writing(folder):
        note(folder, fingerprint)
        yield Stages(folder, fingerprint)


def unit_arrays(folder: str | os.PathLike[str], stage: str, unit: int) -> Mapping[str, AnyArray]:
    """Return the arrays of a finished unit, mapped: what tasks of a later stage begin with.

    Their bytes were compared with their checksums when the stage that made them ran; here only sizes and headers are.

    Raises
    ------
    CorruptFileError, FileNotFoundError
        Where it is not whole, or not there.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = save_arrays(f"{folder}/0", kind="unit", arrays={"x": np.arange(3)}, parameters={})
    ...     unit_arrays(folder, ".", 0)["x"].tolist()
    [0, 1, 2]
    """
    return load_arrays(Path(folder) / stage / str(unit), kind=_KIND, verify="lazy").arrays


@dataclass(frozen=True)
class _Unit:
    folder: Path
    stage: str
    number: int
    task: Task
    mark: dict[str, object]

    @property
    def __name__(self) -> str:  # what a dashboard calls it
        return self.stage

    def __call__(self) -> None:
        _perform(self)


def _perform(unit: _Unit) -> None:
    start = time.process_time()
    made = {name: np.asarray(array) for name, array in unit.task(unit.folder).items()}
    save_arrays(unit.folder / unit.stage / str(unit.number), kind=_KIND, arrays=made, parameters=unit.mark)
    _LOG.info("stage %s, unit %d: %.2f CPU s", unit.stage, unit.number, time.process_time() - start)


def _in_any_order(executor: Executor, units: Sequence[_Unit]) -> Iterator[None]:
    futures = [executor.submit(unit) for unit in units]
    try:
        for future in as_completed(futures):
            yield future.result()
    finally:  # after an error, or an interruption, nothing that has not begun begins
        for future in futures:
            future.cancel()


def _check_name(stage: str) -> None:
    if not _NAME.fullmatch(stage):
        raise ValueError(f"stage must be of a-z, 0-9 and '_', got {stage!r}")
