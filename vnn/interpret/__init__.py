"""Station 7, interpretation: a fit and data in, activities, attributions and scores of named nodes out."""

from vnn.interpret.activity import Activities, activities
from vnn.interpret.attribution import Attributions, attributions
from vnn.interpret.deeplift import DeepLift
from vnn.interpret.effects import activity_effects
from vnn.interpret.rivals import crosscheck
from vnn.interpret.scores import NodeScores, node_scores

__all__ = [
    "Activities",
    "Attributions",
    "DeepLift",
    "NodeScores",
    "activities",
    "activity_effects",
    "attributions",
    "crosscheck",
    "node_scores",
]
