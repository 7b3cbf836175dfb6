"""Rows 56 to 59: whatever crash, full disk or other writer comes between, a save is an old one or a new one, whole."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from saves import VERSIONS, Dead, break_os, only_the_version_in_use, save, version_of

import manifold as mf
from manifold import storage
from manifold.errors import CorruptFileError
from manifold.storage import _files, _manifest, export_file, import_file, load_arrays, save_arrays
from manifold.storage import checkpoint as _checkpoint


@pytest.mark.parametrize("locks", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_row_56_a_crash_at_every_call_leaves_one_whole_version(monkeypatch, first, locks):
    if not locks:
        monkeypatch.setattr(_files, "fcntl", None)
    outcomes = set()
    for n in range(1, 1000):
        path = Path(f"x{n}")
        if not first:
            save(path, 0)
        with monkeypatch.context() as patch:
            broken = break_os(patch, n)
            with suppress(Dead):
                save(path, 1)
            died = broken.calls >= n
        if first and not (path / "manifest.json").exists():
            with pytest.raises((CorruptFileError, FileNotFoundError)):
                load_arrays(path)
            outcomes.add(None)
        else:
            outcomes.add(version_of(path))
        save(path, 0)
        assert version_of(path) == 0
        if locks:
            assert only_the_version_in_use(path)
        if not died:
            break
    assert n > 18
    assert outcomes == ({None, 1} if first else {0, 1})


def test_row_56_what_a_power_cut_could_undo_is_made_durable_in_order(monkeypatch):
    """No rename before what it publishes is on the disk, no deletion before the rename is."""
    save("x", 0)
    with monkeypatch.context() as patch:
        real_open, paths, dirty, events = os.open, {}, set(), []
        real = {name: getattr(os, name) for name in ("fsync", "write", "replace", "unlink")}

        class Watch:
            def __getattr__(self, name):
                return getattr(os, name)

            def open(self, path, *args):
                descriptor = real_open(path, *args)
                paths[descriptor] = str(path)
                if args[0] & os.O_CREAT:
                    dirty.update((str(path), str(Path(path).parent)))
                return descriptor

            def fsync(self, descriptor):
                dirty.discard(paths[descriptor])
                return real["fsync"](descriptor)

            def replace(self, source, target):
                assert not dirty
                dirty.add(str(Path(target).parent))
                events.append("replace")
                return real["replace"](source, target)

            def unlink(self, path):
                assert not dirty
                events.append("unlink")
                return real["unlink"](path)

        watch = Watch()
        patch.setattr(storage, "os", watch)
        patch.setattr(_files, "os", watch)
        save("x", 1)
    assert events == ["replace", "unlink", "unlink"]


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import saves

versions, kills = [], 0
saves.save("x", 0)
for n in range(1, 1000):
    child = os.fork()
    if child == 0:
        saves.storage.os = saves._files.os = saves.BrokenOS(n, killed=True)
        saves.save("x", 1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    versions.append(saves.version_of("x"))
    saves.save("x", 0)
    assert saves.only_the_version_in_use("x")
    if status == 0: break
    assert os.WTERMSIG(status) == signal.SIGKILL
    kills += 1
sys.stdout.write(f"{kills} {sorted(set(versions))} {versions == sorted(versions)}")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_row_56_sigkill_at_every_call():
    arguments = [sys.executable, "-W", "ignore", "-c", KILLED, str(Path(__file__).parents[1])]
    out = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=60).stdout.split(maxsplit=1)
    assert int(out[0]) > 25
    assert out[1] == "[0, 1] True"  # the old version up to one call, the new one from it on


def test_row_56_a_search_killed_at_any_write_of_its_save_leaves_the_old_one(monkeypatch):
    old, new = (
        mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=3, alpha=alpha).fit(np.eye(9) + 0.1)
        for alpha in (0.5, 0.9)
    )
    alphas = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # the process dies, not the machine
    for n in range(1, 1000):
        old.save("s")
        with monkeypatch.context() as patch:
            broken = break_os(patch, n)
            with suppress(Dead):
                new.save("s")
        alphas.append(mf.load("s").filter.alpha)
        if broken.calls < n:
            break
    assert n > 40
    assert alphas == sorted(alphas)
    assert set(alphas) == {0.5, 0.9}


def built(**how):
    """The bytes of an index of two blocks."""
    ring = np.roll(np.eye(40), 1, axis=0)
    index = mf.DiffusionIndex(n_entries=3).build(mf.graph_from_affinity(ring + ring.T), **how)
    return [np.asarray(part).tobytes() for part in (index.ids, index.values, index.tail, index.error)]


def test_row_56_a_build_that_dies_at_any_call_goes_on_with_the_same_bits(monkeypatch):
    expected = built()
    for n in range(1, 1000):
        with monkeypatch.context() as patch:
            broken = break_os(patch, n)
            patch.setattr(_checkpoint, "os", broken)
            with suppress(Dead):
                built(checkpoint=f"x{n}")
        assert built(checkpoint=f"x{n}") == expected
        if broken.calls < n:
            break
    assert n > 20


def test_row_56_an_export_that_dies_at_any_call_leaves_the_old_one(monkeypatch):
    save("x", 0)
    save("y", 1)
    for n in range(1, 100):
        export_file("x", "sent.zip")
        with monkeypatch.context() as patch:
            broken = break_os(patch, n)
            with suppress(Dead):
                export_file("y", "sent.zip")
        assert version_of(import_file("sent.zip", f"z{n}")) == (broken.calls < n)
        if broken.calls < n:
            break
    assert n > 2


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_row_57_a_fault_at_every_call_leaves_the_target_as_it_was(monkeypatch, first, code):
    for n in range(1, 1000):
        path = Path(f"x{n}")
        if not first:
            save(path, 0)
            before = sorted(os.listdir(path))
        with monkeypatch.context() as patch:
            broken = break_os(patch, n, fault=OSError(code, os.strerror(code)))
            failed = False
            try:
                save(path, 1)
            except OSError as error:
                failed = error.errno
        published = any(name == "replace" for name, _ in broken.trace[: n - 1])
        assert failed in (False, code)
        if failed and not published:
            assert (not path.exists()) if first else (sorted(os.listdir(path)) == before)
        else:
            assert version_of(path) == 1
        if broken.calls < n:
            break
    assert n > 25


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("first", [True, False])
def test_row_57_a_full_disk(monkeypatch, first):
    if not first:
        save("x", 0)
    before = sorted(os.listdir("x")) if not first else None

    class Full:
        def __getattr__(self, name):
            return getattr(os, name)

        def open(self, path, flags, *mode):
            descriptor = os.open(path, flags, *mode)
            if flags & os.O_CREAT:
                full = os.open("/dev/full", os.O_WRONLY)
                os.dup2(full, descriptor)
                os.close(full)
            return descriptor

    monkeypatch.setattr(_files, "os", Full())
    with pytest.raises(OSError, match="No space") as caught:
        save("x", 1)
    assert caught.value.errno == errno.ENOSPC
    assert (sorted(os.listdir("x")) if os.path.exists("x") else None) == before


@pytest.mark.parametrize("size", [0, 300, 3000])
def test_row_57_no_room_for_an_export_or_a_build(size):
    """The system refuses to let any file grow beyond a size, as a full disk does."""
    resource = pytest.importorskip("resource")
    save("x", 0)
    export_file("x", "sent.zip")
    save("x", 1)
    expected, before = built(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        for work in (lambda: export_file("x", "sent.zip"), lambda: built(checkpoint="state")):
            with suppress(OSError) if size == 3000 else pytest.raises(OSError, match="too large"):
                work()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert version_of(import_file("sent.zip", "y")) == (size == 3000)
    assert built(checkpoint="state") == expected
    assert not list(Path().rglob("*.tmp"))


def test_row_57_no_device_is_replaced_and_no_link():
    save("x", 0)
    for target in ("/dev/full", "x"):
        with pytest.raises(FileExistsError, match="a folder or a device"):
            export_file("x", target)
    Path("link.zip").symlink_to("sent.zip")
    export_file("x", "link.zip")
    assert Path("link.zip").is_symlink()
    assert version_of(import_file("sent.zip", "y")) == 0


def run_as_nobody(code: str) -> str:
    """Run code in this folder as a user who owns nothing here, since root may write everywhere."""
    code = f"import mmap, os, numpy as np\nfrom manifold.storage import *\nos.getuid() or os.setuid(65534)\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_row_57_a_read_only_folder():
    save("x", 0)
    before = sorted(os.listdir("x"))
    for folder in ("x", "."):
        os.chmod(folder, 0o555)
    code = """
