"""Words on pictures: drawn as they are written, no longer than there is room, and said where no font has their script.

Texts of others are never read as mathematics (``parse_math=False`` wherever they are drawn).
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from matplotlib import rcParams
from matplotlib.font_manager import FontProperties, findfont, get_font

from manifold.errors import warn

_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"}  # kinds of characters that leave no ink


def short(name: object, letters: int, *, lines: int = 1) -> str:
    """Return a name as written where it is short, else its beginning on some lines.

    >>> short("a_name of $5", 20), short("several words in a row", 9, lines=2)
    ('a_name of $5', 'several\\nwords …')
    """
    text = str(name)
    if len(text) <= letters and "\n" not in text:
        return text
    return textwrap.fill(text, letters, max_lines=lines, placeholder=" …")


def in_legend(name: object) -> str:
    """Return a name that a legend shows: it leaves out those that begin with an underscore.

    >>> in_legend("_x"), in_legend("x")
    (' _x', 'x')
    """
    text = str(name)
    return f" {text}" if text.startswith("_") else text


def scripts_without_font(texts: Iterable[str]) -> list[str]:
    """Return the names of the scripts of which some character is in none of the fonts in use.

    >>> scripts_without_font(["plain", "α = é"])
    []
    """
    characters = {c for text in texts if not text.isascii() for c in text if not c.isascii()}
    if not characters:
        return []
    # matplotlib takes each character from the first font that has it, so that one of them is enough
    known = _characters_of(tuple(_families()))
    lacking = (c for c in characters if ord(c) not in known and unicodedata.category(c) not in _UNSEEN)
    return sorted({_script(c) for c in lacking})


def warn_of_scripts(texts: Iterable[str]) -> None:
    """Warn once of all scripts that would be drawn as boxes."""
    scripts = scripts_without_font(texts)
    if scripts:
        warn(
            f"no font in use has the script{'s' * (len(scripts) > 1)} {', '.join(scripts)}: boxes are drawn for it; "
            "name a font that has it first in matplotlib.rcParams['font.family'], such as one of the Noto fonts"
        )


def _script(character: str) -> str:
    words = unicodedata.name(character, "unnamed").split()
    if unicodedata.category(character).startswith("S"):  # their names begin with what they show
        return "symbols"
    return words[0] if words[0] == "CJK" else words[0].capitalize()


def _families() -> list[str]:
    """Return the names of the fonts that matplotlib looks through, one after the other."""
    families = FontProperties().get_family()
    generic = {
        "serif": rcParams["font.serif"],
        "sans-serif": rcParams["font.sans-serif"],
        "cursive": rcParams["font.cursive"],
        "fantasy": rcParams["font.fantasy"],
        "monospace": rcParams["font.monospace"],
    }
    return [name for family in families for name in generic.get(family, [family])]


@lru_cache(maxsize=8)
def _characters_of(families: tuple[str, ...]) -> frozenset[int]:
    known: set[int] = set()
    for family in families:
        try:
            known |= get_font(findfont(FontProperties(family=family), fallback_to_default=False)).get_charmap().keys()
        except ValueError:  # not installed
            continue
    return frozenset(known)
