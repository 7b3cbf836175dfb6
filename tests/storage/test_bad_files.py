"""Rows 53 to 55: files that are damaged, hostile or of another format are refused by name, and cost nothing."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import shutil
import tracemalloc
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from saves import MADE, USES, VERSIONS, file_of, forge, memory_for, mutate, rewrite, save, version_of

import manifold as mf
from manifold._load import KINDS
from manifold.errors import CorruptFileError
from manifold.storage import _manifest, export_file, import_file, load_arrays


def test_row_53_truncations_and_bit_flips_anywhere():
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


def test_row_53_a_longer_file_a_missing_one_and_swapped_ones():
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


@pytest.mark.parametrize("kind", KINDS)
def test_row_53_every_kind_is_refused_when_damaged_at_400_places(kind):
    folder = MADE[kind]().save("x")
    files, chance = sorted(folder.iterdir()), random.Random(kind)
    for trial in range(400):
        file = files[trial % len(files)]  # each as often as the others, small ones too
        data = file.read_bytes()
        at = chance.randrange(len(data))
        if trial // len(files) % 3 == 0:
            file.write_bytes(data[:at])
        else:
            file.write_bytes(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
        with pytest.raises(CorruptFileError, match=rf"x.*{file.name.split('.')[0]}"):
            mf.load(folder)
        file.write_bytes(data)
    USES[kind](mf.load(folder))


def test_row_54_a_table_of_a_zip_larger_than_any_of_ours():
    """A table takes 46 bytes a member in the file, and some 600 in memory: it is not read."""
    with zipfile.ZipFile("bad.zip", "w") as bad:
        for i in range(30_000):
            bad.writestr(f"a.manifold-{i:016x}.npy", b"")
    tracemalloc.start()
    try:
        with pytest.raises(CorruptFileError, match=r"bad\.zip is no export of a save: .* more than its table may take"):
            import_file("bad.zip", "y")
        assert tracemalloc.get_traced_memory()[1] < 3e6
    finally:
        tracemalloc.stop()
    assert os.listdir() == ["bad.zip"]


def test_row_53_damaged_archives():
    """Cut or flipped anywhere, the file is refused, or what it gives is refused, or is what was sent."""
    graph, chance = MADE["graph"](), random.Random(9)
    data = export_file(graph.save("x"), "sent.zip").read_bytes()
    refused = 0
    for trial in range(400):
        at = chance.randrange(len(data))
        damaged = data[:at] if trial % 3 == 0 else data[:at] + bytes([data[at] ^ 1 << trial % 8]) + data[at + 1 :]
        Path("bad.zip").write_bytes(damaged)
        try:
            loaded = mf.load(import_file("bad.zip", "y"))
        except CorruptFileError as error:
            refused += str(error).startswith(("bad.zip", "y"))
        else:
            assert (loaded.affinity != graph.affinity).nnz == 0
        shutil.rmtree("y", ignore_errors=True)
    assert refused > 300
    assert not [name for name in os.listdir() if name.endswith(".tmp")]


def test_row_53_checkpoints_damaged_at_400_places_end_as_the_same_index_or_are_refused():
    """What is left of a build is never believed: a block that is not what was written is done again."""
    graph, settings = MADE["graph"](), mf.DiffusionIndex(n_entries=4)
    whole, files = settings.build(graph, checkpoint="x"), sorted(Path("x").iterdir())
    chance, outcomes = random.Random(53), set()
    expected = {name: getattr(whole, name).tobytes() for name in ("ids", "values", "tail", "error")}
    for trial in range(400):
        file = files[trial % len(files)]
        data = file.read_bytes()
        at = chance.randrange(len(data))
        cut = trial // len(files) % 3 == 0
        damaged = data[:at] if cut else data[:at] + bytes([data[at] ^ 1 << trial % 8]) + data[at + 1 :]
        file.unlink()  # the index that was built goes on with the file it has
        file.write_bytes(damaged)
        try:
            resumed = settings.build(graph, checkpoint="x")
        except ValueError as error:
            named = str(error).startswith((f"{file}: array", f"{file} is damaged", "checkpoint='x' belongs to another"))
            outcomes.add((file.name, cut, "refused" if named else str(error)))
        else:
            outcomes.add((file.name, cut, "mended"))
            for name, bits in expected.items():
                assert getattr(resumed, name).tobytes() == bits
        file.unlink()
        file.write_bytes(data)
    arrays = {file.name for file in files if file.suffix == ".npy"}
    assert {name for name, cut, what in outcomes if what == "mended" and not cut} == arrays
    assert {what for name, cut, what in outcomes if cut or name not in arrays} == {"refused"}
    assert {what for _, _, what in outcomes} == {"mended", "refused"}


def test_row_54_mutated_manifests_with_a_checksum_that_fits():
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
def test_row_54_strange_manifests(text):
    save("x", 0)
    Path("x/manifest.json").write_bytes(text)
    with pytest.raises(CorruptFileError, match="manifest"):
        load_arrays("x")


@pytest.mark.parametrize(
    "name",
    ["../x", "../x/a.manifold-0123456789abcdef.npy", "/etc/passwd", "manifest.json", "a", "", ".", "a\0.npy",
     "a.manifold-0123456789abcdef.npy/../../secret", "a.manifold-0123456789abcdef.tmp",
     "b.manifold-0123456789abcdef.npy", "a.manifold-0123456789abcdef.npy\n", "A.manifold-0123456789abcdef.npy"],
)  # fmt: skip
def test_row_54_names_that_lead_elsewhere(name):
    save("x", 0)
    rewrite(Path("x"), lambda m: m["arrays"]["a"].update(file=name))
    with pytest.raises(CorruptFileError, match="array 'a'"):
        load_arrays("x")


@pytest.mark.parametrize("name", ["../a", "/a", "manifest.json", "a/b", "", "..", "A"])
def test_row_54_array_names_that_lead_elsewhere(name):
    save("x", 0)

    def rename(manifest):
        manifest["arrays"][name] = manifest["arrays"].pop("a")

    rewrite(Path("x"), rename)
    with pytest.raises(CorruptFileError, match="array"):
        load_arrays("x")


@pytest.mark.parametrize("what", ["array", "manifest", "fifo", "folder", "dangling"])
def test_row_54_links_pipes_and_folders_are_not_read(what):
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
def test_row_54_huge_shapes_are_refused_before_anything_is_allocated(shape, mmap):
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
def test_row_54_empty_arrays_of_shapes_beyond_memory(shape):
    save("x", 0)
    data = _manifest.Entry("", "", "<i4", shape, 0, "").header  # a whole file: nothing in it is missing
    file_of(Path("x"), "a").write_bytes(data)
    entry = {"dtype": "<i4", "shape": list(shape), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    rewrite(Path("x"), lambda m: m["arrays"]["a"].update(entry))
    with pytest.raises(CorruptFileError, match="array 'a'"):
        load_arrays("x")


def test_row_54_pickles_are_never_loaded():
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


def test_row_54_booleans_that_are_neither():
    save("x", 1)
    file = file_of(Path("x"), "c")
    data = file.read_bytes()[:-1] + b"\x05"
    file.write_bytes(data)
    rewrite(Path("x"), lambda m: m["arrays"]["c"].update(sha256=hashlib.sha256(data).hexdigest()))
    with pytest.raises(CorruptFileError, match="neither 0 nor 1"):
        load_arrays("x")


def test_row_54_more_arrays_than_files_may_be_open():
    save("x", 0)
    rewrite(Path("x"), lambda m: m.update(arrays={f"a{i}": 0 for i in range(5000)}))
    with pytest.raises(CorruptFileError, match="5000 arrays"):
        load_arrays("x")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_row_54_forgeries_of_every_kind_are_refused_or_harmless(kind, monkeypatch):
    """What carries a checksum that fits may be believed, but it neither crashes nor takes memory that it claims."""
    folder, chance, refused = MADE[kind]().save("x"), random.Random(kind), 0
    good = {file: file.read_bytes() for file in folder.iterdir()}
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    USES[kind](mf.load(folder))
    for trial in range(335):
        forge(folder, chance)
        with memory_for(256 << 20):  # who asks for more gets a MemoryError
            try:
                loaded = mf.load(folder, verify=("full", "full", "lazy")[trial % 3])
            except CorruptFileError as error:
                refused += str(error).startswith("x")
            else:
                with suppress(ValueError, *[IndexError] * (trial % 3 == 2)), np.errstate(all="ignore"):
                    USES[kind](loaded)
        for file, data in good.items():
            if file.read_bytes() != data:
                file.write_bytes(data)
    assert refused > 100


def repacked(change, compression=zipfile.ZIP_STORED):
    """The export of a graph, each member (info, data) changed, as a file."""
    export_file(MADE["graph"]().save("x"), "good.zip")
    with zipfile.ZipFile("good.zip") as good, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile("bad.zip", "w", compression) as bad:
            for info in good.infolist():
                for name, data, mode in change(info.filename, good.read(info)):
                    changed = zipfile.ZipInfo(name)
                    changed.external_attr, changed.compress_type = mode << 16, compression
                    bad.writestr(changed, data)
    return "bad.zip"


@pytest.mark.parametrize(
    ("change", "compression", "message"),
    [
        (lambda name, data: [(name, data, 0), ("../out", b"x", 0)], zipfile.ZIP_STORED, "no save makes"),
        (lambda name, data: [(name, data, 0), ("/tmp/out", b"x", 0)], zipfile.ZIP_STORED, "no save makes"),
        (lambda name, data: [(name, data, 0), ("a/../../out", b"", 0)], zipfile.ZIP_STORED, "no save makes"),
        (lambda name, data: [(name, data, 0), ("notes.txt", b"", 0)], zipfile.ZIP_STORED, "no save makes"),
        (lambda name, data: [(name, b"/etc/passwd", 0o120777)], zipfile.ZIP_STORED, "link or a device"),
        (lambda name, data: [(name, bytes(1 << 24), 0)], zipfile.ZIP_DEFLATED, "compressed"),
        (lambda name, data: [(name, data, 0)] * 2, zipfile.ZIP_STORED, "some of one name"),
        (lambda name, data: [(name, data, 0)] * (name != "manifest.json"), zipfile.ZIP_STORED, "no manifest"),
    ],
)
def test_row_54_hostile_archives(change, compression, message):
    with pytest.raises(CorruptFileError, match=message):
        import_file(repacked(change, compression), "y")
    assert sorted(os.listdir()) == ["bad.zip", "good.zip", "x"]


def test_row_55_a_newer_format_is_refused_by_name():
    save("x", 0)
    rewrite(Path("x"), lambda m: m.update(version=7, created_with={"manifold": "9.1"}))
    with pytest.raises(CorruptFileError, match=r"format 7, written with .*9\.1.*reads formats up to 2: upgrade"):
        load_arrays("x")


def test_row_55_keys_of_later_versions_are_ignored():
    save("x", 0)

    def add(manifest):
        manifest["comment"] = "hello"
        manifest["arrays"]["a"]["compression"] = None

    rewrite(Path("x"), add)
    assert version_of("x") == 0
