"""Keras layers that networks are built of."""
