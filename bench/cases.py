"""The solvers and neighbour methods that stand in the tables: one row each, and settings worth comparing."""

from __future__ import annotations

from typing import Any

import manifold as mf

# name -> (settings, the most nodes worth waiting for)
SOLVERS: dict[str, tuple[Any, int]] = {
    "cg 1e-2": (mf.solvers.ConjugateGradient(rtol=1e-2), 10**7),
    "cg 9e-3": (mf.solvers.ConjugateGradient(rtol=9e-3), 10**7),
    "cg 1e-3": (mf.solvers.ConjugateGradient(rtol=1e-3), 10**7),
    "power 1e-2": (mf.solvers.PowerIteration(rtol=1e-2), 10**5),
    "chebyshev 1e-2": (mf.solvers.Chebyshev(rtol=1e-2), 10**7),
    "lanczos 1e-2": (mf.solvers.Lanczos(rtol=1e-2), 10**6),
    "hybrid r=100 1e-2": (mf.solvers.Hybrid(rank=100, rtol=1e-2), 10**6),
    "fsr r=100": (mf.solvers.FastSpectralRanking(rank=100, certify=False), 10**6),
    "fsr r=100 + 5 steps": (mf.solvers.FastSpectralRanking(rank=100, n_steps=5, certify=False), 10**6),
    "fsr r=500 + 5 steps": (mf.solvers.FastSpectralRanking(rank=500, n_steps=5, certify=False), 10**6),
    "local 1e-2": (mf.solvers.Local(rtol=1e-2), 10**7),
    "direct": (mf.solvers.Direct(), 5_000),
    "index T=256": (mf.DiffusionIndex(n_entries=256), 100_000),
}

# neighbour method -> settings, with the recall that peers are compared at
NEIGHBORS: dict[str, tuple[tuple[dict[str, Any], float], ...]] = {
    "exact": (({}, 1.0),),
    "inverted_file": (({"recall": 0.95}, 0.985), ({}, 0.985), ({"recall": 0.993}, 0.998)),
    "nn_descent": (({}, 0.985),),
    "faiss": (({}, 0.985),),
}
