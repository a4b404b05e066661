"""`update_of`: one update of an optimizer as a function of its gradients."""

import tensorflow as tf


def update_of(optimizer, variables, graph: bool, xla: bool | None = None):
    """`update(*gradients)` of the variables, operation by operation or as a graph.

    Tracing takes longer than a few calls: the side that is compared with does without.

    Args:
        optimizer: built.
        variables: one for each gradient.
        graph: whether it is a `tf.function`.
        xla: its `jit_compile`.
    """

    def update(*gradients):
        optimizer.apply(gradients, variables)

    return tf.function(update, jit_compile=xla) if graph else update
