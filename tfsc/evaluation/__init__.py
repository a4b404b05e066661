"""Evaluation: exported models, what is measured of them, and how it is shown."""
