"""The collections that quality is judged on: names in, features, queries and what each of them should find out.

Those of `classes` have many relevant items a query; those of `instances`, `texts` and `images` mostly one. Each says in
which figure it is judged, and whether its users look for an item or for a topic. A query is never in its collection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.sets import classes, images, instances, texts
from bench.sets._collection import Collection, Lists, Recipe

__all__ = ["RECIPES", "Collection", "Lists", "collections"]

RECIPES: dict[str, Recipe] = {**classes.RECIPES, **texts.RECIPES, **instances.RECIPES, **images.RECIPES}


def collections(*, quick: bool = False, names: Sequence[str] | None = None) -> Iterator[Collection]:
    """Yield the sets that are on this machine, in the order of their names here; say what the others lack.

    `quick` yields the three that need nothing but the packages of the tests.
    """
    for name, recipe in RECIPES.items():
        if recipe.quick if quick else names is None or name in names:
            try:
                yield recipe.collection(name)
            except (FileNotFoundError, ImportError) as error:
                print(f"{name} is left out: {error}")
