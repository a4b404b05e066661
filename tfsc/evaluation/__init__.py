"""Evaluation: what is measured of an exported model, and how it is shown."""
