"""What a run is, without TensorFlow: its settings, the rules among them, its digest and dump."""

from tfsc.recipe.recipe import LEFT_TO_NETWORKS, PRECISIONS, Recipe, settings

__all__ = ["LEFT_TO_NETWORKS", "PRECISIONS", "Recipe", "settings"]
