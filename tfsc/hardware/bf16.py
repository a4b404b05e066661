"""Whether this machine multiplies in bfloat16, and what to say where it does not.

Without TensorFlow, unless there may be a GPU.
"""

from tfsc.hardware import processor


def obstacle(devices: int = 1) -> str:
    """Why networks are not multiplied in bfloat16 here; empty where they are.

    Args:
        devices: how many GPUs are used, if there are any.
    """
    if processor.may_have_gpu():
        # Only TensorFlow knows: the driver may be there, and its own libraries missing.
        from tfsc.hardware import gpu

        if gpu.has_gpu():
            return gpu.gpu_bf16_obstacle(devices)
    return processor.bf16_obstacle()


def warning(precision: str, devices: int = 1) -> str:
    """What to say before training by a precision; empty unless it is bf16 and that is slow here."""
    if precision != "bf16" or not (why := obstacle(devices)):
        return ""
    return (
        f"--precision=bf16: {why}: it can take many times as long as fp32 here; faster: "
        "--precision=fp32, as a run of its own"
    )
