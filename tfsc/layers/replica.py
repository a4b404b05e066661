"""`one_of_several`: which replica of a strategy calls a layer."""

import tensorflow as tf


def one_of_several() -> tf.distribute.ReplicaContext | None:
    """The replica that calls this; None if it is the only one."""
    replica = tf.distribute.get_replica_context()
    return replica if replica is not None and replica.num_replicas_in_sync > 1 else None
