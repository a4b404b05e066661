"""Optimizers: `registry` builds the one a recipe names."""
