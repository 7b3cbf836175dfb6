"""What is looked at before a cluster gets work: who reaches it, what its workers run, what they see of a folder."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from os import PathLike

from manifold.backends import Array
from manifold.errors import warn
from manifold.storage import load_arrays

_LOOPBACK = ("127.", "[::1]", "localhost")
_LIBRARIES = ("numpy", "scipy", "numba")  # whose versions decide about bits


def check_addresses(addresses: Sequence[str], *, insecure: bool) -> None:
    """Raise ValueError for an address that others reach without a certificate: whoever does, runs code there.

    >>> check_addresses(["tcp://127.0.0.1:8786", "tls://10.0.0.7:41234"], insecure=False)
    >>> check_addresses(["tcp://10.0.0.7:8786"], insecure=True)
    """
    for address in () if insecure else addresses:
        protocol, _, place = address.partition("://")
        if protocol not in ("tls", "wss", "inproc") and not place.startswith(_LOOPBACK):
            raise ValueError(
                f"{address} is neither of this machine nor TLS, and whoever reaches it runs code there: start the "
                "cluster with a distributed.Security, or pass insecure=True where its network is closed"
            )


def check_workers(run: Callable[..., dict[str, Array]], path: str | PathLike[str] | None) -> None:
    """Raise ValueError where a worker has another version of the package, or another folder; warn of other bits.

    `run` calls a function on all workers, and returns what they answer by address.
    """
    folder = None if path is None else os.fspath(path)
    here, there = facts_here(folder), run(facts_here, folder)
    for worker, facts in there.items():
        if facts["manifold"] != here["manifold"]:
            raise ValueError(
                f"worker {worker} has manifold {facts['manifold']}, here is {here['manifold']}: install one"
            )
        if facts["digest"] != here["digest"]:
            raise ValueError(
                f"worker {worker} finds {facts['digest'] or 'nothing'} at {folder}, here is {here['digest']}"
            )
    kinds = {tuple(facts[name] for name in (*_LIBRARIES, "processor")) for facts in (here, *there.values())}
    if len(kinds) > 1:
        names = f"{', '.join(_LIBRARIES)} or processor"
        warn(f"processes differ in {names}: answers agree within bounds, not to the bit ({sorted(kinds)})")


def facts_here(folder: str | None) -> dict[str, str]:
    """Return versions, the processor, and the digest of a saved folder, as this process sees them.

    >>> facts_here(None)["digest"]
    ''
    """
    facts = {name: version(name) for name in _LIBRARIES}
    facts |= {"manifold": version("manifold-search"), "processor": _processor(), "digest": ""}
    if folder is not None:
        try:
            facts["digest"] = load_arrays(folder, verify="lazy").digest
        except (OSError, ValueError):
            facts["digest"] = ""
    return facts


def _processor() -> str:
    """Return the model of the processor: a fused multiply-add rounds once, two operations twice."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
