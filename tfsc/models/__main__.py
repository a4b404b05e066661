"""List the networks with their parameters, or show the layers of one.

    python -m tfsc.models
    python -m tfsc.models --show='resnet_v2([6,6,6], shortcut=1, pooling=avg)'

The layers are those for images of 32×32×3 and 10 classes.
"""

from tfsc.command_line import command, families
from tfsc.errors import RecipeError
from tfsc.models.catalog import NETWORKS
from tfsc.text.family import Call


def draw(call: Call) -> None:
    """Print a network's layers with their outputs, and how many weights it has."""
    command.import_tensorflow()  # only now: the list comes at once
    from tfsc.models.builder import build

    try:
        network = build(call, (32, 32, 3), 10)
    except ValueError as error:
        raise RecipeError(f"--show: {error}") from None
    width = max(len(layer.name) for layer in network.layers)
    for layer in network.layers:
        weights = sum(weight.shape.num_elements() for weight in layer.trainable_weights)
        shape = "×".join(map(str, layer.output.shape[1:]))
        kind = type(layer).__name__
        print(f"  {layer.name:{width}}  {kind:26} {shape:>12} {weights or '':>10}")
    print(f"{network.count_params():,} weights, {trainable(network):,} of them trainable")


def trainable(network) -> int:
    """How many numbers train."""
    return sum(weight.shape.num_elements() for weight in network.trainable_weights)


if __name__ == "__main__":
    families.run(NETWORKS, draw=draw)
