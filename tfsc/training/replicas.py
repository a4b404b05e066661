"""`replica_strategy`: a run on several devices at once."""

import tensorflow as tf

from tfsc.errors import TfscError


def replica_strategy(count: int) -> tf.distribute.Strategy:
    """The strategy that trains `count` replicas, each on its share of every batch.

    On GPUs where there are any, else on virtual CPU devices that share the processor: no faster,
    but the same arithmetic.

    Raises:
        TfscError: if there are fewer GPUs, or TensorFlow has been set up for another number of
            virtual CPUs in this process.
    """
    if count == 1:
        return tf.distribute.get_strategy()
    if gpus := tf.config.list_physical_devices("GPU"):
        if len(gpus) < count:
            raise TfscError(f"--replicas={count}: must be at most the {len(gpus)} GPUs here")
        return tf.distribute.MirroredStrategy([f"GPU:{index}" for index in range(count)])
    (processor,) = tf.config.list_physical_devices("CPU")
    try:
        virtual = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(processor, virtual)
    except RuntimeError as error:  # TensorFlow is running already
        if len(tf.config.list_logical_devices("CPU")) < count:
            raise TfscError(f"--replicas={count}: {error}") from None
    return tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(count)])
