"""From argv and flagfiles to flags; every error one line."""
