"""Station 6, training: a network and data in, a fit of all replicates out."""

from vnn.training.design import Replicate
from vnn.training.fitting import Fit, Prediction, fit
from vnn.training.loop import Progress
from vnn.training.settings import Training

__all__ = ["Fit", "Prediction", "Progress", "Replicate", "Training", "fit"]
