"""Optimizers: fused updates, groups of variables, decoupled decay, freezing; one a file."""
