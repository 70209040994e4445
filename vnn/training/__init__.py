"""Station 6, training: a network and data in, a fit of all replicates and its performance out."""

from vnn.training.design import Replicate
from vnn.training.estimators import NoOntologyWarning, VNNClassifier, VNNRegressor
from vnn.training.evaluation import comparison, performance
from vnn.training.fitting import Fit, Prediction, fit
from vnn.training.loop import Progress
from vnn.training.settings import Setting, Training
from vnn.training.traits import fit_traits

__all__ = [
    "Fit",
    "NoOntologyWarning",
    "Prediction",
    "Progress",
    "Replicate",
    "Setting",
    "Training",
    "VNNClassifier",
    "VNNRegressor",
    "comparison",
    "fit",
    "fit_traits",
    "performance",
]
