"""Rankings and relevance in, figures of merit out.

A ranking is (q, m) item ids, best first, one row a query: whole numbers, texts or UUIDs. -1 pads a short row, unless an
item that is judged has that name; among texts "" does. ``relevant`` and ``junk`` hold one collection of ids a query,
read by place; ids may have gains, and those above 0 are relevant. Junk is taken out before anything is counted.
A query without relevant items is skipped (a mean over no query is NaN). A malformed ranking, or relevance
that does not fit it, is a ValueError or TypeError that says how to mend it. `evaluate` gives all figures of
a protocol at once.
"""

from manifold.metrics._evaluate import evaluate, evaluate_queries, is_error, list_depth
from manifold.metrics._retrieval import (
    average_precision,
    average_precisions,
    bulls_eye,
    hit_rate_at_k,
    mean_average_precision,
    mean_precision_at_k,
    ndcg_at_k,
    recall_at_k,
    reciprocal_rank,
)
from manifold.metrics._structure import hubness, k_occurrences, normalized_mutual_information, overlap_at_k

__all__ = [
    "average_precision",
    "average_precisions",
    "bulls_eye",
    "evaluate",
    "evaluate_queries",
    "hit_rate_at_k",
    "hubness",
    "is_error",
    "k_occurrences",
    "list_depth",
    "mean_average_precision",
    "mean_precision_at_k",
    "ndcg_at_k",
    "normalized_mutual_information",
    "overlap_at_k",
    "recall_at_k",
    "reciprocal_rank",
]
