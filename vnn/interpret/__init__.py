"""Station 7, interpretation: a fit and data in, activities of named nodes and their effects out."""

from vnn.interpret.activity import Activities, activities
from vnn.interpret.effects import activity_effects

__all__ = ["Activities", "activities", "activity_effects"]
