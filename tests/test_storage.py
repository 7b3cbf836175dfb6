"""Saved folders: whole or refused, whatever crash, damage, writer or forger came between."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import random
import subprocess
import sys
import threading
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import manifold as mf
from manifold import storage
from manifold._errors import CorruptFileError
from manifold.storage import _files, _manifest, load_arrays, save_arrays

SEEN = ("mkdir", "open", "write", "fsync", "replace", "unlink", "rmdir", "close", "listdir")  # where a crash can fall
VERSIONS = (
    {"a": np.arange(12, dtype=np.int32).reshape(3, 4), "b": np.linspace(0, 1, 9, dtype=np.float32)},
    {"a": np.arange(20, dtype=np.int32).reshape(5, 4), "c": np.array([True, False])},
)


class Dead(BaseException):
    """The process is gone: nothing it would still do is done."""


class BrokenOS:
    """`os`, until its n-th call that matters: a fault there, or a process that dies there, mid-write if it writes."""

    def __init__(self, n: int, *, fault: OSError | None = None) -> None:
        self.n, self.fault, self.calls, self.trace = n, fault, 0, []

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in SEEN:
            return real

        def call(*args, **kwargs):
            self.calls += 1
            self.trace.append((name, args[0]))
            if self.calls == self.n and self.fault is not None and name != "close":
                raise self.fault
            if self.calls >= self.n and self.fault is None:
                if name == "close":
                    return real(*args)  # the system closes the files of the dead, and drops their locks
                if self.calls == self.n and name == "write":
                    real(args[0], args[1][: len(args[1]) // 2])
                raise Dead
            return real(*args, **kwargs)

        return call


def break_os(monkeypatch, n, **how) -> BrokenOS:
    broken = BrokenOS(n, **how)
    monkeypatch.setattr(storage, "os", broken)
    monkeypatch.setattr(_files, "os", broken)
    return broken


def save(path, version: int) -> None:
    save_arrays(path, kind="test", arrays=VERSIONS[version], parameters={"version": version})


def version_of(path, **how) -> int:
    """The version that loads; fails unless it is exactly one of the two."""
    stored = load_arrays(path, kind="test", **how)
    version = stored.parameters["version"]
    assert list(stored.arrays) == list(VERSIONS[version])
    for name, array in VERSIONS[version].items():
        assert stored.arrays[name].dtype == array.dtype
        assert np.array_equal(stored.arrays[name], array)
    return version


def only_the_version_in_use(path: Path) -> bool:
    return len(os.listdir(path)) == 1 + len(VERSIONS[version_of(path)])


def rewrite(path: Path, change) -> None:
    """Forge the manifest, with a checksum that fits."""
    manifest = json.loads((path / "manifest.json").read_text())
    manifest = change(manifest) or manifest
    manifest["sha256"] = _manifest._digest(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))


def file_of(path: Path, name: str) -> Path:
    return next(path.glob(f"{name}.manifold-*.npy"))


# ---- round trips


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("verify", ["full", "lazy"])
def test_arrays_come_back_to_the_bit(rng, mmap, verify):
    arrays = {}
    for i, dtype in enumerate(_manifest.DTYPES):
        for j, shape in enumerate([(), (0,), (0, 3), (7,), (3, 5), (2, 3, 4)]):
            bits = rng.integers(0, 256, (*shape, np.dtype(dtype).itemsize), dtype=np.uint8)
            bits = bits & 1 if dtype == "|b1" else bits  # every other pattern counts, NaNs with payload too
            arrays[f"a{i}_{j}"] = np.ascontiguousarray(bits).view(dtype).reshape(shape)
    parameters = {"k": 3, "f": 0.1, "s": "é\n", "none": None, "nested": {"list": [1, [2.5, True]]}, "one": np.int64(1)}
    path = save_arrays("x", kind="bits", arrays=arrays, parameters=parameters)
    stored = load_arrays(path, verify=verify, mmap=mmap)
    assert stored.kind == "bits"
    assert stored.parameters == parameters
    assert list(stored.arrays) == list(arrays)
    for name, array in arrays.items():
        got = stored.arrays[name]
        assert (got.dtype, got.shape, got.tobytes()) == (array.dtype, array.shape, array.tobytes())
        assert isinstance(got, np.memmap) is mmap
        assert got.flags.writeable is not mmap


def test_files_are_plain_npy():
    save("x", 0)
    for name, array in VERSIONS[0].items():
        loaded = np.load(file_of(Path("x"), name), mmap_mode="r", allow_pickle=False)
        assert loaded.dtype == array.dtype
        assert np.array_equal(loaded, array)
        assert loaded.offset % 64 == 0


def test_any_memory_layout_is_stored_little_endian_in_c_order():
    array = np.arange(24.0).reshape(4, 6)
    arrays = {"fortran": np.asfortranarray(array), "strided": array[::2, ::-1], "big": array.astype(">f4"), "list": [1]}
    stored = load_arrays(save_arrays("x", kind="test", arrays=arrays, parameters={}))
    for name, expected in arrays.items():
        assert np.array_equal(stored.arrays[name], expected)
    assert stored.arrays["big"].dtype == np.dtype("<f4")


def test_many_chunks(monkeypatch, rng):
    monkeypatch.setattr(_manifest, "_CHUNK", 1000)
    array = rng.random(12345)
    assert np.array_equal(
        load_arrays(save_arrays("x", kind="a", arrays={"a": array}, parameters={})).arrays["a"], array
    )


@pytest.mark.parametrize(
    "path", ["with space", "zażółć-图-🗺", "x/../y", "quote'\"$(x)", b"caf\xe9".decode("utf-8", "surrogateescape")]
)
@pytest.mark.parametrize("kind", [str, Path])
def test_any_path(path, kind):
    Path("x").mkdir()
    assert isinstance(save_arrays(kind(path), kind="test", arrays=VERSIONS[0], parameters={"version": 0}), Path)
    assert version_of(kind(path)) == 0
    assert version_of(os.path.abspath(path)) == 0


def test_arrays_mapped_from_a_save_may_be_saved_over_it_and_outlive_it():
    save("x", 0)
    old = load_arrays("x").arrays["a"]
    path = save_arrays("x", kind="test", arrays={"a": old, "c": old > 3}, parameters={})
    save("x", 1)
    assert np.array_equal(old, VERSIONS[0]["a"])
    assert only_the_version_in_use(path)


def test_the_same_input_gives_the_same_manifest_but_for_its_files():
    texts = []
    for seed in ("0", "1"):
        code = (
            "import numpy as np; from manifold.storage import save_arrays;"
            "save_arrays('h', kind='k', arrays={x: np.arange(3) for x in 'dbca'}, parameters={'b': 1, 'a': 2})"
        )
        subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONHASHSEED": seed})
        manifest = json.loads(Path("h/manifest.json").read_text())
        del manifest["sha256"]
        for entry in manifest["arrays"].values():
            del entry["file"]
        texts.append(json.dumps(manifest))
    assert texts[0] == texts[1]


# ---- what cannot be stored is refused before the disk is touched


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"arrays": {"a": np.array([{}, None])}}, TypeError),
        ({"arrays": {"a": np.array(["text"])}}, TypeError),
        ({"arrays": {"a": np.array([1j])}}, TypeError),
        ({"arrays": {"a": np.array([1], "M8[s]")}}, TypeError),
        ({"arrays": {"a": np.zeros(2, [("x", "f4")])}}, TypeError),
        ({"arrays": {"a": np.zeros(2, np.longdouble)}}, TypeError),
        ({"arrays": {"a": np.zeros((1,) * 33)}}, TypeError),
        ({"arrays": {"manifest.json": np.zeros(2)}}, ValueError),
        ({"arrays": {"../x": np.zeros(2)}}, ValueError),
        ({"arrays": {"/tmp/x": np.zeros(2)}}, ValueError),
        ({"arrays": {"": np.zeros(2)}}, ValueError),
        ({"arrays": {"A": np.zeros(2)}}, ValueError),
        ({"arrays": {"a\n": np.zeros(2)}}, ValueError),
        ({"arrays": {3: np.zeros(2)}}, ValueError),
        ({"arrays": {f"a{i}": np.zeros(1) for i in range(257)}}, ValueError),
        ({"parameters": {"x": float("nan")}}, TypeError),
        ({"parameters": {"x": (1, 2)}}, TypeError),
        ({"parameters": {1: 2}}, TypeError),
        ({"parameters": {"x": np.zeros(3)}}, TypeError),
        ({"parameters": {"x": {1, 2}}}, TypeError),
        ({"parameters": {"x": "y" * 300_000}}, ValueError),
        ({"kind": "no kind"}, ValueError),
    ],
)
def test_what_cannot_be_stored(change, error):
    with pytest.raises(error):
        save_arrays("x", **{"kind": "test", "arrays": {}, "parameters": {}, **change})
    assert not os.path.exists("x")


@pytest.mark.parametrize("content", ["file", "folder", "foreign manifest", "newer", "damaged", "dangling link"])
def test_what_is_not_such_a_save_is_never_replaced(content):
    path = Path("x")
    if content == "file":
        path.write_text("precious")
    elif content == "dangling link":
        path.symlink_to("nowhere")
    else:
        path.mkdir()
        (path / "precious.manifold-0123.npy").write_text("precious")
    if content in ("newer", "damaged"):
        (path / "precious.manifold-0123.npy").unlink()
        save(path, 0)
        rewrite(path, lambda m: m.update(version=2))
    if content == "damaged":
        (path / "manifest.json").write_text('{"format": "mani')
    if content == "foreign manifest":
        (path / "manifest.json").write_text('{"name": "my web page"}')
    before = sorted(os.listdir(path)) if path.is_dir() else None
    with pytest.raises(FileExistsError, match="x"):
        save(path, 1)
    assert before == (sorted(os.listdir(path)) if path.is_dir() else None)


def test_files_of_others_in_a_saved_folder_stay():
    save("x", 0)
    Path("x/notes.txt").write_text("mine")
    save("x", 1)
    assert Path("x/notes.txt").read_text() == "mine"
    assert version_of("x") == 1


def test_a_parent_that_does_not_exist():
    with pytest.raises(FileNotFoundError):
        save("no/such/folder", 0)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_arrays("no/such/folder")


def test_a_link_to_a_saved_folder_is_followed():
    save("x", 0)
    os.symlink("x", "link")
    save("link", 1)
    assert version_of("x") == version_of("link") == 1
    assert os.path.islink("link")


# ---- crashes


@pytest.mark.parametrize("locks", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_a_crash_at_every_call_leaves_one_whole_version(monkeypatch, first, locks):
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


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_fault_at_every_call_leaves_the_target_as_it_was(monkeypatch, first, code):
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


def test_what_a_power_cut_could_undo_is_made_durable_in_order(monkeypatch):
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
import numpy as np
from manifold import storage
from manifold.storage import _files
sys.path.insert(0, sys.argv[2])
import test_storage as t

class Killer:
    def __init__(self, n): self.n, self.calls = n, 0
    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in t.SEEN: return real
        def call(*args, **kwargs):
            self.calls += 1
            if self.calls == self.n:
                if name == "write": os.write(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        return call

path, versions, kills = sys.argv[1], [], 0
t.save(path, 0)
for n in range(1, 1000):
    child = os.fork()
    if child == 0:
        storage.os = _files.os = Killer(n)
        t.save(path, 1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    versions.append(t.version_of(path))
    t.save(path, 0)
    assert t.only_the_version_in_use(path)
    if status == 0: break
    assert os.WTERMSIG(status) == signal.SIGKILL
    kills += 1
sys.stdout.write(f"{kills} {sorted(set(versions))} {versions == sorted(versions)}")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_sigkill_at_every_call():
    arguments = [sys.executable, "-W", "ignore", "-c", KILLED, "x", str(Path(__file__).parent)]
    out = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=60).stdout.split(maxsplit=1)
    assert int(out[0]) > 25
    assert out[1] == "[0, 1] True"  # the old version up to one call, the new one from it on


# ---- full and read-only disks, as the system has them


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("first", [True, False])
def test_a_full_disk(monkeypatch, first):
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


def run_as_nobody(code: str) -> str:
    """Run code in this folder as a user who owns nothing here, since root may write everywhere."""
    code = f"import mmap, os, numpy as np\nfrom manifold.storage import *\nos.getuid() or os.setuid(65534)\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_a_read_only_folder():
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


# ---- two writers, and readers beside them


@pytest.mark.parametrize("locks", [True, False])
def test_writers_and_readers_at_once(monkeypatch, locks):
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


def test_processes_that_make_the_same_folder():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_storage as t\nfor i in range(8): t.save('x', i % 2)"
    )
    arguments = [sys.executable, "-c", code, str(Path(__file__).parent)]
    runs = [subprocess.Popen(arguments, stderr=subprocess.PIPE) for _ in range(3)]
    assert [run.communicate()[1] for run in runs] == [b""] * 3
    assert only_the_version_in_use(Path("x"))


def test_a_writer_that_fails_takes_no_folder_from_one_that_waits(monkeypatch):
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


# ---- damage


def test_truncations_and_bit_flips_anywhere():
    save("x", 0)
    files = sorted(Path("x").iterdir())
    chance, refused = random.Random(5), 0
    sizes = [file.stat().st_size for file in files]
    for trial in range(500):
        file = chance.choices(files, sizes)[0]
        data = file.read_bytes()
        at = chance.randrange(len(data))
        damaged = data[:at] if trial % 4 == 0 else data[:at] + bytes([data[at] ^ 1 << trial % 8]) + data[at + 1 :]
        file.write_bytes(damaged)
        try:
            with pytest.raises(CorruptFileError, match=file.name.split(".")[0]):
                load_arrays("x")
            refused += 1
            if at < 128 or trial % 4 == 0 or file.name == "manifest.json":  # headers, sizes and the manifest
                with pytest.raises(CorruptFileError):
                    load_arrays("x", verify="lazy")
        finally:
            file.write_bytes(data)
    assert refused == 500
    assert version_of("x") == 0


def test_a_longer_file_a_missing_one_and_swapped_ones():
    save("x", 0)
    a, b = file_of(Path("x"), "a"), file_of(Path("x"), "b")
    data = a.read_bytes()
    a.write_bytes(data + b"\0")
    for how in ("full", "lazy"):
        with pytest.raises(CorruptFileError, match=r"array 'a' .* 177 bytes, and should have 176"):
            load_arrays("x", verify=how)
    a.unlink()
    with pytest.raises(CorruptFileError, match=r"array 'a': its file .* is missing"):
        load_arrays("x")
    a.write_bytes(b.read_bytes())
    with pytest.raises(CorruptFileError, match="array 'a'"):
        load_arrays("x", verify="lazy")


def mutate(value, chance: random.Random):
    """Change one thing somewhere in a JSON value."""
    odd = [None, True, -1, 0, 1, 2**31, 2**63, 2**64, 10**400, 0.5, 1e308, "", "../x", "/etc/passwd", "\0", "\ud800"]
    odd += [[], {}, [[]], [-1], [2**62, 4], [0, 2**70], {"a": 1}, "|O", "<f8", "<i4", ">f4", "O", "V8", "manifest.json"]
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(sorted(value))
        what = chance.random()
        if what < 0.1:
            return {k: v for k, v in value.items() if k != key}
        if what < 0.2:
            return {**value, str(chance.choice(odd)): value[key]}
        return {**value, key: mutate(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.7:
        at = chance.randrange(len(value))
        return [*value[:at], mutate(value[at], chance), *value[at + 1 :]]
    return chance.choice(odd)


def test_mutated_manifests_with_a_checksum_that_fits():
    save("x", 0)
    good = json.loads(Path("x/manifest.json").read_text())
    chance, refused = random.Random(7), 0
    tracemalloc.start()
    try:
        for trial in range(600):
            manifest = {k: v for k, v in good.items() if k != "sha256"}
            if chance.random() < 0.7:  # most of them within the arrays
                manifest = {**manifest, "arrays": mutate(manifest["arrays"], chance)}
            else:
                manifest = mutate(manifest, chance)
            if isinstance(manifest, dict):
                manifest["sha256"] = _manifest._digest(manifest)
            Path("x/manifest.json").write_text(json.dumps(manifest))
            try:
                stored = load_arrays("x", verify=("full", "lazy")[trial % 2], mmap=trial % 3 == 0)
            except CorruptFileError as error:
                refused += str(error).startswith("x")  # the file stands first
                continue
            for name, array in stored.arrays.items():  # what was not refused is right
                assert array.dtype == VERSIONS[0][name].dtype
                assert np.array_equal(array, VERSIONS[0][name])
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert refused > 300


@pytest.mark.parametrize(
    "text",
    [b"", b"null", b"[]", b"\xff\xfe{", b"[" * 200_000, b'{"a":' * 100_000, b"9" * 10_000, b'{"format": "manifold"}',
     b'{"format": "manifold", "version": true}', b'{"format": "manifold", "version": 0}', b" " * (1 << 21)],
)  # fmt: skip
def test_strange_manifests(text):
    save("x", 0)
    Path("x/manifest.json").write_bytes(text)
    with pytest.raises(CorruptFileError, match="manifest"):
        load_arrays("x")


def test_a_newer_format_is_refused_by_name():
    save("x", 0)
    rewrite(Path("x"), lambda m: m.update(version=7, created_with={"manifold": "9.1"}))
    with pytest.raises(CorruptFileError, match=r"format 7, written with .*9\.1.*reads formats up to 1: upgrade"):
        load_arrays("x")


def test_keys_of_later_versions_are_ignored():
    save("x", 0)

    def add(manifest):
        manifest["comment"] = "hello"
        manifest["arrays"]["a"]["compression"] = None

    rewrite(Path("x"), add)
    assert version_of("x") == 0


def test_another_kind_and_no_folder():
    save("x", 0)
    with pytest.raises(CorruptFileError, match="holds a 'test', not a 'graph'"):
        load_arrays("x", kind="graph")
    with pytest.raises(ValueError, match="verify"):
        load_arrays("x", verify="header")
    Path("file").write_text("")
    Path("empty").mkdir()
    for path in ("file", "empty"):
        with pytest.raises(CorruptFileError, match=f"{path} holds no manifest"):
            load_arrays(path)


# ---- forgeries


@pytest.mark.parametrize(
    "name",
    ["../x", "../x/a.manifold-0123456789abcdef.npy", "/etc/passwd", "manifest.json", "a", "", ".", "a\0.npy",
     "a.manifold-0123456789abcdef.npy/../../secret", "a.manifold-0123456789abcdef.tmp",
     "b.manifold-0123456789abcdef.npy", "a.manifold-0123456789abcdef.npy\n", "A.manifold-0123456789abcdef.npy"],
)  # fmt: skip
def test_names_that_lead_elsewhere(name):
    save("x", 0)
    rewrite(Path("x"), lambda m: m["arrays"]["a"].update(file=name))
    with pytest.raises(CorruptFileError, match="array 'a'"):
        load_arrays("x")


@pytest.mark.parametrize("name", ["../a", "/a", "manifest.json", "a/b", "", "..", "A"])
def test_array_names_that_lead_elsewhere(name):
    save("x", 0)

    def rename(manifest):
        manifest["arrays"][name] = manifest["arrays"].pop("a")

    rewrite(Path("x"), rename)
    with pytest.raises(CorruptFileError, match="array"):
        load_arrays("x")


@pytest.mark.parametrize("what", ["array", "manifest", "fifo", "folder", "dangling"])
def test_links_pipes_and_folders_are_not_read(what):
    save("x", 0)
    file = Path("x/manifest.json") if what == "manifest" else file_of(Path("x"), "a")
    file.rename("elsewhere")
    if what == "fifo":
        os.mkfifo(file)
    elif what == "folder":
        file.mkdir()
    else:
        file.symlink_to(Path("nowhere" if what == "dangling" else "elsewhere").absolute())
    with pytest.raises(CorruptFileError, match="only plain files are read"):
        load_arrays("x")


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("shape", [[2**40], [2**62, 2**62], [2**31, 2**31], [0, 2**63], [0, 2**62, 2**62], [10**30]])
def test_huge_shapes_are_refused_before_anything_is_allocated(shape, mmap):
    save("x", 0)
    size = 2**40 * 4 + 128  # what the first shape takes

    def claim(manifest):
        manifest["arrays"]["a"].update(shape=shape, bytes=size)

    rewrite(Path("x"), claim)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptFileError, match="array 'a'"):
            load_arrays("x", mmap=mmap)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", [(0, 2**63), (0, 2**62, 2**62), (2**40, 0, 2**40)])
def test_empty_arrays_of_shapes_beyond_memory(shape):
    save("x", 0)
    data = _manifest.Entry("", "", "<i4", shape, 0, "").header  # a whole file: nothing in it is missing
    file_of(Path("x"), "a").write_bytes(data)
    entry = {"dtype": "<i4", "shape": list(shape), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    rewrite(Path("x"), lambda m: m["arrays"]["a"].update(entry))
    with pytest.raises(CorruptFileError, match="array 'a'"):
        load_arrays("x")


def test_pickles_are_never_loaded():
    class Trap:
        def __reduce__(self):
            return os.mkdir, ("trapped",)

    save("x", 0)
    file = file_of(Path("x"), "a")
    with file.open("wb") as out:
        np.save(out, np.array([Trap()]), allow_pickle=True)
    for data in (file.read_bytes(), pickle.dumps(Trap())):
        for dtype in ("<i4", "|O", "O"):
            file.write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            entry = {"dtype": dtype, "bytes": len(data), "sha256": digest, "shape": [1]}
            rewrite(Path("x"), lambda m, entry=entry: m["arrays"]["a"].update(entry))
            with pytest.raises(CorruptFileError, match="array 'a'"):
                load_arrays("x")
    assert not os.path.exists("trapped")


def test_booleans_that_are_neither():
    save("x", 1)
    file = file_of(Path("x"), "c")
    data = file.read_bytes()[:-1] + b"\x05"
    file.write_bytes(data)
    rewrite(Path("x"), lambda m: m["arrays"]["c"].update(sha256=hashlib.sha256(data).hexdigest()))
    with pytest.raises(CorruptFileError, match="neither 0 nor 1"):
        load_arrays("x")


def test_more_arrays_than_files_may_be_open():
    save("x", 0)
    rewrite(Path("x"), lambda m: m.update(arrays={f"a{i}": 0 for i in range(5000)}))
    with pytest.raises(CorruptFileError, match="5000 arrays"):
        load_arrays("x")


# ---- graphs


@pytest.fixture
def graph(rng):
    return mf.build_graph(rng.random((60, 5)).astype(np.float32), 4)


@pytest.mark.parametrize("verify", ["full", "lazy"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_graph_comes_back(graph, dtype, verify):
    graph = graph.astype(dtype)
    loaded = mf.load(graph.save("g"), verify=verify)
    assert type(loaded) is type(graph)
    assert loaded.dtype == dtype
    assert loaded.facts == graph.facts
    for name in ("data", "indices", "indptr"):
        ours, theirs = getattr(loaded.affinity, name), getattr(graph.affinity, name)
        assert ours.dtype == theirs.dtype
        assert ours.tobytes() == theirs.tobytes()
        assert not isinstance(ours, np.memmap)
    assert np.array_equal(loaded.degrees, graph.degrees)
    assert np.array_equal(loaded.components, graph.components)
    assert repr(loaded) == repr(graph)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_graphs_without_edges_and_with_loops(n):
    empty = mf.graph_from_affinity(np.zeros((n, n)))
    assert mf.load(empty.save("empty")).n_nodes == n
    loops = mf.graph_from_affinity(np.eye(n), self_loops="keep")
    loaded = mf.load(loops.save("loops"))
    assert loaded.self_loops
    assert loaded.n_edges == n


@pytest.mark.parametrize(
    "change",
    [
        {"indices": np.array([1, 7], np.int32)},
        {"indices": np.array([1, -1], np.int32)},
        {"indices": np.array([1.0, 0.0])},
        {"indices": np.array([0, 0], np.int32)},
        {"indptr": np.array([0, 1, 9], np.int32)},
        {"indptr": np.array([0, 2, 1], np.int32)},
        {"indptr": np.array([], np.int32)},
        {"indptr": np.array(3, np.int32)},
        {"data": np.array([1, np.nan], np.float32)},
        {"data": np.array([1, -1], np.float32)},
        {"data": np.array([1, 2], np.float32)},
        {"data": np.array([1, 1], np.float16)},
        {"data": np.ones((2, 2), np.float32)},
        {"data": None},
    ],
)
def test_arrays_that_are_no_graph_are_refused_before_a_product_could_crash(change):
    W = sparse.csr_array(np.array([[0, 1], [1, 0]], np.float32))
    arrays = {"data": W.data, "indices": W.indices, "indptr": W.indptr, **change}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    save_arrays("g", kind="graph", arrays=arrays, parameters={"facts": {}, "self_loops": False})
    with pytest.raises(CorruptFileError, match="g holds no valid graph"):
        mf.load("g")


@pytest.mark.parametrize("parameters", [{}, {"facts": 3, "self_loops": False}, {"facts": {}}])
def test_parameters_that_are_no_graph(graph, parameters):
    W = graph.affinity
    arrays = {"data": W.data, "indices": W.indices, "indptr": W.indptr}
    save_arrays("g", kind="graph", arrays=arrays, parameters=parameters)
    with pytest.raises(CorruptFileError, match="g holds no valid graph"):
        mf.load("g")


def test_a_kind_that_is_not_known():
    save("x", 0)
    with pytest.raises(CorruptFileError, match="holds a 'test'; known are graph"):
        mf.load("x")


def test_facts_that_no_file_could_give_back(graph):
    W = type(graph)(graph.affinity, {"made_by": object()})
    with pytest.raises(TypeError, match="parameters"):
        W.save("g")
    assert not os.path.exists("g")
