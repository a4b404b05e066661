"""What TensorFlow finds on this machine."""

import tensorflow as tf

_AMPERE = (8, 0)  # the first compute capability that multiplies in bfloat16


def has_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def gpu_bf16_obstacle(count: int = 1) -> str:
    """Why one of the first `count` GPUs does not multiply in bfloat16; empty where all do."""
    for gpu in tf.config.list_physical_devices("GPU")[:count]:
        details = tf.config.experimental.get_device_details(gpu)
        name, capability = details.get("device_name", gpu.name), details.get("compute_capability")
        if capability is None:
            return f"of this GPU ({name}) it is not known that it multiplies in bf16"
        if tuple(capability) < _AMPERE:
            number = ".".join(map(str, capability))
            return (
                f"this GPU ({name}, compute capability {number}) does not multiply in bf16, which "
                "begins with 8.0"
            )
    return ""
