"""Settings as what JSON holds, their classes by name: frozen dataclasses of a table in, plain values out, and back.

A file can only name a class of the table that its reader passes: nothing is imported or unpickled because of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TypeAlias

import numpy as np

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Classes: TypeAlias = Mapping[str, type]  # by their own names: see `by_name`


def by_name(*classes: type) -> Classes:
    """Return a table of classes, each under its own name.

    Raises ValueError where two of them share one.

    >>> by_name(int, str)
    {'int': <class 'int'>, 'str': <class 'str'>}
    """
    table = {made.__name__: made for made in classes}
    if any(table[made.__name__] is not made for made in classes):
        raise ValueError(f"classes must differ in their names, got {sorted(made.__name__ for made in classes)}")
    return table


def to_json(value: object, classes: Classes) -> Json:
    """Return settings as what JSON holds: instances of `classes` by name, with their fields.

    Parameters
    ----------
    value : object
        None, booleans, numbers, texts, and lists, dicts and frozen dataclasses of such.
    classes : mapping of str to type
        The dataclasses that may be named.

    Raises
    ------
    TypeError
        For anything else: it could not be made again.

    Examples
    --------
    >>> to_json({"rates": (np.float64(0.5), 2)}, {})
    {'rates': [0.5, 2]}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [to_json(part, classes) for part in value]
    if isinstance(value, dict):
        if not all(isinstance(name, str) and name != "is" for name in value):
            raise TypeError(f"the names of settings must be texts other than 'is', got {list(value)}")
        return {name: to_json(part, classes) for name, part in value.items()}
    name = type(value).__name__
    if not is_dataclass(value) or classes.get(name) is not type(value):
        raise TypeError(f"a {name} is no setting that a save can hold: save it by itself, and give it again")
    parts: dict[str, Json] = {part.name: to_json(getattr(value, part.name), classes) for part in fields(value)}
    return {"is": name, **parts}


def from_json(value: Json, classes: Classes) -> object:
    """Return what `to_json` took apart; lists come back as tuples.

    Raises
    ------
    KeyError
        For a class that is not among `classes`.
    TypeError, ValueError
        As the constructor of a class, for settings that it does not take.

    Examples
    --------
    >>> from_json({"rates": [0.5, 2]}, {})
    {'rates': (0.5, 2)}
    """
    if isinstance(value, list):
        return tuple(from_json(part, classes) for part in value)
    if not isinstance(value, dict):
        return value
    parts = {name: from_json(part, classes) for name, part in value.items() if name != "is"}
    if "is" not in value:
        return parts
    name = value["is"]
    if not isinstance(name, str) or name not in classes:
        raise KeyError(f"{name!r} names none of the settings {', '.join(classes)}")
    made: object = classes[name](**parts)
    return made
