"""Pictures of what the package computes; the only room that imports matplotlib.

Results in, matplotlib objects out. Nothing is shown and no setting of matplotlib is changed. A picture of one panel
takes ``ax=`` and returns its `Axes`; one of several takes ``figure=`` and returns it. Left out, they are new, and known
to nobody else: ``ax.figure`` as the last line of a notebook's cell shows it, ``ax.figure.savefig(path)`` keeps it.
"""

try:
    import matplotlib as _matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError("manifold.plotting needs matplotlib: pip install matplotlib (nothing else here does)") from error

from manifold.plotting._choices import time_accuracy, tuning_landscape
from manifold.plotting._comparison import ranking_comparison
from manifold.plotting._convergence import SOLVERS, Trace, convergence, trace_convergence
from manifold.plotting._diffusion import diffusion, diffusion_animation, diffusion_steps, score_decay
from manifold.plotting._explanation import explanation
from manifold.plotting._graph import embedding, spectral_coordinates
from manifold.plotting._intervals import certified_intervals, score_intervals, stored_intervals
from manifold.plotting._labels import confusion, confusion_counts, label_certainty, reliability
from manifold.plotting._matches import matches
from manifold.plotting._neighborhood import neighborhood
from manifold.plotting._pools import pools
from manifold.plotting._regions import regional_matches
from manifold.plotting._saliency import saliency
from manifold.plotting._spectrum import spectrum
from manifold.plotting._structure import components, degrees, hubness

__all__ = [
    "SOLVERS",
    "Trace",
    "certified_intervals",
    "components",
    "confusion",
    "confusion_counts",
    "convergence",
    "degrees",
    "diffusion",
    "diffusion_animation",
    "diffusion_steps",
    "embedding",
    "explanation",
    "hubness",
    "label_certainty",
    "matches",
    "neighborhood",
    "pools",
    "ranking_comparison",
    "regional_matches",
    "reliability",
    "saliency",
    "score_decay",
    "score_intervals",
    "spectral_coordinates",
    "spectrum",
    "stored_intervals",
    "time_accuracy",
    "trace_convergence",
    "tuning_landscape",
]
