"""What a run is, without TensorFlow: its settings, the rules among them, its digest and dump."""

from tfsc.recipe.fields import LEFT_TO_NETWORKS, PRECISIONS, settings
from tfsc.recipe.recipe import Recipe

__all__ = ["LEFT_TO_NETWORKS", "PRECISIONS", "Recipe", "settings"]
