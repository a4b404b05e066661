"""`planned`: networks whose variables have shapes and no values, which take most of the time."""

import contextlib

import keras
from keras.src.backend.common import global_state


@contextlib.contextmanager
def planned():
    """Networks that are built inside can be looked at and counted, not called.

    Keras would give their variables values when it next leaves a scope of another network's.
    """
    waiting = list(global_state.get_global_attribute("uninitialized_variables") or ())
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        global_state.set_global_attribute("uninitialized_variables", waiting)
