"""The words of this package, each in a sentence or two: term -> meaning.

>>> from manifold.glossary import TERMS
>>> TERMS["certified"].split(";")[0]
'Slack 0: the set returned is proved to be the set of the best k'
"""

from __future__ import annotations

from types import MappingProxyType

__all__ = ["TERMS"]

TERMS = MappingProxyType(
    {
        "adaptation": "What a query keeps of its plain ranking: places that stay, and how it is fused with diffusion.",
        "affinity": "The symmetric matrix W of weights of the graph's edges; a weight is a kernel of a similarity.",
        "alpha": "How far a walk goes before it returns to its seeds: in [0, 1), 0 is no diffusion, 1 the limit of "
        "infinitely long walks.",
        "backend": "Where arrays live and products run: SciPy and Numba on the CPU, CuPy on a GPU.",
        "bridge": "Edges to the first neighbours of each point that are kept although they are not mutual, so that the "
        "graph does not fall apart.",
        "certainty": "1 - H(p) / log c of a point's distribution over c classes: 1 is sure, 0 is uniform.",
        "certified": "Slack 0: the set returned is proved to be the set of the best k; see slack.",
        "clamping": "Keeping given labels as they were given, whatever their neighbours say.",
        "column": "One system of many that are solved together: a query, or a class.",
        "component": "Nodes that are joined by edges; diffusion never leaves one.",
        "degree": "The sum of the weights of a node's edges.",
        "degree exponent": "p: scores are divided by degree^p before they are ranked, which holds back hubs.",
        "error bound": "A number that the distance from a score to the exact one cannot exceed, rounding included.",
        "filter": "The transfer function h in F = h(S) Y: which eigenvectors of the graph pass, and how much of them.",
        "gamma": "Exponent of the kernel: a weight is max(similarity, 0)^gamma.",
        "graph": "Points as nodes, with edges to near neighbours, weighted by an affinity.",
        "hub": "A point that is among the neighbours of very many others.",
        "index": "Columns of h(S) that are kept, so that an answer is a sum of stored columns.",
        "kept": "How many first places of a ranking were left as plain similarity had them.",
        "metric": "How similar two vectors are: cosine, or Euclidean distance made a similarity.",
        "mutual": "An edge rule: two points are joined if each lists the other among its neighbours.",
        "neighbours": "The k most similar other points of each point, with their similarities.",
        "pool": "The best candidates by diffusion, from which a fused ranking takes its list.",
        "preset": "A named set of defaults for the parameters that are left out.",
        "residual": "What is missing from a solution, Y - A F; it is zero only where the solution is exact.",
        "seeds": "Where a walk starts: the columns of Y. A query enters through its nearest points.",
        "shortlist": "The ids and similarities that another search found.",
        "slack": "Nothing left out has an exact score above (1 + slack) times any score that was returned.",
        "solver": "How F = h(S) Y is computed.",
        "status": "How a solve of a column ended: CONVERGED, MAX_ITER, APPROXIMATE, BREAKDOWN, NONFINITE.",
        "tied": "Scores at the cut of a list that cannot be told apart: either item is right.",
        "transfer function": "See filter.",
    }
)
