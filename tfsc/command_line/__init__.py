"""From argv and flagfiles to a recipe; every error one line."""
