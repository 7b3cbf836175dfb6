"""A search to be played with: pick a query, move a slider, see the list change; needs the extra ``notebook``.

The model (`Exploration`) is plain Python; only its view imports ipywidgets.
"""

from manifold.explorer._exploration import CHOICES, Answer, Exploration, Settings
from manifold.explorer._explorer import Explorer

__all__ = ["CHOICES", "Answer", "Exploration", "Explorer", "Settings"]
