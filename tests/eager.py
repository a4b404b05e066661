"""`eagerly`: without tracing and compiling, which take longest where a function runs once."""

import contextlib

import tensorflow as tf


@contextlib.contextmanager
def eagerly():
    """Inside, what is a `tf.function` runs operation by operation; jit_compile too."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)
