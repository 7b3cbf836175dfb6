"""Files of a ground truth in (.json, .mat, .pkl, a folder of lists by name), each query's lists out, counted from 0.

The three kinds of files hold the same: `imlist`, `qimlist` and `gnd`, one record a query with lists of images and
the box `bbx`. MATLAB counts images from 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from manifold._typing import Facts, Floats, Ints
from manifold.datasets._ground_truth import ByQuery
from manifold.datasets._unpickle import PickledArray, load_plain_pickle

LISTS = ("easy", "hard", "good", "ok", "junk")  # that a record may hold
KINDS = (".json", ".mat", ".pkl")
T = TypeVar("T")


@dataclass(frozen=True)
class RawTruth:
    """A ground truth as its files hold it."""

    lists: Mapping[str, ByQuery]  # (q,) rows, or names where the files name images
    n_items: int | None = None
    items: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()
    boxes: Floats | None = None


def read_truth(path: Path) -> RawTruth:
    """Read a ground truth of landmarks or instances, whichever way it was published.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "gnd.json"
    >>> _ = path.write_text('{"imlist": ["a", "b"], "qimlist": ["q"], "gnd": [{"ok": [1]}]}')
    >>> read_truth(path).lists
    {'ok': [array([1])]}
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file: give the path of a ground truth")
    if path.suffix not in KINDS:
        raise ValueError(f"{path} must be a folder of *_query.txt files or end in {', '.join(KINDS)}")
    if path.suffix == ".json":
        with open(path, encoding="utf-8-sig") as file:
            try:
                root = json.load(file)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path} is not JSON ({error})") from error
    else:
        root = load_plain_pickle(path) if path.suffix == ".pkl" else _load_mat(path)
    try:
        return _from_records(root, first=1 if path.suffix == ".mat" else 0)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{path} lacks {error}: it must hold imlist, qimlist and gnd, a record a query") from error
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path}: {error}") from error


def _load_mat(path: Path) -> Facts:
    from scipy.io import loadmat

    try:
        held: Facts = loadmat(str(path), simplify_cells=True)
        return held
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"{path} is no .mat file of version 5 ({error}): write the ground truth as .json") from error


def _from_records(root: Facts, *, first: int) -> RawTruth:
    records = _flat(root["gnd"], Mapping, where="gnd")
    items = _names(root["imlist"], where="imlist")
    if "qimlist" in root:
        queries = _names(root["qimlist"], where="qimlist")
    else:  # an older form, where the queries are some of the images
        queries = tuple(items[i] for i in _rows(root["qidx"], first=first, n=len(items), where="qidx"))
    if len(queries) != len(records):
        raise ValueError(f"qimlist names {len(queries)} queries and gnd holds {len(records)} records")
    present = [name for name in LISTS if any(name in record for record in records)]
    lists = {
        name: [
            np.unique(_rows(record.get(name, ()), first=first, n=len(items), where=f"{name!r} of query {q}"))
            for q, record in enumerate(records)
        ]
        for name in present
    }
    boxes = [_flat(record["bbx"], (int, float, np.number), where="bbx") for record in records if "bbx" in record]
    whole = len(boxes) == len(records) and all(len(box) == 4 for box in boxes)
    return RawTruth(lists, len(items), items, queries, np.array(boxes, dtype=np.float64) if whole else None)


def _flat(value: object, kind: type[T] | tuple[type[T], ...], *, where: str) -> list[T]:
    """Return the values of a list, an array or a single one; nothing nested, which in a pickle may be without end."""
    value = value.array if isinstance(value, PickledArray) else value
    values = value.ravel().tolist() if isinstance(value, np.ndarray) else value
    values = list(values) if isinstance(values, list | tuple | set) else [values]
    fitting = [one for one in values if isinstance(one, kind) and not isinstance(one, bool)]
    if len(fitting) < len(values):
        strange = next(one for one in values if not isinstance(one, kind) or isinstance(one, bool))
        raise ValueError(f"{where} holds a {type(strange).__name__}, {str(strange)[:40]!r}, which has no place there")
    return fitting


def _names(value: object, *, where: str) -> tuple[str, ...]:
    return tuple(map(str, _flat(value, str, where=where)))


def _rows(value: object, *, first: int, n: int, where: str) -> Ints:
    """Return row numbers from 0, checked against the number of images."""
    numbers = np.array(_flat(value, (int, float, np.number), where=where), dtype=np.float64)  # exact to 2^53
    wrong = numbers[(numbers != np.round(numbers)) | (numbers < first) | (numbers >= n + first)]
    if wrong.size:
        raise ValueError(f"{where} holds image {wrong[0]:g}, but images count from {first} to {n - 1 + first}")
    return numbers.astype(np.int64) - first


def _read_folder(folder: Path) -> RawTruth:
    """Read lists such as all_souls_1_good.txt, which name images, one a line."""
    found = sorted(folder.glob("*_query.txt"))
    if not found:
        raise FileNotFoundError(f"{folder} holds no *_query.txt: it must be the folder of the ground-truth lists")
    lists: dict[str, list[list[str]]] = {"good": [], "ok": [], "junk": []}
    queries, boxes = [], []
    for path in found:
        words = path.read_text("utf-8-sig").split()
        try:
            name, box = words[0], [float(x) for x in words[1:5]]
        except (IndexError, ValueError):
            raise ValueError(f"{path} must hold a name and x0 y0 x1 y1, got {' '.join(words)[:80]!r}") from None
        if len(box) != 4:
            raise ValueError(f"{path} must hold a name and x0 y0 x1 y1, got {len(box)} numbers")
        queries.append(name.removeprefix("oxc1_"))
        boxes.append(box)
        for kind, of in lists.items():
            of.append(path.with_name(path.name.replace("_query.txt", f"_{kind}.txt")).read_text("utf-8-sig").split())
    return RawTruth(lists, queries=tuple(queries), boxes=np.array(boxes))
