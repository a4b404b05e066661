"""Reporting: the run directory, what a run amounts to, and its pictures."""
