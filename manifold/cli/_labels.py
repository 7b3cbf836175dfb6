"""Labels of files, one a row: of an array, of a column, or of lines, by what they spell and not by how.

A class is a whole number or a text; what is empty, nan or the marker is none, in every spelling of the same number.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np

from manifold._typing import AnyArray
from manifold.cli._files import ARRAYS, ending_of, read_array, read_lines
from manifold.cli._table_files import NUMBER

_MISSING = {"", "nan", "<na>"}  # labels that are none, as NumPy and pandas write them
_EXACT = 2**63  # whole numbers below have a place in an array beside negative ones


def read_labels(path: Path, *, option: str, key: str | None = None, unlabeled: str = "-1") -> AnyArray:
    """Return labels (n,): the integers of an array; of texts whole numbers where all are, else texts, None where none.

    None is what is empty, nan, or the marker, in every spelling of the same number: -1 is -1.000e+00.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError, ImportError
        Naming `option`, the file and the cure.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "y.txt"
    >>> _ = path.write_text("1.000e+00\\n-1.000e+00\\n\\n2\\n")
    >>> read_labels(path, option="--labels").tolist()
    [1, None, None, 2]
    """
    what = f"{option} {path}"
    if ending_of(path, (*ARRAYS, ".csv", ".txt"), option) in ARRAYS:
        labels = read_array(path, what, key)
        if labels.dtype.kind not in "UT" or labels.ndim != 1:
            return labels
        lines = list(enumerate(labels.tolist(), 1))
    else:
        lines = read_lines(path, what, ("label", "class", "y"))
    marker = marker_of(unlabeled)
    out = np.empty(len(lines), dtype=object)
    stripped = [text.strip() for _, text in lines]
    numbers = [_whole(text) for text in stripped]
    given = [i for i, text in enumerate(stripped) if text.lower() not in _MISSING and marker not in (text, numbers[i])]
    numeric = [i for i in given if NUMBER.fullmatch(stripped[i])]
    if given and len(numeric) == len(given) and not any(_is_code(stripped[i]) for i in given):
        for i in given:
            if numbers[i] is None:
                raise ValueError(
                    f"{what} line {lines[i][0]} holds {stripped[i]}, where all others are numbers too: a class is a "
                    "whole number of at most 63 bits, or a text"
                )
        out[given] = [numbers[i] for i in given]
    else:
        out[given] = [stripped[i] for i in given]
    return out


def marker_of(text: str) -> int | str:
    """Return the label that means none: a number where it is written as one.

    >>> marker_of("-1.0"), marker_of("none")
    (-1, 'none')
    """
    number = _whole(text)
    return text if number is None or _is_code(text) else number


def _whole(text: str) -> int | None:
    """Return the whole number that a text spells, exactly; None for all else."""
    if not NUMBER.fullmatch(text):
        return None
    value = Decimal(text)
    if value.adjusted() > 18 or value != value.to_integral_value() or abs(value) >= _EXACT:
        return None
    return int(value)


def _is_code(text: str) -> bool:
    """Tell whether a number is written as a code, 007, which would not come back as it was."""
    digits = text.lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
