"""Which stored columns a prepared solver holds: told by its flags, for people and for the type checker."""

from __future__ import annotations

from typing import TypeGuard

from manifold.index.pooled import PooledColumns
from manifold.index.stored import StoredColumns


def of_nodes(prepared: object) -> TypeGuard[StoredColumns]:
    """Whether it holds columns of h(S).

    Reference: guide *notation*, "How the parts meet".

    >>> of_nodes("index")
    False
    """
    return getattr(prepared, "holds_columns", False) and not getattr(prepared, "is_pooled", False)


def of_images(prepared: object) -> TypeGuard[PooledColumns]:
    """Whether it holds columns of P h(S), scores of images.

    Reference: guide *notation*, "How the parts meet".

    >>> of_images("index")
    False
    """
    return getattr(prepared, "holds_columns", False) and getattr(prepared, "is_pooled", False)
