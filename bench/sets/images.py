"""Images that are made: characters drawn in fonts of Matplotlib, windows of the photographs of scikit-learn."""

from __future__ import annotations

import string
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.sets._collection import Parts, Recipe, Vectors, held_out, item, known

Rng = np.random.Generator
_SIDE, _PIXELS = 24, 18  # of a picture, and of the em of a font
_TEXT_FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif"),
    *("DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSansMono-Oblique", "DejaVuSerif-BoldItalic", "STIXGeneral"),
    *("STIXGeneralItalic", "STIXGeneralBol", "STIXGeneralBolIta", "cmr10", "cmss10", "cmtt10", "cmti10", "cmb10"),
)


@cache
def _drawn(font: str) -> dict[int, Vectors]:
    """Return the picture of every character of a font that has ink, by its code."""
    import matplotlib
    from matplotlib.ft2font import FT2Font, LoadFlags

    file = FT2Font(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"))
    file.set_size(_PIXELS, 72)
    pictures = {}
    for code in sorted(file.get_charmap()):
        file.clear()
        file.set_text(chr(code), 0.0, flags=LoadFlags.NO_HINTING)
        file.draw_glyphs_to_bitmap(antialiased=True)
        ink = np.asarray(file.get_image())
        if ink.any() and max(ink.shape) <= _SIDE:
            picture = np.zeros((_SIDE, _SIDE), np.float32)
            top, left = (_SIDE - ink.shape[0]) // 2, (_SIDE - ink.shape[1]) // 2
            picture[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
            pictures[code] = picture.ravel()
    return pictures


def _other_font(font: str) -> Any:
    """Let characters in DejaVu Sans ask for the same one in another font."""

    def make(rng: Rng) -> Parts:
        asked, there = _drawn("DejaVuSans"), _drawn(font)
        codes = np.array(sorted(there))
        both = np.array([code for code in codes if code in asked])
        drawn = np.sort(rng.permutation(both)[:200])
        X, Q = np.array([there[code] for code in codes]), np.array([asked[code] for code in drawn])
        return known(X, Q, np.searchsorted(codes, drawn))

    return make


def _characters(rng: Rng) -> Parts:
    """Let letters and digits ask for the same character in nineteen fonts."""
    codes = [ord(c) for c in string.ascii_letters + string.digits]
    both = [
        (picture, code) for font in _TEXT_FONTS for code in codes if (picture := _drawn(font).get(code)) is not None
    ]
    return held_out(np.array([picture for picture, _ in both]), np.array([code for _, code in both]), rng, n=150)


def _windows(rng: Rng) -> Parts:
    """Let windows of two photographs ask that were moved by a pixel each way and lit and disturbed otherwise."""
    from sklearn.datasets import load_sample_images

    side, kept = 16, 3_000
    photographs = [picture.mean(axis=2).astype(np.float32) for picture in load_sample_images().images]
    places = [
        (i, y, x)
        for i, p in enumerate(photographs)
        for y in range(2, p.shape[0] - side - 2, 6)
        for x in range(2, p.shape[1] - side - 2, 6)
    ]
    places = [places[j] for j in rng.permutation(len(places))]

    def window(i: int, y: int, x: int) -> Vectors:
        part = photographs[i][y : y + side, x : x + side].ravel()
        return part - part.mean()

    places = [place for place in places if window(*place).std() > 12][:kept]  # not those of plain sky
    X = np.array([window(*place) for place in places])
    Q = np.array([window(i, y + 1, x + 1) for i, y, x in places[:200]])
    return known(X, Q + 8 * rng.normal(size=Q.shape).astype(np.float32), range(200))


RECIPES = {
    "characters": Recipe(_characters),
    "characters, Sans to Serif": item(_other_font("DejaVuSerif")),
    "characters, Sans to STIX": item(_other_font("STIXGeneral")),
    "windows moved": item(_windows),
}
