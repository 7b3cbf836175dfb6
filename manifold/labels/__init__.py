"""Label propagation: a graph and a few labels in, a label, a distribution and a certainty for every point out."""

from manifold.labels._methods import METHODS, LocalGlobalConsistency
from manifold.labels.auto import Auto
from manifold.labels.balance import class_mass, estimated_priors, mean_shift, sinkhorn
from manifold.labels.calibration import calibration_error
from manifold.labels.certainty import certainty, class_weights
from manifold.labels.choice import Choice
from manifold.labels.cleaning import clean_labels
from manifold.labels.harmonic import Harmonic
from manifold.labels.iterative import IterativeCleaning
from manifold.labels.mbo import PoissonMBO, ResolventMBO
from manifold.labels.poisson import Poisson
from manifold.labels.propagation import propagate, propagation_memory
from manifold.labels.pseudo_labels import PseudoLabels, pseudo_labels
from manifold.labels.result import Propagation
from manifold.labels.selection import select
from manifold.labels.zero_shot import ZeroShot, ridge_map, zero_shot

__all__ = [
    "METHODS",
    "Auto",
    "Choice",
    "Harmonic",
    "IterativeCleaning",
    "LocalGlobalConsistency",
    "Poisson",
    "PoissonMBO",
    "Propagation",
    "PseudoLabels",
    "ResolventMBO",
    "ZeroShot",
    "calibration_error",
    "certainty",
    "class_mass",
    "class_weights",
    "clean_labels",
    "estimated_priors",
    "mean_shift",
    "propagate",
    "propagation_memory",
    "pseudo_labels",
    "ridge_map",
    "select",
    "sinkhorn",
    "zero_shot",
]
