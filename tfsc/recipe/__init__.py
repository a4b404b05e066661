"""What a run is, without TensorFlow: its settings, the rules among them, its digest and dump."""

from tfsc.recipe.fields import PRECISIONS, sections, settings
from tfsc.recipe.recipe import Recipe

__all__ = ["PRECISIONS", "Recipe", "sections", "settings"]
