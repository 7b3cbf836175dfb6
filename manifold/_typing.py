"""Names of types that several rooms share: what users hand in, arrays of any numbers, facts for people and files."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

AnyArray: TypeAlias = NDArray[Any]
DType: TypeAlias = np.dtype[Any]
Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]
Features: TypeAlias = ArrayLike | PathLike[str]  # of which a path is mapped
Facts: TypeAlias = Mapping[str, Any]
RandomState: TypeAlias = int | np.random.Generator | None
