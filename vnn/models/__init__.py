"""Station 5, models: a topology and a recipe in, a network with named nodes out."""

from vnn.models.dense import DenseNetwork
from vnn.models.network import VisibleNetwork
from vnn.models.recipe import Recipe

__all__ = ["DenseNetwork", "Recipe", "VisibleNetwork"]