for path in ("x", "new"):
    try:
        save_arrays(path, kind="test", arrays={"a": np.arange(3)}, parameters={})
    except PermissionError as error:
        print(error.errno, end=" ")
print(load_arrays("x").parameters["version"])
"""
    try:
        assert run_as_nobody(code).split() == [str(errno.EACCES)] * 2 + ["0"]
    finally:
        for folder in ("x", "."):
            os.chmod(folder, 0o755)
    assert sorted(os.listdir("x")) == before
    assert not os.path.exists("new")


def test_row_58_arrays_mapped_from_a_save_may_be_saved_over_it_and_outlive_it():
    save("x", 0)
    old = load_arrays("x").arrays["a"]
    path = save_arrays("x", kind="test", arrays={"a": old, "c": old > 3}, parameters={})
    save("x", 1)
    assert np.array_equal(old, VERSIONS[0]["a"])
    assert only_the_version_in_use(path)


@pytest.mark.parametrize("locks", [True, False])
def test_row_59_writers_and_readers_at_once(monkeypatch, locks):
    if not locks:
        monkeypatch.setattr(_files, "fcntl", None)
    save("x", 0)
    failures, stop = [], threading.Event()

    def repeat(action, times):
        try:
            for i in range(times):
                if stop.is_set():
                    break
                action(i)
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=repeat, args=(lambda i, w=w: save("x", (i + w) % 2), 25)) for w in range(2)]
    readers = [
        threading.Thread(target=repeat, args=(lambda i, how=how: version_of("x", verify=how), 10**9))
        for how in ("full", "lazy")
    ]
    for thread in (*writers, *readers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()
    assert not failures
    assert only_the_version_in_use(Path("x")) or not locks


def test_row_59_processes_that_make_the_same_folder():
    code = "import sys; sys.path.insert(0, sys.argv[1]); import saves\nfor i in range(8): saves.save('x', i % 2)"
    arguments = [sys.executable, "-c", code, str(Path(__file__).parents[1])]
    runs = [subprocess.Popen(arguments, stderr=subprocess.PIPE) for _ in range(3)]
    assert [run.communicate()[1] for run in runs] == [b""] * 3
    assert only_the_version_in_use(Path("x"))


def test_row_59_a_writer_that_fails_takes_no_folder_from_one_that_waits(monkeypatch):
    """The first writer makes the folder, fails and removes it while the second waits for its lock."""
    started, thread = threading.Event(), threading.Thread(target=save, args=("x", 1))
    write = _manifest.write

    def fail(path, parts):
        monkeypatch.setattr(_manifest, "write", write)
        thread.start()
        started.wait(0.2)  # time for the other to reach the lock
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(_manifest, "write", fail)
    with pytest.raises(OSError, match="full"):
        save("x", 0)
    thread.join()
    assert version_of("x") == 1


def test_row_59_exports_to_one_file_and_builds_in_one_folder_at_once():
    save("x", 0)
    save("y", 1)
    expected, found = built(), []

    def both(i):
        for _ in range(5):
            export_file("xy"[i % 2], "sent.zip")
        found.append(built(checkpoint="state"))

    threads = [threading.Thread(target=both, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4
    assert version_of(import_file("sent.zip", "z")) in (0, 1)
    assert not list(Path().glob(".*"))
